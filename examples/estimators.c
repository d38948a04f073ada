/* estimators.c -- the gradient of an expectation, from samples.
 *
 * z = mu + exp(logvar/2) eps with eps standard normal, and E z^2 = mu^2 + exp(logvar): its gradient by
 * (mu, logvar) is (2 mu, exp(logvar)). Two ways to estimate that, s^2 = exp(logvar):
 *
 *   reparameterisation    the gradient of z^2 at fixed eps: (2 z, z s eps)
 *   score function        (z^2 - b) times the gradient of log p(z) at fixed z: (eps/s, (eps^2 - 1)/2)
 *
 * The second needs no derivative of z^2, and pays for it in variance, which a baseline b makes less: here the
 * mean of z^2 over the other samples. The moments of eps give the variances of single samples:
 *
 *                         by mu                              by logvar
 *   reparameterisation    4 s^2                              mu^2 s^2 + 2 s^4
 *   score, b = 0          mu^4/s^2 + 14 mu^2 + 15 s^2        mu^4/2 + 15 mu^2 s^2 + 37/2 s^4
 *   score, b = E z^2      8 mu^2 + 10 s^2                    10 mu^2 s^2 + 14 s^4
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>

enum { N = 200000 };
static const double mu = 1.5, logvar = -0.7;

/* (mu, logvar, key) -> z^2 of one sample */
static void through_sample(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  ad_var eps = ad_random_normal(in[2], 0, 1, AD_F64());
  out[0] = ad_square(ad_add(in[0], ad_mul(ad_exp(ad_mul(0.5, in[1])), eps)));
}

/* (mu, logvar, key, baseline) -> the same with the derivative of the score function estimator */
static void by_score(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  ad_var deviation = ad_exp(ad_mul(0.5, in[1]));
  ad_var z = ad_stop_gradient(ad_random_normal(in[2], in[0], deviation, AD_F64()));
  out[0] = ad_score_function(ad_square(z), ad_normal_log_density(z, in[0], deviation), in[3]);
}

/* f (N) -> the mean of the others, for each; key -> N keys */
static void others(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_leave_one_out_mean(in[0], 0);
}
static void keys(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_key_split(in[0], N);
}

/* The gradient of each sample: f of (mu, logvar, key ..), mapped over what follows logvar. */
static ad_function *sampled_gradient(ad_body *body, int n_in) {
  const ad_type type[4] = { AD_F64(), AD_F64(), AD_I64(), AD_F64() };
  const bool mapped[4] = { false, false, true, true };
  ad_function *f = ad_function_trace("sample", body, NULL, n_in, type, 1);
  ad_function *gradient = ad_function_gradient(f, 2, (const int[]){ 0, 1 });
  ad_function *all = ad_function_map(gradient, N, mapped);
  ad_function_free(gradient);
  ad_function_free(f);
  return all;
}

typedef struct moments { double mean, variance; } moments;

static moments moments_of(const double x[N]) {
  moments m = { 0, 0 };
  for (int i = 0; i < N; i++) m.mean += x[i]/N;
  for (int i = 0; i < N; i++) m.variance += (x[i] - m.mean)*(x[i] - m.mean)/(N - 1);
  return m;
}

/* Means agree within five of their standard errors, variances within a twentieth. */
static void print(const char *name, const double g[2][N], const double variance[2]) {
  const double gradient[2] = { 2*mu, exp(logvar) };
  static const char *const by[2] = { "mu", "logvar" };
  for (int i = 0; i < 2; i++) {
    moments m = moments_of(g[i]);
    bool good = fabs(m.mean - gradient[i]) < 5*sqrt(variance[i]/N);
    bool good_variance = fabs(m.variance/variance[i] - 1) < 0.05;
    printf("%-20s  %-6s  %6.2f (%.2f, agrees: %s)  %8.1f (%.1f, agrees: %s)\n", i ? "" : name, by[i], m.mean,
           gradient[i], good ? "yes" : "no", m.variance, variance[i], good_variance ? "yes" : "no");
  }
}

static bool run(ad_function *through, ad_function *score, ad_function *baseline, ad_function *split) {
  static double z2[N], b[N], zero[N], g[2][N];
  static int64_t key[N];
  const int64_t seed = 2026;
  const double m2 = mu*mu, s2 = exp(logvar);
  const double path[2] = { 4*s2, m2*s2 + 2*s2*s2 };
  const double plain[2] = { m2*m2/s2 + 14*m2 + 15*s2, m2*m2/2 + 15*m2*s2 + 18.5*s2*s2 };
  const double better[2] = { 8*m2 + 10*s2, 10*m2*s2 + 14*s2*s2 };
  void *out[3] = { z2, g[0], g[1] };
  printf("%d samples             by      gradient (closed form)     variance (closed form)\n", N);
  if (ad_function_call(split, (const void *[]){ &seed }, (void *[]){ key }, NULL)) return false;
  if (ad_function_call(through, (const void *[]){ &mu, &logvar, key }, out, NULL)) return false;
  print("reparameterisation", (const double (*)[N])g, path);
  if (ad_function_call(score, (const void *[]){ &mu, &logvar, key, zero }, out, NULL)) return false;
  print("score", (const double (*)[N])g, plain);
  if (ad_function_call(baseline, (const void *[]){ z2 }, (void *[]){ b }, NULL)) return false;
  if (ad_function_call(score, (const void *[]){ &mu, &logvar, key, b }, out, NULL)) return false;
  print("score with baseline", (const double (*)[N])g, better);
  return true;
}

int main(void) {
  const ad_type all = AD_F64(N), one_key = AD_I64();
  ad_function *through = sampled_gradient(through_sample, 3), *score = sampled_gradient(by_score, 4);
  ad_function *baseline = ad_function_trace("others", others, NULL, 1, &all, 1);
  ad_function *split = ad_function_trace("keys", keys, NULL, 1, &one_key, 1);
  bool good = through && score && baseline && split && run(through, score, baseline, split);
  ad_function_free(split);
  ad_function_free(baseline);
  ad_function_free(score);
  ad_function_free(through);
  return good ? 0 : 1;
}
