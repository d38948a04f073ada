/* check.c -- adit check: every way to a derivative side by side, and the error of each against extended
 * precision.
 *
 *   two-point    (f(x + h) - f(x))/h                                        h = sqrt(eps) max(1, |x|)
 *   five-point   (f(x - 2h) - 8 f(x - h) + 8 f(x + h) - f(x + 2h))/(12 h)   h = eps^(1/5) max(1, |x|)
 *   symbolic     the simplified expression of `adit derive`, evaluated
 *   forward      a tangent swept forwards        reverse   adjoints swept backwards
 */
#include "command/json.h"
#include "command/reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TWO_POINT, FIVE_POINT, SYMBOLIC, FORWARD, REVERSE, METHODS };
static const char *const method_names[METHODS] = { "two-point", "five-point", "symbolic", "forward",
                                                   "reverse" };

/* One derivative, df_j/dx_i, by all methods. */
typedef struct row {
  double step[METHODS];               /* 0: the method has none */
  double value[METHODS];
  bool missing[METHODS];
  long double reference;
  const char *doubles;                /* a function that the reference has in double only */
} row;

/* --- differences ------------------------------------------------------------------------------ */

/* Output j with variable i moved to x, computed on a tape of its own. */
static int value_at(const options *o, int j, int i, double x, double *z) {
  problem q;
  int status = problem_open(&q, o);
  if (!status && ad_set_value(q.vars[i], x)) status = complain_tape(o, q.tape);
  if (!status) *z = ad_value(q.out[j]);
  problem_close(&q);
  return status;
}

/* h such that x + h and x differ by exactly h. */
static double exact_step(double x, double h) {
  volatile double moved = x + h;
  return moved - x;
}

static int differences(const options *o, const problem *p, int j, int i, row *r) {
  static const double five_weight[4] = { 1, -8, 8, -1 }, five_at[4] = { -2, -1, 1, 2 };
  const double x = ad_value(p->vars[i]), scale = fabs(x) > 1 ? fabs(x) : 1;
  const double h = exact_step(x, sqrt(DBL_EPSILON)*scale), k = exact_step(x, pow(DBL_EPSILON, 0.2)*scale);
  double f, g, sum = 0;
  int status = value_at(o, j, i, x, &f);
  if (!status) status = value_at(o, j, i, x + h, &g);
  for (int m = 0; m < 4 && !status; m++) {
    double z;
    status = value_at(o, j, i, x + five_at[m]*k, &z);
    sum += five_weight[m]*z;
  }
  if (status) return status;
  r->step[TWO_POINT] = h, r->value[TWO_POINT] = (g - f)/h;
  r->step[FIVE_POINT] = k, r->value[FIVE_POINT] = sum/(12*k);
  return DONE;
}

/* --- symbolic --------------------------------------------------------------------------------- */

/* Evaluates the derivative's text. Functions without symbolic derivative leave a gap. */
static int symbolic(const options *o, const problem *p, int j, int i, row *r) {
  enum { SIZE = 1 << 16 };
  const char *wrt = p->names[i];
  char *text = malloc(SIZE), *s = text;
  int count;
  if (!text) return out_of_memory(o);
  r->missing[SYMBOLIC] = ad_formula_derive(o->expression, AD_TEXT, 1, &wrt, text, SIZE, NULL, &count,
                                           NULL) != AD_OK;
  if (!r->missing[SYMBOLIC]) {
    for (int k = 0; k < j; k++) s += strlen(s) + 1;
    const ad_mark mark = ad_tape_mark(p->tape);
    ad_var d = ad_formula(p->tape, s, p->n, p->names, p->vars);
    r->missing[SYMBOLIC] = !ad_is_valid(d);
    if (ad_is_valid(d)) r->value[SYMBOLIC] = ad_value(d);
    ad_tape_clear(p->tape);
    ad_tape_rewind(p->tape, mark);
  }
  free(text);
  return DONE;
}

/* --- forward and reverse ---------------------------------------------------------------------- */

static int sweeps(const options *o, const problem *p, int j, int i, row *r) {
  const ad_mark mark = ad_tape_mark(p->tape);
  const ad_var x = p->vars[i], one = ad_real(1);
  ad_var y = p->out[j], ydot;
  if (ad_type_of(y).dtype != AD_F64) y = ad_cast(y, AD_F64);
  int status = ad_jvp(1, &x, &one, 1, &y, &ydot) ? complain_tape(o, p->tape) : DONE;
  if (!status) r->value[FORWARD] = ad_value(ydot);
  if (!status && ad_backward(y)) status = complain_tape(o, p->tape);
  if (!status) r->value[REVERSE] = ad_adjoint(x);
  ad_tape_rewind(p->tape, mark);
  return status;
}

/* --- the reference ---------------------------------------------------------------------------- */

static int reference(const options *o, const problem *p, const wengert *w, int j, int i, row *r) {
  long double *value = calloc((size_t)w->count + 1, sizeof *value),
      *d = calloc((size_t)w->count + 1, sizeof *d);
  int status = value && d ? reference_forward(w, o, i, value, d, &r->doubles) : out_of_memory(o);
  int place = wengert_place(w, p->out[j]);
  if (!status && place >= 0) r->reference = d[place];
  free(value);
  free(d);
  return status;
}

static int fill(const options *o, const problem *p, const wengert *w, int j, int i, row *r) {
  *r = (row){ .reference = 0 };
  int status = reference(o, p, w, j, i, r);
  if (!status) status = differences(o, p, j, i, r);
  if (!status) status = symbolic(o, p, j, i, r);
  if (!status) status = sweeps(o, p, j, i, r);
  return status;
}

/* --- printing --------------------------------------------------------------------------------- */

static double error_of(const row *r, int method) {
  if (isnan(r->reference) && isnan(r->value[method])) return 0;
  if ((long double)r->value[method] == r->reference) return 0;
  return (double)fabsl((long double)r->value[method] - r->reference);
}

static void write_plain(const problem *p, int j, int i, const row *r, FILE *out) {
  char name[24];
  fprintf(out, "%sd%s/d%s\n", j || i != p->wrt[0] ? "\n" : "", output_name(p, j, name), p->names[i]);
  fprintf(out, "  %-11s %-12s %-24s %s\n", "method", "step", "value", "error");
  for (int m = 0; m < METHODS; m++) {
    char step[32] = "";
    if (r->step[m] > 0) snprintf(step, sizeof step, "%.3e", r->step[m]);
    if (r->missing[m]) fprintf(out, "  %-11s %-12s %-24s\n", method_names[m], step, "none for this function");
    else fprintf(out, "  %-11s %-12s %-24.17g %.2e\n", method_names[m], step, r->value[m], error_of(r, m));
  }
  fprintf(out, "  %-11s %-12s %.21Lg\n", "reference", "", r->reference);
  if (r->doubles)
    fprintf(out, "  (%s has no version in extended precision here: the reference is good to a double)\n",
            r->doubles);
}

static void write_json(const problem *p, int j, int i, const row *r, FILE *out) {
  char name[24];
  fprintf(out, "{\"output\": \"%s\", \"variable\": ", output_name(p, j, name));
  json_string(out, p->names[i]);
  fputs(", \"reference\": ", out);
  json_number(out, (double)r->reference);
  fprintf(out, ", \"extended\": %s, \"methods\": {", r->doubles ? "false" : "true");
  for (int m = 0; m < METHODS; m++) {
    fprintf(out, "%s\"%s\": {", m ? ", " : "", method_names[m]);
    if (r->step[m] > 0) {
      fputs("\"step\": ", out);
      json_number(out, r->step[m]);
      fputs(", ", out);
    }
    fputs("\"value\": ", out);
    if (r->missing[m]) fputs("null", out);
    else json_number(out, r->value[m]);
    fputs(", \"error\": ", out);
    if (r->missing[m]) fputs("null", out);
    else json_number(out, error_of(r, m));
    fputc('}', out);
  }
  fputs("}}", out);
}

static int write_all(const options *o, const problem *p, const wengert *w, FILE *out) {
  int status = DONE;
  const char *before = "";
  if (o->json) fputs("{\"check\": [", out);
  for (int j = 0; j < p->outputs && !status; j++)
    for (int k = 0; k < p->n_wrt && !status; k++) {
      row r;
      status = fill(o, p, w, j, p->wrt[k], &r);
      if (status) break;
      if (o->json) {
        fputs(before, out);
        write_json(p, j, p->wrt[k], &r, out);
        before = ", ";
      } else write_plain(p, j, p->wrt[k], &r, out);
    }
  if (o->json) fputs("]}\n", out);
  return status;
}

int command_check(const options *o, FILE *out) {
  problem p;
  wengert w = { .count = 0 };
  int status = problem_open(&p, o);
  if (!status && !need_scalars(&p, o)) status = BAD_INPUT;
  if (!status) status = wengert_open(&w, &p, o);
  if (!status) status = write_all(o, &p, &w, out);
  wengert_close(&w);
  problem_close(&p);
  return status;
}
