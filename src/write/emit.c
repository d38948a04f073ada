/* emit.c -- a function and its derivatives in one file. */
#include "adit/code.h"
#include "function/function.h"

#include <stdio.h>

typedef ad_function *maker(ad_function *f);

static ad_function *value_of(ad_function *f) { return ad_function_retain(f); }
static ad_function *gradient_of(ad_function *f) { return ad_function_gradient(f, 0, NULL); }
static ad_function *jacobian_of(ad_function *f) { return ad_function_jacobian(f, 0, NULL); }
static ad_function *hessian_of(ad_function *f) { return ad_function_hessian(f, 0, NULL); }

static const struct { unsigned entry; const char *name; maker *make; } entries[] = {
  { AD_CODE_VALUE, "", value_of },               { AD_CODE_JVP, "jvp", ad_function_jvp },
  { AD_CODE_VJP, "vjp", ad_function_vjp },       { AD_CODE_GRADIENT, "gradient", gradient_of },
  { AD_CODE_JACOBIAN, "jacobian", jacobian_of }, { AD_CODE_HESSIAN, "hessian", hessian_of }
};
enum { ENTRIES = sizeof entries/sizeof *entries };

static ad_status fail(ad_report *report, ad_status status, const char *what, const char *name) {
  if (!report) return status;
  report->status = status;
  snprintf(report->message, sizeof report->message, "%s has no %s", name, what);
  return status;
}

ad_status ad_function_emit_c(ad_function *f, FILE *source, FILE *header, const ad_code *options,
                             ad_report *report) {
  ad_function *made[ENTRIES];
  const char *name[ENTRIES];
  int n = 0;
  ad_status status = AD_OK;
  const unsigned wanted = options && options->entries ? options->entries : (unsigned)AD_CODE_VALUE;
  if (!f || !source || wanted >= AD_CODE_HESSIAN << 1)
    return fail(report, AD_ERROR_ARGUMENT, "entry like that", "the file");
  for (int k = 0; k < ENTRIES && status == AD_OK; k++) {
    if (!(wanted & entries[k].entry)) continue;
    name[n] = entries[k].name;
    made[n] = entries[k].make(f);
    if (made[n]) n++;
    else status = fail(report, AD_ERROR_DERIVATIVE, entries[k].name, f->name);
  }
  if (status == AD_OK) status = ad_functions_emit_c(n, made, name, source, header, options, report);
  while (n-- > 0) ad_function_free(made[n]);
  return status;
}
