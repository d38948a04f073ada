/* json.c -- writing numbers, strings and nested lists. */
#include "command/json.h"

#include <math.h>

#include "formula/notation.h"

void json_number(FILE *out, double value) {
  if (isnan(value)) fputs("\"nan\"", out);
  else if (isinf(value)) fputs(value > 0 ? "\"inf\"" : "\"-inf\"", out);
  else fprintf(out, "%.17g", value);
}

void json_string(FILE *out, const char *s) {
  fputc('"', out);
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') fprintf(out, "\\%c", *s);
    else if ((unsigned char)*s < ' ') fprintf(out, "\\u%04x", (unsigned)(unsigned char)*s);
    else fputc(*s, out);
  }
  fputc('"', out);
}

void plain_number(FILE *out, double value) {
  char s[32];
  fputs(number_write(value, s), out);
}

/* Elements in order; before element i as many [ as axes begin there, after it as many ] as end. */
static void nested(FILE *out, ad_type type, const double *value, void (*number)(FILE *, double)) {
  const int64_t count = ad_type_count(type);
  for (int64_t i = 0; i < count; i++) {
    int64_t size = 1;
    int opened = 0;
    for (int axis = type.rank; axis-- > 0; ) opened += i % (size *= type.dim[axis]) == 0;
    if (i) fputs(", ", out);
    for (int k = 0; k < opened; k++) fputc('[', out);
    number(out, value[i]);
    size = 1;
    for (int axis = type.rank; axis-- > 0; ) if ((i + 1) % (size *= type.dim[axis]) == 0) fputc(']', out);
  }
  if (count) return;
  for (int axis = 0; axis < type.rank; axis++) {           /* empty: (2, 0) is written [[], []] */
    if (type.dim[axis] != 0 && axis + 1 < type.rank && type.dim[axis + 1] == 0) {
      fputc('[', out);
      for (int64_t k = 0; k < type.dim[axis]; k++) fputs(k ? ", []" : "[]", out);
      fputc(']', out);
      return;
    }
    if (type.dim[axis] == 0) {
      fputs("[]", out);
      return;
    }
  }
}

void json_array(FILE *out, ad_type type, const double *value) { nested(out, type, value, json_number); }
void plain_array(FILE *out, ad_type type, const double *value) { nested(out, type, value, plain_number); }
