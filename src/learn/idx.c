/* idx.c -- arrays in the format of the MNIST database: two zero bytes, a type, a rank, then dimensions and
 * elements, the most significant byte first. */
#include "exchange/file.h"
#include "learn/dataset.h"

#include <string.h>

enum { PIECE = 1 << 16 };

typedef struct idx {
  file_reader file;
  unsigned code;                    /* what its elements are */
  uint64_t start;                   /* of the elements in the file */
  ad_type type;                     /* of the array that they become */
} idx;

static size_t width_of(unsigned code) {
  switch (code) {
    case 0x08: case 0x09: return 1;
    case 0x0B: return 2;
    case 0x0C: case 0x0D: return 4;
    case 0x0E: return 8;
    default:   return 0;
  }
}

static uint64_t big_endian(const unsigned char *at, size_t width) {
  uint64_t x = 0;
  for (size_t i = 0; i < width; i++) x = x << 8 | at[i];
  return x;
}

/* --- one element ---------------------------------------------------------------------------------------- */

static int64_t integer_at(unsigned code, const unsigned char *at) {
  const uint64_t x = big_endian(at, width_of(code));
  switch (code) {
    case 0x08: return (int64_t)x;
    case 0x09: return (int64_t)(x ^ 0x80) - 0x80;
    case 0x0B: return (int64_t)(x ^ 0x8000) - 0x8000;
    default:   return (int64_t)(x ^ 0x80000000u) - 0x80000000;
  }
}

static double real_at(unsigned code, const unsigned char *at) {
  const uint64_t bits = big_endian(at, width_of(code));
  const uint32_t half = (uint32_t)bits;
  double wide;
  float narrow;
  memcpy(&wide, &bits, sizeof wide);
  memcpy(&narrow, &half, sizeof narrow);
  return code == 0x0E ? wide : (double)narrow;
}

static void convert(unsigned code, const unsigned char *from, ad_dtype dtype, void *to, size_t at,
                    size_t count) {
  const size_t width = width_of(code);
  for (size_t i = 0; i < count; i++, from += width) {
    const bool real = code >= 0x0D;
    const int64_t whole = real ? 0 : integer_at(code, from);
    const double value = real ? real_at(code, from) : (double)whole;
    switch (dtype) {
      case AD_I32: ((int32_t *)to)[at + i] = (int32_t)whole; break;
      case AD_I64: ((int64_t *)to)[at + i] = whole; break;
      case AD_F32: ((float *)to)[at + i] = (float)value; break;
      default:     ((double *)to)[at + i] = value;
    }
  }
}

/* --- one file ------------------------------------------------------------------------------------------- */

static ad_status find_dtype(idx *x, const ad_dtype *wanted) {
  const file_place *at = &x->file.at;
  const bool real = x->code >= 0x0D;
  const ad_dtype own = x->code == 0x0E ? AD_F64 : real ? AD_F32 : AD_I32, dtype = wanted ? *wanted : own;
  if (dtype != AD_I32 && dtype != AD_I64 && dtype != AD_F32 && dtype != AD_F64)
    return file_fail(at, AD_ERROR_DTYPE, "cannot become %s", ad_dtype_name(dtype));
  if (real && dtype < AD_F32)
    return file_fail(at, AD_ERROR_DTYPE, "has floats, which do not become %s", ad_dtype_name(dtype));
  x->type.dtype = dtype;
  return AD_OK;
}

static ad_status read_shape(idx *x, int rank) {
  const file_place *at = &x->file.at;
  unsigned char dims[4*AD_MAX_RANK];
  int64_t dim[AD_MAX_RANK];
  if (rank < 1 || rank > AD_MAX_RANK)
    return file_fail(at, AD_ERROR_UNSUPPORTED, "has %d axes, not 1 to 8", rank);
  const ad_status status = file_read(&x->file, 4, dims, 4*(size_t)rank);
  if (status != AD_OK) return status;
  for (int d = 0; d < rank; d++) dim[d] = (int64_t)big_endian(dims + 4*d, 4);
  x->start = 4 + 4*(uint64_t)rank;
  x->type = ad_type_make(x->type.dtype, rank, dim);
  if (x->type.rank < 0) return file_fail(at, AD_ERROR_SIZE, "says that it is too large for memory");
  const uint64_t bytes = (uint64_t)ad_type_count(x->type)*width_of(x->code), have = x->file.size - x->start;
  if (have == bytes) return AD_OK;
  return file_fail(at, AD_ERROR_IO, "has %llu bytes of elements, where its shape needs %llu",
                   (unsigned long long)have, (unsigned long long)bytes);
}

static ad_status open_idx(idx *x, const char *path, const ad_dtype *wanted, ad_report *report) {
  unsigned char start[4];
  ad_status status = file_open(&x->file, path, report);
  if (status == AD_OK) status = file_read(&x->file, 0, start, sizeof start);
  if (status != AD_OK) return status;
  x->code = start[2];
  if (start[0] == 0x1F && start[1] == 0x8B)
    return file_fail(&x->file.at, AD_ERROR_UNSUPPORTED, "is compressed: gunzip it first");
  if (start[0] || start[1] || !width_of(x->code))
    return file_fail(&x->file.at, AD_ERROR_IO, "is no idx file: it begins with %02x %02x %02x %02x", start[0],
                     start[1], start[2], start[3]);
  status = find_dtype(x, wanted);
  return status == AD_OK ? read_shape(x, start[3]) : status;
}

static ad_status read_elements(idx *x, void *to) {
  unsigned char piece[PIECE];
  const size_t width = width_of(x->code), count = (size_t)ad_type_count(x->type);
  for (size_t at = 0; at < count; ) {
    const size_t n = count - at < PIECE/width ? count - at : PIECE/width;
    const ad_status status = file_read(&x->file, x->start + at*width, piece, n*width);
    if (status != AD_OK) return status;
    convert(x->code, piece, x->type.dtype, to, at, n);
    at += n;
  }
  return AD_OK;
}

/* --- all of them ---------------------------------------------------------------------------------------- */

static ad_dataset *read_all(idx file[], int n, const ad_allocator *a, ad_report *report) {
  const size_t bytes = (size_t)n*sizeof(ad_type);
  ad_type *type = memory_get(a, bytes);
  if (!type) {
    report_fail(report, AD_ERROR_MEMORY, "data: out of memory");
    return NULL;
  }
  for (int i = 0; i < n; i++) type[i] = file[i].type;
  ad_dataset *d = dataset_make(n, type, a, report);
  memory_release(a, type, bytes);
  for (int i = 0; d && i < n; i++)
    if (read_elements(&file[i], d->data[i]) != AD_OK) {
      ad_dataset_free(d);
      d = NULL;
    }
  return d;
}

ad_dataset *ad_dataset_read_idx(int n, const char *const path[], const ad_dtype dtype[],
                                const ad_allocator *allocator, ad_report *report) {
  const ad_allocator *a = allocator ? allocator : &memory_standard;
  ad_report own;
  ad_status status = AD_OK;
  int opened = 0;
  report = file_report(report, &own);
  idx *file = n > 0 && path ? memory_get_zeroed(a, (size_t)n, sizeof *file) : NULL;
  if (!file) {
    report_fail(report, n > 0 && path ? AD_ERROR_MEMORY : AD_ERROR_ARGUMENT, "data: no files, or no memory");
    return NULL;
  }
  for (; opened < n && status == AD_OK; opened++)
    status = open_idx(&file[opened], path[opened], dtype ? &dtype[opened] : NULL, report);
  ad_dataset *d = status == AD_OK ? read_all(file, n, a, report) : NULL;
  for (int i = 0; i < opened; i++) file_close(&file[i].file);
  memory_release(a, file, (size_t)n*sizeof *file);
  return d;
}
