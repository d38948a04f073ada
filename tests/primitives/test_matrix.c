/* test_matrix.c -- matmul, dot, outer, einsum, diag, tril, triu, trace against loops in long double, and
 * their messages. Their derivatives are in test_structured.c. */
#include "adit/arrays.h"
#include "primitives/matmul.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;

static void check(bool good, const char *what, const char *detail) {
  if (good) passed++;
  else {
    failed++;
    printf("FAIL %s: %s\n", what, detail);
  }
}

/* --- arrays of any dtype as long doubles ---------------------------------------------------------------- */

static uint64_t state = 88172645463325252u;

static uint64_t random_bits(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state*0x9E3779B97F4A7C15u >> 11;
}
static int random_below(int n) { return (int)(random_bits()%(uint64_t)n); }

/* Integers from -4 to 4, floats in (-1, 1); values, count of them, receives the same. */
static ad_var random_array(ad_tape *t, ad_type type, long double *values) {
  size_t bytes = ad_type_bytes(type), width = ad_dtype_bytes(type.dtype);
  int64_t count = ad_type_count(type);
  char *data = malloc(bytes + 1);
  for (int64_t i = 0; i < count; i++) {
    int64_t n = type.dtype == AD_BOOL ? random_below(2) : random_below(9) - 4;
    int32_t small = (int32_t)n;
    uint8_t truth = (uint8_t)n;
    double real = (double)random_bits()/9007199254740992.0*2 - 1;
    float single = (float)real;
    const void *from[AD_DTYPES] = { &truth, &small, &n, &single, &real };
    memcpy(data + (size_t)i*width, from[type.dtype], width);
    values[i] = type.dtype == AD_F64 ? real : type.dtype == AD_F32 ? single : (long double)n;
  }
  ad_var x = ad_array(t, type, data);
  free(data);
  return x;
}

static long double element(ad_dtype dtype, const void *data, int64_t i) {
  switch (dtype) {
    case AD_BOOL: return ((const uint8_t *)data)[i];
    case AD_I32: return ((const int32_t *)data)[i];
    case AD_I64: return ((const int64_t *)data)[i];
    case AD_F32: return ((const float *)data)[i];
    case AD_F64: return ((const double *)data)[i];
    default: return NAN;
  }
}

/* z has this dtype and shape, and its elements are want within `ulps` of size[i] (the sum of the
 * magnitudes); exact for integers, or where size is NULL. */
static void check_array(ad_var z, ad_dtype dtype, int rank, const int64_t *dim, const long double *want,
                        const long double *size, double ulps, const char *what) {
  char detail[400], text[192];
  ad_type got = ad_type_of(z), type = ad_type_make(dtype, rank, dim);
  snprintf(detail, sizeof detail, "%s: got %s, %s", what, ad_type_print(got, text, sizeof text),
           ad_tape_message(z.tape));
  if (!ad_type_equal(got, type)) {
    check(false, "type", detail);
    return;
  }
  void *data = malloc(ad_type_bytes(type) + 1);
  ad_status status = ad_read(z, data);
  double eps = dtype == AD_F32 ? FLT_EPSILON : dtype == AD_F64 ? DBL_EPSILON : 0;
  bool good = status == AD_OK;
  for (int64_t i = 0; good && i < ad_type_count(type); i++) {
    long double e = fabsl(element(dtype, data, i) - want[i]);
    good = e <= (size ? ulps*eps*(double)size[i] : 0);
    if (!good) snprintf(detail, sizeof detail, "%s: element %lld is %.17Lg, not %.17Lg", what, (long long)i,
                        element(dtype, data, i), want[i]);
  }
  check(good, "value", detail);
  free(data);
}

static void check_message(ad_tape *t, ad_var z, ad_status status, const char *message) {
  char detail[600];
  snprintf(detail, sizeof detail, "got %d \"%s\", wanted %d \"%s\"", (int)ad_tape_status(t),
           ad_tape_message(t), (int)status, message);
  check(!ad_is_valid(z) && ad_tape_status(t) == status && !strcmp(ad_tape_message(t), message), "message",
        detail);
  ad_tape_clear(t);
}

/* --- a naive einsum: one letter an axis, sizes by letter ------------------------------------------------ */

enum { MAX_ELEMENTS = 1 << 15, MAX_OPERANDS = 8 };
static long double operand_values[MAX_OPERANDS][MAX_ELEMENTS], want_values[MAX_ELEMENTS];
static long double want_sizes[MAX_ELEMENTS];

typedef struct labelled { int rank; char letter[16]; int64_t dim[16]; } labelled;

static int64_t offset_of(const labelled *a, const int64_t *index) {
  int64_t at = 0;
  for (int i = 0; i < a->rank; i++) at = at*a->dim[i] + (a->dim[i] == 1 ? 0 : index[(int)a->letter[i]]);
  return at;
}

/* want_values = sum over all letters of the product of operand_values; want_sizes the same of magnitudes. */
static void naive_einsum(int n, const labelled in[], const labelled *out) {
  int64_t size[128], index[128] = { 0 }, count = 1;
  for (int c = 0; c < 128; c++) size[c] = 1;
  for (int k = 0; k < n; k++)
    for (int i = 0; i < in[k].rank; i++)
      if (size[(int)in[k].letter[i]] == 1) size[(int)in[k].letter[i]] = in[k].dim[i];
  for (int i = 0; i < out->rank; i++) count *= out->dim[i];
  for (int64_t i = 0; i < count; i++) want_values[i] = want_sizes[i] = 0;
  for (int c = 0; c < 128; c++)
    if (size[c] == 0) return;
  int c;
  do {
    long double p = 1;
    for (int k = 0; k < n; k++) p *= operand_values[k][offset_of(&in[k], index)];
    int64_t at = offset_of(out, index);
    want_values[at] += p;
    want_sizes[at] += fabsl(p);
    for (c = 0; c < 128; c++) {
      if (++index[c] < size[c]) break;
      index[c] = 0;
    }
  } while (c < 128);
}

/* --- matmul --------------------------------------------------------------------------------------------- */

typedef struct shape { int rank; int64_t dim[8]; } shape;

static const shape matmul_shapes[][2] = {
  { { 2, { 3, 4 } }, { 2, { 4, 5 } } },          { { 2, { 1, 1 } }, { 2, { 1, 1 } } },
  { { 2, { 33, 17 } }, { 2, { 17, 65 } } },      { { 2, { 5, 200 } }, { 2, { 200, 3 } } },
  { { 1, { 7 } }, { 1, { 7 } } },                { { 1, { 1 } }, { 1, { 1 } } },
  { { 1, { 0 } }, { 1, { 0 } } },                { { 1, { 4 } }, { 2, { 4, 5 } } },
  { { 2, { 3, 4 } }, { 1, { 4 } } },             { { 1, { 4 } }, { 3, { 2, 4, 5 } } },
  { { 3, { 2, 3, 4 } }, { 1, { 4 } } },          { { 3, { 2, 3, 4 } }, { 2, { 4, 5 } } },
  { { 2, { 3, 4 } }, { 3, { 2, 4, 5 } } },       { { 3, { 2, 3, 4 } }, { 3, { 2, 4, 5 } } },
  { { 3, { 1, 3, 4 } }, { 3, { 6, 4, 5 } } },    { { 3, { 6, 3, 4 } }, { 3, { 1, 4, 5 } } },
  { { 4, { 2, 1, 3, 4 } }, { 3, { 5, 4, 2 } } }, { { 4, { 2, 3, 1, 4 } }, { 4, { 2, 1, 4, 6 } } },
  { { 5, { 2, 1, 3, 2, 2 } }, { 4, { 4, 1, 2, 3 } } },
  { { 8, { 1, 2, 1, 2, 1, 2, 3, 2 } }, { 8, { 2, 1, 2, 1, 2, 1, 2, 3 } } },
  { { 2, { 0, 4 } }, { 2, { 4, 5 } } },          { { 2, { 3, 0 } }, { 2, { 0, 5 } } },
  { { 3, { 0, 3, 4 } }, { 3, { 1, 4, 5 } } },    { { 3, { 2, 3, 0 } }, { 2, { 0, 5 } } },
  { { 3, { 4, 1, 3 } }, { 3, { 4, 3, 1 } } },    { { 3, { 4, 1, 3 } }, { 2, { 3, 6 } } },
};

/* Letters of a matmul: batch a, b, c, .. from the last; m, k, n. */
static void label_matmul(const shape *x, const shape *y, labelled in[2], labelled *out) {
  const shape *operand[2] = { x, y };
  static const char own[2][2] = { { 'm', 'k' }, { 'k', 'n' } };
  for (int p = 0; p < 2; p++) {
    int rank = operand[p]->rank, batch = rank == 1 ? 0 : rank - 2;
    in[p].rank = rank;
    for (int i = 0; i < rank; i++) {
      in[p].dim[i] = operand[p]->dim[i];
      in[p].letter[i] = (char)(i < batch ? 'a' + batch - 1 - i : rank == 1 ? 'k' : own[p][i - batch]);
    }
  }
  int bx = x->rank > 2 ? x->rank - 2 : 0, by = y->rank > 2 ? y->rank - 2 : 0, batch = bx > by ? bx : by;
  out->rank = batch;
  for (int i = 0; i < batch; i++) {
    int64_t p = i < bx ? x->dim[bx - 1 - i] : 1, q = i < by ? y->dim[by - 1 - i] : 1;
    out->dim[batch - 1 - i] = p == 1 ? q : p;
    out->letter[batch - 1 - i] = (char)('a' + i);
  }
  if (x->rank > 1) out->dim[out->rank] = x->dim[x->rank - 2], out->letter[out->rank++] = 'm';
  if (y->rank > 1) out->dim[out->rank] = y->dim[y->rank - 1], out->letter[out->rank++] = 'n';
}

static ad_dtype arithmetic(ad_dtype a, ad_dtype b) {
  ad_dtype later = a > b ? a : b;
  return later == AD_BOOL ? AD_I32 : later;
}

static void test_matmul_agrees_with_loops(void) {
  for (size_t s = 0; s < sizeof matmul_shapes/sizeof matmul_shapes[0]; s++)
    for (int d = 0; d < AD_DTYPES*AD_DTYPES; d++) {
      ad_tape *t = ad_tape_new();
      const shape *x = &matmul_shapes[s][0], *y = &matmul_shapes[s][1];
      ad_dtype dx = (ad_dtype)(d/AD_DTYPES), dy = (ad_dtype)(d%AD_DTYPES);
      labelled in[2], out;
      label_matmul(x, y, in, &out);
      ad_var p = random_array(t, ad_type_make(dx, x->rank, x->dim), operand_values[0]);
      ad_var q = random_array(t, ad_type_make(dy, y->rank, y->dim), operand_values[1]);
      naive_einsum(2, in, &out);
      char what[64];
      snprintf(what, sizeof what, "matmul shapes %zu, %s x %s", s, ad_dtype_name(dx), ad_dtype_name(dy));
      check_array(ad_matmul(p, q), arithmetic(dx, dy), out.rank, out.dim, want_values, want_sizes, 24, what);
      ad_tape_free(t);
    }
}

/* Operand of a product: batch, then its two axes, swapped where transposed. */
static labelled product_operand(int batch, int axes, const int64_t *dim, char first, int64_t p, bool no_p,
                                char second, int64_t q, bool no_q, bool transposed) {
  labelled a = { 0 };
  for (int i = 0; i < axes; i++) {
    a.letter[a.rank] = (char)('a' + axes - 1 - i);
    a.dim[a.rank++] = batch >> (axes - 1 - i) & 1 ? dim[axes - 1 - i] : 1;
  }
  bool swap = transposed && !no_p && !no_q;
  if (!no_p && !swap) a.letter[a.rank] = first, a.dim[a.rank++] = p;
  if (!no_q) a.letter[a.rank] = second, a.dim[a.rank++] = q;
  if (swap) a.letter[a.rank] = first, a.dim[a.rank++] = p;
  return a;
}

static void check_product(product a, int x_batch, int y_batch, const int64_t *batch, const int64_t *mkn,
                          ad_dtype dtype) {
  ad_tape *t = ad_tape_new();
  int64_t m = a.no_m ? 1 : mkn[0], k = a.no_k ? 1 : mkn[1], n = a.no_n ? 1 : mkn[2];
  labelled in[2] = { product_operand(x_batch, 2, batch, 'm', m, a.no_m, 'k', k, a.no_k, a.tx),
                     product_operand(y_batch, 2, batch, 'k', k, a.no_k, 'n', n, a.no_n, a.ty) };
  labelled out = product_operand((x_batch | y_batch) & ~a.sum & ((1 << a.rank) - 1), a.rank, batch, 'm', m,
                                 a.no_m, 'n', n, a.no_n, false);
  ad_var x = random_array(t, ad_type_make(dtype, in[0].rank, in[0].dim), operand_values[0]);
  ad_var y = random_array(t, ad_type_make(dtype, in[1].rank, in[1].dim), operand_values[1]);
  naive_einsum(2, in, &out);
  char what[160];
  snprintf(what, sizeof what, "product t %d %d no %d %d %d rank %d sum %d batch %d %d, %s", a.tx, a.ty,
           a.no_m, a.no_k, a.no_n, a.rank, a.sum, x_batch, y_batch, ad_dtype_name(dtype));
  check_array(product_record(a, x, y), dtype, out.rank, out.dim, want_values, want_sizes, 24, what);
  ad_tape_free(t);
}

/* Every way to store or lack the axes m, k, n, with batches that are there, broadcast, or summed. */
static void test_products_in_every_storage(void) {
  static const int64_t batch[2] = { 3, 2 }, mkn[][3] = { { 4, 5, 3 }, { 1, 6, 2 }, { 3, 1, 1 }, { 2, 0, 3 } };
  for (int flags = 0; flags < 32; flags++)
    for (int batches = 0; batches < 16; batches++)
      for (int sums = 0; sums < 8; sums++)
        for (size_t s = 0; s < sizeof mkn/sizeof mkn[0]; s++) {
          int x = batches & 3, y = batches >> 2, sum = sums & 3;
          product a = { .tx = flags & 1, .ty = flags >> 1 & 1, .no_m = flags >> 2 & 1, .no_k = flags >> 3 & 1,
                        .no_n = flags >> 4 & 1, .rank = 2, .sum = (uint8_t)sum };
          if (sums & 4) {               /* leading axes that are summed may be dropped */
            if (!(sum & 2)) continue;
            a.rank = sum & 1 ? 0 : 1;
          }
          if (((x | y) & sum) != sum) continue;
          check_product(a, x, y, batch, mkn[s], (ad_dtype)(AD_I32 + (flags + (int)s)%4));
        }
}

static void test_matmul_says_what_does_not_fit(void) {
  ad_tape *t = ad_tape_new();
  ad_var a = ad_array(t, AD_F64(3, 4), NULL), b = ad_array(t, AD_F64(5, 2), NULL);
  ad_var v = ad_array(t, AD_F64(3), NULL), s = ad_scalar(t, 1);
  ad_var c = ad_array(t, AD_F64(2, 4, 5), NULL), d = ad_array(t, AD_F64(3, 3, 4), NULL);
  check_message(t, ad_matmul(a, b), AD_ERROR_SHAPE, "matmul: inner dimensions differ, (3,4) x (5,2)");
  check_message(t, ad_matmul(a, v), AD_ERROR_SHAPE, "matmul: inner dimensions differ, (3,4) x (3)");
  check_message(t, ad_matmul(d, c), AD_ERROR_SHAPE,
                "matmul: batch dimensions do not broadcast, (3,3,4) x (2,4,5)");
  check_message(t, ad_matmul(a, s), AD_ERROR_SHAPE,
                "matmul: an operand is a scalar; mul multiplies by a number");
  check_message(t, ad_matmul(ad_real(2), a), AD_ERROR_SHAPE,
                "matmul: an operand is a scalar; mul multiplies by a number");
  check_message(t, ad_dot(v, ad_array(t, AD_F64(4), NULL)), AD_ERROR_SHAPE,
                "dot: inner dimensions differ, (3) x (4)");
  check_message(t, ad_dot(a, v), AD_ERROR_SHAPE, "dot: operands must be vectors, (3,4) x (3)");
  check_message(t, ad_outer(v, s), AD_ERROR_SHAPE, "outer: operands must be vectors, (3) x ()");
  check_message(t, ad_trace(v), AD_ERROR_SHAPE, "trace: a matrix is needed, not a vector");
  check_message(t, ad_diag(s, 0), AD_ERROR_SHAPE, "diag: a matrix is needed, not a scalar");
  check_message(t, ad_tril(v, 0), AD_ERROR_SHAPE, "tril: a matrix is needed, not a vector");
  ad_var bad = ad_matmul(a, b);
  ad_tape_clear(t);
  check(!ad_is_valid(ad_matmul(bad, a)) && !ad_is_valid(ad_dot(v, bad)) && !ad_is_valid(ad_diag(bad, 1))
        && !ad_is_valid(ad_einsum("ij->ji", 1, &bad)), "invalid operands", "give invalid handles");
  ad_tape_free(t);
}

static void test_integers_wrap(void) {
  ad_tape *t = ad_tape_new();
  int32_t x[2] = { INT32_MAX, 7 }, y[2] = { 2, 1 }, z;
  ad_var v = ad_dot(ad_array(t, AD_I32(2), x), ad_array(t, AD_I32(2), y));
  check(ad_read(v, &z) == AD_OK && z == 5, "integers wrap", "2 (2^31 - 1) + 7 is 5 modulo 2^32");
  ad_tape_free(t);
}

/* --- dot and outer -------------------------------------------------------------------------------------- */

static void test_dot_is_accurate(void) {
  enum { N = 30011 };
  ad_tape *t = ad_tape_new();
  for (int d = AD_F32; d <= AD_F64; d++) {
    int64_t dim[1] = { N };
    ad_var x = random_array(t, ad_type_make((ad_dtype)d, 1, dim), operand_values[0]);
    ad_var y = random_array(t, ad_type_make((ad_dtype)d, 1, dim), operand_values[1]);
    labelled in[2] = { { 1, "k", { N } }, { 1, "k", { N } } }, out = { 0 };
    naive_einsum(2, in, &out);
    check_array(ad_dot(x, y), (ad_dtype)d, 0, NULL, want_values, want_sizes, 1, "dot of 30011 elements");
  }
  ad_tape_free(t);
}

static void test_outer_agrees_with_loops(void) {
  static const int64_t sizes[][2] = { { 3, 4 }, { 1, 5 }, { 5, 1 }, { 0, 3 }, { 3, 0 }, { 40, 33 } };
  for (size_t s = 0; s < sizeof sizes/sizeof sizes[0]; s++)
    for (int d = 0; d < AD_DTYPES; d++) {
      ad_tape *t = ad_tape_new();
      ad_var x = random_array(t, ad_type_make((ad_dtype)d, 1, &sizes[s][0]), operand_values[0]);
      ad_var y = random_array(t, ad_type_make((ad_dtype)d, 1, &sizes[s][1]), operand_values[1]);
      labelled in[2] = { { 1, "m", { sizes[s][0] } }, { 1, "n", { sizes[s][1] } } };
      labelled out = { 2, "mn", { sizes[s][0], sizes[s][1] } };
      naive_einsum(2, in, &out);
      check_array(ad_outer(x, y), arithmetic((ad_dtype)d, (ad_dtype)d), 2, out.dim, want_values, want_sizes,
                  1, "outer");
      ad_tape_free(t);
    }
}

/* --- einsum --------------------------------------------------------------------------------------------- */

/* equation, and the same with a letter for every axis and an explicit result; sizes of letters: a 2, b 3,
 * c 4, i 3, j 4, k 5, l 2, m 3, n 2, p 1, q 0; a capital letter is the small one's axis with size 1. */
static const struct { const char *equation, *plain; } einsum_cases[] = {
  { "ij,jk->ik", "ij,jk->ik" },         { "ij,jk", "ij,jk->ik" },             { "ij,kj->ik", "ij,kj->ik" },
  { "ji,jk->ki", "ji,jk->ki" },         { "ij->ji", "ij->ji" },               { "ba", "ba->ab" },
  { "im->", "im->" },                   { "ii->i", "ii->i" },                 { "ii", "ii->" },
  { "iii->i", "iii->i" },               { "ijij->ji", "ijij->ji" },           { "bii->b", "bii->b" },
  { "iji->j", "iji->j" },               { "i,i->", "i,i->" },                 { "i,j->ij", "i,j->ij" },
  { "i,j->ji", "i,j->ji" },             { "ij,ij->ij", "ij,ij->ij" },         { "ij,ij->", "ij,ij->" },
  { "ij,ij->i", "ij,ij->i" },           { "ij,ij->j", "ij,ij->j" },           { "ij,ji->", "ij,ji->" },
  { "ij,j->ij", "ij,j->ij" },           { "ij,i->ij", "ij,i->ij" },           { "ij,j->i", "ij,j->i" },
  { "bij,bjk->bik", "bij,bjk->bik" },   { "bij,bkj->bik", "bij,bkj->bik" },
  { "ibj,jbk->kbi", "ibj,jbk->kbi" },
  { "bij,jk->bik", "bij,jk->bik" },     { "ib,jb->ijb", "ib,jb->ijb" },       { "bi,bj->bij", "bi,bj->bij" },
  { "abij,abjk->abik", "abij,abjk->abik" }, { "abij,bajk->iakb", "abij,bajk->iakb" },
  { "ijkl,klmn->ijmn", "ijkl,klmn->ijmn" },
  { "ijkl,lkmn->mnij", "ijkl,lkmn->mnij" }, { "ij,jk,kl->il", "ij,jk,kl->il" }, { "i,ij,j->", "i,ij,j->" },
  { "ij,jk,kl,lm->im", "ij,jk,kl,lm->im" }, { "ijk,ia,jb,kc->abc", "ijk,ia,jb,kc->abc" },
  { "i,i,i->", "i,i,i->" },
  { "i,i,i,i->i", "i,i,i,i->i" },       { "ia,ja,ka->ijk", "ia,ja,ka->ijk" }, { ",ij->ij", ",ij->ij" },
  { ",->", ",->" },                     { "i,->i", "i,->i" },                 { "ij,k->ki", "ij,k->ki" },
  { "iij,jk->k", "iij,jk->k" },         { "pq,qi->pi", "pq,qi->pi" },         { "qi->i", "qi->i" },
  { "iq->iq", "iq->iq" },               { "i,q->iq", "i,q->iq" },             { "ip,pj->ij", "ip,pj->ij" },
  { "...ij,...jk->...ik", "bij,bjk->bik" }, { "...ij,jk", "abij,jk->abik" },
  { "i...,i...->...", "iab,ib->ab" },
  { "...i->i...", "abi->iab" },         { "...ii->...i", "abii->abi" },
  { "ij...,jk...->ik...", "ijba,jkba->ikba" },
  { "...,...", "ab,b->ab" },            { "...,...->...", ",ab->ab" },
  { "...i,...i->...", "Abi,aBi->ab" },
  { "...ij,...jk->...ik", "abij,Bjk->abik" }, { "ij,ij->ij", "Ij,iJ->ij" },   { "ij,jk->ik", "iJ,jk->ik" },
  { " i j , j k -> i k ", "ij,jk->ik" }, { "BA,Ab->Bb", "ij,jk->ik" },        { "bA", "bA->Ab" },
  { "abijklmn->nmlkjiba", "abijklmn->nmlkjiba" }, { "a,b,c,i->abci", "a,b,c,i->abci" },
  { "a,b,a,b,a->b", "a,b,a,b,a->b" },
  /* letters of size 1: the product of the first two would have nine axes */
  { "defg,horsi,defghors->i", "defg,horsi,defghors->i" },
};

static int64_t size_of_letter(char c) {
  static const char letters[] = "abcijklmnpq";
  static const int64_t sizes[] = { 2, 3, 4, 3, 4, 5, 2, 3, 2, 1, 0 };
  const char *at = strchr(letters, c);
  return at ? sizes[at - letters] : 1;
}

/* The operands and result of a plain equation. */
static int read_plain(const char *plain, labelled in[], labelled *out) {
  int n = 0;
  labelled *a = &in[n++];
  memset(in, 0, MAX_OPERANDS*sizeof *in);
  memset(out, 0, sizeof *out);
  for (const char *c = plain; *c; c++) {
    if (*c == ',') a = &in[n++];
    else if (*c == '-') a = out, c++;
    else {
      a->dim[a->rank] = size_of_letter(*c);
      a->letter[a->rank++] = (char)(*c | 32);
    }
  }
  return n;
}

static void test_einsum_agrees_with_loops(void) {
  static const ad_dtype mixes[][3] = { { AD_F64, AD_F64, AD_F64 }, { AD_F32, AD_F32, AD_F32 },
                                       { AD_I32, AD_I32, AD_I32 }, { AD_I64, AD_BOOL, AD_I32 },
                                       { AD_BOOL, AD_BOOL, AD_BOOL }, { AD_F32, AD_F64, AD_I64 } };
  for (size_t s = 0; s < sizeof einsum_cases/sizeof einsum_cases[0]; s++)
    for (size_t d = 0; d < sizeof mixes/sizeof mixes[0]; d++) {
      ad_tape *t = ad_tape_new();
      labelled in[MAX_OPERANDS], out;
      ad_var x[MAX_OPERANDS];
      int n = read_plain(einsum_cases[s].plain, in, &out);
      ad_dtype dtype = AD_BOOL;
      for (int k = 0; k < n; k++) {
        dtype = arithmetic(dtype, mixes[d][k%3]);
        x[k] = random_array(t, ad_type_make(mixes[d][k%3], in[k].rank, in[k].dim), operand_values[k]);
      }
      naive_einsum(n, in, &out);
      char what[120];
      snprintf(what, sizeof what, "einsum \"%s\" as %s, mix %zu", einsum_cases[s].equation,
               einsum_cases[s].plain, d);
      check_array(ad_einsum(einsum_cases[s].equation, n, x), dtype, out.rank, out.dim, want_values,
                  want_sizes, 24, what);
      ad_tape_free(t);
    }
}

static void test_einsum_says_what_is_wrong(void) {
  ad_tape *t = ad_tape_new();
  ad_var a = ad_array(t, AD_F64(3, 4), NULL), b = ad_array(t, AD_F64(5, 2), NULL);
  ad_var wide = ad_array(t, AD_F64(1, 1, 1, 1, 1), NULL), ab[2] = { a, b }, aa[2] = { a, a };
  ad_var ww[2] = { wide, wide };
  check_message(t, ad_einsum("ij,jk->ik", 2, ab), AD_ERROR_SHAPE,
                "einsum: axis 'j' of operand 1 has size 5, but 4 before, in \"ij,jk->ik\"");
  check_message(t, ad_einsum("ii->i", 1, aa), AD_ERROR_SHAPE,
                "einsum: axis 'i' of operand 0 has size 4, but 3 before, in \"ii->i\"");
  check_message(t, ad_einsum("ij,ij->ik", 2, aa), AD_ERROR_SYNTAX,
                "einsum: 'k' at position 8 of \"ij,ij->ik\" is in no operand");
  check_message(t, ad_einsum("ij->ii", 1, aa), AD_ERROR_SYNTAX,
                "einsum: 'i' at position 5 of \"ij->ii\" comes twice in the result");
  check_message(t, ad_einsum("i1->i", 1, aa), AD_ERROR_SYNTAX,
                "einsum: no letter at position 1 of \"i1->i\"");
  check_message(t, ad_einsum("ij-i", 1, aa), AD_ERROR_SYNTAX,
                "einsum: \"->\" was expected at position 2 of \"ij-i\"");
  check_message(t, ad_einsum("ij->i,j", 1, aa), AD_ERROR_SYNTAX,
                "einsum: the end was expected at position 5 of \"ij->i,j\"");
  check_message(t, ad_einsum("i..->i", 1, aa), AD_ERROR_SYNTAX,
                "einsum: \"...\" is incomplete at position 1 of \"i..->i\"");
  check_message(t, ad_einsum("......", 1, aa), AD_ERROR_SYNTAX,
                "einsum: a second \"...\" in one operand at position 3 of \"......\"");
  check_message(t, ad_einsum("...j->j", 1, aa), AD_ERROR_SYNTAX,
                "einsum: the result lacks the \"...\" of its operands at position 6 of \"...j->j\"");
  check_message(t, ad_einsum("ijk->i", 1, aa), AD_ERROR_SHAPE,
                "einsum: operand 0 has 2 axes, its subscripts at position 0 of \"ijk->i\" name 3");
  check_message(t, ad_einsum("ij,i->i", 2, aa), AD_ERROR_SHAPE,
                "einsum: operand 1 has 2 axes, its subscripts at position 3 of \"ij,i->i\" name 1");
  check_message(t, ad_einsum("ij->i", 2, aa), AD_ERROR_SYNTAX,
                "einsum: \"ij->i\" is for 1 operands, 2 were given");
  check_message(t, ad_einsum("ij,ij,ij", 2, aa), AD_ERROR_SYNTAX,
                "einsum: \"ij,ij,ij\" is for more than the 2 operands given");
  check_message(t, ad_einsum("abcde,fghij", 2, ww), AD_ERROR_SYNTAX,
                "einsum: a result of more than 8 axes at position 11 of \"abcde,fghij\"");
  check(!ad_is_valid(ad_einsum("ij", 0, aa)) && !ad_is_valid(ad_einsum(NULL, 1, aa)), "einsum",
        "bad arguments");
  ad_tape_free(t);
}

/* Forty operands: more than are searched for pairs. */
static void test_einsum_of_many_operands(void) {
  enum { N = 40 };
  ad_tape *t = ad_tape_new();
  ad_var x[N];
  char equation[3*N + 1] = "";
  double value[4], rotation[4] = { 0.8, -0.6, 0.6, 0.8 }, angle = N*atan2(0.6, 0.8);
  for (int i = 0; i < N; i++) {
    x[i] = ad_array(t, AD_F64(2, 2), rotation);
    snprintf(equation + 3*i, 4, "%c%c%s", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[i],
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[i + 1], i + 1 < N ? "," : "");
  }
  char full[3*N + 8];
  snprintf(full, sizeof full, "%s->a%c", equation, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[N]);
  ad_var z = ad_einsum(full, N, x);
  bool good = ad_read(z, value) == AD_OK && fabs(value[0] - cos(angle)) < 1e-13
              && fabs(value[2] - sin(angle)) < 1e-13;
  check(good, "einsum", "product of forty rotations");
  ad_tape_free(t);
}

/* --- diag, tril, triu, trace ---------------------------------------------------------------------------- */

static const shape matrix_shapes[] = {
  { 2, { 3, 4 } }, { 2, { 4, 3 } }, { 2, { 1, 1 } }, { 2, { 0, 3 } }, { 2, { 3, 0 } }, { 3, { 2, 3, 3 } },
  { 4, { 2, 1, 2, 5 } },
  { 3, { 0, 2, 2 } }, { 2, { 17, 9 } },
};
enum { MATRIX_SHAPES = sizeof matrix_shapes/sizeof matrix_shapes[0], FAR = 1000000000 };
static const int diagonals[] = { 0, 1, -1, 2, -2, 3, -4, 20, -20, FAR, -FAR };
enum { DIAGONALS = sizeof diagonals/sizeof diagonals[0] };

static void check_triangles(ad_tape *t, ad_type type, int k) {
  ad_var x = random_array(t, type, operand_values[0]);
  int64_t rows = type.dim[type.rank - 2], columns = type.dim[type.rank - 1];
  for (int upper = 0; upper < 2; upper++) {
    for (int64_t i = 0; i < ad_type_count(type); i++) {
      int64_t offset = i%columns - i/columns%rows;
      want_values[i] = (upper ? offset >= k : offset <= k) ? operand_values[0][i] : 0;
    }
    check_array(upper ? ad_triu(x, k) : ad_tril(x, k), type.dtype, type.rank, type.dim, want_values, NULL, 0,
                upper ? "triu" : "tril");
  }
}

static void check_diagonal(ad_tape *t, ad_type type, int k) {
  ad_var x = random_array(t, type, operand_values[0]);
  int64_t rows = type.dim[type.rank - 2], columns = type.dim[type.rank - 1], length = 0, count = 0, dim[8];
  for (int64_t i = 0; i < rows; i++) length += i + k >= 0 && i + k < columns;
  for (int64_t i = 0; i < ad_type_count(type); i++)
    if (i%columns - i/columns%rows == k) want_values[count++] = operand_values[0][i];
  memcpy(dim, type.dim, sizeof dim);
  dim[type.rank - 2] = length;
  check_array(ad_diag(x, k), type.dtype, type.rank - 1, dim, want_values, NULL, 0, "diag of a matrix");
}

static void check_trace(ad_tape *t, ad_type type) {
  ad_var x = random_array(t, type, operand_values[0]);
  int64_t rows = type.dim[type.rank - 2], columns = type.dim[type.rank - 1], each = rows*columns;
  int64_t matrices = 1;
  for (int i = 0; i < type.rank - 2; i++) matrices *= type.dim[i];
  for (int64_t b = 0; b < matrices; b++) {
    want_values[b] = want_sizes[b] = 0;
    for (int64_t i = 0; i < rows && i < columns; i++) {
      want_values[b] += operand_values[0][b*each + i*(columns + 1)];
      want_sizes[b] += fabsl(operand_values[0][b*each + i*(columns + 1)]);
    }
  }
  ad_dtype dtype = type.dtype < AD_F32 ? AD_I64 : type.dtype;
  check_array(ad_trace(x), dtype, type.rank - 2, type.dim, want_values, want_sizes, 4, "trace");
}

static void test_parts_of_matrices(void) {
  for (int s = 0; s < MATRIX_SHAPES; s++)
    for (int d = 0; d < AD_DTYPES; d++) {
      ad_tape *t = ad_tape_new();
      ad_type type = ad_type_make((ad_dtype)d, matrix_shapes[s].rank, matrix_shapes[s].dim);
      for (int i = 0; i < DIAGONALS; i++) {
        check_triangles(t, type, diagonals[i]);
        check_diagonal(t, type, diagonals[i]);
      }
      check_trace(t, type);
      ad_tape_free(t);
    }
}

static void test_diag_of_a_vector(void) {
  for (int d = 0; d < AD_DTYPES; d++)
    for (int64_t n = 0; n < 5; n++)
      for (int k = -3; k <= 3; k++) {
        ad_tape *t = ad_tape_new();
        ad_var x = random_array(t, ad_type_make((ad_dtype)d, 1, &n), operand_values[0]);
        int64_t size = n + (k < 0 ? -k : k), dim[2] = { size, size }, next = 0;
        for (int64_t i = 0; i < size*size; i++)
          want_values[i] = i%size - i/size == k ? operand_values[0][next++] : 0;
        check_array(ad_diag(x, k), (ad_dtype)d, 2, dim, want_values, NULL, 0, "diag of a vector");
        ad_tape_free(t);
      }
  ad_tape *t = ad_tape_new();
  ad_var x = ad_array(t, AD_F64(3), NULL);
  check_message(t, ad_diag(x, INT32_MAX), AD_ERROR_SIZE, "diag_embed: the matrix is too big");
  check_message(t, ad_diag(x, INT32_MIN), AD_ERROR_SIZE, "diag_embed: the matrix is too big");
  ad_tape_free(t);
}

int main(void) {
  test_matmul_agrees_with_loops();
  test_products_in_every_storage();
  test_matmul_says_what_does_not_fit();
  test_integers_wrap();
  test_dot_is_accurate();
  test_outer_agrees_with_loops();
  test_einsum_agrees_with_loops();
  test_einsum_says_what_is_wrong();
  test_einsum_of_many_operands();
  test_parts_of_matrices();
  test_diag_of_a_vector();
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
