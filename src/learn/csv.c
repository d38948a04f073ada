/* csv.c -- tables of numbers as text: fields between separators, lines, a column of labels.
 *
 * Source: RFC 4180. A field in quotes may hold separators, line ends, and quotes, written twice.
 */
#include "exchange/file.h"
#include "learn/dataset.h"
#include "learn/decimal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct field { const char *text; size_t length; bool quoted; } field;

/* Classes by their text: a table of class numbers + 1, by hash, at most half full. */
typedef struct class_table {
  text_list names;
  int *slot;
  size_t slots;
} class_table;

typedef struct csv {
  ad_allocator a;
  ad_csv_options how;
  file_place at;
  ad_status status;
  const char *next, *end;           /* what is left of the file */
  char *scratch;                    /* of the file's size: fields without their quotes */
  int64_t line, field_line;         /* counted from 1: at `next`, and where the field begins */
  int columns, column, label;       /* of the table, of the field; label -1: none */
  int64_t rows;
  double *value;                    /* (rows, columns without label) */
  int64_t *labels;
  size_t value_room, label_room, values;
  text_list names;
  class_table classes;
  bool line_ends;                   /* behind the last field that was read */
} csv;

/* --- errors --------------------------------------------------------------------------------------------- */

/* "file: line 7, column 3 (width): text" */
static ad_status fail(csv *c, ad_status status, const char *what, const field *f) {
  char place[128], shown[40] = "";
  const int names = c->names.count;
  snprintf(place, sizeof place, names > c->column ? "line %lld, column %d (%.20s)" : "line %lld, column %d",
           (long long)c->field_line, c->column + 1, names > c->column ? c->names.text[c->column] : "");
  if (f) snprintf(shown, sizeof shown, "\"%.*s\"", f->length < 30 ? (int)f->length : 30, f->text);
  c->at.inside = place;
  c->status = file_fail(&c->at, status, what, shown);
  c->at.inside = NULL;
  return c->status;
}

static ad_status fail_line(csv *c, const char *what, int have, int want) {
  char place[40];
  snprintf(place, sizeof place, "line %lld", (long long)c->field_line);
  c->at.inside = place;
  c->status = file_fail(&c->at, AD_ERROR_SYNTAX, what, have, want);
  c->at.inside = NULL;
  return c->status;
}

static ad_status no_memory(csv *c) { return c->status = file_fail(&c->at, AD_ERROR_MEMORY, "out of memory"); }

/* --- fields --------------------------------------------------------------------------------------------- */

static bool at_line_end(const csv *c) {
  return *c->next == '\n' || (*c->next == '\r' && c->next + 1 < c->end && c->next[1] == '\n');
}

/* Goes behind the separator or the end of the line. */
static ad_status leave_field(csv *c) {
  c->line_ends = c->next == c->end || at_line_end(c);
  if (c->next == c->end) return AD_OK;
  if (!c->line_ends && *c->next != c->how.separator)
    return fail(c, AD_ERROR_SYNTAX, "text behind the closing quote", NULL);
  if (c->line_ends) c->line++;
  c->next += 1 + (*c->next == '\r');
  return AD_OK;
}

static ad_status read_quoted(csv *c, field *f) {
  size_t n = 0;
  for (c->next++; c->next < c->end; c->next++) {
    if (*c->next == '"') {
      if (c->next + 1 == c->end || c->next[1] != '"') break;
      c->next++;
    }
    c->line += *c->next == '\n';
    c->scratch[n++] = *c->next;
  }
  *f = (field){ c->scratch, n, true };
  if (c->next == c->end) return fail(c, AD_ERROR_SYNTAX, "a quote is not closed", NULL);
  c->next++;
  return leave_field(c);
}

static ad_status read_field(csv *c, field *f) {
  c->field_line = c->line;
  if (c->next < c->end && *c->next == '"') return read_quoted(c, f);
  const char *from = c->next;
  while (c->next < c->end && *c->next != c->how.separator && !at_line_end(c)) c->next++;
  *f = (field){ from, (size_t)(c->next - from), false };
  return leave_field(c);
}

static bool is_space(char x) { return x == ' ' || x == '\t'; }

static field trimmed(field f) {
  while (f.length && is_space(f.text[0])) f.text++, f.length--;
  while (f.length && is_space(f.text[f.length - 1])) f.length--;
  return f;
}

static void skip_blank_lines(csv *c) {
  for (;;) {
    const char *at = c->next;
    while (at < c->end && is_space(*at) && *at != c->how.separator) at++;
    if (at < c->end && *at == '\r' && at + 1 < c->end && at[1] == '\n') at++;
    if (at < c->end && *at != '\n') return;
    c->next = at < c->end ? at + 1 : at;
    if (at == c->end) return;
    c->line++;
  }
}

/* --- classes -------------------------------------------------------------------------------------------- */

static uint64_t hash(const char *text, size_t length) {
  uint64_t h = 0xCBF29CE484222325u;                      /* FNV-1a (Fowler, Noll, Vo), 64 bits */
  for (size_t i = 0; i < length; i++) h = (h ^ (unsigned char)text[i])*0x100000001B3u;
  return h;
}

/* The slot of that text, or the free one where it belongs. */
static int *find_slot(class_table *t, const char *text, size_t length) {
  for (size_t k = (size_t)hash(text, length)&(t->slots - 1);; k = (k + 1)&(t->slots - 1)) {
    const char *name = t->slot[k] ? t->names.text[t->slot[k] - 1] : NULL;
    if (!name || (strlen(name) == length && !memcmp(name, text, length))) return &t->slot[k];
  }
}

static bool grow(const ad_allocator *a, class_table *t) {
  const size_t slots = t->slots ? 2*t->slots : 64, old = t->slots*sizeof *t->slot;
  int *slot = memory_get_zeroed(a, slots, sizeof *slot);
  if (!slot) return false;
  memory_release(a, t->slot, old);
  t->slot = slot;
  t->slots = slots;
  for (int k = 0; k < t->names.count; k++) *find_slot(t, t->names.text[k], strlen(t->names.text[k])) = k + 1;
  return true;
}

/* The class of that text, new if need be; -1 when memory fails. */
static int class_of(const ad_allocator *a, class_table *t, const char *text, size_t length) {
  if (2*((size_t)t->names.count + 1) > t->slots && !grow(a, t)) return -1;
  int *slot = find_slot(t, text, length);
  if (!*slot) {
    if (!text_list_add(a, &t->names, text, length)) return -1;
    *slot = t->names.count;
  }
  return *slot - 1;
}

static bool read_integer(const char *text, int64_t *value) {
  double x;
  if (!decimal_read(text, strlen(text), &x) || x != floor(x) || fabs(x) > 0x1p53) return false;
  *value = (int64_t)x;
  return true;
}

/* Where all classes are integers, labels are those, and classes have no names. */
static ad_status settle_labels(csv *c) {
  class_table *t = &c->classes;
  const size_t bytes = ((size_t)t->names.count + 1)*sizeof(int64_t);
  int64_t *number = memory_get(&c->a, bytes);
  bool integers = true;
  if (!number) return no_memory(c);
  for (int k = 0; k < t->names.count && integers; k++) integers = read_integer(t->names.text[k], &number[k]);
  for (int64_t i = 0; i < c->rows && integers; i++) c->labels[i] = number[c->labels[i]];
  if (integers) text_list_free(&c->a, &t->names);
  memory_release(&c->a, number, bytes);
  return AD_OK;
}

/* --- rows ----------------------------------------------------------------------------------------------- */

static ad_status add_label(csv *c, field f) {
  if (!f.length) return fail(c, AD_ERROR_SYNTAX, "the label is missing", NULL);
  if (memchr(f.text, 0, f.length)) return fail(c, AD_ERROR_SYNTAX, "a byte of the label is zero", NULL);
  if (!memory_reserve(&c->a, &c->labels, &c->label_room, (size_t)c->rows + 1, sizeof *c->labels))
    return no_memory(c);
  c->labels[c->rows] = class_of(&c->a, &c->classes, f.text, f.length);
  return c->labels[c->rows] < 0 ? no_memory(c) : AD_OK;
}

static ad_status add_value(csv *c, field f) {
  double value = NAN;
  if (!f.length && !c->how.holes) return fail(c, AD_ERROR_SYNTAX, "the field is empty", NULL);
  if (f.length && !decimal_read(f.text, f.length, &value))
    return fail(c, AD_ERROR_SYNTAX, "%s is no number", &f);
  if (!memory_reserve(&c->a, &c->value, &c->value_room, c->values + 1, sizeof *c->value)) return no_memory(c);
  c->value[c->values++] = value;
  return AD_OK;
}

/* Names may hold any text but zero bytes. */
static ad_status add_name(csv *c, field f) {
  if (memchr(f.text, 0, f.length)) return fail(c, AD_ERROR_SYNTAX, "a byte of the name is zero", NULL);
  return text_list_add(&c->a, &c->names, f.text, f.length) ? AD_OK : no_memory(c);
}

/* Which column has the labels, now that their number is known. */
static ad_status settle_columns(csv *c, int columns) {
  c->columns = columns;
  if (!c->how.labelled) return AD_OK;
  c->label = c->how.label < 0 ? c->how.label + columns : c->how.label;
  if (c->label >= 0 && c->label < columns) return AD_OK;
  return fail_line(c, "there is no column %d for the labels: it has %d", c->how.label, columns);
}

static int count_fields(csv *c) {
  csv ahead = *c;
  int n = 0;
  field f;
  do n++;
  while (read_field(&ahead, &f) == AD_OK && !ahead.line_ends);
  c->status = ahead.status;
  return n;
}

static ad_status read_row(csv *c, bool names) {
  const int64_t line = c->line;
  c->column = 0;
  do {
    field f;
    if (read_field(c, &f) != AD_OK) return c->status;
    f = trimmed(f);
    if (c->column < c->columns) {
      if (names) add_name(c, f);
      else if (c->column == c->label) add_label(c, f);
      else add_value(c, f);
    }
    if (c->status != AD_OK) return c->status;
    c->column++;
  } while (!c->line_ends);
  c->field_line = line;
  if (c->column != c->columns)
    return fail_line(c, "%d fields, where the first line has %d", c->column, c->columns);
  if (!names) c->rows++;
  return AD_OK;
}

static ad_status read_table(csv *c) {
  skip_blank_lines(c);
  if (c->next == c->end) return c->status = file_fail(&c->at, AD_ERROR_SYNTAX, "has no rows");
  c->field_line = c->line;
  const int columns = count_fields(c);
  if (c->status != AD_OK || settle_columns(c, columns) != AD_OK) return c->status;
  for (bool names = c->how.header; c->next < c->end; names = false) {
    if (read_row(c, names) != AD_OK) return c->status;
    skip_blank_lines(c);
  }
  if (c->rows == 0) return c->status = file_fail(&c->at, AD_ERROR_SYNTAX, "has no rows");
  return c->label >= 0 ? settle_labels(c) : AD_OK;
}

/* --- the dataset ---------------------------------------------------------------------------------------- */

static ad_dataset *to_dataset(csv *c) {
  const int64_t shape[2] = { c->rows, c->columns - (c->label >= 0) };
  const ad_type type[2] = { ad_type_make(c->how.single ? AD_F32 : AD_F64, 2, shape),
                            ad_type_make(AD_I64, 1, shape) };
  ad_dataset *d = dataset_make(1 + (c->label >= 0), type, &c->a, c->at.report);
  if (!d) return NULL;
  float *narrow = d->data[0];
  if (!c->how.single && c->values) memcpy(d->data[0], c->value, c->values*sizeof *c->value);
  for (size_t i = 0; c->how.single && i < c->values; i++) narrow[i] = (float)c->value[i];
  if (c->label >= 0) memcpy(d->data[1], c->labels, (size_t)c->rows*sizeof *c->labels);
  d->classes = c->classes.names;
  c->classes.names = (text_list){ 0 };
  for (int i = 0; i < c->names.count; i++)
    if (i != c->label && !text_list_add(&c->a, &d->columns, c->names.text[i], strlen(c->names.text[i]))) {
      no_memory(c);
      ad_dataset_free(d);
      return NULL;
    }
  return d;
}

static void release(csv *c, size_t scratch) {
  memory_release(&c->a, c->scratch, scratch);
  memory_release(&c->a, c->value, c->value_room*sizeof *c->value);
  memory_release(&c->a, c->labels, c->label_room*sizeof *c->labels);
  memory_release(&c->a, c->classes.slot, c->classes.slots*sizeof *c->classes.slot);
  text_list_free(&c->a, &c->names);
  text_list_free(&c->a, &c->classes.names);
}

static ad_dataset *read_text(csv *c, const char *text, size_t size) {
  const bool mark = size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3);       /* UTF-8's byte order mark */
  c->next = text + 3*mark;
  c->end = text + size;
  c->scratch = memory_get(&c->a, size + 1);
  if (!c->scratch) no_memory(c);
  ad_dataset *d = c->scratch && read_table(c) == AD_OK ? to_dataset(c) : NULL;
  release(c, size + 1);
  return d;
}

ad_dataset *ad_dataset_read_csv(const char *path, const ad_csv_options *options,
                                const ad_allocator *allocator, ad_report *report) {
  ad_report own;
  file_reader file;
  csv c = { .a = allocator ? *allocator : memory_standard, .how = options ? *options : (ad_csv_options){ 0 },
            .line = 1, .label = -1 };
  c.at = (file_place){ file_report(report, &own), path ? path : "csv", NULL };
  if (!c.how.separator) c.how.separator = ',';
  if (!path) {
    file_fail(&c.at, AD_ERROR_ARGUMENT, "no path");
    return NULL;
  }
  if (file_open(&file, path, c.at.report) != AD_OK) return NULL;
  const size_t size = (size_t)file.size;
  char *text = size < PTRDIFF_MAX ? memory_get(&c.a, size + 1) : NULL;
  ad_dataset *d = NULL;
  if (!text) no_memory(&c);
  else if (file_read(&file, 0, text, size) == AD_OK) d = read_text(&c, text, size);
  memory_release(&c.a, text, size + 1);
  file_close(&file);
  return d;
}
