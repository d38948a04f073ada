/* test_written_entries_slow.c -- every derivative that can be had of functions with random numbers and
 * implicit operations, by themselves, in maps and in loops: written as C and compiled natively, they agree
 * with the interpreter.
 */
#define _POSIX_C_SOURCE 200809L
#include "equations.h"

/* Any keys; numbers between 0.3 and 1.2. */
static void fill(int i, int trial, int k, ad_type type, void *to) {
  uint64_t seed = (uint64_t)(1000*i + 100*trial + k + 1);
  for (int64_t e = 0; e < ad_type_count(type); e++) {
    const uint64_t key = ad_seed_fold(seed, (uint64_t)e);
    if (type.dtype == AD_I64) memcpy((char *)to + 8*e, &key, 8);
    else check_set_element(type.dtype, to, e, check_uniform(&seed, 0.3, 1.2));
  }
}

static ad_var whole(ad_var x) { return ad_sum(x, AD_ALL_AXES, false); }

/* --- functions of (key, x, p), x and p vectors of one size ---------------------------------------------- */

/* x + 0.3 p e with a standard normal e: a sample by location and scale. */
static ad_var sampled(const ad_var in[]) {
  return ad_random_normal(in[0], in[1], ad_mul(0.3, in[2]), ad_type_of(in[1]));
}

static void normal_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_sin(sampled(in)), ad_exp(in[2]));
}

/* Half of the elements are left out. */
static void dropout_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var kept = ad_random_bernoulli(ad_key_fold(in[0], 3), 0.5, ad_type_of(in[1]));
  const ad_var u = ad_random_uniform(in[0], 0, 1, ad_type_of(in[1]));
  out[0] = ad_mul(ad_mul(kept, ad_tanh(ad_mul(in[1], in[2]))), ad_add(1, ad_mul(u, in[2])));
}

static void bowl_body(ad_tape *t, const ad_var x[], ad_var y[], void *context) {
  (void)t, (void)context;
  const ad_var line = ad_mul(ad_add(x[1], 1), x[0]);
  y[0] = ad_add(whole(ad_sub(ad_exp(x[0]), line)), ad_mul(0.1, ad_square(whole(x[0]))));
}

enum { ROOT, FIXED_POINT, MINIMUM };

static ad_var solved(int kind, ad_var guess, ad_var p) {
  static ad_body *const body[] = { cubic_body, contraction_body, bowl_body };
  const ad_type type[2] = { ad_type_of(guess), ad_type_of(p) };
  const ad_var in[2] = { guess, p };
  ad_function *f = ad_function_trace("equation", body[kind], NULL, 2, type, 1);
  ad_var x = ad_none();
  if (kind == ROOT) ad_root(f, NULL, in, &x);
  else if (kind == FIXED_POINT) ad_fixed_point(f, NULL, in, &x);
  else ad_minimize(f, NULL, in, &x);
  ad_function_free(f);
  return x;
}

static void root_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(solved(ROOT, in[1], in[2]), ad_exp(in[2]));
}
static void fixed_point_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_square(solved(FIXED_POINT, in[1], ad_mul(in[2], in[1])));
}
static void minimum_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sin(solved(MINIMUM, in[1], in[2]));
}

/* Equations with random parameters, and a sample with a solution for its scale. */
static void random_root_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var y = solved(ROOT, in[1], sampled(in));
  out[0] = ad_random_normal(ad_key_fold(in[0], 1), y, ad_exp(y), ad_type_of(y));
}
static void random_minimum_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var weight = ad_random_exponential(in[0], 2, ad_type_of(in[1]));
  out[0] = ad_mul(in[1], solved(MINIMUM, in[1], ad_add(in[2], weight)));
}

/* (key, y): four steps of a diffusion whose drift solves an equation; the key goes from step to step. */
static void diffusion_step(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var keys = ad_key_split(in[0], 2), e = ad_at(keys, 1, (const int64_t[]){ 1 });
  const ad_var noise = ad_random_normal(e, 0, 1, ad_type_of(in[1]));
  const ad_var drift = solved(ROOT, in[1], ad_mul(in[1], in[2]));
  out[0] = ad_at(keys, 1, (const int64_t[]){ 0 });
  out[1] = ad_add(ad_mul(0.8, drift), ad_mul(ad_mul(0.1, in[2]), ad_mul(noise, in[1])));
}
static void diffusion_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type type[3] = { AD_I64(), ad_type_of(in[1]), ad_type_of(in[2]) };
  ad_function *step = ad_function_trace("step", diffusion_step, NULL, 3, type, 2);
  ad_var state[2];
  (void)t, (void)context;
  if (ad_fold(step, 2, &(ad_loop){ .steps = 4 }, in, state) == AD_OK) out[0] = state[1];
  ad_function_free(step);
}

/* Each element with a key and an equation of its own. */
static void element_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  random_root_body(t, in, out, context);
}
static void elements_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type number = ad_type_make(ad_type_of(in[1]).dtype, 0, NULL);
  const ad_type type[3] = { AD_I64(), number, number };
  ad_function *f = ad_function_trace("element", element_body, NULL, 3, type, 1);
  (void)t, (void)context;
  ad_map(f, (const ad_var[]){ ad_key_split(in[0], ad_type_count(ad_type_of(in[1]))), in[1], in[2] }, out);
  ad_function_free(f);
}

static const struct { const char *name; ad_body *body; } vectors[] = {
  { "normal", normal_body }, { "dropout", dropout_body }, { "root", root_body },
  { "fixed_point", fixed_point_body }, { "minimum", minimum_body }, { "random_root", random_root_body },
  { "random_minimum", random_minimum_body }, { "diffusion", diffusion_body }, { "elements", elements_body }
};
enum { VECTORS = sizeof vectors/sizeof *vectors };

/* --- what is made of them ------------------------------------------------------------------------------- */

static void sum_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  if (ad_function_apply(context, in, out) == AD_OK) out[0] = whole(ad_mul(out[0], ad_square(out[0])));
}

/* By x and p, which are inputs 1 and 2. */
static ad_function *derived(int which, ad_function *vector, ad_function *scalar) {
  static const int by[2] = { 1, 2 };
  switch (which) {
    case 0: return ad_function_retain(scalar);
    case 1: return ad_function_jvp(vector);
    case 2: return ad_function_vjp(vector);
    case 3: return ad_function_gradient(scalar, 2, by);
    case 4: return ad_function_jacobian(vector, 2, by);
    case 5: return ad_function_hessian(scalar, 2, by);
    default: return ad_function_hvp(scalar, 2, by);
  }
}
enum { DERIVED = 7 };

/* Calls take with each of them; what it is given belongs to it. */
static void for_all(ad_dtype dtype, int64_t n, void (*take)(ad_function *f, void *to), void *to) {
  const ad_type type[3] = { AD_I64(), SHAPE(dtype, n), SHAPE(dtype, n) };
  for (int i = 0; i < VECTORS; i++) {
    ad_function *f = ad_function_trace(vectors[i].name, vectors[i].body, NULL, 3, type, 1);
    ad_function *g = f ? ad_function_trace("sum", sum_body, f, 3, type, 1) : NULL;
    for (int which = 0; which < DERIVED && g; which++) {
      ad_function *d = derived(which, f, g);
      if (CHECK_THAT(d != NULL, "%s, derivative %d", vectors[i].name, which)) take(d, to);
    }
    CHECK_THAT(g != NULL, "%s", vectors[i].name);
    ad_function_free(g), ad_function_free(f);
  }
}

static void add(ad_function *f, void *to) { compiled_add(to, f); }

static void test_written(ad_dtype dtype) {
  compiled w = { .n = 0 };
  for_all(dtype, 3, add, &w);
  CHECK(w.n == VECTORS*DERIVED);
  all_run(&w, 2, tolerance, fill);
}

static void run_native(ad_function *f, void *cache) { all_native(f, *(const char **)cache, tolerance, fill); }

int main(void) {
  const char *cache = folder_make();
  test_written(AD_F64);
  test_written(AD_F32);
  if (!CHECK(cache != NULL)) return 1;
  for_all(AD_F64, 3, run_native, &cache);
  folder_remove(cache);
  return check_summary();
}
