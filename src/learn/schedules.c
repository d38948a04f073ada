/* schedules.c -- factors of the rate, as recorded functions of the number of steps made. */
#include "adit/optimisers.h"
#include "adit/primitive.h"
#include "learn/hyperparameter.h"

static const double pi = 3.14159265358979323846;

ad_schedule (ad_schedule_steps)(int64_t period, ad_var factor) {
  return (ad_schedule){ .kind = AD_SCHEDULE_STEPS, .period = period, .factor = factor };
}

ad_schedule (ad_schedule_cosine)(int64_t period, ad_var end) {
  return (ad_schedule){ .kind = AD_SCHEDULE_COSINE, .period = period, .factor = end };
}

ad_schedule ad_schedule_own(ad_var (*own)(ad_var t, void *context), void *context) {
  return (ad_schedule){ .kind = AD_SCHEDULE_OWN, .own = own, .context = context };
}

ad_schedule ad_schedule_warmup(int64_t steps, ad_schedule then) {
  then.warmup = steps;
  return then;
}

/* t/period is a quotient of integers, so its floor is exact: a product with 1/period would not be. */
static ad_var steps_at(const ad_schedule *s, ad_var t) {
  return ad_pow(as_real(s->factor), ad_floor(ad_div(t, (double)s->period)));
}

static ad_var cosine_at(const ad_schedule *s, ad_var t) {
  const ad_var end = as_real(s->factor), u = ad_min(ad_div(t, (double)s->period), 1.0);
  const ad_var part = ad_mul(0.5, ad_add(1.0, ad_cos(ad_mul(pi, u))));
  return ad_add(end, ad_mul(ad_sub(1.0, end), part));
}

/* The schedule without its warm-up, at t >= 0. */
static ad_var main_part(const ad_schedule *s, ad_var t) {
  switch (s->kind) {
    case AD_SCHEDULE_STEPS:  return steps_at(s, t);
    case AD_SCHEDULE_COSINE: return cosine_at(s, t);
    case AD_SCHEDULE_OWN:    return s->own(t, s->context);
    default:                 return ad_real(1);
  }
}

/* NULL, or what is wrong with it. */
static const char *fault(const ad_schedule *s) {
  if (s->kind < AD_SCHEDULE_CONSTANT || s->kind > AD_SCHEDULE_OWN) return "no such kind";
  if (s->warmup < 0) return "a warm-up has at least 0 steps";
  if (s->kind == AD_SCHEDULE_OWN && !s->own) return "no function";
  if ((s->kind == AD_SCHEDULE_STEPS || s->kind == AD_SCHEDULE_COSINE) && s->period < 1)
    return "a period has at least 1 step";
  return NULL;
}

static bool is_scalar(ad_var x) { return is_literal(x) || ad_type_of(x).rank == 0; }

ad_var (ad_schedule_at)(const ad_schedule *s, ad_var step) {
  ad_tape *tape = is_literal(step) ? NULL : step.tape;
  const char *wrong = s ? fault(s) : "none";
  if (!wrong && !is_scalar(step)) wrong = "the number of steps is no scalar";
  if (!wrong && !is_scalar(s->factor)) wrong = "the factor is no scalar";
  if (wrong) return ad_fail(tape, AD_ERROR_ARGUMENT, "schedule: %s", wrong);
  const ad_var t = is_literal(step) ? as_real(step) : beside(step, AD_F64);
  if (s->warmup == 0) return main_part(s, t);
  const ad_var rise = ad_div(ad_add(t, 1.0), (double)s->warmup);
  const ad_var rest = main_part(s, ad_max(ad_sub(t, (double)s->warmup), 0.0));
  return ad_select(ad_less(t, (double)s->warmup), rise, rest);
}
