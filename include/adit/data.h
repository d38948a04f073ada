/* adit/data.h -- examples to learn from, in memory: arrays with one leading axis, read from files or given.
 *
 * The law. An ad_dataset owns its arrays; all have the same length along their first axis, the number of
 * examples. Element k of every array belongs to example k. What makes one returns NULL on failure, and the
 * report (which may be NULL) says why, and where: file, line, column. The data may be changed in place
 * (scaled, say) by one thread; any number of threads may read. allocator: NULL means the standard one.
 */
#ifndef ADIT_DATA_H
#define ADIT_DATA_H

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_dataset ad_dataset;

/* --- making and looking ----------------------------------------------------------------------------- */

/* Copies the arrays. AD_ERROR_SHAPE: one has no leading axis, or another number of examples than the
 * first. */
AD_API ad_dataset *ad_dataset_new(int arrays, const ad_type type[], const void *const data[],
                                  const ad_allocator *allocator, ad_report *report);
/* The examples index[0 .. count) of d, in that order; an index may come twice. AD_ERROR_ARGUMENT for one out
 * of range. index NULL: the first count ones. For splitting into parts to train, validate and test with. */
AD_API ad_dataset *ad_dataset_take(const ad_dataset *d, int64_t count, const int64_t index[],
                                   ad_report *report);
AD_API void ad_dataset_free(ad_dataset *d);              /* NULL is fine */

AD_API int ad_dataset_arrays(const ad_dataset *d);
AD_API int64_t ad_dataset_examples(const ad_dataset *d);
AD_API ad_type ad_dataset_type(const ad_dataset *d, int i);              /* rank -1 when i is out of range */
AD_API void *ad_dataset_data(const ad_dataset *d, int i);                /* NULL when i is out of range */
/* The type of array i in a batch of count examples. */
AD_API ad_type ad_dataset_batch_type(const ad_dataset *d, int i, int64_t count);
/* out[i] of that type, with the examples index[0 .. count). AD_ERROR_ARGUMENT for an index out of range. */
AD_API ad_status ad_dataset_gather(const ad_dataset *d, int64_t count, const int64_t index[],
                                   void *const out[]);
/* AD_OK where all elements of array i, of integers, are in [0, classes). Otherwise AD_ERROR_ARGUMENT, and the
 * report says where the first one is that is not, the example first. Worth doing before training: a loss that
 * meets one in a shuffled batch knows only its place there. */
AD_API ad_status ad_dataset_check_labels(const ad_dataset *d, int i, int64_t classes, ad_report *report);

/* --- csv ---------------------------------------------------------------------------------------------- */

typedef struct ad_csv_options {
  char separator;                   /* 0: ',' */
  bool header;                      /* the first line has the names of the columns */
  bool single;                      /* values are f32, not f64 */
  bool holes;                       /* an empty field is nan, not an error */
  bool labelled;                    /* column `label` has labels: integers, or names of classes */
  int label;                        /* from 0, or from the end: -1 is the last one */
} ad_csv_options;

/* Reads a table of numbers: array 0 is (rows, columns) without the column of labels, array 1, where there is
 * one, the labels as i64 (rows). If all labels are integers they are taken as they are; otherwise class k is
 * the k-th different text, in order of appearance. Fields may be quoted as RFC 4180 has it, lines end in LF
 * or CR LF, blank lines are skipped, spaces around numbers too. Numbers have a decimal point in every locale.
 *
 * AD_ERROR_IO for a file that cannot be read; AD_ERROR_SYNTAX for what is in it: a hole, text that is no
 * number, a line with more or fewer fields, no rows, with a message that names line and column; options NULL:
 * zeros. */
AD_API ad_dataset *ad_dataset_read_csv(const char *path, const ad_csv_options *options,
                                       const ad_allocator *allocator, ad_report *report);
/* The name of column i of array 0, NULL without header or when i is out of range. */
AD_API const char *ad_dataset_column(const ad_dataset *d, int i);
/* How many classes have names (0 where labels are integers), and the name of class i, NULL out of range. */
AD_API int ad_dataset_classes(const ad_dataset *d);
AD_API const char *ad_dataset_class(const ad_dataset *d, int i);

/* --- idx ---------------------------------------------------------------------------------------------- */

/* Reads n files of the MNIST database's format, one array each, not compressed. Elements become dtype[i] (of
 * any but bool), or, where dtype is NULL, i32 (of integers), f32 or f64. AD_ERROR_IO for what is damaged,
 * AD_ERROR_SHAPE for other numbers of examples, AD_ERROR_DTYPE where floats would become integers. Source:
 * LeCun, Cortes and Burges, "The MNIST database". */
AD_API ad_dataset *ad_dataset_read_idx(int n, const char *const path[], const ad_dtype dtype[],
                                       const ad_allocator *allocator, ad_report *report);

#ifdef __cplusplus
}
#endif
#endif
