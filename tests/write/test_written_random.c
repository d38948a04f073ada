/* test_written_random.c -- random numbers as C: the library's own bits, for every distribution, type and
 * shape, from one key and from many, in maps and loops; and derivatives by what surrounds them. */
#define _POSIX_C_SOURCE 200809L
#include "written_all.h"

#include "adit.h"

static const double exact[2] = { 0, 0 }, close_to[2] = { 1e-14, 2e-6 };

/* Keys of all magnitudes; numbers between 0.2 and 1. */
static void fill(int i, int trial, int k, ad_type type, void *to) {
  uint64_t seed = (uint64_t)(1000*i + 100*trial + k + 1);
  for (int64_t e = 0; e < ad_type_count(type); e++) {
    const uint64_t key = ad_seed_fold(seed, (uint64_t)e) >> (e%3*20);
    if (type.dtype == AD_I64) memcpy((char *)to + 8*e, &key, 8);
    else check_set_element(type.dtype, to, e, check_uniform(&seed, 0.2, 1));
  }
}

/* --- samplers ------------------------------------------------------------------------------------------- */

typedef struct sampled { int which; ad_type type; } sampled;

static void sample_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const sampled *s = context;
  (void)t;
  switch (s->which) {
    case 0: out[0] = ad_random_uniform(in[0], 0, 1, s->type); break;
    case 1: out[0] = ad_random_normal(in[0], 0, 1, s->type); break;
    case 2: out[0] = ad_random_exponential(in[0], 1, s->type); break;
    case 3: out[0] = ad_random_laplace(in[0], 0, 1, s->type); break;
    case 4: out[0] = ad_random_gumbel(in[0], 0, 1, s->type); break;
    case 5: out[0] = ad_random_bernoulli(in[0], 0.3, s->type); break;
    default: out[0] = ad_random_bits(in[0], s->type);
  }
}

/* Sizes that end within a block, with it, and begin with several keys. */
static void add_samplers(compiled *w, ad_dtype dtype, int first, int last) {
  const struct { ad_type key, type; } shape[] = {
    { SHAPE(AD_I64, 1), SHAPE(dtype, 1, 7) }, { SHAPE(AD_I64, 5), SHAPE(dtype, 5, 3) },
    { SHAPE(AD_I64, 2, 3), SHAPE(dtype, 2, 3) }, { AD_I64(), SHAPE(dtype, 4, 300) }, { AD_I64(),
        SHAPE(dtype, 0) } };
  for (int which = first; which <= last; which++)
    for (size_t i = 0; i < sizeof shape/sizeof *shape; i++) {
      sampled s = { which, shape[i].type };
      compiled_add(w, ad_function_trace("sample", sample_body, &s, 1, &shape[i].key, 1));
    }
}

static void test_samplers(void) {
  compiled w = { .n = 0 };
  add_samplers(&w, AD_F64, 0, 5);
  add_samplers(&w, AD_F32, 0, 5);
  add_samplers(&w, AD_I64, 6, 6);
  add_samplers(&w, AD_I32, 6, 6);
  all_run(&w, 3, exact, fill);
}

/* --- keys, and what has integers and choices ------------------------------------------------------------ */

static void keys_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_key_split(in[0], 5);
  out[1] = ad_key_fold(in[0], in[1]);
  out[2] = ad_key_fold(ad_key_split(in[0], 3), 12);
}

static void choices_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_random_integers(in[0], -7, 1000, SHAPE(AD_I64, 9));
  out[1] = ad_random_permutation(in[0], 37);
  out[2] = ad_random_categorical(in[0], ad_log(in[1]), SHAPE(AD_I32, 11));
  out[3] = ad_random_shuffle(in[0], in[1], 0);
}

static void split_loop_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var keys = ad_key_split(in[0], 2);
  out[0] = ad_at(keys, 1, (const int64_t[]){ 0 });
  out[1] = ad_add(in[1], ad_random_uniform(ad_at(keys, 1, (const int64_t[]){ 1 }), 0, 1, SHAPE(AD_F64, 3)));
}

/* A loop that carries a key, and a map over keys. */
static void loop_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_function *step = context;
  (void)t;
  ad_scan(step, 2, &(ad_loop){ .steps = 6 }, in, out);
}

static void map_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t;
  ad_map(context, in, out);
}

static void test_keys(void) {
  compiled w = { .n = 0 };
  const ad_type keys[2] = { SHAPE(AD_I64, 4), SHAPE(AD_I64, 4) }, choices[2] = { AD_I64(), SHAPE(AD_F64, 6) };
  const ad_type state[2] = { AD_I64(), SHAPE(AD_F64, 3) }, states[2] = { SHAPE(AD_I64, 5), SHAPE(AD_F64, 5,
      3) };
  compiled_add(&w, ad_function_trace("keys", keys_body, NULL, 2, keys, 3));
  compiled_add(&w, ad_function_trace("choices", choices_body, NULL, 2, choices, 4));
  ad_function *step = ad_function_trace("step", split_loop_body, NULL, 2, state, 2);
  compiled_add(&w, ad_function_trace("loop", loop_body, step, 2, state, 2));
  compiled_add(&w, ad_function_trace("map", map_body, step, 2, states, 2));
  all_run(&w, 3, exact, fill);
  ad_function_free(step);
}

/* --- derivatives ---------------------------------------------------------------------------------------- */

static void normal_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_type type = ad_type_of(in[1]);
  (void)t, (void)context;
  const ad_var e = ad_random_normal(in[0], in[1], in[2], type);
  const ad_var c = ad_random_truncated_normal(ad_key_fold(in[0], 1), in[1], in[2], -0.5, INFINITY, type);
  out[0] = ad_sum(ad_mul(ad_sin(e), c), AD_ALL_AXES, false);
}

static void test_derivatives(void) {
  compiled w = { .n = 0 };
  for (int single = 0; single < 2; single++) {
    const ad_type x = SHAPE(single ? AD_F32 : AD_F64, 6), in[3] = { AD_I64(), x, x };
    ad_function *f = ad_function_trace("normal", normal_body, NULL, 3, in, 1);
    compiled_add(&w, f);
    compiled_add(&w, ad_function_jvp(f));
    ad_function *back = ad_function_vjp(f);
    compiled_add(&w, back);
    compiled_add(&w, ad_function_vjp(back));
  }
  all_run(&w, 2, close_to, fill);
}

/* Small arrays by written text, large ones by calls of the library. */
static void test_native(void) {
  const char *const cache = folder_make();
  const ad_type key = AD_I64(), choices[2] = { AD_I64(), SHAPE(AD_F64, 6) };
  if (!CHECK(cache != NULL)) return;
  for (int64_t n = 5; n < 6000; n += 5000) {
    sampled s = { 1, SHAPE(AD_F64, n) };
    ad_function *f = ad_function_trace("sample", sample_body, &s, 1, &key, 1);
    all_native(f, cache, exact, fill);
  }
  ad_function *f = ad_function_trace("choices", choices_body, NULL, 2, choices, 4);
  all_native(f, cache, exact, fill);
  folder_remove(cache);
}

int main(void) {
  test_samplers();
  test_keys();
  test_derivatives();
  test_native();
  return check_summary();
}
