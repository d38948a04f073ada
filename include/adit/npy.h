/* adit/npy.h -- arrays in files: NumPy's .npy (one array) and .npz (a zip archive of named ones).
 *
 * The law. Files are written aside, synchronised and renamed: whoever reads the path, and whoever loses power
 * meanwhile, finds the old file or the new one, whole. Reading believes nothing: what is damaged or of
 * another kind is refused with a sentence that names the file, the array and what is wrong. Calls share no
 * state; different threads may read and write different files. report may be NULL. Source of the formats:
 * NumPy, numpy.lib.format, versions 1.0 to 3.0; PKWARE, APPNOTE 6.3.
 */
#ifndef ADIT_NPY_H
#define ADIT_NPY_H

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A named array: ad_type_bytes(type) of it, dense, row-major. */
typedef struct ad_named_array {
  const char *name;
  ad_type type;
  void *data;
} ad_named_array;

/* What was read from a file: array[0 .. count) in the order of the file. Elements may be changed, nothing
 * else; to be freed with ad_archive_free. */
typedef struct ad_archive {
  int count;
  ad_named_array *array;
} ad_archive;

/* Writes one array to path as .npy, version 1.0, in this machine's byte order. data may be NULL where it is
 * empty. AD_ERROR_IO where the file cannot be written, which leaves what was at path. */
AD_API ad_status ad_npy_save(const char *path, ad_type type, const void *data, ad_report *report);
/* Writes arrays to path as .npz, stored without compression; of the data, nothing is changed. Names are those
 * of NumPy's archive, without ".npy"; AD_ERROR_ARGUMENT for equal, empty or over-long (> 1000 bytes) ones.
 * Files beyond 4 GB are zip64. */
AD_API ad_status ad_npz_save(const char *path, int count, const ad_named_array array[], ad_report *report);

/* The array of a .npy file (its name is ""), or all of a .npz file, stored or deflated. f64, f32, i64, i32
 * and bool of either byte order and in C or Fortran order are read; other data types are
 * AD_ERROR_UNSUPPORTED, the rest of what may be wrong with a file is AD_ERROR_IO. NULL then. allocator: NULL
 * means the standard one. */
AD_API ad_archive *ad_npy_load(const char *path, const ad_allocator *allocator, ad_report *report);
AD_API ad_archive *ad_npz_load(const char *path, const ad_allocator *allocator, ad_report *report);
/* The index of the array of that name, -1 if there is none. */
AD_API int ad_archive_find(const ad_archive *archive, const char *name);
/* Frees the archive and the data of its arrays. NULL is fine. */
AD_API void ad_archive_free(ad_archive *archive);

#ifdef __cplusplus
}
#endif
#endif
