/* control_checks.h -- two functions that must be the same mathematics, compared in every mode to a given
 * order. */
#ifndef ADIT_TESTS_CONTROL_CHECKS_H
#define ADIT_TESTS_CONTROL_CHECKS_H

#include "check.h"
#include "adit.h"

#include <stdlib.h>

enum { MOST_PORTS = 64, MOST_BYTES = 8192 };

/* --- arrays in order ------------------------------------------------------------------------------------ */

typedef struct arrays {
  int n;
  ad_type type[MOST_PORTS];
  double data[MOST_PORTS][MOST_BYTES/sizeof(double)];
} arrays;

/* Where the numbers of a function's inputs come from: floats between lo and hi, integers from 0 to most. */
typedef struct domain { double lo, hi; int most; } domain;

static inline void fill_arrays(arrays *x, int from, domain d, uint64_t *state) {
  for (int k = from; k < x->n; k++)
    for (int64_t e = 0; e < ad_type_count(x->type[k]); e++) {
      const bool integer = x->type[k].dtype < AD_F32;
      check_set_element(x->type[k].dtype, x->data[k], e,
                        integer ? check_below(state, d.most + 1) : check_uniform(state, d.lo, d.hi));
    }
}

/* Types of inputs; the first `kept` arrays stay, the others get numbers. */
static inline void set_arrays(arrays *x, ad_function *f, int kept, domain d, uint64_t *state) {
  x->n = ad_function_inputs(f);
  for (int k = 0; k < x->n; k++) x->type[k] = ad_function_input_type(f, k);
  fill_arrays(x, 0, d, state);
  fill_arrays(x, kept, (domain){ -1, 1, d.most }, state);
}

/* The message of a call that fails goes to message, of 256 characters; NULL: it must not fail. */
static inline ad_status call_arrays(ad_function *f, const arrays *x, arrays *z, char *message) {
  const void *in[MOST_PORTS];
  void *out[MOST_PORTS];
  for (int k = 0; k < x->n; k++) in[k] = x->data[k];
  z->n = ad_function_outputs(f);
  for (int j = 0; j < z->n; j++) {
    z->type[j] = ad_function_output_type(f, j);
    out[j] = z->data[j];
    for (size_t e = 0; e < ad_type_bytes(z->type[j]); e++) ((unsigned char *)z->data[j])[e] = 0xA5;
  }
  ad_workspace *w = ad_workspace_new();
  const ad_status status = ad_function_call(f, in, out, w);
  if (message) snprintf(message, 256, "%s", ad_workspace_message(w));
  else CHECK_THAT(status == AD_OK, "%s: %s (%s)", ad_function_name(f), ad_status_sentence(status),
                  ad_workspace_message(w));
  ad_workspace_free(w);
  return status;
}

/* The worst difference of floats, relative to 1 + the largest of all outputs; tolerance 0: the same bits. */
static inline bool same_arrays(const char *what, const arrays *got, const arrays *want, double tolerance) {
  double scale = 1, worst = 0;
  if (!CHECK_THAT(got->n == want->n, "%s: %d outputs, not %d", what, got->n, want->n)) return false;
  for (int j = 0; j < want->n; j++) {
    if (!CHECK_THAT(ad_type_equal(got->type[j], want->type[j]), "%s: type of output %d", what,
                    j)) return false;
    if (tolerance <= 0) {
      const bool same = memcmp(got->data[j], want->data[j], ad_type_bytes(want->type[j])) == 0;
      CHECK_THAT(same, "%s: output %d has other bits", what, j);
      continue;
    }
    for (int64_t e = 0; e < ad_type_count(want->type[j]); e++) {
      const double w = check_element(want->type[j].dtype, want->data[j], e);
      const double far = fabs(check_element(got->type[j].dtype, got->data[j], e) - w);
      if (!(far <= worst)) worst = far;
      if (fabs(w) > scale) scale = fabs(w);
    }
  }
  return CHECK_THAT(worst <= tolerance*scale, "%s is off by %.3g of %.3g", what, worst, scale);
}

/* --- two functions -------------------------------------------------------------------------------------- */

static arrays input, output, wanted;

static inline bool compare_values(const char *what, ad_function *f, ad_function *g, domain d, int kept,
                                  double tolerance) {
  uint64_t state = 11;
  if (!CHECK_THAT(f && g, "%s: could not be made", what)) return false;
  if (!CHECK_THAT(ad_function_inputs(f) == ad_function_inputs(g) && ad_function_inputs(f) <= MOST_PORTS
                      && ad_function_outputs(g) <= MOST_PORTS, "%s: number of inputs", what)) return false;
  set_arrays(&input, f, kept, d, &state);
  return call_arrays(g, &input, &wanted, NULL) == AD_OK && call_arrays(f, &input, &output, NULL) == AD_OK
         && same_arrays(what, &output, &wanted, tolerance);
}

/* All chains of jvp (j) and vjp (v) to that order: name "sum vj" is the vjp of the jvp. */
static inline void compare_chains(const char *name, ad_function *f, ad_function *g, domain d, int kept,
                                  double tolerance,
                           int order) {
  char what[200];
  if (!compare_values(name, f, g, d, kept, tolerance) || order == 0) return;
  for (int mode = 0; mode < 2; mode++) {
    ad_function *df = mode ? ad_function_vjp(f) : ad_function_jvp(f),
                *dg = mode ? ad_function_vjp(g) : ad_function_jvp(g);
    snprintf(what, sizeof what, "%.180s %c", name, mode ? 'v' : 'j');
    compare_chains(what, df, dg, d, kept, 4*tolerance, order - 1);
    ad_function_free(df);
    ad_function_free(dg);
  }
}

/* Taylor coefficients of the floats as a function of x and of coefficients of x; those of integers are not
 * used. */
typedef struct series { ad_function *f; int order; } series;

static inline bool is_float(ad_type type) { return type.dtype == AD_F32 || type.dtype == AD_F64; }

static inline int float_outputs(ad_function *f) {
  int n = 0;
  for (int j = 0; j < ad_function_outputs(f); j++) n += is_float(ad_function_output_type(f, j));
  return n;
}

static inline void series_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const series *s = context;
  ad_var x[MOST_PORTS], c[MOST_PORTS], y[MOST_PORTS];
  const int n_in = ad_function_inputs(s->f);
  int n = 0, m = 0;
  (void)t;
  for (int i = 0; i < n_in; i++) {
    if (!is_float(ad_type_of(in[i]))) continue;
    memcpy(c + n*s->order, in + n_in + i*s->order, (size_t)s->order*sizeof *c);
    x[n++] = in[i];
  }
  ad_function_apply(s->f, in, y);
  for (int j = 0; j < ad_function_outputs(s->f); j++)
    if (is_float(ad_function_output_type(s->f, j))) y[m++] = y[j];
  ad_taylor(s->order, n, x, c, m, y, out);
}

static inline ad_function *series_of(ad_function *f, int order) {
  series s = { f, order };
  ad_type type[MOST_PORTS];
  const int n = ad_function_inputs(f);
  for (int i = 0; i < n; i++)
    for (int k = -1; k < order; k++) type[k < 0 ? i : n + i*order + k] = ad_function_input_type(f, i);
  ad_report report;
  ad_function *z = ad_function_trace_report("series", series_body, &s, n*(order + 1), type,
                                            float_outputs(f)*(order + 1), &report);
  CHECK_THAT(z != NULL, "series of %s: %s", ad_function_name(f), report.message);
  return z;
}

static inline void compare_series(const char *name, ad_function *f, ad_function *g, domain d, int kept,
                                  double tolerance,
                           int order) {
  char what[200];
  for (int k = 1; k <= order; k += 2) {
    ad_function *p = series_of(f, k), *q = series_of(g, k);
    snprintf(what, sizeof what, "%.160s, Taylor to order %d", name, k);
    compare_values(what, p, q, d, kept, 8*tolerance);
    if (k == 3) {
      ad_function *v = ad_function_vjp(p), *w = ad_function_vjp(q);
      snprintf(what, sizeof what, "%.160s, vjp of Taylor to order %d", name, k);
      compare_values(what, v, w, d, kept, 8*tolerance);
      ad_function_free(v);
      ad_function_free(w);
    }
    ad_function_free(p);
    ad_function_free(q);
  }
}

#endif
