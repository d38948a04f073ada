/* test_run.c -- planner and interpreter against values computed node by node, for random programs.
 *
 * A program is a random graph of operations over operands of mixed shapes and data types: chains that
 * fuse, broadcasts, reductions, reshapes that are aliases, additions into slices, scalars and conditions
 * that cross between scalar programs and array steps. Reference: a tape whose nodes are read one after the
 * other, so that each plan has one step. Against it: a tape that is asked for the outputs only, functions
 * cut from a tape and traced, sets of wanted outputs, lanes.
 *
 * "Exact" programs use only operations whose results are correctly rounded, and must agree in every bit;
 * "smooth" ones use elementary functions too, agree to a few roundings, and are differentiated as well. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"

#include <stdlib.h>

enum { INPUTS = 9, OUTPUTS = 4, MOST_NODES = 80 };

typedef struct recipe {
  uint64_t seed;
  int64_t n;                        /* the size that shapes are made of */
  int length;                       /* operations */
  bool exact, scalars;
} recipe;

/* --- random programs ------------------------------------------------------------------------------------ */

static ad_type input_type(const recipe *r, int i) {
  static const ad_dtype dtypes[INPUTS] = { AD_F64, AD_F64,  AD_F32, AD_I64, AD_BOOL,
                                           AD_F64, AD_BOOL, AD_I32, AD_F64 };
  const int64_t n = r->n,
                shapes[INPUTS][2] = { { n }, { 0 }, { n }, { n }, { 0 }, { 2, n }, { n }, { 0 }, { 2, 1 } };
  static const int ranks[INPUTS] = { 1, 0, 1, 1, 0, 2, 1, 0, 2 };
  ad_type type = ad_type_make(dtypes[i], r->scalars ? 0 : ranks[i], shapes[i]);
  if (!r->exact && (type.dtype == AD_I32 || type.dtype == AD_I64)) type.dtype = AD_F64;
  if (!r->exact && r->seed%2 == 0 && type.dtype == AD_F32) type.dtype = AD_F64;
  return type;
}

typedef struct program {
  uint64_t state;
  const recipe *r;
  ad_tape *t;
  ad_var node[MOST_NODES];
  int count;
} program;

static ad_var pick(program *p) {
  const int recent = p->count < 8 ? p->count : 8;
  return p->node[check_below(&p->state, 2) ? p->count - 1 - check_below(&p->state, recent)
                                           : check_below(&p->state, p->count)];
}

static ad_dtype dtype_of(ad_var x) { return ad_type_of(x).dtype; }
static int rank_of(ad_var x) { return ad_type_of(x).rank; }

/* Whether two operands broadcast to something not too large. */
static bool pair_up(const program *p, ad_var x, ad_var y) {
  ad_type z;
  return ad_type_broadcast(ad_type_of(x), ad_type_of(y), &z) == AD_OK && ad_type_count(z) <= 6*p->r->n + 64;
}

static ad_var none(void) { return ad_scalar(NULL, 0); }

/* Numbers stay within [-100, 100]. */
static ad_var bounded(ad_var x) { return ad_clamp(x, -100, 100); }

static ad_var exact_unary(program *p, ad_var x) {
  switch (check_below(&p->state, 12)) {
    case 0: return ad_neg(x);
    case 1: return ad_abs(x);
    case 2: return bounded(ad_square(x));
    case 3: return ad_sqrt(ad_abs(x));
    case 4: return ad_floor(x);
    case 5: return ad_relu(x);
    case 6: return ad_mul(x, 0.5);
    case 7: return ad_sign(x);
    case 8: return ad_logical_not(x);
    case 9: return ad_is_nan(x);
    case 10: return ad_cast(x, (ad_dtype)check_below(&p->state, AD_DTYPES));
    default: return ad_sub(1, x);
  }
}

static ad_var smooth_unary(program *p, ad_var x) {
  switch (check_below(&p->state, 10)) {
    case 0: return ad_sin(x);
    case 1: return ad_tanh(x);
    case 2: return ad_exp(ad_neg(ad_square(x)));
    case 3: return ad_log1p(ad_square(x));
    case 4: return ad_sigmoid(x);
    case 5: return ad_sqrt(ad_add(ad_square(x), 1));
    case 6: return ad_mul(x, 0.25);
    case 7: return ad_softplus(x);
    case 8: return ad_cast(x, p->r->seed%2 ? AD_F32 : AD_F64);
    default: return ad_reciprocal(ad_add(ad_square(x), 1));
  }
}

static ad_var exact_binary(program *p, ad_var x, ad_var y) {
  switch (check_below(&p->state, 12)) {
    case 0: return ad_add(x, y);
    case 1: return ad_sub(x, y);
    case 2: case 3: return bounded(ad_mul(x, y));
    case 4: return ad_max(x, y);
    case 5: return ad_min(x, y);
    case 6: return ad_less(x, y);
    case 7: return ad_equal(x, y);
    case 8: return ad_logical_and(x, y);
    case 9: return ad_logical_or(x, y);
    case 10: return ad_div(x, ad_add(ad_square(y), 1));
    default: return ad_select(x, y, 2);
  }
}

static ad_var smooth_binary(program *p, ad_var x, ad_var y) {
  switch (check_below(&p->state, 5)) {
    case 0: return ad_add(x, y);
    case 1: return ad_sub(x, y);
    case 2: return ad_mul(ad_tanh(x), y);
    case 3: return ad_div(x, ad_add(ad_square(y), 1));
    default: return ad_hypot(x, ad_add(ad_square(y), 1));
  }
}

static ad_var choose(program *p, ad_var x, ad_var y) {
  const ad_var c = dtype_of(x) == AD_BOOL ? x
                 : p->r->exact            ? ad_greater(x, y)
                                          : p->node[check_below(&p->state, 2) ? 4 : 6];
  return pair_up(p, c, x) && pair_up(p, c, y) ? ad_select(c, x, y) : none();
}

static ad_var reduction(program *p, ad_var x) {
  const int rank = rank_of(x), axis = rank ? check_below(&p->state, rank) : 0;
  const bool keep = check_below(&p->state, 2);
  const ad_axes axes = check_below(&p->state, 2) ? AD_ALL_AXES : ad_axes_make(rank ? 1 : 0, &axis);
  const int64_t count = ad_type_count(ad_type_of(x));
  if (count == 0 && p->r->exact) return bounded(ad_sum(x, axes, keep));
  switch (check_below(&p->state, p->r->exact ? 4 : 3)) {
    case 0: return ad_div(ad_sum(x, axes, keep), (double)(count ? count : 1));
    case 1: return rank ? ad_div(ad_cumsum(x, axis), (double)(count ? count : 1)) : none();
    case 2: return rank && count ? ad_reduce_max(x, axes, keep) : none();
    default: return ad_any(x, axes, keep);
  }
}

static ad_var movement(program *p, ad_var x) {
  const ad_type type = ad_type_of(x);
  const int rank = type.rank, axis = rank ? check_below(&p->state, rank) : 0;
  const int64_t all = -1, dim = rank ? type.dim[axis] : 0,
                start = dim ? check_below(&p->state, (int)(dim < 1000 ? dim : 1000)) : 0;
  switch (check_below(&p->state, 9)) {
    case 0: return ad_reshape(x, 1, &all);
    case 1:
      return rank == 2 ? ad_transpose(x, NULL)
                       : ad_reshape(x, 2, (const int64_t[]){ 1, ad_type_count(type) });
    case 2: return rank ? ad_slice(x, axis, start, dim - start, 1) : none();
    case 3: return rank && dim ? ad_slice(x, axis, dim - 1, dim, -1) : none();
    case 4:
      return rank ? ad_concat(2, (const ad_var[]){ x, ad_slice(x, axis, 0, dim < 2 ? dim : 2, 1) }, axis)
                  : none();
    case 5: return rank == 0 ? ad_broadcast_to(x, 1, &p->r->n) : none();
    case 6: return rank < 3 ? ad_expand(x, axis) : ad_squeeze(x, AD_ALL_AXES);
    case 7: return rank && dim ? ad_sum(ad_slice(x, axis, start, 1, 1), AD_ALL_AXES, false) : none();
    default: return rank ? ad_flip(x, ad_axes_make(1, &axis)) : none();
  }
}

/* slice_add runs in place: its base may also be wanted elsewhere. */
static ad_var addition_into(program *p, ad_var x) {
  const ad_type type = ad_type_of(x);
  if (type.rank == 0 || type.dtype < AD_F32 || type.dim[0] == 0) return none();
  const int64_t start = check_below(&p->state, (int)(type.dim[0] < 1000 ? type.dim[0] : 1000));
  const ad_var part = ad_slice(x, 0, start, type.dim[0] - start, 1),
               from = ad_slice(x, 0, 0, type.dim[0] - start, 1);
  return ad_slice_add(ad_mul(x, 0.5), check_below(&p->state, 2) ? part : from, 0, start, 1);
}

static ad_var product(program *p, ad_var x, ad_var y) {
  if (p->r->exact || rank_of(x) != 1 || rank_of(y) != 1 || dtype_of(x) < AD_F32 || dtype_of(x) != dtype_of(y))
    return none();
  if (ad_type_count(ad_type_of(x)) != ad_type_count(ad_type_of(y)) || ad_type_count(ad_type_of(x)) == 0)
    return none();
  return ad_div(ad_dot(x, y), (double)ad_type_count(ad_type_of(x)));
}

static ad_var random_operation(program *p) {
  const ad_var x = pick(p), y = pick(p);
  const bool real = dtype_of(x) >= AD_F32, structured = !p->r->scalars;
  switch (check_below(&p->state, structured ? 12 : 7)) {
    case 0: case 1: return p->r->exact ? exact_unary(p, x) : real ? smooth_unary(p, x) : none();
    case 2: case 3: case 4: case 5:
      if (!pair_up(p, x, y) || (!p->r->exact && (!real || dtype_of(y) < AD_F32))) return none();
      return p->r->exact ? exact_binary(p, x, y) : smooth_binary(p, x, y);
    case 6: return pair_up(p, x, y) ? choose(p, x, y) : none();
    case 7: return p->r->exact || real ? reduction(p, x) : none();
    case 8: case 9: return movement(p, x);
    case 10: return addition_into(p, x);
    default: return product(p, x, y);
  }
}

/* Records the program on the inputs in[]; every node that it names is kept. */
static void build(program *p, const recipe *r, ad_tape *t, const ad_var in[]) {
  *p = (program){ .state = r->seed, .r = r, .t = t };
  for (int i = 0; i < INPUTS; i++) p->node[p->count++] = in[i];
  while (p->count < INPUTS + r->length) {
    const ad_var z = random_operation(p);
    if (z.tape != t || !ad_is_valid(z)) {
      if (ad_tape_status(t) != AD_OK) return;
      continue;
    }
    if (ad_type_count(ad_type_of(z)) <= 8*r->n + 64) p->node[p->count++] = z;
  }
}

/* The last node, two from anywhere (inputs too, and perhaps twice the same), and one from the middle. */
static int output_node(const recipe *r, int j) {
  uint64_t state = r->seed + 77 + (uint64_t)j;
  const int last = INPUTS + r->length - 1;
  return j == 0 ? last : j == 3 ? INPUTS + r->length/2 : check_below(&state, last + 1);
}

/* --- running -------------------------------------------------------------------------------------------- */

typedef struct memory {
  void *in[INPUTS], *want[OUTPUTS], *got[OUTPUTS];
  ad_type type[OUTPUTS];
} memory;

static void *room_for(ad_type type) { return calloc(ad_type_bytes(type) + 8, 1); }

static void fill_inputs(const recipe *r, memory *m) {
  uint64_t state = r->seed*31 + 7;
  for (int i = 0; i < INPUTS; i++) {
    const ad_type type = input_type(r, i);
    m->in[i] = room_for(type);
    for (int64_t e = 0; e < ad_type_count(type); e++) {
      const double v = type.dtype < AD_F32 ? check_below(&state, 7) - 3 : check_uniform(&state, -2, 2);
      check_set_element(type.dtype, m->in[i], e, type.dtype == AD_BOOL ? check_below(&state, 2) : v);
    }
  }
}

static void free_memory(memory *m) {
  for (int i = 0; i < INPUTS; i++) free(m->in[i]);
  for (int j = 0; j < OUTPUTS; j++) {
    free(m->want[j]);
    free(m->got[j]);
  }
}

static ad_tape *record(const recipe *r, const memory *m, program *p) {
  ad_tape *t = ad_tape_new();
  ad_var in[INPUTS];
  for (int i = 0; i < INPUTS; i++) in[i] = ad_array(t, input_type(r, i), m->in[i]);
  build(p, r, t, in);
  CHECK_THAT(ad_tape_status(t) == AD_OK, "seed %llu, n %lld: %s", (unsigned long long)r->seed,
             (long long)r->n, ad_tape_message(t));
  return t;
}

/* All nodes, one after the other. */
static void compute_reference(const recipe *r, memory *m) {
  program p;
  ad_tape *t = record(r, m, &p);
  void *room = malloc(16*(size_t)(8*r->n + 64) + 64);
  for (int i = 0; i < p.count; i++) CHECK_STATUS(ad_read(p.node[i], room), AD_OK);
  for (int j = 0; j < OUTPUTS; j++) {
    const ad_var y = p.node[output_node(r, j)];
    m->type[j] = ad_type_of(y);
    m->want[j] = room_for(m->type[j]);
    m->got[j] = room_for(m->type[j]);
    CHECK_STATUS(ad_read(y, m->want[j]), AD_OK);
  }
  free(room);
  ad_tape_free(t);
}

/* Smooth programs of odd seeds have f32 in them. */
static double tolerance_of(const recipe *r) { return r->exact ? 0 : r->seed%2 ? 3e-4 : 1e-9; }

static void compare_at(const recipe *r, const memory *m, int j, const char *way) {
  const ad_dtype dtype = m->type[j].dtype;
  int64_t e = 0;
  const int64_t count = ad_type_count(m->type[j]);
  while (
      e < count
      && check_near(check_element(dtype, m->got[j], e), check_element(dtype, m->want[j], e), tolerance_of(r)))
    e++;
  CHECK_THAT(e == count, "%s: seed %llu, n %lld, %d operations, output %d, element %lld: %.17g, not %.17g",
             way, (unsigned long long)r->seed, (long long)r->n, r->length, j, (long long)e,
             check_element(dtype, m->got[j], e), check_element(dtype, m->want[j], e));
  memset(m->got[j], 0x55, ad_type_bytes(m->type[j]));
}

static void test_tape(const recipe *r, memory *m) {
  program p;
  ad_tape *t = record(r, m, &p);
  for (int j = 0; j < OUTPUTS; j++) {
    CHECK_STATUS(ad_read(p.node[output_node(r, j)], m->got[j]), AD_OK);
    compare_at(r, m, j, "tape");
  }
  ad_tape_free(t);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const recipe *r = context;
  program p;
  build(&p, r, t, in);
  for (int j = 0; j < OUTPUTS && ad_tape_status(t) == AD_OK; j++) out[j] = p.node[output_node(r, j)];
}

static ad_function *trace(recipe *r) {
  ad_type types[INPUTS];
  ad_report report;
  for (int i = 0; i < INPUTS; i++) types[i] = input_type(r, i);
  ad_function *f = ad_function_trace_report("program", body, r, INPUTS, types, OUTPUTS, &report);
  CHECK_THAT(f, "seed %llu: trace: %s", (unsigned long long)r->seed, report.message);
  return f;
}

static ad_function *cut(const recipe *r, const memory *m) {
  program p;
  ad_tape *t = record(r, m, &p);
  ad_var out[OUTPUTS];
  for (int j = 0; j < OUTPUTS; j++) out[j] = p.node[output_node(r, j)];
  ad_function *f = ad_function_new("program", INPUTS, p.node, OUTPUTS, out);
  CHECK_THAT(f, "seed %llu: new: %s", (unsigned long long)r->seed, ad_tape_message(t));
  ad_tape_free(t);
  return f;
}

static void call_and_compare(const recipe *r, memory *m, ad_function *f, unsigned wanted, ad_workspace *w,
                             const char *way) {
  void *out[OUTPUTS];
  for (int j = 0; j < OUTPUTS; j++) out[j] = wanted >> j & 1 ? m->got[j] : NULL;
  CHECK_STATUS(ad_function_call(f, (const void *const *)m->in, out, w), AD_OK);
  for (int j = 0; j < OUTPUTS; j++)
    if (out[j]) compare_at(r, m, j, way);
}

/* The bits of a second run are those of the first. */
static void test_same_bits(const recipe *r, memory *m, ad_function *f, ad_workspace *w) {
  void *first[OUTPUTS];
  CHECK_STATUS(ad_function_call(f, (const void *const *)m->in, m->got, w), AD_OK);
  for (int j = 0; j < OUTPUTS; j++) {
    const size_t bytes = ad_type_bytes(m->type[j]);
    first[j] = room_for(m->type[j]);
    if (bytes) memcpy(first[j], m->got[j], bytes);
    memset(m->got[j], 0x33, bytes);
  }
  CHECK_STATUS(ad_function_call(f, (const void *const *)m->in, m->got, NULL), AD_OK);
  for (int j = 0; j < OUTPUTS; j++) {
    CHECK_THAT(!memcmp(first[j], m->got[j], ad_type_bytes(m->type[j])),
               "seed %llu, n %lld: other bits in the second run", (unsigned long long)r->seed,
               (long long)r->n);
    free(first[j]);
  }
}

static void test_function(const recipe *r, memory *m, ad_function *f, const char *way) {
  if (!f) return;
  ad_workspace *w = ad_workspace_new();
  call_and_compare(r, m, f, 15, w, way);
  call_and_compare(r, m, f, 1, w, way);
  call_and_compare(r, m, f, 6, NULL, way);
  call_and_compare(r, m, f, 8, w, way);
  call_and_compare(r, m, f, 0, w, way);
  test_same_bits(r, m, f, w);
  ad_workspace_free(w);
  ad_function_free(f);
}

/* --- derivatives of smooth programs --------------------------------------------------------------------- */

static ad_var objective(const recipe *r, ad_tape *t, const ad_var in[]) {
  program p;
  ad_var sum = ad_real(0);
  build(&p, r, t, in);
  for (int j = 0; j < OUTPUTS && ad_tape_status(t) == AD_OK; j++) {
    const ad_var y = p.node[output_node(r, j)];
    if (dtype_of(y) >= AD_F32) sum = ad_add(sum, ad_cast(ad_sum(y, AD_ALL_AXES, false), AD_F64));
  }
  return ad_add(sum, in[1]);
}
static void objective_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  out[0] = objective(context, t, in);
}

/* The gradient as a function against the numeric sweep, and against the recorded one. */
static void test_gradient(recipe *r, const memory *m) {
  ad_type types[INPUTS];
  ad_var x[INPUTS], g[INPUTS], floats[INPUTS];
  void *out[INPUTS + 1] = { NULL };
  int n = 0;
  ad_tape *t = ad_tape_new();
  for (int i = 0; i < INPUTS; i++) {
    types[i] = input_type(r, i);
    x[i] = ad_array(t, types[i], m->in[i]);
    if (types[i].dtype >= AD_F32) {
      floats[n++] = x[i];
      out[n] = room_for(types[i]);
    }
  }
  const ad_var y = objective(r, t, x);
  ad_function *f = ad_function_trace("objective", objective_body, r, INPUTS, types, 1),
              *d = ad_function_gradient(f, 0, NULL);
  CHECK(d);
  CHECK_STATUS(ad_function_call(d, (const void *const *)m->in, out, NULL), AD_OK);
  CHECK_STATUS(ad_backward(y), AD_OK);
  CHECK_STATUS(ad_grad(y, n, floats, g), AD_OK);
  for (int i = 0; i < n; i++) {
    const ad_type type = ad_type_of(floats[i]);
    const double tolerance = r->seed%2 ? 2e-3 : 1e-8;
    void *numeric = room_for(type), *recorded = room_for(type);
    CHECK_STATUS(ad_read_adjoint(floats[i], numeric), AD_OK);
    CHECK_STATUS(ad_read(g[i], recorded), AD_OK);
    int64_t e = 0, count = ad_type_count(type);
    while (e < count
           && check_near(check_element(type.dtype, out[i + 1], e), check_element(type.dtype, numeric, e),
                         tolerance)
           && check_near(check_element(type.dtype, recorded, e), check_element(type.dtype, numeric, e),
                         tolerance))
      e++;
    CHECK_THAT(e == count,
               "gradient: seed %llu, n %lld, input %d, element %lld: function %g, backward %g, grad %g",
               (unsigned long long)r->seed, (long long)r->n, i, (long long)e,
               check_element(type.dtype, out[i + 1], e), check_element(type.dtype, numeric, e),
               check_element(type.dtype, recorded, e));
    free(numeric), free(recorded), free(out[i + 1]);
  }
  ad_function_free(f);
  ad_function_free(d);
  ad_tape_free(t);
}

/* --- lanes ---------------------------------------------------------------------------------------------- */

/* A function of scalars at many points against calls one by one. */
static void test_lanes(recipe *r, int64_t points) {
  memory m = { 0 };
  ad_function *f = trace(r);
  uint64_t state = r->seed;
  for (int i = 0; i < INPUTS; i++) {
    const ad_dtype dtype = input_type(r, i).dtype;
    m.in[i] = calloc((size_t)points + 1, 8);
    for (int64_t k = 0; k < points; k++)
      check_set_element(dtype, m.in[i], k,
                        dtype == AD_BOOL ? check_below(&state, 2)
                        : dtype < AD_F32 ? check_below(&state, 9) - 4
                                         : check_uniform(&state, -2, 2));
  }
  for (int j = 0; j < OUTPUTS; j++) m.got[j] = calloc((size_t)points + 1, 8);
  CHECK_STATUS(ad_function_call_lanes(f, (size_t)points, (const void *const *)m.in, m.got, NULL), AD_OK);
  int64_t k = 0;
  bool same = true;
  double want = 0, got = 0;
  for (; k < points && same; k++) {
    double room[OUTPUTS] = { 0 };
    const void *in[INPUTS];
    void *out[OUTPUTS];
    for (int i = 0; i < INPUTS; i++) in[i] = (char *)m.in[i] + (size_t)k*ad_type_bytes(input_type(r, i));
    for (int j = 0; j < OUTPUTS; j++) out[j] = &room[j];
    CHECK_STATUS(ad_function_call(f, in, out, NULL), AD_OK);
    for (int j = 0; j < OUTPUTS && same; j++) {
      const ad_dtype dtype = ad_function_output_type(f, j).dtype;
      want = check_element(dtype, &room[j], 0), got = check_element(dtype, m.got[j], k);
      same = check_near(got, want, tolerance_of(r));
    }
  }
  CHECK_THAT(same, "lanes: seed %llu, %lld points, point %lld: %.17g, not %.17g", (unsigned long long)r->seed,
             (long long)points, (long long)k - 1, got, want);
  ad_function_free(f);
  free_memory(&m);
}

static void test_recipe(recipe *r) {
  memory m = { 0 };
  fill_inputs(r, &m);
  compute_reference(r, &m);
  test_tape(r, &m);
  test_function(r, &m, cut(r, &m), "cut function");
  test_function(r, &m, trace(r), "traced function");
  if (!r->exact) test_gradient(r, &m);
  free_memory(&m);
}

int main(void) {
  static const struct { int64_t n; int programs; } sizes[] = {
    { 0, 150 }, { 1, 150 }, { 2, 150 }, { 511, 60 }, { 512, 60 }, { 513, 60 }, { 5000, 20 }, { 100000, 4 }
  };
  for (size_t s = 0; s < sizeof sizes/sizeof *sizes; s++)
    for (int i = 0; i < sizes[s].programs; i++)
      for (int exact = 0; exact < 2; exact++) {
        recipe r = {
          .seed = 1000 * (uint64_t)s + (uint64_t)i, .n = sizes[s].n, .length = 4 + i % 40, .exact = exact
        };
        test_recipe(&r);
        r.scalars = true;
        if (s < 2) test_recipe(&r);
        if (s < 2) test_lanes(&r, (int64_t[]){ 0, 1, 63, 64, 65, 700 }[i%6]);
      }
  return check_summary();
}
