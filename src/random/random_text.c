/* random_text.c -- Philox and what is made of its words as routines of C: the arithmetic of kernel.inc and of
 * truncated.c, operation by operation, so that written code gives the bits of the library. Where R is float,
 * numbers are made in double and rounded, but for uniform ones, which would become 1.
 *
 * A routine for samples fills what one block of Philox gives: 2 numbers of 8 bytes, 4 of 4.
 */
#include "random/random_text.h"

/* --- words ---------------------------------------------------------------------------------------------- */

static const char philox_text[] =
  "/* Philox 4x32-10, block number `index` of a key; Salmon, Moraes, Dror and Shaw, SC 2011. */\n"
  "static void HELPER(philox)(int64_t key, uint64_t index, uint32_t purpose, uint64_t *word) {\n"
  "  uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = 0, c3 = purpose;\n"
  "  uint32_t k0 = (uint32_t)(uint64_t)key, k1 = (uint32_t)((uint64_t)key >> 32);\n"
  "  for (int round = 0; round < 10; round++) {\n"
  "    const uint64_t p0 = UINT64_C(0xD2511F53)*c0, p1 = UINT64_C(0xCD9E8D57)*c2;\n"
  "    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;\n"
  "    c1 = (uint32_t)p1;\n"
  "    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;\n"
  "    c3 = (uint32_t)p0;\n"
  "    k0 += UINT32_C(0x9E3779B9);\n"
  "    k1 += UINT32_C(0xBB67AE85);\n"
  "  }\n"
  "  word[0] = c0 | (uint64_t)c1 << 32;\n"
  "  word[1] = c2 | (uint64_t)c3 << 32;\n"
  "}\n";

static const char bits_8[] =
  "static void HELPER(random_bits)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 2; i++) z[i] = (REAL)word[i];\n"
  "}\n";

static const char bits_4[] =
  "static void HELPER(random_bits)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 4; i++) z[i] = (REAL)(uint32_t)(word[i/2] >> 32*(i%2));\n"
  "}\n";

static const char uniform_8[] =
  "static void HELPER(random_uniform)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 2; i++)\n"
  "    z[i] = sizeof *z == sizeof(float) ? (REAL)(word[i] >> 40)*(REAL)0x1p-24\n"
  "                                      : (REAL)(word[i] >> 11)*(REAL)0x1p-53;\n"
  "}\n";

static const char uniform_4[] =
  "static void HELPER(random_uniform)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 4; i++) z[i] = (REAL)((uint32_t)(word[i/2] >> 32*(i%2)) >> 8)*0x1p-24f;\n"
  "}\n";

/* --- logarithms ----------------------------------------------------------------------------------------- */

/* log x = e log 2 + log m, m in [sqrt(1/2), sqrt(2)), as 2 s (1 + s^2/3 + ..) with s = (m - 1)/(m + 1). */
static const char log_8[] =
  "/* log x; beyond: x - 1 as accurate as it is known. */\n"
  "static double HELPER(random_log)(double x, double beyond) {\n"
  "  const uint64_t root = UINT64_C(0x3FE6A09E667F3BCD);\n"
  "  union { double number; uint64_t bits; } m = { .number = x };\n"
  "  m.bits += UINT64_C(0x3FF0000000000000) - root;\n"
  "  const double e = (double)(int64_t)(m.bits >> 52) - 1023;\n"
  "  m.bits = (m.bits & UINT64_C(0x000FFFFFFFFFFFFF)) + root;\n"
  "  const double f = e == 0 ? beyond : m.number - 1, s = f/(2 + f), t = s*s;\n"
  "  return e*0x1.62e42fefa39efp-1 + (2*s + 2*s*t*(1.0/3 + t*(1.0/5 + t*(1.0/7 + t*(1.0/9 + t*(1.0/11\n"
  "         + t*(1.0/13 + t*(1.0/15 + t*(1.0/17 + t*(1.0/19 + t*(1.0/21)))))))))));\n"
  "}\n";

static const char log_4[] =
  "/* log x; beyond: x - 1 as accurate as it is known. */\n"
  "static float HELPER(random_log)(float x, float beyond) {\n"
  "  const uint32_t root = UINT32_C(0x3F3504F3);\n"
  "  union { float number; uint32_t bits; } m = { .number = x };\n"
  "  m.bits += UINT32_C(0x3F800000) - root;\n"
  "  const float e = (float)((int32_t)(m.bits >> 23) - 127);\n"
  "  m.bits = (m.bits & UINT32_C(0x007FFFFF)) + root;\n"
  "  const float f = e == 0 ? beyond : m.number - 1, s = f/(2 + f), t = s*s;\n"
  "  return e*0x1.62e43p-1f + (2*s + 2*s*t*(1.0f/3 + t*(1.0f/5 + t*(1.0f/7 + t*(1.0f/9)))));\n"
  "}\n";

/* --- exponential, Laplace, Gumbel ----------------------------------------------------------------------- */

static const char size_8[] =
  "/* -log of (x + 1/2)/2^64. */\n"
  "static double HELPER(random_size)(uint64_t x) {\n"
  "  return -HELPER(random_log)(((double)x + 0.5)*0x1p-64, -(((double)~x + 0.5)*0x1p-64));\n"
  "}\n";

static const char size_4[] =
  "/* -log of (x + 1/2)/2^32. */\n"
  "static float HELPER(random_size)(uint32_t x) {\n"
  "  return -HELPER(random_log)(((float)x + 0.5f)*0x1p-32f, -(((float)~x + 0.5f)*0x1p-32f));\n"
  "}\n";

static const char exponential_8[] =
  "static void HELPER(random_exponential)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 2; i++) z[i] = (REAL)HELPER(random_size)(word[i]);\n"
  "}\n";

static const char exponential_4[] =
  "static void HELPER(random_exponential)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 4; i++) z[i] = HELPER(random_size)((uint32_t)(word[i/2] >> 32*(i%2)));\n"
  "}\n";

static const char laplace_8[] =
  "static void HELPER(random_laplace)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 2; i++) {\n"
  "    const double size = HELPER(random_size)(word[i] << 1 | 1);\n"
  "    z[i] = (REAL)(word[i] >> 63 ? -size : size);\n"
  "  }\n"
  "}\n";

static const char laplace_4[] =
  "static void HELPER(random_laplace)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 4; i++) {\n"
  "    const uint32_t bits = (uint32_t)(word[i/2] >> 32*(i%2));\n"
  "    const float size = HELPER(random_size)(bits << 1 | 1);\n"
  "    z[i] = bits >> 31 ? -size : size;\n"
  "  }\n"
  "}\n";

static const char gumbel_8[] =
  "static void HELPER(random_gumbel)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 2; i++) {\n"
  "    const double size = HELPER(random_size)(word[i]);\n"
  "    z[i] = (REAL)-HELPER(random_log)(size, size - 1);\n"
  "  }\n"
  "}\n";

static const char gumbel_4[] =
  "static void HELPER(random_gumbel)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 4; i++) {\n"
  "    const float size = HELPER(random_size)((uint32_t)(word[i/2] >> 32*(i%2)));\n"
  "    z[i] = -HELPER(random_log)(size, size - 1);\n"
  "  }\n"
  "}\n";

/* --- normal --------------------------------------------------------------------------------------------- */

/* Box and Muller, the angle's octant from three bits and its sine and cosine by Taylor's series. */
static const char normal_8[] =
  "static void HELPER(random_normal)(const uint64_t *word, REAL *z) {\n"
  "  const uint64_t turn = word[1];\n"
  "  const double r = sqrt(2*HELPER(random_size)(word[0]));\n"
  "  const double a = ((double)(turn >> 3) + 0.5)*(0.78539816339744830962*0x1p-61), t = a*a;\n"
  "  const double s = a - a*t*(1.0/6 - t*(1.0/120 - t*(1.0/5040 - t*(1.0/362880 - t*(1.0/39916800\n"
  "                   - t*(1.0/6227020800.0 - t*(1.0/1307674368000.0)))))));\n"
  "  const double c = 1 - t*(1.0/2 - t*(1.0/24 - t*(1.0/720 - t*(1.0/40320 - t*(1.0/3628800\n"
  "                   - t*(1.0/479001600 - t*(1.0/87178291200.0 - t*(1.0/20922789888000.0))))))));\n"
  "  const double p = turn & 1 ? s : c, q = turn & 1 ? c : s;\n"
  "  z[0] = (REAL)(r*(turn & 2 ? -p : p));\n"
  "  z[1] = (REAL)(r*(turn & 4 ? -q : q));\n"
  "}\n";

static const char normal_4[] =
  "static void HELPER(random_normal)(const uint64_t *word, REAL *z) {\n"
  "  for (int i = 0; i < 2; i++) {\n"
  "    const uint32_t turn = (uint32_t)(word[i] >> 32);\n"
  "    const float r = sqrtf(2*HELPER(random_size)((uint32_t)word[i]));\n"
  "    const float a = ((float)(turn >> 3) + 0.5f)*(0.78539816339744830962f*0x1p-29f), t = a*a;\n"
  "    const float s = a - a*t*(1.0f/6 - t*(1.0f/120 - t*(1.0f/5040 - t*(1.0f/362880))));\n"
  "    const float c = 1 - t*(1.0f/2 - t*(1.0f/24 - t*(1.0f/720 - t*(1.0f/40320 - t*(1.0f/3628800)))));\n"
  "    const float p = turn & 1 ? s : c, q = turn & 1 ? c : s;\n"
  "    z[2*i] = r*(turn & 2 ? -p : p);\n"
  "    z[2*i + 1] = r*(turn & 4 ? -q : q);\n"
  "  }\n"
  "}\n";

/* --- samples -------------------------------------------------------------------------------------------- */

static const struct { const char *name, *text[2]; } sampler[RANDOM_SAMPLERS] = {
  [RANDOM_BITS] = { "random_bits", { bits_4, bits_8 } },
  [RANDOM_UNIFORM] = { "random_uniform", { uniform_4, uniform_8 } },
  [RANDOM_NORMAL] = { "random_normal", { normal_4, normal_8 } },
  [RANDOM_EXPONENTIAL] = { "random_exponential", { exponential_4, exponential_8 } },
  [RANDOM_LAPLACE] = { "random_laplace", { laplace_4, laplace_8 } },
  [RANDOM_GUMBEL] = { "random_gumbel", { gumbel_4, gumbel_8 } }
};

static const char *written_philox(ad_writer *w) { return ad_write_routine(w, AD_I64, "philox", philox_text); }

/* What a routine calls stands before it. */
static const char *written_sampler(ad_writer *w, ad_dtype dtype, random_purpose purpose, bool wide) {
  if (purpose != RANDOM_BITS && purpose != RANDOM_UNIFORM) {
    ad_write_routine(w, dtype, "random_log", wide ? log_8 : log_4);
    ad_write_routine(w, dtype, "random_size", wide ? size_8 : size_4);
  }
  return ad_write_routine(w, dtype, sampler[purpose].name, sampler[purpose].text[wide]);
}

ad_status write_samples(ad_writer *w, const ad_operation *op, random_purpose purpose, int64_t each,
                        const char *z, const char *x) {
  const ad_dtype dtype = op->z.dtype;
  const bool wide = ad_dtype_bytes(dtype) == 8;
  const int block = wide ? 2 : 4;
  const long long keys = (long long)ad_type_count(*op->x[0]), n = (long long)each;
  if (keys == 0 || n == 0) return AD_OK;
  const char *make = written_sampler(w, dtype, purpose, wide), *words = written_philox(w);
  ad_write(w, "for (int64_t k = 0; k < %lld; k++)", keys);
  ad_write(w, "for (int64_t i = 0; i < %lld; i += %d) {", n, block);
  ad_write(w, "uint64_t word[2];");
  ad_write(w, "%s sample[%d];", ad_write_type(dtype), block);
  ad_write(w, "%s(%s[k], (uint64_t)i/%d, %d, word);", words, x, block, (int)purpose);
  ad_write(w, "%s(word, sample);", make);
  ad_write(w, "for (int64_t j = 0; j < %d && i + j < %lld; j++) %s[k*%lld + i + j] = sample[j];", block, n,
           z, n);
  ad_write(w, "}");
  return AD_OK;
}

void write_keys(ad_writer *w, random_purpose purpose, int64_t n, const char *z, const char *key,
                const char *from, const char *index) {
  if (n == 0) return;
  const char *words = written_philox(w);
  ad_write(w, "for (int64_t i = 0; i < %lld; i++) {", (long long)n);
  ad_write(w, "uint64_t word[2];");
  ad_write(w, "%s(%s[%s], (uint64_t)%s, %d, word);", words, key, from, index, (int)purpose);
  ad_write(w, "%s[i] = (int64_t)word[0];", z);
  ad_write(w, "}");
}

/* --- truncated normal variables ------------------------------------------------------------------------- */

static const char tail_text[] =
  "static double HELPER(random_tail)(double x) { return 0.5*erfc(x*0.70710678118654752440); }\n";

static const char quantile_text[] =
  "/* The x >= 0 that a normal variable exceeds with probability q <= 1/2: Abramowitz and Stegun, 26.2.23,\n"
  " * and two steps of Halley's method. */\n"
  "static double HELPER(random_quantile)(double q) {\n"
  "  const double t = sqrt(-2*log(q));\n"
  "  double x = t - (2.515517 + t*(0.802853 + t*0.010328))/(1 + t*(1.432788 + t*(0.189269 + t*0.001308)));\n"
  "  for (int step = 0; step < 2; step++) {\n"
  "    const double h = (HELPER(random_tail)(x) - q)*2.50662827463100050242*exp(0.5*x*x);\n"
  "    x += h/(1 - 0.5*x*h);\n"
  "  }\n"
  "  return x;\n"
  "}\n";

/* Without the recursion of truncated.c: the side that reaches further is turned to be above. */
static const char truncated_text[] =
  "static REAL HELPER(random_truncated_normal)(double u, double a, double b) {\n"
  "  if (!(a <= b)) return (REAL)NAN;\n"
  "  const int turned = a < 0 && -a > b;\n"
  "  const double low = turned ? -b : a, high = turned ? -a : b;\n"
  "  u = u > 0 ? u : 0x1p-54;\n"
  "  u = turned ? 1 - u : u;\n"
  "  const double top = HELPER(random_tail)(low), bottom = HELPER(random_tail)(high);\n"
  "  const double q = bottom + (1 - u)*(top - bottom);\n"
  "  const double lower = HELPER(random_tail)(-low) + u*(top - bottom);\n"
  "  const double e = q <= 0.5 ? HELPER(random_quantile)(q) : -HELPER(random_quantile)(lower);\n"
  "  const double z = e < low ? low : e > high ? high : e;\n"
  "  return (REAL)(turned ? -z : z);\n"
  "}\n";

ad_status truncated_write(ad_writer *w, const ad_operation *op, const char *z, const char *const x[]) {
  const ad_dtype dtype = op->z.dtype;
  const int64_t n = ad_type_count(op->z);
  if (n == 0) return AD_OK;
  ad_write_routine(w, dtype, "random_tail", tail_text);
  ad_write_routine(w, dtype, "random_quantile", quantile_text);
  const char *make = ad_write_routine(w, dtype, "random_truncated_normal", truncated_text);
  ad_write(w, "for (int64_t i = 0; i < %lld; i++)", (long long)n);
  ad_write(w, "  %s[i] = %s((double)%s[i], (double)%s[i], (double)%s[i]);", z, make, x[0], x[1], x[2]);
  return AD_OK;
}
