/* report.c -- the costs of a function and of its derivatives as text: a table, and behind it the details. */
#include "run/cost.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- text that is measured while it is written ---------------------------------------------------------- */

typedef struct page { char *out; size_t size, needed; } page;

__attribute__((format(printf, 2, 3)))
static void print(page *p, const char *format, ...) {
  va_list list;
  va_start(list, format);
  const bool room = p->needed < p->size;
  const int n = vsnprintf(room ? p->out + p->needed : NULL, room ? p->size - p->needed : 0, format, list);
  va_end(list);
  if (n > 0) p->needed += (size_t)n;
}

/* Whole numbers up to 15 digits, others short. */
static const char *number(double v, char text[32]) {
  snprintf(text, 32, v < 1e15 ? "%.0f" : "%.4g", v);
  return text;
}

/* --- the table ------------------------------------------------------------------------------------------ */

enum { COLUMNS = 6 };

typedef struct column {
  const char *name;
  ad_function *f;
  cost_account a;
} column;

typedef struct line {
  const char *name;
  double (*of)(const ad_cost *c);
  bool where_any;                   /* left out where all columns have 0 */
} line;

#define FIGURE(id, value) static double of_##id(const ad_cost *c) { return (double)(value); }
FIGURE(flops, c->flops)
FIGURE(calls, c->calls)
FIGURE(read, c->bytes_read)
FIGURE(written, c->bytes_written)
FIGURE(runs, c->runs)
FIGURE(operations, c->operations)
FIGURE(functions, c->functions - 1)
FIGURE(scalars, c->scalars)
FIGURE(regions, c->regions)
FIGURE(fused, c->fused)
FIGURE(structured, c->structured)
FIGURE(buffers, c->buffers)
FIGURE(buffer_bytes, c->buffer_bytes)
FIGURE(workspace, c->workspace_bytes)
FIGURE(steps, c->steps)
FIGURE(again, c->again)
FIGURE(stored, c->stored_bytes)
FIGURE(open, c->open)
FIGURE(at_most, c->at_most)
FIGURE(unknown, c->unknown)

static const line lines[] = {
  { "flops", of_flops, false }, { "elementary calls", of_calls, false }, { "bytes read", of_read, false },
  { "bytes written", of_written, false }, { "operations", of_operations, false },
  { "  in scalar programs", of_scalars, true }, { "  in fused regions", of_fused, true },
  { "  others", of_structured, true }, { "fused regions", of_regions, true },
  { "functions inside", of_functions, true }, { "operations run", of_runs, true },
  { "buffers between steps", of_buffers, true },
  { "  bytes", of_buffer_bytes, true }, { "workspace, bytes", of_workspace, false },
  { "steps of loops", of_steps, true }, { "  computed again", of_again, true },
  { "stored for reverse, bytes", of_stored, true }, { "counted as one step", of_open, true },
  { "counted at most", of_at_most, true }, { "cost unknown", of_unknown, true }
};

static bool is_any(const column c[], int n, const line *l) {
  for (int i = 0; i < n; i++)
    if (l->of(&c[i].a.cost) != 0) return true;
  return !l->where_any;
}

static double all_work(const column *c) { return c->a.cost.flops + c->a.cost.calls; }

/* What the derivatives cost beside the value, a call counted like a flop. */
static void print_ratios(page *p, const column c[], int n) {
  if (n < 2 || strcmp(c[0].name, "value") || all_work(&c[0]) == 0) return;
  print(p, "%-26s", "flops and calls, relative");
  for (int i = 0; i < n; i++) print(p, " %14.2f", all_work(&c[i])/all_work(&c[0]));
  print(p, "\n");
}

static void print_type(page *p, const ad_function *f, bool in) {
  const int n = in ? ad_function_inputs(f) : ad_function_outputs(f);
  char text[192];
  print(p, "(");
  for (int i = 0; i < n; i++)
    print(p, "%s%s", i ? ", " : "",
          ad_type_print(in ? ad_function_input_type(f, i) : ad_function_output_type(f, i), text,
                        sizeof text));
  print(p, ")");
}

static void print_table(page *p, const ad_function *f, const column c[], int n) {
  char text[32];
  print(p, "%s: ", ad_function_name(f));
  print_type(p, f, true);
  print(p, " -> ");
  print_type(p, f, false);
  print(p, "\n\n%-26s", "one call");
  for (int i = 0; i < n; i++) print(p, " %14s", c[i].name);
  print(p, "\n");
  for (size_t k = 0; k < sizeof lines/sizeof *lines; k++) {
    if (!is_any(c, n, &lines[k])) continue;
    print(p, "%-26s", lines[k].name);
    for (int i = 0; i < n; i++) print(p, " %14s", number(lines[k].of(&c[i].a.cost), text));
    print(p, "\n");
    if (k == 1) print_ratios(p, c, n);
  }
}

/* --- details -------------------------------------------------------------------------------------------- */

enum { LISTED = 40 };               /* entries of a list; the others are counted */

static void print_rest(page *p, int64_t n) {
  if (n > LISTED) print(p, "  .. and %lld more\n", (long long)(n - LISTED));
}

static void print_kinds(page *p, const cost_account *a) {
  char text[5][32];
  print(p, "\n  %-22s %10s %12s %14s %14s %14s\n", "operation", "recorded", "run", "elements", "flops",
        "calls");
  for (uint32_t i = 0; i < a->kinds && i < LISTED; i++) {
    const cost_kind *k = &a->kind[i];
    print(p, "  %-22s %10s %12s %14s %14s %14s\n", k->primitive->name, number((double)k->operations, text[0]),
          number(k->runs, text[1]), number(k->elements, text[2]),
          k->unknown ? "unknown" : number(k->flops, text[3]), number(k->calls, text[4]));
  }
  print_rest(p, a->kinds);
}

static void print_region(page *p, const cost_section *s, const region *r) {
  uint32_t in = 0, out = 0;
  for (uint32_t i = 0; i < r->slots; i++) {
    in += r->slot[i].kind != SLOT_TEMPORARY && r->slot[i].kind != SLOT_OUTPUT;
    out += r->slot[i].kind == SLOT_OUTPUT;
  }
  print(p, "  %s%s: %u operation%s on %lld element%s, reads %u operand%s, writes %u\n", s->name,
        cost_role(s->role), r->operations, r->operations == 1 ? "" : "s", (long long)r->count,
        r->count == 1 ? "" : "s", in, in == 1 ? "" : "s", out);
}

static void print_regions(page *p, const cost_account *a) {
  int64_t n = 0;
  if (a->cost.regions) print(p, "\n  fused regions:\n");
  for (uint32_t i = 0; i < a->sections; i++)
    for (uint32_t k = 0; k < a->section[i].plan->steps; k++) {
      const plan_step *s = &a->section[i].plan->step[k];
      if (s->kind == KIND_ELEMENTWISE && n++ < LISTED) print_region(p, &a->section[i], &s->region);
    }
  print_rest(p, n);
}

/* What a reverse sweep has of the states, and what it does without. */
static void print_policy(page *p, const plan_parts *x) {
  static const char *const policy[] = { "all states kept", "every k-th state kept", "binomial",
                                        "all states and values kept" };
  char text[32];
  if (x->policy == POLICY_NONE) return;
  print(p, "; %s", policy[x->policy]);
  if (x->recorded) print(p, " by the loop forwards");
  else if (x->steps >= 0)
    print(p, ": %lld sets of states, %s bytes", (long long)x->states, number(x->stored, text));
  if (x->again > 0) print(p, "; %lld steps computed again", (long long)x->again);
  else if (x->again < 0) print(p, "; steps computed again as it runs");
}

static void print_operation(page *p, const cost_account *a, const cost_operation *o) {
  const plan_parts *x = &o->parts;
  char text[3][32];
  ad_work step = { .flops = x->flops };
  print(p, "  %s of %s", o->step->op.primitive->name, x->n ? a->section[o->to[0]].name : "?");
  if (x->loop && !x->open)
    print(p, ": %s%lld %s", x->at_most ? "at most " : "", (long long)x->steps,
          x->policy == POLICY_NONE && strstr(o->step->op.primitive->name, "map") ? "instances" : "steps");
  else if (x->open) print(p, ": steps known only when it runs");
  print_policy(p, x);
  if (x->policy == POLICY_NONE && o->stored > 0)
    print(p, "; stores %s bytes for its adjoint", number(o->stored, text[0]));
  if (x->either) print(p, "; counted at its dearer side");
  for (int k = 0; k < x->n; k++) {
    step.flops += o->times[k]*a->section[o->to[k]].total.flops;
    step.calls += o->times[k]*a->section[o->to[k]].total.calls;
  }
  print(p, "\n    %s: %s flops, %s calls; runs %s times\n", x->open ? "each step" : "each run",
        number(step.flops, text[0]), number(step.calls, text[1]),
        number(a->section[o->section].runs, text[2]));
}

static void print_operations(page *p, const cost_account *a) {
  if (a->operations) print(p, "\n  loops, maps, calls, equations:\n");
  for (uint32_t i = 0; i < a->operations && i < LISTED; i++) print_operation(p, a, &a->operation[i]);
  print_rest(p, a->operations);
}

static void print_sections(page *p, const cost_account *a) {
  char text[4][32];
  if (a->sections < 2) return;
  print(p, "\n  %-30s %12s %12s %14s %14s %14s\n", "function inside", "run", "operations", "flops", "calls",
        "workspace");
  for (uint32_t i = 0; i + 1 < a->sections && i < LISTED; i++) {
    const cost_section *s = &a->section[i];
    char name[64];
    snprintf(name, sizeof name, "%.40s%s", s->name, cost_role(s->role));
    print(p, "  %-30s %12s %12.0f %14s %14s %14s\n", name, number(s->runs, text[0]), s->operations,
          number(s->total.flops, text[1]), number(s->total.calls, text[2]),
          number((double)s->plan->workspace, text[3]));
  }
  print_rest(p, (int64_t)a->sections - 1);
}

static void print_details(page *p, const column *c) {
  print(p, "\n%s:\n", c->name);
  print_kinds(p, &c->a);
  print_regions(p, &c->a);
  print_operations(p, &c->a);
  print_sections(p, &c->a);
}

/* --- the whole ------------------------------------------------------------------------------------------ */

/* What is reported, and by which inputs. */
typedef struct choice { unsigned what; int n; const int *wrt; } choice;

static ad_function *make(ad_function *f, unsigned what, const choice *by) {
  switch (what) {
    case AD_REPORT_JVP:      return ad_function_jvp(f);
    case AD_REPORT_VJP:      return ad_function_vjp(f);
    case AD_REPORT_GRADIENT: return ad_function_gradient(f, by->n, by->wrt);
    case AD_REPORT_JACOBIAN: return ad_function_jacobian(f, by->n, by->wrt);
    case AD_REPORT_HESSIAN:  return ad_function_hessian(f, by->n, by->wrt);
    default:                 return ad_function_retain(f);
  }
}

static ad_status fail(ad_report *report, ad_status status, const char *what, const char *name) {
  if (report) {
    report->status = status;
    snprintf(report->message, sizeof report->message, "report: %s%s%s: %s", what, what[0] ? " of " : "", name,
             ad_status_sentence(status));
  }
  return status;
}

static ad_status open_columns(ad_function *f, const choice *of, column c[COLUMNS], int *n,
                              ad_report *report) {
  static const struct { unsigned what; const char *name; } all[COLUMNS] = {
    { AD_REPORT_VALUE, "value" },       { AD_REPORT_JVP, "jvp" },           { AD_REPORT_VJP, "vjp" },
    { AD_REPORT_GRADIENT, "gradient" }, { AD_REPORT_JACOBIAN, "Jacobian" }, { AD_REPORT_HESSIAN, "Hessian" }
  };
  for (int k = 0; k < COLUMNS; k++) {
    if (!(of->what & all[k].what)) continue;
    column *to = &c[*n];
    *to = (column){ .name = all[k].name, .f = make(f, all[k].what, of) };
    const ad_status status = to->f ? cost_open(&to->a, to->f) : AD_ERROR_DERIVATIVE;
    if (status == AD_OK) {
      ++*n;
      continue;
    }
    ad_function_free(to->f);
    return fail(report, status, to->name, ad_function_name(f));
  }
  return AD_OK;
}

ad_status function_report(ad_function *f, unsigned what, int n_wrt, const int wrt[], char *out, size_t size,
                          size_t *needed, ad_report *report) {
  page p = { out, size, 0 };
  column c[COLUMNS];
  int n = 0;
  if (report) *report = (ad_report){ .status = AD_OK };
  if (size && out) out[0] = 0;
  if (needed) *needed = 0;
  if (!f) return fail(report, AD_ERROR_ARGUMENT, "", "no function");
  if (f->captures)
    return fail(report, AD_ERROR_ARGUMENT, "captured variables, which no call supplies,", f->name);
  if ((size && !out) || what >= AD_REPORT_DETAILS << 1) return fail(report, AD_ERROR_ARGUMENT, "", f->name);
  const bool details = (what & AD_REPORT_DETAILS) != 0;
  what &= ~(unsigned)AD_REPORT_DETAILS;
  if (!what) what = AD_REPORT_VALUE | AD_REPORT_JVP | AD_REPORT_VJP;
  ad_status status = open_columns(f, &(choice){ what, n_wrt, wrt }, c, &n, report);
  if (status == AD_OK) print_table(&p, f, c, n);
  for (int i = 0; i < n; i++) {
    if (status == AD_OK && details) print_details(&p, &c[i]);
    cost_close(&c[i].a);
    ad_function_free(c[i].f);
  }
  if (status != AD_OK) return status;
  if (needed) *needed = p.needed + 1;
  return p.needed < size ? AD_OK : fail(report, AD_ERROR_SIZE, "text", ad_function_name(f));
}

ad_status ad_function_report(ad_function *f, unsigned what, char *out, size_t size, size_t *needed,
                             ad_report *report) {
  return function_report(f, what, 0, NULL, out, size, needed, report);
}
