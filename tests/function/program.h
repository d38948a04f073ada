/* program.h -- programs with loops, branches, maps and calls, as data: what random tests generate, run in two
 * ways, and make smaller.
 *
 * A program is a list of bodies; body 0 is the program. A body is a list of statements, each with values as
 * results; its first values are its parameters. Values are found by a reference: the place of a value, and
 * how many bodies further out. Bodies that a statement calls are nested in its own, so references outwards
 * are captured variables. No type needs to be found out: each value has it beside it.
 *
 * Programs are tame: what they compute is bounded, or grows slowly, loops end, and kinks lie at no value that
 * two ways of computing it are likely to see differently. */
#ifndef ADIT_TESTS_PROGRAM_H
#define ADIT_TESTS_PROGRAM_H

#include "adit/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_BODIES = 48, MOST_STATEMENTS = 28, MOST_VALUES = 72, MOST_LIST = 8, MOST_DEPTH = 4, MOST_ELEMENTS = 96
};

/* NAME(text): what it computes of floats a, b with numbers c, d, unless it says otherwise. */
#define PROGRAM_OPERATIONS(X) \
  X(FILL, "fill") /* c */ \
  X(SIN, "sin") X(COS, "cos") X(TANH, "tanh") X(ATAN, "atan") X(SIGMOID, "sigmoid") X(SOFTPLUS, "softplus") \
  X(ROOT, "root")                   /* sqrt(1 + a^2) */ \
  X(LOG, "log")                     /* log(2 + sin a) */ \
  X(EXP, "exp")                     /* exp(tanh(a)/2) */ \
  X(RECIPROCAL, "reciprocal")       /* 1/(2 + cos a) */ \
  X(AFFINE, "affine")               /* c a + d */ \
  X(ABS, "abs")                     /* |a + c| */ \
  X(RELU, "relu")                   /* relu(a + c) */ \
  X(STOP, "stop_gradient") \
  X(LONG, "long")                   /* several hundred operations */ \
  X(LINEAR, "linear")               /* c a + d b */ \
  X(TIMES, "times")                 /* a sin b */ \
  X(OVER, "over")                   /* a/(1 + b^2) */ \
  X(MAX, "max") X(MIN, "min")       /* of a and c b + d */ \
  X(CHOOSE, "choose")               /* a < c b + d ? sin a : b */ \
  X(SUM, "sum") X(LOGSUMEXP, "logsumexp") X(AT, "at") X(FLIP, "flip") X(CUMSUM, "cumsum") X(STACK, "stack") \
  X(BROADCAST, "broadcast") X(MATMUL, "matmul") \
  X(TAKE, "take")                   /* a[i mod n], an integer i */ \
  X(SORT, "sort")                   /* of a + 0.37 i along the first axis */ \
  X(CUMPROD, "cumprod")             /* of tanh a */ \
  X(SOLVE, "solve")                 /* (5 I + sin a (cos a)^T)^-1 a */ \
  X(TO_F64, "f64") X(TO_F32, "f32") X(TO_I64, "i64") \
  X(CYCLE, "cycle")                 /* of integers: (c a + d) mod 7 */ \
  X(LESS, "less")                   /* a < c b + d */ \
  X(NOT, "not") \
  X(SELECT, "select")               /* p ? a : b */ \
  X(TICK, "tick")                   /* a + 0.6 + 0.4 tanh b */ \
  X(TOCK, "tock")                   /* of an integer: a + 1 */ \
  X(BELOW, "below")                 /* a < c + tanh b */ \
  X(BELOW_INTEGER, "below_integer") /* of integers: a < b mod c */ \
  X(CALL, "call") X(CHECKPOINT, "checkpoint") X(COND, "cond") X(MAP, "map") X(SCAN, "scan") X(FOLD, "fold") \
  X(REDUCE, "reduce") X(WHILE, "while")

typedef enum operation {
#define X(name, text) OP_##name,
  PROGRAM_OPERATIONS(X)
#undef X
  OPERATIONS
} operation;

static const char *const operation_names[OPERATIONS] = {
#define X(name, text) text,
  PROGRAM_OPERATIONS(X)
#undef X
};

/* A value of the body `up` levels further out; up -1: the statement's number c as a literal. */
typedef struct reference { int up, value; } reference;

typedef struct statement {
  operation op;
  int n_args, n_results, first;     /* results are values first .. first + n_results - 1 */
  reference arg[MOST_LIST];
  reference selector;               /* a branch's condition; a counted scan's number of steps */
  double c, d;
  int64_t n;                        /* steps, instances, an index; of a counted scan at most, -1: no bound */
  int states, body, other;          /* other: second branch, condition */
  ad_keep keep;
  int64_t k, bytes;
  bool each[MOST_LIST];             /* arguments taken apart */
  bool counted, backwards, inside;  /* inside: traced so without need, too */
} statement;

typedef struct body {
  int parent, depth;
  int n_params, n_values, n_statements, n_outputs;
  ad_type type[MOST_VALUES];
  statement s[MOST_STATEMENTS];
  reference out[MOST_LIST];
} body;

typedef struct program {
  uint64_t seed;
  int n_bodies;
  body b[MOST_BODIES];
} program;

static bool is_carrier(operation op) { return op >= OP_CALL; }

/* --- types ---------------------------------------------------------------------------------------------- */

static ad_type scalar_type(ad_dtype dtype) { return ad_type_make(dtype, 0, NULL); }

static ad_type vector_type(ad_dtype dtype, int64_t n) { return ad_type_make(dtype, 1, &n); }

static ad_type with_axis(ad_type type, int64_t n) {
  for (int i = type.rank; i > 0; i--) type.dim[i] = type.dim[i - 1];
  type.dim[0] = n;
  type.rank++;
  return type;
}

static ad_type without_axis(ad_type type) {
  type.rank--;
  for (int i = 0; i < type.rank; i++) type.dim[i] = type.dim[i + 1];
  type.dim[type.rank] = 0;
  return type;
}

static bool is_float(ad_type type) { return type.dtype == AD_F64 || type.dtype == AD_F32; }

static const body *body_above(const program *p, int b, int up) {
  while (up-- > 0) b = p->b[b].parent;
  return &p->b[b];
}

static ad_type type_of(const program *p, int b, reference r) {
  return r.up < 0 ? scalar_type(AD_F64) : body_above(p, b, r.up)->type[r.value];
}

/* --- which statements count ----------------------------------------------------------------------------- */

static bool inside_of(const program *p, int b, int outer) {
  while (b > outer) b = p->b[b].parent;
  return b == outer;
}

static bool leads_out(const program *p, int b, reference r, int outer) {
  return r.up >= 0 && p->b[b].depth - r.up < p->b[outer].depth;
}

/* Does body outer, or one inside it, use values from further out? */
static bool captures(const program *p, int outer) {
  for (int b = outer; b < p->n_bodies; b++) {
    if (!inside_of(p, b, outer)) continue;
    const body *own = &p->b[b];
    for (int j = 0; j < own->n_outputs; j++)
      if (leads_out(p, b, own->out[j], outer)) return true;
    for (int i = 0; i < own->n_statements; i++) {
      const statement *s = &own->s[i];
      for (int k = 0; k < s->n_args; k++)
        if (leads_out(p, b, s->arg[k], outer)) return true;
      if ((s->op == OP_COND || s->counted) && leads_out(p, b, s->selector, outer)) return true;
    }
  }
  return false;
}

/* Which bodies a program reaches, and which values are used there: what is not needs no look. */
typedef struct liveness { bool body[MOST_BODIES], value[MOST_BODIES][MOST_VALUES]; } liveness;

static void live_reference(const program *p, liveness *l, int b, reference r) {
  if (r.up >= 0) l->value[body_above(p, b, r.up) - p->b][r.value] = true;
}

static bool statement_lives(const liveness *l, int b, const statement *s) {
  for (int j = 0; j < s->n_results; j++)
    if (l->value[b][s->first + j]) return true;
  return false;
}

/* Bodies come behind those that hold them, so the last use of a value is found before its statement only when
 * the bodies nested in a later statement have been looked at: repeated until nothing is added. */
static void find_live(const program *p, liveness *l) {
  memset(l, 0, sizeof *l);
  l->body[0] = true;
  liveness before;
  do {
    before = *l;
    for (int b = 0; b < p->n_bodies; b++) {
      if (!l->body[b]) continue;
      const body *own = &p->b[b];
      for (int j = 0; j < own->n_outputs; j++) live_reference(p, l, b, own->out[j]);
      for (int i = own->n_statements; i-- > 0;) {
        const statement *s = &own->s[i];
        if (!statement_lives(l, b, s)) continue;
        for (int k = 0; k < s->n_args; k++) live_reference(p, l, b, s->arg[k]);
        if (s->op == OP_COND || s->counted) live_reference(p, l, b, s->selector);
        if (is_carrier(s->op)) l->body[s->body] = true;
        if (s->op == OP_COND || s->op == OP_WHILE) l->body[s->other] = true;
      }
    }
  } while (memcmp(&before, l, sizeof before) != 0);
}

/* --- as text -------------------------------------------------------------------------------------------- */

static void print_reference(const program *p, int b, reference r, double c) {
  if (r.up < 0) printf("%g", c);
  else printf("%c%d", 'a' + p->b[b].depth - r.up, r.value);
}

static void print_type(ad_type type) {
  char text[192];
  printf("%s", ad_type_print(type, text, sizeof text));
}

static void print_options(const program *p, int b, const statement *s) {
  static const char *const policies[] = { "", ", keep every", ", keep binomial", ", keep all" };
  if (s->op == OP_MAP || s->op == OP_SCAN || s->op == OP_FOLD) printf(", n %lld", (long long)s->n);
  if (s->op == OP_SCAN || s->op == OP_FOLD) printf(", states %d", s->states);
  if (s->backwards) printf(", backwards");
  if (s->counted) {
    printf(", count |");
    print_reference(p, b, s->selector, s->c);
    printf("| mod %lld", (long long)(s->n < 0 ? 5 : s->n + 1));
  }
  if (s->keep != AD_KEEP_STATES) printf("%s %lld", policies[s->keep], (long long)s->k);
  if (s->keep != AD_KEEP_STATES && s->bytes) printf(" in %lld bytes", (long long)s->bytes);
  if (s->inside) printf(", inside");
}

static void print_statement(const program *p, int b, const statement *s, int indent) {
  printf("%*s", indent, "");
  for (int j = 0; j < s->n_results; j++) printf("%s%c%d", j ? ", " : "", 'a' + p->b[b].depth, s->first + j);
  printf(" = %s", operation_names[s->op]);
  if (is_carrier(s->op)) {
    printf(" f%d", s->body);
    if (s->op == OP_COND || s->op == OP_WHILE) printf(" f%d", s->other);
    print_options(p, b, s);
  }
  printf("(");
  if (s->op == OP_COND) {
    print_reference(p, b, s->selector, s->c);
    printf(" ? ");
  }
  for (int k = 0; k < s->n_args; k++) {
    printf("%s%s", k ? ", " : "", s->each[k] ? "each " : "");
    print_reference(p, b, s->arg[k], s->c);
  }
  if (!is_carrier(s->op)) printf("%sc %g, d %g, n %lld", s->n_args ? "; " : "", s->c, s->d, (long long)s->n);
  printf(")  ");
  for (int j = 0; j < s->n_results; j++) {
    printf("%s", j ? ", " : "");
    print_type(p->b[b].type[s->first + j]);
  }
  printf("\n");
}

static void print_body(const program *p, const liveness *l, int b) {
  const body *own = &p->b[b];
  const int indent = 2*own->depth;
  printf("%*sf%d(", indent, "", b);
  for (int k = 0; k < own->n_params; k++) {
    printf("%s%c%d ", k ? ", " : "", 'a' + own->depth, k);
    print_type(own->type[k]);
  }
  printf(")\n");
  for (int i = 0; i < own->n_statements; i++) {
    const statement *s = &own->s[i];
    if (!statement_lives(l, b, s)) continue;
    if (is_carrier(s->op)) print_body(p, l, s->body);
    if (s->op == OP_COND || s->op == OP_WHILE) print_body(p, l, s->other);
    print_statement(p, b, s, indent + 2);
  }
  printf("%*sreturn ", indent + 2, "");
  for (int j = 0; j < own->n_outputs; j++) {
    printf("%s", j ? ", " : "");
    print_reference(p, b, own->out[j], 0);
  }
  printf("\n");
}

static void print_program(const program *p) {
  liveness l;
  find_live(p, &l);
  printf("program %llu\n", (unsigned long long)p->seed);
  print_body(p, &l, 0);
}

#endif
