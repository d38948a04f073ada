/* test_control_steps.c -- how often the functions inside functions really run, counted by callbacks, and
 * how much memory their derivatives take: policies of loops against the figures of adit/control.h and of
 * Griewank and Walther (ACM TOMS 26, 2000), checkpoints, branches; budgets; a million steps.
 */
#include "function/control_scenarios.h"
#include "heap.h"

/* --- callbacks that count ------------------------------------------------------------------------------- */

/* y = sin(x), whose derivative does not run the callback. */
static ad_status count_sine(void *context, const void *const in[], void *const out[], char *message,
                            size_t size) {
  (void)message, (void)size;
  ++*(long *)context;
  *(double *)out[0] = sin(*(const double *)in[0]);
  return AD_OK;
}

static void sine_tangent(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_cos(in[0]), in[1]);
}

/* One such function for each count, which outlives it. */
static ad_function *counting_sine(long *count) {
  const ad_type type[2] = { AD_F64(), AD_F64() };
  ad_report report = { AD_OK, "" };
  ad_function *jvp = ad_function_trace("sine_tangent", sine_tangent, NULL, 2, type, 1);
  const ad_external e = { .name = "counted", .n_in = 1, .n_out = 1, .in = type, .out = type,
                          .call = count_sine,
                          .context = count, .rule = { .jvp = jvp } };
  ad_function *f = ad_function_external(&e, &report);
  CHECK_THAT(f != NULL, "counting_sine: %s", report.message);
  ad_function_free(jvp);
  return f;
}

/* --- a loop that counts its steps ----------------------------------------------------------------------- */

/* (x, r) -> r sin(x), twice the callback: its vjp needs no value of the callback for x, one for r. */
typedef struct counted { ad_function *sine; ad_loop loop; int64_t n; bool shared; } counted;

BODY(counted_step_body) {
  const counted *c = context;
  (void)t;
  ad_function_apply(c->sine, in, out);
  out[0] = c->shared ? ad_mul(out[0], in[1]) : ad_add(out[0], in[1]);
}

BODY(counted_loop) {
  const counted *c = context;
  const ad_type two[2] = { AD_F64(), AD_F64() };
  ad_function *f = inner_of(NULL, "counted step", counted_step_body, c, 2, two, 1);
  ad_loop o = c->loop;
  (void)t;
  o.steps = c->n;
  ad_fold(f, 1, &o, in, out);
  ad_function_free(f);
}

/* What the callback has run for the value and the gradient, or the gradient alone. */
static long count_gradient(counted c, bool value, double *slope) {
  static const double x[2] = { 0.5, 0.25 };
  const ad_type two[2] = { AD_F64(), AD_F64() };
  long count = 0;
  double y = 0, d[2] = { 0, 0 };
  c.sine = counting_sine(&count);
  ad_function *f = inner_of(NULL, "loop", counted_loop, &c, 2, two, 1), *g = ad_function_gradient(f, 0, NULL);
  void *out[3] = { value ? &y : NULL, &d[0], &d[1] };
  CHECK_STATUS(ad_function_call(g, (const void *const[]){ &x[0], &x[1] }, out, NULL), AD_OK);
  if (slope) slope[0] = d[0], slope[1] = d[1];
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(c.sine);
  return count;
}

/* The same in C. */
static void loop_gradient(int64_t n, double d[2]) {
  double *state = malloc((size_t)(n + 1)*sizeof *state), bar = 1;
  state[0] = 0.5;
  for (int64_t i = 0; i < n; i++) state[i + 1] = sin(state[i]) + 0.25;
  d[1] = 0;
  for (int64_t i = n; i-- > 0;) d[1] += bar, bar *= cos(state[i]);
  d[0] = bar;
  free(state);
}

/* --- steps computed again ------------------------------------------------------------------------------- */

/* r n - (c + r)!/((c + 1)! (r - 1)!), with the least r for which (c + r)!/(c! r!) >= n, in doubles. */
static double published_cost(double n, double c) {
  double beta = 1, r = 0;
  while (beta < n) r++, beta *= (c + r)/r;
  double behind = 1;
  for (double i = 1; i < r; i++) behind *= (c + 1 + i)/i;
  return r > 0 ? r*n - behind : 0;
}

static void test_binomial_cost(void) {
  /* t(l, s) of the paper's formula, by hand */
  static const struct { int64_t n, c, cost; } known[] = {
    { 14, 3, 27 }, { 10, 3, 15 }, { 20, 3, 45 }, { 56, 5, 140 }, { 100, 99, 99 }, { 1000, 1, 499500 },
        { 5, 1, 10 },
    { 5, 2, 6 }, { 10, 2, 20 }, { 1, 1, 0 }, { 0, 4, 0 }, { 2, 1, 1 },
  };
  for (size_t i = 0; i < sizeof known/sizeof *known; i++)
    CHECK_THAT(ad_binomial_cost(known[i].n, known[i].c) == known[i].cost, "%lld steps, %lld states: %lld",
               (long long)known[i].n, (long long)known[i].c,
                   (long long)ad_binomial_cost(known[i].n, known[i].c));
  for (int64_t n = 2; n < 3000; n = n*5/4 + 1)
    for (int64_t c = 1; c < 200; c += c/2 + 1)
      CHECK_NUMBER((double)ad_binomial_cost(n, c), published_cost((double)n, c < n ? (double)c : (double)n),
                   1e-13);
  CHECK(ad_binomial_cost(1000000, 100) == 4*1000000 - 182104);      /* 104!/(101! 3!) */
  CHECK(ad_binomial_cost(-3, 5) == 0 && ad_binomial_cost(3, 0) == 0 && ad_binomial_cost(3, -1) == 0);
  CHECK(ad_binomial_cost((int64_t)1 << 62, 1) == INT64_MAX && ad_binomial_cost(INT64_MAX, 1) == INT64_MAX);
  CHECK(ad_binomial_cost(INT64_MAX, INT64_MAX) == INT64_MAX - 1
        && ad_binomial_cost(INT64_MAX, 2) == INT64_MAX);
}

/* The value's way forward, the steps computed again; a step backwards needs no callback. */
static void check_count(int64_t n, ad_loop loop, int64_t again, const char *name) {
  double d[2], want[2];
  const counted c = { .loop = loop, .n = n };
  const long with_value = count_gradient(c, true, d), alone = count_gradient(c, false, NULL);
  CHECK_THAT(with_value == n + again, "%s, %lld steps, k %lld: %ld with the value, not %lld", name,
             (long long)n,
             (long long)loop.k, with_value, (long long)(n + again));
  CHECK_THAT(alone == again, "%s, %lld steps, k %lld: %ld for the gradient alone, not %lld", name,
             (long long)n,
             (long long)loop.k, alone, (long long)again);
  loop_gradient(n, want);
  CHECK_NUMBER(d[0], want[0], 1e-13);
  CHECK_NUMBER(d[1], want[1], 1e-13);
}

/* Every k-th state: the way to the last of them, then the others of each part. */
static int64_t every_cost(int64_t n, int64_t k) {
  const int64_t parts = (n + k - 1)/k;
  int64_t cost = n ? (parts - 1)*k : 0;
  for (int64_t i = 0; i < parts; i++) cost += (i + 1 < parts ? k : n - i*k) - 1;
  return cost;
}

static void test_counts(void) {
  static const int64_t lengths[] = { 0, 1, 2, 3, 7, 14, 56, 100, 1000 }, ks[] = { 1, 2, 3, 5, 10, 99, 2000 };
  for (size_t i = 0; i < sizeof lengths/sizeof *lengths; i++)
    for (size_t j = 0; j < sizeof ks/sizeof *ks; j++) {
      const int64_t n = lengths[i], k = ks[j];
      check_count(n, (ad_loop){ .keep = AD_KEEP_BINOMIAL, .k = k }, ad_binomial_cost(n, k), "binomial");
      check_count(n, (ad_loop){ .keep = AD_KEEP_EVERY, .k = k }, every_cost(n, k), "every");
      CHECK(every_cost(n, k) < 2*n || n == 0);
    }
}

/* What all states are kept of is computed once, for the value and for the gradient; a vjp that uses the
 * callback's value computes it once more, but where it is kept. */
static void test_counts_of_records(void) {
  enum { N = 50 };
  const counted states = { .n = N }, all = { .n = N, .loop.keep = AD_KEEP_ALL };
  counted shared = states;
  shared.shared = true;
  CHECK(count_gradient(states, true, NULL) == N && count_gradient(states, false, NULL) == N);
  CHECK(count_gradient(all, true, NULL) == N && count_gradient(all, false, NULL) == N);
  CHECK(count_gradient(shared, true, NULL) == 2*N);
  shared.loop.keep = AD_KEEP_ALL;
  CHECK(count_gradient(shared, true, NULL) == N);
  shared.loop = (ad_loop){ .keep = AD_KEEP_BINOMIAL, .k = 3 };
  CHECK(count_gradient(shared, true, NULL) == 2*N + ad_binomial_cost(N, 3));
}

/* --- budgets of bytes ----------------------------------------------------------------------------------- */

/* As many states as fit; fewer if k says so; at least one. A state is one double here. */
static void test_bytes(void) {
  enum { N = 300 };
  static const struct { int64_t k, bytes, states; } budgets[] = {
    { 0, 80, 10 }, { 0, 1, 1 }, { 0, 8, 1 }, { 0, 1000000, N }, { 5, 80, 5 }, { 20, 80, 10 }, { 5, 0, 5 },
  };
  for (size_t i = 0; i < sizeof budgets/sizeof *budgets; i++) {
    const counted c = { .n = N, .loop = { .keep = AD_KEEP_BINOMIAL, .k = budgets[i].k,
                                          .bytes = budgets[i].bytes } };
    const long count = count_gradient(c, true, NULL);
    CHECK_THAT(count == N + ad_binomial_cost(N, budgets[i].states), "k %lld, %lld bytes: %ld steps",
               (long long)budgets[i].k, (long long)budgets[i].bytes, count);
  }
}

/* Other policies say that it is not enough. */
static void check_budget(ad_keep keep, int64_t k, int64_t bytes, bool enough) {
  static const double x[2] = { 0.5, 0.25 };
  const ad_type two[2] = { AD_F64(), AD_F64() };
  long count = 0;
  double d[2];
  ad_workspace *w = ad_workspace_new();
  const counted c = { counting_sine(&count), { .keep = keep, .k = k, .bytes = bytes }, 100, false };
  ad_function *f = inner_of(NULL, "loop", counted_loop, &c, 2, two, 1), *g = ad_function_gradient(f, 0, NULL);
  const ad_status status = ad_function_call(g, (const void *const[]){ &x[0], &x[1] },
                                            (void *const[]){ NULL, &d[0], &d[1] }, w);
  CHECK_THAT(status == (enough ? AD_OK : AD_ERROR_LIMIT), "policy %d, %lld bytes: %s", (int)keep,
             (long long)bytes,
             ad_status_sentence(status));
  CHECK_THAT(enough || strstr(ad_workspace_message(w), "100 steps take"), "%s", ad_workspace_message(w));
  double y;
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ &x[0], &x[1] }, (void *const[]){ &y }, w), AD_OK);
  ad_workspace_free(w);
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(c.sine);
}

static void test_budgets(void) {
  check_budget(AD_KEEP_STATES, 0, 799, false);
  check_budget(AD_KEEP_STATES, 0, 800, true);
  check_budget(AD_KEEP_ALL, 0, 799, false);
  check_budget(AD_KEEP_ALL, 0, 800, true);
  check_budget(AD_KEEP_EVERY, 10, 159, false);
  check_budget(AD_KEEP_EVERY, 10, 160, true);
  check_budget(AD_KEEP_BINOMIAL, 10, 1, true);
}

/* --- calls and branches --------------------------------------------------------------------------------- */

typedef struct sides { ad_function *left, *right; } sides;

BODY(one_sine) {
  ad_var y;
  (void)t;
  ad_function_apply(context, in, &y);
  out[0] = ad_mul(y, in[0]);
}
BODY(branch_body) {
  const sides *s = context;
  const ad_type one = AD_F64();
  ad_function *f = inner_of(NULL, "left", one_sine, s->left, 1, &one, 1),
              *g = inner_of(NULL, "right", one_sine, s->right, 1, &one, 1);
  (void)t;
  ad_cond(ad_less(in[0], in[1]), f, g, in, out);
  ad_function_free(f);
  ad_function_free(g);
}

/* Value, gradient, Hessian, jvp, Taylor series, by functions and on a tape: the other side never runs. */
static void test_one_side_runs(void) {
  const ad_type two[2] = { AD_F64(), AD_F64() };
  for (int left = 0; left < 2; left++) {
    long count[2] = { 0, 0 };
    const sides s = { counting_sine(&count[0]), counting_sine(&count[1]) };
    ad_function *f = inner_of(NULL, "branch", branch_body, &s, 2, two, 1);
    ad_function *all[] = { f, ad_function_gradient(f, 0, NULL), ad_function_hessian(f, 0, NULL),
                           ad_function_jvp(f),
                           ad_function_vjp(f), ad_function_hvp(f, 0, NULL), series_of(f, 3),
                           ad_function_map(f, 1, NULL) };
    const double x = left ? 0.25 : 0.75, slope = sin(x) + x*cos(x), curvature = 2*cos(x) - x*sin(x);
    for (int i = 0; i < 8; i++) {
      uint64_t state = 1;
      set_arrays(&input, all[i], 0, (domain){ 0, 1, 1 }, &state);
      input.data[0][0] = x, input.data[1][0] = 0.5;
      call_arrays(all[i], &input, &output, NULL);
      if (i == 1) CHECK_NUMBER(output.data[1][0], slope, 1e-14);
      if (i == 2) CHECK_NUMBER(output.data[0][0], curvature, 1e-14);
      ad_function_free(all[i]);
    }
    ad_tape *t = ad_tape_new();
    const ad_var in[2] = { ad_scalar(t, x), ad_scalar(t, 0.5) };
    ad_var y, d, dd;
    branch_body(t, in, &y, (void *)(uintptr_t)&s);
    CHECK_STATUS(ad_backward(y), AD_OK);
    CHECK_NUMBER(ad_adjoint(in[0]), slope, 1e-14);
    ad_grad(y, 1, in, &d);
    ad_grad(d, 1, in, &dd);
    CHECK_NUMBER(ad_value(dd), curvature, 1e-14);
    CHECK_THAT(count[left] == 0 && count[!left] >= 8, "the %s side: %ld, %ld", left ? "left" : "right",
               count[0], count[1]);
    ad_tape_free(t);
    ad_function_free(s.left);
    ad_function_free(s.right);
  }
}

/* A checkpoint's body runs for the value and again for the gradient; a call's once. */
BODY(checkpoint_of) {
  ad_function *f = inner_of(NULL, "sine", one_sine, context, 1, (const ad_type[]){ AD_F64() }, 1);
  (void)t;
  ad_checkpoint(f, in, out);
  out[0] = ad_square(out[0]);
  ad_function_free(f);
}
BODY(call_of) {
  one_sine(t, in, out, context);
  out[0] = ad_square(out[0]);
}
static void test_checkpoint_runs(void) {
  static const double x = 0.7;
  for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
    long count = 0;
    double y, d;
    ad_function *sine = counting_sine(&count);
    ad_function *f = inner_of(NULL, "f", checkpoint ? checkpoint_of : call_of, sine, 1,
                              (const ad_type[]){ AD_F64() }, 1),
                *g = ad_function_gradient(f, 0, NULL);
    CHECK_STATUS(ad_function_call(g, (const void *const[]){ &x }, (void *const[]){ &y, &d }, NULL), AD_OK);
    CHECK_THAT(count == 1 + checkpoint, "%s: %ld runs", checkpoint ? "checkpoint" : "call", count);
    CHECK_NUMBER(d, 2*x*sin(x)*(sin(x) + x*cos(x)), 1e-14);
    ad_function_free(f);
    ad_function_free(g);
    ad_function_free(sine);
  }
}

/* --- while ---------------------------------------------------------------------------------------------- */

/* while (x < limit) x <- sin(x)/4 + x + 1: x grows by 1 to 1.25. */
BODY(still_below) { (void)t, (void)context; out[0] = ad_less(in[0], in[1]); }
BODY(grow) {
  ad_var y;
  (void)t;
  ad_function_apply(context, in, &y);
  out[0] = ad_add(ad_mul(y, 0.25), ad_add(in[0], 1));
}
BODY(grown) {
  const counted *c = context;
  const ad_type two[2] = { AD_F64(), AD_F64() };
  ad_function *f = inner_of(NULL, "grow", grow, c->sine, 2, two, 1),
              *p = inner_of(NULL, "below", still_below, c, 2, two, 1);
  (void)t;
  ad_while(p, f, &c->loop, in, out);
  ad_function_free(f);
  ad_function_free(p);
}

static int64_t grown_slope(double x, double limit, double *slope) {
  int64_t steps = 0;
  for (*slope = 1; x < limit; steps++) {
    *slope *= 1 + 0.25*cos(x);
    x += 1 + 0.25*sin(x);
  }
  return steps;
}

/* How many steps depends on the input; the adjoint knows it when it runs. A loop keeps no record: all
 * states are computed once more, from the start. */
static void check_while(ad_loop loop, double limit) {
  const ad_type two[2] = { AD_F64(), AD_F64() };
  long count = 0;
  double x = 0.125, y, d, want;
  const int64_t n = grown_slope(x, limit, &want);
  const counted c = { counting_sine(&count), loop, 0, false };
  const int64_t again = loop.keep == AD_KEEP_BINOMIAL ? ad_binomial_cost(n, loop.k)
                        : loop.keep == AD_KEEP_EVERY ? every_cost(n, loop.k) : n ? n - 1 : 0;
  const int wrt = 0;
  ad_function *f = inner_of(NULL, "grown", grown, &c, 2, two, 1), *g = ad_function_gradient(f, 1, &wrt);
  CHECK_STATUS(ad_function_call(g, (const void *const[]){ &x, &limit }, (void *const[]){ &y, &d }, NULL),
               AD_OK);
  CHECK_NUMBER(d, want, 1e-13);
  CHECK_THAT(count == n + again, "while, policy %d: %ld, not %lld", (int)loop.keep, count,
             (long long)(n + again));
  ad_function_free(f);
  ad_function_free(g);
  ad_function_free(c.sine);
}

static void test_while(void) {
  static const double limits[] = { 0, 1, 2, 20, 333.3, 2000 };
  for (size_t i = 0; i < sizeof limits/sizeof *limits; i++) {
    check_while((ad_loop){ .keep = AD_KEEP_STATES }, limits[i]);
    check_while((ad_loop){ .keep = AD_KEEP_ALL }, limits[i]);
    check_while((ad_loop){ .keep = AD_KEEP_EVERY, .k = 7 }, limits[i]);
    check_while((ad_loop){ .keep = AD_KEEP_BINOMIAL, .k = 4 }, limits[i]);
  }
}

/* --- length and memory ---------------------------------------------------------------------------------- */

typedef struct logistic { ad_loop loop; int64_t n; } logistic;

/* x <- r x (1 - x) */
BODY(logistic_step) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_mul(in[1], in[0]), ad_sub(1, in[0]));
  out[1] = ad_add(in[2], 1);
}
BODY(logistic_body) {
  const logistic *l = context;
  const ad_type type[3] = { AD_F64(), AD_F64(), AD_F64() };
  ad_report report;
  ad_loop o = l->loop;
  (void)t;
  o.steps = l->n;
  ad_function *f = ad_function_trace_report("logistic", logistic_step, NULL, 3, type, 2, &report);
  CHECK(f != NULL);
  ad_var z[2];
  ad_scan(f, 1, &o, (const ad_var[]){ in[0], in[1], ad_real(0) }, z);
  out[0] = z[0];
  ad_function_free(f);
}

static ad_function *logistic_gradient(const ad_allocator *a, const logistic *l, size_t *size) {
  const ad_type two[2] = { AD_F64(), AD_F64() };
  ad_report report;
  ad_function *f = ad_function_trace_with(a, "logistic", logistic_body, (void *)(uintptr_t)l, 2, two, 1,
                                          &report);
  CHECK_THAT(f != NULL, "logistic: %s", report.message);
  ad_function *g = ad_function_gradient(f, 0, NULL);
  if (size) *size = ad_function_size(g);
  ad_function_free(f);
  return g;
}

/* Making a gradient takes the same operations and the same allocations whatever the number of steps. */
static void test_length_costs_nothing(void) {
  for (size_t k = 0; k < 4; k++) {
    static const ad_loop loops[] = { { .keep = AD_KEEP_STATES }, { .keep = AD_KEEP_ALL },
                                     { .keep = AD_KEEP_BINOMIAL, .k = 10 },
                                         { .keep = AD_KEEP_EVERY, .k = 10 } };
    size_t size[2], most[2];
    long calls[2];
    for (int i = 0; i < 2; i++) {
      heap h = { 0 };
      const ad_allocator a = heap_allocator(&h);
      const logistic l = { .loop = loops[k], .n = i ? 1000000000 : 10 };
      ad_function *f = logistic_gradient(&a, &l, &size[i]);
      calls[i] = h.calls, most[i] = h.peak;
      ad_function_free(f);
      CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
    }
    CHECK_THAT(size[0] == size[1] && calls[0] == calls[1] && most[0] == most[1],
               "%zu operations, %zu for a long loop",
               size[0], size[1]);
  }
}

/* x_n and its derivatives by hand, forwards. */
static void logistic_tangents(int64_t n, double x, double r, double d[2]) {
  d[0] = 1, d[1] = 0;
  for (int64_t i = 0; i < n; i++) {
    const double slope = r*(1 - 2*x);
    d[1] = slope*d[1] + x*(1 - x);
    d[0] *= slope;
    x = r*x*(1 - x);
  }
}

/* A million steps, all memory counted: states 8 bytes each, where they are kept. */
static void test_million_steps(void) {
  enum { N = 1000000 };
  static const struct { ad_loop loop; size_t most; } ways[] = {
    { { .keep = AD_KEEP_STATES }, 20 << 20 }, { { .keep = AD_KEEP_EVERY, .k = 1000 }, 512 << 10 },
    { { .keep = AD_KEEP_BINOMIAL, .k = 100 }, 256 << 10 }, { { .keep = AD_KEEP_ALL }, 64 << 20 },
  };
  const double x = 0.3, r = 2.5;
  double want[2];
  logistic_tangents(N, x, r, want);
  for (size_t i = 0; i < sizeof ways/sizeof *ways; i++) {
    heap h = { 0 };
    const ad_allocator a = heap_allocator(&h);
    const logistic l = { .loop = ways[i].loop, .n = N };
    double y, d[2];
    ad_function *f = logistic_gradient(&a, &l, NULL);
    CHECK_STATUS(ad_function_call(f, (const void *const[]){ &x, &r }, (void *const[]){ &y, &d[0], &d[1] },
                                  NULL), AD_OK);
    CHECK_NUMBER(y, 0.6, 1e-14);          /* 1 - 1/r */
    CHECK_NUMBER(d[0], want[0], 1e-14);
    CHECK_NUMBER(d[1], want[1], 1e-12);   /* 1/r^2 */
    CHECK_NUMBER(d[1], 0.16, 1e-12);
    CHECK_THAT(h.peak <= ways[i].most, "policy %d: %zu bytes at most", (int)ways[i].loop.keep, h.peak);
    ad_function_free(f);
    CHECK_THAT(heap_is_empty(&h), "%s", heap_text(&h));
  }
}

/* A budget is that of each instance of a map: so many bytes as one needs are enough for all, one less is
 * not. */
static void test_budget_in_a_map(void) {
  enum { N = 40, INSTANCES = 6 };
  for (int64_t short_of = 0; short_of < 2; short_of++) {
    const logistic l = { .loop.bytes = 8*N - short_of, .n = N };
    const ad_type two[2] = { AD_F64(), AD_F64() };
    double x[INSTANCES], r[INSTANCES], dx[INSTANCES], dr[INSTANCES], want[2];
    ad_function *f = inner_of(NULL, "logistic", logistic_body, &l, 2, two, 1),
                *m = ad_function_map(f, INSTANCES, NULL),
                *v = ad_function_vjp(m);
    for (int i = 0; i < INSTANCES; i++) x[i] = 0.1 + 0.1*i, r[i] = 3.5 - 0.2*i;
    const double ones[INSTANCES] = { 1, 1, 1, 1, 1, 1 };
    CHECK_STATUS(ad_function_call(v, (const void *const[]){ x, r, ones }, (void *const[]){ NULL, dx, dr },
                                  NULL),
                 short_of ? AD_ERROR_LIMIT : AD_OK);
    for (int i = 0; i < INSTANCES && !short_of; i++) {
      logistic_tangents(N, x[i], r[i], want);
      CHECK_NUMBER(dx[i], want[0], 1e-12);
      CHECK_NUMBER(dr[i], want[1], 1e-12);
    }
    ad_function *const all[] = { f, m, v };
    for (int j = 0; j < 3; j++) ad_function_free(all[j]);
  }
}

/* --- keeping every k-th state, for k beyond the number of steps ----------------------------------------- */

static void grow_by(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[0], in[1]);
}

typedef struct growth_loop { ad_function *step; ad_loop loop; } growth_loop;

static void grow_all(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const growth_loop *g = context;
  (void)t;
  ad_fold(g->step, 1, &g->loop, in, out);
}

/* y = x q^n: dy/dx = q^n, dy/dq = n x q^(n-1). */
static void test_every_beyond(void) {
  const int64_t every[] = { 9, 10, 11, INT64_MAX/2, INT64_MAX - 10, INT64_MAX - 1, INT64_MAX };
  const ad_type type[2] = { AD_F64(), AD_F64() };
  const double x = 1.5, q = 0.9;
  ad_function *step = ad_function_trace("grow_by", grow_by, NULL, 2, type, 1);
  for (size_t i = 0; i < sizeof every/sizeof *every; i++) {
    growth_loop g = { step, { .steps = 10, .keep = AD_KEEP_EVERY, .k = every[i] } };
    ad_function *f = ad_function_trace("grow_all", grow_all, &g, 2, type, 1);
    ad_function *gradient = ad_function_gradient(f, 0, NULL);
    double y = 0, dx = 0, dq = 0;
    void *const results[] = { &y, &dx, &dq };
    CHECK_STATUS(ad_function_call(gradient, (const void *const[]){ &x, &q }, results, NULL), AD_OK);
    CHECK_NUMBER(y, x*pow(q, 10), 1e-14);
    CHECK_NUMBER(dx, pow(q, 10), 1e-14);
    CHECK_NUMBER(dq, 10*x*pow(q, 9), 1e-14);
    ad_function_free(gradient);
    ad_function_free(f);
  }
  ad_function_free(step);
}

int main(void) {
  test_binomial_cost();
  test_counts();
  test_counts_of_records();
  test_bytes();
  test_budgets();
  test_one_side_runs();
  test_checkpoint_runs();
  test_while();
  test_length_costs_nothing();
  test_million_steps();
  test_budget_in_a_map();
  test_every_beyond();
  return check_summary();
}
