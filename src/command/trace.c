/* trace.c -- adit trace: the Wengert list with values, a forward sweep for each variable, a reverse sweep for
 * each output. */
#define _POSIX_C_SOURCE 200809L
#include "command/derivatives.h"
#include "command/json.h"
#include "command/wengert.h"

#include <stdlib.h>
#include <string.h>

/* A sweep's numbers, and which nodes it has reached. */
typedef struct sweep {
  double *value;
  bool *reached;
} sweep;

static int open_sweep(const options *o, const wengert *w, sweep *s) {
  s->value = calloc((size_t)w->count + 1, sizeof *s->value);
  s->reached = calloc((size_t)w->count + 1, sizeof *s->reached);
  return s->value && s->reached ? DONE : out_of_memory(o);
}

static void close_sweep(sweep *s) {
  free(s->value);
  free(s->reached);
}

static void write_step(FILE *out, const char *left, const char *sign, const char *formula, int width,
                       double value) {
  fprintf(out, "  %-8s %-2s %-*s = %.10g\n", left, sign, width, formula, value);
}

static const char *numbered(char name[24], const char *letter, int number) {
  snprintf(name, 24, "%s_%d", letter, number);
  return name;
}

/* --- the list --------------------------------------------------------------------------------- */

static int write_list(const options *o, const problem *p, const wengert *w, FILE *out) {
  const int width = w->width;
  char name[24], output[24];
  fputs("Wengert list\n", out);
  for (int i = 0; i < w->count; i++) {
    numbers z;
    int status = read_numbers(o, handle(w->tape, w->node[i].index), &z);
    if (status) return status;
    fprintf(out, "  %-8s =  %-*s = ", numbered(name, "v", w->node[i].number), width,
            w->node[i].variable ? w->node[i].variable : w->node[i].formula);
    if (z.type.rank) plain_array(out, z.type, z.value);
    else fprintf(out, "%.10g", z.value[0]);
    fputc('\n', out);
    free_numbers(&z, 1);
  }
  for (int j = 0; j < p->outputs; j++) {
    int place = wengert_place(w, p->out[j]);
    fprintf(out, "  %-8s =  ", output_name(p, j, output));
    if (place >= 0) fprintf(out, "%s\n", numbered(name, "v", w->node[place].number));
    else fprintf(out, "%.10g\n", ad_value(p->out[j]));
  }
  return DONE;
}

/* --- forward ---------------------------------------------------------------------------------- */

/* The tangent of node i from those of its operands: the sum of the contributions, as text in *formula. */
static int tangent(const options *o, const wengert *w, int i, sweep *s, char **formula) {
  int status = DONE;
  size_t size = 0;
  *formula = NULL;
  FILE *text = open_memstream(formula, &size);
  if (!text) return out_of_memory(o);
  for (int k = 0; k < wengert_operands(w, i) && !status; k++) {
    contribution c;
    int operand = wengert_operand(w, i, k);
    if (operand < 0 || !s->reached[operand]) continue;
    if (!wengert_contribution(w, o, i, k, "vdot", false, s->value[operand], &c, &status)) continue;
    bool minus = c.formula[0] == '-';
    if (s->reached[i]) fprintf(text, minus ? " - %s" : " + %s", c.formula + minus);
    else fputs(c.formula, text);
    s->value[i] += c.value;
    s->reached[i] = true;
    free(c.formula);
  }
  if (fclose(text)) status = out_of_memory(o);
  return status;
}

static int forward(const options *o, const problem *p, const wengert *w, int variable, FILE *out) {
  sweep s;
  char name[24], *formula = NULL;
  const int width = w->width;
  const char *before = "";
  int status = open_sweep(o, w, &s);
  if (o->json) fprintf(out, "{\"variable\": ");
  if (o->json) json_string(out, p->names[variable]);
  fprintf(out, o->json ? ", \"steps\": [" : "\nForward sweep, d/d%s\n", p->names[variable]);
  for (int i = 0; i < w->count && !status; i++) {
    formula = NULL;
    if (i == variable) s.value[i] = 1, s.reached[i] = true;
    else if (!w->node[i].variable) status = tangent(o, w, i, &s, &formula);
    const char *shown = formula ? formula : "1";
    if (s.reached[i] && !status && !o->json)
      write_step(out, numbered(name, "vdot", w->node[i].number), "=", shown, width, s.value[i]);
    else if (s.reached[i] && !status) {
      fprintf(out, "%s{\"node\": \"v_%d\", \"formula\": ", before, w->node[i].number);
      json_string(out, shown);
      fputs(", \"tangent\": ", out);
      json_number(out, s.value[i]);
      fputc('}', out);
      before = ", ";
    }
    free(formula);
  }
  if (o->json) fputs("]}", out);
  close_sweep(&s);
  return status;
}

/* --- reverse ---------------------------------------------------------------------------------- */

/* What node i gives to its operands. */
static int give(const options *o, const wengert *w, int i, sweep *s, FILE *out) {
  int status = DONE;
  char name[24];
  const char *before = "";
  for (int k = 0; k < wengert_operands(w, i) && !status; k++) {
    contribution c;
    if (!wengert_contribution(w, o, i, k, "vbar", true, s->value[i], &c, &status)) continue;
    s->value[c.operand] += c.value;
    s->reached[c.operand] = true;
    if (o->json) {
      fprintf(out, "%s{\"to\": \"v_%d\", \"formula\": ", before, w->node[c.operand].number);
      json_string(out, c.formula);
      fputs(", \"value\": ", out);
      json_number(out, c.value);
      fputc('}', out);
      before = ", ";
    } else write_step(out, numbered(name, "vbar", w->node[c.operand].number), "+=", c.formula,
                      w->width, c.value);
    free(c.formula);
  }
  return status;
}

static int reverse_steps(const options *o, const wengert *w, int seed, sweep *s, FILE *out) {
  char name[24];
  const char *before = "";
  int status = DONE;
  for (int i = seed; i >= 0 && !status; i--) {
    if (!s->reached[i]) continue;
    if (o->json) {
      fprintf(out, "%s{\"node\": \"v_%d\", \"adjoint\": ", before, w->node[i].number);
      json_number(out, s->value[i]);
      fputs(", \"contributions\": [", out);
      before = ", ";
    } else if (i == seed)
      write_step(out, numbered(name, "vbar", w->node[i].number), "=", "1", w->width, 1);
    if (!w->node[i].variable) status = give(o, w, i, s, out);
    if (o->json) fputs("]}", out);
  }
  return status;
}

static int reverse(const options *o, const problem *p, const wengert *w, int j, FILE *out) {
  sweep s;
  char name[24], room[24];
  const char *output = output_name(p, j, room);
  int seed = wengert_place(w, p->out[j]), status = open_sweep(o, w, &s);
  fprintf(out, o->json ? "{\"output\": \"%s\", \"steps\": [" : "\nReverse sweep, %s\n", output);
  if (seed >= 0 && !status) {
    s.value[seed] = 1, s.reached[seed] = true;
    status = reverse_steps(o, w, seed, &s, out);
  }
  fputs(o->json ? "], \"gradient\": {" : "", out);
  for (int i = 0; i < p->n && !status; i++) {
    if (o->json) {
      if (i) fputs(", ", out);
      json_string(out, p->names[i]);
      fputs(": ", out);
      json_number(out, s.value[i]);
    } else fprintf(out, "  d%s/d%s = %s = %.10g\n", output, p->names[i],
                   numbered(name, "vbar", w->node[i].number), s.value[i]);
  }
  if (o->json) fputs("}}", out);
  close_sweep(&s);
  return status;
}

/* Arrays: the adjoints of all nodes without their contributions. */
static int array_adjoints(const options *o, const problem *p, const wengert *w, FILE *out) {
  char name[24];
  for (int j = 0; j < p->outputs; j++) {
    if (ad_type_of(p->out[j]).rank || ad_type_of(p->out[j]).dtype < AD_F32) continue;
    if (ad_backward(p->out[j])) return complain_tape(o, p->tape);
    fprintf(out, "\nAdjoints, %s\n", output_name(p, j, name));
    for (int i = w->count; i-- > 0; ) {
      ad_var v = handle(w->tape, w->node[i].index);
      ad_type type = ad_type_of(v);
      double *z = malloc(ad_type_bytes(type) + 8);
      if (!z) return out_of_memory(o);
      if (type.dtype == AD_F64 && !ad_read_adjoint(v, z)) {
        fprintf(out, "  %-8s =  ", numbered(name, "vbar", w->node[i].number));
        plain_array(out, type, z);
        fputc('\n', out);
      }
      free(z);
    }
  }
  return DONE;
}

/* --- the command ------------------------------------------------------------------------------ */

static int write_plain(const options *o, const problem *p, const wengert *w, FILE *out) {
  int status = write_list(o, p, w, out);
  if (!status && !w->scalar) return array_adjoints(o, p, w, out);
  for (int k = 0; k < p->n_wrt && !status; k++) status = forward(o, p, w, p->wrt[k], out);
  for (int j = 0; j < p->outputs && !status; j++) status = reverse(o, p, w, j, out);
  return status;
}

static int write_json_nodes(const options *o, const wengert *w, FILE *out, bool variables) {
  const char *before = "";
  int status = DONE;
  for (int i = 0; i < w->count && !status; i++) {
    numbers z;
    if ((w->node[i].variable != NULL) != variables) continue;
    status = read_numbers(o, handle(w->tape, w->node[i].index), &z);
    if (status) break;
    fprintf(out, "%s{\"node\": \"v_%d\", \"%s\": ", before, w->node[i].number,
            variables ? "name" : "formula");
    json_string(out, variables ? w->node[i].variable : w->node[i].formula);
    fputs(", \"value\": ", out);
    json_array(out, z.type, z.value);
    fputc('}', out);
    free_numbers(&z, 1);
    before = ", ";
  }
  return status;
}

static int write_json(const options *o, const problem *p, const wengert *w, FILE *out) {
  fputs("{", out);
  int status = write_values_json(o, p, out);
  fputs(", \"inputs\": [", out);
  if (!status) status = write_json_nodes(o, w, out, true);
  fputs("], \"nodes\": [", out);
  if (!status) status = write_json_nodes(o, w, out, false);
  fputs("], \"forward\": [", out);
  for (int k = 0; k < p->n_wrt && w->scalar && !status; k++) {
    if (k) fputs(", ", out);
    status = forward(o, p, w, p->wrt[k], out);
  }
  fputs("], \"reverse\": [", out);
  for (int j = 0; j < p->outputs && w->scalar && !status; j++) {
    if (j) fputs(", ", out);
    status = reverse(o, p, w, j, out);
  }
  fputs("]}\n", out);
  return status;
}

int command_trace(const options *o, FILE *out) {
  problem p;
  wengert w = { .count = 0 };
  int status = problem_open(&p, o);
  if (!status) status = wengert_open(&w, &p, o);
  if (!status) status = o->json ? write_json(o, &p, &w, out) : write_plain(o, &p, &w, out);
  wengert_close(&w);
  problem_close(&p);
  return status;
}
