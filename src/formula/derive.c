/* derive.c -- ad_formula_derive: read, differentiate, simplify, lay out, write. */
#include "formula/derive.h"
#include "formula/layout.h"
#include "formula/names.h"
#include "formula/symbolic.h"

#include <stdio.h>
#include <string.h>

static ad_status refuse(ad_formula_report *r, ad_status status) {
  r->status = status;
  snprintf(r->message, sizeof r->message, "%s",
           status == AD_ERROR_LIMIT ? "the derivative is too long to be written out"
                                                                         : ad_status_sentence(status));
  return status;
}

/* One derivative, terminated by a zero byte, behind what is in *out. */
static ad_status write_derivative(algebra *a, int f, const char *name, ad_notation notation, text *out) {
  int x = algebra_symbol(a, name, (int)strlen(name), false);
  int d = algebra_simplify(a, symbolic_derivative(a, algebra_simplify(a, f), x));
  if (a->status) return a->status;
  sheet s = { .allocator = a->allocator };
  int root = layout_term(a, d, &s);
  sheet_write(&s, root, notation, out);
  text_add(out, "", 1);
  sheet_free(&s);
  return out->status;
}

static ad_status derive(algebra *a, const part_list *f, ad_notation notation, int n, const char *const wrt[],
                        text *out,
                        ad_formula_report *report) {
  for (int j = 0; j < f->count; j++)
    for (int i = 0; i < n; i++) {
      ad_status status = write_derivative(a, f->item[j].term, wrt[i], notation, out);
      if (status) return refuse(report, status);
    }
  return AD_OK;
}

ad_status derive_with(const ad_allocator *allocator, const char *formula, ad_notation notation, int n,
                      const char *const wrt[],
                      char *out, size_t size, size_t *needed, int *count, ad_formula_report *r) {
  expression e;
  expression_error error;
  *r = (ad_formula_report){ 0 };
  r->status = expression_read(allocator, formula, EXPRESSION_FORMULA, &e, &error);
  if (r->status) {
    r->position = error.position;
    snprintf(r->message, sizeof r->message, "%s", error.message);
    return r->status;
  }
  algebra a;
  part_list f = { 0 };
  text written = { .allocator = allocator };
  if (!algebra_begin(&a, allocator)) refuse(r, AD_ERROR_MEMORY);
  else if (!symbolic_read(&a, &e, n, wrt, &f, r)) derive(&a, &f, notation, n, wrt, &written, r);
  if (count) *count = f.count;
  if (!r->status && !f.count) {
    r->status = AD_ERROR_SYNTAX, r->position = (int)strlen(formula);
    snprintf(r->message, sizeof r->message, "nothing to differentiate: every statement binds a name");
  }
  ad_status copied = text_copy(&written, out, size, needed);
  if (!r->status && copied) r->status = copied;
  text_free(&written);
  part_list_free(&a, &f);
  algebra_free(&a);
  expression_free(allocator, &e);
  return r->status;
}

ad_status ad_formula_derive(const char *formula, ad_notation notation, int n, const char *const wrt[],
                            char *out, size_t size, size_t *needed, int *count, ad_formula_report *report) {
  ad_formula_report unwanted, *r = report ? report : &unwanted;
  *r = (ad_formula_report){ 0 };
  if (!formula || n < 0 || (n && !wrt) || (size && !out)) return refuse(r, AD_ERROR_ARGUMENT);
  return derive_with(&memory_standard, formula, notation, n, wrt, out, size, needed, count, r);
}
