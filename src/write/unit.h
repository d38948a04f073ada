/* unit.h -- one function on its way to C: its graph and schedule, where its values are, its statements.
 *
 * Scalars are locals v7, or, where a value goes from one part of a long function to another, elements of the
 * work memory; arrays are parameters x0, z0, constants, or lie in the work memory at fixed places. What a
 * step needs for itself, and callees, is behind that.
 */
#ifndef ADIT_WRITE_UNIT_H
#define ADIT_WRITE_UNIT_H

#include "function/carrier.h"
#include "run/lower.h"
#include "write/writer.h"

/* What a piece of text refers to: these become its parameters. */
typedef struct usage {
  unsigned char *in, *out;
  bool pool[AD_DTYPES], host, fixed;
} usage;

/* A loop whose states adjoints in the unit read: where its rows begin in each pool, those of its states one
 * after the other. */
typedef struct kept_states { uint32_t loop; size_t at[AD_DTYPES]; } kept_states;

typedef struct unit {
  ad_writer *w;
  ad_function *f;                   /* what is written: scalars in and out where origin is not NULL, then */
  ad_function *origin;              /* that is the function it is the scalar form of */
  int arrays_in, arrays_out;        /* parameters */
  const unit_shape *shape;
  unit_info *info;                  /* being filled in; not in the list yet */
  planner q;
  plan p;                           /* for its places only */
  plan_request request;
  const ad_primitive *step;         /* whose statements are being written, a structured one */
  uint32_t step_node;               /* and where it stands */
  uint32_t *target;                 /* nodes that are outputs, INVALID_INDEX: not wanted */
  uint32_t *part_of;                /* of each graph node: the part that computes it */
  unsigned char *gathers;           /* of each graph node: rows that their map chooses itself */
  uint32_t *slot_of;                /* where a scalar is in the work memory, NOWHERE: a local */
  uint32_t *row_step;               /* elements from row to row of values kept side by side; 0: dense rows */
  uint32_t parts;
  kept_states *kept;
  size_t keeps, kept_room;
  size_t own[AD_DTYPES];            /* elements of work memory of its own */
  size_t used[AD_DTYPES];           /* what the step being written has taken behind that */
  usage here, all;                  /* of the part being written, of all of them */
  text body;                        /* statements of that part */
  text calls, main;                 /* finished parts; what calls them */
  bool failed;
  bool own_pools;                   /* a callee's work memory is in arrays own_w, .. of the block around it */
} unit;

/* How to read scalar node i, a C expression. plain: a whole number may stand for a constant. */
void put_scalar(unit *u, text *to, uint32_t i, bool plain);
/* The address of the elements of node i: an expression that can be indexed. */
void put_pointer(unit *u, text *to, uint32_t i);
/* Has node i nothing to do, as it is its operand under another name, or the part from element *first on? */
bool unit_view(const unit *u, uint32_t i, int64_t *first);
/* Is node i rows of a table, chosen by an index, that a map reads where they are? */
static inline bool unit_gathers(const unit *u, uint32_t i) { return u->gathers && u->gathers[i]; }
/* As texts of writer_text. */
const char *unit_pointer(unit *u, uint32_t i);
const char *unit_scalar(unit *u, uint32_t i);
/* The address of element `first` of an array. */
const char *unit_part(unit *u, uint32_t i, int64_t first);

/* Output j = value. */
void unit_output(unit *u, int j, const char *value);

/* A line of the part being written, indented. */
void unit_line(unit *u, const char *format, ...) __attribute__((format(printf, 2, 3)));
void unit_open(unit *u, const char *format, ...) __attribute__((format(printf, 2, 3)));   /* and "{" */
void unit_close(unit *u);

/* Why a unit fails, for native code: name, then text, in which count, an int64_t, stands for %lld and number,
 * a double, for %g. NULLs: 0. */
typedef struct failure { const char *name, *text, *count, *number; } failure;
/* "if (condition) return status;", without the condition where that is NULL. Native code leaves the message,
 * in the words of the interpreter, before it returns. */
void unit_fail(unit *u, const char *condition, ad_status status, const failure *why);

/* Elements of that type in a line of the cache in native code; else 1. */
size_t unit_vector(const unit *u, ad_dtype dtype);
/* Work memory for the step being written: n elements; its address as C has it. */
const char *unit_take(unit *u, ad_dtype dtype, int64_t n);

/* Takes memory of the unit for states of loops that adjoints read. */
bool unit_keep_states(unit *u);
/* Results of scans that only adjoints look at go side by side. */
void unit_join_rows(unit *u);

/* Writes a call: in[i] and out[j] are addresses; those of outputs that are not wanted are not looked at. */
void unit_call(unit *u, const unit_info *callee, const char *const in[], const char *const out[]);
/* The same for a loop over that many instances. */
void unit_call_lanes(unit *u, const unit_info *callee, const char *lanes, const char *const in[],
                     const char *const out[]);

/* to[i] = from[i] for i < n. */
void unit_copy(unit *u, const char *to, const char *from, int64_t n);

/* z = row(x..) as an expression; x: how the operands are written. */
bool unit_value(unit *u, text *to, uint32_t i, const char *const x[]);
/* Of an array around one of its parts, the others. */
void unit_rest(unit *u, uint32_t i, const glued_rest *r);

/* --- steps: each returns false after leaving the error -------------------------------------------------- */

bool unit_statement(unit *u, uint32_t i);
bool unit_region(unit *u, const schedule_step *s);
/* Steps from the first to before *end as one loop over vectors, up to a line "#else", behind which they come
 * one by one, and "#endif". If it is not written, none that begins before *end need be tried. */
bool unit_shifts(unit *u, uint32_t first, uint32_t *end, bool *written);

/* Rows that a region (a step of the schedule) computes for a scatter_add right behind it, and for nobody
 * else: native code adds them where they go as they come. So it does not store them, nor the rows that a take
 * has chosen for that region alone by the same index. */
typedef struct row_sums {
  uint32_t region, sums, rows, index;       /* a step, and nodes */
  int64_t n, m, length;                     /* n rows of m elements, into `length` rows */
  int parts;
} row_sums;

/* Is there such a scatter_add behind that step? */
bool find_row_sums(const unit *u, uint32_t step, row_sums *r);
/* Is node i a take that is not stored? */
bool is_row_of_sums(const unit *u, uint32_t i);
bool unit_row_sums(unit *u, const row_sums *r);
bool unit_structured(unit *u, uint32_t i);
bool unit_tuple(unit *u, uint32_t i, const ad_operation *op);     /* operations with several results */
/* Will the map that is node i read its operands by itself? Before places are chosen. */
bool unit_map_reads(unit *u, uint32_t i);
/* One of those that the library runs itself, for native code. */
bool unit_host_results(unit *u, uint32_t i, const ad_operation *op);

#endif
