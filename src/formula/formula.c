/* formula.c -- text to tape: one loop over the statements and their postorder nodes; names; what lists
 * become. */
#include "formula/calls.h"
#include "formula/names.h"
#include "tape/tape.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- errors ----------------------------------------------------------------------------------- */

/* The column of an offset, counted from 1 in characters (UTF-8). */
static int column(const char *text, int position) {
  int n = 1;
  for (int i = 0; i < position && text[i]; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
  return n;
}

/* Leaves the report's error on the tape: at once, before an operation trips over what is missing. */
static ad_status leave(ad_tape *tape, const char *text, const ad_formula_report *r) {
  if (r->status)
    tape_fail(tape, r->status, "formula: %s, at column %d", r->message, column(text, r->position));
  return r->status;
}

ad_var formula_refuse(formula_run *f, int node, ad_status status, const char *format, ...) {
  ad_formula_report *r = f->report;
  if (!r->status) {
    r->status = status;
    r->position = node < 0 ? 0 : f->e->node[node].position;
    va_list list;
    va_start(list, format);
    vsnprintf(r->message, sizeof r->message, format, list);
    va_end(list);
    leave(f->tape, f->text, r);
  }
  return handle_invalid(f->tape);
}

static void report_syntax(ad_formula_report *r, ad_status status, const expression_error *e) {
  *r = (ad_formula_report){ .status = status, .position = e->position };
  snprintf(r->message, sizeof r->message, "%s", e->message);
}

/* --- constants of mathematics ----------------------------------------------------------------- */

static const struct { const char *name; double value; } constants[] = {
  { "pi", 3.14159265358979323846 }, { "e", 2.71828182845904523536 }, { "inf", INFINITY }, { "nan", NAN },
};

static const double *constant_named(const char *name, int length) {
  for (size_t i = 0; i < sizeof constants/sizeof *constants; i++)
    if (expression_is(name, length, constants[i].name)) return &constants[i].value;
  return NULL;
}

/* --- lists as arrays -------------------------------------------------------------------------- */

/* The shape of nested lists of numbers, read along the first elements; false where an element is a
 * variable. */
static bool literal_shape(const formula_run *f, int list, ad_type *type) {
  *type = (ad_type){ AD_F64, 0, { 0 } };
  for (int node = list; ; node = f->e->node[node].first_argument) {
    const formula_value *v = &f->value[node];
    if (v->list < 0) return is_literal(v->var);
    if (type->rank == AD_MAX_RANK || f->e->node[v->list].kind != EXPRESSION_LIST) return false;
    type->dim[type->rank++] = f->e->node[v->list].argument_count;
    node = v->list;
    if (f->e->node[node].first_argument < 0) return true;
  }
}

/* The numbers of nested lists in order into out; false when they do not have that shape or are not all
 * numbers. */
static bool literal_elements(const formula_run *f, int list, const ad_type *type, double *out) {
  int at[AD_MAX_RANK], depth = 0;               /* the element that is read at each depth */
  const expression_node *e = f->e->node;
  size_t n = 0;
  at[0] = e[f->value[list].list].first_argument;
  while (depth >= 0) {
    if (at[depth] < 0) {
      if (--depth >= 0) at[depth] = e[at[depth]].next_argument;
      continue;
    }
    const formula_value *v = &f->value[at[depth]];
    if ((v->list >= 0) != (depth + 1 < type->rank)) return false;
    if (v->list >= 0) {
      if (e[v->list].argument_count != type->dim[depth + 1]) return false;
      at[++depth] = e[v->list].first_argument;
    } else {
      if (!is_literal(v->var)) return false;
      out[n++] = literal_value(v->var);
      at[depth] = e[at[depth]].next_argument;
    }
  }
  return true;
}

static ad_var literal_array(formula_run *f, int list, bool *done) {
  ad_type type;
  *done = literal_shape(f, list, &type);
  if (!*done) return ad_none();
  size_t count = (size_t)ad_type_count(type), bytes = count*sizeof(double);
  double *data = memory_get(&f->tape->allocator, bytes);
  if (bytes && !data) return formula_refuse(f, list, AD_ERROR_MEMORY, "out of memory");
  *done = literal_elements(f, list, &type, data);
  ad_var z = *done ? ad_constant(f->tape, type, data) : ad_none();
  memory_release(&f->tape->allocator, data, bytes);
  return z;
}

static ad_var stacked(formula_run *f, int list, int depth);

/* An element of a list that has variables in it. */
static ad_var element(formula_run *f, int node, int depth) {
  const formula_value *v = &f->value[node];
  if (v->list >= 0) return stacked(f, node, depth + 1);
  if (!is_literal(v->var)) return v->var;
  double number = literal_value(v->var);
  return ad_constant(f->tape, ad_type_make(AD_F64, 0, NULL), &number);
}

/* [a, [b, c], ...] with variables: ad_stack of the elements. At most AD_MAX_RANK deep. */
static ad_var stacked(formula_run *f, int list, int depth) {
  const expression_node *n = &f->e->node[f->value[list].list];
  const size_t count = (size_t)n->argument_count;
  if (n->kind == EXPRESSION_TEXT)
    return formula_refuse(f, list, AD_ERROR_SYNTAX, "a text cannot be computed with");
  if (depth >= AD_MAX_RANK) return formula_refuse(f, list, AD_ERROR_SHAPE, "more than 8 axes");
  if (!count) return ad_zeros(f->tape, AD_F64(0));
  ad_var *x = memory_get(&f->tape->allocator, count*sizeof *x);
  if (!x) return formula_refuse(f, list, AD_ERROR_MEMORY, "out of memory");
  int k = 0;
  for (int a = n->first_argument; a >= 0; a = f->e->node[a].next_argument) x[k++] = element(f, a, depth);
  ad_var z = ad_stack(k, x, 0);
  memory_release(&f->tape->allocator, x, count*sizeof *x);
  return z;
}

ad_var formula_variable(formula_run *f, int node) {
  formula_value *v = &f->value[node];
  bool done;
  if (v->list < 0) return v->var;
  ad_var z = literal_array(f, node, &done);
  if (!done) z = stacked(f, node, 0);
  if (f->report->status) return handle_invalid(f->tape);
  return z;
}

/* --- the loop --------------------------------------------------------------------------------- */

typedef struct recorder {
  formula_run run;
  /* to an index of the caller's variables, or to -1 - node for what the text binds */
  name_table names;
  const ad_var *vars;
  ad_var *out;
  int capacity, count;
} recorder;

static formula_value name_value(recorder *r, int node) {
  const expression_node *n = &r->run.e->node[node];
  const name_entry *bound = names_find(&r->names, n->name, n->name_length);
  if (bound && bound->value < 0) return r->run.value[-1 - bound->value];
  if (bound) return (formula_value){ r->vars[bound->value], -1 };
  const double *constant = constant_named(n->name, n->name_length);
  if (constant) return (formula_value){ ad_real(*constant), -1 };
  int length = n->name_length < 60 ? n->name_length : 60;
  ad_var v = formula_has_function(n->name, n->name_length)
    ? formula_refuse(&r->run, node, AD_ERROR_SYNTAX, "'%.*s' is a function: its arguments are missing",
                     length, n->name)
    : formula_refuse(&r->run, node, AD_ERROR_SYNTAX, "'%.*s' has no value", length, n->name);
  return (formula_value){ v, -1 };
}

static formula_value number_value(const expression_node *n) {
  bool integer = n->integer && n->number < 9007199254740992.0;
  return (formula_value){ integer ? ad_integer((long long)n->number) : ad_real(n->number), -1 };
}

static formula_value node_value(recorder *r, int node) {
  const expression_node *n = &r->run.e->node[node];
  if (n->kind == EXPRESSION_NUMBER) return number_value(n);
  if (n->kind == EXPRESSION_NAME) return name_value(r, node);
  if (n->kind != EXPRESSION_CALL) return (formula_value){ ad_none(), node };
  return (formula_value){ formula_call(&r->run, node), -1 };
}

/* What the tape refused gets its place in the text. */
static bool check(recorder *r, int node) {
  const formula_value *v = &r->run.value[node];
  if (!r->run.report->status && v->list < 0 && !ad_is_valid(v->var)) {
    ad_status status = ad_tape_status(r->run.tape);
    formula_refuse(&r->run, node, status ? status : AD_ERROR_HANDLE, "%s",
                   status ? ad_tape_message(r->run.tape) : ad_status_sentence(AD_ERROR_HANDLE));
  }
  return !r->run.report->status;
}

static void finish_statement(recorder *r, const expression_statement *s) {
  if (s->name) {
    if (!names_put(&r->run.tape->allocator, &r->names, s->name, s->name_length, -1 - s->root))
      formula_refuse(&r->run, s->root, AD_ERROR_MEMORY, "out of memory");
    return;
  }
  ad_var y = formula_variable(&r->run, s->root);
  if (is_literal(y)) {
    double number = literal_value(y);
    y = ad_constant(r->run.tape, ad_type_make(AD_F64, 0, NULL), &number);
  }
  if (!ad_is_valid(y)) {
    formula_refuse(&r->run, s->root, ad_tape_status(r->run.tape), "%s", ad_tape_message(r->run.tape));
    return;
  }
  if (r->count < r->capacity) r->out[r->count] = y;
  r->count++;
}

/* Statements own consecutive stretches of the node array, which end in their roots. */
static void record_statements(recorder *r) {
  const expression *e = r->run.e;
  int node = 0;
  for (int s = 0; s < e->statement_count && !r->run.report->status; s++) {
    for (; node <= e->statement[s].root; node++) {
      r->run.value[node] = node_value(r, node);
      if (!check(r, node)) return;
    }
    finish_statement(r, &e->statement[s]);
  }
}

static void record_expression(recorder *r, int n, const char *const names[]) {
  const ad_allocator *a = &r->run.tape->allocator;
  const size_t bytes = (size_t)r->run.e->node_count*sizeof *r->run.value;
  bool room = (r->run.value = memory_get(a, bytes)) != NULL;
  for (int i = 0; i < n && room; i++) room = names_put(a, &r->names, names[i], (int)strlen(names[i]), i);
  if (room) record_statements(r);
  else formula_refuse(&r->run, -1, AD_ERROR_MEMORY, "out of memory");
  names_free(a, &r->names);
  memory_release(a, r->run.value, bytes);
}

static ad_status record(recorder *r, ad_tape *tape, const char *text, int n, const char *const names[]) {
  expression e;
  expression_error error;
  ad_formula_report *report = r->run.report;
  *report = (ad_formula_report){ 0 };
  if (ad_tape_status(tape)) {
    report->status = ad_tape_status(tape);
    snprintf(report->message, sizeof report->message, "%s", ad_tape_message(tape));
    return report->status;
  }
  ad_status status = expression_read(&tape->allocator, text, EXPRESSION_FORMULA, &e, &error);
  if (status) {
    report_syntax(report, status, &error);
    return leave(tape, text, report);
  }
  r->run.tape = tape, r->run.text = text, r->run.e = &e;
  record_expression(r, n, names);
  if (!report->status && !r->count) {
    report->status = AD_ERROR_SYNTAX, report->position = (int)strlen(text);
    snprintf(report->message, sizeof report->message, "nothing to compute: every statement binds a name");
  }
  expression_free(&tape->allocator, &e);
  return leave(tape, text, report);
}

/* --- public ----------------------------------------------------------------------------------- */

ad_status ad_formula_all(ad_tape *tape, const char *text, int n, const char *const names[],
                         const ad_var vars[], int capacity, ad_var out[], int *count,
                         ad_formula_report *report) {
  ad_formula_report unwanted;
  recorder r = { .vars = vars, .out = out, .capacity = capacity,
                 .run = { .report = report ? report : &unwanted } };
  if (count) *count = 0;
  if (!tape || !text || !count || n < 0 || (n && (!names || !vars)) || capacity < 0 || (capacity && !out)) {
    *r.run.report = (ad_formula_report){ .status = AD_ERROR_ARGUMENT };
    snprintf(r.run.report->message, sizeof r.run.report->message, "%s",
             ad_status_sentence(AD_ERROR_ARGUMENT));
    return tape_fail(tape, AD_ERROR_ARGUMENT, "formula: %s", r.run.report->message);
  }
  ad_status status = record(&r, tape, text, n, names);
  *count = r.count;
  for (int i = 0; i < capacity; i++) if (status || i >= r.count) out[i] = handle_invalid(tape);
  return status ? status : r.count > capacity ? AD_ERROR_ARGUMENT : AD_OK;
}

/* There are at most as many outputs as statements. */
ad_var ad_formula(ad_tape *tape, const char *text, int n, const char *const names[], const ad_var vars[]) {
  enum { USUAL = 16 };
  ad_var few[USUAL], *out = few;
  int count, capacity = 1;
  ad_formula_report report;
  if (!tape) return handle_invalid(NULL);
  if (!text) return ad_fail(tape, AD_ERROR_ARGUMENT, "formula: the text is NULL");
  for (const char *c = text; *c; c++) capacity += *c == ';';
  size_t bytes = (size_t)capacity*sizeof *out;
  if (capacity > USUAL && !(out = memory_get(&tape->allocator, bytes)))
    return ad_fail(tape, AD_ERROR_MEMORY, "formula: out of memory");
  ad_status status = ad_formula_all(tape, text, n, names, vars, capacity, out, &count, &report);
  ad_var last = status || !count ? handle_invalid(tape) : out[count - 1];
  if (out != few) memory_release(&tape->allocator, out, bytes);
  return last;
}

/* --- free names ------------------------------------------------------------------------------- */

typedef struct name_writer { char *out; size_t size, used; } name_writer;

static void write_name(name_writer *w, const char *name, int length) {
  for (int i = w->used ? -1 : 0; i < length; i++, w->used++)
    if (w->used + 1 < w->size) w->out[w->used] = i < 0 ? ' ' : name[i];
}

/* Collects into *w; names that were seen are entered in *seen. */
static bool collect(const expression *e, name_table *seen, name_writer *w) {
  int node = 0;
  for (int s = 0; s < e->statement_count; s++) {
    const expression_statement *st = &e->statement[s];
    for (; node <= st->root; node++) {
      const expression_node *n = &e->node[node];
      if (n->kind != EXPRESSION_NAME || names_find(seen, n->name, n->name_length)) continue;
      if (!names_put(&memory_standard, seen, n->name, n->name_length, 0)) return false;
      if (!constant_named(n->name, n->name_length)) write_name(w, n->name, n->name_length);
    }
    if (st->name && !names_put(&memory_standard, seen, st->name, st->name_length, 0)) return false;
  }
  return true;
}

ad_status ad_formula_names(const char *text, char *names, size_t size, size_t *needed,
                           ad_formula_report *report) {
  ad_formula_report unwanted, *r = report ? report : &unwanted;
  expression e;
  expression_error error;
  *r = (ad_formula_report){ .status = AD_ERROR_ARGUMENT };
  if (!text || (size && !names)) return AD_ERROR_ARGUMENT;
  ad_status status = expression_read(&memory_standard, text, EXPRESSION_FORMULA, &e, &error);
  report_syntax(r, status, &error);
  if (status) return status;
  name_table seen = { 0 };
  name_writer w = { names, size, 0 };
  if (!collect(&e, &seen, &w)) r->status = AD_ERROR_MEMORY;
  names_free(&memory_standard, &seen);
  expression_free(&memory_standard, &e);
  if (size) names[w.used < size ? w.used : size - 1] = 0;
  if (needed) *needed = w.used + 1;
  if (!r->status && w.used + 1 > size) r->status = AD_ERROR_SIZE;
  return r->status;
}
