/* test_data.c -- datasets, csv and idx files: what is read, and what is refused, with the place named. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "folder.h"

#include "adit/data.h"
#include "learn/decimal.h"

#include <math.h>

static const char *here;
static char path[FOLDER_PATH];

static const char *file_with(const char *name, const void *bytes, size_t size) {
  folder_file(here, name, path);
  FILE *f = fopen(path, "wb");
  CHECK(f && fwrite(bytes, 1, size, f) == size && !fclose(f));
  return path;
}

static const char *text_file(const char *text) { return file_with("table.csv", text, strlen(text)); }

/* --- decimal numbers ------------------------------------------------------------------------------------ */

static void test_decimals(void) {
  static const struct { const char *text; double value; } good[] = {
    { "0", 0 }, { "-1.5", -1.5 }, { "+.25", 0.25 }, { "7.", 7 }, { "12.5e3", 12500 }, { "1E-2", 0.01 },
    { "0.1", 0.1 }, { "1e-400", 0 }, { "123456789.123456789", 123456789.123456789 },
    { "1e0000000000000003", 1000 }
  };
  static const char *const bad[] = { "", "-", ".", "e5", "1e", "1e+", "1x", "0x10", "nan", "inf", "1,5",
                                     "1 2",
                                     "1.2.3", "1e400", "--1" };
  double value;
  for (size_t i = 0; i < sizeof good/sizeof *good; i++)
    CHECK_THAT(decimal_read(good[i].text, strlen(good[i].text), &value) && value == good[i].value,
               "%s is %.17g",
               good[i].text, value);
  for (size_t i = 0; i < sizeof bad/sizeof *bad; i++)
    CHECK_THAT(!decimal_read(bad[i], strlen(bad[i]), &value), "\"%s\" is no number", bad[i]);
  uint64_t state = 1;
  for (int i = 0; i < 20000; i++) {
    const uint64_t bits = check_bits(&state);
    char text[DECIMAL_TEXT];
    double x;
    memcpy(&x, &bits, sizeof x);
    decimal_write(x, text);
    if (isfinite(x)) CHECK_THAT(decimal_read(text, strlen(text), &value) && value == x
                                && value == strtod(text, NULL),
                                "%a is written as %s", x, text);
  }
}

/* --- csv that is read ----------------------------------------------------------------------------------- */

static void test_plain(void) {
  ad_report report;
  ad_dataset *d = ad_dataset_read_csv(text_file("1,2.5,-3\r\n\r\n4 , 5e1,\"6\"\n\n  \n"), NULL, NULL,
                                      &report);
  if (!CHECK_THAT(d, "%s", report.message)) return;
  const double *x = ad_dataset_data(d, 0), want[6] = { 1, 2.5, -3, 4, 50, 6 };
  CHECK(ad_dataset_arrays(d) == 1 && ad_dataset_examples(d) == 2);
  CHECK(ad_type_equal(ad_dataset_type(d, 0), AD_F64(2, 3)) && !memcmp(x, want, sizeof want));
  CHECK(!ad_dataset_column(d, 0) && ad_dataset_classes(d) == 0);
  ad_dataset_free(d);
}

static void test_labels(void) {
  const ad_csv_options how = { .separator = ';', .header = true, .single = true, .labelled = true,
                               .label = -1 };
  static const char text[] = "\xEF\xBB\xBF\"length; \"\"mm\"\"\";width;kind\n1;2;cat\n3;4;\"a dog\"\n5;6;cat";
  ad_dataset *d = ad_dataset_read_csv(text_file(text), &how, NULL, NULL);
  const float *x = ad_dataset_data(d, 0);
  const int64_t *label = ad_dataset_data(d, 1);
  if (!CHECK(d != NULL)) return;
  CHECK(ad_type_equal(ad_dataset_type(d, 0), AD_F32(3, 2)) && x[0] == 1 && x[5] == 6);
  CHECK(ad_type_equal(ad_dataset_type(d, 1), AD_I64(3)) && label[0] == 0 && label[1] == 1 && label[2] == 0);
  CHECK(!strcmp(ad_dataset_column(d, 0), "length; \"mm\"") && !strcmp(ad_dataset_column(d, 1), "width"));
  CHECK(ad_dataset_classes(d) == 2 && !strcmp(ad_dataset_class(d, 1), "a dog") && !ad_dataset_class(d, 2));
  ad_dataset_free(d);
}

/* Integers are labels themselves, in whatever order they come; a hole may be nan. */
static void test_integer_labels(void) {
  const ad_csv_options how = { .labelled = true, .holes = true };
  ad_dataset *d = ad_dataset_read_csv(text_file("7,1\n2,\n7,3\n"), &how, NULL, NULL);
  if (!CHECK(d != NULL)) return;
  const double *x = ad_dataset_data(d, 0);
  const int64_t *label = ad_dataset_data(d, 1);
  CHECK(label[0] == 7 && label[1] == 2 && label[2] == 7 && x[0] == 1 && isnan(x[1]) && x[2] == 3);
  CHECK(ad_dataset_classes(d) == 0);
  ad_dataset_free(d);
}

static void test_many_classes(void) {
  enum { ROWS = 5000, NAMES = 777 };
  static char text[ROWS*16];
  size_t n = 0;
  for (int i = 0; i < ROWS; i++)
    n += (size_t)snprintf(text + n, sizeof text - n, "%d,c%d\n", i, i*31%NAMES);
  const ad_csv_options how = { .labelled = true, .label = 1 };
  ad_dataset *d = ad_dataset_read_csv(text_file(text), &how, NULL, NULL);
  const int64_t *label = ad_dataset_data(d, 1);
  char name[16];
  CHECK(ad_dataset_classes(d) == NAMES && ad_dataset_examples(d) == ROWS);
  for (int i = 0; i < ROWS; i++) {
    snprintf(name, sizeof name, "c%d", i*31%NAMES);
    CHECK(!strcmp(ad_dataset_class(d, (int)label[i]), name));
  }
  ad_dataset_free(d);
}

/* --- csv that is refused -------------------------------------------------------------------------------- */

static void expect_refusal(const char *text, const ad_csv_options *how, ad_status status, const char *says) {
  ad_report report = { AD_OK, "" };
  ad_dataset *d = ad_dataset_read_csv(text_file(text), how, NULL, &report);
  CHECK_THAT(!d && report.status == status && strstr(report.message, says), "%s: \"%s\" does not say \"%s\"",
             ad_status_sentence(report.status), report.message, says);
  ad_dataset_free(d);
}

static void test_refusals(void) {
  const ad_csv_options header = { .header = true }, labelled = { .labelled = true, .label = 5 },
                       last = { .labelled = true, .label = -1 };
  expect_refusal("1,2\n3,\n", NULL, AD_ERROR_SYNTAX, "table.csv: line 2, column 2: the field is empty");
  expect_refusal("1,2\n\n3,4,5\n", NULL, AD_ERROR_SYNTAX, "line 3: 3 fields, where the first line has 2");
  expect_refusal("1,2\n3\n", NULL, AD_ERROR_SYNTAX, "line 2: 1 fields");
  expect_refusal("a,width\n3,4\n5,x6\n", &header, AD_ERROR_SYNTAX,
                 "line 3, column 2 (width): \"x6\" is no number");
  expect_refusal("1,nan\n", NULL, AD_ERROR_SYNTAX, "line 1, column 2: \"nan\" is no number");
  expect_refusal("1,2\n3,\"4\n5,6\n", NULL, AD_ERROR_SYNTAX, "line 2, column 2: a quote is not closed");
  expect_refusal("1,\"2\"3\n", NULL, AD_ERROR_SYNTAX, "behind the closing quote");
  expect_refusal("", NULL, AD_ERROR_SYNTAX, "has no rows");
  expect_refusal("\n \n", NULL, AD_ERROR_SYNTAX, "has no rows");
  expect_refusal("a,b\n", &header, AD_ERROR_SYNTAX, "has no rows");
  expect_refusal("1,2\n", &labelled, AD_ERROR_SYNTAX, "no column 5 for the labels");
  expect_refusal("1,a\n2,\n", &last, AD_ERROR_SYNTAX, "line 2, column 2: the label is missing");
  ad_report report;
  CHECK(!ad_dataset_read_csv("/nonexistent/x.csv", NULL, NULL, &report) && report.status == AD_ERROR_IO);
  CHECK(strstr(report.message, "/nonexistent/x.csv"));
  CHECK(!ad_dataset_read_csv("/tmp", NULL, NULL, &report) && report.status == AD_ERROR_IO);
}

/* Any bytes are read, or refused with a message that names the file. */
static void test_any_bytes(void) {
  static const char letters[] = "12.-e,\"\n\r\t ;x\0";
  uint64_t state = 7;
  for (int round = 0; round < 3000; round++) {
    char text[40];
    const int size = check_below(&state, sizeof text);
    for (int i = 0; i < size; i++) text[i] = letters[check_below(&state, sizeof letters)];
    const ad_csv_options how = { .header = check_below(&state, 2), .labelled = check_below(&state, 2),
                                 .holes = check_below(&state, 2) };
    ad_report report = { AD_OK, "" };
    ad_dataset *d = ad_dataset_read_csv(file_with("any.csv", text, (size_t)size), &how, NULL, &report);
    if (d) CHECK(ad_dataset_examples(d) > 0);
    else CHECK(report.status == AD_ERROR_SYNTAX && strstr(report.message, "any.csv"));
    ad_dataset_free(d);
  }
}

/* --- idx ------------------------------------------------------------------------------------------------ */

static const unsigned char images[16 + 12] = { 0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2,
                                               0, 1, 2, 3, 255, 128, 7, 8, 9, 10, 11, 12 };
static const unsigned char labels[8 + 3] = { 0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 9 };

static void test_idx(void) {
  char other[FOLDER_PATH];
  strcpy(other, file_with("images", images, sizeof images));
  const char *const both[2] = { other, file_with("labels", labels, sizeof labels) };
  const ad_dtype dtype[2] = { AD_F32, AD_I64 };
  ad_report report = { AD_OK, "" };
  ad_dataset *d = ad_dataset_read_idx(2, both, dtype, NULL, &report);
  if (!CHECK_THAT(d, "%s", report.message)) return;
  const float *x = ad_dataset_data(d, 0);
  const int64_t *y = ad_dataset_data(d, 1);
  CHECK(ad_type_equal(ad_dataset_type(d, 0), AD_F32(3, 2, 2)) && x[4] == 255 && x[11] == 12);
  CHECK(ad_type_equal(ad_dataset_type(d, 1), AD_I64(3)) && y[0] == 5 && y[2] == 9);
  CHECK_STATUS(ad_dataset_check_labels(d, 1, 10, &report), AD_OK);
  CHECK_STATUS(ad_dataset_check_labels(d, 1, 9, &report), AD_ERROR_ARGUMENT);
  CHECK_THAT(strstr(report.message, "array 1: class 9 at [2] is not in 0 .. 8"), "%s", report.message);
  CHECK_STATUS(ad_dataset_check_labels(d, 0, 9, &report), AD_ERROR_DTYPE);
  ad_dataset_free(d);
}

/* One element of each type: 0xFE.. is -2; 1.5 in both widths. */
static void test_idx_types(void) {
  static const struct { unsigned char bytes[20]; size_t size; double value; ad_dtype own; } one[] = {
    { { 0, 0, 0x09, 1, 0, 0, 0, 1, 0xFE }, 9, -2, AD_I32 },
    { { 0, 0, 0x0B, 1, 0, 0, 0, 1, 0xFF, 0xFE }, 10, -2, AD_I32 },
    { { 0, 0, 0x0C, 1, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFE }, 12, -2, AD_I32 },
    { { 0, 0, 0x0D, 1, 0, 0, 0, 1, 0x3F, 0xC0, 0, 0 }, 12, 1.5, AD_F32 },
    { { 0, 0, 0x0E, 1, 0, 0, 0, 1, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0 }, 16, 1.5, AD_F64 },
  };
  for (size_t i = 0; i < sizeof one/sizeof *one; i++) {
    const char *const file[1] = { file_with("one", one[i].bytes, one[i].size) };
    const ad_dtype wide = AD_F64;
    ad_dataset *d = ad_dataset_read_idx(1, file, NULL, NULL, NULL);
    ad_dataset *w = ad_dataset_read_idx(1, file, &wide, NULL, NULL);
    if (CHECK(d && w)) {
      CHECK(ad_dataset_type(d, 0).dtype == one[i].own);
      CHECK(check_element(one[i].own, ad_dataset_data(d, 0), 0) == one[i].value);
      CHECK(*(double *)ad_dataset_data(w, 0) == one[i].value);
    }
    ad_dataset_free(d);
    ad_dataset_free(w);
  }
}

static void expect_idx(const unsigned char *bytes, size_t size, const ad_dtype *dtype, ad_status status,
                       const char *says) {
  const char *const file[1] = { file_with("damaged", bytes, size) };
  ad_report report = { AD_OK, "" };
  ad_dataset *d = ad_dataset_read_idx(1, file, dtype, NULL, &report);
  CHECK_THAT(!d && report.status == status && strstr(report.message, says)
             && strstr(report.message, "damaged"),
             "%s: \"%s\" does not say \"%s\"", ad_status_sentence(report.status), report.message, says);
  ad_dataset_free(d);
}

static void test_damaged_idx(void) {
  unsigned char bad[sizeof images + 1];
  const ad_dtype whole = AD_I32;
  for (size_t size = 0; size < sizeof images; size++)
    expect_idx(images, size, NULL, AD_ERROR_IO, size < 16 ? "cut off" : "its shape needs 12");
  memcpy(bad, images, sizeof images);
  expect_idx(bad, sizeof bad, NULL, AD_ERROR_IO, "has 13 bytes of elements");
  bad[2] = 0x0A;
  expect_idx(bad, sizeof images, NULL, AD_ERROR_IO, "is no idx file: it begins with 00 00 0a 03");
  bad[2] = 0x0E;
  expect_idx(bad, sizeof images, &whole, AD_ERROR_DTYPE, "do not become i32");
  bad[2] = 8, bad[3] = 9;
  expect_idx(bad, sizeof images, NULL, AD_ERROR_UNSUPPORTED, "9 axes");
  bad[3] = 3;
  memset(bad + 4, 0xFF, 12);
  expect_idx(bad, sizeof images, NULL, AD_ERROR_SIZE, "too large");
  bad[0] = 0x1F, bad[1] = 0x8B;
  expect_idx(bad, sizeof images, NULL, AD_ERROR_UNSUPPORTED, "compressed");
  char other[FOLDER_PATH];
  strcpy(other, file_with("images", images, sizeof images));
  unsigned char two[10] = { 0, 0, 8, 1, 0, 0, 0, 2, 5, 0 };
  const char *const both[2] = { other, file_with("labels", two, sizeof two) };
  ad_report report = { AD_OK, "" };
  CHECK(!ad_dataset_read_idx(2, both, NULL, NULL, &report) && report.status == AD_ERROR_SHAPE);
  CHECK_THAT(strstr(report.message, "array 1 is i32(2), but array 0 has 3 examples"), "%s", report.message);
}

/* --- datasets ------------------------------------------------------------------------------------------- */

static void test_dataset(void) {
  const double x[6] = { 0, 1, 2, 3, 4, 5 };
  const int32_t y[3] = { 10, 11, 12 };
  const ad_type type[2] = { AD_F64(3, 2), AD_I32(3) }, uneven[2] = { AD_F64(3, 2), AD_I32(2) },
                scalar = AD_F64();
  const void *const data[2] = { x, y };
  ad_report report = { AD_OK, "" };
  ad_dataset *d = ad_dataset_new(2, type, data, NULL, NULL);
  const int64_t index[4] = { 2, 0, 0, 1 }, outside[1] = { 3 };
  double a[8];
  int32_t b[4];
  CHECK_STATUS(ad_dataset_gather(d, 4, index, (void *[]){ a, b }), AD_OK);
  CHECK(a[0] == 4 && a[1] == 5 && a[2] == 0 && a[7] == 3 && b[0] == 12 && b[3] == 11);
  CHECK_STATUS(ad_dataset_gather(d, 1, outside, (void *[]){ a, b }), AD_ERROR_ARGUMENT);
  ad_dataset *part = ad_dataset_take(d, 2, index, NULL), *first = ad_dataset_take(d, 1, NULL, NULL);
  CHECK(ad_dataset_examples(part) == 2 && ((double *)ad_dataset_data(part, 0))[0] == 4);
  CHECK(ad_dataset_examples(first) == 1 && ((int32_t *)ad_dataset_data(first, 1))[0] == 10);
  CHECK(!ad_dataset_take(d, 1, outside, &report) && strstr(report.message, "index 3 of example 0"));
  CHECK(!ad_dataset_take(d, 4, NULL, &report) && report.status == AD_ERROR_ARGUMENT);
  CHECK(!ad_dataset_new(2, uneven, data, NULL, &report) && report.status == AD_ERROR_SHAPE);
  CHECK(!ad_dataset_new(1, &scalar, data, NULL, &report) && strstr(report.message, "scalar"));
  CHECK(!ad_dataset_new(0, type, data, NULL, &report) && report.status == AD_ERROR_ARGUMENT);
  CHECK(ad_type_equal(ad_dataset_batch_type(d, 0, 7), AD_F64(7, 2)) && ad_dataset_type(d, 2).rank < 0);
  ad_dataset_free(first);
  ad_dataset_free(part);
  ad_dataset_free(d);
}

int main(void) {
  if (!(here = folder_make())) return 1;
  test_decimals();
  test_plain();
  test_labels();
  test_integer_labels();
  test_many_classes();
  test_refusals();
  test_any_bytes();
  test_idx();
  test_idx_types();
  test_damaged_idx();
  test_dataset();
  folder_remove(here);
  return check_summary();
}
