/* casadi.c -- entry points with the calling convention of CasADi's generated functions, and their companions.
 *
 * A unit wants its arrays dense, row-major, of their own types, and all of them; here they come as doubles,
 * matrices by columns, and any may be missing. An array that is the same in both forms is used where it lies.
 * Others are copied from and to the work memory, where also are zeros for inputs that are missing, and room
 * for results that nobody wants. Work memory of other types is cut from the end of the array of doubles: each
 * piece of it has one type throughout a call.
 *
 * The convention: CasADi user guide, Generating C-code, API of the generated code.
 */
#include "write/file.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* --- shapes --------------------------------------------------------------------------------------------- */

typedef struct matrix { int64_t rows, columns; } matrix;

static matrix matrix_of(const ad_type *type) {
  if (type->rank == 2) return (matrix){ type->dim[0], type->dim[1] };
  return (matrix){ ad_type_count(*type), 1 };
}

/* Are rows and columns two orders of the elements? */
static bool is_transposed(const ad_type *type) {
  const matrix m = matrix_of(type);
  return m.rows > 1 && m.columns > 1;
}

static bool is_copied(const ad_type *type) { return type->dtype != AD_F64 || is_transposed(type); }

static const ad_type *input_type(const entry *e, int k) { return &node_type(e->f->body, e->f->in[k])->type; }
static const ad_type *output_type(const entry *e, int j) {
  return &node_type(e->f->body, e->f->out[j])->type;
}

/* --- work memory ---------------------------------------------------------------------------------------- */

/* Where things are: elements of each type, the unit's own work memory first. */
typedef struct layout {
  size_t *in, *out;                 /* of each array its first element, among those of its type */
  size_t zeros;                     /* shared by all inputs that are not copied */
  size_t count[AD_DTYPES];
} layout;

static size_t take(layout *l, ad_dtype dtype, const ad_type *type) {
  const int64_t n = ad_type_count(*type);
  const size_t at = l->count[dtype];
  l->count[dtype] += n > 0 ? (size_t)n : 1;
  return at;
}

static void take_zeros(layout *l, const entry *e) {
  const ad_type *most = NULL;
  for (int k = 0; k < e->f->n_in; k++) {
    const ad_type *type = input_type(e, k);
    if (e->code->uses[k] && !is_copied(type) && (!most || ad_type_count(*type) > ad_type_count(*most)))
      most = type;
  }
  if (most) l->zeros = take(l, AD_F64, most);
}

static size_t layout_bytes(const entry *e) {
  return ((size_t)e->f->n_in + (size_t)e->f->n_out + 1)*sizeof(size_t);
}

static bool layout_open(const file *p, layout *l, const entry *e) {
  *l = (layout){ .in = memory_get_zeroed(&p->w.allocator, layout_bytes(e), 1) };
  if (!l->in) return false;
  l->out = l->in + e->f->n_in;
  for (int d = 0; d < AD_DTYPES; d++) l->count[d] = e->code->pool[d] ? e->code->need[d] : 0;
  take_zeros(l, e);
  for (int k = 0; k < e->f->n_in; k++) {
    const ad_type *type = input_type(e, k);
    if (e->code->uses[k] && is_copied(type)) l->in[k] = take(l, type->dtype, type);
  }
  for (int j = 0; j < e->f->n_out; j++) {
    const ad_type *type = output_type(e, j);
    l->out[j] = take(l, type->dtype, type);
  }
  return true;
}

static void layout_close(const file *p, layout *l, const entry *e) {
  memory_release(&p->w.allocator, l->in, layout_bytes(e));
}

/* Bytes behind the doubles; 7 are for alignment, since w may be an array of floats. */
static size_t other_bytes(const layout *l) {
  size_t bytes = l->count[AD_I64] ? 7 : 0;
  for (int d = 0; d < AD_F64; d++) bytes += l->count[d]*write_size((ad_dtype)d);
  return bytes;
}

/* "wl", "wf", ..: where the elements of other types begin, one type behind the other, the widest first. */
static void put_pools(text *to, const layout *l) {
  static const ad_dtype order[] = { AD_I64, AD_F32, AD_I32, AD_BOOL };
  char last[64], end[32];
  snprintf(end, sizeof end, "w + %zu", l->count[AD_F64]);
  snprintf(last, sizeof last, "%s", end);
  if (l->count[AD_I64]) {
    text_put(to, "  unsigned char *const end = (unsigned char *)(%s);\n", end);
    snprintf(last, sizeof last, "end + (8 - (uintptr_t)end %% 8) %% 8");
  }
  for (size_t k = 0; k < sizeof order/sizeof *order; k++) {
    const ad_dtype d = order[k];
    if (!l->count[d]) continue;
    text_put(to, "  %s *const %s = (%s *)(void *)(%s);\n", write_type(d), write_pool(d), write_type(d), last);
    snprintf(last, sizeof last, "%s + %zu", write_pool(d), l->count[d]);
  }
}

/* --- the entry point ------------------------------------------------------------------------------------ */

static void put_prototype(const file *p, text *to, const entry *e) {
  const char *name = p->w.prefix;
  text_put(to, "%s_EXPORT int %s(const %s_real **arg, %s_real **res, %s_int *iw, %s_real *w, int mem)", name,
           e->name, name, name, name, name);
}

/* "w[3 + i]" */
static void put_element(char to[64], const char *pool, size_t at, const char *index) {
  if (at) snprintf(to, 64, "%s[%zu + %s]", pool, at, index);
  else snprintf(to, 64, "%s[%s]", pool, index);
}

/* The loops over the elements of an array; native: element of the row-major array, foreign: of the other. */
static void put_loops(text *to, const ad_type *type, size_t at, char native[64], char foreign[64]) {
  const matrix m = matrix_of(type);
  char index[40] = "i";
  snprintf(foreign, 64, "[i]");
  if (is_transposed(type)) {
    text_put(to, "    for (int64_t j = 0; j < %lld; j++)\n  ", (long long)m.columns);
    snprintf(index, sizeof index, "%lld*i + j", (long long)m.columns);
    snprintf(foreign, 64, "[i + %lld*j]", (long long)m.rows);
  }
  text_put(to, "    for (int64_t i = 0; i < %lld; i++)\n",
           (long long)(is_transposed(type) ? m.rows : ad_type_count(*type)));
  put_element(native, write_pool(type->dtype), at, index);
}

static void put_input_copy(file *p, text *to, const ad_type *type, int k, size_t at) {
  char native[64], foreign[64], value[128];
  text_put(to, "  %s *const x%d = %s + %zu;\n  {\n    const R *const from = arg[%d];\n",
           write_type(type->dtype), k, write_pool(type->dtype), at, k);
  put_loops(to, type, at, native, foreign);
  snprintf(value, sizeof value, "(from ? from%s : 0)", foreign);
  text_put(to, "%s      %s = ", is_transposed(type) ? "  " : "", native);
  put_cast(&p->w, to, AD_F64, type->dtype, value);
  text_put(to, ";\n  }\n");
}

static void put_input(file *p, text *to, const entry *e, int k, const layout *l) {
  char element[64];
  const ad_type *type = input_type(e, k);
  if (!e->code->uses[k]) return;
  if (is_copied(type)) {
    put_input_copy(p, to, type, k, l->in[k]);
    return;
  }
  text_put(to, "  const R *x%d = arg[%d];\n  if (!x%d) {\n", k, k, k);
  put_element(element, write_pool(AD_F64), l->zeros, "i");
  text_put(to, "    for (int64_t i = 0; i < %lld; i++) %s = 0;\n", (long long)ad_type_count(*type), element);
  text_put(to, "    x%d = w + %zu;\n  }\n", k, l->zeros);
}

static void put_output(text *to, const entry *e, int j, const layout *l) {
  const ad_type *type = output_type(e, j);
  const char *pool = write_pool(type->dtype);
  text_put(to, "  %s *const z%d = ", write_type(type->dtype), j);
  if (is_copied(type)) text_put(to, "%s + %zu;\n", pool, l->out[j]);
  else text_put(to, "res[%d] ? res[%d] : w + %zu;\n", j, j, l->out[j]);
}

static void put_output_copy(file *p, text *to, const entry *e, int j, size_t at) {
  char native[64], foreign[64];
  const ad_type *type = output_type(e, j);
  if (!is_copied(type)) return;
  text_put(to, "  if (res[%d])\n", j);
  put_loops(to, type, at, native, foreign);
  text_put(to, "%s      res[%d]%s = ", is_transposed(type) ? "  " : "", j, foreign);
  put_cast(&p->w, to, type->dtype, AD_F64, native);
  text_put(to, ";\n");
}

static void put_evaluation(file *p, text *to, const entry *e, const layout *l) {
  bool args = false;
  for (int k = 0; k < e->f->n_in; k++) args |= e->code->uses[k] != 0;
  text_put(to, "\n");
  put_prototype(p, to, e);
  text_put(to, " {\n  (void)iw, (void)mem;\n");
  if (!args) text_put(to, "  (void)arg;\n");
  if (!e->f->n_out) text_put(to, "  (void)res;\n");
  if (!l->count[AD_F64] && !other_bytes(l)) text_put(to, "  (void)w;\n");
  put_pools(to, l);
  for (int k = 0; k < e->f->n_in; k++) put_input(p, to, e, k, l);
  for (int j = 0; j < e->f->n_out; j++) put_output(to, e, j, l);
  text_put(to, e->code->fails ? "  const int failed = " : "  ");
  put_call(to, e);
  if (e->code->fails) text_put(to, "  if (failed) return failed;\n");
  for (int j = 0; j < e->f->n_out; j++) put_output_copy(p, to, e, j, l->out[j]);
  text_put(to, "  return 0;\n}\n");
}

/* --- companions ----------------------------------------------------------------------------------------- */

/* What each returns, its name behind that of the entry, its parameters, and its text where that is always the
 * same; NULL: it has functions below. F stands for the name of the file, E for that of the entry. */
static const struct { const char *type, *name, *parameters, *text; } companion[] = {
  { "F_int ",         "_n_in",         "void",      "return E_SZ_ARG;" },
  { "F_int ",         "_n_out",        "void",      "return E_SZ_RES;" },
  { "F_real ",        "_default_in",   "F_int i",   "(void)i;\n  return 0;" },
  { "const char *",   "_name_in",      "F_int i",   NULL },
  { "const char *",   "_name_out",     "F_int i",   NULL },
  { "const F_int *",  "_sparsity_in",  "F_int i",   NULL },
  { "const F_int *",  "_sparsity_out", "F_int i",   NULL },
  { "int ",           "_work",         "F_int *sz_arg, F_int *sz_res, F_int *sz_iw, F_int *sz_w",
    "if (sz_arg) *sz_arg = E_SZ_ARG;\n"
    "  if (sz_res) *sz_res = E_SZ_RES;\n"
    "  if (sz_iw) *sz_iw = E_SZ_IW;\n"
    "  if (sz_w) *sz_w = (F_int)E_SZ_W;\n"
    "  return 0;" },
  { "int ",           "_work_bytes",   "F_int *sz_arg, F_int *sz_res, F_int *sz_iw, F_int *sz_w",
    "if (sz_arg) *sz_arg = (F_int)(E_SZ_ARG*sizeof(const F_real *));\n"
    "  if (sz_res) *sz_res = (F_int)(E_SZ_RES*sizeof(F_real *));\n"
    "  if (sz_iw) *sz_iw = (F_int)(E_SZ_IW*sizeof(F_int));\n"
    "  if (sz_w) *sz_w = (F_int)(E_SZ_W*sizeof(F_real));\n"
    "  return 0;" },
  { "int ",           "_alloc_mem",    "void",      "return 0;" },
  { "int ",           "_init_mem",     "int mem",   "(void)mem;\n  return 0;" },
  { "void ",          "_free_mem",     "int mem",   "(void)mem;" },
  { "int ",           "_checkout",     "void",      "return 0;" },
  { "void ",          "_release",      "int mem",   "(void)mem;" },
  { "void ",          "_incref",       "void",      "" },
  { "void ",          "_decref",       "void",      "" }
};
enum { COMPANIONS = sizeof companion/sizeof *companion };

static void put_template(const file *p, text *to, const entry *e, const char *s) {
  for (; *s; s++)
    if ((*s == 'E' || *s == 'F') && s[1] == '_') text_put(to, "%s", *s == 'E' ? e->name : p->w.prefix);
    else text_put_bytes(to, s, 1);
}

static void put_companion_prototype(const file *p, text *to, const entry *e, int c) {
  text_put(to, "%s_EXPORT ", p->w.prefix);
  put_template(p, to, e, companion[c].type);
  text_put(to, "%s%s(", e->name, companion[c].name);
  put_template(p, to, e, companion[c].parameters);
  text_put(to, ")");
}

/* An array of arrays: pointers would have to be set when the code is loaded. */
static void put_names(text *to, int n, char letter) {
  text_put(to, "  static const char name[%d][%d] = {", n, snprintf(NULL, 0, "%c%d", letter, n - 1) + 1);
  for (int i = 0; i < n; i++) text_put(to, "%s\"%c%d\"", i == 0 ? " " : i % 12 ? ", " : ",\n    ", letter, i);
  text_put(to, " };\n  return i >= 0 && i < %d ? name[i] : 0;\n", n);
}

static void put_patterns(const file *p, text *to, const entry *e, bool outputs) {
  const int n = outputs ? e->f->n_out : e->f->n_in;
  text_put(to, "  static const %s_int pattern[%d][3] = {", p->w.prefix, n);
  for (int i = 0; i < n; i++) {
    const matrix m = matrix_of(outputs ? output_type(e, i) : input_type(e, i));
    text_put(to, "%s{ %lld, %lld, 1 }", i == 0 ? " " : i % 6 ? ", " : ",\n    ", (long long)m.rows,
             (long long)m.columns);
  }
  text_put(to, " };\n  return i >= 0 && i < %d ? pattern[i] : 0;\n", n);
}

static void put_companion(const file *p, text *to, const entry *e, int c) {
  const char *name = companion[c].name;
  const bool outputs = name[strlen(name) - 1] == 't', names = !strncmp(name, "_name", 5);
  const int n = outputs ? e->f->n_out : e->f->n_in;
  put_companion_prototype(p, to, e, c);
  text_put(to, " {\n");
  if (companion[c].text) {
    if (*companion[c].text) {
      text_put(to, "  ");
      put_template(p, to, e, companion[c].text);
      text_put(to, "\n");
    }
  } else if (n == 0) text_put(to, "  (void)i;\n  return 0;\n");
  else if (names) put_names(to, n, outputs ? 'z' : 'x');
  else put_patterns(p, to, e, outputs);
  text_put(to, "}\n");
}

/* --- what file.c asks for ------------------------------------------------------------------------------- */

void put_casadi_types(const file *p, text *to) {
  const char *name = p->w.prefix;
  text_put(to, "\n#ifdef casadi_int\ntypedef casadi_int %s_int;\n#else\ntypedef %s %s_int;\n#endif\n", name,
           p->w.options.convention == AD_CODE_CASADI_INT ? "int" : "long long int", name);
  text_put(to, "\n#if defined(CASADI_SYMBOL_EXPORT)\n#  define %s_EXPORT CASADI_SYMBOL_EXPORT\n", name);
  text_put(to, "#elif defined(_WIN32)\n#  define %s_EXPORT __declspec(dllexport)\n", name);
  text_put(to, "#elif defined(__GNUC__)\n#  define %s_EXPORT __attribute__((visibility(\"default\")))\n",
           name);
  text_put(to, "#else\n#  define %s_EXPORT\n#endif\n", name);
}

static void put_array_comment(text *to, const char *array, int number, const ad_type *type) {
  const matrix m = matrix_of(type);
  text_put(to, " *   %s[%d]  ", array, number);
  put_shape(to, type);
  text_put(to, ": %lld x %lld%s\n", (long long)m.rows, (long long)m.columns,
           is_transposed(type) ? ", by columns" : type->rank > 2 ? ", elements in row-major order" : "");
}

static void put_sizes(const file *p, text *to, const entry *e, const layout *l) {
  const size_t bytes = other_bytes(l);
  text_put(to, "#define %s_SZ_ARG %d\n#define %s_SZ_RES %d\n#define %s_SZ_IW 0\n", e->name, e->f->n_in,
           e->name, e->f->n_out, e->name);
  if (bytes)
    text_put(to, "#define %s_SZ_W (%zu + (%zu + sizeof(%s_real) - 1)/sizeof(%s_real))\n", e->name,
             l->count[AD_F64], bytes, p->w.prefix, p->w.prefix);
  else text_put(to, "#define %s_SZ_W %zu\n", e->name, l->count[AD_F64]);
}

void put_casadi_declaration(const file *p, text *to, const entry *e) {
  layout l;
  if (!layout_open(p, &l, e)) {
    to->failed = true;
    return;
  }
  text_put(to, "\n/* ");
  put_comment_word(to, e->f->name);
  text_put(to, "\n");
  for (int k = 0; k < e->f->n_in; k++) put_array_comment(to, "arg", k, input_type(e, k));
  for (int j = 0; j < e->f->n_out; j++) put_array_comment(to, "res", j, output_type(e, j));
  text_put(to, " */\n");
  put_sizes(p, to, e, &l);
  put_prototype(p, to, e);
  text_put(to, ";\n");
  for (int c = 0; c < COMPANIONS; c++) {
    put_companion_prototype(p, to, e, c);
    text_put(to, ";\n");
  }
  layout_close(p, &l, e);
}

void put_casadi_entry(file *p, text *to, const entry *e) {
  layout l;
  if (!layout_open(p, &l, e)) {
    to->failed = true;
    return;
  }
  put_evaluation(p, to, e, &l);
  for (int c = 0; c < COMPANIONS; c++) put_companion(p, to, e, c);
  layout_close(p, &l, e);
}

static bool check_companions(file *p, const entry *e) {
  char name[WRITE_NAME + 24];
  for (int c = 0; c < COMPANIONS; c++) {
    snprintf(name, sizeof name, "%s%s", e->name, companion[c].name);
    if (!check_name(p, name)) return false;
  }
  return true;
}

/* int must hold the sizes of arrays, and bytes of work memory, which are greatest where reals are doubles. */
static bool check_sizes(file *p, const entry *e) {
  layout l;
  bool good = true;
  if (p->w.options.convention != AD_CODE_CASADI_INT) return true;
  if (!layout_open(p, &l, e)) return writer_fail(&p->w, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < e->f->n_in; k++) good &= ad_type_count(*input_type(e, k)) <= INT_MAX;
  good &= l.count[AD_F64] <= INT_MAX/8 && other_bytes(&l) <= (INT_MAX - 8 - 8*l.count[AD_F64]);
  layout_close(p, &l, e);
  return good
         || writer_fail(&p->w, AD_ERROR_SIZE, "%s has sizes that int, the integer type, does not hold",
                        e->name);
}

bool check_casadi(file *p) {
  for (int i = 0; i < p->n; i++)
    if (!check_companions(p, &p->entry[i]) || !check_sizes(p, &p->entry[i])) return false;
  return true;
}
