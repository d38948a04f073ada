/* work.c -- how much work the primitives are: what several share. */
#include "primitives/work.h"

#include <ctype.h>
#include <string.h>

/* --- rows of the table ---------------------------------------------------------------------------------- */

/* Is the name that ends before the parenthesis one of the cheap ones? C(..) is a constant. */
static bool is_cheap(const char *name, size_t length) {
  static const char *const cheap[] = { "fabs", "fmax", "fmin", "floor", "ceil", "round", "trunc", "copysign",
                                       "C" };
  for (size_t i = 0; i < sizeof cheap/sizeof *cheap; i++)
    if (strlen(cheap[i]) == length && !memcmp(cheap[i], name, length)) return true;
  return false;
}

ad_work row_work(const elementwise_row *row) {
  for (const char *s = row->value; *s; s++) {
    const char *name = s;
    while (isalnum((unsigned char)*s) || *s == '_') s++;
    const size_t length = (size_t)(s - name);
    if (length == 3 && *s == '(' && !memcmp(name, "fma", 3)) return (ad_work){ .flops = 2 };
    if (length && *s == '(' && !is_cheap(name, length)) return (ad_work){ .calls = 1 };
    if (!*s) break;
  }
  return (ad_work){ .flops = 1 };
}

/* --- structured primitives ------------------------------------------------------------------------------ */

void work_move(const ad_operation *op, ad_work *w) {
  (void)op;
  (void)w;
}

void work_part(const ad_operation *op, ad_work *w) {
  w->bytes_read += (double)ad_type_bytes(op->z) - (double)ad_type_bytes(*op->x[0]);
}

/* The bytes of the first operand are those of its part: read, added to, and written. */
void work_add_into(const ad_operation *op, ad_work *w) {
  const ad_type *part = op->x[op->n - 1];
  w->flops = (double)ad_type_count(*part);
  w->bytes_read += (double)ad_type_bytes(*part) - (double)ad_type_bytes(*op->x[0]);
  w->bytes_written = (double)ad_type_bytes(*part);
}

void work_fold(const ad_operation *op, ad_work *w) { w->flops = (double)ad_type_count(*op->x[0]); }

void work_fold_twice(const ad_operation *op, ad_work *w) { w->flops = 2*(double)ad_type_count(*op->x[0]); }

void work_call(const ad_operation *op, ad_work *w) { w->calls = (double)ad_type_count(op->z); }
