/* implicit.c -- solutions of equations as C: what the iterations share. */
#include "write/implicit.h"
#include "function/ode.h"

#include <stdio.h>
#include <string.h>

/* --- routines ------------------------------------------------------------------------------------------- */

static const char largest_text[] =
  "/* The largest magnitude, nan if there is one. */\n"
  "static REAL HELPER(largest_magnitude)(int64_t n, const REAL *x) {\n"
  "  REAL most = 0;\n"
  "  for (int64_t i = 0; i < n; i++) {\n"
  "    if (isnan(x[i])) return x[i];\n"
  "    most = MATH(fmax)(most, MATH(fabs)(x[i]));\n"
  "  }\n"
  "  return most;\n"
  "}\n";

static const char norm_text[] =
  "/* The Euclidean norm, without overflow. */\n"
  "static REAL HELPER(euclidean_norm)(int64_t n, const REAL *x) {\n"
  "  const REAL most = HELPER(largest_magnitude)(n, x);\n"
  "  REAL sum = 0;\n"
  "  if (!(most > 0) || isinf(most)) return most;\n"
  "  for (int64_t i = 0; i < n; i++) sum += (x[i]/most)*(x[i]/most);\n"
  "  return most*MATH(sqrt)(sum);\n"
  "}\n";

static const char small_text[] =
  "/* Is a step of that length small beside x, or beside the rounding of the largest x met? */\n"
  "static int HELPER(step_is_small)(int64_t n, const REAL *x, REAL met, REAL epsilon, REAL length,\n"
  "                                 REAL relative) {\n"
  "  const REAL size = HELPER(largest_magnitude)(n, x), zero = 1024*epsilon*met;\n"
  "  return length <= relative*size || (size <= zero && length <= zero);\n"
  "}\n";

void iteration_routine(iteration_text *s, char name[WRITE_NAME], const char *id, const char *lines) {
  snprintf(name, WRITE_NAME, "%s", ad_write_routine(s->c->u->w, AD_F64, id, lines));
}

/* --- the point ------------------------------------------------------------------------------------------ */

/* A real of the options as it stands in the text. */
static void write_real(iteration_text *s, const char *name, double value) {
  text t = text_on(&s->c->u->w->allocator);
  put_literal(&t, AD_F64, &value, false);
  unit_line(s->c->u, "const R %s = %s;", name, text_of(&t));
  s->c->u->failed |= t.failed;
  written_free(&t);
}

void iteration_vector(iteration_text *s, const char *name, int64_t n) {
  unit_line(s->c->u, "R *const %s = %s;", name, unit_take(s->c->u, AD_F64, n));
}

/* In a file whose R is float, R is as exact as f32, and tolerances of doubles cannot be kept. */
static void write_tolerances(iteration_text *s, const char *least) {
  unit *u = s->c->u;
  if (s->a->exact == AD_F64) {
    unit_line(u, "const R epsilon = sizeof(R) == sizeof(float) ? (R)0x1p-23 : (R)0x1p-52;");
    write_real(s, "asked", s->a->relative);
    unit_line(u, "const R relative = sizeof(R) == sizeof(float) && asked < (R)%s ? (R)%s : asked;", least,
              least);
  } else {
    unit_line(u, "const R epsilon = (R)0x1p-23;");
    write_real(s, "relative", s->a->relative);
  }
  write_real(s, "absolute", s->a->absolute);
}

void iteration_text_open(iteration_text *s, carrier_text *c, const implicit *a, const char *least) {
  const ad_type *x = &node_type(a->residual->body, a->residual->in[0])->type;
  *s = (iteration_text){ .c = c, .a = a, .n = ad_type_count(*x), .dtype = x->dtype };
  iteration_routine(s, s->largest, "largest_magnitude", largest_text);
  iteration_routine(s, s->norm, "euclidean_norm", norm_text);
  iteration_routine(s, s->small, "step_is_small", small_text);
  write_tolerances(s, least);
  iteration_vector(s, "at", s->n);
  if (s->dtype == AD_F32) unit_line(c->u, "float *const place = %s;", unit_take(c->u, AD_F32, s->n));
  if (a->exact == AD_F32) {           /* a Jacobian is the greatest answer; of an f64 unknown, the value */
    const int64_t most = s->dtype == AD_F32 ? s->n*s->n : 1;
    unit_line(c->u, "float *const answer = %s;", unit_take(c->u, AD_F32, most));
  }
  unit_copy(c->u, "at", c->x[0], s->n);
  unit_line(c->u, "R met = %s(%lld, at);", s->largest, (long long)s->n);
}

/* to[i] = (type)from[i] */
static void convert(iteration_text *s, ad_dtype type, const char *to, const char *from, int64_t n) {
  unit_line(s->c->u, "for (int64_t i = 0; i < %lld; i++) %s[i] = (%s)%s[i];", (long long)n, to,
            write_type(type), from);
}

/* What f does not look at is given to it as an argument that the text leaves out. */
bool iteration_value(iteration_text *s, ad_function *f, const char *from, const char *to, int64_t count) {
  unit *u = s->c->u;
  const bool wide = s->dtype == AD_F64, same = node_type(f->body, f->out[0])->type.dtype == AD_F64;
  argument_texts p;
  const unit_info *callee = text_unit(s->c, f, NULL);
  if (!callee) return false;
  bool good = arguments_open(&p, u->w, f->n_in, 1);
  if (good) {
    if (!wide) convert(s, AD_F32, "place", from, s->n);
    set_in(&p, 0, wide ? from : "place");
    for (int k = 1; k < f->n_in; k++) set_in(&p, k, s->c->x[k]);
    set_out(&p, 0, same ? to : "answer");
    unit_call(u, callee, p.in, p.out);
    if (!same) convert(s, AD_F64, to, "answer", count);
  }
  arguments_close(&p);
  return good;
}

void iteration_advance(iteration_text *s, const char *to, const char *base, const char *a, const char *step) {
  const char *round = s->dtype == AD_F64 ? "" : "(R)(float)";
  const long long n = (long long)s->n;
  if (a) unit_line(s->c->u, "for (int64_t i = 0; i < %lld; i++) %s[i] = %s(%s[i] + %s*%s[i]);", n, to, round,
                   base, a, step);
  else unit_line(s->c->u, "for (int64_t i = 0; i < %lld; i++) %s[i] = %s%s[i];", n, to, round, base);
}

void iteration_goto(iteration_text *s, const char *to) {
  unit_copy(s->c->u, "at", to, s->n);
  unit_line(s->c->u, "met = M(fmax)(met, %s(%lld, at));", s->largest, (long long)s->n);
}

void iteration_failure(iteration_text *s, const char *condition, ad_status status, const char *why) {
  char format[160];
  snprintf(format, sizeof format, ": %s after %%lld iterations, residual %%.3g", why);
  unit_fail(s->c->u, condition, status, &(failure){ s->name, format, "k", s->residual });
}

void iteration_result(iteration_text *s, const char *from) {
  convert(s, s->dtype, s->c->z[0], from, s->n);
}

/* --- which operation ------------------------------------------------------------------------------------ */

static bool write_iteration(carrier_text *c, const ad_operation *op, const char *least,
                            bool (*write)(iteration_text *s)) {
  const implicit *a = op->attribute;
  iteration_text s;
  if (ad_type_count(node_type(a->residual->body, a->residual->in[0])->type) == 0) return true;
  iteration_text_open(&s, c, a, least);
  s.name = op->primitive->name;
  return write(&s);
}

/* The adjoint is an operation of its own. */
static bool write_integration(carrier_text *c, const ode_pair *p) {
  const unit_info *callee = text_unit(c, p->flow, NULL);
  if (callee) unit_call(c->u, callee, c->x, c->z);
  return callee != NULL;
}

bool is_iteration(const ad_operation *op) {
  const tuple_rules *rules = op->primitive->tuple;
  return rules->run == root_run || rules->run == fixed_point_run || rules->run == minimize_run;
}

bool is_integration(const ad_operation *op) { return op->primitive->tuple->run == ode_run; }

bool write_solution(carrier_text *c, const ad_operation *op) {
  const tuple_rules *rules = op->primitive->tuple;
  if (c->results == 0 || !c->z[0]) return true;
  if (is_integration(op)) return write_integration(c, op->attribute);
  if (rules->run == root_run) return write_iteration(c, op, "1e-4", write_root);
  if (rules->run == minimize_run) return write_iteration(c, op, "1e-4", write_minimize);
  return write_iteration(c, op, "1e-6", write_fixed_point);
}
