/* report.c -- adit report: what a formula and its derivatives cost, before they run.
 *
 * Values are needed only where a variable is an array, for its shape: the others count as numbers.
 */
#include "command/command.h"
#include "command/json.h"

#include <stdlib.h>
#include <string.h>

#include "adit/code.h"
#include "adit/function.h"
#include "run/cost.h"

static const struct entry {
  const char *name;
  unsigned option, what;
} entries[] = {
  { "value", AD_CODE_VALUE, AD_REPORT_VALUE }, { "jvp", AD_CODE_JVP, AD_REPORT_JVP },
  { "vjp", AD_CODE_VJP, AD_REPORT_VJP }, { "gradient", AD_CODE_GRADIENT, AD_REPORT_GRADIENT },
  { "jacobian", AD_CODE_JACOBIAN, AD_REPORT_JACOBIAN }, { "hessian", AD_CODE_HESSIAN, AD_REPORT_HESSIAN }
};
enum { ENTRIES = sizeof entries/sizeof *entries };

/* Unless asked otherwise: value, gradient and Hessian of a scalar, value, jvp, vjp and Jacobian of
 * anything else; by some of the inputs there are no jvp and vjp. */
static unsigned choose(const options *o, const problem *p) {
  unsigned what = AD_REPORT_VALUE;
  for (int i = 0; i < ENTRIES; i++)
    if (o->entries & entries[i].option) what |= entries[i].what;
  if (o->entries) return what;
  if (p->outputs == 1 && ad_type_of(p->out[0]).rank == 0)
    return what | AD_REPORT_GRADIENT | AD_REPORT_HESSIAN;
  return what | AD_REPORT_JACOBIAN | (o->wrt ? 0 : AD_REPORT_JVP | AD_REPORT_VJP);
}

/* NULL without --wrt: by every variable that is a float. */
static const int *wrt(const options *o, const problem *p) { return o->wrt ? p->wrt : NULL; }

/* --- as text -------------------------------------------------------------------------------------------- */

static int write_text(const options *o, const problem *p, ad_function *f, unsigned what, FILE *out) {
  ad_report report;
  size_t needed = 0;
  ad_status status = function_report(f, what, p->n_wrt, wrt(o, p), NULL, 0, &needed, &report);
  if (status != AD_ERROR_SIZE) return complain(o, NULL, 0, "%s", report.message);
  char *text = malloc(needed);
  if (!text) return out_of_memory(o);
  status = function_report(f, what, p->n_wrt, wrt(o, p), text, needed, &needed, &report);
  if (status == AD_OK) fputs(text, out);
  free(text);
  return status == AD_OK ? DONE : complain(o, NULL, 0, "%s", report.message);
}

/* --- as JSON -------------------------------------------------------------------------------------------- */

static void write_figure(FILE *out, const char *name, double value) {
  fprintf(out, ", \"%s\": ", name);
  json_number(out, value);
}

static void write_kinds(const cost_account *a, FILE *out) {
  fputs(", \"kinds\": {", out);
  for (uint32_t i = 0; i < a->kinds; i++) {
    const cost_kind *k = &a->kind[i];
    fputs(i ? ", " : "", out);
    json_string(out, k->primitive->name);
    fprintf(out, ": {\"operations\": %lld", (long long)k->operations);
    write_figure(out, "elements", k->elements);
    write_figure(out, "flops", k->flops);
    write_figure(out, "calls", k->calls);
    fputc('}', out);
  }
  fputc('}', out);
}

static void write_cost(const options *o, const cost_account *a, FILE *out) {
  const ad_cost *c = &a->cost;
  fputs("{\"flops\": ", out);
  json_number(out, c->flops);
  write_figure(out, "calls", c->calls);
  write_figure(out, "bytes_read", c->bytes_read);
  write_figure(out, "bytes_written", c->bytes_written);
  write_figure(out, "operations", (double)c->operations);
  write_figure(out, "scalars", (double)c->scalars);
  write_figure(out, "regions", (double)c->regions);
  write_figure(out, "fused", (double)c->fused);
  write_figure(out, "structured", (double)c->structured);
  write_figure(out, "buffers", (double)c->buffers);
  write_figure(out, "buffer_bytes", (double)c->buffer_bytes);
  write_figure(out, "workspace_bytes", (double)c->workspace_bytes);
  write_figure(out, "unknown", (double)c->unknown);
  if (o->verbose) write_kinds(a, out);
  fputc('}', out);
}

static ad_function *make(const options *o, const problem *p, ad_function *f, unsigned what) {
  switch (what) {
    case AD_REPORT_JVP:      return ad_function_jvp(f);
    case AD_REPORT_VJP:      return ad_function_vjp(f);
    case AD_REPORT_GRADIENT: return ad_function_gradient(f, p->n_wrt, wrt(o, p));
    case AD_REPORT_JACOBIAN: return ad_function_jacobian(f, p->n_wrt, wrt(o, p));
    case AD_REPORT_HESSIAN:  return ad_function_hessian(f, p->n_wrt, wrt(o, p));
    default:                 return ad_function_retain(f);
  }
}

/* {"value": {"flops": 3, ..}, "gradient": {..}} */
static int write_json(const options *o, const problem *p, ad_function *f, unsigned what, FILE *out) {
  const char *between = "{";
  for (int i = 0; i < ENTRIES; i++) {
    cost_account a;
    if (!(what & entries[i].what)) continue;
    ad_function *d = make(o, p, f, entries[i].what);
    const ad_status status = d ? cost_open(&a, d) : AD_ERROR_DERIVATIVE;
    if (status == AD_OK) {
      fprintf(out, "%s\"%s\": ", between, entries[i].name);
      write_cost(o, &a, out);
      cost_close(&a);
    }
    between = ", ";
    ad_function_free(d);
    if (status != AD_OK) return complain(o, NULL, 0, "%s: %s", entries[i].name, ad_status_sentence(status));
  }
  fputs("}\n", out);
  return DONE;
}

static int write_problem(const options *o, problem *p, FILE *out) {
  unsigned what = choose(o, p);
  if (o->wrt && what & (AD_REPORT_JVP | AD_REPORT_VJP))
    return complain(o, NULL, 0, "--jvp and --vjp go through all variables; --wrt is for the others");
  if (what & (AD_REPORT_GRADIENT | AD_REPORT_HESSIAN)) {
    if (p->outputs != 1) return complain(o, NULL, 0, "--gradient and --hessian take a single expression");
    if (!need_scalar_outputs(p, o)) return BAD_INPUT;
  }
  ad_function *f = ad_function_new("f", p->n, p->vars, p->outputs, p->out);
  if (!f) return complain_tape(o, p->tape);
  if (o->verbose) what |= AD_REPORT_DETAILS;
  const int status = o->json ? write_json(o, p, f, what, out)
                              : write_text(o, p, f, what, out);
  ad_function_free(f);
  return status;
}

int command_report(const options *o, FILE *out) { return with_all_names(o, write_problem, out); }
