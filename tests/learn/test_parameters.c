/* test_parameters.c -- the tree of parameters: names, initial values against their distributions, tables,
 * vectors, files, failing memory. */
#define _DEFAULT_SOURCE
#include "adit/arrays.h"
#include "adit/derive.h"
#include "adit/elementwise.h"
#include "adit/npy.h"
#include "adit/parameters.h"
#include "check.h"
#include "heap.h"
#include "exchange/files.h"

/* --- building ------------------------------------------------------------------------------------------- */

static ad_parameters *small(void) {
  ad_parameters *p = ad_parameters_new();
  ad_parameters_add(p, "encoder/0/weight", AD_F32(3, 2), ad_init_glorot_uniform());
  ad_parameters_add(p, "encoder/0/bias", AD_F32(2), ad_init_constant(0.5));
  ad_parameters_add(p, "scale", AD_F32(), ad_init_normal(1, 0.1));
  CHECK_STATUS(ad_parameters_status(p), AD_OK);
  return p;
}

static void test_building(void) {
  ad_parameters *p = small();
  CHECK(ad_parameters_entries(p) == 3 && ad_parameters_count(p) == 9);
  CHECK(!strcmp(ad_parameters_name(p, 1), "encoder/0/bias") && !ad_parameters_name(p, 3)
        && !ad_parameters_name(p, -1));
  CHECK(ad_parameters_find(p, "scale") == 2 && ad_parameters_find(p, "encoder/0") == -1);
  CHECK(ad_type_equal(ad_parameters_type(p, 0), AD_F32(3, 2)) && ad_parameters_type(p, 3).rank == -1);
  CHECK(ad_type_equal(ad_parameters_types(p)[1], AD_F32(2)));
  for (int i = 0; i < 3; i++) {
    CHECK(ad_parameters_all(p)[i] == ad_parameters_data(p, i) && (uintptr_t)ad_parameters_data(p, i)%64 == 0);
    CHECK(*(float *)ad_parameters_data(p, i) == 0);
  }
  void *stays = ad_parameters_data(p, 0);
  for (int i = 0; i < 100; i++) {
    char name[40];
    snprintf(name, sizeof name, "more/%d", i);
    CHECK(ad_parameters_add(p, name, AD_I64(0, 3), ad_init_zeros()) == 3 + i);
  }
  CHECK(ad_parameters_data(p, 0) == stays && ad_parameters_count(p) == 9 && ad_parameters_data(p, 50));
  ad_parameters_free(p);
  ad_parameters_free(NULL);
  CHECK(ad_parameters_entries(NULL) == 0 && ad_parameters_status(NULL) == AD_ERROR_MEMORY);
}

static void test_names(void) {
  static const char *const bad[] = { "", "/", "a/", "/a", "a//b", ".", "a/../b", "a\nb", "encoder/0/bias",
                                     "encoder",
                                     "encoder/0", "scale/x", NULL };
  ad_parameters *p = small();
  char endless[202];
  memset(endless, 'a', 201);
  endless[201] = 0;
  for (size_t i = 0; i <= sizeof bad/sizeof *bad; i++) {
    const char *name = i < sizeof bad/sizeof *bad ? bad[i] : endless;
    ad_parameters_clear(p);
    CHECK_THAT(ad_parameters_add(p, name, AD_F32(), ad_init_zeros()) == -1
               && ad_parameters_status(p) == AD_ERROR_ARGUMENT, "%s", name ? name : "NULL");
  }
  ad_parameters_clear(p);
  CHECK(ad_parameters_add(p, "encoder", AD_F32(), ad_init_zeros()) == -1);
  CHECK(ad_parameters_add(p, "", AD_F32(), ad_init_zeros()) == -1);
  CHECK_THAT(!strcmp(ad_parameters_message(p), "\"encoder\": there is \"encoder/0/weight\" already"), "%s",
             ad_parameters_message(p));
  ad_parameters_clear(p);
  CHECK(ad_parameters_add(p, "encoder 2", AD_F32(), ad_init_zeros()) == 3);
  CHECK(ad_parameters_add(p, "n", AD_I32(), ad_init_normal(0, 1)) == -1
        && ad_parameters_status(p) == AD_ERROR_DTYPE);
  ad_parameters_clear(p);
  CHECK(ad_parameters_add(p, "n", AD_I32(), ad_init_constant(3e9)) == -1);
  CHECK(ad_parameters_add(p, "n", AD_F32(-1), ad_init_zeros()) == -1);
  ad_parameters_free(p);
}

/* --- initial values ------------------------------------------------------------------------------------- */

enum { ROWS = 300, COLUMNS = 500, MANY = ROWS*COLUMNS };

static void moments(const ad_parameters *p, const char *name, double *mean, double *deviation,
                    double *largest) {
  const int i = ad_parameters_find(p, name);
  const ad_type type = ad_parameters_type(p, i);
  double sum = 0, squares = 0;
  *largest = 0;
  for (int64_t k = 0; k < ad_type_count(type); k++) {
    const double x = check_element(type.dtype, ad_parameters_data(p, i), k);
    sum += x, squares += x*x;
    *largest = fmax(*largest, fabs(x));
  }
  *mean = sum/(double)ad_type_count(type);
  *deviation = sqrt(squares/(double)ad_type_count(type) - *mean**mean);
}

/* Mean and deviation of n numbers within five standard errors; a uniform variable of deviation s stays below
 * sqrt(3) s, and of so many comes close to it. */
static void test_distributions(ad_dtype dtype) {
  const double both = sqrt(2.0/(ROWS + COLUMNS)), in = sqrt(2.0/ROWS);
  const struct { const char *name; ad_init init; double mean, deviation; bool uniform; } rule[] = {
    { "uniform", ad_init_uniform(-1, 3), 1, 4/sqrt(12), false },
    { "normal", ad_init_normal(-2, 0.25), -2, 0.25, false },
    { "glorot/uniform", ad_init_glorot_uniform(), 0, both, true },
    { "glorot/normal", ad_init_glorot_normal(), 0, both, false },
    { "he/uniform", ad_init_he_uniform(), 0, in, true }, { "he/normal", ad_init_he_normal(), 0, in, false } };
  ad_parameters *p = ad_parameters_new();
  for (int i = 0; i < 6; i++)
    ad_parameters_add(p, rule[i].name, ad_type_make(dtype, 2, (int64_t[]){ ROWS, COLUMNS }), rule[i].init);
  CHECK_STATUS(ad_parameters_initialise(p, 7), AD_OK);
  for (int i = 0; i < 6; i++) {
    const double error = rule[i].deviation/sqrt(MANY);
    double mean, deviation, largest;
    moments(p, rule[i].name, &mean, &deviation, &largest);
    CHECK_THAT(fabs(mean - rule[i].mean) < 5*error, "%s: mean %g", rule[i].name, mean);
    CHECK_THAT(fabs(deviation - rule[i].deviation) < 5*error, "%s: deviation %g", rule[i].name, deviation);
    if (!rule[i].uniform) continue;
    CHECK_THAT(largest <= sqrt(3)*rule[i].deviation*(1 + 1e-6) && largest > 1.73*rule[i].deviation,
               "%s: largest %g",
               rule[i].name, largest);
  }
  ad_parameters_free(p);
}

/* (field.., n, m): fan_in = field n, fan_out = field m; (n): both n. */
static void test_fans(void) {
  ad_parameters *p = ad_parameters_new();
  double mean, deviation, largest;
  ad_parameters_add(p, "field", AD_F64(5, 4, 50, 20), ad_init_he_normal());
  ad_parameters_add(p, "field/glorot", AD_F64(), ad_init_zeros());
  CHECK_STATUS(ad_parameters_status(p), AD_ERROR_ARGUMENT);
  ad_parameters_clear(p);
  ad_parameters_add(p, "glorot", AD_F64(5, 4, 50, 20), ad_init_glorot_normal());
  ad_parameters_add(p, "vector", AD_F64(10000), ad_init_glorot_normal());
  CHECK_STATUS(ad_parameters_initialise(p, 1), AD_OK);
  moments(p, "field", &mean, &deviation, &largest);
  CHECK(fabs(deviation/sqrt(2.0/1000) - 1) < 0.03);
  moments(p, "glorot", &mean, &deviation, &largest);
  CHECK(fabs(deviation/sqrt(2.0/(1000 + 400)) - 1) < 0.03);
  moments(p, "vector", &mean, &deviation, &largest);
  CHECK(fabs(deviation/sqrt(1.0/10000) - 1) < 0.03);
  ad_parameters_free(p);
}

static bool same(const ad_parameters *a, const char *name, const ad_parameters *b, const char *other) {
  const int i = ad_parameters_find(a, name), k = ad_parameters_find(b, other);
  return i >= 0 && k >= 0 && ad_type_equal(ad_parameters_type(a, i), ad_parameters_type(b, k))
      && !memcmp(ad_parameters_data(a, i), ad_parameters_data(b, k), ad_type_bytes(ad_parameters_type(a, i)));
}

/* What an entry gets depends on seed and name, not on its neighbours; names and seeds make a difference. */
static void test_reproducible(void) {
  ad_parameters *p = ad_parameters_new(), *q = ad_parameters_new();
  ad_parameters_add(p, "a", AD_F32(40), ad_init_normal(0, 1));
  ad_parameters_add(p, "b", AD_F32(40), ad_init_normal(0, 1));
  ad_parameters_add(q, "z", AD_F64(1000), ad_init_uniform(0, 1));
  ad_parameters_add(q, "b", AD_F32(40), ad_init_normal(0, 1));
  ad_parameters_add(q, "c", AD_I32(3), ad_init_constant(-4));
  CHECK_STATUS(ad_parameters_initialise(p, 5), AD_OK);
  CHECK_STATUS(ad_parameters_initialise(q, 5), AD_OK);
  CHECK(same(p, "b", q, "b") && !same(p, "a", p, "b"));
  CHECK(((int32_t *)ad_parameters_data(q, 2))[2] == -4);
  CHECK_STATUS(ad_parameters_initialise(q, 6), AD_OK);
  CHECK(!same(p, "b", q, "b"));
  ad_parameters_free(p);
  ad_parameters_free(q);
}

/* --- copies, trees of trees ----------------------------------------------------------------------------- */

static void test_append(void) {
  ad_parameters *p = small(), *all = ad_parameters_new(), *copy;
  ad_parameters_initialise(p, 3);
  CHECK_STATUS(ad_parameters_append(all, "model", p), AD_OK);
  CHECK_STATUS(ad_parameters_append(all, "adam/m", p), AD_OK);
  CHECK_STATUS(ad_parameters_append(all, NULL, p), AD_OK);
  CHECK(ad_parameters_entries(all) == 9);
  CHECK(same(all, "model/encoder/0/weight", p, "encoder/0/weight") && same(all, "adam/m/scale", p, "scale"));
  CHECK(same(all, "scale", p, "scale"));
  copy = ad_parameters_copy(all);
  CHECK(copy && ad_parameters_entries(copy) == 9 && same(copy, "model/scale", p, "scale"));
  CHECK_STATUS(ad_parameters_append(all, "model/encoder/1", p), AD_OK);
  CHECK_STATUS(ad_parameters_append(all, "model/encoder", copy), AD_OK);
  const int before = ad_parameters_entries(all);
  ad_parameters_add(all, "late/scale", AD_F32(), ad_init_zeros());
  /* the last entry does not fit */
  CHECK_STATUS(ad_parameters_append(all, "late", p), AD_ERROR_ARGUMENT);
  CHECK(ad_parameters_entries(all) == before + 1 && ad_parameters_find(all, "late/encoder/0/bias") == -1);
  ad_parameters_clear(all);
  CHECK_STATUS(ad_parameters_append(copy, "self", copy), AD_OK);
  CHECK(ad_parameters_entries(copy) == 18);
  CHECK_STATUS(ad_parameters_append(copy, "x", NULL), AD_ERROR_ARGUMENT);
  CHECK(!ad_parameters_copy(NULL));
  ad_parameters_free(p);
  ad_parameters_free(all);
  ad_parameters_free(copy);
}

/* --- the table ------------------------------------------------------------------------------------------ */

static void test_table(void) {
  static const char want[] =
    "name              type      elements  bytes\n"
    "encoder/0/weight  f32(3,2)         6     24\n"
    "encoder/0/bias    f32(2)           2      8\n"
    "scale             f32()            1      4\n"
    "3 entries                          9     36\n";
  ad_parameters *p = small();
  char text[400], little[10] = "abcdefghi";
  CHECK(ad_parameters_print(p, text, sizeof text) == sizeof want - 1);
  CHECK_THAT(!strcmp(text, want), "\n%s", text);
  CHECK(ad_parameters_print(p, NULL, 0) == sizeof want - 1);
  CHECK(ad_parameters_print(p, little, sizeof little) == sizeof want - 1 && !strcmp(little, "name     "));
  for (size_t n = 1; n <= sizeof want; n++) {
    memset(text, '#', sizeof text);
    ad_parameters_print(p, text, n);
    CHECK_THAT(!memcmp(text, want, n - 1) && text[n - 1] == 0 && text[n] == '#', "%zu bytes", n);
  }
  FILE *file = tmpfile();
  CHECK_STATUS(ad_parameters_print_to(p, file), AD_OK);
  rewind(file);
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  CHECK(!strcmp(text, want));
  fclose(file);
  CHECK(ad_parameters_print(NULL, text, sizeof text) == 0 && text[0] == 0);
  CHECK_STATUS(ad_parameters_print_to(p, NULL), AD_ERROR_ARGUMENT);
  ad_parameters_free(p);
}

/* --- one vector ----------------------------------------------------------------------------------------- */

static void test_vector(void) {
  ad_parameters *p = small(), *q = small();
  float vector[9], back[9];
  ad_parameters_initialise(p, 11);
  CHECK_STATUS(ad_parameters_flatten(p, vector), AD_OK);
  CHECK(!memcmp(vector, ad_parameters_data(p, 0), 24) && vector[7] == 0.5f
        && vector[8] == *(float *)ad_parameters_data(p, 2));
  CHECK_STATUS(ad_parameters_unflatten(q, vector), AD_OK);
  CHECK(same(p, "encoder/0/weight", q, "encoder/0/weight") && same(p, "scale", q, "scale"));

  ad_tape *t = ad_tape_new();
  ad_var v[3], w[3];
  CHECK_STATUS(ad_parameters_record(p, t, v), AD_OK);
  ad_var flat = ad_parameters_flatten_vars(p, v);
  CHECK(ad_type_equal(ad_type_of(flat), AD_F32(9)));
  CHECK_STATUS(ad_read(flat, back), AD_OK);
  CHECK(!memcmp(back, vector, sizeof vector));
  CHECK_STATUS(ad_parameters_unflatten_var(p, flat, w), AD_OK);
  for (int i = 0; i < 3; i++) {
    CHECK(ad_type_equal(ad_type_of(w[i]), ad_parameters_type(p, i)));
    CHECK_STATUS(ad_read(w[i], back), AD_OK);
    CHECK(!memcmp(back, ad_parameters_data(p, i), ad_type_bytes(ad_parameters_type(p, i))));
  }
  /* the gradient of sum_i (i + 1) sum w[i]^2 by the vector: 2 (i + 1) w */
  ad_var loss = ad_add(ad_add(ad_sum(ad_square(w[0]), AD_ALL_AXES, false),
                              ad_mul(2, ad_sum(ad_square(w[1]), AD_ALL_AXES, false))),
                       ad_mul(3, ad_square(w[2])));
  ad_var slope;
  CHECK_STATUS(ad_grad(loss, 1, &flat, &slope), AD_OK);
  CHECK_STATUS(ad_read(slope, back), AD_OK);
  for (int i = 0; i < 9; i++) CHECK_NUMBER(back[i], 2*(i < 6 ? 1 : i < 8 ? 2 : 3)*(double)vector[i], 1e-6);
  CHECK_STATUS(ad_parameters_unflatten_var(p, v[0], w), AD_ERROR_SHAPE);
  CHECK_THAT(strstr(ad_tape_message(t), "f32(3,2) is no vector of their 9 elements"), "%s",
             ad_tape_message(t));
  ad_tape_clear(t);
  CHECK(!ad_is_valid(ad_parameters_flatten_vars(p, (ad_var[]){ v[1], v[0], v[2] })));
  CHECK_THAT(strstr(ad_tape_message(t), "encoder/0/weight is f32(2), not f32(3,2)"), "%s",
             ad_tape_message(t));
  ad_parameters_add(p, "n", AD_I64(), ad_init_zeros());
  CHECK_STATUS(ad_parameters_flatten(p, vector), AD_ERROR_DTYPE);
  CHECK_STATUS(ad_parameters_unflatten(p, NULL), AD_ERROR_ARGUMENT);
  ad_tape_free(t);
  ad_parameters_free(p);
  ad_parameters_free(q);
}

/* --- files ---------------------------------------------------------------------------------------------- */

static void test_files(void) {
  ad_parameters *p = small(), *q = small();
  ad_report r;
  ad_parameters_initialise(p, 2);
  CHECK_STATUS(ad_parameters_save(p, path_of("p.npz")), AD_OK);
  CHECK_STATUS(ad_parameters_load(q, path_of("p.npz")), AD_OK);
  CHECK(same(p, "encoder/0/weight", q, "encoder/0/weight") && same(p, "encoder/0/bias", q, "encoder/0/bias"));
  ad_parameters *all = ad_parameters_read(path_of("p.npz"), NULL, &r);
  CHECK(all && ad_parameters_entries(all) == 3 && same(all, "scale", p, "scale"));
  CHECK_STATUS(ad_parameters_save(p, path_of("no/p.npz")), AD_ERROR_IO);
  CHECK_THAT(strstr(ad_parameters_message(p), "no/p.npz: cannot be written: No such file"), "%s",
             ad_parameters_message(p));
  CHECK(!ad_parameters_read(path_of("nothing.npz"), NULL, &r) && r.status == AD_ERROR_IO);
  ad_parameters_free(p);
  ad_parameters_free(q);
  ad_parameters_free(all);
}

/* A file that does not fit changes nothing, and the message names file and entry. */
static void test_files_that_do_not_fit(void) {
  float w[8] = { 9, 9, 9, 9, 9, 9, 9, 9 };
  double wide[2] = { 9, 9 };
  const struct { int n; ad_named_array array[4]; ad_status status; const char *says; } bad[] = {
    { 2, { { "encoder/0/weight", AD_F32(3, 2), w }, { "scale", AD_F32(), w } }, AD_ERROR_ARGUMENT,
      "has no \"encoder/0/bias\"" },
    { 3, { { "encoder/0/weight", AD_F32(2, 3), w }, { "encoder/0/bias", AD_F32(2), w },
           { "scale", AD_F32(), w } },
      AD_ERROR_SHAPE, "\"encoder/0/weight\" is f32(2,3), not f32(3,2)" },
    { 3, { { "encoder/0/weight", AD_F32(3, 2), w }, { "encoder/0/bias", AD_F64(2), wide },
           { "scale", AD_F32(), w } },
      AD_ERROR_DTYPE, "\"encoder/0/bias\" is f64(2), not f32(2)" },
    { 4, { { "encoder/0/weight", AD_F32(3, 2), w }, { "encoder/0/bias", AD_F32(2), w },
           { "scale", AD_F32(), w },
           { "more", AD_F32(), w } }, AD_ERROR_ARGUMENT,
               "has \"more\", which is not among the parameters" } };
  ad_parameters *p = small(), *before;
  ad_parameters_initialise(p, 4);
  before = ad_parameters_copy(p);
  for (int i = 0; i < 4; i++) {
    CHECK_STATUS(ad_npz_save(path_of("bad.npz"), bad[i].n, bad[i].array, NULL), AD_OK);
    CHECK_STATUS(ad_parameters_load(p, path_of("bad.npz")), bad[i].status);
    CHECK_THAT(strstr(ad_parameters_message(p), bad[i].says) && strstr(ad_parameters_message(p), "bad.npz"),
               "%s",
               ad_parameters_message(p));
    ad_parameters_clear(p);
    for (int k = 0; k < 3; k++) CHECK(same(p, ad_parameters_name(p, k), before, ad_parameters_name(p, k)));
  }
  CHECK_STATUS(ad_npz_save(path_of("bad.npz"), 1, &(ad_named_array){ "a//b", AD_F32(), w }, NULL), AD_OK);
  ad_report r;
  CHECK(!ad_parameters_read(path_of("bad.npz"), NULL, &r) && r.status == AD_ERROR_ARGUMENT);
  CHECK_THAT(strstr(r.message, "bad.npz: \"a//b\": a part of the name is empty"), "%s", r.message);
  ad_parameters_free(p);
  ad_parameters_free(before);
}

/* --- memory that fails ---------------------------------------------------------------------------------- */

static bool everything(const ad_allocator *a) {
  ad_parameters *p = ad_parameters_new_with(a), *q = NULL, *r = NULL;
  for (int i = 0; i < 20; i++) {
    char name[20];
    snprintf(name, sizeof name, "a/%d", i);
    ad_parameters_add(p, name, AD_F64(10), ad_init_he_normal());
  }
  ad_parameters_initialise(p, 1);
  if (ad_parameters_status(p) == AD_OK) q = ad_parameters_copy(p);
  if (q) ad_parameters_append(p, "b", q);
  if (q) ad_parameters_save(p, path_of("m.npz"));
  if (q && ad_parameters_status(p) == AD_OK) ad_parameters_load(p, path_of("m.npz"));
  if (q && ad_parameters_status(p) == AD_OK) r = ad_parameters_read(path_of("m.npz"), a, NULL);
  const bool done = ad_parameters_entries(r) == 40;
  CHECK(done || !q || !r || ad_parameters_status(p) == AD_ERROR_MEMORY);
  ad_parameters_free(p);
  ad_parameters_free(q);
  ad_parameters_free(r);
  return done;
}

static void test_memory(void) {
  heap h = { 0 };
  const ad_allocator a = heap_allocator(&h);
  bool done = false;
  for (long n = 1; !done && n <= 2000; n++) {
    heap_fail(&h, n, true);
    done = everything(&a);
    CHECK_THAT(heap_is_empty(&h), "allocation %ld: %s", n, heap_text(&h));
  }
  CHECK(done);
}

int main(void) {
  files_begin();
  test_building();
  test_names();
  test_distributions(AD_F64);
  test_distributions(AD_F32);
  test_fans();
  test_reproducible();
  test_append();
  test_table();
  test_vector();
  test_files();
  test_files_that_do_not_fit();
  test_memory();
  folder_remove(folder);
  return check_summary();
}
