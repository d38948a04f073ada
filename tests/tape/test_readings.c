/* test_readings.c -- when a value that was read and has changed makes what was recorded after it stale, and
 * when not. */
#include "check.h"

#include "adit/derive.h"
#include "adit/elementwise.h"

static ad_var branch(ad_var c, ad_var x) { return ad_value(c) > 1 ? ad_exp(x) : ad_sin(x); }

/* The branch is recorded again for each value: never stale, whether the rewind or the change comes first, and
 * whatever was read in between. */
static void test_recorded_again(bool rewind_first, bool read_between) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), c = ad_mul(x, x);
  const ad_mark m = ad_tape_mark(t);
  for (int i = 0; i < 6; i++) {
    const double value = i%2 ? 0.5 : 2;
    const ad_var y = branch(c, x);
    CHECK_NUMBER(ad_value(y), i%2 ? sin(value) : exp(value), 1e-15);
    CHECK_STATUS(ad_tape_status(t), AD_OK);
    if (rewind_first) ad_tape_rewind(t, m);
    ad_set_value(x, i%2 ? 2 : 0.5);
    if (read_between) (void)ad_value(rewind_first ? x : y);
    if (!rewind_first) ad_tape_rewind(t, m);
    ad_tape_clear(t);
  }
  ad_tape_free(t);
}

/* The branch stays: stale while the value that it was taken on is another. */
static void test_kept(void) {
  ad_tape *t = ad_tape_new();
  const ad_var x = ad_scalar(t, 2), c = ad_mul(x, x), y = branch(c, x);
  double z;
  ad_set_value(x, 0.5);
  CHECK_STATUS(ad_read(c, &z), AD_OK);
  CHECK_STATUS(ad_read(y, &z), AD_STALE);
  ad_set_value(x, 2);
  CHECK_STATUS(ad_read(y, &z), AD_OK);
  const ad_mark m = ad_tape_mark(t);
  (void)ad_square(y);
  ad_tape_rewind(t, m);
  ad_set_value(x, 0.5);
  CHECK_STATUS(ad_read(y, &z), AD_STALE);
  ad_tape_free(t);
}

int main(void) {
  for (int i = 0; i < 4; i++) test_recorded_again(i & 1, i & 2);
  test_kept();
  return check_summary();
}
