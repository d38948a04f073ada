/* test_prototypes.c -- every row of the table has its hand-written prototype in adit/elementwise.h, and takes
 * numbers beside variables where it has two or three operands. Mostly checked by compiling. */
#include <stdio.h>

#include "adit/elementwise.h"
#include "adit/tape.h"
#include "primitives/elementwise.h"

typedef ad_var unary_function(ad_var);
typedef ad_var attribute_function(ad_var, double);
typedef ad_var binary_function(ad_var, ad_var);
typedef ad_var ternary_function(ad_var, ad_var, ad_var);

static int passed, failed;

static void check(bool good, const char *what, const char *row) {
  if (good) passed++;
  else failed++, printf("FAIL %s: %s\n", row, what);
}

/* The recorded node is that row, on a variable in every place and on a number in one of two. */
static void check_node(const char *row, ad_var z) {
  check(ad_is_valid(z) && ad_operation_name(z)[0], "records", row);
}

int main(void) {
  ad_tape *t = ad_tape_new();
  ad_var v = ad_scalar(t, 0.5);
#define UNARY(id, ...)           { unary_function *f = ad_##id;     check_node(#id, f(v)); }
#define UNARY_ATTRIBUTE(id, ...) { attribute_function *f = ad_##id; check_node(#id, f(v, 2)); }
#define BINARY(id, ...)          { binary_function *f = ad_##id;    check_node(#id, f(v, v)); \
                                   check_node(#id, ad_##id(v, 2)); check_node(#id, ad_##id(0.5f, v)); }
#define TERNARY(id, ...)         { ternary_function *f = ad_##id;   check_node(#id, f(v, v, v)); \
                                   check_node(#id, ad_##id(v, 2, 3L)); }
#include "primitives/elementwise.def"
  check(ad_tape_status(t) == AD_OK, ad_tape_message(t), "tape");
  ad_tape_free(t);
  printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
