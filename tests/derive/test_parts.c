/* test_parts.c -- adjoints of parts of arrays: zeros where a part is not, which need no choice between value
 * and zero as long as they are only added up and scaled, and must not become nan where a weight is
 * infinite. */
#include "check.h"

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "function/function.h"
#include "primitives/library.h"

#include <string.h>

enum { N = 6, CASES = 6 };

/* u = scale v x with the scales and parts of a case; sums of parts of u. v is an operand that may be infinite
 * where no part reaches. */
static ad_var record(int number, ad_var v, ad_var x) {
  const ad_var u = ad_mul(v, x);
  switch (number) {
    case 0: return ad_sum(ad_slice(ad_mul(u, 0.5), 0, 0, N - 1, 1), AD_ALL_AXES, false);
    case 1: return ad_sum(ad_mul(ad_slice(ad_mul(u, 0.5), 0, 1, N - 2, 1), 3), AD_ALL_AXES, false);
    case 2: {
      const ad_var h = ad_mul(u, 0.25);
      return ad_sum(ad_add(ad_slice(h, 0, 0, N - 3, 1), ad_slice(h, 0, 2, N - 3, 1)), AD_ALL_AXES, false);
    }
    case 3: {
      const ad_var h = ad_div(ad_sub(u, x), 2), k = ad_add(h, ad_mul(u, -2));
      return ad_sum(ad_mul(ad_slice(k, 0, 1, N - 2, 1), ad_slice(x, 0, 2, N - 2, 1)), AD_ALL_AXES, false);
    }
    case 4: {                                    /* as a shifted sum in a step of a method */
      const ad_var parts[2] = { ad_ones(x.tape, AD_F64(1)), ad_slice(x, 0, 0, N - 1, 1) };
      const ad_var k = ad_mul(v, ad_concat(2, parts, 0)), y = ad_add(x, ad_mul(0.5, k));
      const ad_var next[2] = { parts[0], ad_slice(y, 0, 0, N - 1, 1) };
      return ad_sum(ad_add(y, ad_mul(0.25, ad_mul(v, ad_concat(2, next, 0)))), AD_ALL_AXES, false);
    }
    default:                                     /* a negative scale, and a slope that is infinite at 0 */
      return ad_sum(ad_slice(ad_mul(ad_sqrt(u), -2), 0, 0, N - 1, 1), AD_ALL_AXES, false);
  }
}

/* The slope of the sum by x[i]. */
static double slope(int number, const double v[], const double x[], int i) {
  switch (number) {
    case 0: return i < N - 1 ? 0.5*v[i] : 0;
    case 1: return i >= 1 && i < N - 1 ? 1.5*v[i] : 0;
    case 2: return ((i < N - 3) + (i >= 2 && i < N - 1))*(i < N - 1 ? 0.25*v[i] : 0);
    case 3: {
      double s = 0;
      if (i >= 1 && i < N - 1) s += ((v[i] - 1)/2 - 2*v[i])*x[i + 1];
      if (i >= 2) s += (v[i - 1]*x[i - 1] - x[i - 1])/2 - 2*v[i - 1]*x[i - 1];
      return s;
    }
    case 4: {                                    /* dy[j]/dx[i] (1 + v[j + 1]/4), j = i, i + 1 */
      double s = 1 + (i + 1 < N ? 0.25*v[i + 1] : 0);
      if (i + 1 < N) s += 0.5*v[i + 1]*(1 + (i + 2 < N ? 0.25*v[i + 2] : 0));
      return s;
    }
    default: return i < N - 1 ? -2*v[i]/(2*sqrt(v[i]*x[i])) : 0;
  }
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var value = record(*(const int *)context, in[0], in[1]);
  (void)t;
  ad_grad(value, 1, &in[1], out);
}

static int count_choices(const ad_function *f) {
  int n = 0;
  for (uint32_t i = 0; i < f->body->count; i++)
    n += !node_is_leaf(f->body, i) && node_primitive(f->body, i)->row == &elementwise_rows[ROW_select];
  return n;
}

static void check_case(int number, bool infinite, bool traced) {
  double v[N], x[N], got[N];
  const ad_type type = AD_F64(N), types[2] = { type, type };
  for (int i = 0; i < N; i++) v[i] = 0.5 + i, x[i] = 1 + 0.25*i;
  if (infinite && number == 5) v[N - 1] = 0;
  else if (infinite && number != 3) v[number == 4 ? 0 : N - 1] = INFINITY;
  if (traced) {
    ad_function *f = ad_function_trace("gradient", body, &number, 2, types, 1);
    CHECK_STATUS(ad_function_call(f, (const void *[]){ v, x }, (void *[]){ got }, NULL), AD_OK);
    if (number == 4) CHECK(count_choices(f) == 0);
    ad_function_free(f);
  } else {
    ad_tape *t = ad_tape_new();
    const ad_var in[2] = { ad_array(t, type, v), ad_array(t, type, x) };
    ad_var out = ad_none();
    body(t, in, &out, &number);
    CHECK_STATUS(ad_read(out, got), AD_OK);
    ad_tape_free(t);
  }
  for (int i = 0; i < N; i++) {
    const double want = slope(number, v, x, i);
    CHECK_THAT(fabs(got[i] - want) <= 1e-14*(1 + fabs(want)) && signbit(got[i]) == signbit(want),
               "case %d, infinite %d, traced %d: [%d] is %g, not %g", number, infinite, traced, i, got[i],
               want);
  }
}

int main(void) {
  for (int number = 0; number < CASES; number++)
    for (int infinite = 0; infinite < 2; infinite++)
      for (int traced = 0; traced < 2; traced++) check_case(number, infinite, traced);
  return check_summary();
}
