/* lower_micro.h -- nodes of a graph as instructions of a micro program. */
#ifndef ADIT_RUN_LOWER_MICRO_H
#define ADIT_RUN_LOWER_MICRO_H

#include "run/graph.h"
#include "run/micro.h"

/* Where a value is: bytes into the frame. Until all constants are known, theirs are counted apart. */
#define MICRO_NOWHERE  UINT32_MAX
#define MICRO_CONSTANT (UINT32_C(1) << 31)

typedef struct micro_builder {
  ad_allocator allocator;
  micro_program *m;
  ad_tape *scratch;                 /* where operations are asked for their elements */
  size_t room;                      /* bytes of the frame taken behind the constants */
  bool full;                        /* no memory, or a frame as large as offsets cannot say */
} micro_builder;

/* Values of the nodes of one graph. */
typedef struct micro_scope {
  const run_graph *g;
  uint32_t *at;                     /* of each node; MICRO_NOWHERE: not there yet */
} micro_scope;

bool micro_open(micro_builder *b, const ad_allocator *a, micro_program *m);
/* Ends the program, if all was good until now, and puts values behind the constants; where the caller keeps
 * offsets, micro_place says what they have become. */
bool micro_close(micro_builder *b, bool good);
uint32_t micro_place(const micro_program *m, uint32_t at);

/* Memory of that many bytes, aligned to 8; a constant. MICRO_NOWHERE when there is none. */
uint32_t micro_reserve(micro_builder *b, size_t bytes);
uint32_t micro_constant(micro_builder *b, const void *data, size_t bytes);
bool micro_emit(micro_builder *b, micro i);
/* z = x, that many bytes. */
bool micro_copy(micro_builder *b, uint32_t z, uint32_t x, size_t bytes);

/* May node i be lowered? *budget: nodes of functions inside, at most; those of this one are taken off. */
typedef enum micro_answer { MICRO_NO, MICRO_YES, MICRO_FAILED } micro_answer;      /* failed: memory */
enum { MICRO_BUDGET = 4096 };
micro_answer micro_fits(const run_graph *g, uint32_t i, uint32_t *budget);
micro_answer micro_control_fits(const run_graph *g, uint32_t i, uint32_t *budget);
/* Not empty, and not too long either. */
bool micro_is_small(const run_graph *g, uint32_t i);
/* Its instructions; all operands have a place. False when memory fails. */
bool micro_node(micro_builder *b, const micro_scope *s, uint32_t i);
bool micro_control(micro_builder *b, const micro_scope *s, uint32_t i);

/* Instructions from `copies` to the last copy new states of the loop whose body begins with instruction
 * `body` to where states are kept. Where nobody wants the old one any more when the new one is computed,
 * that is done in the state's place, and the copy vanishes. fresh: where values of the body begin in the
 * frame. */
void micro_compute_there(micro_builder *b, uint32_t body, uint32_t copies, uint32_t fresh);

#endif
