/* test_fold_product.c -- products of transposed matrices in the bodies of functions: the same bits as on a
 * tape, where the transposed copy is made, and what is left of the transposes. */
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/function.h"
#include "check.h"
#include "failing.h"
#include "function/function.h"

/* Operand k of batch x rows x columns, batch 0: a matrix alone; turned: stored the other way round. */
typedef struct setting {
  ad_dtype dtype;
  int64_t m, k, n, batch[2];
  bool turned[2];
} setting;

static ad_type stored(const setting *s, int k) {
  const int64_t rows = k == 0 ? s->m : s->k, columns = k == 0 ? s->k : s->n;
  const int64_t dim[3] = { s->batch[k], s->turned[k] ? columns : rows, s->turned[k] ? rows : columns };
  return s->batch[k] ? ad_type_make(s->dtype, 3, dim) : ad_type_make(s->dtype, 2, dim + 1);
}

static ad_var in_order(ad_var x, bool turned) {
  static const int perm[3] = { 0, 2, 1 };
  if (!turned) return x;
  return ad_type_of(x).rank == 3 ? ad_transpose(x, perm) : ad_transpose(x, NULL);
}

static void body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const setting *s = context;
  (void)t;
  out[0] = ad_matmul(in_order(in[0], s->turned[0]), in_order(in[1], s->turned[1]));
}

static int transposes(const ad_function *f) {
  int n = 0, operands;
  unsigned char needed[64] = { 0 };
  needed[f->out[0]] = 1;
  for (uint32_t i = f->out[0] + 1; i-- > 0;) {
    if (!needed[i] || node_is_leaf(f->body, i)) continue;
    const uint32_t *x = node_operands(f->body, i, &operands);
    for (int k = 0; k < operands; k++) needed[x[k]] = 1;
    n += !strcmp(node_primitive(f->body, i)->name, "transpose");
  }
  return n;
}

/* Floats whose products are not exact: sums in another order have other bits. */
static void fill(ad_type type, void *data, unsigned seed) {
  for (int64_t i = 0; i < ad_type_count(type); i++) {
    seed = seed*1664525u + 1013904223u;
    const double v = ((double)(seed >> 8)/0x1p20 - 7.5)/3;
    if (type.dtype == AD_F64) ((double *)data)[i] = v;
    else if (type.dtype == AD_F32) ((float *)data)[i] = (float)v;
    else ((int32_t *)data)[i] = (int32_t)(seed >> 4);
  }
}

static void check_product(setting s, int left) {
  const ad_type in[2] = { stored(&s, 0), stored(&s, 1) };
  void *x[2], *got, *want;
  ad_function *f = ad_function_trace("product", body, &s, 2, in, 1);
  ad_tape *t = ad_tape_new();
  ad_var v[2], z;
  if (!CHECK(f != NULL)) return;
  for (int k = 0; k < 2; k++) {
    x[k] = malloc(ad_type_bytes(in[k]) + 1);
    fill(in[k], x[k], (unsigned)k + 5);
    v[k] = ad_constant(t, in[k], x[k]);
  }
  body(t, v, &z, &s);
  const size_t bytes = ad_type_bytes(ad_type_of(z));
  got = malloc(bytes + 1), want = malloc(bytes + 1);
  CHECK_STATUS(ad_read(z, want), AD_OK);
  CHECK_STATUS(ad_function_call(f, (const void *const[]){ x[0], x[1] }, (void *const[]){ got }, NULL), AD_OK);
  CHECK_THAT(!memcmp(got, want, bytes), "bits of %d x %d x %d, dtype %d", (int)s.m, (int)s.k, (int)s.n,
             (int)s.dtype);
  CHECK_THAT(transposes(f) == left, "%d transposes are left of %d x %d x %d", transposes(f), (int)s.m,
             (int)s.k, (int)s.n);
  free(x[0]), free(x[1]), free(got), free(want);
  ad_tape_free(t);
  ad_function_free(f);
}

static void test_bits(void) {
  static const int64_t size[][3] = { { 9, 5, 11 }, { 12, 70, 300 }, { 3, 8, 1000 }, { 40, 33, 9 },
                                     { 2, 63, 2 }, { 130, 300, 50 }, { 10, 0, 12 } };
  for (size_t i = 0; i < sizeof size/sizeof *size; i++)
    for (int turned = 1; turned < 4; turned++)
      for (ad_dtype dtype = AD_I32; dtype <= AD_F64; dtype = (ad_dtype)(dtype + 1)) {
        if (dtype == AD_I64) continue;
        const setting s = { dtype, size[i][0], size[i][1], size[i][2], { 0, 0 },
                            { (turned & 1) != 0, (turned & 2) != 0 } };
        check_product(s, turned & 1);
      }
}

/* Few long rows: the order of their sums depends on how they are stored. First operands. */
static void test_what_stays(void) {
  check_product((setting){ AD_F64, 1, 10, 20, { 0, 0 }, { false, true } }, 1);
  check_product((setting){ AD_F64, 8, 64, 20, { 0, 0 }, { false, true } }, 1);
  check_product((setting){ AD_F32, 20, 640, 3, { 0, 0 }, { true, true } }, 2);
  check_product((setting){ AD_F64, 9, 7, 20, { 4, 0 }, { true, false } }, 1);
  check_product((setting){ AD_F64, 9, 7, 20, { 4, 4 }, { false, true } }, 0);
  check_product((setting){ AD_F64, 9, 7, 20, { 4, 0 }, { false, true } }, 0);
  check_product((setting){ AD_F64, 9, 7, 20, { 0, 4 }, { true, true } }, 1);
}

/* The adjoint of a matrix that a batch shares is one product, over all instances: a (3, 12, 9), b (9, 11),
 * z = (a b)^T, zbar (3, 11, 12). */
static void shared(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var z = ad_transpose(ad_matmul(in[0], in[1]), (const int[]){ 0, 2, 1 });
  (void)t, (void)context;
  ad_vjp(1, &z, &in[2], 1, &in[1], out);
}

static void test_shared_matrix(void) {
  const ad_type in[3] = { AD_F64(3, 12, 9), AD_F64(9, 11), AD_F64(3, 11, 12) };
  double x[3*12*9], y[9*11], w[3*11*12], got[9*11], want[9*11];
  const void *const data[3] = { x, y, w };
  ad_tape *t = ad_tape_new();
  ad_var v[3], z = ad_none();
  for (int k = 0; k < 3; k++) {
    fill(in[k], (void *)(uintptr_t)data[k], (unsigned)k + 9);
    v[k] = ad_array(t, in[k], data[k]);
  }
  shared(t, v, &z, NULL);
  CHECK_STATUS(ad_read(z, want), AD_OK);
  ad_function *f = ad_function_trace("shared", shared, NULL, 3, in, 1);
  CHECK_STATUS(ad_function_call(f, data, (void *[]){ got }, NULL), AD_OK);
  CHECK_THAT(!memcmp(got, want, sizeof got), "%s", "bits of the adjoint of a shared matrix");
  ad_tape_free(t);
  ad_function_free(f);
}

/* Batches that change places with each other stay: a (2, 2, 9, 5), b as it is stored, (2, 2, 11, 5), and
 * z[i,j] = a[i,j] b[j,i]^T, in whole numbers. */
static void crossed(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_matmul(in[0], ad_transpose(in[1], (const int[]){ 1, 0, 3, 2 }));
}

static void test_crossed_batches(void) {
  enum { M = 9, K = 5, N = 11 };
  const ad_type in[2] = { AD_F64(2, 2, M, K), AD_F64(2, 2, N, K) };
  double x[4*M*K], y[4*N*K], z[4*M*N];
  for (int i = 0; i < 4*M*K; i++) x[i] = i*7%11 - 5;
  for (int i = 0; i < 4*N*K; i++) y[i] = i*5%13 - 6;
  ad_function *f = ad_function_trace("crossed", crossed, NULL, 2, in, 1);
  CHECK_STATUS(ad_function_call(f, (const void *[]){ x, y }, (void *[]){ z }, NULL), AD_OK);
  for (int i = 0; i < 4*M*N; i++) {
    const int batch = i/(M*N), crossing = batch%2*2 + batch/2, m = i/N%M, n = i%N;
    double want = 0;
    for (int k = 0; k < K; k++) want += x[(batch*M + m)*K + k]*y[(crossing*N + n)*K + k];
    CHECK_NUMBER(z[i], want, 0);
  }
  ad_function_free(f);
}

static bool trace_with(const ad_allocator *a, void *context) {
  setting s = { AD_F64, 9, 5, 11, { 0, 0 }, { true, true } };
  const ad_type in[2] = { stored(&s, 0), stored(&s, 1) };
  ad_function *f = ad_function_trace_with(a, "product", body, &s, 2, in, 1, NULL);
  (void)context;
  ad_function_free(f);
  return f != NULL;
}

int main(void) {
  test_bits();
  test_what_stays();
  test_shared_matrix();
  test_crossed_batches();
  CHECK(failing_calls(trace_with, NULL, true) > 20);
  return check_summary();
}
