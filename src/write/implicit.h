/* implicit.h -- what the iterations of adit/implicit.h share as C: the point, functions at it, and routines.
 *
 * The iterations are those of src/run/root.c, fixed_point.c and minimize.c, operation by operation, on work
 * memory whose size is known. Numbers are R, those of f32 unknowns too, as the library has doubles; what the
 * functions take and give is of their own type.
 */
#ifndef ADIT_WRITE_IMPLICIT_H
#define ADIT_WRITE_IMPLICIT_H

#include "function/implicit.h"
#include "write/carriers.h"

typedef struct iteration_text {
  carrier_text *c;
  const implicit *a;
  int64_t n;
  ad_dtype dtype;                   /* of the unknown */
  const char *name;                 /* of the operation */
  const char *residual;             /* what a failure tells of: the name of a real, k that of the iteration */
  char largest[WRITE_NAME], norm[WRITE_NAME], small[WRITE_NAME];    /* routines */
} iteration_text;

/* Declares `at`, the point, at the guess; `met`, the largest |x| so far; epsilon, relative, absolute.
 * least: a tolerance that can be kept where R is float. */
void iteration_text_open(iteration_text *s, carrier_text *c, const implicit *a, const char *least);
/* "R *name = ..": n elements. */
void iteration_vector(iteration_text *s, const char *name, int64_t n);
/* to = f at the point `from`; count elements. False with the error left. */
bool iteration_value(iteration_text *s, ad_function *f, const char *from, const char *to, int64_t count);
/* to = base + a*step, rounded to the type of the point; a NULL: to = base. */
void iteration_advance(iteration_text *s, const char *to, const char *base, const char *a, const char *step);
/* The point moves there. */
void iteration_goto(iteration_text *s, const char *to);
/* "if (condition) return status;", as unit_fail. */
void iteration_failure(iteration_text *s, const char *condition, ad_status status, const char *why);
/* The solution is `from`. */
void iteration_result(iteration_text *s, const char *from);

/* A routine of R, copied into name. */
void iteration_routine(iteration_text *s, char name[WRITE_NAME], const char *id, const char *lines);

/* --- the three of them: each returns false with the error left ------------------------------------------ */

bool write_root(iteration_text *s);
bool write_fixed_point(iteration_text *s);
bool write_minimize(iteration_text *s);

/* Operations with results that are no carriers: the solution of an equation, and an integration. */
bool is_iteration(const ad_operation *op);
bool is_integration(const ad_operation *op);
bool write_solution(carrier_text *c, const ad_operation *op);

#endif
