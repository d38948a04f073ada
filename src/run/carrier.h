/* carrier.h -- carriers made ready to run: the plans of the functions they carry, and what runs them. */
#ifndef ADIT_RUN_CARRIER_H
#define ADIT_RUN_CARRIER_H

#include "function/carrier.h"
#include "run/parts.h"
#include "run/plan.h"

/* One carrier of a plan, constant once made. */
typedef struct prepared {
  /* Operands x, results z (NULL: not wanted); scratch has that many bytes, 64-byte aligned. */
  ad_status (*run)(const struct prepared *p, const void *const x[], void *const z[], char *scratch,
                   char *message, size_t size);
  void (*free)(struct prepared *p);
  /* What it runs; *parts is empty on entry. */
  void (*parts)(const struct prepared *p, plan_parts *parts);
  ad_allocator allocator;
  size_t scratch;
} prepared;

/* What a carrier is made ready from. message receives what fails. */
typedef struct preparation {
  const ad_operation *op;
  const carrier *c;
  const bool *wanted;               /* which results */
  ad_allocator allocator;
  int threads;
  char *message;
  size_t size;
} preparation;

/* The operation as the attribute describes it; free with prepared->free. */
ad_status carrier_prepare(const preparation *q, prepared **result);

ad_status prepare_call(const preparation *q, prepared **result);     /* calls and branches, and adjoints */
ad_status prepare_map(const preparation *q, prepared **result);
ad_status prepare_map_adjoint(const preparation *q, prepared **result);
ad_status prepare_scan(const preparation *q, prepared **result);     /* scans and loops */
ad_status prepare_scan_adjoint(const preparation *q, prepared **result);

/* The vjp of f that an adjoint carrier runs. NULL with *status set and the message written. in, out, sums: as
 * derived_vjp. */
ad_function *prepare_vjp(const preparation *q, ad_function *f, const bool in[], const bool out[],
                         const bool sums[], ad_status *status);

/* derived_opened; NULL with *status set and the message written. */
ad_function *prepare_opened(const preparation *q, ad_function *f, ad_status *status);

/* The plan of f for those outputs, f's own (wanted NULL: all). */
ad_status function_plan(ad_function *f, const bool wanted[], const plan **p);

static inline size_t round_up(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

#endif
