/* unit.c -- from a function to a C function: where each value is, cuts, and the text
 * around the statements. */
#include "write/unit.h"
#include "primitives/construct.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stands for the unit's name until it has one: units of the same text are one. */
#define OWN_NAME "\1"

/* --- where things are ----------------------------------------------------------------------------------- */

static const ad_type *node_shape(const unit *u, uint32_t i) { return graph_type(&u->q.g, i); }
static uint32_t tape_node_of(const unit *u, uint32_t i) { return u->q.g.node[i]; }

/* Which parameter an input or output of a scalar form belongs to, and which element of it. */
static void find_element(const unit *u, bool output, uint32_t number, uint32_t *array, int64_t *element) {
  const ad_function *f = u->origin;
  int64_t left = number;
  *array = number;
  *element = 0;
  if (!f) return;
  const uint32_t *node = output ? f->out : f->in;
  for (*array = 0; left >= node_type(f->body, node[*array])->count; ++*array)
    left -= node_type(f->body, node[*array])->count;
  *element = left;
}

static int64_t array_count(const unit *u, bool output, uint32_t array) {
  const ad_function *f = u->origin ? u->origin : u->f;
  return node_type(f->body, (output ? f->out : f->in)[array])->count;
}

/* "x3[0]": the element of a parameter; in lanes, of instance l. */
static void put_parameter(unit *u, text *to, bool output, uint32_t number) {
  uint32_t array;
  int64_t element;
  find_element(u, output, number, &array, &element);
  const bool own = u->shape->lanes && (output || u->shape->each[array]);
  const int64_t count = array_count(u, output, array), block = u->shape->block;
  text_put(to, "%c%u[", output ? 'z' : 'x', array);
  if (!own) text_put(to, "%lld]", (long long)element);
  else if (block) text_put(to, element ? "%lld + l]" : "l]", (long long)(element*block));
  else if (count == 1) text_put(to, "l]");
  else text_put(to, element ? "l*%lld + %lld]" : "l*%lld]", (long long)count, (long long)element);
}

static void put_pool(text *to, ad_dtype dtype, size_t at) {
  text_put(to, at ? "%s + %zu" : "%s", write_pool(dtype), at);
}

/* The element of work memory where a scalar is. */
static void put_slot(unit *u, text *to, ad_dtype dtype, uint32_t slot) {
  text_put(to, u->shape->lanes ? "%s[%u + l]" : "%s[%u]", write_pool(dtype), slot);
}

/* Scalars that array steps write are locals, unless they take over the memory of an array. */
static bool is_local(const unit *u, uint32_t at) {
  return u->q.p->place[at].kind == PLACE_WORK && u->q.life[at].scalar;
}

void put_scalar(unit *u, text *to, uint32_t i, bool plain) {
  const planner *q = &u->q;
  const ad_dtype dtype = node_shape(u, i)->dtype;
  const uint32_t at = q->place_of[i];
  if (q->g.kind[i] == KIND_GIVEN && planner_input(q, i) == NOWHERE)
    put_literal(to, dtype, node_data(q->g.t, tape_node_of(u, i)), plain);
  else if (q->g.kind[i] == KIND_GIVEN) put_parameter(u, to, false, planner_input(q, i));
  else if (u->slot_of[i] != NOWHERE) put_slot(u, to, dtype, u->slot_of[i]);
  else if (q->g.kind[i] == KIND_SCALAR) text_put(to, "v%u", i);
  else {
    if (is_local(u, at)) text_put(to, "s%u", at);
    else {
      put_pointer(u, to, i);
      text_put(to, "[0]");
    }
  }
}

bool unit_view(const unit *u, uint32_t i, int64_t *first) {
  const run_graph *g = &u->q.g;
  return node_view(&u->q, i, first) && u->q.place_of[g->operand[g->operand_start[i]]] == u->q.place_of[i];
}

/* Where in its place node i begins. */
static int64_t find_start(const unit *u, uint32_t i) {
  return u->q.begin[i] - u->q.life[u->q.place_of[i]].low;
}

/* "(w + 12)": element number start of a place. */
static void put_place(unit *u, text *to, uint32_t at, ad_dtype dtype, int64_t start) {
  const place *p = &u->q.p->place[at];
  const int64_t count = (int64_t)(p->bytes/ad_dtype_bytes(dtype));
  uint32_t array = p->number;
  int64_t element = 0;
  if (p->kind == PLACE_INPUT) find_element(u, false, p->number, &array, &element);
  element += start;
  if (p->kind == PLACE_WORK && !is_local(u, at)) {
    text_put(to, "(");
    put_pool(to, dtype, p->offset + (size_t)start);
    text_put(to, ")");
    return;
  }
  if (element) text_put(to, "(");
  if (p->kind == PLACE_FIXED) text_put(to, "%s", write_fixed(u->w, dtype, p->fixed, count));
  else if (p->kind == PLACE_INPUT) text_put(to, "x%u", array);
  else if (p->kind == PLACE_OUTPUT) text_put(to, "z%u", p->number);
  else text_put(to, "(&s%u)", at);
  if (element) text_put(to, " + %lld)", (long long)element);
}

void put_pointer(unit *u, text *to, uint32_t i) {
  const planner *q = &u->q;
  const ad_type *type = node_shape(u, i);
  const uint32_t at = q->place_of[i];
  if (u->slot_of[i] != NOWHERE) {
    text_put(to, "(");
    put_pool(to, type->dtype, u->slot_of[i]);
    text_put(to, ")");
    return;
  }
  if (q->g.kind[i] == KIND_SCALAR) {
    text_put(to, "(&v%u)", i);
    return;
  }
  put_place(u, to, at, type->dtype, find_start(u, i));
}

const char *unit_part(unit *u, uint32_t i, int64_t first) {
  text t = text_on(&u->w->allocator);
  put_place(u, &t, u->q.place_of[i], node_shape(u, i)->dtype, find_start(u, i) + first);
  u->failed |= t.failed;
  const char *s = writer_text(u->w, "%s", text_of(&t));
  written_free(&t);
  return s;
}

static const char *as_text(unit *u, uint32_t i, bool pointer) {
  text t = text_on(&u->w->allocator);
  if (pointer) put_pointer(u, &t, i);
  else put_scalar(u, &t, i, false);
  u->failed |= t.failed;
  const char *s = writer_text(u->w, "%s", text_of(&t));
  written_free(&t);
  return s;
}

const char *unit_pointer(unit *u, uint32_t i) { return as_text(u, i, true); }
const char *unit_scalar(unit *u, uint32_t i) { return as_text(u, i, false); }

/* Where n elements begin that are to have memory from element `at` on: at a line of the cache, unless one
 * holds them all. */
static size_t aligned(ad_dtype dtype, size_t at, size_t n) {
  const size_t line = CACHE_LINE/write_size(dtype);
  return n > line ? (at + line - 1)/line*line : at;
}

size_t unit_vector(const unit *u, ad_dtype dtype) {
  return u->w->native ? CACHE_LINE/write_size(dtype) : 1;
}

const char *unit_take(unit *u, ad_dtype dtype, int64_t n) {
  const size_t count = n ? (size_t)n : 1, at = aligned(dtype, u->own[dtype] + u->used[dtype], count);
  u->used[dtype] = at + count - u->own[dtype];
  if (u->info->need[dtype] < at + count) u->info->need[dtype] = at + count;
  return writer_text(u->w, at ? "(%s + %zu)" : "%s", write_pool(dtype), at);
}

/* --- lines ---------------------------------------------------------------------------------------------- */

static void put_indent(unit *u) {
  for (int k = 0; k < u->w->indent && k < WRITE_INDENT_MOST; k++) text_put(&u->body, "  ");
}

void unit_line(unit *u, const char *format, ...) {
  va_list list;
  put_indent(u);
  va_start(list, format);
  text_put_list(&u->body, format, list);
  va_end(list);
  text_put(&u->body, "\n");
}

void unit_open(unit *u, const char *format, ...) {
  va_list list;
  put_indent(u);
  va_start(list, format);
  text_put_list(&u->body, format, list);
  va_end(list);
  text_put(&u->body, "{\n");
  u->w->indent++;
}

void unit_close(unit *u) {
  u->w->indent--;
  unit_line(u, "}");
}

void unit_output(unit *u, int j, const char *value) {
  text z = text_on(&u->w->allocator);
  uint32_t array;
  int64_t element;
  find_element(u, true, (uint32_t)j, &array, &element);
  put_parameter(u, &z, true, (uint32_t)j);
  unit_line(u, u->shape->sums && u->shape->sums[array] ? "%s += %s;" : "%s = %s;", text_of(&z), value);
  u->failed |= z.failed;
  written_free(&z);
}

void unit_copy(unit *u, const char *to, const char *from, int64_t n) {
  if (n == 1) unit_line(u, "%s[0] = %s[0];", to, from);
  else if (n > 0) unit_line(u, "for (int64_t i = 0; i < %lld; i++) %s[i] = %s[i];", (long long)n, to, from);
}

void unit_call(unit *u, const unit_info *callee, const char *const in[], const char *const out[]) {
  unit_call_lanes(u, callee, "", in, out);
}

void unit_call_lanes(unit *u, const unit_info *callee, const char *lanes, const char *const in[],
                     const char *const out[]) {
  const int n = callee->f->n_in, m = callee->f->n_out;
  const char *comma = *lanes ? ", " : "";
  for (int k = 0; k < n; k++)         /* what the callee does not look at must not look forgotten */
    if (!callee->uses[k] && in[k] && (in[k][0] == '(' ? in[k][1] == '&' : in[k][0] == 'c' || in[k][0] == 'b'))
      unit_line(u, "(void)%s;", in[k]);
  put_indent(u);
  if (callee->fails) text_put(&u->body, "{ const int failed = ");
  text_put(&u->body, "%s(%s", callee->name, lanes);
  for (int k = 0; k < n; k++)
    if (callee->uses[k]) {
      text_put(&u->body, "%s%s", comma, in[k]);
      comma = ", ";
    }
  for (int j = 0; j < m; j++)
    if (callee->key[j]) {
      text_put(&u->body, "%s%s", comma, out[j]);
      comma = ", ";
    }
  for (int d = AD_DTYPES; d-- > 0;) {
    const size_t at = aligned((ad_dtype)d, u->own[d] + u->used[d], callee->need[d]);
    if (!u->own_pools && u->info->need[d] < at + callee->need[d]) u->info->need[d] = at + callee->need[d];
    if (!callee->pool[d]) continue;
    text_put(&u->body, "%s", comma);
    if (u->own_pools) text_put(&u->body, "own_%s", write_pool((ad_dtype)d));
    else put_pool(&u->body, (ad_dtype)d, at);
    comma = ", ";
  }
  if (callee->host) text_put(&u->body, "%shost", comma), comma = ", ";
  if (callee->fixed) text_put(&u->body, "%sfixed", comma);
  text_put(&u->body, callee->fails ? "); if (failed) return failed; }\n" : ");\n");
  u->info->fails |= callee->fails;
}

/* As part of a format between quotes. */
static void put_quoted(text *to, const char *s) {
  for (; *s; s++) {
    const unsigned char c = (unsigned char)*s;
    if (c == '%') text_put(to, "%%%%");
    else if (c < ' ' || c == '"' || c == '\\' || c == '?') text_put(to, "\\%03o", (unsigned)c);
    else text_put_bytes(to, s, 1);
  }
}

void unit_fail(unit *u, const char *condition, ad_status status, const failure *why) {
  put_indent(u);
  if (condition) text_put(&u->body, "if (%s) ", condition);
  if (u->w->native) {
    text_put(&u->body, "return host->fail(host, %d, \"", (int)status);
    put_quoted(&u->body, why->name);
    text_put(&u->body, "%s\", %s, %s);\n", why->text, why->count ? why->count : "0",
             why->number ? why->number : "0");
  } else text_put(&u->body, "return %d;\n", (int)status);
  u->info->fails = true;
}

/* --- parts ---------------------------------------------------------------------------------------------- */

/* Cuts behind every so many operations. A region or a structured operation stays whole. */
static void find_parts(unit *u) {
  const schedule *s = &u->q.s;
  const uint32_t chunk = u->shape->chunk ? u->shape->chunk : (uint32_t)u->w->options.chunk;
  uint32_t weight = 0;
  const bool one = s->count <= chunk + chunk/2;
  for (uint32_t k = 0; k < s->steps; k++) {
    const schedule_step *step = &s->step[k];
    for (uint32_t e = 0; e < step->count; e++) {
      if (!one && weight >= chunk && (step->kind == KIND_SCALAR || e == 0)) weight = 0, u->parts++;
      u->part_of[s->order[step->first + e]] = u->parts;
      weight++;
    }
  }
  u->parts++;
  const run_graph *g = &u->q.g;
  for (uint32_t i = 0; i < g->n; i++)       /* results are computed where their operation is */
    if (g->kind[i] == KIND_RESULT) u->part_of[i] = u->part_of[g->operand[g->operand_start[i]]];
}

/* Is the value of node i read in a part other than its own? *last: in which at last. */
static bool leaves_part(const unit *u, uint32_t i, uint32_t *last) {
  const run_graph *g = &u->q.g;
  *last = u->part_of[i];
  for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++) {
    const uint32_t user = g->user[k];
    if (u->part_of[user] > *last) *last = u->part_of[user];
  }
  if (g->kind[i] != KIND_SCALAR && u->q.is_target[i]) *last = u->parts - 1;      /* copied at the end */
  return *last > u->part_of[i];
}

/* Scalars that no array step made by writing to a local. */
static bool wants_slot(const unit *u, uint32_t i) {
  const run_graph *g = &u->q.g;
  if (g->kind[i] == KIND_SCALAR) return true;
  return g->kind[i] != KIND_GIVEN && u->q.place_of[i] != NOWHERE && is_local(u, u->q.place_of[i]);
}

/* Scalars of array steps under several names (a reshape to and from rank 0) have one local, and one slot. */
static uint32_t shared_local(const unit *u, uint32_t i) {
  return u->q.g.kind[i] != KIND_SCALAR && wants_slot(u, i) ? u->q.place_of[i] : NOWHERE;
}

/* reach[place]: the last part that reads one of the names. */
static void find_reach(const unit *u, uint32_t reach[]) {
  const schedule *s = &u->q.s;
  memset(reach, 0, u->q.p->places*sizeof *reach);
  for (uint32_t k = 0; k < s->count; k++) {
    const uint32_t i = s->order[k], at = shared_local(u, i);
    uint32_t last;
    leaves_part(u, i, &last);
    if (at != NOWHERE && reach[at] < last) reach[at] = last;
  }
}

/* Slots while they are given out: lists of nodes by the part at the end of which their slots become
 * free, and of free ones. */
typedef struct slot_lists {
  uint32_t *list, *next, *slot_at, *reach;
  uint32_t spare[AD_DTYPES], part;
} slot_lists;

/* What was read last before that part is free. */
static void free_slots(const unit *u, slot_lists *l, uint32_t part) {
  for (; l->part < part; l->part++)
    for (uint32_t j = l->list[l->part], after; j != NOWHERE; j = after) {
      const ad_dtype d = node_shape(u, j)->dtype;
      after = l->next[j];
      l->next[j] = l->spare[d];
      l->spare[d] = j;
    }
}

static void assign_slot(unit *u, slot_lists *l, uint32_t i) {
  const uint32_t at = shared_local(u, i);
  const ad_dtype d = node_shape(u, i)->dtype;
  uint32_t last;
  if (at != NOWHERE && l->slot_at[at] != NOWHERE) u->slot_of[i] = l->slot_at[at];
  if (!wants_slot(u, i) || u->slot_of[i] != NOWHERE) return;
  leaves_part(u, i, &last);
  if (at != NOWHERE) last = l->reach[at];
  if (last == u->part_of[i]) return;
  if (l->spare[d] != NOWHERE) {
    u->slot_of[i] = u->slot_of[l->spare[d]];
    l->spare[d] = l->next[l->spare[d]];
  } else {
    u->slot_of[i] = (uint32_t)u->own[d];
    u->own[d] += u->shape->block ? (size_t)u->shape->block : u->shape->lanes ? WRITE_LANES : 1;
  }
  if (at != NOWHERE) l->slot_at[at] = u->slot_of[i];
  l->next[i] = l->list[last];
  l->list[last] = i;
}

/* Slots of work memory for scalars that go from part to part, free again behind the last one. Results get
 * theirs where their operation is, which writes them. */
static bool assign_slots(unit *u) {
  const schedule *s = &u->q.s;
  const run_graph *g = &u->q.g;
  const size_t places = u->q.p->places;
  const size_t bytes = ((size_t)u->parts + s->nodes + 2*places)*sizeof(uint32_t);
  if (u->parts == 1) return true;
  slot_lists l = { .list = memory_get(&u->w->allocator, bytes) };
  if (!l.list) return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  memset(l.list, 0xFF, bytes);
  memset(l.spare, 0xFF, sizeof l.spare);
  l.next = l.list + u->parts;
  l.slot_at = l.next + s->nodes;
  l.reach = l.slot_at + places;
  find_reach(u, l.reach);
  for (uint32_t k = 0; k < s->count; k++) {
    const uint32_t i = s->order[k];
    if (g->kind[i] == KIND_RESULT) continue;
    free_slots(u, &l, u->part_of[i]);
    if (!node_tuple(g->t, g->node[i])) assign_slot(u, &l, i);
    else for (uint32_t e = g->user_start[i]; e < g->user_start[i + 1]; e++) assign_slot(u, &l, g->user[e]);
  }
  memory_release(&u->w->allocator, l.list, bytes);
  return true;
}

static bool has_only_scalars(const unit *u) {
  for (uint32_t k = 0; k < u->q.s.steps; k++)
    if (u->q.s.step[k].kind != KIND_SCALAR) return false;
  return true;
}

/* With work memory given out, only steps on arrays still ask who uses what. */
static bool assign_work(unit *u) {
  unit_join_rows(u);
  for (int d = 0; d < AD_DTYPES; d++)
    if (!assign_pool(&u->q, (ad_dtype)d, &u->own[d]))
      return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  if (!assign_slots(u) || !unit_keep_states(u)) return false;
  memcpy(u->info->need, u->own, sizeof u->own);
  if (has_only_scalars(u)) graph_forget_users(&u->q.g);
  return true;
}

/* --- text of functions ---------------------------------------------------------------------------------- */

static void put_parameters(const unit *u, text *to, const usage *a) {
  const ad_function *f = u->origin ? u->origin : u->f;
  const char *restricted = u->w->options.no_restrict ? "" : "restrict ", *comma = "";
  text_put(to, "(");
  if (u->shape->lanes && !u->shape->block) text_put(to, "int64_t n"), comma = ", ";
  for (int k = 0; k < f->n_in; k++)
    if (a->in[k]) {
      text_put(to, "%sconst %s *%sx%d", comma, write_type(node_type(f->body, f->in[k])->type.dtype),
               restricted, k);
      comma = ", ";
    }
  for (int j = 0; j < f->n_out; j++)
    if (a->out[j]) {
      text_put(to, "%s%s *%sz%d", comma, write_type(node_type(f->body, f->out[j])->type.dtype), restricted,
               j);
      comma = ", ";
    }
  for (int d = AD_DTYPES; d-- > 0;)
    if (a->pool[d]) {
      text_put(to, "%s%s *%s%s", comma, write_type((ad_dtype)d), restricted, write_pool((ad_dtype)d));
      comma = ", ";
    }
  if (a->host) text_put(to, "%sconst struct host *host", comma), comma = ", ";
  if (a->fixed) text_put(to, "%sconst void *const *fixed", comma), comma = ", ";
  text_put(to, *comma ? ")" : "void)");
}

static void put_arguments(const unit *u, text *to, const usage *a) {
  const char *comma = "";
  text_put(to, "(");
  if (u->shape->lanes && !u->shape->block) text_put(to, "n"), comma = ", ";
  for (int k = 0; k < u->arrays_in; k++)
    if (a->in[k]) text_put(to, "%sx%d", comma, k), comma = ", ";
  for (int j = 0; j < u->arrays_out; j++)
    if (a->out[j]) text_put(to, "%sz%d", comma, j), comma = ", ";
  for (int d = AD_DTYPES; d-- > 0;)
    if (a->pool[d]) text_put(to, "%s%s", comma, write_pool((ad_dtype)d)), comma = ", ";
  if (a->host) text_put(to, "%shost", comma), comma = ", ";
  if (a->fixed) text_put(to, "%sfixed", comma);
  text_put(to, ")");
}

/* What a text refers to, by the names of parameters in it. */
static void find_usage(const unit *u, const char *at, usage *a) {
  for (size_t n; *at; at += n ? n : 1) {
    for (n = 0; isalnum((unsigned char)at[n]) || at[n] == '_'; n++) { }
    if (n == 0 || isdigit((unsigned char)*at)) continue;
    const bool numbered = n > 1 && isdigit((unsigned char)at[1]);
    const unsigned long number = numbered ? strtoul(at + 1, NULL, 10) : ULONG_MAX;
    if (*at == 'x' && number < (unsigned long)u->arrays_in) a->in[number] = 1;
    if (*at == 'z' && number < (unsigned long)u->arrays_out) a->out[number] = 1;
    if (n == 4 && !strncmp(at, "host", 4)) a->host = true;
    if (n == 5 && !strncmp(at, "fixed", 5)) a->fixed = true;
    for (int d = 0; d < AD_DTYPES; d++)
      if (n == strlen(write_pool((ad_dtype)d)) && !strncmp(at, write_pool((ad_dtype)d), n)) a->pool[d] = true;
  }
}

static void join_usage(const unit *u, usage *all, const usage *here) {
  for (int k = 0; k < u->arrays_in; k++) all->in[k] |= here->in[k];
  for (int j = 0; j < u->arrays_out; j++) all->out[j] |= here->out[j];
  for (int d = 0; d < AD_DTYPES; d++) all->pool[d] |= here->pool[d];
  all->host |= here->host;
  all->fixed |= here->fixed;
}

/* Statements of scalars alone are worth more where their callers keep operands and results in registers: the
 * states of a loop go through memory otherwise. */
enum { INLINE_MOST = 256 };

static bool is_short(const unit *u) {
  return u->parts == 1 && !u->shape->lanes && u->q.s.count <= INLINE_MOST && has_only_scalars(u);
}

static void put_function(unit *u, text *to, const char *name, const usage *a, const char *body, bool loop) {
  const bool fails = u->info->fails;
  /* short parts in one function again would lose what restrict says */
  const char *inlined = u->shape->chunk && u->shape->apart ? "ADIT_APART " : !is_short(u) ? ""
                      : u->w->native ? "ADIT_INLINE " : "inline ";
  text_put(to, "static %s%s %s", inlined, fails ? "int" : "void", name);
  put_parameters(u, to, a);
  text_put(to, " {\n");
  if (loop && u->shape->block)
    text_put(to, "  ADIT_SIMD for (int64_t l = 0; l < %lld; l++) {\n", (long long)u->shape->block);
  else if (loop) text_put(to, "  ADIT_SIMD for (int64_t l = 0; l < n; l++) {\n");
  text_put_bytes(to, body, strlen(body));
  if (loop) text_put(to, "  }\n");
  if (fails) text_put(to, "  return 0;\n");
  text_put(to, "}\n\n");
}

/* The number of the local v12 that begins at s, NOWHERE if none does; *length: of the name. */
static uint32_t local_number(const char *s, size_t *length) {
  for (*length = 0; isalnum((unsigned char)s[*length]) || s[*length] == '_'; ++*length) { }
  if (*s != 'v' || *length < 2 || !isdigit((unsigned char)s[1])) return NOWHERE;
  return (uint32_t)strtoul(s + 1, NULL, 10);
}

/* Locals that are named once, where they are declared: what they are for turned out not to look at them. */
static void mention_unused(unit *u) {
  const uint32_t n = u->q.g.n;
  size_t length;
  unsigned char *seen = memory_get_zeroed(&u->w->allocator, n + 1, 1);
  text body = text_on(&u->w->allocator);
  bool any = false;
  u->failed |= !seen || u->body.failed;      /* a text that failed ends anywhere */
  for (const char *at = text_of(&u->body); seen && *at; at += length ? length : 1) {
    const uint32_t i = local_number(at, &length);
    if (i < n && seen[i] < 2) seen[i]++;
  }
  for (uint32_t i = 0; seen && i < n; i++) any |= seen[i] == 1;
  for (const char *at = text_of(&u->body); any && *at;) {
    const size_t end = strcspn(at, "\n"), line = end + (at[end] != 0), indent = strspn(at, " ");
    const char *name = strstr(at, " v");
    text_put_bytes(&body, at, line);
    if (!strncmp(at + indent, "const ", 6) && name && name < at + line) {
      const uint32_t i = local_number(name + 1, &length);
      if (i < n && seen[i] == 1) text_put(&body, "%.*s(void)v%u;\n", (int)indent, at, i);
    }
    at += line;
  }
  if (any) {
    written_free(&u->body);
    u->body = body;
  } else written_free(&body);
  memory_release(&u->w->allocator, seen, n + 1);
}

/* One of several parts becomes a function of its own. Whether a unit fails is not known before its end: parts
 * say so themselves. */
static void end_part(unit *u, uint32_t part) {
  if (!u->w->native) mention_unused(u);             /* natively nobody warns of them */
  find_usage(u, text_of(&u->body), &u->here);
  if (u->parts > 1) {
    char name[40];
    text call = text_on(&u->w->allocator);
    snprintf(name, sizeof name, OWN_NAME "_p%u", part);
    put_function(u, &u->calls, name, &u->here, text_of(&u->body), u->shape->lanes);
    put_arguments(u, &call, &u->here);
    if (u->info->fails)
      text_put(&u->main, "  { const int failed = %s%s; if (failed) return failed; }\n", name, text_of(&call));
    else text_put(&u->main, "  %s%s;\n", name, text_of(&call));
    u->failed |= call.failed;
    written_free(&call);
    u->body.length = 0;
    if (u->body.at) u->body.at[0] = 0;
  }
  join_usage(u, &u->all, &u->here);
  memset(u->here.in, 0, (size_t)u->arrays_in);
  memset(u->here.out, 0, (size_t)u->arrays_out);
  memset(u->here.pool, 0, sizeof u->here.pool);
  u->here.host = u->here.fixed = false;
}

/* --- steps ---------------------------------------------------------------------------------------------- */

static void enter_part(unit *u, uint32_t node, uint32_t *part) {
  if (u->part_of[node] == *part) return;
  end_part(u, *part);
  *part = u->part_of[node];
}

static bool write_step(unit *u, const schedule_step *s, uint32_t *part) {
  const uint32_t *node = u->q.s.order + s->first, step = (uint32_t)(s - u->q.s.step);
  row_sums r;
  bool good = true;
  if (find_row_sums(u, step, &r)) return true;
  for (uint32_t k = 0; k < s->count && good; k++) {
    if (u->q.g.kind[node[k]] == KIND_RESULT || unit_gathers(u, node[k])) continue;
    if (is_unread(&u->q, node[k]) || is_row_of_sums(u, node[k])) continue;
    enter_part(u, node[k], part);
    memset(u->used, 0, sizeof u->used);
    if (step && find_row_sums(u, step - 1, &r)) return unit_row_sums(u, &r);
    if (s->kind == KIND_SCALAR) good = unit_statement(u, node[k]);
    else if (s->kind == KIND_ELEMENTWISE) return unit_region(u, s);
    else good = unit_structured(u, node[k]);
  }
  return good;
}

/* Callers give an output that has no elements all the same. */
static void write_empty_outputs(unit *u) {
  for (int j = 0; j < u->arrays_out; j++)
    if (u->info->key[j] && array_count(u, true, (uint32_t)j) == 0) unit_line(u, "(void)z%d;", j);
}

/* Outputs that are inputs, constants, scalars of array steps, or other outputs. */
static void write_copies(unit *u) {
  const run_graph *g = &u->q.g;
  for (int j = 0; j < u->f->n_out; j++) {
    if (u->target[j] == INVALID_INDEX) continue;
    const uint32_t i = graph_find(g, u->target[j]);
    if (g->kind[i] == KIND_SCALAR) continue;
    const place *p = u->q.place_of[i] == NOWHERE ? NULL : &u->p.place[u->q.place_of[i]];
    if (p && p->kind == PLACE_OUTPUT && p->number == (uint32_t)j) continue;
    if (node_shape(u, i)->rank == 0) {
      unit_output(u, j, unit_scalar(u, i));
      continue;
    }
    unit_copy(u, writer_text(u->w, "z%d", j), unit_pointer(u, i), ad_type_count(*node_shape(u, i)));
  }
}

static bool write_steps(unit *u) {
  const schedule *s = &u->q.s;
  uint32_t part = 0, end = 0;
  bool vectors = false;
  u->w->indent = u->shape->lanes ? 2 : 1;
  for (uint32_t k = 0; k < s->steps; k++) {
    const uint32_t node = s->order[s->step[k].first];
    const node_kind kind = u->q.g.kind[node];
    if (k >= end && (kind == KIND_ELEMENTWISE || (kind == KIND_STRUCTURED && !unit_gathers(u, node)))) {
      enter_part(u, node, &part);
      if (!unit_shifts(u, k, &end, &vectors)) return false;
    }
    if (!write_step(u, &s->step[k], &part)) return false;
    if (vectors && k + 1 == end) unit_line(u, "#endif");
  }
  write_copies(u);
  write_empty_outputs(u);
  end_part(u, part);
  return true;
}

/* The function goes behind its parts, and the name into all of them; or it is the name of a unit with the same
 * text. */
static bool name_unit(unit *u) {
  ad_writer *w = u->w;
  text *const all = &u->calls;
  put_function(u, all, OWN_NAME, &u->all, u->parts > 1 ? text_of(&u->main) : text_of(&u->body),
               u->shape->lanes && u->parts == 1);
  if (u->failed || u->body.failed || u->main.failed || all->failed)
    return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  snprintf(u->info->name, sizeof u->info->name, "%.60s_%zu", w->prefix, w->count);
  if (writer_same(w, text_of(all), all->length, u->info->name)) return true;
  text_replace(all, OWN_NAME[0], u->info->name);
  text_take(&w->units, all);
  const bool good = !w->units.failed && w->status == AD_OK;     /* a constant without a name, say */
  return good || writer_fail(w, AD_ERROR_MEMORY, "out of memory");
}

/* --- units ---------------------------------------------------------------------------------------------- */

/* Rows of one input, chosen by another one, that nobody looks at but a map which reads inputs by itself. */
static bool is_gather(unit *u, uint32_t i) {
  const run_graph *g = &u->q.g;
  const ad_type *types[2];
  const uint32_t *x = g->operand + g->operand_start[i], *user = g->user + g->user_start[i];
  if (g->kind[i] != KIND_STRUCTURED || g->operand_start[i + 1] - g->operand_start[i] != 2) return false;
  if (g->user_start[i + 1] - g->user_start[i] != 1 || u->q.is_target[i]) return false;
  if (g->kind[x[0]] != KIND_GIVEN || g->kind[x[1]] != KIND_GIVEN) return false;
  if (!node_tuple(g->t, g->node[*user])) return false;
  const ad_primitive *p = node_primitive(g->t, g->node[*user]);
  if (p != &carrier_primitives[CARRIER_MAP] && p != &adjoint_primitives[CARRIER_MAP]) return false;
  const ad_operation op = node_operation(g->t, g->node[i], types);
  size_t size;
  const carrier *c = node_attribute(g->t, g->node[*user], &size);
  const uint32_t *of = g->operand + g->operand_start[*user];
  bool each = false;
  for (int32_t k = 0; k < c->n_in; k++) each |= of[k] == i && role_in(c)[k] == ROLE_EACH;
  return each && take_is_rows(&op) && unit_map_reads(u, *user);
}

static bool find_gathers(unit *u) {
  const size_t n = u->q.g.n;
  if (!u->w->native) return true;
  u->gathers = memory_get_zeroed(&u->w->allocator, n + 1, 1);
  if (!u->gathers) return false;
  for (uint32_t i = 0; i < n; i++) u->gathers[i] = is_gather(u, i);
  return u->w->status == AD_OK;
}

static int compare_nodes(const void *a, const void *b) {
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Statements in the order of recording, where results of a sweep come as soon as they are there, so that less
 * waits in work memory: a schedule's order has what belongs to one result together. */
static void order_as_recorded(schedule *s) {
  for (uint32_t k = 0; k < s->steps; k++)
    if (s->step[k].kind == KIND_SCALAR)
      qsort(s->order + s->step[k].first, s->step[k].count, sizeof *s->order, compare_nodes);
}

static bool open_graph(unit *u) {
  planner *q = &u->q;
  u->request = (plan_request){ .t = u->f->body, .n_in = u->f->n_in, .in = u->f->in, .n_out = u->f->n_out,
                               .out = u->target };
  const ad_status status = graph_open(&q->g, u->request.t, u->f->n_out, u->target, GRAPH_WRITE);
  if (status != AD_OK) {
    q->g = (run_graph){ .t = u->request.t };
    return writer_fail(u->w, status, "%s", ad_status_sentence(status));
  }
  const bool good = schedule_make(&q->s, &q->g) == AD_OK;
  if (!good) q->s = (schedule){ 0 };
  else if (u->shape->chunk) order_as_recorded(&q->s);
  if (good && planner_open(q) && find_gathers(u) && choose_places(q) && place_outputs(q)) return true;
  return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
}

static bool open_lists(unit *u) {
  const ad_allocator *a = &u->w->allocator;
  const size_t n = u->q.g.n, arrays = (size_t)u->arrays_in + (size_t)u->arrays_out;
  u->part_of = memory_get_zeroed(a, 2*n + 1, sizeof *u->part_of);
  u->here.in = memory_get_zeroed(a, 2*arrays + 1, 1);
  if (!u->part_of || !u->here.in) return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  u->slot_of = u->q.slot_of;
  u->row_step = u->part_of + n;
  u->here.out = u->here.in + u->arrays_in;
  u->all.in = u->here.out + u->arrays_out;
  u->all.out = u->all.in + u->arrays_in;
  return true;
}

static void close_unit(unit *u) {
  const ad_allocator *a = &u->w->allocator;
  const size_t n = u->q.g.n, arrays = (size_t)u->arrays_in + (size_t)u->arrays_out;
  memory_release(a, u->part_of, (2*n + 1)*sizeof *u->part_of);
  memory_release(a, u->here.in, 2*arrays + 1);
  memory_release(a, u->gathers, n + 1);
  memory_release(a, u->target, (size_t)u->f->n_out*sizeof *u->target + 1);
  memory_release(a, u->kept, u->kept_room*sizeof *u->kept);
  written_free(&u->body);
  written_free(&u->calls);
  written_free(&u->main);
  planner_close(&u->q);
  plan_free(&u->p);
}

static bool choose_targets(unit *u, const unsigned char wanted[]) {
  u->target = memory_get(&u->w->allocator, (size_t)u->f->n_out*sizeof *u->target + 1);
  if (!u->target) return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  for (int j = 0; j < u->f->n_out; j++) {
    uint32_t array;
    int64_t element;
    find_element(u, true, (uint32_t)j, &array, &element);
    u->target[j] = wanted[array] ? u->f->out[j] : INVALID_INDEX;
  }
  return true;
}

static bool write_body(unit *u) {
  ad_writer *w = u->w;
  text *const out = w->out;
  unit *const current = w->current;
  const int indent = w->indent;
  w->out = &u->body;
  w->current = u;
  find_parts(u);
  const bool good = assign_work(u) && write_steps(u);
  w->out = out;
  w->current = current;
  w->indent = indent;
  return good;
}

static unit_info *new_info(ad_writer *w, ad_function *f, const bool wanted[], const unit_shape *shape) {
  unit_info *info = memory_get_zeroed(&w->allocator, 1, sizeof *info);
  unsigned char *key = memory_get_zeroed(&w->allocator, unit_key_bytes(f), 1);
  if (!info || !key) {
    memory_release(&w->allocator, info, sizeof *info);
    memory_release(&w->allocator, key, unit_key_bytes(f));
    writer_fail(w, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  info->f = f;
  info->key = key;
  info->uses = key + f->n_out + f->n_in;
  info->lanes = shape->lanes;
  info->block = shape->block;
  for (int j = 0; j < f->n_out; j++)
    if (!wanted || wanted[j]) key[j] = shape->sums && shape->sums[j] ? 2 : 1;
  for (int k = 0; k < f->n_in && shape->each; k++) key[f->n_out + k] = shape->each[k];
  return info;
}

static void free_info(ad_writer *w, unit_info *info) {
  memory_release(&w->allocator, info->key, unit_key_bytes(info->f));
  memory_release(&w->allocator, info, sizeof *info);
}

static const unit_info *find_unit(const ad_writer *w, const unit_info *like) {
  for (size_t i = 0; i < w->count; i++)
    if (w->unit[i]->f == like->f && w->unit[i]->lanes == like->lanes && w->unit[i]->block == like->block
        && !memcmp(w->unit[i]->key, like->key, (size_t)like->f->n_out + (size_t)like->f->n_in))
      return w->unit[i];
  return NULL;
}

static bool keep_info(unit *u) {
  ad_writer *w = u->w;
  if (!memory_reserve(&w->allocator, &w->unit, &w->capacity, w->count + 1, sizeof *w->unit))
    return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  for (int k = 0; k < u->arrays_in; k++) u->info->uses[k] = u->all.in[k];
  memcpy(u->info->pool, u->all.pool, sizeof u->info->pool);
  for (int d = 0; d < AD_DTYPES; d++)           /* where arrays without elements are */
    if (u->all.pool[d] && !u->info->need[d]) u->info->need[d] = 1;
  for (int d = 0; d < AD_DTYPES; d++)           /* of several of these, one behind the other */
    u->info->need[d] = aligned((ad_dtype)d, u->info->need[d], u->info->need[d]);
  u->info->host = u->all.host;
  u->info->fixed = u->all.fixed;
  w->unit[w->count++] = u->info;
  return true;
}

const unit_info *write_unit(ad_writer *w, ad_function *f, const bool wanted[], const unit_shape *shape) {
  unit_info *info = new_info(w, f, wanted, shape);
  if (!info) return NULL;
  const unit_info *found = find_unit(w, info);
  if (found) {
    free_info(w, info);
    return found;
  }
  unit u = { .w = w, .f = f, .arrays_in = f->n_in, .arrays_out = f->n_out, .shape = shape, .info = info };
  u.body = u.calls = u.main = text_on(&w->allocator);
  ad_function *scalars = write_scalar_form(f, shape->lanes);
  if (scalars) u.origin = f, u.f = scalars;
  u.p = (plan){ .allocator = f->body->allocator, .threads = 1 };
  u.q = (planner){ .request = &u.request, .p = &u.p, .g.t = f->body, .status = AD_ERROR_MEMORY,
                   .views = true };
  const bool good = choose_targets(&u, info->key) && open_graph(&u) && open_lists(&u) && write_body(&u)
                    && name_unit(&u) && keep_info(&u);
  close_unit(&u);
  if (good) return info;
  free_info(w, info);
  return NULL;
}
