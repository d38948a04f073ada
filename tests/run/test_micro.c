/* Steps on very small arrays: every row, data type and length against its kernel, bit for bit; random loops,
 * branches and loops within loops against their bodies, called step by step; messages, and failing memory. */
#include "check.h"
#include "heap.h"

#include "adit.h"
#include "primitives/library.h"
#include "run/carrier.h"

#include <stdlib.h>

static const plan *plan_of(ad_function *f) {
  const plan *p = NULL;
  CHECK_STATUS(function_plan(f, NULL, &p), AD_OK);
  return p;
}

/* --- rows ----------------------------------------------------------------------------------------------- */

enum { LONGEST = 33 };

typedef struct row_case { elementwise_id id; int arity; } row_case;

/* The row, and an operation on an array beside it. */
static void row_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const row_case *c = context;
  const elementwise_row *row = &elementwise_rows[c->id];
  const double a = row->attribute;
  out[0] = ad_record(t, &elementwise_primitives[c->id], c->arity, in, row->attributed ? &a : NULL,
                     row->attributed ? sizeof a : 0);
  out[1] = ad_neg(in[c->arity]);
}

static double special(uint64_t *state) {
  static const double list[] = { 0, -0.0, 1, -1, 0.5, 2, NAN, INFINITY, -INFINITY, 0x1p-1060, 1e300, -3 };
  const int k = check_below(state, 2*(int)(sizeof list/sizeof *list));
  return k < (int)(sizeof list/sizeof *list) ? list[k] : check_uniform(state, -4, 4);
}

static void put_element(ad_dtype dtype, void *data, int64_t i, uint64_t *state) {
  static const int64_t list[] = { 0, 1, -1, 2, 7, INT32_MIN, INT32_MAX, INT64_MIN, INT64_MAX };
  const int64_t whole = list[check_below(state, 9)];
  switch (dtype) {
    case AD_BOOL: ((uint8_t *)data)[i] = (uint8_t)check_below(state, 2); break;
    case AD_I32:  ((int32_t *)data)[i] = (int32_t)whole; break;
    case AD_I64:  ((int64_t *)data)[i] = whole; break;
    case AD_F32:  ((float *)data)[i] = (float)special(state); break;
    default:      ((double *)data)[i] = special(state);
  }
}

/* The same bits, or nan. */
static bool same(ad_dtype dtype, const void *x, const void *y, int64_t n) {
  const size_t size = ad_dtype_bytes(dtype);
  for (int64_t i = 0; i < n; i++) {
    const double a = check_element(dtype, x, i), b = check_element(dtype, y, i);
    if (isnan(a) && isnan(b)) continue;
    if (memcmp((const char *)x + (size_t)i*size, (const char *)y + (size_t)i*size, size)) return false;
  }
  return true;
}

static ad_dtype result_of(const elementwise_row *row, ad_dtype dtype) {
  const elementwise_class kind = row->kind;
  return kind == CLASS_COMPARE || kind == CLASS_PREDICATE || kind == CLASS_LOGICAL ? AD_BOOL : dtype;
}

/* Operands are scalars where `alone` has a bit, else have n elements (n = 0: all are scalars). */
static void check_row(elementwise_id id, ad_dtype dtype, int64_t n, unsigned alone, uint64_t *state) {
  const elementwise_row *row = &elementwise_rows[id];
  row_case c = { id, row->arity };
  ad_type types[4] = { { 0 } };
  double x[4][LONGEST], spread[3][LONGEST], z[LONGEST], want[LONGEST], more[2];
  const int64_t count = n ? n : 1;
  for (int k = 0; k < row->arity; k++) {
    const ad_dtype type = row->kind == CLASS_CHOICE && k == 0 ? AD_BOOL : dtype;
    const bool single = n == 0 || (alone >> k & 1);
    types[k] = ad_type_make(type, single ? 0 : 1, &n);
    for (int64_t i = 0; i < count; i++) put_element(type, x[k], i, state);
    for (int64_t i = 0; i < count; i++) {
      const size_t size = ad_dtype_bytes(type), from = single ? 0 : (size_t)i*size;
      memcpy((char *)spread[k] + (size_t)i*size, (char *)x[k] + from, size);
    }
  }
  types[row->arity] = AD_F64(2);
  x[row->arity][0] = 1, x[row->arity][1] = -2;
  ad_function *f = ad_function_trace("row", row_body, &c, row->arity + 1, types, 2);
  if (!CHECK_THAT(f != NULL, "%s: not traced", row->name)) return;
  CHECK_THAT((plan_of(f)->segments > 0) == (n < LONGEST) || n == LONGEST, "%s of %lld elements", row->name,
             (long long)n);
  const void *in[4] = { x[0], x[1], x[2], x[3] };
  void *out[2] = { z, more };
  CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
  const ad_dtype result = result_of(row, dtype);
  const bool two = row->arity > 1, three = row->arity > 2;
  if (n == 0 && dtype == AD_F64) {
    const double v = types[0].dtype == AD_BOOL ? *(uint8_t *)x[0] : x[0][0];
    want[0] = row->evaluate(v, two ? x[1][0] : 0, three ? x[2][0] : 0, row->attribute);
    if (result == AD_BOOL) *(uint8_t *)want = want[0] != 0;
  } else kernels_best()->row[dtype][id]((size_t)count, want, spread[0], two ? spread[1] : NULL,
                                        three ? spread[2] : NULL, row->attribute);
  CHECK_THAT(same(result, z, want, count), "%s, data type %d, %lld elements, alone %u: %a, not %a", row->name,
             dtype, (long long)n, alone, check_element(result, z, 0), check_element(result, want, 0));
  CHECK(more[0] == -1 && more[1] == 2);
  ad_function_free(f);
}

static void test_rows(void) {
  static const int64_t lengths[] = { 0, 1, 2, 3, 8, 9, 16, 19, 32, 33 };
  uint64_t state = 3;
  for (int id = 0; id < ROW_COUNT; id++)
    for (int dtype = 0; dtype < AD_DTYPES; dtype++) {
      if (!kernels_best()->row[dtype][id]) continue;
      for (size_t l = 0; l < sizeof lengths/sizeof *lengths; l++) {
        const unsigned last = lengths[l] > 1 ? (1u << elementwise_rows[id].arity) - 1 : 1;
        for (unsigned alone = 0; alone < last; alone++)
          for (int k = 0; k < 4; k++)
            check_row((elementwise_id)id, (ad_dtype)dtype, lengths[l], alone, &state);
      }
    }
}

/* Many operations on more than eight elements are a region: 512 results are the most. */
static void many_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var x = in[0];
  (void)t;
  for (int k = 0; k < *(const int *)context; k++) x = k%2 ? ad_abs(x) : ad_sin(x);
  out[0] = x;
}

static void test_many_operations(void) {
  static const struct { int64_t n; int operations, segments; } cases[] = {
    { 8, 100, 1 }, { 9, 56, 1 }, { 9, 57, 0 }, { 32, 16, 1 }, { 32, 17, 0 }
  };
  for (size_t c = 0; c < sizeof cases/sizeof *cases; c++) {
    const ad_type type = AD_F64(cases[c].n);
    int operations = cases[c].operations;
    double x[LONGEST], z[LONGEST];
    ad_function *f = ad_function_trace("many", many_body, &operations, 1, &type, 1);
    for (int i = 0; i < cases[c].n; i++) x[i] = i/10.0 - 1;
    CHECK((int)plan_of(f)->segments == cases[c].segments);
    CHECK_STATUS(ad_function_call(f, (const void *[]){ x }, (void *[]){ z }, NULL), AD_OK);
    for (int i = 0; i < cases[c].n; i++) {
      for (int k = 0; k < operations; k++) x[i] = k%2 ? fabs(x[i]) : sin(x[i]);
      CHECK_NUMBER(z[i], x[i], 1e-13);
    }
    ad_function_free(f);
  }
}

/* --- loops ---------------------------------------------------------------------------------------------- */

/* States in pairs of one type, and a count; then what is shared. */
enum { PAIRS = 7, COUNT = 2*PAIRS, STATES, SHARED_N = STATES, INPUTS, POOL = 64 };

static ad_type type_of(int k) {
  const ad_type list[PAIRS] = { AD_F64(), AD_F64(2), AD_F64(3), AD_I64(), AD_BOOL(), AD_F32(2),
                                ad_type_make(AD_I32, 1, (const int64_t[]){ 3 }) };
  return k >= COUNT ? AD_I64() : list[k/2];
}

typedef struct program { uint64_t seed; int depth, operations; } program;

typedef struct pool { uint64_t state; ad_var v[PAIRS][POOL]; int n[PAIRS]; } pool;

static ad_var pick(pool *p, int type) { return p->v[type][check_below(&p->state, p->n[type])]; }
static void keep(pool *p, int type, ad_var v) { if (p->n[type] < POOL) p->v[type][p->n[type]++] = v; }

enum { REAL, PAIR, TRIPLE, WHOLE, TRUTH, SINGLES, SMALLS };

static ad_var bounded(ad_var x) { return ad_clamp(x, -50, 50); }

static void add_operation(pool *p) {
  const int64_t one = 1;
  const bool either = check_below(&p->state, 2);
  switch (check_below(&p->state, 14)) {
    case 0: keep(p, REAL, ad_add(pick(p, REAL), ad_mul(pick(p, REAL), 0.5))); break;
    case 1: keep(p, REAL, ad_at(pick(p, PAIR), 1, &one)); break;
    case 2: keep(p, REAL, bounded(ad_sum(pick(p, either ? PAIR : TRIPLE), AD_ALL_AXES, false))); break;
    case 3: keep(p, PAIR, ad_stack(2, (const ad_var[]){ pick(p, REAL), pick(p, REAL) }, 0)); break;
    case 4: keep(p, PAIR, bounded(ad_mul(pick(p, PAIR), pick(p, either ? PAIR : REAL)))); break;
    case 5: keep(p, TRIPLE, ad_sub(pick(p, TRIPLE), ad_sin(pick(p, TRIPLE)))); break;
    case 6: keep(p, TRIPLE, ad_slice(pick(p, TRIPLE), 0, 2, 3, -1)); break;
    case 7: keep(p, WHOLE, ad_add(pick(p, WHOLE), pick(p, WHOLE))); break;
    case 8: keep(p, TRUTH, ad_less(pick(p, REAL), pick(p, REAL))); break;
    case 9: keep(p, TRUTH, ad_logical_xor(pick(p, TRUTH), ad_equal(pick(p, WHOLE), pick(p, WHOLE)))); break;
    case 10: keep(p, SINGLES, bounded(ad_sub(pick(p, SINGLES), ad_cast(pick(p, PAIR), AD_F32)))); break;
    case 11: keep(p, SMALLS, ad_add(pick(p, SMALLS), ad_cast(pick(p, TRIPLE), AD_I32))); break;
    default: {
      const int type = check_below(&p->state, PAIRS);
      keep(p, type, ad_select(pick(p, TRUTH), pick(p, type), pick(p, type)));
    }
  }
}

static void more(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_less(in[COUNT], in[SHARED_N]);
}

static void loop_body(ad_tape *t, const ad_var in[], ad_var out[], void *context);
static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context);

static ad_function *traced(const char *name, ad_body *body, program p, int outputs) {
  ad_type types[INPUTS];
  for (int k = 0; k < INPUTS; k++) types[k] = type_of(k);
  ad_function *f = ad_function_trace(name, body, &p, INPUTS, types, outputs);
  CHECK_THAT(f != NULL, "%s is not traced", name);
  return f;
}

/* A loop, or a branch, over all states: new values for the pool. */
static void go_deeper(pool *p, const program *q, const ad_var in[]) {
  const program inner = { check_bits(&p->state), q->depth - 1, q->operations/2 };
  const program other = { check_bits(&p->state), 0, q->operations/2 };
  ad_function *f = traced("inner", check_below(&p->state, 2) ? loop_body : step_body, inner, STATES),
              *g = traced("other", step_body, other, STATES);
  ad_var x[INPUTS], z[STATES];
  for (int k = 0; k < INPUTS; k++) x[k] = k < COUNT && check_below(&p->state, 2) ? pick(p, k/2) : in[k];
  x[COUNT] = ad_sub(in[SHARED_N], ad_integer(check_below(&p->state, 4)));
  ad_cond(pick(p, TRUTH), f, g, x, z);
  for (int k = 0; k < COUNT; k++) keep(p, k/2, z[k]);
  ad_function_free(f), ad_function_free(g);
}

static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const program *q = context;
  pool p = { .state = q->seed };
  (void)t;
  for (int k = 0; k < COUNT; k++) keep(&p, k/2, in[k]);
  for (int k = 0; k < q->operations; k++) {
    if (q->depth > 0 && k == q->operations/2) go_deeper(&p, q, in);
    add_operation(&p);
  }
  for (int k = 0; k < COUNT; k++) {
    const int n = p.n[k/2], late = n - 1 - check_below(&p.state, n < 3 ? n : 3);
    out[k] = check_below(&p.state, 3) ? p.v[k/2][late] : pick(&p, k/2);
  }
  out[COUNT] = ad_add(in[COUNT], ad_integer(1));
}

static void loop_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_function *f = traced("step", step_body, *(program *)context, STATES),
              *g = traced("more", more, *(program *)context, 1);
  ad_while(g, f, &(ad_loop){ .limit = 7 }, in, out);
  ad_function_free(f), ad_function_free(g);
}

typedef struct values { double at[INPUTS][3]; } values;

static void fill(values *v, uint64_t *state, int64_t steps) {
  for (int k = 0; k < INPUTS; k++)
    for (int64_t i = 0; i < ad_type_count(type_of(k)); i++) {
      if (type_of(k).dtype == AD_I64) ((int64_t *)v->at[k])[i] = check_below(state, 3);
      else if (type_of(k).dtype == AD_I32) ((int32_t *)v->at[k])[i] = check_below(state, 9);
      else put_element(type_of(k).dtype, v->at[k], i, state);
    }
  memset(v->at[COUNT], 0, sizeof(int64_t));
  memcpy(v->at[SHARED_N], &steps, sizeof steps);
}

static ad_status call(ad_function *f, values *x, values *z, ad_workspace *w) {
  const void *in[INPUTS];
  void *out[STATES];
  for (int k = 0; k < INPUTS; k++) in[k] = x->at[k];
  for (int k = 0; k < STATES; k++) out[k] = z->at[k];
  memcpy(z->at[SHARED_N], x->at[SHARED_N], sizeof(int64_t));
  return ad_function_call(f, in, out, w);
}

static bool alike(const values *x, const values *y) {
  for (int k = 0; k < STATES; k++)
    if (!same(type_of(k).dtype, x->at[k], y->at[k], ad_type_count(type_of(k)))) return false;
  return true;
}

static void test_loops(void) {
  uint64_t state = 11;
  for (int round = 0; round < 400; round++) {
    const program p = { check_bits(&state), round%3, 4 + check_below(&state, 24) };
    ad_function *loop = traced("loop", loop_body, p, STATES), *step = traced("step", step_body, p, STATES);
    ad_workspace *w = ad_workspace_new();
    CHECK_THAT(plan_of(loop)->whole, "program %d is not one segment", round);
    for (int64_t steps = 0; steps < 8; steps += 1 + (steps > 1)) {
      values x, by_step[2], at_once;
      fill(&x, &state, steps);
      by_step[0] = by_step[1] = x;
      for (int64_t k = 0; k < steps; k++)
        CHECK_STATUS(call(step, &by_step[k&1], &by_step[(k + 1)&1], w), AD_OK);
      CHECK_STATUS(call(loop, &x, &at_once, w), AD_OK);
      CHECK_THAT(alike(&at_once, &by_step[steps&1]), "program %d, %lld steps", round, (long long)steps);
      CHECK_STATUS(call(loop, &x, &x, w), AD_OK);
      CHECK_THAT(alike(&x, &at_once), "program %d, %lld steps, in place", round, (long long)steps);
    }
    values x, z;
    fill(&x, &state, 8);
    CHECK_STATUS(call(loop, &x, &z, w), AD_ERROR_LIMIT);
    CHECK(!strcmp(ad_workspace_message(w), "while: more still holds after 7 steps"));
    ad_workspace_free(w);
    ad_function_free(loop), ad_function_free(step);
  }
}

/* --- errors --------------------------------------------------------------------------------------------- */

static void failing_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_cholesky(ad_neg(in[0]));
}

/* The same words as where no segment is. */
static void test_messages(void) {
  const double x[4] = { 1, 2, 3, 1 };
  double z[4];
  const ad_type type = AD_F64(2, 2);
  ad_function *f = ad_function_trace("failing", failing_body, NULL, 1, &type, 1);
  ad_workspace *w = ad_workspace_new();
  ad_tape *t = ad_tape_new();
  const ad_var v = ad_array(t, type, x);
  ad_var y = ad_none();
  failing_body(t, &v, &y, NULL);
  const ad_status status = ad_read(y, z);
  CHECK(plan_of(f)->whole && status != AD_OK);
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ x }, (void *const[]){ z }, w), status);
  const char *message = ad_workspace_message(w);
  CHECK_THAT(message[0] && strstr(ad_tape_message(t), message), "\"%s\", not \"%s\"", message,
             ad_tape_message(t));
  ad_tape_free(t), ad_workspace_free(w), ad_function_free(f);
}

static ad_function *traced_on(const ad_allocator *a, program p) {
  ad_type types[INPUTS];
  for (int k = 0; k < INPUTS; k++) types[k] = type_of(k);
  return ad_function_trace_with(a, "loop", loop_body, &p, INPUTS, types, STATES, NULL);
}

static void test_memory(void) {
  uint64_t state = 5;
  values x, z, want;
  bool done = false;
  fill(&x, &state, 3);
  for (long k = 0; !done && k < 100000; k++) {
    heap h = { 0 };
    const ad_allocator a = heap_allocator(&h);
    ad_function *f = traced_on(&a, (program){ 77, 1, 12 });
    heap_fail(&h, k, false);
    const ad_status status = call(f, &x, k ? &z : &want, NULL);
    done = k && h.calls < k;
    CHECK_THAT(status == AD_OK || (k && !done && status == AD_ERROR_MEMORY), "allocation %ld: %s", k,
               ad_status_sentence(status));
    if (status == AD_OK && k) CHECK(alike(&z, &want));
    heap_fail(&h, 0, false);
    ad_function_free(f);
    CHECK_THAT(heap_is_empty(&h), "allocation %ld: %s", k, heap_text(&h));
  }
  CHECK(done);
}

/* --- inputs that are absent ----------------------------------------------------------------------------- */

static void absent_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_mul(in[0], in[1]), ad_cos(in[0]));
  out[1] = ad_mul(ad_cast(in[2], AD_F64), ad_add(in[1], 2));
  out[2] = ad_select(in[3], in[1], ad_neg(in[1]));
}

/* They are zeros, also where the call before, on the same memory, gave others. */
static void test_absent(void) {
  const ad_type types[4] = { AD_F64(3), AD_F64(), AD_I64(), AD_BOOL() };
  ad_function *f = ad_function_trace("absent", absent_body, NULL, 4, types, 3);
  ad_workspace *space = ad_workspace_new();
  if (!CHECK(f && space && plan_of(f)->whole)) return;
  for (int absent = 0; absent < 16; absent++) {
    double x[3] = { 0.5, -2, 3 }, s = 1.5, z[5];
    int64_t k = 7;
    uint8_t b = 1;
    const void *all[4] = { x, &s, &k, &b }, *some[4];
    void *const out[3] = { z, z + 3, z + 4 };
    CHECK_STATUS(ad_function_call(f, all, out, space), AD_OK);
    for (int i = 0; i < 4; i++) some[i] = absent >> i & 1 ? NULL : all[i];
    CHECK_STATUS(ad_function_call(f, some, out, space), AD_OK);
    for (int i = 0; i < 3 && absent & 1; i++) x[i] = 0;
    if (absent & 2) s = 0;
    if (absent & 4) k = 0;
    if (absent & 8) b = 0;
    for (int i = 0; i < 3; i++) CHECK_NUMBER(z[i], x[i]*s + cos(x[i]), 1e-15);
    CHECK_NUMBER(z[3], (double)k*(s + 2), 1e-15);
    CHECK(z[4] == (b ? s : -s));
  }
  ad_workspace_free(space);
  ad_function_free(f);
}

/* --- inputs under another name -------------------------------------------------------------------------- */

/* The row is looked at inside a small program and outside of it, under another shape. */
static void renamed_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var row = ad_reshape(in[0], 2, (const int64_t[]){ 1, 3 });
  const ad_var turned = ad_sum(ad_mul(ad_add(row, 1), ad_sin(row)), AD_ALL_AXES, false);
  out[0] = ad_mul(ad_add(in[1], row), turned);
}

/* A program leaves inputs alone: these may be in memory that cannot be written. */
static void test_renamed(void) {
  enum { ROWS = 200 };
  static const double x[3] = { 0.5, -2, 3 };
  static double big[ROWS][3], z[ROWS][3];
  const ad_type types[2] = { AD_F64(3), AD_F64(ROWS, 3) };
  ad_function *f = ad_function_trace("renamed", renamed_body, NULL, 2, types, 1);
  double sum = 0;
  for (int i = 0; i < 3; i++) sum += (x[i] + 1)*sin(x[i]);
  for (int i = 0; i < ROWS*3; i++) big[i/3][i%3] = 0.25*i;
  if (!CHECK(f && !plan_of(f)->whole && plan_of(f)->segments > 0)) return;
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x, big }, (void *[]){ z }, NULL), AD_OK);
  for (int i = 0; i < ROWS*3; i++) CHECK_NUMBER(z[i/3][i%3], (big[i/3][i%3] + x[i%3])*sum, 1e-14);
  ad_function_free(f);
}

int main(void) {
  test_rows();
  test_many_operations();
  test_loops();
  test_messages();
  test_absent();
  test_renamed();
  test_memory();
  return check_summary();
}
