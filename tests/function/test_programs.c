/* test_programs.c -- random programs with loops, branches, maps and calls: their values and derivatives, to
 * third order, by all modes, against those of the same program unrolled.
 *
 *     ADIT_PROGRAMS=n         how many
 *     ADIT_PROGRAM_SEED=s     the first one's seed: with ADIT_PROGRAMS=1 that program alone
 *
 * A program that fails is made smaller while it fails in the same way, and printed. function/program.h says
 * what programs are; program_run.h runs them in both ways. Derivatives are compared as functions: the same
 * chain of ad_function_jvp and ad_function_vjp is applied to both, at arbitrary
 * inputs, tangents and cotangents. */
#include "check.h"
#include "function/program.h"
#include "function/program_generate.h"
#include "function/program_run.h"
#include "function/program_shrink.h"

#include <math.h>

/* Taylor series of loops and branches. */
enum { WITH_TAYLOR = 1 };

enum { MOST_PORTS = 128, INSTANCES = 3, TAYLOR_ORDER = 4 };

/* --- arrays in order ------------------------------------------------------------------------------------ */

typedef struct bundle {
  int n;
  ad_type type[MOST_PORTS];
  double data[MOST_PORTS][MOST_ELEMENTS*INSTANCES];
} bundle;

static double largest(const bundle *x) {
  double most = 0;
  for (int k = 0; k < x->n; k++)
    for (int64_t i = 0; i < ad_type_count(x->type[k]); i++) {
      const double v = fabs(check_element(x->type[k].dtype, x->data[k], i));
      if (!(v <= most)) most = v;
    }
  return most;
}

/* The worst difference, relative to 1 + the largest element of all. */
static double distance(const bundle *got, const bundle *want) {
  const double scale = 1 + largest(want);
  double most = 0;
  for (int k = 0; k < want->n; k++)
    for (int64_t i = 0; i < ad_type_count(want->type[k]); i++) {
      const double e = fabs(check_element(got->type[k].dtype, got->data[k], i)
                            - check_element(want->type[k].dtype, want->data[k], i))/scale;
      if (!(e <= most)) most = e;
    }
  return most;
}

static void randomize(bundle *x, int from, int to, uint64_t *state) {
  for (int k = from; k < to; k++)
    for (int64_t i = 0; i < ad_type_count(x->type[k]); i++) {
      double v = check_uniform(state, -1.5, 1.5);
      if (x->type[k].dtype == AD_I64) v = check_below(state, 9) - 2;
      if (x->type[k].dtype == AD_BOOL) v = check_below(state, 2);
      check_set_element(x->type[k].dtype, x->data[k], i, v);
    }
}

static void set_inputs(bundle *x, ad_function *f) {
  x->n = ad_function_inputs(f);
  for (int k = 0; k < x->n; k++) x->type[k] = ad_function_input_type(f, k);
}

/* --- a program under test ------------------------------------------------------------------------------- */

enum { CHECKS = 13 };
static const char *const check_names[CHECKS] = {
  "recording", "value", "jvp", "vjp", "transposition", "second order", "Hessian times vector", "policies",
  "tape", "replay", "map", "third order", "Taylor"
};

typedef struct subject {
  const program *p;
  liveness live;
  machine carried, unrolled;
  uint64_t state;
  ad_function *f, *u;               /* the program in both ways */
  bundle x;
  double tolerance, repeated;       /* the second one: of the same computation done again */
  int failed;                       /* which check, -1: none */
  char text[300];
} subject;

static long done[CHECKS], wild[CHECKS], node_count[OPERATIONS];
static double worst[CHECKS];

static bool fail(subject *s, int check, const char *format, ...) {
  va_list list;
  if (s->failed >= 0) return false;
  s->failed = check;
  va_start(list, format);
  vsnprintf(s->text, sizeof s->text, format, list);
  va_end(list);
  return false;
}

static bool call(subject *s, int check, ad_function *f, const bundle *in, bundle *out) {
  const void *x[MOST_PORTS];
  void *z[MOST_PORTS];
  for (int k = 0; k < in->n; k++) x[k] = in->data[k];
  out->n = ad_function_outputs(f);
  for (int j = 0; j < out->n; j++) out->type[j] = ad_function_output_type(f, j), z[j] = out->data[j];
  ad_workspace *w = ad_workspace_new();
  const ad_status status = ad_function_call(f, x, z, w);
  if (status != AD_OK) fail(s, check, "%s: %s (%s)", ad_function_name(f), ad_status_sentence(status),
                            ad_workspace_message(w));
  ad_workspace_free(w);
  return status == AD_OK;
}

static bool compare(subject *s, int check, const char *what, const bundle *got, const bundle *want,
                    double tolerance) {
  if (!(largest(want) < 1e6)) {
    wild[check]++;
    return true;
  }
  const double far = distance(got, want);
  if (!(far <= tolerance)) return fail(s, check, "%s is off by %.3g", what, far);
  if (far > worst[check]) worst[check] = far;
  return true;
}

/* --- the two ways --------------------------------------------------------------------------------------- */

static void whole_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  run_program(context, t, in, out);
}

static ad_function *trace_program(subject *s, machine *m) {
  const body *own = &s->p->b[0];
  ad_report report;
  ad_function *f = ad_function_trace_report("program", whole_body, m, own->n_params, own->type,
                                            own->n_outputs, &report);
  if (!f) fail(s, 0, "%s (%s)", report.message, m->error);
  return f;
}

static void put_inputs(ad_tape *t, const bundle *x, ad_var in[]) {
  for (int k = 0; k < x->n; k++) in[k] = ad_array(t, x->type[k], x->data[k]);
}

static ad_function *unroll_program(subject *s) {
  ad_tape *t = ad_tape_new();
  ad_var in[MOST_LIST*2], out[MOST_LIST];
  const body *own = &s->p->b[0];
  put_inputs(t, &s->x, in);
  run_program(&s->unrolled, t, in, out);
  ad_function *u = ad_function_new("unrolled", own->n_params, in, own->n_outputs, out);
  if (!u) fail(s, 0, "unrolled: %s", ad_tape_message(t));
  ad_tape_free(t);
  return u;
}

static bool open_subject(subject *s, const program *p, long *count) {
  s->p = p;
  s->failed = -1;
  s->state = p->seed ^ 0x5EED;
  find_live(p, &s->live);
  s->carried = (machine){ .p = p, .live = &s->live, .policy = -1, .count = count };
  s->unrolled = (machine){ .p = p, .live = &s->live, .policy = -1, .unrolled = true };
  s->f = s->u = NULL;
  s->x.n = p->b[0].n_params;
  bool f32 = false;
  for (int b = 0; b < p->n_bodies; b++)
    for (int i = 0; i < p->b[b].n_values; i++) f32 |= s->live.value[b][i] && p->b[b].type[i].dtype == AD_F32;
  s->tolerance = f32 ? 1e-3 : 1e-10;
  s->repeated = f32 ? 1e-4 : 1e-12;
  for (int k = 0; k < s->x.n; k++) s->x.type[k] = p->b[0].type[k];
  randomize(&s->x, 0, s->x.n, &s->state);
  s->f = trace_program(s, &s->carried);
  s->carried.count = NULL;
  if (s->f) s->u = unroll_program(s);
  if (s->carried.wrong_type || s->unrolled.wrong_type) fail(s, 0, "a value has another type than was said");
  done[0]++;
  return s->f && s->u && s->failed < 0;
}

static void close_subject(subject *s) {
  ad_function_free(s->f);
  ad_function_free(s->u);
}

/* --- chains of derivatives ------------------------------------------------------------------------------ */

/* "jv": the jvp of the vjp of f. */
static ad_function *derive(subject *s, int check, ad_function *f, const char *chain) {
  f = ad_function_retain(f);
  for (size_t i = strlen(chain); i-- > 0 && f;) {
    ad_function *d = chain[i] == 'j' ? ad_function_jvp(f) : ad_function_vjp(f);
    if (!d) fail(s, check, "%s has no %s", ad_function_name(f), chain[i] == 'j' ? "jvp" : "vjp");
    ad_function_free(f);
    f = d;
  }
  return f;
}

/* Derivatives of long unrolled programs take their time. */
static bool too_long(const subject *s, size_t order) {
  return ad_function_size(s->u) > (order < 3 ? 4000u : 600u);
}

static bool check_chain(subject *s, int check, const char *chain) {
  static bundle in, got, want;
  if (strlen(chain) > 1 && too_long(s, strlen(chain))) return true;
  ad_function *f = derive(s, check, s->f, chain), *u = f ? derive(s, check, s->u, chain) : NULL;
  bool good = f && u;
  if (good) {
    set_inputs(&in, f);
    memcpy(in.data, s->x.data, (size_t)s->x.n*sizeof in.data[0]);
    randomize(&in, s->x.n, in.n, &s->state);
    good = call(s, check, f, &in, &got) && call(s, check, u, &in, &want)
           && compare(s, check, chain[0] ? chain : "value", &got, &want, s->tolerance);
  }
  done[check]++;
  ad_function_free(f);
  ad_function_free(u);
  return good;
}

/* <u, J v> = <J^T u, v> */
static double product(const bundle *x, int at, const bundle *y, int behind, int n) {
  double sum = 0;
  for (int k = 0; k < n; k++) {
    const ad_type type = x->type[at + k];
    for (int64_t i = 0; i < ad_type_count(type) && is_float(type); i++)
      sum += check_element(type.dtype, x->data[at + k], i)*check_element(type.dtype, y->data[behind + k], i);
  }
  return sum;
}

static bool check_transposition(subject *s) {
  static bundle x, y, dot, bar;
  ad_function *j = derive(s, 4, s->f, "j"), *v = derive(s, 4, s->f, "v");
  const int n = s->x.n, m = ad_function_outputs(s->f);
  bool good = j && v;
  if (good) {
    set_inputs(&x, j);
    set_inputs(&y, v);
    memcpy(x.data, s->x.data, (size_t)n*sizeof x.data[0]);
    memcpy(y.data, s->x.data, (size_t)n*sizeof y.data[0]);
    randomize(&x, n, x.n, &s->state);
    randomize(&y, n, y.n, &s->state);
    good = call(s, 4, j, &x, &dot) && call(s, 4, v, &y, &bar);
  }
  if (good) {
    const double a = product(&dot, m, &y, n, m), b = product(&bar, m, &x, n, n),
                 scale = 1 + largest(&dot) + largest(&bar);
    if (!(scale < 1e6)) wild[4]++;
    else if (!(fabs(a - b) <= s->tolerance*scale))
      good = fail(s, 4, "<u, J v> is %.17g, <J^T u, v> is %.17g", a, b);
    else if (fabs(a - b)/scale > worst[4]) worst[4] = fabs(a - b)/scale;
  }
  done[4]++;
  ad_function_free(j);
  ad_function_free(v);
  return good;
}

/* --- one number: gradients and Hessians ----------------------------------------------------------------- */

static void number_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y[MOST_LIST];
  ad_function *f = context;
  ad_function_apply(f, in, y);
  out[0] = sum_up(t, ad_function_outputs(f), y);
}

static ad_function *number_of(subject *s, int check, ad_function *f) {
  const body *own = &s->p->b[0];
  ad_report report;
  ad_function *y = ad_function_trace_report("number", number_body, f, own->n_params, own->type, 1, &report);
  if (!y) fail(s, check, "number: %s", report.message);
  return y;
}

/* H v from a chain of two of the number y: inputs x, then what the two want, zero but where v goes in. */
static bool second(subject *s, ad_function *y, const char *chain, const bundle *v, bundle *hv) {
  static bundle in, out;
  ad_function *f = derive(s, 6, y, chain);
  if (!f) return false;
  const int n = s->x.n;
  set_inputs(&in, f);
  memset(in.data, 0, sizeof in.data);
  memcpy(in.data, s->x.data, (size_t)n*sizeof in.data[0]);
  int at = 0, from = 0;
  const double one = 1;
  if (!strcmp(chain, "jv")) {        /* (x, ybar, xdot, ybardot) -> (y, xbar, ydot, xbardot) */
    in.data[n][0] = one, at = n + 1, from = n + 2;
  } else if (!strcmp(chain, "vj")) { /* (x, xdot, ybar, ydotbar) -> (y, ydot, xbar, xdotbar) */
    in.data[2*n + 1][0] = one, at = n, from = 2;
  } else {                           /* (x, ybar, y', xbar') -> (y, xbar, x'', ybar'') */
    in.data[n][0] = one, at = n + 2, from = n + 1;
  }
  memcpy(in.data[at], v->data, (size_t)n*sizeof in.data[0]);
  const bool good = call(s, 6, f, &in, &out);
  hv->n = n;
  for (int k = 0; k < n; k++) {
    hv->type[k] = s->x.type[k];
    if (is_float(hv->type[k])) memcpy(hv->data[k], out.data[from + k], sizeof out.data[0]);
    else memset(hv->data[k], 0, sizeof hv->data[k]);
  }
  ad_function_free(f);
  return good;
}

/* ad_function_hvp's part H v, without inputs that are no floats. */
static bool hvp(subject *s, ad_function *y, const bundle *v, bundle *hv) {
  static bundle in, out;
  ad_function *f = ad_function_hvp(y, 0, NULL);
  if (!f) return fail(s, 6, "no hvp");
  set_inputs(&in, f);
  memcpy(in.data, s->x.data, (size_t)s->x.n*sizeof in.data[0]);
  int floats = 0;
  for (int k = 0; k < s->x.n; k++)
    if (is_float(s->x.type[k])) memcpy(in.data[s->x.n + floats++], v->data[k], sizeof in.data[0]);
  const bool good = call(s, 6, f, &in, &out);
  hv->n = s->x.n;
  for (int k = 0, i = 1 + floats; k < s->x.n; k++) {
    hv->type[k] = s->x.type[k];
    if (is_float(s->x.type[k])) memcpy(hv->data[k], out.data[i++], sizeof out.data[0]);
    else memset(hv->data[k], 0, sizeof hv->data[k]);
  }
  ad_function_free(f);
  return good;
}

static bool check_hessians(subject *s) {
  static bundle v, want, got;
  static const char *const chains[] = { "jv", "vj", "vv" };
  if (too_long(s, 2)) return true;
  ad_function *y = number_of(s, 6, s->f), *w = y ? number_of(s, 6, s->u) : NULL;
  v = s->x;
  randomize(&v, 0, v.n, &s->state);
  bool good = y && w && hvp(s, w, &v, &want) && hvp(s, y, &v, &got)
              && compare(s, 6, "ad_function_hvp", &got, &want, s->tolerance);
  for (int i = 0; i < 3 && good; i++)
    good = second(s, y, chains[i], &v, &got) && compare(s, 6, chains[i], &got, &want, s->tolerance);
  done[6]++;
  ad_function_free(y);
  ad_function_free(w);
  return good;
}

/* --- policies ------------------------------------------------------------------------------------------- */

/* Every policy, for all loops: the same as keeping all states, in reverse and for second derivatives. */
static bool check_policies(subject *s) {
  static bundle in, got, want;
  static const struct { int policy, k; } all[] = { { AD_KEEP_STATES, 0 }, { AD_KEEP_EVERY, 1 },
                                                   { AD_KEEP_EVERY, 3 },
                                                   { AD_KEEP_BINOMIAL, 1 }, { AD_KEEP_BINOMIAL, 2 },
                                                   { AD_KEEP_BINOMIAL, 5 }, { AD_KEEP_ALL, 0 } };
  const char *chain = check_below(&s->state, 2) ? "v" : check_below(&s->state, 2) ? "jv" : "vv";
  bool good = true;
  if (too_long(s, 2)) return true;
  for (int i = 0; i < 7 && good; i++) {
    machine m = s->carried;
    m.policy = all[i].policy, m.k = all[i].k;
    ad_function *f = trace_program(s, &m), *d = f ? derive(s, 7, f, chain) : NULL;
    if (i == 0 && d) {
      set_inputs(&in, d);
      memcpy(in.data, s->x.data, (size_t)s->x.n*sizeof in.data[0]);
      randomize(&in, s->x.n, in.n, &s->state);
    }
    char what[60];
    snprintf(what, sizeof what, "%s with policy %d, k %d", chain, all[i].policy, all[i].k);
    good = d && call(s, 7, d, &in, i ? &got : &want)
        && (i == 0 || compare(s, 7, what, &got, &want, s->repeated));
    ad_function_free(f);
    ad_function_free(d);
  }
  done[7]++;
  return good;
}

/* --- on a tape that computes ---------------------------------------------------------------------------- */

/* Gradient, and the gradient of <gradient, v>, of the number, as variables; floats among the inputs. */
typedef struct sweep {
  int n;
  ad_var in[2*MOST_LIST], x[2*MOST_LIST], dx[2*MOST_LIST], hv[2*MOST_LIST], y;
} sweep;

static void record_sweep(machine *m, ad_tape *t, const bundle *x, const bundle *v, sweep *w) {
  ad_var out[MOST_LIST];
  put_inputs(t, x, w->in);
  run_program(m, t, w->in, out);
  w->y = sum_up(t, m->p->b[0].n_outputs, out);
  w->n = 0;
  for (int k = 0; k < x->n; k++)
    if (is_float(x->type[k])) w->x[w->n++] = w->in[k];
  ad_grad(w->y, w->n, w->x, w->dx);
  ad_var l = ad_full(t, scalar_type(AD_F64), 0);
  for (int k = 0, i = 0; k < x->n; k++) {
    if (!is_float(x->type[k])) continue;
    const ad_var d = ad_mul(w->dx[i++], ad_constant(t, v->type[k], v->data[k]));
    l = ad_add(l, ad_cast(ad_sum(d, AD_ALL_AXES, false), AD_F64));
  }
  ad_grad(l, w->n, w->x, w->hv);
}

static bool read_all(subject *s, int check, ad_tape *t, const sweep *w, bundle *z) {
  z->n = 2*w->n + 1;
  for (int i = 0; i < z->n; i++) {
    const ad_var v = i == 0 ? w->y : i <= w->n ? w->dx[i - 1] : w->hv[i - w->n - 1];
    z->type[i] = ad_type_of(v);
    if (z->type[i].rank < 0 || ad_read(v, z->data[i]) != AD_OK)
      return fail(s, check, "tape: %s", ad_tape_message(t));
  }
  return true;
}

static bool fresh_sweep(subject *s, int check, machine *m, const bundle *x, const bundle *v, bundle *z) {
  ad_tape *t = ad_tape_new();
  sweep w;
  record_sweep(m, t, x, v, &w);
  const bool good = read_all(s, check, t, &w, z);
  ad_tape_free(t);
  return good;
}

static bool check_backward(subject *s, ad_tape *t, const sweep *w, const bundle *want) {
  static bundle got;
  got = *want;
  got.n = w->n + 1;
  if (ad_backward(w->y) != AD_OK) return fail(s, 8, "ad_backward: %s", ad_tape_message(t));
  for (int i = 0; i < w->n; i++)
    if (ad_read_adjoint(w->x[i], got.data[i + 1]) != AD_OK)
      return fail(s, 8, "adjoint: %s", ad_tape_message(t));
  return compare(s, 8, "ad_backward", &got, want, s->tolerance);
}

/* A second set of inputs: other branches, other numbers of steps. */
static bool check_replay(subject *s, ad_tape *t, const sweep *w, const bundle *v) {
  static bundle x, got, want;
  x = s->x;
  randomize(&x, 0, x.n, &s->state);
  for (int k = 0; k < x.n; k++)
    if (ad_set(w->in[k], x.data[k]) != AD_OK) return fail(s, 9, "ad_set: %s", ad_tape_message(t));
  done[9]++;
  return fresh_sweep(s, 9, &s->unrolled, &x, v, &want) && read_all(s, 9, t, w, &got)
         && compare(s, 9, "after ad_set", &got, &want, s->tolerance);
}

static bool check_tape(subject *s) {
  static bundle v, got, want;
  if (too_long(s, 2)) return true;
  v = s->x;
  randomize(&v, 0, v.n, &s->state);
  ad_tape *t = ad_tape_new();
  sweep w;
  record_sweep(&s->carried, t, &s->x, &v, &w);
  bool good = fresh_sweep(s, 8, &s->unrolled, &s->x, &v, &want);
  if (check_below(&s->state, 2)) good = good && check_backward(s, t, &w, &want);
  good = good && read_all(s, 8, t, &w, &got) && compare(s, 8, "tape", &got, &want, s->tolerance);
  good = good && check_replay(s, t, &w, &v);
  done[8]++;
  ad_tape_free(t);
  return good;
}

/* --- the whole program as a map's body ------------------------------------------------------------------ */

static void add_into(ad_type type, double *sum, const double *x) {
  for (int64_t i = 0; i < ad_type_count(type); i++)
    check_set_element(type.dtype, sum, i,
                      check_element(type.dtype, sum, i) + check_element(type.dtype, x, i));
}

static void copy_row(bundle *to, int k, ad_type row, const bundle *from, int j, bool stacked, int64_t i,
                     bool back) {
  const size_t bytes = ad_type_bytes(row), at = stacked ? (size_t)i*bytes : 0;
  to->type[k] = row;
  if (back) memcpy((char *)to->data[k] + at, from->data[j], bytes);
  else memcpy(to->data[k], (const char *)from->data[j] + at, bytes);
}

/* Of the inputs and outputs of a chain of derivatives of a map: is it one for each instance? What is not is
 * shared among inputs, a sum among outputs. */
typedef struct ports { int n_in, n_out; bool in[MOST_PORTS], out[MOST_PORTS]; } ports;

static void chain_ports(ports *q, const char *chain) {
  for (size_t i = strlen(chain); i-- > 0;) {
    const bool forward = chain[i] == 'j';
    const int n = q->n_in, m = q->n_out;
    ports more = *q;
    more.n_in += forward ? n : m;
    more.n_out += forward ? m : n;
    memcpy(more.in + n, forward ? q->in : q->out, (size_t)(forward ? n : m));
    memcpy(more.out + m, forward ? q->out : q->in, (size_t)(forward ? m : n));
    *q = more;
  }
}

/* The call of one instance into what the map should give. */
static bool add_instance(subject *s, ad_function *each, const ports *q, const bundle *in, int64_t i,
                         bundle *want) {
  static bundle one, out;
  set_inputs(&one, each);
  for (int k = 0; k < q->n_in; k++) copy_row(&one, k, one.type[k], in, k, q->in[k], i, false);
  if (!call(s, 10, each, &one, &out)) return false;
  for (int j = 0; j < q->n_out; j++) {
    const ad_type type = want->type[j];
    if (q->out[j]) copy_row(want, j, out.type[j], &out, j, true, i, true);
    else add_into(out.type[j], want->data[j], out.data[j]);
    want->type[j] = type;
  }
  return true;
}

/* Derivatives of the map, some inputs shared, against those of each instance. */
static bool check_map(subject *s) {
  static bundle in, got, want;
  static const char *const chains[] = { "v", "v", "j", "jv", "vj", "vv" };
  const char *chain = chains[check_below(&s->state, too_long(s, 2) ? 3 : 6)];
  ports q = { .n_in = s->x.n, .n_out = ad_function_outputs(s->f) };
  for (int k = 0; k < q.n_in; k++) q.in[k] = check_below(&s->state, 2);
  q.in[check_below(&s->state, q.n_in)] = true;
  for (int j = 0; j < q.n_out; j++) q.out[j] = true;
  ad_function *f = ad_function_map(s->f, INSTANCES, q.in), *d = f ? derive(s, 10, f, chain) : NULL,
              *each = d ? derive(s, 10, s->f, chain) : NULL;
  bool good = each != NULL;
  chain_ports(&q, chain);
  if (!f) fail(s, 10, "ad_function_map fails");
  if (good) {
    set_inputs(&in, d);
    randomize(&in, 0, in.n, &s->state);
    good = call(s, 10, d, &in, &got);
    want = got;
    memset(want.data, 0, sizeof want.data);
  }
  for (int64_t i = 0; i < INSTANCES && good; i++) good = add_instance(s, each, &q, &in, i, &want);
  good = good && compare(s, 10, chain, &got, &want, s->tolerance);
  done[10]++;
  ad_function_free(f);
  ad_function_free(d);
  ad_function_free(each);
  return good;
}

/* --- Taylor series -------------------------------------------------------------------------------------- */

static bool taylor(subject *s, machine *m, const bundle *c, bundle *z) {
  ad_tape *t = ad_tape_new();
  ad_var in[2*MOST_LIST], out[MOST_LIST], x[2*MOST_LIST], xc[2*MOST_LIST*TAYLOR_ORDER],
    yc[MOST_LIST*(TAYLOR_ORDER + 1)];
  int n = 0;
  put_inputs(t, &s->x, in);
  run_program(m, t, in, out);
  for (int k = 0; k < s->x.n; k++) {
    if (!is_float(s->x.type[k])) continue;
    x[n] = in[k];
    for (int o = 0; o < TAYLOR_ORDER; o++)
      xc[n*TAYLOR_ORDER + o] = ad_constant(t, s->x.type[k], c->data[k*TAYLOR_ORDER + o]);
    n++;
  }
  const int outputs = s->p->b[0].n_outputs;
  bool good = ad_taylor(TAYLOR_ORDER, n, x, xc, outputs, out, yc) == AD_OK;
  z->n = outputs*(TAYLOR_ORDER + 1);
  for (int j = 0; j < z->n && good; j++) {
    z->type[j] = ad_type_of(yc[j]);
    good = ad_read(yc[j], z->data[j]) == AD_OK;
  }
  if (!good) fail(s, 12, "%s: %s", m->unrolled ? "unrolled" : "carried", ad_tape_message(t));
  ad_tape_free(t);
  return good;
}

static bool check_taylor(subject *s) {
  static bundle c, got, want;
  if (too_long(s, 3)) return true;
  c.n = s->x.n*TAYLOR_ORDER;
  for (int k = 0; k < c.n; k++) c.type[k] = s->x.type[k/TAYLOR_ORDER];
  randomize(&c, 0, c.n, &s->state);
  done[12]++;
  return taylor(s, &s->carried, &c, &got) && taylor(s, &s->unrolled, &c, &want)
         && compare(s, 12, "Taylor", &got, &want, s->tolerance);
}

/* --- all of it ------------------------------------------------------------------------------------------ */

static bool one_in(subject *s, int n) { return check_below(&s->state, n) == 0; }

/* The name of the first check that fails, NULL for none; text says how. */
static int examine(const program *p, long *count, char text[300]) {
  static subject s;
  static const char *const seconds[] = { "jj", "jv", "vj", "vv" },
                    *const thirds[] = { "jvj", "vjv", "vvv", "jjj" };
  if (open_subject(&s, p, count) && check_chain(&s, 1, "") && check_chain(&s, 2, "j")
      && check_chain(&s, 3, "v")
      && check_transposition(&s) && (!one_in(&s, 2) || check_chain(&s, 5, seconds[check_below(&s.state, 4)]))
      && (!one_in(&s, 2) || check_hessians(&s)) && (!one_in(&s, 4) || check_policies(&s))
      && (!one_in(&s, 4) || check_tape(&s)) && (!one_in(&s, 4) || check_map(&s))
      && (!one_in(&s, 20) || check_chain(&s, 11, thirds[check_below(&s.state, 4)])) && WITH_TAYLOR
      && one_in(&s, 8))
    check_taylor(&s);
  close_subject(&s);
  if (text) memcpy(text, s.text, sizeof s.text);
  return s.failed;
}

static bool fails_so(const program *p, void *context) {
  return examine(p, NULL, NULL) == *(const int *)context;
}

static void report(program *p, int check) {
  char text[300];
  shrink_program(p, fails_so, &check);
  examine(p, NULL, text);
  printf("%s: %s\n", check_names[check], text);
  print_program(p);
}

static unsigned long long number_from(const char *name, unsigned long long otherwise) {
  const char *text = getenv(name);
  return text ? strtoull(text, NULL, 10) : otherwise;
}

static void print_counts(unsigned long long first, unsigned long long n) {
  printf("%llu programs, seeds %llu to %llu\nrecorded:", n, first, first + n - 1);
  for (int i = 0; i < OPERATIONS; i++) printf(" %s %ld", operation_names[i], node_count[i]);
  printf("\n");
  for (int i = 0; i < CHECKS; i++)
    printf("%-22s %7ld done, %5ld beyond all bounds, worst %.2g\n", check_names[i], done[i], wild[i],
           worst[i]);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { PROGRAMS = 300 };
#else
enum { PROGRAMS = 2200 };
#endif

int main(void) {
  static program p;
  const unsigned long long first = number_from("ADIT_PROGRAM_SEED", 1),
                           n = number_from("ADIT_PROGRAMS", PROGRAMS);
  int reported = 0;
  for (unsigned long long seed = first; seed < first + n; seed++) {
    generate_program(&p, seed);
    const int check = examine(&p, node_count, NULL);
    CHECK_THAT(check < 0, "program %llu: %s", seed, check < 0 ? "" : check_names[check]);
    if (check >= 0 && reported++ < 5) report(&p, check);
  }
  print_counts(first, n);
  for (int i = 0; i < OPERATIONS; i++)
    CHECK_THAT(node_count[i] > 0 || n < 1000, "no %s in any program", operation_names[i]);
  return check_summary();
}
