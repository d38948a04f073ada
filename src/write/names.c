/* names.c -- types, literals, constants and other words of the written file. */
#include "write/writer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the writer ----------------------------------------------------------------------------------------- */

typedef struct written_name { uint64_t hash; char name[WRITE_NAME]; } written_name;

void writer_open(ad_writer *w, const ad_allocator *a, const ad_code *options, const char *prefix,
                 bool native) {
  *w = (ad_writer){ .allocator = *a, .options = *options, .prefix = prefix, .native = native };
  w->constants = w->routines = w->units = text_on(a);
  if (w->options.chunk <= 0) w->options.chunk = 2000;
  if (w->options.most_steps <= 0) w->options.most_steps = 1000;
}

static void free_step(ad_writer *w, host_step *s) {
  memory_release(&w->allocator, s->types, (size_t)s->op.n*sizeof *s->types + 1);
}

void writer_close(ad_writer *w) {
  const ad_allocator *a = &w->allocator;
  for (size_t i = 0; i < w->count; i++) {
    memory_release(a, w->unit[i]->key, unit_key_bytes(w->unit[i]->f));
    memory_release(a, w->unit[i], sizeof *w->unit[i]);
  }
  for (size_t i = 0; i < w->steps; i++) free_step(w, &w->step[i]);
  memory_release(a, w->unit, w->capacity*sizeof *w->unit);
  memory_release(a, w->step, w->step_capacity*sizeof *w->step);
  memory_release(a, w->fixed, w->fixed_capacity*sizeof *w->fixed);
  memory_release(a, w->name, w->name_capacity*sizeof *w->name);
  written_free(&w->constants);
  written_free(&w->routines);
  written_free(&w->units);
}

bool writer_fail(ad_writer *w, ad_status status, const char *format, ...) {
  va_list list;
  if (w->status != AD_OK) return false;
  w->status = status;
  va_start(list, format);
  vsnprintf(w->message, sizeof w->message, format, list);
  va_end(list);
  return false;
}

const char *writer_text(ad_writer *w, const char *format, ...) {
  char *to = w->expression[w->next_expression++ % 8];
  va_list list;
  va_start(list, format);
  vsnprintf(to, WRITE_NAME, format, list);
  va_end(list);
  return to;
}

static written_name *find_name(const ad_writer *w, uint64_t hash) {
  for (size_t i = 0; i < w->names; i++)
    if (w->name[i].hash == hash) return &w->name[i];
  return NULL;
}

static written_name *add_name(ad_writer *w, uint64_t hash, const char *name) {
  if (!memory_reserve(&w->allocator, &w->name, &w->name_capacity, w->names + 1, sizeof *w->name)) {
    writer_fail(w, AD_ERROR_MEMORY, "out of memory");
    return NULL;
  }
  written_name *n = &w->name[w->names++];
  n->hash = hash;
  snprintf(n->name, sizeof n->name, "%s", name);
  return n;
}

bool writer_has(ad_writer *w, const char *name) {
  const uint64_t hash = text_hash(TEXT_HASH, name, strlen(name));
  if (find_name(w, hash)) return true;
  return !add_name(w, hash, name);
}

bool writer_same(ad_writer *w, const char *bytes, size_t n, char *name) {
  const uint64_t hash = text_hash(TEXT_HASH, bytes, n);
  const written_name *found = find_name(w, hash);
  if (found) snprintf(name, WRITE_NAME, "%s", found->name);
  else add_name(w, hash, name);
  return found != NULL;
}

/* --- types ---------------------------------------------------------------------------------------------- */

const char *write_type(ad_dtype dtype) {
  static const char *const name[AD_DTYPES] = {
    [AD_BOOL] = "unsigned char", [AD_I32] = "int32_t", [AD_I64] = "int64_t", [AD_F32] = "float",
    [AD_F64] = "R"
  };
  return name[dtype];
}

const char *write_pool(ad_dtype dtype) {
  static const char *const name[AD_DTYPES] = {
    [AD_BOOL] = "wb", [AD_I32] = "wi", [AD_I64] = "wl", [AD_F32] = "wf", [AD_F64] = "w"
  };
  return name[dtype];
}

size_t write_size(ad_dtype dtype) {
  static const size_t size[AD_DTYPES] = { [AD_BOOL] = 1, [AD_I32] = 4, [AD_I64] = 8, [AD_F32] = 4,
                                          [AD_F64] = 8 };
  return size[dtype];
}

/* --- literals ------------------------------------------------------------------------------------------- */

/* The shortest decimal fraction that is read as the same number, with a point or an exponent. */
static void print_number(char *to, size_t size, double value, int from, int most, bool single) {
  for (int digits = from; digits <= most; digits++) {
    snprintf(to, size, "%.*g", digits, value);
    if (single ? (double)strtof(to, NULL) == value : strtod(to, NULL) == value) break;
  }
  if (!strpbrk(to, ".e")) snprintf(to + strlen(to), size - strlen(to), ".0");
}

static void put_real(text *to, double value, bool single, bool plain) {
  const char *type = single ? "float" : "R";
  char number[40];
  if (isnan(value)) text_put(to, "(%s)NAN", type);
  else if (isinf(value)) text_put(to, value > 0 ? "(%s)INFINITY" : "(-(%s)INFINITY)", type);
  else if (plain && value == rint(value) && fabs(value) <= 1000 && !(value == 0 && signbit(value)))
    text_put(to, value < 0 ? "(%.0f)" : "%.0f", value);
  else {
    print_number(number, sizeof number, fabs(value), single ? 6 : 15, single ? 9 : 17, single);
    const char *open = signbit(value) ? "(-" : "", *close = signbit(value) ? ")" : "";
    if (single) text_put(to, "%s%sf%s", open, number, close);
    else text_put(to, "%s(R)%s%s", open, number, close);
  }
}

void put_literal(text *to, ad_dtype dtype, const void *value, bool plain) {
  int64_t i64 = 0;
  float f32;
  double f64;
  switch (dtype) {
    case AD_F64: memcpy(&f64, value, sizeof f64); put_real(to, f64, false, plain); return;
    case AD_F32: memcpy(&f32, value, sizeof f32); put_real(to, (double)f32, true, plain); return;
    case AD_I64: memcpy(&i64, value, sizeof i64); break;
    case AD_I32: { int32_t i32; memcpy(&i32, value, sizeof i32); i64 = i32; break; }
    default: i64 = *(const unsigned char *)value != 0;
  }
  if (i64 == INT64_MIN) text_put(to, "INT64_MIN");
  else if (i64 >= -1000 && i64 <= 1000) text_put(to, i64 < 0 ? "(%" PRId64 ")" : "%" PRId64, i64);
  else if (dtype == AD_I32) text_put(to, "((int32_t)%" PRId64 ")", i64);
  else text_put(to, "INT64_C(%" PRId64 ")", i64);
}

/* --- constants ------------------------------------------------------------------------------------------ */

/* Of constants that fill a vector and begin with equal elements, gcc 12 with AVX-512 makes copies in which
 * all are equal, where it can see their values: it is to believe that these could change. */
static const char fixed_text[] =
  "#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__AVX512F__)\n"
  "#define ADIT_FIXED static __attribute__((used))\n"
  "#else\n#define ADIT_FIXED static const\n#endif\n";
enum { FIXED_BYTES = 64 };

static void put_constants(ad_writer *w, const char *name, ad_dtype dtype, const void *data, int64_t n) {
  text *to = &w->constants;
  size_t line = to->length;
  text_put(to, "%s %s %s[%lld] = {\n  ",
           (size_t)n*write_size(dtype) < FIXED_BYTES ? "static const" : "ADIT_FIXED", write_type(dtype), name,
           (long long)n);
  for (int64_t i = 0; i < n; i++) {
    put_literal(to, dtype, (const char *)data + (size_t)i*write_size(dtype), true);
    if (i + 1 == n) break;
    text_put(to, to->length - line > 100 ? ",\n  " : ", ");
    if (to->length - line > 100) line = to->length;
  }
  text_put(to, "\n};\n");
}

const char *write_constants(ad_writer *w, ad_dtype dtype, const void *data, int64_t n) {
  char name[WRITE_NAME];
  const size_t bytes = (size_t)n*write_size(dtype);
  const uint64_t hash = text_hash(text_hash(TEXT_HASH + dtype + 1, &n, sizeof n), data, bytes);
  written_name *found = find_name(w, hash);
  if (!found) {
    snprintf(name, sizeof name, "%.60s_%zuc", w->prefix, w->names);
    put_constants(w, name, dtype, data, n);
    found = add_name(w, hash, name);
  }
  return found ? writer_text(w, "%s", found->name) : "";
}

/* Elements from which a constant of native code is in the table: shorter ones are worth knowing. */
enum { FIXED_LEAST = 8 };

const char *write_fixed(ad_writer *w, ad_dtype dtype, const void *data, int64_t n) {
  if (!w->native || n < FIXED_LEAST) return write_constants(w, dtype, data, n);
  size_t i = 0;
  while (i < w->fixed_count && w->fixed[i] != data) i++;
  if (i == w->fixed_count) {
    if (!memory_reserve(&w->allocator, &w->fixed, &w->fixed_capacity, i + 1, sizeof *w->fixed)) {
      writer_fail(w, AD_ERROR_MEMORY, "out of memory");
      return "";
    }
    w->fixed[w->fixed_count++] = data;
  }
  return writer_text(w, "((const %s *)fixed[%zu])", write_type(dtype), i);
}

/* The number in a name "prefix_12c" at s; -1: s is no such name. */
static long constant_number(const ad_writer *w, const char *s) {
  const size_t n = strlen(w->prefix);
  char *end;
  if (strncmp(s, w->prefix, n) || s[n] != '_' || s[n + 1] < '0' || s[n + 1] > '9') return -1;
  const long number = strtol(s + n + 1, &end, 10);
  return *end == 'c' ? number : -1;
}

/* used[k]: some unit has the name of constant k in it. */
static void find_used(const ad_writer *w, unsigned char used[]) {
  const text *const in[2] = { &w->units, &w->routines };
  for (int k = 0; k < 2; k++)
    for (const char *at = text_of(in[k]); (at = strstr(at, w->prefix)) != NULL; at++) {
      const long number = constant_number(w, at);
      if (number >= 0 && (size_t)number < w->names) used[number] = 1;
    }
}

void writer_put_constants(const ad_writer *w, text *to) {
  unsigned char *used = w->constants.failed ? NULL : memory_get_zeroed(&w->allocator, w->names + 1, 1);
  if (!used) {
    to->failed = true;
    return;
  }
  find_used(w, used);
  if (strstr(text_of(&w->constants), "ADIT_FIXED")) text_put(to, "%s", fixed_text);
  for (const char *at = text_of(&w->constants); *at;) {
    const char *name = strchr(at, '['), *end = strstr(at, "};\n") + 3;
    while (name[-1] != ' ') name--;
    const long number = constant_number(w, name);
    if (number >= 0 && used[number]) text_put_bytes(to, at, (size_t)(end - at));
    at = end;
  }
  if (w->constants.length) text_put(to, "\n");
  memory_release(&w->allocator, used, w->names + 1);
}
