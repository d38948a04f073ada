/* program_generate.h -- random programs: well typed, tame, nested up to MOST_DEPTH bodies deep.
 *
 * States of loops go through a bounded function at the end of each step. A loop whose end depends on values
 * has a clock as its first state, which each step moves forward by at least 0.2 (an integer: by 1), and a
 * bounded threshold. */
#ifndef ADIT_TESTS_PROGRAM_GENERATE_H
#define ADIT_TESTS_PROGRAM_GENERATE_H

#include "check.h"
#include "function/program.h"

typedef struct generator {
  program *p;
  uint64_t state;
  bool f32;                         /* values of that type occur */
  bool used[MOST_BODIES][MOST_VALUES];
  int64_t repeated[MOST_BODIES];    /* how often a body is run, about */
} generator;

enum { MOST_REPEATED = 120, MOST_CARRIERS = 24 };

static int below(generator *g, int n) { return check_below(&g->state, n); }
static bool chance(generator *g, double p) { return check_uniform(&g->state, 0, 1) < p; }

/* --- values to use -------------------------------------------------------------------------------------- */

typedef bool match(ad_type have, ad_type like);

static bool match_same(ad_type have, ad_type like) { return ad_type_equal(have, like); }
static bool match_float(ad_type have, ad_type like) { return (void)like, is_float(have); }
static bool match_integer(ad_type have, ad_type like) { return (void)like, have.dtype == AD_I64; }
static bool match_integer_scalar(ad_type have, ad_type like) {
  return (void)like, have.dtype == AD_I64 && have.rank == 0;
}
static bool match_bool(ad_type have, ad_type like) { return (void)like, have.dtype == AD_BOOL; }
static bool match_any(ad_type have, ad_type like) { return (void)have, (void)like, true; }
static bool match_array(ad_type have, ad_type like) {
  return (void)like, is_float(have) && have.rank > 0 && have.dim[0] > 0;
}
static bool match_leading(ad_type have, ad_type like) { return have.rank > 0 && have.dim[0] == like.dim[0]; }
static bool match_rows(ad_type have, ad_type like) {
  return (void)like, have.rank > 0 && have.rank < 4 && have.dtype != AD_BOOL;
}
/* Floats that broadcast with like: the same shape, or a scalar. */
static bool match_beside(ad_type have, ad_type like) {
  like.dtype = have.dtype;
  return is_float(have) && (have.rank == 0 || like.rank == 0 || ad_type_equal(have, like));
}

/* A value that matches, seldom from further out, most often one that nobody uses yet. */
static bool pick(generator *g, int b, match *m, ad_type like, reference *r) {
  int up = 0;
  while (up < g->p->b[b].depth && chance(g, 0.25)) up++;
  for (int round = 0; round < 3; round++) {
    const body *from = body_above(g->p, b, up);
    const int place = (int)(from - g->p->b);
    int found[MOST_VALUES], n = 0;
    for (int pass = 0; pass < 2 && n == 0; pass++) {
      const bool unused = pass == 0 && chance(g, 0.7);
      for (int i = 0; i < from->n_values; i++)
        if (m(from->type[i], like) && !(unused && g->used[place][i])) found[n++] = i;
    }
    if (n) {
      *r = (reference){ up, found[below(g, n)] };
      g->used[place][r->value] = true;
      return true;
    }
    up = round == 0 ? 0 : below(g, g->p->b[b].depth + 1);
  }
  return false;
}

/* --- statements ----------------------------------------------------------------------------------------- */

static statement blank(generator *g, operation op) {
  statement s;
  memset(&s, 0, sizeof s);
  s.op = op;
  s.body = s.other = -1;
  s.c = check_uniform(&g->state, 0.3, 1.0)*(chance(g, 0.5) ? 1 : -1);
  s.d = check_uniform(&g->state, -0.7, 0.7);
  return s;
}

static bool has_room(const generator *g, int b, int results) {
  return g->p->b[b].n_statements < MOST_STATEMENTS - 1 && g->p->b[b].n_values + results < MOST_VALUES - 2;
}

static reference append(generator *g, int b, statement s, int n_results, const ad_type type[]) {
  body *own = &g->p->b[b];
  if (own->n_statements == MOST_STATEMENTS || own->n_values + n_results > MOST_VALUES) abort();
  s.first = own->n_values;
  s.n_results = n_results;
  for (int j = 0; j < n_results; j++) own->type[own->n_values++] = type[j];
  own->s[own->n_statements++] = s;
  return (reference){ 0, s.first };
}

static reference append_one(generator *g, int b, statement s, ad_type type) {
  return append(g, b, s, 1, &type);
}

/* A value of that type, made if there is none: from a scalar if that can be, which the
 * program's first input is. */
static reference need(generator *g, int b, ad_type type) {
  reference r;
  if (pick(g, b, match_same, type, &r)) return r;
  statement s = blank(g, type.dtype == AD_F64 && type.rank && chance(g, 0.8) ? OP_BROADCAST : OP_FILL);
  if (s.op == OP_BROADCAST) {
    s.n_args = 1;
    if (!pick(g, b, match_same, scalar_type(AD_F64), &s.arg[0]))
      s.arg[0] = (reference){ g->p->b[b].depth, 0 };
  }
  r = append_one(g, b, s, type);
  g->used[b][r.value] = true;
  return r;
}

static void add_unary(generator *g, int b) {
  static const operation some[] = { OP_SIN, OP_COS, OP_TANH, OP_ATAN, OP_SIGMOID, OP_SOFTPLUS, OP_ROOT,
                                    OP_LOG, OP_EXP, OP_RECIPROCAL, OP_AFFINE, OP_ABS, OP_RELU, OP_STOP };
  statement s = blank(g, some[below(g, (int)(sizeof some/sizeof *some))]);
  if (s.op == OP_STOP && chance(g, 0.7)) s.op = OP_SIN;
  s.n_args = 1;
  if (pick(g, b, match_float, scalar_type(AD_F64), &s.arg[0]))
    append_one(g, b, s, type_of(g->p, b, s.arg[0]));
}

static void add_binary(generator *g, int b) {
  static const operation some[] = { OP_LINEAR, OP_TIMES, OP_OVER, OP_MAX, OP_MIN, OP_CHOOSE };
  statement s = blank(g, some[below(g, 6)]);
  s.n_args = 2;
  if (!pick(g, b, match_float, scalar_type(AD_F64), &s.arg[0])) return;
  const ad_type x = type_of(g->p, b, s.arg[0]);
  if (!pick(g, b, match_beside, x, &s.arg[1])) return;
  const ad_type y = type_of(g->p, b, s.arg[1]);
  ad_type z = x.rank >= y.rank ? x : y;
  z.dtype = ad_dtype_promote(x.dtype, y.dtype);
  append_one(g, b, s, z);
}

static void add_shape(generator *g, int b) {
  static const operation some[] = { OP_SUM, OP_LOGSUMEXP, OP_AT, OP_FLIP, OP_CUMSUM, OP_TAKE, OP_STACK,
                                    OP_BROADCAST, OP_MATMUL, OP_SORT, OP_CUMPROD, OP_SOLVE };
  statement s = blank(g, some[below(g, 12)]);
  s.n_args = 1;
  const ad_type f64 = scalar_type(AD_F64);
  if (s.op == OP_STACK || s.op == OP_BROADCAST) {
    s.arg[0] = need(g, b, f64);
    if (s.op == OP_STACK) s.arg[1] = need(g, b, f64), s.n_args = 2;
    append_one(g, b, s, vector_type(AD_F64, s.op == OP_STACK ? 2 : 3));
    return;
  }
  if (!pick(g, b, match_array, f64, &s.arg[0])) return;
  ad_type type = type_of(g->p, b, s.arg[0]);
  if (s.op == OP_LOGSUMEXP && ad_type_count(type) == 0) s.op = OP_SUM;
  if (s.op == OP_SOLVE && type.rank != 1) s.op = OP_SORT;
  if (s.op == OP_SUM || s.op == OP_LOGSUMEXP) type = scalar_type(type.dtype);
  if (s.op == OP_AT) s.n = below(g, (int)type.dim[0]);
  if (s.op == OP_TAKE && !pick(g, b, match_integer_scalar, f64, &s.arg[s.n_args++])) return;
  if (s.op == OP_AT || s.op == OP_TAKE) type = without_axis(type);
  if (s.op == OP_MATMUL) {
    const ad_type like = vector_type(type.dtype, type.dim[type.rank - 1]);
    s.arg[s.n_args++] = need(g, b, like);
    type.dim[--type.rank] = 0;
  }
  append_one(g, b, s, type);
}

static void add_conversion(generator *g, int b) {
  const operation some[] = { OP_TO_I64, OP_CYCLE, OP_TO_F64, g->f32 ? OP_TO_F32 : OP_TO_F64 };
  statement s = blank(g, some[below(g, 4)]);
  s.n_args = 1;
  const bool integer = s.op == OP_CYCLE || (s.op == OP_TO_F64 && !(g->f32 && chance(g, 0.5)));
  if (s.op == OP_CYCLE) s.c = 1 + below(g, 4), s.d = below(g, 4);
  if (!pick(g, b, integer ? match_integer : match_float, scalar_type(AD_F64), &s.arg[0])) return;
  ad_type type = type_of(g->p, b, s.arg[0]);
  if (s.op == OP_TO_I64) type.dtype = AD_I64;
  if (s.op == OP_TO_F64) type.dtype = AD_F64;
  if (s.op == OP_TO_F32) type.dtype = AD_F32;
  append_one(g, b, s, type);
}

/* Of two values of one type; a scalar bool may choose arrays. */
static void add_choice(generator *g, int b) {
  statement s = blank(g, chance(g, 0.5) ? OP_LESS : chance(g, 0.2) ? OP_NOT : OP_SELECT);
  s.n_args = s.op == OP_LESS ? 2 : s.op == OP_NOT ? 1 : 3;
  ad_type type = scalar_type(AD_F64);
  if (!pick(g, b, s.op == OP_LESS ? match_float : match_bool, type, &s.arg[0])) return;
  const ad_type p = type_of(g->p, b, s.arg[0]);
  if (s.op == OP_LESS) s.arg[1] = need(g, b, p);
  if (s.op == OP_SELECT) {
    if (p.rank) type = p, type.dtype = AD_F64;
    else if (!pick(g, b, match_float, type, &s.arg[1])) return;
    if (p.rank == 0) type = type_of(g->p, b, s.arg[1]);
    else s.arg[1] = need(g, b, type);
    s.arg[2] = need(g, b, type);
    append_one(g, b, s, type);
    return;
  }
  ad_type z = p;
  z.dtype = AD_BOOL;
  append_one(g, b, s, z);
}

/* --- carriers ------------------------------------------------------------------------------------------- */

/* What the body of a carrier must be: outputs first of those types, through a bounded function; then as many
 * others as it likes, up to `more`. */
typedef struct wish { int n, more; ad_type type[MOST_LIST]; } wish;

static int new_body(generator *g, int parent, int n_params, const ad_type type[], int64_t repeated) {
  program *p = g->p;
  const int b = p->n_bodies++;
  body *own = &p->b[b];
  memset(own, 0, sizeof *own);
  own->parent = parent;
  own->depth = p->b[parent].depth + 1;
  own->n_params = own->n_values = n_params;
  for (int k = 0; k < n_params; k++) own->type[k] = type[k];
  memset(g->used[b], 0, sizeof g->used[b]);
  g->repeated[b] = repeated;
  return b;
}

static void fill_body(generator *g, int b);

/* A value of that type that depends on two others. */
static reference mixed(generator *g, int b, ad_type type) {
  static const operation some[] = { OP_LINEAR, OP_TIMES, OP_OVER, OP_CHOOSE, OP_MAX };
  const reference r = need(g, b, type);
  statement s = blank(g, some[below(g, 5)]);
  if (!is_float(type) || chance(g, 0.3) || !pick(g, b, match_beside, type, &s.arg[1])) return r;
  const ad_type other = type_of(g->p, b, s.arg[1]);
  if (other.rank > type.rank || other.dtype > type.dtype) return r;
  s.n_args = 2;
  s.arg[0] = r;
  return append_one(g, b, s, type);
}

/* A state after a step. */
static reference bounded(generator *g, int b, ad_type type) {
  static const operation some[] = { OP_SIN, OP_TANH, OP_ATAN, OP_AFFINE };
  reference r = mixed(g, b, type);
  if (type.dtype == AD_BOOL && chance(g, 0.5)) return r;
  statement s = blank(g, type.dtype == AD_BOOL ? OP_NOT : is_float(type) ? some[below(g, 4)] : OP_CYCLE);
  s.n_args = 1;
  s.arg[0] = r;
  if (s.op == OP_CYCLE) s.c = 1 + below(g, 4), s.d = below(g, 4);
  if (is_float(type) && chance(g, 0.1)) return r.up || g->p->b[b].depth > 1 ? append_one(g, b, s, type) : r;
  return append_one(g, b, s, type);
}

static void finish_body(generator *g, int b, const wish *w) {
  body *own = &g->p->b[b];
  fill_body(g, b);
  for (int j = 0; j < w->n; j++) own->out[own->n_outputs++] = bounded(g, b, w->type[j]);
  for (int j = 0; j < w->more; j++) {
    reference r;
    if (!pick(g, b, j == 0 ? match_float : match_any, scalar_type(AD_F64), &r)) break;
    if (type_of(g->p, b, r).rank < 3) own->out[own->n_outputs++] = r;
  }
}

static ad_type output_type(const generator *g, int b, int j) { return type_of(g->p, b, g->p->b[b].out[j]); }

/* Arguments for a carrier: any values; now and then a number. */
static void pick_shared(generator *g, int b, statement *s, int at_most) {
  for (int i = 0; i < at_most && s->n_args < MOST_LIST; i++) {
    reference r;
    if (s->n_args && chance(g, 0.08)) r = (reference){ -1, 0 };
    else if (!pick(g, b, i == 0 ? match_float : match_any, scalar_type(AD_F64), &r)) continue;
    s->arg[s->n_args++] = r;
  }
}

static int64_t times(const generator *g, int b, int64_t n) {
  return g->repeated[b]*(n > 0 ? n : 1);
}

/* Values to be taken apart, all with the same leading axis, which s->n becomes. */
static bool pick_rows(generator *g, int b, statement *s, int at_most) {
  reference r;
  if (!pick(g, b, match_rows, scalar_type(AD_F64), &r)) return false;
  const ad_type like = type_of(g->p, b, r);
  if (times(g, b, like.dim[0]) > MOST_REPEATED) return false;
  s->n = like.dim[0];
  for (int i = 0; i < at_most && s->n_args < MOST_LIST; i++) {
    if (i && !pick(g, b, match_leading, like, &r)) break;
    s->each[s->n_args] = true;
    s->arg[s->n_args++] = r;
  }
  return true;
}

static int param_types(const generator *g, int b, const statement *s, ad_type type[]) {
  for (int k = 0; k < s->n_args; k++) {
    type[k] = type_of(g->p, b, s->arg[k]);
    if (s->each[k]) type[k] = without_axis(type[k]);
  }
  return s->n_args;
}

static int body_for(generator *g, int b, const statement *s, const wish *w) {
  ad_type type[MOST_LIST];
  const int f = new_body(g, b, param_types(g, b, s, type), type, times(g, b, s->n));
  finish_body(g, f, w);
  return f;
}

static void set_options(generator *g, statement *s) {
  static const ad_keep some[] = { AD_KEEP_STATES, AD_KEEP_STATES, AD_KEEP_ALL, AD_KEEP_EVERY,
                                  AD_KEEP_BINOMIAL };
  s->keep = some[below(g, 5)];
  s->k = 1 + below(g, 4);
  if (s->keep == AD_KEEP_BINOMIAL && chance(g, 0.3)) s->k = 0, s->bytes = 1 + below(g, 400);
  s->backwards = (s->op == OP_SCAN || s->op == OP_FOLD) && chance(g, 0.3);
}

static void add_call(generator *g, int b) {
  statement s = blank(g, chance(g, 0.5) ? OP_CALL : OP_CHECKPOINT);
  const bool big = s.op == OP_CALL && g->repeated[b] < 8 && chance(g, 0.3);
  pick_shared(g, b, &s, 1 + below(g, 4));
  if (s.n_args == 0) return;
  ad_type type[MOST_LIST];
  s.body = new_body(g, b, param_types(g, b, &s, type), type, g->repeated[b]);
  if (big) {
    statement l = blank(g, OP_LONG);
    l.n_args = 1;
    append_one(g, s.body, l, type[0]);
  }
  finish_body(g, s.body, &(wish){ .more = 1 + below(g, 3) });
  const int n = g->p->b[s.body].n_outputs;
  for (int j = 0; j < n; j++) type[j] = output_type(g, s.body, j);
  append(g, b, s, n, type);
}

static bool pick_condition(generator *g, int b, reference *r) {
  reference x;
  if (pick(g, b, match_same, scalar_type(AD_BOOL), r)) return true;
  if (chance(g, 0.2) && pick(g, b, match_integer_scalar, scalar_type(AD_I64), r)) return true;
  if (!pick(g, b, match_float, scalar_type(AD_F64), &x)) return false;
  statement s = blank(g, OP_SUM), l = blank(g, OP_LESS);
  s.n_args = 1, l.n_args = 2;
  s.arg[0] = x;
  const ad_type scalar = scalar_type(type_of(g->p, b, x).dtype);
  l.arg[0] = type_of(g->p, b, x).rank ? append_one(g, b, s, scalar) : x;
  l.arg[1] = need(g, b, scalar);
  *r = append_one(g, b, l, scalar_type(AD_BOOL));
  g->used[b][r->value] = true;
  return true;
}

static void add_cond(generator *g, int b) {
  statement s = blank(g, OP_COND);
  pick_shared(g, b, &s, 1 + below(g, 3));
  if (s.n_args == 0 || !pick_condition(g, b, &s.selector)) return;
  s.body = body_for(g, b, &s, &(wish){ .more = 1 + below(g, 3) });
  wish same = { .n = g->p->b[s.body].n_outputs };
  for (int j = 0; j < same.n; j++) same.type[j] = output_type(g, s.body, j);
  s.other = body_for(g, b, &s, &same);
  if (chance(g, 0.5)) {
    const int f = s.body;
    s.body = s.other, s.other = f;
  }
  append(g, b, s, same.n, same.type);
}

static bool fits(ad_type type) { return type.rank <= 3 && ad_type_count(type) <= MOST_ELEMENTS; }

/* What a body computes does not always fit once stacked: the rest is left out. */
static int stacked_results(generator *g, const statement *s, int states, ad_type type[]) {
  body *f = &g->p->b[s->body];
  int n = 0;
  for (int j = 0; j < f->n_outputs; j++) {
    ad_type z = output_type(g, s->body, j);
    if (j >= states) z = with_axis(z, s->n);
    if (j >= states && !fits(z)) continue;
    f->out[n] = f->out[j];
    type[n++] = z;
  }
  return f->n_outputs = n;
}

static void add_map(generator *g, int b) {
  statement s = blank(g, OP_MAP);
  if (chance(g, 0.4)) pick_shared(g, b, &s, 1 + below(g, 2));
  if (!pick_rows(g, b, &s, 1 + below(g, 3))) return;
  pick_shared(g, b, &s, below(g, 3));
  ad_type type[MOST_LIST];
  s.body = body_for(g, b, &s, &(wish){ .more = 1 + below(g, 3) });
  const int n = stacked_results(g, &s, 0, type);
  append(g, b, s, n, type);
}

static bool is_state(ad_type type) { return type.rank <= 2 && ad_type_count(type) <= 12; }

static void pick_states(generator *g, int b, statement *s, int at_most, wish *w) {
  for (int i = 0; i < at_most && s->n_args < 4; i++) {
    reference r;
    if (!pick(g, b, i == 0 ? match_float : match_any, scalar_type(AD_F64), &r)) continue;
    if (!is_state(type_of(g->p, b, r))) continue;
    if (type_of(g->p, b, r).rank == 0 && type_of(g->p, b, r).dtype == AD_F64 && s->n_args && chance(g, 0.1))
      r = (reference){ -1, 0 };
    w->type[w->n++] = type_of(g->p, b, r);
    s->arg[s->n_args++] = r;
  }
  s->states = w->n;
}

static void add_scan(generator *g, int b) {
  statement s = blank(g, chance(g, 0.65) ? OP_SCAN : OP_FOLD);
  wish w = { .n = 0 };
  set_options(g, &s);
  pick_states(g, b, &s, below(g, 10) ? 1 + below(g, 3) : 0, &w);
  const bool rows = chance(g, 0.6) && pick_rows(g, b, &s, 1 + below(g, 2));
  if (!rows) {
    s.n = below(g, 12) ? 1 + below(g, 5) : 0;
    while (times(g, b, s.n) > MOST_REPEATED) s.n /= 2;
  }
  if (s.n_args == 0) return;
  pick_shared(g, b, &s, below(g, 3));
  s.counted = (rows || s.n) && chance(g, 0.3)
      && pick(g, b, match_integer_scalar, scalar_type(AD_I64), &s.selector);
  if (s.counted && !rows && s.op == OP_FOLD && chance(g, 0.5)) s.n = -1;
  if (s.op == OP_SCAN) w.more = 1 + below(g, 2);
  ad_type type[MOST_LIST];
  s.body = body_for(g, b, &s, &w);
  const int n = stacked_results(g, &s, w.n, type);
  if (n) append(g, b, s, n, type);
}

static void add_reduce(generator *g, int b) {
  statement s = blank(g, OP_REDUCE);
  reference r;
  set_options(g, &s);
  if (!pick(g, b, match_array, scalar_type(AD_F64), &r) || type_of(g->p, b, r).rank > 2) return;
  const ad_type type = without_axis(type_of(g->p, b, r));
  s.n = type_of(g->p, b, r).dim[0];
  if (times(g, b, s.n) > MOST_REPEATED) return;
  s.arg[s.n_args++] = r;
  pick_shared(g, b, &s, below(g, 3));
  ad_type params[MOST_LIST + 1] = { type };
  s.each[0] = true;
  const int n = param_types(g, b, &s, params + 1);
  s.each[0] = false;
  s.body = new_body(g, b, n + 1, params, times(g, b, s.n));
  finish_body(g, s.body, &(wish){ .n = 1, .type = { type } });
  append_one(g, b, s, type);
}

/* Clock, condition and threshold of a while. */
static reference clock_start(generator *g, int b, bool integer) {
  statement s = blank(g, integer ? OP_CYCLE : OP_TANH);
  s.n_args = 1;
  s.c = 1, s.d = 0;
  s.arg[0] = need(g, b, scalar_type(integer ? AD_I64 : AD_F64));
  const reference r = append_one(g, b, s, scalar_type(integer ? AD_I64 : AD_F64));
  g->used[b][r.value] = true;
  return r;
}

static int condition_for(generator *g, int b, const statement *w, bool integer) {
  ad_type type[MOST_LIST];
  const int n = 1 + below(g, w->n_args),
            f = (param_types(g, b, w, type), new_body(g, b, n, type, g->repeated[b]*4));
  statement s = blank(g, integer ? OP_BELOW_INTEGER : OP_BELOW);
  s.n_args = 2;
  s.c = integer ? 2 + below(g, 6) : check_uniform(&g->state, -0.5, g->repeated[b] > 8 ? 0.5 : 1.5);
  s.arg[0] = (reference){ 0, 0 };
  if (chance(g, 0.3)) fill_body(g, f);
  s.arg[1] = need(g, f, type[0]);
  if (s.arg[1].up == 0 && s.arg[1].value == 0) s.arg[1] = (reference){ g->p->b[f].depth, integer ? 2 : 0 };
  g->p->b[f].out[g->p->b[f].n_outputs++] = append_one(g, f, s, scalar_type(AD_BOOL));
  return f;
}

static void add_while(generator *g, int b) {
  statement s = blank(g, OP_WHILE);
  const bool integer = chance(g, 0.25);
  wish w = { .n = 1, .type = { scalar_type(integer ? AD_I64 : AD_F64) } };
  set_options(g, &s);
  if (g->repeated[b] > MOST_REPEATED/6) return;
  s.arg[s.n_args++] = clock_start(g, b, integer);
  pick_states(g, b, &s, 1 + below(g, 2), &w);
  pick_shared(g, b, &s, below(g, 3));
  s.other = condition_for(g, b, &s, integer);
  s.n = 4;
  s.body = body_for(g, b, &s, &w);
  s.n = 0;
  body *f = &g->p->b[s.body];
  statement tick = blank(g, integer ? OP_TOCK : OP_TICK);
  tick.n_args = integer ? 1 : 2;
  tick.arg[0] = (reference){ 0, 0 };
  if (!integer) tick.arg[1] = need(g, s.body, scalar_type(AD_F64));
  f->out[0] = append_one(g, s.body, tick, w.type[0]);
  append(g, b, s, w.n, w.type);
}

typedef void adder(generator *g, int b);

static void add_carrier(generator *g, int b) {
  static adder *const some[] = { add_call, add_cond, add_map, add_map, add_scan, add_scan, add_reduce,
                                 add_while };
  const int before = g->p->n_bodies, kind = below(g, 8);
  some[kind](g, b);
  body *own = &g->p->b[b];
  if (own->n_statements && own->s[own->n_statements - 1].body >= before)
    own->s[own->n_statements - 1].inside = chance(g, 0.2);
}

/* --- bodies --------------------------------------------------------------------------------------------- */

static void fill_body(generator *g, int b) {
  static const double carriers[MOST_DEPTH + 1] = { 0.55, 0.30, 0.22, 0.12, 0 };
  static adder *const some[] = { add_unary, add_unary, add_binary, add_binary, add_binary, add_shape,
                                 add_conversion, add_choice };
  const int depth = g->p->b[b].depth, n = depth ? 1 + below(g, 5) : 3 + below(g, 5);
  for (int i = 0; i < n && has_room(g, b, 20) && g->p->b[b].n_statements < MOST_STATEMENTS - 18; i++) {
    if (chance(g, carriers[depth]) && g->p->n_bodies < MOST_CARRIERS) add_carrier(g, b);
    else some[below(g, 8)](g, b);
  }
}

static void add_inputs(generator *g) {
  const ad_type all[] = { scalar_type(AD_F64), vector_type(AD_F64, 3), with_axis(vector_type(AD_F64, 2), 4),
                          scalar_type(AD_I64), scalar_type(AD_BOOL), vector_type(AD_I64, 4),
                          vector_type(AD_F64, 1 + below(g, 6)), scalar_type(AD_F32), vector_type(AD_F32, 3) };
  body *own = &g->p->b[0];
  own->type[own->n_values++] = all[0];      /* and the third one are what can always be captured */
  own->type[own->n_values++] = chance(g, 0.5) ? all[1] : all[2];
  own->type[own->n_values++] = all[3];
  const int more = below(g, 4);
  for (int i = 0; i < more; i++) own->type[own->n_values++] = all[below(g, g->f32 ? 9 : 7)];
  if (g->f32) own->type[own->n_values++] = all[7];
  if (chance(g, 0.04)) own->type[own->n_values++] = vector_type(AD_F64, 0);
  own->n_params = own->n_values;
}

/* Outputs: floats that nobody uses, the last ones first; at least one. */
static void add_outputs(generator *g) {
  body *own = &g->p->b[0];
  for (int i = own->n_values; i-- > own->n_params && own->n_outputs < 5;)
    if (is_float(own->type[i]) && !g->used[0][i]) own->out[own->n_outputs++] = (reference){ 0, i };
  if (own->n_outputs == 0) own->out[own->n_outputs++] = need(g, 0, scalar_type(AD_F64));
}

static void generate_program(program *p, uint64_t seed) {
  static generator g;
  memset(&g, 0, sizeof g);
  g.p = p;
  g.state = seed;
  g.f32 = chance(&g, 0.15);
  memset(p, 0, sizeof *p);
  p->seed = seed;
  p->n_bodies = 1;
  p->b[0].parent = -1;
  g.repeated[0] = 1;
  add_inputs(&g);
  fill_body(&g, 0);
  add_outputs(&g);
}

#endif
