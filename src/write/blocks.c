/* blocks.c -- maps of scalar functions in native code: so many instances at a time, in one call of a function
 * whose loop has always that length.
 *
 * Where instances have several numbers, these are put apart before the call, in0[e*B + l] for number e of
 * instance l, and together again behind it, so that the loop reads and writes rows of neighbouring
 * instances; rows that an index chooses are read where they are. Behind the last instance of a block that is
 * not full that instance is repeated.
 *
 * Sums over the instances have one place for each l, sum_R[e*B + l], e counting those of all outputs; they
 * are added up at the end, in halves. Long maps go in parts, each with sums of its own, which are added in
 * order: parts do not depend on threads, so neither do the bits. */
#include "write/map.h"

#include <string.h>

/* BLOCK_LEAST, BLOCK_MOST: instances; BLOCK_BYTES: of the numbers put apart and of sums, where there is a
 * choice, so that they stay in the first cache; BLOCK_BYTES_MOST: at all, on the stack. PART_LEAST:
 * instances. */
enum {
  BLOCK_LEAST = 8, BLOCK_MIDDLE = 16, BLOCK_MOST = 64, BLOCK_BYTES = 34000, BLOCK_BYTES_MOST = 160000,
  PART_LEAST = 1024, PARTS_MOST = 16, DEEP = 96, DEEP_WIDTH = 4, DEEP_CHUNK = 24
};

typedef struct blocks {
  map_text *m;
  unit *u;
  const unit_info *callee;
  int64_t n, size, part, parts;     /* instances: all, of a block, of a part; parts */
  bool full;                        /* the last block is too */
  int64_t sums[AD_DTYPES];          /* elements of all sums of that type together */
  int64_t *first;                   /* of each output that is a sum: where its elements begin among those */
} blocks;

static size_t bytes_in(const map_text *m, int k) { return node_type(m->f->body, m->f->in[k])->bytes; }
static size_t bytes_out(const map_text *m, int j) { return node_type(m->f->body, m->f->out[j])->bytes; }
static const char *type_in(const map_text *m, int k) {
  return write_type(node_type(m->f->body, m->f->in[k])->type.dtype);
}
static const char *type_out(const map_text *m, int j) {
  return write_type(node_type(m->f->body, m->f->out[j])->type.dtype);
}

/* Does one operation mostly wait for another one? Then vectors are in flight side by side only where the
 * loops around the operations are short: the function is cut into parts of DEEP_CHUNK operations, which are
 * functions of their own but for few instances, where calls would cost more than what compilers lose. */
static bool is_deep(const map_text *m) {
  ad_function *scalars = write_scalar_form(m->f, true);
  const ad_tape *t = (scalars ? scalars : m->f)->body;
  const size_t bytes = t->count*sizeof(uint32_t) + 1;
  uint32_t *depth = memory_get_zeroed(&m->c->u->w->allocator, bytes, 1), most = 0, operations = 0;
  if (!depth) return false;
  for (uint32_t i = 0; i < t->count; i++) {
    int n;
    if (node_is_leaf(t, i)) continue;
    const uint32_t *x = node_operands(t, i, &n);
    for (int k = 0; k < n; k++)
      if (depth[x[k]] >= depth[i]) depth[i] = depth[x[k]] + 1;
    if (depth[i] > most) most = depth[i];
    operations++;
  }
  memory_release(&m->c->u->w->allocator, depth, bytes);
  return most >= DEEP && operations < DEEP_WIDTH*most;
}

int64_t block_size(const map_text *m) {
  const int64_t n = m->c->c->n;
  size_t bytes = 0;
  bool worth = false;
  if (!m->c->u->w->native || n < BLOCK_LEAST) return 0;
  for (int k = 0; k < m->f->n_in; k++) {
    if (m->each_in[k]) bytes += bytes_in(m, k);
    if (map_count_in(m, k) == 0) return 0;
    worth |= m->each_in[k] && map_count_in(m, k) > 1;
  }
  for (int j = 0; j < m->f->n_out; j++) {
    if (!map_wants(m, j)) continue;
    bytes += bytes_out(m, j);
    if (map_count_out(m, j) == 0) return 0;
    worth |= !m->each_out[j] || map_count_out(m, j) > 1;
  }
  worth = worth || is_deep(m);
  int64_t size = BLOCK_MOST;
  while (size > BLOCK_MIDDLE && ((size_t)size*bytes > BLOCK_BYTES || size/2 >= n)) size /= 2;
  return worth && (size_t)size*bytes <= BLOCK_BYTES_MOST ? size : 0;
}

/* --- inputs --------------------------------------------------------------------------------------------- */

/* The node of a table whose rows an index chooses, if operand k is such rows; *index: that of the index. */
static bool chosen_rows(const blocks *b, int k, uint32_t *table, uint32_t *index) {
  const run_graph *g = &b->u->q.g;
  const uint32_t x = g->operand[g->operand_start[b->m->c->node] + (uint32_t)k];
  if (!unit_gathers(b->u, x)) return false;
  *table = g->operand[g->operand_start[x]];
  *index = g->operand[g->operand_start[x] + 1];
  return true;
}

/* Eight rows of eight numbers at a time, transposed in registers where vectors are that wide: exchanges of
 * blocks off the diagonal, of 1, 2 and 4 numbers. The last eight numbers of a row may begin among those
 * before them. apart: to[e*block + l] = row[l][e]; together: to[l*count + e] = from[e*block + l];
 * lane_sums: to[e] = the sum of from[e*block + l] over l < block, 16, 32 or 64, in halves. */
static const char transpositions[] =
  "#if defined __AVX512F__ && (defined __clang__ || __GNUC__ >= 12)\n"
  "typedef REAL HELPER(eight)\n"
  "  __attribute__((vector_size(8*sizeof(REAL)), aligned(sizeof(REAL)), may_alias));\n"
  "static inline void HELPER(transpose)(HELPER(eight) *v) {\n"
  "#define PAIR(d, i, ...) { const HELPER(eight) x = v[i], y = v[i + d]; EXCHANGE(__VA_ARGS__, i, i + d) }\n"
  "#define EXCHANGE(a, b, c, d, e, f, g, h, k, l, m, n, o, p, q, r, i, j) \\\n"
  "  v[i] = __builtin_shufflevector(x, y, a, b, c, d, e, f, g, h); \\\n"
  "  v[j] = __builtin_shufflevector(x, y, k, l, m, n, o, p, q, r);\n"
  "#define BY1(i) PAIR(1, i, 0, 8, 2, 10, 4, 12, 6, 14, 1, 9, 3, 11, 5, 13, 7, 15)\n"
  "#define BY2(i) PAIR(2, i, 0, 1, 8, 9, 4, 5, 12, 13, 2, 3, 10, 11, 6, 7, 14, 15)\n"
  "#define BY4(i) PAIR(4, i, 0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15)\n"
  "  BY1(0) BY1(2) BY1(4) BY1(6)\n"
  "  BY2(0) BY2(1) BY2(4) BY2(5)\n"
  "  BY4(0) BY4(1) BY4(2) BY4(3)\n"
  "#undef BY4\n#undef BY2\n#undef BY1\n#undef EXCHANGE\n#undef PAIR\n"
  "}\n"
  "#endif\n"
  "static inline __attribute__((always_inline)) void HELPER(apart)(REAL *restrict to, int64_t block,\n"
  "                                                              const REAL *const *row, int64_t count) {\n"
  "#if defined __AVX512F__ && (defined __clang__ || __GNUC__ >= 12)\n"
  "  for (int64_t l = 0; l < block && count >= 8; l += 8)\n"
  "    for (int64_t e = 0; e < count; e += 8) {\n"
  "      const int64_t at = e + 8 > count ? count - 8 : e;\n"
  "      HELPER(eight) v[8];\n"
  "      for (int i = 0; i < 8; i++) v[i] = *(const HELPER(eight) *)(row[l + i] + at);\n"
  "      HELPER(transpose)(v);\n"
  "      for (int i = 0; i < 8; i++) *(HELPER(eight) *)(to + (at + i)*block + l) = v[i];\n"
  "    }\n"
  "  if (count >= 8) return;\n"
  "#endif\n"
  "  for (int64_t l = 0; l < block; l++)\n"
  "    for (int64_t e = 0; e < count; e++) to[e*block + l] = row[l][e];\n"
  "}\n"
  "static inline __attribute__((always_inline)) void HELPER(together)(REAL *restrict to, int64_t lanes,\n"
  "                                           const REAL *restrict from, int64_t block, int64_t count) {\n"
  "  int64_t l = 0;\n"
  "#if defined __AVX512F__ && (defined __clang__ || __GNUC__ >= 12)\n"
  "  for (; l + 8 <= lanes && count >= 8; l += 8)\n"
  "    for (int64_t e = 0; e < count; e += 8) {\n"
  "      const int64_t at = e + 8 > count ? count - 8 : e;\n"
  "      HELPER(eight) v[8];\n"
  "      for (int i = 0; i < 8; i++) v[i] = *(const HELPER(eight) *)(from + (at + i)*block + l);\n"
  "      HELPER(transpose)(v);\n"
  "      for (int i = 0; i < 8; i++) *(HELPER(eight) *)(to + (l + i)*count + at) = v[i];\n"
  "    }\n"
  "#endif\n"
  "  for (; l < lanes; l++)\n"
  "    for (int64_t e = 0; e < count; e++) to[l*count + e] = from[e*block + l];\n"
  "}\n"
  "static inline void HELPER(lane_sums)(REAL *restrict to, const REAL *restrict from, int64_t block,\n"
  "                                     int64_t count) {\n"
  "  int64_t e = 0;\n"
  "#if defined __AVX512F__ && (defined __clang__ || __GNUC__ >= 12)\n"
  "  for (; e + 8 <= count; e += 8) {\n"
  "    HELPER(eight) v[8];\n"
  "    for (int i = 0; i < 8; i++) {\n"
  "      const HELPER(eight) *const s = (const HELPER(eight) *)(from + (e + i)*block);\n"
  "      v[i] = block == 16 ? s[0] + s[1] : block == 32 ? (s[0] + s[2]) + (s[1] + s[3])\n"
  "           : ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));\n"
  "    }\n"
  "    HELPER(transpose)(v);\n"
  "    v[0] = ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));\n"
  "    *(HELPER(eight) *)(to + e) = v[0];\n"
  "  }\n"
  "#endif\n"
  "  for (; e < count; e++) {\n"
  "    REAL s[64];\n"
  "    for (int64_t l = 0; l < block; l++) s[l] = from[e*block + l];\n"
  "    for (int64_t half = block/2; half > 0; half /= 2)\n"
  "      for (int64_t l = 0; l < half; l++) s[l] += s[half + l];\n"
  "    to[e] = s[0];\n"
  "  }\n"
  "}\n";

/* The name of one of these for that type. */
static const char *transposition(const blocks *b, ad_dtype dtype, const char *name) {
  ad_write_routine(b->u->w, dtype, "transpositions", transpositions);
  return write_helper(b->u->w, dtype, name, strlen(name));
}

/* row[l]: where the numbers of instance at + l are. */
static void write_rows(const blocks *b, int k) {
  unit *u = b->u;
  const map_text *m = b->m;
  const long long count = (long long)map_count_in(m, k), size = (long long)b->size;
  uint32_t table, index;
  unit_line(u, "const %s *row[%lld];", type_in(m, k), size);
  unit_open(u, "for (int64_t l = 0; l < lanes; l++) ");
  if (chosen_rows(b, k, &table, &index)) {
    const long long rows = (long long)graph_type(&u->q.g, table)->dim[0];
    unit_line(u, "int64_t r = %s[at + l];", unit_pointer(u, index));
    unit_line(u, "if (r < 0) r += %lld;", rows);
    unit_line(u, "if (r < 0 || r >= %lld) r = 0, __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);", rows);
    unit_line(u, "row[l] = %s + r*%lld;", m->c->x[k], count);
  } else unit_line(u, "row[l] = %s + (at + l)*%lld;", m->c->x[k], count);
  unit_close(u);
  if (!b->full) unit_line(u, "for (int64_t l = lanes; l < %lld; l++) row[l] = row[lanes - 1];", size);
}

static void put_apart(const blocks *b, int k) {
  unit *u = b->u;
  const ad_dtype dtype = node_type(b->m->f->body, b->m->f->in[k])->type.dtype;
  const long long count = (long long)map_count_in(b->m, k), size = (long long)b->size;
  unit_open(u, "%s", "");
  write_rows(b, k);
  if (dtype >= AD_F32)
    unit_line(u, "%s(in%d, %lld, row, %lld);", transposition(b, dtype, "apart"), k, size, count);
  else {
    unit_line(u, "for (int64_t l = 0; l < %lld; l++)", size);
    unit_line(u, "  for (int64_t e = 0; e < %lld; e++) in%d[e*%lld + l] = row[l][e];", count, k, size);
  }
  unit_close(u);
}

/* Single numbers, one behind the other as they are, are read in place unless the block is not full. */
static void write_input(const blocks *b, int k) {
  unit *u = b->u;
  map_text *m = b->m;
  uint32_t table, index;
  const bool chosen = m->each_in[k] && chosen_rows(b, k, &table, &index);
  const bool in_place = map_count_in(m, k) == 1 && !chosen;
  if (!m->each_in[k] || (!b->callee->uses[k] && !chosen)) {       /* a wrong index is an error all the same */
    set_in(&m->call, k, m->c->x[k]);
    return;
  }
  set_in(&m->call, k, writer_text(u->w, in_place ? "from%d" : "in%d", k));
  if (!in_place || !b->full)
    unit_line(u, "%s in%d[%lld] ADIT_ALIGNED;", type_in(m, k), k, (long long)(map_count_in(m, k)*b->size));
  if (in_place) unit_line(u, "const %s *from%d = %s + at;", type_in(m, k), k, m->c->x[k]);
  if (in_place && b->full) return;
  if (in_place) unit_open(u, "if (lanes < %lld) ", (long long)b->size);
  put_apart(b, k);
  if (!in_place) return;
  unit_line(u, "from%d = in%d;", k, k);
  unit_close(u);
}

/* --- outputs -------------------------------------------------------------------------------------------- */

/* Before the call: where the numbers of each instance go. */
static void open_output(const blocks *b, int j) {
  unit *u = b->u;
  map_text *m = b->m;
  const long long size = (long long)b->size, all = (long long)map_count_out(m, j)*size;
  const bool in_place = map_count_out(m, j) == 1;
  if (!m->each_out[j]) {
    set_out(&m->call, j, writer_text(u->w, "(to_%s + %lld)", type_out(m, j), (long long)b->first[j]*size));
    return;
  }
  if (!in_place || !b->full) unit_line(u, "%s out%d[%lld] ADIT_ALIGNED;", type_out(m, j), j, all);
  set_out(&m->call, j, writer_text(u->w, in_place ? "to%d" : "out%d", j));
  if (in_place && b->full) unit_line(u, "%s *const to%d = %s + at;", type_out(m, j), j, m->c->z[j]);
  else if (in_place)
    unit_line(u, "%s *const to%d = lanes < %lld ? out%d : %s + at;", type_out(m, j), j, size, j, m->c->z[j]);
}

static void close_output(const blocks *b, int j) {
  unit *u = b->u;
  const map_text *m = b->m;
  const ad_dtype dtype = node_type(m->f->body, m->f->out[j])->type.dtype;
  const long long count = (long long)map_count_out(m, j), size = (long long)b->size;
  if (!m->each_out[j]) return;
  if (count > 1 && dtype >= AD_F32)
    unit_line(u, "%s(%s + at*%lld, lanes, out%d, %lld, %lld);", transposition(b, dtype, "together"),
              m->c->z[j], count, j, size, count);
  else if (count > 1) {
    unit_line(u, "for (int64_t l = 0; l < lanes; l++)");
    unit_line(u, "  for (int64_t e = 0; e < %lld; e++) %s[(at + l)*%lld + e] = out%d[e*%lld + l];", count,
              m->c->z[j], count, j, size);
  } else if (!b->full)
    unit_line(u, "for (int64_t l = 0; lanes < %lld && l < lanes; l++) %s[at + l] = out%d[l];", size,
              m->c->z[j], j);
}

/* --- sums ----------------------------------------------------------------------------------------------- */

/* Places of all sums of one type. */
static void open_sums(const blocks *b, ad_dtype d) {
  const long long all = (long long)(b->sums[d]*b->size);
  unit_line(b->u, "%s sum_%s[%lld] ADIT_ALIGNED;", write_type(d), write_type(d), all);
  unit_line(b->u, "for (int64_t e = 0; e < %lld; e++) sum_%s[e] = 0;", all, write_type(d));
}

/* Before a block: the places, or others where it is not full. */
static void choose_sums(const blocks *b, ad_dtype d) {
  const char *type = write_type(d);
  const long long all = (long long)(b->sums[d]*b->size), size = (long long)b->size;
  if (b->full) {
    unit_line(b->u, "%s *const to_%s = sum_%s;", type, type, type);
    return;
  }
  unit_line(b->u, "%s rest_%s[%lld] ADIT_ALIGNED;", type, type, all);
  unit_line(b->u, "%s *const to_%s = lanes < %lld ? rest_%s : sum_%s;", type, type, size, type, type);
  unit_line(b->u, "for (int64_t e = 0; lanes < %lld && e < %lld; e++) rest_%s[e] = 0;", size, all, type);
}

/* Behind a block that is not full: what its instances gave. */
static void add_rest(const blocks *b, ad_dtype d) {
  const char *type = write_type(d);
  const long long size = (long long)b->size;
  if (b->full) return;
  unit_line(b->u, "for (int64_t e = 0; lanes < %lld && e < %lld; e++)", size, (long long)b->sums[d]);
  unit_line(b->u, "  for (int64_t l = 0; l < lanes; l++) sum_%s[e*%lld + l] += rest_%s[e*%lld + l];", type,
            size, type, size);
}

/* total: memory with a row for each part. */
static void close_sums(const blocks *b, ad_dtype d, const char *total) {
  const long long count = (long long)b->sums[d];
  unit_line(b->u, "%s(%s + %s*%lld, sum_%s, %lld, %lld);", transposition(b, d, "lane_sums"), total,
            b->parts > 1 ? "p" : "0", count, write_type(d), (long long)b->size, count);
}

/* Parts are added in order, and each sum goes where it is wanted. */
static void share_sums(const blocks *b, ad_dtype d, const char *total) {
  const map_text *m = b->m;
  const long long count = (long long)b->sums[d];
  if (b->parts > 1) {
    unit_line(b->u, "for (int64_t p = 1; p < %lld; p++)", (long long)b->parts);
    unit_line(b->u, "  for (int64_t e = 0; e < %lld; e++) %s[e] += %s[p*%lld + e];", count, total, total,
              count);
  }
  for (int j = 0; j < m->f->n_out; j++) {
    if (!map_wants(m, j) || m->each_out[j] || node_type(m->f->body, m->f->out[j])->type.dtype != d) continue;
    unit_copy(b->u, m->c->z[j], writer_text(b->u->w, "(%s + %lld)", total, (long long)b->first[j]),
              map_count_out(m, j));
  }
}

/* --- the whole ------------------------------------------------------------------------------------------ */

/* Work memory of the function that is called, which every thread has for itself. */
static void open_work(const blocks *b) {
  for (int d = 0; d < AD_DTYPES; d++)
    if (b->callee->pool[d])
      unit_line(b->u, "%s own_%s[%zu] ADIT_ALIGNED;", write_type((ad_dtype)d), write_pool((ad_dtype)d),
                b->callee->need[d]);
}

static void write_block(const blocks *b) {
  unit *u = b->u;
  map_text *m = b->m;
  const long long size = (long long)b->size;
  if (b->full) unit_line(u, "const int64_t lanes = %lld;", size);
  else unit_line(u, "const int64_t lanes = end - at < %lld ? end - at : %lld;", size, size);
  unit_line(u, "(void)lanes;");
  for (int k = 0; k < m->f->n_in; k++) write_input(b, k);
  for (int d = AD_F32; d < AD_DTYPES; d++)
    if (b->sums[d]) choose_sums(b, (ad_dtype)d);
  for (int j = 0; j < m->f->n_out; j++)
    if (map_wants(m, j)) open_output(b, j);
  open_work(b);
  u->own_pools = true;
  unit_call(u, b->callee, m->call.in, m->call.out);
  u->own_pools = false;
  for (int j = 0; j < m->f->n_out; j++)
    if (map_wants(m, j)) close_output(b, j);
  for (int d = AD_F32; d < AD_DTYPES; d++)
    if (b->sums[d]) add_rest(b, (ad_dtype)d);
}

/* Instances of one part, p. */
static void write_part(const blocks *b, char total[AD_DTYPES][WRITE_NAME]) {
  unit *u = b->u;
  const long long n = (long long)b->n, length = (long long)b->part;
  for (int d = AD_F32; d < AD_DTYPES; d++)
    if (b->sums[d]) open_sums(b, (ad_dtype)d);
  if (b->parts > 1)
    unit_line(u, "const int64_t begin = p*%lld, end = %lld - begin < %lld ? %lld : begin + %lld;", length, n,
              length, n, length);
  else unit_line(u, "const int64_t begin = 0, end = %lld;", n);
  unit_open(u, "for (int64_t at = begin; at < end; at += %lld) ", (long long)b->size);
  write_block(b);
  unit_close(u);
  for (int d = AD_F32; d < AD_DTYPES; d++)
    if (b->sums[d]) close_sums(b, (ad_dtype)d, total[d]);
}

/* What ad_take would have said. */
static void fail_rows(unit *u) {
  char format[160];
  snprintf(format, sizeof format, ": %s", ad_status_sentence(AD_ERROR_ARGUMENT));
  unit_fail(u, "wrong", AD_ERROR_ARGUMENT, &(failure){ "take", format, NULL, NULL });
}

static void write_parts(const blocks *b, char total[AD_DTYPES][WRITE_NAME]) {
  unit *u = b->u;
  map_text *m = b->m;
  const bool parallel = b->parts > 1 && !b->callee->fails && !b->callee->host
                     && (double)b->n*(double)m->f->size >= MAP_PARALLEL_WORK;
  uint32_t table, index;
  bool rows = false;
  for (int k = 0; k < m->f->n_in; k++) rows |= chosen_rows(b, k, &table, &index);
  if (rows) unit_line(u, "int wrong = 0;");
  if (b->parts > 1)
    unit_open(u, "%sfor (int64_t p = 0; p < %lld; p++) ", parallel ? "ADIT_PARALLEL " : "",
              (long long)b->parts);
  write_part(b, total);
  if (b->parts > 1) unit_close(u);
  if (rows) fail_rows(u);
  for (int d = AD_F32; d < AD_DTYPES; d++)
    if (b->sums[d]) share_sums(b, (ad_dtype)d, total[d]);
}

/* How the map goes in blocks and parts; what is summed. */
static void lay_out(blocks *b, bool sums[]) {
  const map_text *m = b->m;
  b->part = (b->n/PARTS_MOST/b->size + 1)*b->size;
  if (b->part < PART_LEAST) b->part = PART_LEAST;
  b->parts = (b->n + b->part - 1)/b->part;
  b->full = b->n%b->size == 0;
  for (int j = 0; j < m->f->n_out; j++) {
    m->call.wanted[j] = map_wants(m, j);
    sums[j] = !m->each_out[j];
    if (!sums[j] || !map_wants(m, j)) continue;
    int64_t *all = &b->sums[node_type(m->f->body, m->f->out[j])->type.dtype];
    b->first[j] = *all;
    *all += map_count_out(m, j);
  }
}

bool write_blocks(map_text *m, int64_t size) {
  unit *u = m->c->u;
  ad_writer *w = u->w;
  char total[AD_DTYPES][WRITE_NAME] = { "" };
  const size_t outputs = (size_t)m->f->n_out, bytes = outputs*(sizeof(int64_t) + 1) + 1;
  blocks b = { .m = m, .u = u, .n = m->c->c->n, .size = size };
  b.first = memory_get_zeroed(&w->allocator, bytes, 1);
  if (!b.first) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  bool *sums = (bool *)(b.first + outputs);
  lay_out(&b, sums);
  const unit_shape shape = { .lanes = true, .each = m->each_in, .sums = sums, .block = size,
                             .chunk = is_deep(m) ? DEEP_CHUNK : 0, .apart = size > BLOCK_MIDDLE };
  b.callee = write_unit(w, m->f, m->call.wanted, &shape);
  for (int d = AD_F32; d < AD_DTYPES && b.callee; d++)
    if (b.sums[d]) snprintf(total[d], WRITE_NAME, "%s", unit_take(u, (ad_dtype)d, b.sums[d]*b.parts));
  if (b.callee) write_parts(&b, total);
  memory_release(&w->allocator, b.first, bytes);
  return b.callee != NULL;
}
