/* test_losses.c -- losses and the functions of networks: values and derivatives against closed forms in long
 * double where numbers are large, small or equal; derivatives of all orders against differences; what is
 * refused. */
#include "adit/arrays.h"
#include "adit/control.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/function.h"
#include "adit/losses.h"
#include "adit/random.h"
#include "check.h"

#include <stdlib.h>

typedef long double real;

/* --- helpers -------------------------------------------------------------------------------------------- */

enum { MOST = 4096 };

static double *numbers(ad_var x) {
  static double result[8][MOST];
  static int next;
  static double raw[MOST];
  const ad_type type = ad_type_of(x);
  double *out = result[next = (next + 1)%8];
  if (!CHECK(type.rank >= 0 && ad_type_count(type) <= MOST)) return out;
  CHECK_STATUS(ad_read(x, raw), AD_OK);
  for (int64_t i = 0; i < ad_type_count(type); i++) out[i] = check_element(type.dtype, raw, i);
  return out;
}

static ad_var array(ad_tape *t, ad_dtype dtype, int rank, const int64_t dim[], const double *values) {
  double raw[MOST];
  const ad_type type = ad_type_make(dtype, rank, dim);
  for (int64_t i = 0; i < ad_type_count(type); i++) check_set_element(dtype, raw, i, values[i]);
  return ad_array(t, type, raw);
}

/* What the values are in that dtype. */
static double in(ad_dtype dtype, double value) { return dtype == AD_F32 ? (double)(float)value : value; }

static double step_of(ad_dtype dtype) { return dtype == AD_F32 ? 0x1p-23 : 0x1p-52; }

/* --- softmax -------------------------------------------------------------------------------------------- */

static const double extreme[][4] = {
  { 0.3, -1.2, 2.5, 0.9 }, { 1e4, 1e4 - 1, 1e4 - 2, -1e4 }, { -1e4, -1e4, -1e4, -1e4 + 0.5 },
      { 1e4, -1e4, 0, 3 },
  { 1e-30, 0, -1e-30, 0 }, { 88, 89, -88, 90 }, { 700, 710, -700, 709 }, { -INFINITY, 0, 1, -INFINITY } };
enum { ROWS = sizeof extreme/sizeof *extreme };

static void softmax_of(ad_dtype dtype, const double x[4], real p[4], real log_p[4]) {
  real most = -INFINITY, sum = 0;
  for (int k = 0; k < 4; k++) most = fmaxl(most, in(dtype, x[k]));
  for (int k = 0; k < 4; k++) sum += expl(in(dtype, x[k]) - most);
  for (int k = 0; k < 4; k++) {
    log_p[k] = in(dtype, x[k]) - most - logl(sum);
    p[k] = expl(log_p[k]);
  }
}

/* Eight ulp of 1 plus of the value: log p = -2e4 is exact to its own ulp, its exponential 0. */
static void test_softmax(ad_dtype dtype) {
  ad_tape *t = ad_tape_new();
  ad_var x = array(t, dtype, 2, (int64_t[]){ ROWS, 4 }, &extreme[0][0]);
  const double *p = numbers(ad_softmax(x, 1)), *log_p = numbers(ad_log_softmax(x, -1));
  const double *turned = numbers(ad_softmax(ad_transpose(x, NULL), 0));
  for (int i = 0; i < ROWS; i++) {
    real want[4], want_log[4];
    softmax_of(dtype, extreme[i], want, want_log);
    for (int k = 0; k < 4; k++) {
      CHECK_THAT(fabsl(p[4*i + k] - want[k]) <= 8*step_of(dtype)*fabsl(want[k]) + 1e-40L,
                 "row %d, %d: %.17g, not %.17Lg",
                 i, k, p[4*i + k], want[k]);
      CHECK_THAT(check_near(log_p[4*i + k], (double)want_log[k], 4*step_of(dtype)),
                 "row %d, %d: %.17g, not %.17Lg", i,
                 k, log_p[4*i + k], want_log[k]);
      CHECK(turned[ROWS*k + i] == p[4*i + k]);
    }
  }
  CHECK(ad_type_of(ad_softmax(x, 0)).dtype == dtype);
  ad_tape_free(t);
}

/* dp_k/dx_j = p_k (d_kj - p_j); d2/dx_i of it = p_k ((d_ki - p_i)(d_kj - p_j) - p_j (d_ji - p_i)). */
static void test_softmax_derivatives(void) {
  ad_tape *t = ad_tape_new();
  for (int row = 0; row < 2; row++) {
    real p[4], log_p[4];
    ad_var x = array(t, AD_F64, 1, (int64_t[]){ 4 }, extreme[row]), slope, second;
    softmax_of(AD_F64, extreme[row], p, log_p);
    for (int k = 0; k < 4; k++)
      for (int j = 0; j < 4; j++) {
        ad_var z = ad_at(ad_softmax(x, 0), 1, (int64_t[]){ k });
        CHECK_STATUS(ad_grad(z, 1, &x, &slope), AD_OK);
        ad_var part = ad_at(slope, 1, (int64_t[]){ j });
        CHECK_STATUS(ad_grad(part, 1, &x, &second), AD_OK);
        CHECK_NUMBER(ad_value(part), (double)(p[k]*((k == j) - p[j])), 1e-15);
        const double *h = numbers(second);
        for (int i = 0; i < 4; i++) {
          const real want = p[k]*(((k == i) - p[i])*((k == j) - p[j]) - p[j]*((j == i) - p[i]));
          CHECK_NUMBER(h[i], (double)want, 1e-15);
        }
      }
  }
  ad_tape_free(t);
}

static void test_softmax_edges(void) {
  const double inf[2] = { -INFINITY, -INFINITY };
  ad_tape *t = ad_tape_new();
  CHECK(isnan(numbers(ad_softmax(array(t, AD_F64, 1, (int64_t[]){ 2 }, inf), 0))[0]));
  CHECK(numbers(ad_softmax(array(t, AD_I32, 1, (int64_t[]){ 2 }, (double[]){ 1, 1 }), 0))[0] == 0.5);
  CHECK(ad_type_of(ad_softmax(array(t, AD_F64, 2, (int64_t[]){ 0, 3 }, inf), 1)).dim[0] == 0);
  CHECK(!ad_is_valid(ad_softmax(array(t, AD_F64, 2, (int64_t[]){ 3, 0 }, inf), 1)));
  CHECK_THAT(!strcmp(ad_tape_message(t), "softmax: axis 1 of f64(3,0) is empty"), "%s", ad_tape_message(t));
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_log_softmax(ad_scalar(t, 1), 0)) && ad_tape_status(t) == AD_ERROR_ARGUMENT);
  ad_tape_free(t);
}

/* --- cross entropy -------------------------------------------------------------------------------------- */

/* Loss -log p[c]; gradient p - e_c; Hessian diag p - p p'. */
static void test_cross_entropy(ad_dtype dtype) {
  ad_tape *t = ad_tape_new();
  for (int row = 0; row < ROWS - 1; row++)
    for (int c = 0; c < 4; c++) {
      real p[4], log_p[4];
      ad_var x = array(t, dtype, 1, (int64_t[]){ 4 }, extreme[row]), slope;
      ad_var target = array(t, c%2 ? AD_I32 : AD_I64, 0, NULL, (double[]){ c });
      ad_var loss = ad_cross_entropy(x, target, AD_MEAN);
      softmax_of(dtype, extreme[row], p, log_p);
      CHECK_NUMBER(ad_value(loss), (double)-log_p[c], 4*step_of(dtype));
      CHECK_STATUS(ad_grad(loss, 1, &x, &slope), AD_OK);
      const double *g = numbers(slope);
      for (int k = 0; k < 4; k++) CHECK_NUMBER(g[k], (double)(p[k] - (k == c)), 4*step_of(dtype));
      ad_var v = array(t, dtype, 1, (int64_t[]){ 4 }, (double[]){ 1, -2, 0.5, 3 }), hv;
      CHECK_STATUS(ad_jvp(1, &x, &v, 1, &slope, &hv), AD_OK);
      const double *h = numbers(hv), *d = numbers(v);
      real mean = 0;
      for (int k = 0; k < 4; k++) mean += p[k]*d[k];
      for (int k = 0; k < 4; k++) CHECK_NUMBER(h[k], (double)(p[k]*(d[k] - mean)), 16*step_of(dtype));
    }
  ad_tape_free(t);
}

/* Probabilities: one-hot ones are classes; a 0 beside a logit of -inf counts as 0, value and gradient. */
static void test_cross_entropy_of_probabilities(void) {
  ad_tape *t = ad_tape_new();
  const double x[] = { 1, 2, -1, 0.5, -3, 2 }, q[] = { 0.2, 0.5, 0.3, 0, 0, 1 },
      masked[] = { 1, -INFINITY, 0.5 };
  ad_var logits = array(t, AD_F64, 2, (int64_t[]){ 2, 3 }, x),
      target = array(t, AD_F64, 2, (int64_t[]){ 2, 3 }, q);
  const double *each = numbers(ad_cross_entropy(logits, target, AD_NONE));
  for (int i = 0; i < 2; i++) {
    real sum = 0, want = 0;
    for (int k = 0; k < 3; k++) sum += expl(x[3*i + k]);
    for (int k = 0; k < 3; k++) want -= q[3*i + k]*(x[3*i + k] - logl(sum));
    CHECK_NUMBER(each[i], (double)want, 1e-15);
  }
  CHECK_NUMBER(ad_value(ad_cross_entropy(logits, target, AD_SUM)), each[0] + each[1], 1e-15);
  CHECK_NUMBER(ad_value(ad_cross_entropy(logits, target, AD_MEAN)), (each[0] + each[1])/2, 1e-15);
  ad_var z = array(t, AD_F64, 1, (int64_t[]){ 3 }, masked),
      p = array(t, AD_F64, 1, (int64_t[]){ 3 }, (double[]){ 1, 0, 0 });
  ad_var loss = ad_cross_entropy(z, p, AD_SUM), slope;
  CHECK_NUMBER(ad_value(loss), (double)log1pl(expl(-0.5L)), 1e-15);
  CHECK_STATUS(ad_grad(loss, 1, &z, &slope), AD_OK);
  const double *g = numbers(slope), second = 1/(1 + exp(0.5));
  CHECK_NUMBER(g[0], -second, 1e-15);
  CHECK_NUMBER(g[1], 0, 0);
  CHECK_NUMBER(g[2], second, 1e-15);
  ad_tape_free(t);
}

static void loss_body(ad_tape *tape, const ad_var in_[], ad_var out[], void *context) {
  (void)tape, (void)context;
  out[0] = ad_cross_entropy(in_[0], in_[1], AD_MEAN);
}

/* Classes out of range stop the call, in functions and on tapes; negative ones do not count from the end. */
static void test_classes_out_of_range(void) {
  ad_function *f = ad_function_trace("loss", loss_body, NULL, 2, (ad_type[]){ AD_F64(2, 3), AD_I64(2) }, 1);
  ad_function *gradient = ad_function_gradient(f, 1, (int[]){ 0 });
  ad_workspace *w = ad_workspace_new();
  double x[6] = { 0 }, loss, slope[6];
  for (int64_t bad = -1; bad <= 3; bad += 4) {
    const void *in_[] = { x, (int64_t[]){ 0, bad } };
    CHECK_STATUS(ad_function_call(f, in_, (void *[]){ &loss }, w), AD_ERROR_ARGUMENT);
    const char *want = bad < 0 ? "cross_entropy: class -1 at [1] is not in 0 .. 2"
                               : "cross_entropy: class 3 at [1] is not in 0 .. 2";
    CHECK_THAT(!strcmp(ad_workspace_message(w), want), "%s", ad_workspace_message(w));
    CHECK_STATUS(ad_function_call(gradient, in_, (void *[]){ NULL, slope }, w), AD_ERROR_ARGUMENT);
  }
  CHECK_STATUS(ad_function_call(gradient, (const void *[]){ x, (int64_t[]){ 0, 2 } },
                                (void *[]){ &loss, slope }, w), AD_OK);
  CHECK_NUMBER(loss, log(3), 1e-15);
  ad_workspace_free(w);
  ad_function_free(gradient);
  ad_function_free(f);

  ad_report r;
  CHECK_STATUS(ad_check_classes(AD_I32(2, 2), (int32_t[]){ 0, 9, 12, 3 }, 10, &r), AD_ERROR_ARGUMENT);
  CHECK_THAT(!strcmp(r.message, "class 12 at [1, 0] is not in 0 .. 9"), "%s", r.message);
  CHECK_STATUS(ad_check_classes(AD_I64(), (int64_t[]){ -1 }, 10, &r), AD_ERROR_ARGUMENT);
  CHECK_THAT(!strcmp(r.message, "class -1 at [] is not in 0 .. 9"), "%s", r.message);
  CHECK_STATUS(ad_check_classes(AD_I64(3), (int64_t[]){ 0, 9, 5 }, 10, NULL), AD_OK);
  CHECK_STATUS(ad_check_classes(AD_I64(0), NULL, 10, &r), AD_OK);
  CHECK_STATUS(ad_check_classes(AD_F64(1), (double[]){ 0 }, 10, &r), AD_ERROR_DTYPE);
}

/* One example at a time, mapped over a batch, is the batch. */
static void test_map(void) {
  ad_function *one = ad_function_trace("loss", loss_body, NULL, 2, (ad_type[]){ AD_F64(4), AD_I32() }, 1);
  ad_tape *t = ad_tape_new();
  ad_var x = array(t, AD_F64, 2, (int64_t[]){ ROWS - 1, 4 }, &extreme[0][0]), all;
  ad_var target = array(t, AD_I32, 1, (int64_t[]){ ROWS - 1 }, (double[]){ 0, 1, 2, 3, 0, 1, 2 });
  const ad_var operands[2] = { x, target };
  CHECK_STATUS(ad_map(one, operands, &all), AD_OK);
  const double *mapped = numbers(all), *direct = numbers(ad_cross_entropy(x, target, AD_NONE));
  for (int i = 0; i < ROWS - 1; i++) CHECK_NUMBER(mapped[i], direct[i], 1e-15);
  ad_tape_free(t);
  ad_function_free(one);
}

/* --- element by element --------------------------------------------------------------------------------- */

/* t softplus(-x) + (1 - t) softplus(x); slope sigmoid(x) - t, which for t = 1 is -sigmoid(-x); second
 * sigmoid(x) sigmoid(-x). Relative accuracy also where the loss is 1e-300. */
static void test_binary_cross_entropy(ad_dtype dtype) {
  static const double xs[] = { 0, 1e-20, 0.5, -3, 20, -20, 40, 80, -80, 1e4, -1e4 }, ts[] = { 0, 1, 0.3 };
  ad_tape *t = ad_tape_new();
  for (int i = 0; i < 11; i++)
    for (int k = 0; k < 3; k++) {
      const real x0 = in(dtype, xs[i]), t0 = in(dtype, ts[k]);
      const real up = x0 > 0 ? x0 + log1pl(expl(-x0)) : log1pl(expl(x0));
      const real down = x0 > 0 ? log1pl(expl(-x0)) : log1pl(expl(x0)) - x0;
      const real on = 1/(1 + expl(-x0)), off = 1/(1 + expl(x0));
      ad_var x = array(t, dtype, 0, NULL, &xs[i]), target = array(t, dtype, 0, NULL, &ts[k]), slope, second;
      ad_var loss = ad_binary_cross_entropy(x, target, AD_MEAN);
      const real want = t0*down + (1 - t0)*up, want_slope = (1 - t0)*on - t0*off;
      const double close = 8*step_of(dtype), least = dtype == AD_F32 ? 1e-37 : 1e-300;
      CHECK_THAT(fabsl(ad_value(loss) - want) <= close*fabsl(want) + (real)least, "%g, %g: %.17g, not %.17Lg",
                 xs[i], ts[k],
                 ad_value(loss), want);
      ad_grad(loss, 1, &x, &slope);
      CHECK_THAT(fabsl(ad_value(slope) - want_slope) <= close*(t0*off + (1 - t0)*on) + (real)least,
                 "%g, %g: slope %.17g, not %.17Lg", xs[i], ts[k], ad_value(slope), want_slope);
      ad_grad(slope, 1, &x, &second);
      CHECK_THAT(fabsl(ad_value(second) - on*off) <= close*fabsl(on*off) + (real)least,
                 "%g, %g: second %.17g, not %.17Lg",
                 xs[i], ts[k], ad_value(second), on*off);
    }
  ad_var x = array(t, dtype, 1, (int64_t[]){ 2 }, (double[]){ 1, -1 });
  ad_var flags = ad_constant(t, AD_BOOL(2), (uint8_t[]){ 1, 0 });
  CHECK(ad_type_of(ad_binary_cross_entropy(x, flags, AD_NONE)).dtype == dtype);
  CHECK_NUMBER(ad_value(ad_binary_cross_entropy(x, flags, AD_SUM)), 2*log1p(exp(-1)), 8*step_of(dtype));
  CHECK_NUMBER(ad_value(ad_binary_cross_entropy(x, 1, AD_SUM)), log1p(exp(-1)) + log1p(exp(1)),
               8*step_of(dtype));
  ad_tape_free(t);
}

static void test_elementwise_losses(ad_dtype dtype) {
  static const double xs[] = { 1, -2, 0.5, 3, 1e-9, -1e9 }, ys[] = { 1, 1, -0.5, 0.5, 0, 0 };
  ad_tape *t = ad_tape_new();
  ad_var x = array(t, dtype, 2, (int64_t[]){ 2, 3 }, xs), y = array(t, dtype, 2, (int64_t[]){ 2, 3 }, ys),
      slope[3];
  const double close = 2*step_of(dtype);
  double *squares = numbers(ad_mse(x, y, AD_NONE)), *sizes = numbers(ad_l1(x, y, AD_NONE));
  double *huber = numbers(ad_huber(x, y, 1.25, AD_NONE));
  ad_var losses[3] = { ad_mse(x, y, AD_SUM), ad_l1(x, y, AD_SUM), ad_huber(x, y, 1.25, AD_SUM) };
  for (int i = 0; i < 3; i++) CHECK_STATUS(ad_grad(losses[i], 1, &x, &slope[i]), AD_OK);
  const double *g[3] = { numbers(slope[0]), numbers(slope[1]), numbers(slope[2]) };
  for (int i = 0; i < 6; i++) {
    const double d = in(dtype, xs[i]) - in(dtype, ys[i]);
    CHECK_NUMBER(squares[i], d*d, close);
    CHECK_NUMBER(sizes[i], fabs(d), close);
    CHECK_NUMBER(huber[i], fabs(d) <= 1.25 ? d*d/2 : 1.25*(fabs(d) - 0.625), close);
    CHECK_NUMBER(g[0][i], 2*d, close);
    CHECK_NUMBER(g[1][i], (d > 0) - (d < 0), close);
    CHECK_NUMBER(g[2][i], fabs(d) <= 1.25 ? d : copysign(1.25, d), close);
  }
  CHECK_NUMBER(ad_value(ad_mse(x, 1, AD_MEAN)), (0 + 9 + 0.25 + 4 + 1 + (1e9 + 1)*(1e9 + 1))/6, 4*close);
  ad_tape_free(t);
}

/* At the edge, |d| = delta, value and slope are those of both sides; inside the second derivative is 1. */
static void test_huber_edges(void) {
  /* x, value, slope, second */
  static const double want[3][4] = { { 2, 2, 2, NAN }, { 1, 0.5, 1, 1 }, { -5, 8, -2, 0 } };
  ad_tape *t = ad_tape_new();
  for (int i = 0; i < 3; i++) {
    ad_var x = ad_scalar(t, want[i][0]), loss = ad_huber(x, 0, 2, AD_MEAN), slope, second;
    CHECK_STATUS(ad_grad(loss, 1, &x, &slope), AD_OK);
    CHECK_STATUS(ad_grad(slope, 1, &x, &second), AD_OK);
    CHECK(ad_value(loss) == want[i][1] && ad_value(slope) == want[i][2]);
    CHECK(isnan(want[i][3]) || ad_value(second) == want[i][3]);
  }
  CHECK(!ad_is_valid(ad_huber(ad_scalar(t, 1), 0, 0, AD_MEAN)));
  CHECK_THAT(!strcmp(ad_tape_message(t), "huber: delta 0 is not positive"), "%s", ad_tape_message(t));
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_huber(ad_scalar(t, 1), 0, NAN, AD_MEAN)));
  ad_tape_free(t);
}

static void test_kl_divergence(ad_dtype dtype) {
  static const double p[] = { 0.5, 0.5, 0, 0.25, 0.5, 0.25 }, q[] = { 0.25, 0.5, 0.25, 0.25, 0.5, 0.25 };
  double log_q[6];
  for (int i = 0; i < 6; i++) log_q[i] = in(dtype, log(q[i]));
  ad_tape *t = ad_tape_new();
  ad_var x = array(t, dtype, 2, (int64_t[]){ 2, 3 }, log_q), y = array(t, dtype, 2, (int64_t[]){ 2, 3 }, p),
      slope[2];
  const double *each = numbers(ad_kl_divergence(x, y, AD_NONE));
  CHECK_NUMBER(each[0], 0.5*log(2), 2*step_of(dtype));
  CHECK_NUMBER(each[1], 0, step_of(dtype));
  const ad_var by[2] = { x, y };
  CHECK_STATUS(ad_grad(ad_kl_divergence(x, y, AD_SUM), 2, by, slope), AD_OK);
  const double *by_q = numbers(slope[0]), *by_p = numbers(slope[1]);
  for (int i = 0; i < 6; i++) {
    CHECK_NUMBER(by_q[i], -p[i], step_of(dtype));
    CHECK_NUMBER(by_p[i], p[i] > 0 ? 1 + log(p[i]) - log_q[i] : 0, 2*step_of(dtype));
  }
  /* a class that q excludes, and p too */
  ad_var none = array(t, dtype, 1, (int64_t[]){ 2 }, (double[]){ 0, -INFINITY }),
      sure = array(t, dtype, 1, (int64_t[]){ 2 }, (double[]){ 1, 0 });
  CHECK_NUMBER(ad_value(ad_kl_divergence(none, sure, AD_MEAN)), 0, 0);
  CHECK(isinf(ad_value(ad_kl_divergence(none, array(t, dtype, 1, (int64_t[]){ 2 }, (double[]){ 0.5, 0.5 }),
                                        AD_MEAN))));
  ad_tape_free(t);
}

/* --- what is refused ------------------------------------------------------------------------------------ */

static void refused(ad_tape *t, ad_var loss, ad_status status, const char *says) {
  CHECK_THAT(!ad_is_valid(loss) && ad_tape_status(t) == status && !strcmp(ad_tape_message(t), says), "%s",
             ad_tape_message(t));
  ad_tape_clear(t);
}

static void test_refusals(void) {
  ad_tape *t = ad_tape_new();
  ad_var column = ad_array(t, AD_F64(4, 1), NULL), row = ad_array(t, AD_F64(4), NULL);
  ad_var none = ad_array(t, AD_F64(0, 3), NULL), classes = ad_array(t, AD_I32(4), NULL);
  refused(t, ad_mse(column, row, AD_MEAN), AD_ERROR_SHAPE, "mse: f64(4,1) against a target of f64(4)");
  refused(t, ad_binary_cross_entropy(row, column, AD_MEAN), AD_ERROR_SHAPE,
          "binary_cross_entropy: f64(4) against a target of f64(4,1)");
  refused(t, ad_l1(none, none, AD_MEAN), AD_ERROR_SHAPE, "l1: there is no mean of no losses, f64(0,3)");
  refused(t, ad_cross_entropy(row, classes, AD_MEAN), AD_ERROR_SHAPE,
          "cross_entropy: classes are i32(4), not i32()");
  refused(t, ad_cross_entropy(ad_scalar(t, 1), classes, AD_MEAN), AD_ERROR_SHAPE,
          "cross_entropy: f64() has no classes");
  refused(t, ad_cross_entropy(row, ad_array(t, AD_BOOL(4), NULL), AD_MEAN), AD_ERROR_DTYPE,
          "cross_entropy: the target is neither classes, i32 or i64, nor probabilities");
  refused(t, ad_cross_entropy(row, column, AD_MEAN), AD_ERROR_SHAPE,
          "cross_entropy: f64(4) against a target of f64(4,1)");
  refused(t, ad_kl_divergence(row, column, AD_MEAN), AD_ERROR_SHAPE,
          "kl_divergence: f64(4) against a target of f64(4,1)");
  refused(t, ad_mse(row, row, (ad_reduction)7), AD_ERROR_ARGUMENT, "mse: no such reduction");
  refused(t, ad_layer_norm(row, AD_AXES(0), -1), AD_ERROR_ARGUMENT,
          "layer_norm: epsilon -1 is not 0 or more");
  refused(t, ad_dropout(row, 1.5, ad_key(t, 1)), AD_ERROR_ARGUMENT, "dropout: rate 1.5 is not in [0, 1]");
  refused(t, ad_dropout(row, 0.5, classes), AD_ERROR_DTYPE, "dropout: the key is no i64 variable");
  CHECK_NUMBER(ad_value(ad_l1(none, none, AD_SUM)), 0, 0);
  CHECK(ad_type_count(ad_type_of(ad_cross_entropy(none, ad_array(t, AD_I64(0), NULL), AD_NONE))) == 0);
  ad_var bad = ad_add(column, ad_array(t, AD_F64(3, 3), NULL));
  ad_tape_clear(t);
  refused(t, ad_mse(bad, row, AD_MEAN), AD_ERROR_HANDLE, "a loss of an invalid variable");
  ad_tape_free(t);
}

/* --- layer norm and dropout ----------------------------------------------------------------------------- */

/* Rows of mean 0 and variance v/(v + epsilon), accurate beside a large offset. */
static void test_layer_norm(ad_dtype dtype) {
  double x[12];
  const double offset = dtype == AD_F32 ? 1000 : 1e6;
  ad_tape *t = ad_tape_new();
  for (int i = 0; i < 12; i++) x[i] = (i >= 6 ? offset : 0) + (i*i)%7;
  ad_var v = array(t, dtype, 2, (int64_t[]){ 2, 6 }, x);
  const double *y = numbers(ad_layer_norm(v, AD_AXES(-1), 0.5));
  for (int row = 0; row < 2; row++) {
    real mean = 0, variance = 0;
    for (int i = 0; i < 6; i++) mean += (real)x[6*row + i]/6;
    for (int i = 0; i < 6; i++) variance += (x[6*row + i] - mean)*(x[6*row + i] - mean)/6;
    for (int i = 0; i < 6; i++)
      CHECK_NUMBER(y[6*row + i], (double)((x[6*row + i] - mean)/sqrtl(variance + 0.5L)),
                   16*step_of(dtype)*(row ? offset : 1));
  }
  ad_tape_free(t);
}

/* Kept elements are x/(1 - rate), their share is 1 - rate to five standard errors, the gradient is the mask;
 * the same key gives the same mask, another key another one. Dropped elements are not connected. */
static void test_dropout(ad_dtype dtype) {
  enum { N = 4000 };
  static double x[N];
  ad_tape *t = ad_tape_new();
  for (int i = 0; i < N; i++) x[i] = 1 + i%5;
  ad_var v = array(t, dtype, 1, (int64_t[]){ N }, x), key = ad_key(t, 5), slope;
  ad_var y = ad_dropout(v, 0.3, key);
  const double *got = numbers(y), *again = numbers(ad_dropout(v, 0.3, key));
  const double *other = numbers(ad_dropout(v, 0.3, ad_key_fold(key, 1)));
  CHECK(ad_type_of(y).dtype == dtype);
  CHECK_STATUS(ad_grad(ad_sum(y, AD_ALL_AXES, false), 1, &v, &slope), AD_OK);
  const double *g = numbers(slope);
  int kept = 0, differ = 0;
  bool good = true;
  for (int i = 0; i < N; i++) {
    kept += got[i] != 0;
    differ += (other[i] != 0) != (got[i] != 0);
    good &= check_near(got[i], got[i] != 0 ? x[i]/0.7 : 0, 2*step_of(dtype)) && got[i] == again[i];
    good &= check_near(g[i], got[i] != 0 ? 1/0.7 : 0, 2*step_of(dtype));
  }
  CHECK(good);
  CHECK_THAT(fabs(kept - 0.7*N) < 5*sqrt(N*0.3*0.7), "%d kept", kept);
  CHECK_THAT(fabs(differ - 0.42*N) < 5*sqrt(N*0.42*0.58), "%d differ", differ);
  CHECK(numbers(ad_dropout(v, 0, key))[1] == x[1] && numbers(ad_dropout(v, 1, key))[1] == 0);
  ad_var root = ad_sum(ad_sqrt(ad_dropout(ad_sub(v, v), 1, key)), AD_ALL_AXES, false);
  CHECK_STATUS(ad_grad(root, 1, &v, &slope), AD_OK);
  CHECK(numbers(slope)[0] == 0);
  ad_tape_free(t);
}

/* --- derivatives of all of them against differences ----------------------------------------------------- */

enum { CASES = 12 };

static void one_case(ad_tape *tape, const ad_var in_[], ad_var out[], void *context) {
  const ad_var x = in_[0], y = in_[1];
  const ad_var classes = ad_constant(tape, AD_I32(3), (int32_t[]){ 3, 0, 2 });
  switch (*(int *)context) {
    case 0:  out[0] = ad_softmax(x, 0); break;
    case 1:  out[0] = ad_log_softmax(x, 1); break;
    case 2:  out[0] = ad_layer_norm(x, AD_AXES(1), 1e-3); break;
    case 3:  out[0] = ad_layer_norm(x, AD_ALL_AXES, 1e-3); break;
    case 4:  out[0] = ad_dropout(x, 0.4, ad_key(tape, 3)); break;
    case 5:  out[0] = ad_cross_entropy(x, classes, AD_NONE); break;
    case 6:  out[0] = ad_cross_entropy(x, ad_softmax(y, 1), AD_MEAN); break;
    case 7:  out[0] = ad_binary_cross_entropy(x, ad_sigmoid(y), AD_MEAN); break;
    case 8:  out[0] = ad_mse(x, y, AD_MEAN); break;
    case 9:  out[0] = ad_l1(x, y, AD_NONE); break;
    case 10: out[0] = ad_huber(x, y, 0.7, AD_NONE); break;
    default: out[0] = ad_kl_divergence(ad_log_softmax(x, -1), ad_softmax(y, -1), AD_NONE);
  }
}

/* The function, its gradient of a nonlinear scalar of it, and that once more. */
static void gradient_case(ad_tape *tape, const ad_var in_[], ad_var out[], void *context) {
  ad_var z, slope[2];
  one_case(tape, in_, &z, context);
  ad_grad(ad_sum(ad_sin(z), AD_ALL_AXES, false), 2, in_, slope);
  out[0] = slope[0];
  out[1] = slope[1];
}

static void second_case(ad_tape *tape, const ad_var in_[], ad_var out[], void *context) {
  ad_var first[2], slope[2];
  gradient_case(tape, in_, first, context);
  ad_grad(ad_add(ad_sum(ad_sin(first[0]), AD_ALL_AXES, false), ad_sum(ad_cos(first[1]), AD_ALL_AXES, false)),
          2, in_, slope);
  out[0] = slope[0];
  out[1] = slope[1];
}

static void test_differences(void) {
  double x[12], y[12];
  uint64_t state = 9;
  const ad_type types[2] = { AD_F64(3, 4), AD_F64(3, 4) };
  for (int i = 0; i < 12; i++) x[i] = check_uniform(&state, -2, 2), y[i] = check_uniform(&state, -2, 2);
  for (int which = 0; which < CASES; which++)
    for (int order = 1; order <= 3; order++) {
      ad_body *body = order == 1 ? one_case : order == 2 ? gradient_case : second_case;
      ad_function *f = ad_function_trace("case", body, &which, 2, types, order == 1 ? 1 : 2);
      ad_check_result r = { .error = INFINITY };
      if (!CHECK_THAT(f, "case %d, order %d", which, order)) continue;
      CHECK_STATUS(ad_check(f, (const void *[]){ x, y }, &r), AD_OK);
      CHECK_THAT(r.error < 1e-8 && r.transpose_error < 1e-12, "case %d, order %d: %g, %g", which, order,
                 r.error, r.transpose_error);
      ad_function_free(f);
    }
}

int main(void) {
  const ad_dtype floats[2] = { AD_F64, AD_F32 };
  for (int i = 0; i < 2; i++) {
    test_softmax(floats[i]);
    test_cross_entropy(floats[i]);
    test_binary_cross_entropy(floats[i]);
    test_elementwise_losses(floats[i]);
    test_kl_divergence(floats[i]);
    test_layer_norm(floats[i]);
    test_dropout(floats[i]);
  }
  test_softmax_derivatives();
  test_softmax_edges();
  test_cross_entropy_of_probabilities();
  test_classes_out_of_range();
  test_map();
  test_huber_edges();
  test_refusals();
  test_differences();
  return check_summary();
}
