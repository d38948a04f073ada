/* optimisers.c -- what optimisers are made of, and the recording of their steps. */
#include "adit/optimisers.h"
#include "adit/arrays.h"
#include "adit/primitive.h"
#include "learn/hyperparameter.h"
#include "learn/parameters.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- making them ---------------------------------------------------------------------------------------- */

static ad_optimiser make(ad_optimiser_kind kind, ad_var rate, double beta2) {
  return (ad_optimiser){ .kind = kind, .rate = rate, .momentum = ad_real(0), .beta1 = ad_real(0.9),
                         .beta2 = ad_real(beta2), .epsilon = ad_real(1e-8), .decay = ad_real(0) };
}

ad_optimiser (ad_sgd)(ad_var rate) { return make(AD_SGD, rate, 0.999); }

ad_optimiser (ad_sgd_momentum)(ad_var rate, ad_var momentum, bool nesterov) {
  ad_optimiser o = make(AD_SGD, rate, 0.999);
  o.momentum = momentum;
  o.nesterov = nesterov;
  return o;
}

ad_optimiser (ad_rmsprop)(ad_var rate) { return make(AD_RMSPROP, rate, 0.99); }
ad_optimiser (ad_adam)(ad_var rate) { return make(AD_ADAM, rate, 0.999); }

ad_optimiser (ad_adamw)(ad_var rate, ad_var decay) {
  ad_optimiser o = make(AD_ADAMW, rate, 0.999);
  o.decay = decay;
  return o;
}

const char *ad_optimiser_name(const ad_optimiser *o) {
  static const char *const name[] = { "sgd", "rmsprop", "adam", "adamw" };
  return o && (unsigned)o->kind < sizeof name/sizeof *name ? name[o->kind] : "?";
}

/* --- the state ------------------------------------------------------------------------------------------ */

static const char *const momentum_slot = "momentum", *const mean_slot = "mean", *const square_slot = "square";

static bool has_momentum(const ad_optimiser *o) { return !is_number(o->momentum, 0); }

int ad_optimiser_slots(const ad_optimiser *o) {
  switch (o->kind) {
    case AD_SGD:     return has_momentum(o);
    case AD_RMSPROP: return 1 + has_momentum(o);
    default:         return 2;
  }
}

const char *ad_optimiser_slot_name(const ad_optimiser *o, int slot) {
  if (slot < 0 || slot >= ad_optimiser_slots(o)) return NULL;
  switch (o->kind) {
    case AD_SGD:     return momentum_slot;
    case AD_RMSPROP: return slot == 0 ? square_slot : momentum_slot;
    default:         return slot == 0 ? mean_slot : square_slot;
  }
}

int ad_optimiser_state_count(const ad_optimiser *o, int n) { return 1 + ad_optimiser_slots(o)*n; }

void ad_optimiser_state_types(const ad_optimiser *o, int n, const ad_type parameter[], ad_type state[]) {
  state[0] = ad_type_make(AD_I64, 0, NULL);
  for (int k = 0; k < ad_optimiser_slots(o); k++)
    for (int i = 0; i < n; i++) state[1 + k*n + i] = parameter[i];
}

static ad_status add_slot(ad_parameters *state, const char *slot, const ad_parameters *p) {
  char name[256];
  for (int i = 0; i < ad_parameters_entries(p); i++) {
    snprintf(name, sizeof name, "%s/%s", slot, ad_parameters_name(p, i));
    if (ad_parameters_add(state, name, ad_parameters_type(p, i), ad_init_zeros()) < 0)
      return ad_parameters_status(state);
  }
  return AD_OK;
}

ad_parameters *ad_optimiser_state(const ad_optimiser *o, const ad_parameters *p) {
  ad_parameters *state = p ? ad_parameters_new_with(&p->allocator) : NULL;
  if (!state) return NULL;
  ad_parameters_add(state, "step", ad_type_make(AD_I64, 0, NULL), ad_init_zeros());
  for (int k = 0; k < ad_optimiser_slots(o); k++) add_slot(state, ad_optimiser_slot_name(o, k), p);
  if (ad_parameters_status(state) == AD_OK) return state;
  ad_parameters_free(state);
  return NULL;
}

/* --- what is checked ------------------------------------------------------------------------------------ */

static ad_status refuse(const ad_optimiser *o, ad_tape *t, const char *what, ad_var x, const char *range) {
  if (is_literal(x)) ad_fail(t, AD_ERROR_ARGUMENT, "%s: %s is %g, not %s", ad_optimiser_name(o), what,
                             literal_value(x), range);
  else ad_fail(t, AD_ERROR_ARGUMENT, "%s: %s is no scalar", ad_optimiser_name(o), what);
  return AD_ERROR_ARGUMENT;
}

/* Literals are at least 0, and below 1 if they are to be; variables are scalars. */
static ad_status check_number(const ad_optimiser *o, ad_tape *t, const char *what, ad_var x, bool below_one) {
  const double value = is_literal(x) ? literal_value(x) : 0;
  if (!is_literal(x) && !ad_is_valid(x)) return AD_ERROR_HANDLE;
  const bool in_range = value >= 0 && (below_one ? value < 1 : isfinite(value));
  const bool good = is_literal(x) ? in_range : ad_type_of(x).rank == 0;
  return good ? AD_OK : refuse(o, t, what, x, below_one ? "in [0, 1)" : "a finite number >= 0");
}

static ad_status check_numbers(const ad_optimiser *o, ad_tape *t) {
  const struct { const char *name; ad_var x; bool below_one; } number[] = {
    { "the rate", o->rate, false },   { "the momentum", o->momentum, true }, { "beta1", o->beta1, true },
    { "beta2", o->beta2, true },      { "epsilon", o->epsilon, false },      { "the decay", o->decay, false }
  };
  for (size_t k = 0; k < sizeof number/sizeof *number; k++) {
    const ad_status status = check_number(o, t, number[k].name, number[k].x, number[k].below_one);
    if (status != AD_OK) return status;
  }
  if ((unsigned)o->kind > AD_ADAMW) {
    ad_fail(t, AD_ERROR_ARGUMENT, "optimiser: no such kind");
    return AD_ERROR_ARGUMENT;
  }
  if (!o->nesterov || has_momentum(o)) return AD_OK;
  ad_fail(t, AD_ERROR_ARGUMENT, "%s: nesterov needs momentum", ad_optimiser_name(o));
  return AD_ERROR_ARGUMENT;
}

/* x has the type of parameter i. */
static ad_status check_like(const ad_optimiser *o, const char *what, int i, ad_var x, ad_type want) {
  char is[192], wanted[192];
  const ad_type type = ad_type_of(x);
  if (type.rank < 0) return AD_ERROR_HANDLE;
  if (ad_type_equal(type, want)) return AD_OK;
  const ad_status status = type.dtype == want.dtype ? AD_ERROR_SHAPE : AD_ERROR_DTYPE;
  ad_fail(x.tape, status, "%s: %s of parameter %d is %s, not %s", ad_optimiser_name(o), what, i,
          ad_type_print(type, is, sizeof is), ad_type_print(want, wanted, sizeof wanted));
  return status;
}

static ad_status check_parameter(const ad_optimiser *o, int n, int i, const ad_var p[], const ad_var g[],
                                 const ad_var state[]) {
  char is[192];
  const ad_type type = is_literal(p[i]) ? (ad_type){ .rank = -1 } : ad_type_of(p[i]);
  if (type.rank < 0) return AD_ERROR_HANDLE;
  if (type.dtype != AD_F32 && type.dtype != AD_F64) {
    ad_fail(p[i].tape, AD_ERROR_DTYPE, "%s: parameter %d is %s, no float", ad_optimiser_name(o), i,
            ad_type_print(type, is, sizeof is));
    return AD_ERROR_DTYPE;
  }
  ad_status status = ad_is_none(g[i]) ? AD_OK : check_like(o, "the gradient", i, g[i], type);
  for (int k = 0; k < ad_optimiser_slots(o) && status == AD_OK; k++)
    status = check_like(o, ad_optimiser_slot_name(o, k), i, state[1 + k*n + i], type);
  return status;
}

static ad_status check(const ad_optimiser *o, ad_tape *t, int n, const ad_var p[], const ad_var g[],
                       const ad_var state[]) {
  const ad_type count = is_literal(state[0]) ? (ad_type){ .rank = -1 } : ad_type_of(state[0]);
  ad_status status = check_numbers(o, t);
  if (status == AD_OK && !ad_type_equal(count, ad_type_make(AD_I64, 0, NULL))) {
    ad_fail(t, AD_ERROR_DTYPE, "%s: the number of steps is no i64 scalar", ad_optimiser_name(o));
    status = AD_ERROR_DTYPE;
  }
  for (int i = 0; i < n && status == AD_OK; i++) status = check_parameter(o, n, i, p, g, state);
  return status;
}

/* --- the formulas --------------------------------------------------------------------------------------- */

/* What all parameters have in common in one step: f64 scalars, or literals. */
typedef struct step_numbers {
  ad_var rate;                      /* times schedule */
  ad_var momentum, beta1, beta2, decay;
  ad_var scale, epsilon;            /* of adam: see adam_update */
} step_numbers;

/* sqrt, and 0 with slope 0 where v is 0. nan stays nan. */
static ad_var root(ad_var v) { return ad_select(ad_equal(v, 0.0), 0.0, ad_sqrt(v)); }

/* a x + (1 - a) y */
static ad_var average(ad_var a, ad_var x, ad_var y) {
  return ad_add(ad_mul(a, x), ad_mul(ad_sub(1.0, a), y));
}

static step_numbers numbers_of(const ad_optimiser *o, ad_var count, ad_var made) {
  step_numbers s = { .rate = ad_mul(as_real(o->rate), ad_schedule_at(&o->schedule, made)),
                     .momentum = as_real(o->momentum), .beta1 = as_real(o->beta1), .beta2 = as_real(o->beta2),
                     .decay = as_real(o->decay), .epsilon = as_real(o->epsilon) };
  if (o->kind == AD_SGD || o->kind == AD_RMSPROP) return s;
  const ad_var t = ad_cast(count, AD_F64);
  const ad_var correction = ad_sqrt(ad_sub(1.0, ad_pow(s.beta2, t)));
  s.scale = ad_div(ad_mul(s.rate, correction), ad_sub(1.0, ad_pow(s.beta1, t)));
  s.epsilon = ad_mul(s.epsilon, correction);
  return s;
}

static step_numbers numbers_beside(const step_numbers *s, ad_dtype dtype) {
  return (step_numbers){ beside(s->rate, dtype),  beside(s->momentum, dtype), beside(s->beta1, dtype),
                         beside(s->beta2, dtype), beside(s->decay, dtype),    beside(s->scale, dtype),
                         beside(s->epsilon, dtype) };
}

/* p - r b', with b' = momentum b + u in *b; b NULL: p - r u. */
static ad_var descend(const ad_optimiser *o, const step_numbers *s, ad_var p, ad_var u, ad_var *b) {
  if (b) {
    *b = ad_add(ad_mul(s->momentum, *b), u);
    u = o->nesterov ? ad_add(u, ad_mul(s->momentum, *b)) : *b;
  }
  return ad_sub(p, ad_mul(s->rate, u));
}

/* With c1 = 1 - beta1^t and c2 = 1 - beta2^t,
 *
 *   r (m/c1)/(sqrt(v/c2) + epsilon) = (r sqrt(c2)/c1) m/(sqrt(v) + epsilon sqrt(c2)),
 *
 * which is one division for each element (Kingma and Ba, end of section 2). */
static ad_var adam_update(const step_numbers *s, ad_var p, ad_var g, ad_var *m, ad_var *v) {
  *m = average(s->beta1, *m, g);
  *v = average(s->beta2, *v, ad_square(g));
  return ad_sub(p, ad_mul(s->scale, ad_div(*m, ad_add(root(*v), s->epsilon))));
}

/* The new p; slot[] is the state of this parameter, old and then new. */
static ad_var update(const ad_optimiser *o, const step_numbers *s, ad_var p, ad_var g, ad_var slot[2]) {
  if (!is_number(s->decay, 0)) {
    if (o->kind == AD_ADAMW) p = ad_mul(p, ad_sub(1.0, ad_mul(s->rate, s->decay)));
    else g = ad_add(g, ad_mul(s->decay, p));
  }
  const bool momentum = has_momentum(o);
  switch (o->kind) {
    case AD_SGD: return descend(o, s, p, g, momentum ? &slot[0] : NULL);
    case AD_RMSPROP:
      slot[0] = average(s->beta2, slot[0], ad_square(g));
      return descend(o, s, p, ad_div(g, ad_add(root(slot[0]), s->epsilon)), momentum ? &slot[1] : NULL);
    default: return adam_update(s, p, g, &slot[0], &slot[1]);
  }
}

/* --- recording ------------------------------------------------------------------------------------------ */

static void step_one(const ad_optimiser *o, const step_numbers *s, int n, int i, const ad_var parameter[],
                     const ad_var gradient[], const ad_var state[], ad_var parameter_out[],
                     ad_var state_out[]) {
  const int slots = ad_optimiser_slots(o);
  ad_var slot[2], p = parameter[i];
  for (int k = 0; k < slots; k++) slot[k] = state[1 + k*n + i];
  if (!ad_is_none(gradient[i])) {
    const step_numbers near = numbers_beside(s, ad_type_of(p).dtype);
    p = update(o, &near, p, gradient[i], slot);
  }
  for (int k = 0; k < slots; k++) state_out[1 + k*n + i] = slot[k];
  parameter_out[i] = p;
}

static ad_status give_nothing(ad_tape *t, ad_status status, int n, ad_var parameter_out[], int m,
                              ad_var state_out[]) {
  const ad_var nothing = ad_fail(t, status, "optimiser: an operand is invalid");
  for (int i = 0; i < n; i++) parameter_out[i] = nothing;
  for (int i = 0; i < m; i++) state_out[i] = nothing;
  return status;
}

ad_status ad_optimiser_step(const ad_optimiser *o, int n, const ad_var parameter[], const ad_var gradient[],
                            const ad_var state[], ad_var parameter_out[], ad_var state_out[]) {
  if (!o || n < 0 || !state || !state_out || (n && (!parameter || !gradient || !parameter_out)))
    return AD_ERROR_ARGUMENT;
  const int m = ad_optimiser_state_count(o, n);
  ad_tape *t = ad_tape_of(m, state);
  ad_status status = check(o, t, n, parameter, gradient, state);
  if (status != AD_OK) return give_nothing(t, status, n, parameter_out, m, state_out);
  const ad_var made = state[0], count = ad_add(made, 1);
  const step_numbers s = numbers_of(o, count, made);
  for (int i = 0; i < n; i++) step_one(o, &s, n, i, parameter, gradient, state, parameter_out, state_out);
  state_out[0] = count;
  status = ad_is_valid(count) ? AD_OK : AD_ERROR_HANDLE;
  for (int i = 0; i < n; i++)
    if (!ad_is_valid(parameter_out[i])) status = ad_tape_status(t);
  return status == AD_OK ? AD_OK : give_nothing(t, status, n, parameter_out, m, state_out);
}
