/* same.h -- two functions, called on the same numbers. */
#ifndef ADIT_TESTS_SAME_H
#define ADIT_TESTS_SAME_H

#include "adit/function.h"
#include "check.h"

#include <stdlib.h>

enum { SAME_MOST = 40 };

/* Fills f's inputs, in a way that `how` says. */
typedef void same_fill(ad_function *f, const void *how, void *const in[]);

static inline void *same_room(ad_type type) {
  void *room = calloc(ad_type_bytes(type) + 8, 1);
  if (!room) abort();
  return room;
}

static inline void same_elements(const char *what, int j, ad_type type, const void *got, const void *want,
                                 const double tolerance[2]) {
  for (int64_t e = 0; e < ad_type_count(type); e++) {
    const double a = check_element(type.dtype, got, e), b = check_element(type.dtype, want, e);
    CHECK_THAT(check_near(a, b, tolerance[type.dtype == AD_F32]), "%s: output %d[%lld] is %.17g, not %.17g",
               what, j, (long long)e, a, b);
  }
}

/* Both end well, with outputs of equal types that agree within the tolerance of f64, of f32. */
static inline void same_on(const char *what, ad_function *got, ad_function *want, same_fill *fill,
                           const void *how, const double tolerance[2]) {
  if (!CHECK_THAT(got && want, "%s: could not be made", what)) return;
  const int n = ad_function_inputs(got), m = ad_function_outputs(got);
  if (!CHECK_THAT(ad_function_inputs(want) == n && ad_function_outputs(want) == m && n <= SAME_MOST
                      && m <= SAME_MOST, "%s: other numbers of inputs, outputs", what))
    return;
  void *in[SAME_MOST], *out[2][SAME_MOST];
  for (int i = 0; i < n; i++) in[i] = same_room(ad_function_input_type(got, i));
  fill(got, how, in);
  for (int j = 0; j < m; j++) {
    out[0][j] = same_room(ad_function_output_type(got, j));
    out[1][j] = same_room(ad_function_output_type(want, j));
  }
  ad_workspace *space = ad_workspace_new();
  const ad_status status = ad_function_call(got, (const void *const *)in, out[0], space);
  CHECK_THAT(status == AD_OK, "%s: %s: %s", what, ad_status_sentence(status), ad_workspace_message(space));
  CHECK_STATUS(ad_function_call(want, (const void *const *)in, out[1], NULL), AD_OK);
  for (int j = 0; j < m && status == AD_OK; j++) {
    const ad_type type = ad_function_output_type(want, j);
    if (CHECK_THAT(ad_type_equal(type, ad_function_output_type(got, j)), "%s: type of output %d", what, j))
      same_elements(what, j, type, out[0][j], out[1][j], tolerance);
  }
  for (int i = 0; i < n; i++) free(in[i]);
  for (int j = 0; j < m; j++) free(out[0][j]), free(out[1][j]);
  ad_workspace_free(space);
}

#endif
