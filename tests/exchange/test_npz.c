/* test_npz.c -- arrays in files: bytes against the format's definition, round trips, hand-made headers,
 * damage at every byte, failing memory, crashes while writing. */
#define _DEFAULT_SOURCE
#include "adit/npy.h"
#include "check.h"
#include "heap.h"
#include "exchange/npz.h"
#include "exchange/files.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- arrays with known elements ------------------------------------------------------------------------- */

enum { MOST = 1024 };

static ad_type shape(ad_dtype dtype, int which) {
  static const struct { int rank; int64_t dim[AD_MAX_RANK]; } shapes[] = {
    { 0, { 0 } }, { 1, { 7 } }, { 1, { 0 } }, { 2, { 3, 4 } }, { 2, { 0, 5 } }, { 3, { 2, 1, 3 } },
    { 8, { 2, 1, 2, 1, 2, 3, 1, 2 } } };
  return ad_type_make(dtype, shapes[which].rank, shapes[which].dim);
}
enum { SHAPES = 7 };

static double element(int64_t i) { return (double)((i*37)%101 - 50); }

static void fill(ad_type type, void *data) {
  for (int64_t i = 0; i < ad_type_count(type); i++) check_set_element(type.dtype, data, i, element(i));
}

static bool as_filled(ad_type type, const void *data) {
  for (int64_t i = 0; i < ad_type_count(type); i++) {
    const double want = type.dtype == AD_BOOL ? element(i) != 0 : element(i);
    if (check_element(type.dtype, data, i) != want) return false;
  }
  return true;
}

/* --- round trips ---------------------------------------------------------------------------------------- */

static void test_npy_round_trip(void) {
  double data[MOST];
  for (int dtype = 0; dtype < AD_DTYPES; dtype++)
    for (int which = 0; which < SHAPES; which++) {
      const ad_type type = shape((ad_dtype)dtype, which);
      ad_report r;
      fill(type, data);
      CHECK_STATUS(ad_npy_save(path_of("x.npy"), type, data, &r), AD_OK);
      ad_archive *a = ad_npy_load(path_of("x.npy"), NULL, &r);
      if (!CHECK_THAT(a, "%s", r.message)) continue;
      CHECK(a->count == 1 && !strcmp(a->array[0].name, "") && ad_type_equal(a->array[0].type, type));
      CHECK(as_filled(type, a->array[0].data));
      ad_archive_free(a);
    }
}

enum { ARRAYS = AD_DTYPES*SHAPES };
static double storage[ARRAYS][MOST];
static char names[ARRAYS][40];

static void make_arrays(ad_named_array array[ARRAYS]) {
  for (int i = 0; i < ARRAYS; i++) {
    const ad_type type = shape((ad_dtype)(i/SHAPES), i%SHAPES);
    snprintf(names[i], sizeof names[i], i%2 ? "encoder/%d/weight" : "gr\xc3\xb6\xc3\x9f" "e %d", i);
    fill(type, storage[i]);
    array[i] = (ad_named_array){ names[i], type, storage[i] };
  }
}

static void test_npz_round_trip(uint64_t narrow) {
  ad_named_array array[ARRAYS];
  ad_report r;
  make_arrays(array);
  CHECK_STATUS(npz_save(path_of("x.npz"), ARRAYS, array, &memory_standard, narrow, &r), AD_OK);
  ad_archive *a = ad_npz_load(path_of("x.npz"), NULL, &r);
  if (!CHECK_THAT(a, "%s", r.message)) return;
  CHECK(a->count == ARRAYS);
  for (int i = 0; i < a->count; i++) {
    CHECK(ad_archive_find(a, names[i]) == i);
    CHECK(ad_type_equal(a->array[i].type, array[i].type) && as_filled(array[i].type, a->array[i].data));
  }
  CHECK(ad_archive_find(a, "nothing") == -1 && ad_archive_find(NULL, "x") == -1);
  ad_archive_free(a);
}

static void test_empty_archive(void) {
  ad_report r;
  CHECK_STATUS(ad_npz_save(path_of("none.npz"), 0, NULL, &r), AD_OK);
  ad_archive *a = ad_npz_load(path_of("none.npz"), NULL, &r);
  CHECK(a && a->count == 0);
  ad_archive_free(a);
}

/* --- the bytes themselves ------------------------------------------------------------------------------- */

/* As numpy.lib.format says: magic, version, length of what follows (little), the dictionary, spaces so that
 * the whole is a multiple of 64, a newline; then the elements. */
static void test_bytes(void) {
  static const char start[] =
      "\x93NUMPY\x01\x00\x76\x00{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }";
  unsigned char want[128 + 12];
  memset(want, ' ', 128);
  memcpy(want, start, sizeof start - 1);
  want[127] = '\n';
  memcpy(want + 128, "\1\0\0\0\2\0\0\0\xff\xff\xff\xff", 12);
  size_t size;
  CHECK_STATUS(ad_npy_save(path_of("b.npy"), AD_I32(3), (int32_t[]){ 1, 2, -1 }, NULL), AD_OK);
  unsigned char *got = get_file(path_of("b.npy"), &size);
  CHECK(size == sizeof want && !memcmp(got, want, size));
  free(got);
}

/* "123456789" is the usual check of CRC-32. */
static void test_checksum(void) {
  CHECK(zip_crc(0, "123456789", 9) == 0xCBF43926u);
  CHECK(zip_crc(zip_crc(0, "1234", 4), "56789", 5) == 0xCBF43926u);
  CHECK(zip_crc(0, "", 0) == 0);
}

/* --- headers written by hand ---------------------------------------------------------------------------- */

static size_t by_hand(unsigned char *out, int version, const char *header, const void *data, size_t bytes) {
  const size_t length = strlen(header);
  const int width = version == 1 ? 2 : 4;
  memcpy(out, "\x93NUMPY", 6);
  out[6] = (unsigned char)version, out[7] = 0;
  for (int i = 0; i < width; i++) out[8 + i] = (unsigned char)(length >> 8*i);
  memcpy(out + 8 + width, header, length);
  if (bytes) memcpy(out + 8 + (size_t)width + length, data, bytes);
  return 8 + (size_t)width + length + bytes;
}

static ad_archive *load_by_hand(int version, const char *header, const void *data, size_t bytes,
                                ad_report *r) {
  static unsigned char file[8192];
  put_file(path_of("hand.npy"), file, by_hand(file, version, header, data, bytes));
  return ad_npy_load(path_of("hand.npy"), NULL, r);
}

static void test_headers_that_are_read(void) {
  const unsigned char big[] = { 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0x08, 0, 0, 0, 0, 0, 0 };      /* 1, -3 */
  const int32_t six[] = { 0, 1, 2, 3, 4, 5 };
  ad_report r;
  ad_archive *a = load_by_hand(1, "{'descr': '>f8', 'fortran_order': False, 'shape': (2,), }\n", big, 16, &r);
  if (CHECK_THAT(a, "%s", r.message)) {
    const double *x = a->array[0].data;
    CHECK(ad_type_equal(a->array[0].type, AD_F64(2)) && x[0] == 1 && x[1] == -3);
  }
  ad_archive_free(a);
  a = load_by_hand(2, "{\"shape\":(2L, 3L),\"fortran_order\":True,\"descr\":\"<i4\"}", six, 24, &r);
  if (CHECK_THAT(a, "%s", r.message)) {
    const int32_t want[] = { 0, 2, 4, 1, 3, 5 };         /* columns (0,1), (2,3), (4,5) */
    CHECK(ad_type_equal(a->array[0].type, AD_I32(2, 3)) && !memcmp(a->array[0].data, want, sizeof want));
  }
  ad_archive_free(a);
  a = load_by_hand(3, "{'descr': '|b1', 'fortran_order': False, 'shape': ()}   \n", "\2", 1, &r);
  if (CHECK_THAT(a, "%s", r.message)) CHECK(a->array[0].type.rank == 0 && *(uint8_t *)a->array[0].data == 1);
  ad_archive_free(a);
}

/* The sizes overflow where they are multiplied, but there are no elements. */
static void test_fortran_without_elements(void) {
  ad_report r;
  static const char header[] =
      "{'descr': '<f8', 'fortran_order': True, 'shape': (4611686018427387904, 8, 0), }";
  ad_archive *a = load_by_hand(1, header, NULL, 0, &r);
  CHECK(a ? ad_type_count(a->array[0].type) == 0 : r.status == AD_ERROR_IO);
  ad_archive_free(a);
}

static void test_headers_that_are_refused(void) {
  static const struct { const char *header; ad_status status; const char *says; } bad[] = {
    { "{'descr': '<c16', 'fortran_order': False, 'shape': (), }", AD_ERROR_UNSUPPORTED, "'<c16'" },
    { "{'descr': '<f2', 'fortran_order': False, 'shape': (), }", AD_ERROR_UNSUPPORTED, "'<f2'" },
    { "{'descr': '|O', 'fortran_order': False, 'shape': (), }", AD_ERROR_UNSUPPORTED, "'|O'" },
    { "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (), }", AD_ERROR_UNSUPPORTED, "records" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", AD_ERROR_UNSUPPORTED,
      "8 axes" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", AD_ERROR_IO, "16 bytes, not the 8" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (1), }", AD_ERROR_IO, "shape" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", AD_ERROR_IO, "number in the shape" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999,), }", AD_ERROR_IO, "number" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 8), }", AD_ERROR_IO,
      "overflows" },
    { "{'descr': '<f8', 'fortran_order': 0, 'shape': (), }", AD_ERROR_IO, "fortran_order" },
    { "{'descr': '<f8', 'fortran_order': False, }", AD_ERROR_IO, "key missing" },
    { "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (), }", AD_ERROR_IO, "twice" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (), 'more': 1}", AD_ERROR_IO, "unknown key" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': (), } x", AD_ERROR_IO, "behind the end" },
    { "{'descr': '<f8', 'fortran_order': False, 'shape': ()", AD_ERROR_IO, "no end" },
    { "['descr']", AD_ERROR_IO, "dictionary" }, { "", AD_ERROR_IO, "dictionary" } };
  for (size_t i = 0; i < sizeof bad/sizeof *bad; i++) {
    ad_report r;
    ad_archive *a = load_by_hand(1, bad[i].header, "12345678", 8, &r);
    CHECK_THAT(!a && r.status == bad[i].status && strstr(r.message, bad[i].says)
               && strstr(r.message, "hand.npy"),
               "%s: %s", bad[i].header, a ? "was read" : r.message);
    ad_archive_free(a);
  }
}

/* --- damage --------------------------------------------------------------------------------------------- */

/* Loads what may be damaged: either it is refused with a sentence that names the file, or it is what it
 * was. */
static bool survives(const char *path, ad_archive *load(const char *, const ad_allocator *, ad_report *),
                     const ad_archive *want, bool *refused) {
  ad_report r;
  ad_archive *a = load(path, NULL, &r);
  *refused = !a;
  if (!a) return r.status != AD_OK && strstr(r.message, "damaged.file");
  bool same = a->count == want->count && r.status == AD_OK;
  for (int i = 0; same && i < a->count; i++)
    same = !strcmp(a->array[i].name, want->array[i].name)
        && ad_type_equal(a->array[i].type, want->array[i].type)
        && !memcmp(a->array[i].data, want->array[i].data, ad_type_bytes(a->array[i].type));
  ad_archive_free(a);
  return same;
}

static void test_truncation(const char *good, ad_archive *load(const char *, const ad_allocator *,
                                                               ad_report *)) {
  size_t size;
  unsigned char *bytes = get_file(good, &size);
  ad_archive *want = load(good, NULL, NULL);
  for (size_t n = 0; n < size; n++) {
    bool refused;
    put_file(path_of("damaged.file"), bytes, n);
    CHECK_THAT(survives(path_of("damaged.file"), load, want, &refused) && refused, "cut off at %zu", n);
  }
  ad_archive_free(want);
  free(bytes);
}

/* What one byte of an archive can say without being noticed: nothing but what no reader looks at. The bytes
 * of a .npy file's elements are protected by nothing, so only that reading stays sane is asked there. */
static void test_flips(const char *good, ad_archive *load(const char *, const ad_allocator *, ad_report *),
                       bool protected) {
  static const unsigned char mask[] = { 0x01, 0x02, 0x10, 0x80, 0xff };
  size_t size;
  unsigned char *bytes = get_file(good, &size);
  ad_archive *want = load(good, NULL, NULL);
  long noticed = 0;
  for (size_t n = 0; n < size*sizeof mask; n++) {
    const size_t at = n/sizeof mask;
    bool refused;
    bytes[at] ^= mask[n%sizeof mask];
    put_file(path_of("damaged.file"), bytes, size);
    const bool good_answer = survives(path_of("damaged.file"), load, want, &refused);
    CHECK_THAT(good_answer || (!protected && !refused), "byte %zu ^ %d", at, mask[n%sizeof mask]);
    noticed += refused;
    bytes[at] ^= mask[n%sizeof mask];
  }
  CHECK_THAT(noticed > (protected ? (long)size*3 : 100), "%ld of %zu noticed", noticed, 5*size);
  ad_archive_free(want);
  free(bytes);
}

static void test_damage(void) {
  const ad_named_array pair[] = { { "a", AD_F32(2, 2), (float[]){ 1, 2, 3, 4 } },
                                  { "b/c", AD_I64(1), (int64_t[]){ -5 } } };
  CHECK_STATUS(ad_npy_save(path_of("good.npy"), AD_F64(2), (double[]){ 1, 2 }, NULL), AD_OK);
  CHECK_STATUS(ad_npz_save(path_of("good.npz"), 2, pair, NULL), AD_OK);
  CHECK_STATUS(npz_save(path_of("wide.npz"), 2, pair, &memory_standard, 0, NULL), AD_OK);
  test_truncation(path_of("good.npy"), ad_npy_load);
  test_truncation(path_of("good.npz"), ad_npz_load);
  test_truncation(path_of("wide.npz"), ad_npz_load);
  test_flips(path_of("good.npy"), ad_npy_load, false);
  test_flips(path_of("good.npz"), ad_npz_load, true);
  test_flips(path_of("wide.npz"), ad_npz_load, true);
}

/* --- memory that fails ---------------------------------------------------------------------------------- */

static void test_memory(void) {
  heap h = { 0 };
  const ad_allocator a = heap_allocator(&h);
  bool done = false;
  for (long n = 1; !done && n <= 100; n++) {
    ad_report r;
    heap_fail(&h, n, true);
    ad_archive *x = ad_npz_load(path_of("good.npz"), &a, &r);
    done = x != NULL;
    CHECK(x || r.status == AD_ERROR_MEMORY);
    ad_archive_free(x);
    CHECK_THAT(heap_is_empty(&h), "allocation %ld: %s", n, heap_text(&h));
  }
  CHECK(done);
}

/* --- writing -------------------------------------------------------------------------------------------- */

static bool exists(const char *path) { return access(path, F_OK) == 0; }

static void check_still(double want) {
  ad_archive *a = ad_npy_load(path_of("kept.npy"), NULL, NULL);
  CHECK(a && *(double *)a->array[0].data == want);
  ad_archive_free(a);
}

/* A disk that is full, a writer that was killed, a second writer: the old file stays. */
static void test_failures_of_writing(void) {
  static double big[100000];
  struct rlimit before, small;
  ad_report r;
  file_writer half;
  CHECK_STATUS(ad_npy_save(path_of("kept.npy"), AD_F64(), (double[]){ 1 }, &r), AD_OK);
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &before);
  small = before;
  small.rlim_cur = 4096;
  setrlimit(RLIMIT_FSIZE, &small);
  CHECK_STATUS(ad_npy_save(path_of("kept.npy"), AD_F64(100000), big, &r), AD_ERROR_IO);
  setrlimit(RLIMIT_FSIZE, &before);
  CHECK_THAT(strstr(r.message, "kept.npy: cannot be written: File too large"), "%s", r.message);
  CHECK(!exists(path_of("kept.npy.part")));
  check_still(1);

  r = (ad_report){ AD_OK, "" };
  CHECK_STATUS(file_create(&half, path_of("kept.npy"), &r), AD_OK);
  CHECK_STATUS(file_write(&half, "half", 4), AD_OK);
  CHECK_STATUS(ad_npy_save(path_of("kept.npy"), AD_F64(), (double[]){ 2 }, &r), AD_ERROR_IO);
  CHECK_THAT(strstr(r.message, "somebody else is writing it"), "%s", r.message);
  check_still(1);
  close(half.descriptor);           /* as if it had been killed */
  CHECK(exists(path_of("kept.npy.part")));
  CHECK_STATUS(ad_npy_save(path_of("kept.npy"), AD_F64(), (double[]){ 3 }, &r), AD_OK);
  CHECK(!exists(path_of("kept.npy.part")));
  check_still(3);
}

/* A process that saves arrays of equal numbers again and again is killed thirty times, anywhere: what is
 * found is always a whole array. */
static void test_kill(void) {
  enum { N = 20000 };
  static double x[N];
  uint64_t state = 3;
  CHECK_STATUS(ad_npy_save(path_of("killed.npy"), AD_F64(N), x, NULL), AD_OK);
  for (int round = 0; round < 30; round++) {
    const pid_t child = fork();
    if (child == 0)
      for (double value = 1;; value++) {
        for (int i = 0; i < N; i++) x[i] = value;
        if (ad_npy_save(path_of("killed.npy"), AD_F64(N), x, NULL) != AD_OK) _exit(1);
      }
    usleep((useconds_t)check_uniform(&state, 1000, 6000));
    kill(child, SIGKILL);
    int how;
    CHECK(waitpid(child, &how, 0) == child && WIFSIGNALED(how));
    ad_report r;
    ad_archive *a = ad_npy_load(path_of("killed.npy"), NULL, &r);
    if (!CHECK_THAT(a, "%s", r.message)) continue;
    const double *got = a->array[0].data;
    bool whole = ad_type_equal(a->array[0].type, AD_F64(N));
    for (int i = 1; whole && i < N; i++) whole = got[i] == got[0];
    CHECK(whole);
    ad_archive_free(a);
  }
}

static void test_places_to_write(void) {
  const double x = 4;
  struct stat is;
  ad_report r;
  CHECK_STATUS(ad_npy_save(path_of("no/such/folder.npy"), AD_F64(), &x, &r), AD_ERROR_IO);
  CHECK_THAT(strstr(r.message, "No such file or directory"), "%s", r.message);
  CHECK_STATUS(ad_npy_save("/dev/null", AD_F64(), &x, &r), AD_ERROR_IO);
  CHECK_STATUS(ad_npy_save(folder, AD_F64(), &x, &r), AD_ERROR_IO);
  CHECK_STATUS(ad_npy_save("", AD_F64(), &x, &r), AD_ERROR_IO);
  CHECK_STATUS(ad_npy_save(NULL, AD_F64(), &x, &r), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_npy_save(path_of("x.npy"), AD_F64(), NULL, &r), AD_ERROR_ARGUMENT);
  CHECK(symlink("kept.npy", path_of("link.npy")) == 0 && chmod(path_of("kept.npy"), 0640) == 0);
  CHECK_STATUS(ad_npy_save(path_of("link.npy"), AD_F64(), &x, &r), AD_OK);
  CHECK(lstat(path_of("link.npy"), &is) == 0 && S_ISLNK(is.st_mode));
  CHECK(stat(path_of("kept.npy"), &is) == 0 && (is.st_mode & 0777) == 0640);
  check_still(4);
  CHECK(!ad_npy_load(path_of("nothing.npy"), NULL, &r) && r.status == AD_ERROR_IO);
  CHECK(!ad_npz_load(folder, NULL, &r) && r.status == AD_ERROR_IO);
  CHECK(!ad_npz_load(NULL, NULL, &r) && r.status == AD_ERROR_ARGUMENT);
  CHECK(!ad_npz_load(path_of("kept.npy"), NULL, &r) && strstr(r.message, "no zip archive"));
}

static void test_names(void) {
  double x = 1;
  static char endless[1002];
  memset(endless, 'a', 1001);
  const ad_named_array twice[] = { { "a", AD_F64(), &x }, { "a", AD_F64(), &x } };
  ad_report r;
  CHECK_STATUS(ad_npz_save(path_of("n.npz"), 2, twice, &r), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_npz_save(path_of("n.npz"), 1, &(ad_named_array){ "", AD_F64(), &x }, &r),
               AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_npz_save(path_of("n.npz"), 1, &(ad_named_array){ endless, AD_F64(), &x }, &r),
               AD_ERROR_ARGUMENT);
  endless[1000] = 0;
  CHECK_STATUS(ad_npz_save(path_of("n.npz"), 1, &(ad_named_array){ endless, AD_F64(), &x }, &r), AD_OK);
  ad_archive *a = ad_npz_load(path_of("n.npz"), NULL, &r);
  CHECK(a && ad_archive_find(a, endless) == 0);
  ad_archive_free(a);
}

int main(void) {
  files_begin();
  test_npy_round_trip();
  test_npz_round_trip(UINT32_MAX);
  test_npz_round_trip(0);
  test_npz_round_trip(5000);
  test_empty_archive();
  test_bytes();
  test_checksum();
  test_headers_that_are_read();
  test_fortran_without_elements();
  test_headers_that_are_refused();
  test_damage();
  test_memory();
  test_failures_of_writing();
  test_kill();
  test_places_to_write();
  test_names();
  folder_remove(folder);
  return check_summary();
}
