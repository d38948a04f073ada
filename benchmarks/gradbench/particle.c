/* particle.c -- where to put a charge so that a particle falls to the origin: descent over Euler's method,
 * whose force is a derivative too; each of the two in a mode of its own. Source: as in saddle.c. */
#include "descent.h"
#include "job.h"

typedef struct modes { mode outer, inner; } modes;

static ad_var distance(ad_var x, ad_var y, double px, ad_var py) {
  return ad_sqrt(ad_add(ad_square(ad_sub(x, px)), ad_square(ad_sub(y, py))));
}

/* The potential of charges at (10, 10 - w) and (10, 0). */
static ad_var potential(ad_var at, ad_var w) {
  const ad_var x = ad_at(at, 1, (const int64_t[]){ 0 }), y = ad_at(at, 1, (const int64_t[]){ 1 });
  return ad_add(ad_reciprocal(distance(x, y, 10, ad_sub(10, w))),
                ad_reciprocal(distance(x, y, 10, ad_real(0))));
}

enum { POSITION, VELOCITY, FALLS, WHERE };

static void falls(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = in[FALLS];
}

/* (position, velocity, falls, w) -> one step of 1/10 later, unless that is below the axis. */
static void fall(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const double step = 0.1;
  const int64_t height = 1;
  const ad_var force = ad_neg(descent_gradient(*(const mode *)context, potential(in[POSITION], in[WHERE]),
                                               in[POSITION]));
  const ad_var next = ad_add(in[POSITION], ad_mul(step, in[VELOCITY]));
  const ad_var above = ad_logical_not(ad_less(ad_at(next, 1, &height), 0));
  (void)t;
  out[POSITION] = ad_select(above, next, in[POSITION]);
  out[VELOCITY] = ad_select(above, ad_add(in[VELOCITY], ad_mul(step, force)), in[VELOCITY]);
  out[FALLS] = above;
}

/* w (a vector of one) -> the square of where the path crosses the axis. */
static void miss(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const modes *how = context;
  const int64_t zero = 0, one = 1;
  mode inner = how->inner;
  const ad_type types[4] = { AD_F64(2), AD_F64(2), AD_BOOL(), AD_F64() };
  ad_function *condition = ad_function_trace("falls", falls, NULL, 4, types, 1);
  ad_function *body = ad_function_trace("fall", fall, &inner, 4, types, 3);
  ad_var end[3];
  ad_while(condition, body, &(ad_loop){ .limit = 1000000 },
           (const ad_var[]){ ad_constant(t, AD_F64(2), (const double[]){ 0, 8 }),
                             ad_constant(t, AD_F64(2), (const double[]){ 0.75, 0 }),
                             ad_constant(t, AD_BOOL(), &(bool){ true }), ad_at(in[0], 1, &zero) }, end);
  ad_function_free(body);
  ad_function_free(condition);
  const ad_var last = ad_div(ad_neg(ad_at(end[POSITION], 1, &one)), ad_at(end[VELOCITY], 1, &one));
  out[0] = ad_square(ad_add(ad_at(end[POSITION], 1, &zero), ad_mul(last, ad_at(end[VELOCITY], 1, &zero))));
}

static void place(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const modes *how = context;
  const ad_type w = AD_F64(1);
  ad_function *f = ad_function_trace("miss", miss, context, 1, &w, 1);
  ad_var least = ad_none();
  descent(t, f, how->outer, 1, in, &least);
  out[0] = ad_at(least, 1, (const int64_t[]){ 0 });
  ad_function_free(f);
}

static bool prepare(job *j, const json_t *input) {
  static const modes all[4] = { { FORWARD, FORWARD }, { FORWARD, REVERSE }, { REVERSE, FORWARD },
                                { REVERSE, REVERSE } };
  modes how = all[j->function];
  const ad_type w = AD_F64(1);
  double *start = add_input(j, w);
  return start && read_number(j, input, "w", start)
         && job_take(j, ad_function_trace("particle", place, &how, 1, &w, 1));
}

static json_t *answer(const job *j) { return answer_number(j, 0); }

const evaluation evaluation_particle = { "particle", { "ff", "fr", "rf", "rr" }, prepare, answer };
