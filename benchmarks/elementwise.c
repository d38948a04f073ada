/* elementwise.c -- chains over a million doubles: a call of adit's function against a loop written by hand,
 * which is compiled with -O3 for this processor and calls the same vector math library. One thread, and all
 * of them. */
#include "measure.h"
#include "run/kernels/vector_math.h"

#include <adit/elementwise.h>
#include <adit/function.h>
#ifdef _OPENMP
#  include <omp.h>
#endif

enum { COUNT = 1000000, OPERANDS = 5 };
static double *x[OPERANDS], *mine, *theirs;
static int threads = 1;

/* Each chain once: as recorded, as written by hand, over a[i] .. e[i]. */
#define CHAIN(name, recorded, by_hand) \
  static void name##_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) { \
    const ad_var a = in[0], b = in[1], c = in[2], d = in[3], e = in[4]; \
    (void)t, (void)context, (void)a, (void)b, (void)c, (void)d, (void)e; \
    out[0] = recorded; \
  } \
  static __attribute__((noinline)) void name##_loop(int from, int to, double *restrict z, const double *pa, \
                                                    const double *pb, const double *pc, const double *pd, \
                                                    const double *pe) { \
    _Pragma("omp simd") for (int i = from; i < to; i++) { \
      const double a = pa[i], b = pb[i], c = pc[i], d = pd[i], e = pe[i]; \
      (void)a, (void)b, (void)c, (void)d, (void)e; \
      z[i] = by_hand; \
    } \
  }
typedef void loop(int from, int to, double *restrict z, const double *a, const double *b, const double *c,
                  const double *d, const double *e);

CHAIN(add, ad_add(a, b), a + b)
CHAIN(products, ad_sub(ad_add(ad_mul(a, b), ad_mul(c, d)), e), a*b + c*d - e)
CHAIN(polynomial, ad_add(1, ad_mul(a, ad_add(2, ad_mul(a, ad_add(3, ad_mul(a, ad_add(4, ad_mul(a, 5)))))))),
      1 + a*(2 + a*(3 + a*(4 + a*5))))
CHAIN(exponential, ad_exp(a), exp(a))
CHAIN(tangent, ad_tanh(a), tanh(a))
CHAIN(bell, ad_mul(ad_exp(ad_neg(ad_mul(a, a))), ad_sin(a)), exp(-(a*a))*sin(a))
CHAIN(sigmoid, ad_div(1, ad_add(1, ad_exp(ad_neg(ad_add(ad_mul(a, b), c))))), 1/(1 + exp(-(a*b + c))))

static struct chain { const char *name; int operands; ad_body *body; loop *by_hand; } chains[] = {
  { "a + b", 2, add_body, add_loop },
  { "a b + c d - e", 5, products_body, products_loop },
  { "polynomial of degree 4", 1, polynomial_body, polynomial_loop },
  { "exp(a)", 1, exponential_body, exponential_loop },
  { "tanh(a)", 1, tangent_body, tangent_loop },
  { "exp(-a^2) sin(a)", 1, bell_body, bell_loop },
  { "1/(1 + exp(-(a b + c)))", 3, sigmoid_body, sigmoid_loop },
};

typedef struct call { ad_function *f; ad_workspace *workspace; } call;

static void run_adit(void *data) {
  const call *c = data;
  const void *in[OPERANDS];
  void *out[] = { mine };
  for (int k = 0; k < OPERANDS; k++) in[k] = x[k];
  ad_function_call(c->f, in, out, c->workspace);
}

static void run_by_hand(void *data) {
  loop *f = ((const struct chain *)data)->by_hand;
  const int n = threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(n) schedule(static) if(n > 1)
#endif
  for (int k = 0; k < n; k++)
    f((int)((long)COUNT*k/n), (int)((long)COUNT*(k + 1)/n), theirs, x[0], x[1], x[2], x[3], x[4]);
}

static void row(struct chain *chain) {
  ad_type types[OPERANDS];
  for (int k = 0; k < OPERANDS; k++) types[k] = AD_F64(COUNT);
  ad_function *f = need(ad_function_trace(chain->name, chain->body, NULL, OPERANDS, types, 1));
  call c = { f, need(ad_workspace_new()) };
  const entrant e[] = { { run_adit, &c }, { run_by_hand, chain } };
  timing t[2];
  contest(2, e, 41, threads > 1 ? wall_seconds : cpu_seconds, t);
  for (int i = 0; i < COUNT; i++) expect(chain->name, mine[i], theirs[i], 1e-14);
  const double ns = 1e9/COUNT;
  printf("| %s | %d | %.3f (%.3f) | %.3f (%.3f) | **%.2f** (%.2f) | %.1f |\n", chain->name, threads,
         ns * t[0].median, ns * t[0].best, ns * t[1].median, ns * t[1].best, t[0].median / t[1].median,
         t[0].best / t[1].best, 8 * (chain->operands + 1) * 1e-9 * COUNT / t[0].median);
  ad_function_free(c.f);
  ad_workspace_free(c.workspace);
}

int main(void) {
  int most = 1;
#ifdef _OPENMP
  most = omp_get_max_threads();
#endif
  for (int k = 0; k < OPERANDS; k++) {
    x[k] = doubles(COUNT);
    for (int i = 0; i < COUNT; i++)
      x[k][i] = 4 * ((double)((unsigned)(i + k) * 2654435761u % 1000003u) / 1000003) - 2;
  }
  mine = doubles(COUNT), theirs = doubles(COUNT);
  printf("Chains over %d doubles, ns an element, median (best).\n\n"
         "| chain | threads | adit | by hand | ratio | adit, GB/s |\n| --- | --- | --- | --- | --- | --- |\n",
         COUNT);
  for (threads = 1; threads <= most; threads++) {
#ifdef _OPENMP
    omp_set_num_threads(threads);
#endif
    for (size_t k = 0; k < sizeof chains/sizeof *chains; k++) row(&chains[k]);
  }
  for (int k = 0; k < OPERANDS; k++) free(x[k]);
  free(mine), free(theirs);
  return 0;
}
