/* iterate.h -- what the iterations of adit/implicit.h share: functions evaluated at a point that is kept in
 * doubles, norms, and messages.
 *
 * The point has n elements, one for a scalar. Memory is one block, taken when an iteration begins.
 */
#ifndef ADIT_RUN_ITERATE_H
#define ADIT_RUN_ITERATE_H

#include "function/implicit.h"
#include "run/plan.h"

typedef struct iteration {
  const implicit *how;
  const char *name;                 /* of the operation */
  ad_dtype dtype;                   /* of the point; what is minimized may have the other */
  int n;
  double *number;                   /* room that the method asked for */
  double *x;                        /* the point; n elements */
  double largest_met;               /* the largest |x| so far */
  const plan *residual, *jacobian, *value;
  const void **in;
  void *point, *answer;             /* as the functions take and give them: used where that is f32 */
  void *memory;                     /* of the plans */
  char *block;
  size_t bytes;
  ad_allocator allocator;
  char *message;
  size_t size;
} iteration;

/* Begins at the guess, x[0]; numbers: how many doubles the method needs. */
ad_status iteration_open(iteration *s, const ad_operation *op, const void *const x[], size_t numbers,
                         char *message, size_t size);
/* The point goes to z, in its own type, if status is AD_OK. Returns status. */
ad_status iteration_close(iteration *s, ad_status status, void *z);

/* f at the point x: count numbers to y. */
ad_status iteration_call(iteration *s, const plan *f, const double x[], size_t count, double y[]);
/* x = y + a z, rounded to the type of the point. */
void iteration_step(const iteration *s, double x[], const double y[], double a, const double z[]);
/* Moves the point there. */
void iteration_move(iteration *s, const double x[]);
/* Is a step of that length small beside the point? So is one at a point that is zero beside those met. */
bool iteration_small(const iteration *s, double length, double relative);

/* Says "name: text after k iterations, residual r" and gives AD_ERROR_CONVERGENCE. */
ad_status iteration_fail(const iteration *s, int64_t k, double residual, const char *text);

/* The largest magnitude, nan if there is one; the Euclidean norm without overflow; a product. */
double largest(int n, const double x[]);
double euclidean(int n, const double x[]);
double product_of(int n, const double x[], const double y[]);

/* How exact a point is at best, and at worst when rounding stops an iteration: the root of it. */
static inline double precision(const iteration *s) { return s->how->exact == AD_F64 ? 0x1p-52 : 0x1p-23; }

#endif
