/* array_checks.h -- what the tests of movement, indexing and construction share.
 *
 * Movement is checked against a list of places: for every element of the result, the operand and the element
 * that it must be. The same list says what tangents and adjoints must be, exactly: all numbers are small
 * integers.
 */
#ifndef ADIT_TESTS_ARRAY_CHECKS_H
#define ADIT_TESTS_ARRAY_CHECKS_H

#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/primitive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int passed, failed;

/* --- randomness ----------------------------------------------------------------------------------------- */

static uint64_t random_state = 1;

static inline uint64_t random_bits(void) {
  uint64_t z = random_state += 0x9E3779B97F4A7C15u;     /* SplitMix64 */
  z = (z ^ z >> 30)*0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27)*0x94D049BB133111EBu;
  return z ^ z >> 31;
}
static inline int64_t below(int64_t n) { return n > 0 ? (int64_t)(random_bits()%(uint64_t)n) : 0; }

/* A shape of up to about 1000 elements, one in six with an empty axis. */
static inline ad_type random_type(ad_dtype dtype, int low_rank, int high_rank) {
  int64_t dim[AD_MAX_RANK] = { 0 }, count = 1;
  int rank = low_rank + (int)below(high_rank - low_rank + 1);
  for (int d = 0; d < rank; d++) {
    dim[d] = 1 + below(rank > 5 ? 3 : 6);
    if (count*dim[d] > 1000) dim[d] = 1;
    count *= dim[d];
  }
  if (rank && below(6) == 0) dim[below(rank)] = 0;
  return ad_type_make(dtype, rank, dim);
}

/* --- elements as numbers -------------------------------------------------------------------------------- */

static inline double element(ad_dtype dtype, const void *data, int64_t i) {
  switch (dtype) {
    case AD_BOOL: return ((const uint8_t *)data)[i];
    case AD_I32:  return ((const int32_t *)data)[i];
    case AD_I64:  return (double)((const int64_t *)data)[i];
    case AD_F32:  return ((const float *)data)[i];
    default:      return ((const double *)data)[i];
  }
}

static inline void set_element(ad_dtype dtype, void *data, int64_t i, double v) {
  switch (dtype) {
    case AD_BOOL: ((uint8_t *)data)[i] = v != 0; break;
    case AD_I32:  ((int32_t *)data)[i] = (int32_t)v; break;
    case AD_I64:  ((int64_t *)data)[i] = (int64_t)v; break;
    case AD_F32:  ((float *)data)[i] = (float)v; break;
    default:      ((double *)data)[i] = v; break;
  }
}

static inline void *room_for(ad_type type) {
  void *p = calloc(ad_type_bytes(type) + 1, 1);
  if (!p) abort();
  return p;
}

/* Whole numbers in [-9, 9]; 0 and 1 as bool. */
static inline void *random_data(ad_type type) {
  void *data = room_for(type);
  for (int64_t i = 0; i < ad_type_count(type); i++)
    set_element(type.dtype, data, i, type.dtype == AD_BOOL ? (double)below(2) : (double)(below(19) - 9));
  return data;
}

static inline ad_var random_input(ad_tape *t, ad_type type) {
  void *data = random_data(type);
  ad_var x = ad_array(t, type, data);
  free(data);
  return x;
}

static inline void *read_all(ad_var x) {
  void *data = room_for(ad_type_of(x));
  if (ad_read(x, data) != AD_OK) {
    free(data);
    return NULL;
  }
  return data;
}

/* --- indices -------------------------------------------------------------------------------------------- */

static inline void unravel(ad_type type, int64_t flat, int64_t index[]) {
  for (int d = type.rank - 1; d >= 0; d--) {
    index[d] = flat%type.dim[d];
    flat /= type.dim[d];
  }
}

static inline int64_t ravel(ad_type type, const int64_t index[]) {
  int64_t flat = 0;
  for (int d = 0; d < type.rank; d++) flat = flat*type.dim[d] + index[d];
  return flat;
}

/* --- verdicts ------------------------------------------------------------------------------------------- */

static inline bool check(bool good, const char *what) {
  if (good) passed++;
  else {
    failed++;
    printf("FAIL %s\n", what);
  }
  return good;
}

static inline bool check_type(ad_tape *t, ad_var z, ad_type want, const char *what) {
  char got[192], wanted[192];
  if (ad_type_equal(ad_type_of(z), want)) return true;
  printf("%s: %s, not %s; %s\n", what, ad_type_print(ad_type_of(z), got, sizeof got),
         ad_type_print(want, wanted, sizeof wanted), ad_tape_message(t));
  return check(false, what);
}

/* x is, bit for bit as numbers, what want says (an array of doubles). */
static inline bool has_values(ad_var x, const double *want) {
  ad_type type = ad_type_of(x);
  void *data = read_all(x);
  bool good = data != NULL;
  for (int64_t i = 0; good && i < ad_type_count(type); i++) good = element(type.dtype, data, i) == want[i];
  free(data);
  return good;
}

static inline void check_values(ad_var x, const double *want, const char *what) {
  check(has_values(x, want), what);
}

/* The last call must have failed with this status and a message that contains text. Clears the error. */
static inline void check_error(ad_tape *t, ad_var z, ad_status status, const char *text) {
  bool good = !ad_is_valid(z) && ad_tape_status(t) == status && strstr(ad_tape_message(t), text);
  if (!good) printf("status %d, message \"%s\"\n", (int)ad_tape_status(t), ad_tape_message(t));
  check(good, text);
  ad_tape_clear(t);
}

/* --- the transpose test on places ----------------------------------------------------------------------- */

/* Element `flat` of an operand; operand -1: a number that is none of theirs. */
typedef struct place { int operand; int64_t flat; } place;

enum { MOST_OPERANDS = 8 };

static inline bool tangents_move(ad_tape *t, int n, const ad_var x[], ad_var z, const place *from) {
  ad_var xdot[MOST_OPERANDS], zdot;
  double *v[MOST_OPERANDS];
  ad_type type = ad_type_of(z);
  for (int k = 0; k < n; k++) {
    ad_type tk = ad_type_of(x[k]);
    xdot[k] = random_input(t, tk);
    v[k] = room_for(ad_type_make(AD_F64, tk.rank, tk.dim));
    void *data = read_all(xdot[k]);
    for (int64_t i = 0; i < ad_type_count(tk); i++) v[k][i] = element(tk.dtype, data, i);
    free(data);
  }
  double *want = room_for(ad_type_make(AD_F64, type.rank, type.dim));
  for (int64_t i = 0; i < ad_type_count(type); i++)
    want[i] = from[i].operand < 0 ? 0 : v[from[i].operand][from[i].flat];
  bool good = ad_jvp(n, x, xdot, 1, &z, &zdot) == AD_OK && has_values(zdot, want);
  for (int k = 0; k < n; k++) free(v[k]);
  free(want);
  return good;
}

static inline bool adjoints_move(ad_tape *t, int n, const ad_var x[], ad_var z, const place *from) {
  ad_var xbar[MOST_OPERANDS], zbar = random_input(t, ad_type_of(z));
  ad_type type = ad_type_of(z);
  double *want[MOST_OPERANDS];
  void *u = read_all(zbar);
  bool good = ad_vjp(1, &z, &zbar, n, x, xbar) == AD_OK;
  for (int k = 0; k < n; k++) {
    ad_type tk = ad_type_of(x[k]);
    want[k] = room_for(ad_type_make(AD_F64, tk.rank, tk.dim));
  }
  for (int64_t i = 0; i < ad_type_count(type); i++)
    if (from[i].operand >= 0) want[from[i].operand][from[i].flat] += element(type.dtype, u, i);
  for (int k = 0; k < n; k++) {
    good = good && ad_type_equal(ad_type_of(xbar[k]), ad_type_of(x[k])) && has_values(xbar[k], want[k]);
    free(want[k]);
  }
  free(u);
  return good;
}

static inline bool sweep_counts(int n, const ad_var x[], ad_var z, const place *from) {
  ad_type type = ad_type_of(z);
  bool good = ad_backward(z) == AD_OK;
  for (int k = 0; k < n && good; k++) {
    ad_type tk = ad_type_of(x[k]);
    void *bar = room_for(tk);
    double *want = room_for(ad_type_make(AD_F64, tk.rank, tk.dim));
    for (int64_t i = 0; i < ad_type_count(type); i++)
      if (from[i].operand == k) want[from[i].flat] += 1;
    good = ad_read_adjoint(x[k], bar) == AD_OK;
    for (int64_t i = 0; i < ad_type_count(tk) && good; i++) good = element(tk.dtype, bar, i) == want[i];
    free(want);
    free(bar);
  }
  return good;
}

/* z, of type want, moves the elements of the operands as `from` says, forwards and backwards. fill: the
 * value at places of no operand. Operands are distinct inputs. */
static inline void check_places(ad_tape *t, int n, const ad_var x[], ad_var z, ad_type want,
                                const place *from, double fill,
                                const char *what) {
  if (!check_type(t, z, want, what)) {
    ad_tape_clear(t);
    return;
  }
  double *values = room_for(ad_type_make(AD_F64, want.rank, want.dim));
  for (int k = 0; k < n; k++) {
    ad_type tk = ad_type_of(x[k]);
    void *data = read_all(x[k]);
    for (int64_t i = 0; i < ad_type_count(want); i++)
      if (from[i].operand == k) values[i] = element(tk.dtype, data, from[i].flat);
      else if (from[i].operand < 0) values[i] = fill;
    free(data);
  }
  check_values(z, values, what);
  free(values);
  if (want.dtype < AD_F32) return;
  check(tangents_move(t, n, x, z, from), what);
  check(adjoints_move(t, n, x, z, from), what);
  check(sweep_counts(n, x, z, from), what);
  if (ad_tape_status(t) != AD_OK) printf("%s: %s\n", what, ad_tape_message(t));
  ad_tape_clear(t);
}

/* --- the same for additions: z = base, z[to[i]] += updates[i] ------------------------------------------- */

static inline bool sums_up(ad_var z, const ad_var base, const ad_var updates, const int64_t *to) {
  ad_type b = ad_type_of(base), u = ad_type_of(updates);
  void *into = read_all(base), *add = read_all(updates);
  double *want = room_for(ad_type_make(AD_F64, b.rank, b.dim));
  for (int64_t i = 0; i < ad_type_count(b); i++) want[i] = element(b.dtype, into, i);
  for (int64_t i = 0; i < ad_type_count(u); i++) want[to[i]] += element(u.dtype, add, i);
  for (int64_t i = 0; i < ad_type_count(b) && b.dtype == AD_BOOL; i++) want[i] = want[i] != 0;
  bool good = has_values(z, want);
  free(want);
  free(add);
  free(into);
  return good;
}

static inline bool reads_back(ad_var xbar, ad_var zbar, const int64_t *to) {
  ad_type type = ad_type_of(xbar);
  void *u = read_all(zbar);
  double *want = room_for(ad_type_make(AD_F64, type.rank, type.dim));
  for (int64_t i = 0; i < ad_type_count(type); i++) want[i] = element(type.dtype, u, to[i]);
  bool good = has_values(xbar, want);
  free(want);
  free(u);
  return good;
}

static inline void check_addition(ad_tape *t, ad_var base, ad_var updates, ad_var z, const int64_t *to,
                                  const char *what) {
  ad_var x[2] = { base, updates }, xdot[2], zdot, xbar[2], zbar;
  if (!check_type(t, z, ad_type_of(base), what)) return;
  check(sums_up(z, base, updates, to), what);
  if (ad_type_of(z).dtype < AD_F32) return;
  for (int k = 0; k < 2; k++) xdot[k] = random_input(t, ad_type_of(x[k]));
  check(ad_jvp(2, x, xdot, 1, &z, &zdot) == AD_OK && sums_up(zdot, xdot[0], xdot[1], to), what);
  zbar = random_input(t, ad_type_of(z));
  check(ad_vjp(1, &z, &zbar, 2, x, xbar) == AD_OK && reads_back(xbar[1], zbar, to), what);
  double *u = room_for(ad_type_make(AD_F64, ad_type_of(z).rank, ad_type_of(z).dim));
  void *data = read_all(zbar);
  for (int64_t i = 0; i < ad_type_count(ad_type_of(z)); i++) u[i] = element(ad_type_of(z).dtype, data, i);
  check_values(xbar[0], u, what);
  free(data);
  free(u);
}

static inline int report(void) {
  printf("%d passed, %d failed\n", passed, failed);
  return failed ? 1 : 0;
}

#endif
