/* writer.h -- a file of C that is being written, and what its parts share.
 *
 * The file is a list of static functions, one for each function that is used and each set of its outputs (a
 * unit), in an order in which callees come first, and entry points behind them. Units that turn out to be the
 * same text are one. Types are written R (f64), float, int64_t, int32_t and unsigned char.
 */
#ifndef ADIT_WRITE_WRITER_H
#define ADIT_WRITE_WRITER_H

#include "adit/code.h"
#include "function/function.h"
#include "write/text.h"

/* WRITE_LANES: instances at a time where a loop over instances is cut into several. */
enum { WRITE_NAME = 96, WRITE_INDENT_MOST = 24, WRITE_LANES = 64 };

/* What can run only in this library: natively compiled code calls it back, by its place in this list. */
typedef struct host_step {
  ad_operation op;
  const ad_type **types;
} host_step;

/* How a function is written: lanes, a loop over n instances with the statements in it, all of scalars; each:
 * of which inputs every instance has one. block: so many instances always, whose numbers lie apart from each
 * other, element e of instance l at e*block + l; sums (NULL: none): outputs that are added to; chunk:
 * operations of a part, 0: as the options have it; apart: such parts are not to become one again. */
typedef struct unit_shape {
  bool lanes;
  const bool *each, *sums;
  int64_t block;
  uint32_t chunk;
  bool apart;
} unit_shape;

/* One written function. */
typedef struct unit_info {
  ad_function *f;
  unsigned char *key;               /* outputs that are wanted (2: added to), inputs that are each */
  bool lanes;
  int64_t block;
  char name[WRITE_NAME];
  unsigned char *uses;              /* behind key: inputs that are parameters */
  bool pool[AD_DTYPES];             /* work memory that is a parameter */
  size_t need[AD_DTYPES];           /* elements of it, callees included */
  bool fails;                       /* returns a status, else void */
  bool host;                        /* takes the list of host steps */
  bool fixed;                       /* takes the table of large constants */
} unit_info;

struct ad_writer {
  ad_allocator allocator;
  ad_code options;                  /* defaults filled in */
  const char *prefix;
  bool native;                      /* for this processor and library: may call back */
  bool in_loop;                     /* what is being written stands in a loop of few statements */
  text constants, routines, units;
  text *out;                        /* where ad_write writes */
  int indent;
  unit_info **unit;                 /* written so far */
  size_t count, capacity;
  struct written_name *name;        /* routines and constants that are there */
  size_t names, name_capacity;
  struct unit *current;             /* whose statements are being written */
  host_step *step;
  size_t steps, step_capacity;
  const void **fixed;               /* large constants that native code finds by place in this table */
  size_t fixed_count, fixed_capacity;
  char expression[8][WRITE_NAME];   /* ring of short texts that functions below return */
  unsigned next_expression;
  ad_status status;
  char message[256];
};

/* Leaves the first error and returns false. */
bool writer_fail(ad_writer *w, ad_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- names and literals: names.c ------------------------------------------------------------------------ */

/* A text that stays until seven more are made. */
const char *writer_text(ad_writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *write_type(ad_dtype dtype);
/* What the work memory of that type is called, and the units of size in which it is given. */
const char *write_pool(ad_dtype dtype);
size_t write_size(ad_dtype dtype);
/* The value of that type as C has it. plain: small whole numbers may stand without a cast. */
void put_literal(text *to, ad_dtype dtype, const void *value, bool plain);
/* The name of a static array with these n elements. */
const char *write_constants(ad_writer *w, ad_dtype dtype, const void *data, int64_t n);
/* The same for a constant of a function that is written. In native code a large one is a place in the table
 * `fixed`, which points to the function's own: a compiler is not to read numbers that it does not need. */
const char *write_fixed(ad_writer *w, ad_dtype dtype, const void *data, int64_t n);
/* Those that the units refer to: some belong to arguments that callees turned out not to look at. */
void writer_put_constants(const ad_writer *w, text *to);
/* Has a function of that name been written? If not, it counts as written from now on. */
bool writer_has(ad_writer *w, const char *name);
/* Has that text been written under another name? Then that is put into name (WRITE_NAME bytes). */
bool writer_same(ad_writer *w, const char *bytes, size_t n, char *name);

/* --- expressions: rows.c -------------------------------------------------------------------------------- */

/* The value of a row on operands that are written x[0..), of that type (of select: the
 * type of the result). */
void put_row(ad_writer *w, text *to, const elementwise_row *row, ad_dtype dtype, const char *const x[],
             double attribute);
/* The value of a text in the language of rows, f64. */
void put_expression(ad_writer *w, text *to, const char *expression, ad_dtype dtype, const char *const x[],
                    const char *attribute);
void put_cast(ad_writer *w, text *to, ad_dtype from, ad_dtype type, const char *x);
/* The name that a function of helpers.h has here for that type; it is written if it has not been. */
const char *write_helper(ad_writer *w, ad_dtype dtype, const char *name, size_t length);

/* --- units: unit.c -------------------------------------------------------------------------------------- */

/* The function that computes those outputs of f (wanted NULL: all). NULL with the error left. */
const unit_info *write_unit(ad_writer *w, ad_function *f, const bool wanted[], const unit_shape *shape);

/* The function of scalars that f is, element by element, where that is worth it, as the body of a loop over
 * lanes or by itself; it belongs to f. NULL: none. */
ad_function *write_scalar_form(ad_function *f, bool lanes);

static inline size_t unit_key_bytes(const ad_function *f) { return 2*(size_t)f->n_in + (size_t)f->n_out + 1; }

void writer_open(ad_writer *w, const ad_allocator *a, const ad_code *options, const char *prefix,
                 bool native);
void writer_close(ad_writer *w);

#endif
