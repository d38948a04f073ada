/* logistic.c -- a million steps of the logistic map x <- r x (1 - x), differentiated backwards through a
 * hundred states.
 *
 * Reverse mode wants the states from the last to the first. Kept are all of them, every k-th, or k at any
 * time: the others are then computed again, in the order that takes the fewest steps (revolve: Griewank and
 * Walther, ACM TOMS 26, 2000), about r n of them with r the least number for which (k + r)!/(k! r!) >= n.
 *
 * The loop is recorded once, and how many steps it makes is an input: one function serves three cases.
 *
 *   r = 9/4   settles at 1 - 1/r, whose derivative is 1/r^2 and which does not depend on the start
 *   r = 1     creeps to 0 like 1/n, and so each of the steps matters to the derivatives
 *   r = 4     chaos, but x_n = sin^2(2^n asin sqrt x_0); errors double at every step, so it makes only 20
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 1000000 };

/* Memory held by everything that was made on this hook: now, and at most. */
typedef struct meter { size_t held, most; } meter;

static void *metered(void *user, void *pointer, size_t old_size, size_t new_size) {
  meter *m = user;
  void *moved = new_size ? realloc(pointer, new_size) : NULL;
  if (new_size && !moved) return NULL;
  if (!new_size) free(pointer);
  m->held += new_size - old_size;
  if (m->held > m->most) m->most = m->held;
  return moved;
}

/* The identity, which counts its calls. Applied to the result of a step, which the derivative of that step
 * does not need, it counts the steps forwards, the first time and again, and not those backwards. */
static ad_status count_call(void *calls, const void *const in[], void *const out[], char *text, size_t size) {
  (void)text, (void)size;
  ++*(int64_t *)calls;
  *(double *)out[0] = *(const double *)in[0];
  return AD_OK;
}

static void identity_jvp(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = in[1];
}

static ad_function *counter(int64_t *calls) {
  const ad_type real[2] = { AD_F64(), AD_F64() };
  ad_function *jvp = ad_function_trace("identity_jvp", identity_jvp, NULL, 2, real, 1);
  const ad_external e = { .name = "count", .n_in = 1, .n_out = 1, .in = real, .out = real,
                          .call = count_call, .context = calls, .rule = { .jvp = jvp } };
  ad_function *f = ad_function_external(&e, NULL);
  ad_function_free(jvp);
  return f;
}

/* (x, r) -> r x (1 - x) */
static void step(ad_tape *tape, const ad_var in[], ad_var out[], void *count) {
  (void)tape;
  ad_var next = ad_mul(in[1], ad_mul(in[0], ad_sub(1, in[0])));
  ad_function_apply(count, &next, out);
}

typedef struct recipe { ad_function *step; ad_keep keep; int64_t k; } recipe;

/* (n, x_0, r) -> x_n. x is the state; r is the same at every step. */
static void end(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const recipe *how = context;
  const ad_loop options = { .keep = how->keep, .k = how->k, .count = in[0], .counted = true };
  (void)tape;
  ad_fold(how->step, 1, &options, in + 1, out);
}

static ad_function *gradient_of(const ad_allocator *memory, recipe how) {
  const ad_type in[3] = { AD_I64(), AD_F64(), AD_F64() };
  ad_function *f = ad_function_trace_with(memory, "end", end, &how, 3, in, 1, NULL);
  ad_function *gradient = ad_function_gradient(f, 0, NULL);      /* (n, x_0, r) -> x_n, d/dx_0, d/dr */
  ad_function_free(f);
  return gradient;
}

static ad_status call(ad_function *gradient, int64_t n, double x, double r, double *end, double by[2]) {
  return ad_function_call(gradient, (const void *[]){ &n, &x, &r }, (void *[]){ end, &by[0], &by[1] }, NULL);
}

/* The end is not asked for: what is counted is the reverse sweep, with its own way forward. The first call
 * plans; the second one takes memory for the states alone. */
static ad_status compare(const char *name, ad_function *f, int64_t *calls, ad_keep keep, int64_t k) {
  meter memory = { 0, 0 };
  ad_function *gradient = gradient_of(&(ad_allocator){ metered, &memory }, (recipe){ f, keep, k });
  double by[2];
  ad_status status = gradient ? call(gradient, STEPS, 0.3, 1, NULL, by) : AD_ERROR_MEMORY;
  const size_t before = memory.most = memory.held;
  *calls = 0;
  if (!status) status = call(gradient, STEPS, 0.3, 1, NULL, by);
  const double kilobytes = (double)(memory.most - before)/1000;
  printf("%-20s %6.0f kB, %7lld steps forwards", name, kilobytes, (long long)*calls);
  if (keep == AD_KEEP_BINOMIAL) printf("; the optimum: %lld", (long long)ad_binomial_cost(STEPS, k));
  printf("\n");
  ad_function_free(gradient);
  return status;
}

/* The derivatives forwards, in C, to compare with: tangents of x by x_0 and by r beside x. */
static void tangents(int64_t n, double start, double r, double by[2]) {
  long double x = start, u = 1, v = 0;
  for (; n > 0; n--) {
    u = r*(1 - 2*x)*u;
    v = r*(1 - 2*x)*v + x*(1 - x);
    x = r*x*(1 - x);
  }
  by[0] = (double)u;
  by[1] = (double)v;
}

static ad_status print_case(ad_function *gradient, int64_t n, double r) {
  double x = NAN, by[2] = { NAN, NAN }, forwards[2];
  ad_status status = call(gradient, n, 0.3, r, &x, by);
  tangents(n, 0.3, r, forwards);
  printf("r = %g, %lld steps: x = %.6g\n", r, (long long)n, x);
  printf("  reverse       d/dx0 = %-12.6g d/dr = %.6g\n", by[0] + 0.0, by[1]);       /* -0 prints as 0 */
  printf("  forwards      d/dx0 = %-12.6g d/dr = %.6g\n", forwards[0] + 0.0, forwards[1]);
  return status;
}

/* dx_n/dx_0 = 2^n sin(2^(n+1) a)/(2 sqrt(x_0 (1 - x_0))), a = asin sqrt x_0 */
static double chaotic_slope(int n, double start) {
  return ldexp(sin(ldexp(2*asin(sqrt(start)), n)), n)/(2*sqrt(start*(1 - start)));
}

int main(void) {
  int64_t calls = 0;
  ad_function *count = counter(&calls);
  ad_function *f = ad_function_trace("step", step, count, 2, (const ad_type[]){ AD_F64(), AD_F64() }, 1);
  ad_status status = compare("all states", f, &calls, AD_KEEP_STATES, 1);
  if (!status) status = compare("every 1000th state", f, &calls, AD_KEEP_EVERY, 1000);
  if (!status) status = compare("100 states, binomial", f, &calls, AD_KEEP_BINOMIAL, 100);

  ad_function *gradient = gradient_of(NULL, (recipe){ f, AD_KEEP_BINOMIAL, 100 });
  if (!status) status = print_case(gradient, STEPS, 2.25);
  printf("  closed form   d/dx0 = %-12d d/dr = %.6g\n", 0, 1/(2.25*2.25));
  if (!status) status = print_case(gradient, STEPS, 1);
  if (!status) status = print_case(gradient, 20, 4);
  printf("  closed form   d/dx0 = %.6g\n", chaotic_slope(20, 0.3));
  if (status) fprintf(stderr, "%s\n", ad_status_sentence(status));
  ad_function_free(gradient);
  ad_function_free(f);
  ad_function_free(count);
  return status != AD_OK;
}
