/* test_allocator.c -- everything a tape and its functions do, with the n-th allocation failing, for n = 1,
 * 2, .. until none does.
 *
 * No crash, also when the program goes on with what failed; every block comes back, with the size it had;
 * and either the status is AD_ERROR_MEMORY or the results are right: a failed allocation may only have
 * been for speed. Once one allocation fails and those after it succeed, once all after it fail. */
#include "check.h"
#include "heap.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/primitive.h"


/* --- work on tapes -------------------------------------------------------------------------------------- */

/* Collects what a piece of work computes: sum of all values that it reads. */
typedef struct ledger { double sum; bool failed; } ledger;

static void enter(ledger *l, double value) { l->sum += value; }
static void note(ledger *l, ad_status status) { l->failed |= status != AD_OK; }
static void enter_array(ledger *l, ad_var x, int count) {
  double room[64] = { 0 };
  note(l, ad_read(x, room));
  for (int i = 0; i < count; i++) enter(l, room[i]);
}

static void own_block(size_t n, double *z, const double *x, const double *y, const double *w) {
  (void)y, (void)w;
  for (size_t i = 0; i < n; i++) z[i] = x[i]*x[i];
}
static const ad_primitive own = {
  .name = "own", .doc = "x^2", .arity = 1, .block = own_block, .rule = { "2*g*x" }
};

static void scalars(ad_tape *t, ledger *l) {
  const ad_var x = ad_scalar(t, 0.5), y = ad_scalar(t, 1.5);
  ad_var z = ad_mul(x, y), g[2] = { ad_none(), ad_none() }, h[2] = { ad_none(), ad_none() };
  for (int i = 0; i < 60; i++) z = ad_add(ad_sin(z), ad_mul(0.001, x));
  z = ad_add(z, ad_record(t, &own, 1, &x, NULL, 0));
  z = ad_add(z, ad_powi(y, 3));
  note(l, ad_backward(z));
  enter(l, ad_adjoint(x) + ad_adjoint(y));
  const ad_var w = ad_select(ad_less(x, y), ad_exp(z), ad_log(z)), in[] = { x, y };
  note(l, ad_grad(w, 2, in, g));
  note(l, ad_grad(g[0], 2, in, h));
  enter(l, ad_value(g[1]) + ad_value(h[0]) + ad_value(h[1]));
  note(l, ad_set_value(x, 0.75));
  enter(l, ad_value(z) + ad_value(w));
}

static void arrays(ad_tape *t, ledger *l) {
  double room[12];
  for (int i = 0; i < 12; i++) room[i] = 0.1*i + 0.3;
  const ad_var m = ad_array(t, AD_F64(3, 4), room), v = ad_array(t, AD_F64(4), room), f = ad_cast(v, AD_F32);
  ad_var parts[20], values = ad_none(), positions = ad_none(), halves[2] = { ad_none(), ad_none() };
  for (int64_t i = 0; i < 19; i++) parts[i] = ad_at(v, 1, (const int64_t[]){ i%4 });
  parts[19] = ad_at(f, 1, (const int64_t[]){ 0 });
  const ad_var all = ad_stack(20, parts, 0), product = ad_matmul(m, v);
  note(l, ad_topk(all, 3, 0, &values, &positions));
  note(l, ad_split(v, 0, 2, NULL, halves));
  const ad_var e = ad_einsum("ij,kj->ik", 2, (const ad_var[]){ m, m });
  const ad_var s = ad_add(ad_sum(ad_exp(ad_mul(product, 0.1)), AD_ALL_AXES, false),
                          ad_add(ad_sum(values, AD_ALL_AXES, false), ad_logsumexp(e, AD_ALL_AXES, false)));
  const ad_var r = ad_add(s, ad_sum(ad_sqrt(ad_relu(ad_sub(ad_sum(halves[0], AD_ALL_AXES, false),
                                                           ad_take(v, ad_fmod(positions, 4), 0)))),
                                    AD_ALL_AXES, false));
  const ad_var y = ad_add(r, ad_cast(ad_sum(ad_square(f), AD_ALL_AXES, false), AD_F64));
  note(l, ad_backward(s));
  note(l, ad_read_adjoint(v, room));
  for (int i = 0; i < 4; i++) enter(l, room[i]);
  note(l, ad_read_adjoint(product, room));
  enter(l, room[0] + room[2]);
  enter(l, ad_value(y));
  enter_array(l, ad_cumsum(v, 0), 4);
  ad_var dv = ad_none(), dm = ad_none(), tangent = ad_none(), c[3] = { ad_none(), ad_none(), ad_none() };
  const ad_var in[] = { v, m };
  ad_var both[2] = { ad_none(), ad_none() };
  note(l, ad_vjp(1, &s, NULL, 2, in, both));
  dv = both[0], dm = both[1];
  note(l, ad_jvp(1, &v, &v, 1, &dv, &tangent));
  enter_array(l, tangent, 4);
  enter_array(l, dm, 12);
  const ad_var xc[2] = { v, ad_none() };
  note(l, ad_taylor(2, 1, &v, xc, 1, &s, c));
  enter(l, ad_value(c[2]));
  room[0] = 0.9;
  note(l, ad_set(v, room));
  enter(l, ad_value(s));
}

static ad_status work_on_a_tape(const ad_allocator *a, ledger *l) {
  ad_tape *t = ad_tape_new_with(a);
  if (!t) return AD_ERROR_MEMORY;
  const ad_mark m = ad_tape_mark(t);
  for (int round = 0; round < 2; round++) {
    scalars(t, l);
    note(l, ad_tape_rewind(t, m));
    arrays(t, l);
    note(l, ad_tape_rewind(t, m));
  }
  const ad_status status = ad_tape_status(t);
  ad_tape_free(t);
  return status;
}

/* --- work with functions -------------------------------------------------------------------------------- */

static ad_var wanted_output(ad_var x, ad_var v) {
  const ad_var u = ad_tanh(ad_mul(v, x)), bool_part = ad_select(ad_greater(x, 0), x, ad_neg(x));
  return ad_add(ad_dot(u, u), ad_mul(bool_part, ad_sum(ad_slice(v, 0, 0, 2, 2), AD_ALL_AXES, false)));
}

static void call(ledger *l, ad_function *f) {
  double x = 0.4, v[3] = { 0.1, 0.2, 0.3 }, room[8][16] = { { 0 } };
  const void *in[] = { &x, v, &x, v };
  void *out[8];
  for (int j = 0; j < 8; j++) out[j] = room[j];
  if (!f) {
    l->failed = true;
    return;
  }
  note(l, ad_function_call(f, in, out, NULL));
  for (int j = 0; j < ad_function_outputs(f) && j < 8; j++)
    for (int i = 0; i < 9; i++) enter(l, room[j][i]);
  out[0] = NULL;
  note(l, ad_function_call(f, in, out, NULL));
}

static void derive_and_call(ledger *l, ad_function *f) {
  ad_function *const derived[] = { ad_function_jvp(f),
                                   ad_function_vjp(f),
                                   ad_function_gradient(f, 0, NULL),
                                   ad_function_jacobian(f, 0, NULL),
                                   ad_function_hessian(f, 0, NULL),
                                   ad_function_hvp(f, 0, NULL) };
  for (int i = 0; i < 6; i++) {
    call(l, derived[i]);
    ad_function_free(derived[i]);
  }
}

static void traced_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = wanted_output(in[0], in[1]);
}

/* A trace reports what its tape, which is gone, had to say. */
static ad_status work_with_traces(const ad_allocator *a, ledger *l) {
  const ad_type types[] = { AD_F64(), AD_F64(3) };
  ad_report report;
  ad_function *f = ad_function_trace_with(a, "traced", traced_body, NULL, 2, types, 1, &report);
  CHECK((f != NULL) == (report.status == AD_OK));
  CHECK((report.message[0] == 0) == (report.status == AD_OK));
  call(l, f);
  if (f) derive_and_call(l, f);
  ad_function_free(f);
  return !f ? report.status : l->failed ? AD_ERROR_MEMORY : AD_OK;
}

static ad_status work_with_functions(const ad_allocator *a, ledger *l) {
  ad_tape *t = ad_tape_new_with(a);
  if (!t) return AD_ERROR_MEMORY;
  const ad_var x = ad_scalar(t, 1), v = ad_array(t, AD_F64(3), NULL), y = wanted_output(x, v),
               in[] = { x, v };
  ad_function *f = ad_function_new("f", 2, in, 1, &y);
  call(l, f);
  if (f) derive_and_call(l, f);
  ad_var z = ad_none();
  if (f) note(l, ad_function_apply(f, in, &z));
  enter(l, f ? ad_value(z) : 0);
  const double at = 0.3, vector[3] = { 0.2, 0.4, 0.1 };
  ad_check_result result = { 0 };
  if (f) note(l, ad_check(f, (const void *const[]){ &at, vector }, &result));
  const ad_var s = ad_exp(ad_sin(x));
  ad_function *g = ad_function_new("g", 1, &x, 1, &s);
  double many[100] = { 0 }, results[100] = { 0 };
  if (g)
    note(l, ad_function_call_lanes(g, 100, (const void *const[]){ many }, (void *const[]){ results }, NULL));
  else l->failed = true;
  enter(l, results[99]);
  ad_function_free(g);
  ad_function_free(f);
  const ad_status status = ad_tape_status(t);
  ad_tape_free(t);
  return status != AD_OK ? status : l->failed ? AD_ERROR_MEMORY : AD_OK;
}

/* --- every n-th failure --------------------------------------------------------------------------------- */

typedef ad_status work(const ad_allocator *a, ledger *l);

static long run(const char *what, work *w, long fail_at, bool keep_failing, double want) {
  heap h = { .fail_at = fail_at, .keep_failing = keep_failing };
  const ad_allocator a = heap_allocator(&h);
  ledger l = { 0 };
  const ad_status status = w(&a, &l);
  CHECK_THAT(heap_is_empty(&h), "%s, allocation %ld failing: %s", what, fail_at, heap_text(&h));
  CHECK_THAT(status == AD_ERROR_MEMORY || (status == AD_OK && !l.failed && check_near(l.sum, want, 1e-12)),
             "%s, allocation %ld failing: status \"%s\", sum %.17g, not %.17g", what, fail_at,
             ad_status_sentence(status), l.sum, want);
  return h.calls;
}

static void test_failures(const char *what, work *w) {
  ledger l = { 0 };
  heap h = { 0 };
  const ad_allocator a = heap_allocator(&h);
  CHECK_STATUS(w(&a, &l), AD_OK);
  CHECK(!l.failed && isfinite(l.sum));
  CHECK_THAT(heap_is_empty(&h), "%s: %s", what, heap_text(&h));
  ledger standard = { 0 };
  CHECK_STATUS(w(NULL, &standard), AD_OK);
  CHECK_THAT(standard.sum == l.sum, "%s: %.17g with the standard allocator, %.17g with the hook", what,
             standard.sum, l.sum);
  long n = 1;
  while (run(what, w, n, false, l.sum) >= n) n++;
  for (long k = 1; k < n; k += 1 + k/64) run(what, w, k, true, l.sum);
  printf("%s: %ld allocations\n", what, n - 1);
}

int main(void) {
  test_failures("tape", work_on_a_tape);
  test_failures("traces", work_with_traces);
  test_failures("functions", work_with_functions);
  return check_summary();
}
