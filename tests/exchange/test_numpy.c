/* test_numpy.c -- files between adit and NumPy, both ways. Without NumPy nothing is compared, and it says
 * so. */
#define _DEFAULT_SOURCE
#include "adit/npy.h"
#include "check.h"
#include "exchange/files.h"
#include "exchange/npz.h"

/* The Python that has NumPy: the first one in the path, or else the system's. */
static const char *interpreter;

/* Runs Python's text in the folder; true if it ends well. */
static bool python(const char *text) {
  char command[400];
  put_file(path_of("script.py"), text, strlen(text));
  snprintf(command, sizeof command, "cd '%s' && %s -B script.py", folder, interpreter);
  return system(command) == 0;
}

static bool find_numpy(void) {
  static const char *const places[] = { "python3", "/usr/bin/python3" };
  for (int i = 0; i < 2; i++) {
    interpreter = places[i];
    if (python("import sys\ntry:\n  import numpy\nexcept ImportError:\n  sys.exit(1)\n")) return true;
  }
  return false;
}

/* element i of every array: (i*i - 7) of its dtype */
static double element(int64_t i) { return (double)(i*i - 7); }

static const ad_type types[] = { { AD_F64, 3, { 2, 3, 4 } }, { AD_F32, 1, { 5 } }, { AD_I64, 2, { 3, 2 } },
                                 { AD_I32, 0, { 0 } }, { AD_BOOL, 2, { 1, 9 } }, { AD_F64, 2, { 0, 3 } } };
static const char *const names[] = { "net/0/weight", "net/0/bias", "step count", "n", "\xce\xb1", "none" };
enum { COUNT = 6 };

static const char they_read[] =
  "import numpy, zipfile\n"
  "want = {'net/0/weight': ('<f8', (2, 3, 4)), 'net/0/bias': ('<f4', (5,)), 'step count': ('<i8', (3, 2)),\n"
  "        'n': ('<i4', ()), '\\u03b1': ('|b1', (1, 9)), 'none': ('<f8', (0, 3))}\n"
  "for path in ['narrow.npz', 'wide.npz']:\n"
  "    assert zipfile.ZipFile(path).testzip() is None\n"
  "    with numpy.load(path) as got:\n"
  "        assert list(got.keys()) == list(want.keys()), list(got.keys())\n"
  "        for name, (dtype, shape) in want.items():\n"
  "            i = numpy.arange(numpy.prod(shape, dtype=int))\n"
  "            x = (i*i - 7).astype(dtype).reshape(shape)\n"
  "            assert got[name].dtype == x.dtype and got[name].shape == shape, name\n"
  "            assert got[name].tobytes() == x.tobytes(), name\n"
  "x = numpy.load('single.npy', mmap_mode='r')\n"
  "assert x.shape == (2, 3, 4) and x.flags.c_contiguous and x[1, 2, 3] == 23*23 - 7\n";

static void test_numpy_reads(void) {
  static double data[COUNT][32];
  ad_named_array array[COUNT];
  for (int k = 0; k < COUNT; k++) {
    for (int64_t i = 0; i < ad_type_count(types[k]); i++)
      check_set_element(types[k].dtype, data[k], i, element(i));
    array[k] = (ad_named_array){ names[k], types[k], data[k] };
  }
  CHECK_STATUS(ad_npz_save(path_of("narrow.npz"), COUNT, array, NULL), AD_OK);
  CHECK_STATUS(npz_save(path_of("wide.npz"), COUNT, array, &memory_standard, 0, NULL), AD_OK);
  CHECK_STATUS(ad_npy_save(path_of("single.npy"), types[0], data[0], NULL), AD_OK);
  CHECK(python(they_read));
}

static const char they_write[] =
  "import numpy\n"
  "def array(dtype, shape):\n"
  "    i = numpy.arange(numpy.prod(shape, dtype=int))\n"
  "    return (i*i - 7).astype(dtype).reshape(shape)\n"
  "all = {}\n"
  "for name, order in [('little', '<'), ('big', '>')]:\n"
  "    for kind in ['f8', 'f4', 'i8', 'i4', 'b1']:\n"
  "        for shape in [(), (6,), (2, 3, 4), (40, 50), (0, 3)]:\n"
  "            x = array(order + kind, shape)\n"
  "            key = '%s/%s/%d' % (name, kind, len(all))\n"
  "            all[key] = x\n"
  "            all[key + '/fortran'] = numpy.asfortranarray(x)\n"
  "numpy.savez('stored.npz', **all)\n"
  "numpy.savez_compressed('compressed.npz', **all)\n"
  "noise = numpy.random.default_rng(1).integers(0, 256, 300000)\n"
  "numpy.savez_compressed('noise.npz', noise=noise.astype('i4'), zeros=numpy.zeros((1000, 1000)))\n"
  "numpy.save('noise.npy', noise.astype('i4'))\n"
  "numpy.lib.format.write_array(open('two.npy', 'wb'), array('<f4', (2, 3)), version=(2, 0))\n"
  "numpy.save('complex.npy', numpy.zeros(3, complex))\n"
  "numpy.savez('mixed.npz', good=numpy.zeros(3), text=numpy.array(['a', 'bc']))\n";

/* Builds without zlib say so, and read nothing that is compressed. */
static bool inflates(void) {
  ad_report r;
  ad_archive *a = ad_npz_load(path_of("compressed.npz"), NULL, &r);
  ad_archive_free(a);
  if (a) return true;
  CHECK_THAT(r.status == AD_ERROR_UNSUPPORTED && strstr(r.message, "without zlib"), "%s", r.message);
  return false;
}

static void compare_all(const char *path) {
  ad_report r;
  ad_archive *a = ad_npz_load(path, NULL, &r);
  if (!CHECK_THAT(a, "%s", r.message)) return;
  CHECK_THAT(a->count == 100, "%d arrays", a->count);
  for (int k = 0; k < a->count; k++) {
    const ad_named_array *x = &a->array[k];
    const char *kind = strchr(x->name, '/') + 1;
    CHECK_THAT(x->type.dtype == (*kind == 'b' ? AD_BOOL : *kind == 'f' ? (kind[1] == '8' ? AD_F64 : AD_F32)
                                                       : kind[1] == '8' ? AD_I64 : AD_I32), "%s", x->name);
    long wrong = 0;
    for (int64_t i = 0; i < ad_type_count(x->type); i++) {
      const double want = x->type.dtype == AD_BOOL ? element(i) != 0 : element(i);
      wrong += check_element(x->type.dtype, x->data, i) != want;
    }
    CHECK_THAT(wrong == 0, "%s: %ld wrong", x->name, wrong);
  }
  ad_archive_free(a);
}

/* Numbers that do not compress, over many chunks of the reader, against the same in an uncompressed file; a
 * million zeros, the most that deflate can shrink. */
static void compare_noise(void) {
  ad_report r;
  ad_archive *packed = ad_npz_load(path_of("noise.npz"), NULL, &r),
      *plain = ad_npy_load(path_of("noise.npy"), NULL, NULL);
  if (!CHECK_THAT(packed && plain, "%s", r.message)) return;
  const ad_named_array *noise = &packed->array[ad_archive_find(packed, "noise")];
  const ad_named_array *zeros = &packed->array[ad_archive_find(packed, "zeros")];
  double most = 0;
  for (int i = 0; i < 1000000; i++) most = fmax(most, fabs(((double *)zeros->data)[i]));
  CHECK(ad_type_equal(noise->type, plain->array[0].type) && ad_type_equal(zeros->type, AD_F64(1000, 1000)));
  CHECK(!memcmp(noise->data, plain->array[0].data, 1200000) && most == 0);
  ad_archive_free(packed);
  ad_archive_free(plain);
}

/* Every byte of a small compressed archive. */
static void test_damaged_compression(void) {
  size_t size;
  CHECK(python("import numpy\n"
               "numpy.savez_compressed('damaged.npz', a=numpy.arange(20.), b=numpy.zeros((3, 50), 'i4'))\n"));
  unsigned char *bytes = get_file(path_of("damaged.npz"), &size);
  ad_archive *want = ad_npz_load(path_of("damaged.npz"), NULL, NULL);
  for (size_t n = 0; want && n < 4*size; n++) {
    const size_t at = n%size;
    const unsigned char flip = (unsigned char)(1 << 2*(n/size));
    ad_report r;
    bytes[at] ^= flip;
    put_file(path_of("damaged.npz"), bytes, size);
    ad_archive *a = ad_npz_load(path_of("damaged.npz"), NULL, &r);
    const bool same = a && a->count == 2 && !memcmp(a->array[0].data, want->array[0].data, 160)
        && !memcmp(a->array[1].data, want->array[1].data, 600);
    CHECK_THAT(same || (!a && strstr(r.message, "damaged.npz")), "byte %zu ^ %d", at, flip);
    ad_archive_free(a);
    bytes[at] ^= flip;
  }
  ad_archive_free(want);
  free(bytes);
}

static void test_numpy_writes(void) {
  ad_report r;
  if (!CHECK(python(they_write))) return;
  compare_all(path_of("stored.npz"));
  if (inflates()) {
    compare_all(path_of("compressed.npz"));
    compare_noise();
    test_damaged_compression();
  }
  ad_archive *a = ad_npy_load(path_of("two.npy"), NULL, &r);
  CHECK(a && ad_type_equal(a->array[0].type, AD_F32(2, 3)) && ((float *)a->array[0].data)[5] == 18);
  ad_archive_free(a);
  CHECK(!ad_npy_load(path_of("complex.npy"), NULL, &r) && r.status == AD_ERROR_UNSUPPORTED);
  CHECK(!ad_npz_load(path_of("mixed.npz"), NULL, &r) && r.status == AD_ERROR_UNSUPPORTED);
  CHECK_THAT(strstr(r.message, "mixed.npz: text: has elements of type '<U2'"), "%s", r.message);
}

int main(void) {
  files_begin();
  const bool there = find_numpy();
  if (there) {
    test_numpy_reads();
    test_numpy_writes();
  } else {
    CHECK(!there);
    printf("Python has no NumPy here: nothing was compared\n");
  }
  folder_remove(folder);
  return check_summary();
}
