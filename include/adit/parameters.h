/* adit/parameters.h -- the parameters of a model: a tree of named arrays.
 *
 * The law. An ad_parameters owns its arrays; entries are numbered from 0 in the order in which they were
 * added, and their data stay where they are until it is freed. Names are paths, "encoder/0/weight". The first
 * error stays with it (ad_parameters_message) until ad_parameters_clear, so that building needs one check at
 * its end. One thread may change it at a time, any number may read. The same container holds the state of an
 * optimiser, a counter of steps, or whatever else a checkpoint is made of.
 */
#ifndef ADIT_PARAMETERS_H
#define ADIT_PARAMETERS_H

#include <stdio.h>

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_parameters ad_parameters;

/* --- initial values ----------------------------------------------------------------------------------- */

typedef enum ad_init_kind {
  AD_INIT_CONSTANT,                 /* a */
  AD_INIT_UNIFORM,                  /* uniform on [a, b) */
  AD_INIT_NORMAL,                   /* normal with mean a, standard deviation b */
  /* of mean 0 and variance a/((fan_in + fan_out)/2), or a/fan_in (glorot: a = 1; he: a = 2) */
  AD_INIT_GLOROT_UNIFORM, AD_INIT_GLOROT_NORMAL, AD_INIT_HE_UNIFORM, AD_INIT_HE_NORMAL
} ad_init_kind;

/* A rule for the values that an array begins with. All zeros: zeros. Of a shape (.., n, m), m outputs each
 * made of n inputs for each element of the axes before, fan_in is the product of all but m, fan_out of all
 * but n; both are n for (n), 1 for a scalar. Sources: Glorot and Bengio, AISTATS 2010; He et al., ICCV
 * 2015. */
typedef struct ad_init { ad_init_kind kind; double a, b; } ad_init;

static inline ad_init ad_init_of_(ad_init_kind kind, double a, double b) {
  ad_init init;
  init.kind = kind;
  init.a = a;
  init.b = b;
  return init;
}
static inline ad_init ad_init_zeros(void) { return ad_init_of_(AD_INIT_CONSTANT, 0, 0); }
static inline ad_init ad_init_constant(double value) { return ad_init_of_(AD_INIT_CONSTANT, value, 0); }
static inline ad_init ad_init_uniform(double low, double high) {
  return ad_init_of_(AD_INIT_UNIFORM, low, high);
}
static inline ad_init ad_init_normal(double mean, double deviation) {
  return ad_init_of_(AD_INIT_NORMAL, mean, deviation);
}
static inline ad_init ad_init_glorot_uniform(void) { return ad_init_of_(AD_INIT_GLOROT_UNIFORM, 1, 0); }
static inline ad_init ad_init_glorot_normal(void) { return ad_init_of_(AD_INIT_GLOROT_NORMAL, 1, 0); }
static inline ad_init ad_init_he_uniform(void) { return ad_init_of_(AD_INIT_HE_UNIFORM, 2, 0); }
static inline ad_init ad_init_he_normal(void) { return ad_init_of_(AD_INIT_HE_NORMAL, 2, 0); }

/* --- building ----------------------------------------------------------------------------------------- */

/* Without entries; NULL when memory fails. allocator is copied, NULL means the standard one. */
AD_API ad_parameters *ad_parameters_new(void);
AD_API ad_parameters *ad_parameters_new_with(const ad_allocator *allocator);
/* The same names, types, rules and values on memory of its own; p's error is not copied. NULL when memory
 * fails or p is NULL. */
AD_API ad_parameters *ad_parameters_copy(const ad_parameters *p);
AD_API void ad_parameters_free(ad_parameters *p);        /* NULL is fine */

/* Adds an array of zeros; ad_parameters_initialise makes init of it. Returns its number, -1 on failure. A
 * name has 1 to 200 bytes, printable, none of its parts between slashes empty, "." or ".."; AD_ERROR_ARGUMENT
 * for others, and for names that are there already or are a folder of other names. init other than a constant
 * is for floats (AD_ERROR_DTYPE). */
AD_API int ad_parameters_add(ad_parameters *p, const char *name, ad_type type, ad_init init);
/* Adds copies of all entries of other, each named "prefix/name" ("name" if prefix is NULL or ""); all or
 * none. So a checkpoint is made of a model and its optimiser's state. */
AD_API ad_status ad_parameters_append(ad_parameters *p, const char *prefix, const ad_parameters *other);
/* Fills all entries by their rules. What an entry gets depends on the seed, its name, type and rule alone: it
 * stays the same whatever else is added, on any machine but for the last bits of logarithm, sine and
 * cosine. */
AD_API ad_status ad_parameters_initialise(ad_parameters *p, uint64_t seed);

/* The first error since p was made or cleared, AD_OK if there was none; AD_ERROR_MEMORY for NULL. */
AD_API ad_status ad_parameters_status(const ad_parameters *p);
AD_API const char *ad_parameters_message(const ad_parameters *p);        /* "" if there was no error */
AD_API void ad_parameters_clear(ad_parameters *p);

/* --- looking at them ---------------------------------------------------------------------------------- */

AD_API int ad_parameters_entries(const ad_parameters *p);                /* number of arrays; 0 for NULL */
AD_API int64_t ad_parameters_count(const ad_parameters *p);              /* number of elements of all */
AD_API const char *ad_parameters_name(const ad_parameters *p, int i);    /* NULL when i is out of range */
AD_API ad_type ad_parameters_type(const ad_parameters *p, int i);        /* rank -1 when i is out of range */
AD_API void *ad_parameters_data(const ad_parameters *p, int i);          /* NULL when i is out of range */
/* The number of the entry of that name, -1 if there is none. */
AD_API int ad_parameters_find(const ad_parameters *p, const char *name);
/* All types, and the addresses of all data, in order: what ad_function_trace and ad_function_call take. Valid
 * until the next entry is added. The addresses are 64-byte aligned. */
AD_API const ad_type *ad_parameters_types(const ad_parameters *p);
AD_API void *const *ad_parameters_all(const ad_parameters *p);

/* A table: name, type, number of elements and bytes, one entry a line, and the sum. Into text[size],
 * terminated if size > 0, as snprintf; returns the length of the whole text. */
AD_API size_t ad_parameters_print(const ad_parameters *p, char *text, size_t size);
/* The same table to an open file. AD_ERROR_IO where that fails. */
AD_API ad_status ad_parameters_print_to(const ad_parameters *p, FILE *file);

/* --- as variables and as one vector ------------------------------------------------------------------- */

/* out[i]: entry i as an input of the tape, with the data it has now (copied). */
AD_API ad_status ad_parameters_record(const ad_parameters *p, ad_tape *tape, ad_var out[]);
/* All elements in order as one vector of ad_parameters_count elements. All entries must have one dtype
 * (AD_ERROR_DTYPE otherwise, AD_ERROR_ARGUMENT for NULL); these two copy data and set no error in p. */
AD_API ad_status ad_parameters_flatten(const ad_parameters *p, void *vector);
AD_API ad_status ad_parameters_unflatten(ad_parameters *p, const void *vector);
/* The same of variables, recorded: in[i] of the type of entry i -> (count); a vector (count) -> out[i].
 * Errors are on the tape. */
AD_API ad_var ad_parameters_flatten_vars(const ad_parameters *p, const ad_var in[]);
AD_API ad_status ad_parameters_unflatten_var(const ad_parameters *p, ad_var vector, ad_var out[]);

/* --- files -------------------------------------------------------------------------------------------- */

/* Writes all entries to path as .npz (adit/npy.h), which NumPy reads; a crash leaves the old file or the new
 * one. Errors: AD_ERROR_IO, with a message that names the path and what the system says. */
AD_API ad_status ad_parameters_save(ad_parameters *p, const char *path);
/* Reads the values of all entries from a .npz file with the same names, shapes and dtypes, in any order, and
 * no others. Where anything is wrong nothing is changed, and the message names the file and the entry. */
AD_API ad_status ad_parameters_load(ad_parameters *p, const char *path);
/* All arrays of a .npz file, with rules of zeros. NULL on failure; report may be NULL. */
AD_API ad_parameters *ad_parameters_read(const char *path, const ad_allocator *allocator, ad_report *report);

#ifdef __cplusplus
}
#endif
#endif
