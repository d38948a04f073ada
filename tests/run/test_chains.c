/* test_chains.c -- links of chains give the bits of their rows' kernels, on every instruction set; and what
 * the planner makes chains of: long ones, sums of products, polynomials, calls within, sizes about a tile. */
#include "check.h"

#include "adit/elementwise.h"
#include "adit/function.h"
#include "run/kernels/chain.h"

#include <stdlib.h>

/* --- links ---------------------------------------------------------------------------------------------- */

enum { N = 256, X = 0, Y, W, Z, ONE, SLOTS };

typedef struct bench {
  const kernel_table *k;
  ad_dtype dtype;
  double block[SLOTS][N];
  void *at[SLOTS];
} bench;

static void fill(bench *b) {
  static const double special[] = { 0.0, -0.0, 1e300, 1e-310, 1.0/3 };
  for (int s = 0; s < SLOTS; s++) {
    b->at[s] = b->block[s];
    for (int i = 0; i < N; i++) {
      const double v = i < 5 && s != ONE ? special[(i + s)%5] : (i*37%19 - 9.1)*(s + 0.7);
      if (b->dtype == AD_F64) b->block[s][i] = v; else ((float *)b->block[s])[i] = (float)v;
    }
  }
}

/* The value of ONE in every element, as the rows' kernels want it. */
static void spread(const bench *b, double to[N]) {
  const size_t size = ad_dtype_bytes(b->dtype);
  for (size_t i = 0; i < N; i++) memcpy((char *)to + i*size, b->block[ONE], size);
}

static void run_row(const bench *b, elementwise_id row, void *z, const void *x, const void *y) {
  b->k->row[b->dtype][row](N, z, x, y, NULL, 0);
}

static chain_step step_of(const bench *b, int id, uint32_t z, uint32_t x, uint32_t y) {
  const chain_table *chains = b->k->chain[b->dtype];
  return (chain_step){ .link = chains->link[id], .far = chains->far[id], .at = { z, x, y, NO_SLOT } };
}

/* Z = what the links, at most six, make of X, against want; and the same looking ahead. */
static void check_links(bench *b, const char *name, int n, const chain_step links[], const double want[N]) {
  chain_step chain[9] = { step_of(b, LINK_load, NO_SLOT, X, NO_SLOT) };
  for (int i = 0; i < n; i++) chain[i + 1] = links[i];
  chain[n + 1] = step_of(b, LINK_store, Z, NO_SLOT, NO_SLOT);
  chain[n + 2] = step_of(b, LINK_stop, NO_SLOT, NO_SLOT, NO_SLOT);
  for (int far = 0; far <= 1; far++) {
    for (int i = 0; i <= n + 2 && far; i++)
      if (chain[i].far) chain[i].link = chain[i].far;
    memset(b->block[Z], 0xFF, sizeof b->block[Z]);
    b->k->chain[b->dtype]->run(chain, N, b->at);
    CHECK_THAT(!memcmp(want, b->block[Z], N*ad_dtype_bytes(b->dtype)), "%s, %s, %s, far %d", b->k->name, name,
               ad_dtype_name(b->dtype), far);
  }
}

static void check_unary(bench *b, const char *name, elementwise_id row, int id) {
  double want[N];
  const chain_step link = step_of(b, id, NO_SLOT, NO_SLOT, NO_SLOT);
  run_row(b, row, want, b->block[X], NULL);
  check_links(b, name, 1, &link, want);
  CHECK(chain_find(row, 0) == id);
}

static void check_binary(bench *b, const char *name, elementwise_id row, uint32_t place, int id) {
  double want[N], one[N];
  const chain_step block = step_of(b, id, NO_SLOT, Y, NO_SLOT),
                   single = step_of(b, id + 1, NO_SLOT, ONE, NO_SLOT);
  spread(b, one);
  run_row(b, row, want, place == 1 ? b->block[Y] : b->block[X], place == 1 ? b->block[X] : b->block[Y]);
  check_links(b, name, 1, &block, want);
  run_row(b, row, want, place == 1 ? (void *)one : b->block[X], place == 1 ? (void *)b->block[X] : one);
  check_links(b, name, 1, &single, want);
  CHECK(chain_find(row, place == 2 ? 0 : place) == id && (place != 2 || chain_find(row, 1) == id));
}

static void check_products(bench *b) {
  double product[N], want[N];
  const chain_step plain = step_of(b, LINK_product, NO_SLOT, Y, W),
                   sum = step_of(b, LINK_add_product, NO_SLOT, Y, W),
                   less = step_of(b, LINK_sub_product, NO_SLOT, Y, W),
                   from = step_of(b, LINK_product_sub, NO_SLOT, Y, W);
  run_row(b, ROW_mul, product, b->block[Y], b->block[W]);
  check_links(b, "product", 1, &plain, product);
  run_row(b, ROW_add, want, b->block[X], product);
  check_links(b, "add_product", 1, &sum, want);
  run_row(b, ROW_sub, want, b->block[X], product);
  check_links(b, "sub_product", 1, &less, want);
  run_row(b, ROW_sub, want, product, b->block[X]);
  check_links(b, "product_sub", 1, &from, want);
}

/* ((x*y + 1)*y + 1)*w + 1, and a row's kernel in the middle of a chain. */
static void check_longer(bench *b) {
  double want[N], one[N];
  chain_step steps[5];
  spread(b, one);
  memcpy(want, b->block[X], sizeof want);
  for (int k = 0; k < 3; k++) {
    steps[k] = step_of(b, LINK_horner, NO_SLOT, k < 2 ? Y : W, ONE);
    run_row(b, ROW_mul, want, want, b->block[k < 2 ? Y : W]);
    run_row(b, ROW_add, want, want, one);
  }
  check_links(b, "horner", 3, steps, want);
  steps[0] = step_of(b, LINK_neg, NO_SLOT, NO_SLOT, NO_SLOT);
  steps[1] = step_of(b, LINK_store, Z, NO_SLOT, NO_SLOT);
  steps[2] = step_of(b, LINK_call, Z, Z, NO_SLOT);
  steps[2].kernel = b->k->row[b->dtype][ROW_tanh];
  steps[3] = step_of(b, LINK_load_splat, NO_SLOT, ONE, NO_SLOT);
  steps[4] = step_of(b, LINK_mul_2, NO_SLOT, Z, NO_SLOT);
  run_row(b, ROW_neg, want, b->block[X], NULL);
  run_row(b, ROW_tanh, want, want, NULL);
  run_row(b, ROW_mul, want, one, want);
  check_links(b, "call", 5, steps, want);
}

static void test_links(const kernel_table *k, ad_dtype dtype) {
  static bench b;
  b.k = k, b.dtype = dtype;
  if (!k->chain[dtype]) return;
  fill(&b);
  CHECK(N%k->chain[dtype]->tile == 0);
#define LINK_1(row, value)        check_unary(&b, #row, ROW_##row, LINK_##row);
#define LINK_2(row, place, value) check_binary(&b, #row, ROW_##row, place, LINK_##row##_##place);
#include "run/kernels/chain.def"
  check_products(&b);
  check_longer(&b);
}

/* --- planner -------------------------------------------------------------------------------------------- */

enum { INPUTS = 4, OUTPUTS = 5, DEGREE = 150 };

/* Polynomial; products; a value that several read and is an output, too; a call within; one input alone. */
static void chains_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  const ad_var a = in[0], b = in[1], c = in[2], s = in[3];
  ad_var p = a;
  for (int k = 0; k < DEGREE; k++) p = ad_add(ad_mul(p, b), k%3 - 1.25);
  out[0] = p;
  out[1] = ad_sub(ad_mul(a, c), ad_add(ad_mul(a, b), ad_sub(ad_mul(b, c), ad_mul(s, a))));
  const ad_var shared = ad_mul(ad_add(a, s), 3);
  out[2] = shared;
  out[3] = ad_div(ad_sub(1, shared), ad_add(ad_mul(shared, shared), ad_sub(shared, b)));
  out[4] = ad_reciprocal(ad_add(1, ad_exp(ad_neg(ad_sub(ad_add(ad_mul(a, b), c), s)))));
}

static double wanted(int j, const double x[INPUTS]) {
  const double a = x[0], b = x[1], c = x[2], s = x[3];
  volatile double p = a, q;                                         /* every rounding, no contraction */
  if (j == 0) {
    for (int k = 0; k < DEGREE; k++) { p = p*b; p = p + (k%3 - 1.25); }
    return p;
  }
  volatile double ac = a*c, ab = a*b, bc = b*c, sa = s*a, shared = a + s;
  if (j == 1) { q = bc - sa; q = ab + q; return ac - q; }
  shared = shared*3;
  if (j == 2) return shared;
  p = shared*shared, q = shared - b;
  if (j == 3) { q = p + q; p = 1 - shared; return p/q; }
  p = ab + c, p = p - s;
  return 1/(1 + exp(-p));
}

static void check_output(int j, int64_t n, const double *z, double *const x[INPUTS]) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < n; i++) {
    const double at[INPUTS] = { x[0][i], x[1][i], x[2][i], x[3][0] }, want = wanted(j, at);
    wrong += j == 4 ? !check_near(z[i], want, 1e-15) : z[i] != want;
  }
  CHECK_THAT(wrong == 0, "output %d: %lld of %lld elements differ", j, (long long)wrong, (long long)n);
}

/* Every choice of outputs; over: the first one goes over the first input. */
static void test_planner(int64_t n, bool over) {
  const ad_type in[INPUTS] = { AD_F64(n), AD_F64(n), AD_F64(n), AD_F64() };
  double *x[INPUTS], *z[OUTPUTS], *given = malloc((size_t)n*sizeof *given + 1);
  uint64_t state = (uint64_t)n;
  for (int k = 0; k < INPUTS; k++) {
    x[k] = malloc((size_t)n*sizeof *x[k] + 8);
    for (int64_t i = 0; i < (n ? n : 1); i++) x[k][i] = check_uniform(&state, -1, 1);
  }
  for (int j = 0; j < OUTPUTS; j++) z[j] = malloc((size_t)n*sizeof *z[j] + 1);
  ad_function *f = ad_function_trace("chains", chains_body, NULL, INPUTS, in, OUTPUTS);
  for (unsigned set = 1; set < 1u << OUTPUTS; set++) {
    void *out[OUTPUTS];
    for (int j = 0; j < OUTPUTS; j++) out[j] = set >> j & 1 ? z[j] : NULL;
    if (n) memcpy(given, x[0], (size_t)n*sizeof *given);
    const void *const from[INPUTS] = { given, x[1], x[2], x[3] };
    if (over && out[0]) out[0] = given;
    CHECK_STATUS(ad_function_call(f, from, out, NULL), AD_OK);
    for (int j = 0; j < OUTPUTS; j++)
      if (out[j]) check_output(j, n, out[j], x);
  }
  ad_function_free(f);
  for (int k = 0; k < INPUTS; k++) free(x[k]);
  for (int j = 0; j < OUTPUTS; j++) free(z[j]);
  free(given);
}

int main(void) {
  for (int i = 0; kernels_available(i); i++) {
    test_links(kernels_available(i), AD_F64);
    test_links(kernels_available(i), AD_F32);
  }
  CHECK(chain_find(ROW_exp, 0) == CHAIN_NONE);
  static const int64_t sizes[] = { 0, 1, 7, 16, 63, 64, 65, 128, 200, 256, 300, 1000, 40000 };
  for (size_t i = 0; i < sizeof sizes/sizeof *sizes; i++) {
    test_planner(sizes[i], false);
    if (sizes[i] < 40000) test_planner(sizes[i], true);
  }
  return check_summary();
}
