/* schedule.c -- list scheduling by shape. */
#include "run/schedule.h"

#include <string.h>

/* Ready nodes wait in queues, one for scalars, one for structured nodes, one for each shape of elementwise
 * ones. A queue is a list through next[]. */
typedef struct queue { uint32_t head, tail; } queue;
#define NOBODY UINT32_MAX
enum { SCALARS, STRUCTURED, FIRST_SHAPE };

typedef struct scheduler {
  const run_graph *g;
  schedule *s;
  uint32_t *waits;                  /* operands of each node that have not run yet */
  uint32_t *next, *queue_of;
  queue *queue;
  const ad_type **shape;            /* of queue FIRST_SHAPE + i */
  size_t queues, queue_capacity, shape_capacity;
} scheduler;

static bool same_shape(const ad_type *a, const ad_type *b) {
  return a->rank == b->rank && !memcmp(a->dim, b->dim, sizeof a->dim);
}

static bool add_queue(scheduler *q, const ad_type *shape) {
  const ad_allocator *a = &q->g->t->allocator;
  if (!memory_reserve(a, &q->queue, &q->queue_capacity, q->queues + 1, sizeof *q->queue)) return false;
  if (!memory_reserve(a, &q->shape, &q->shape_capacity, q->queues + 1, sizeof *q->shape)) return false;
  q->shape[q->queues] = shape;
  q->queue[q->queues++] = (queue){ NOBODY, NOBODY };
  return true;
}

/* Types are few; their shapes are looked up once for each type number. */
static bool find_queues(scheduler *q, uint32_t *of_type) {
  const run_graph *g = q->g;
  for (uint32_t i = 0; i < g->n; i++) {
    q->queue_of[i] = g->kind[i] == KIND_SCALAR ? SCALARS : STRUCTURED;
    if (g->kind[i] != KIND_ELEMENTWISE) continue;
    uint32_t number = node_type_number(&g->t->node[g->node[i]]);
    if (of_type[number] == NOBODY) {
      const ad_type *type = graph_type(g, i);
      size_t k = FIRST_SHAPE;
      while (k < q->queues && !same_shape(q->shape[k], type)) k++;
      if (k == q->queues && !add_queue(q, type)) return false;
      of_type[number] = (uint32_t)k;
    }
    q->queue_of[i] = of_type[number];
  }
  return true;
}

/* Scalars run in the order of a stack: what has become ready uses the result just computed. */
static void push(scheduler *q, uint32_t i) {
  queue *line = &q->queue[q->queue_of[i]];
  if (q->queue_of[i] == SCALARS && line->head != NOBODY) {
    q->next[i] = line->head;
    line->head = i;
    return;
  }
  q->next[i] = NOBODY;
  if (line->head == NOBODY) line->head = i; else q->next[line->tail] = i;
  line->tail = i;
}

static uint32_t pop(scheduler *q, size_t line) {
  uint32_t i = q->queue[line].head;
  if (i != NOBODY) q->queue[line].head = q->next[i];
  return i;
}

static void run_node(scheduler *q, uint32_t i, bool given) {
  const run_graph *g = q->g;
  if (!given) {
    q->s->order[q->s->count++] = i;
    q->s->step_of[i] = q->s->steps - 1;
    q->s->step[q->s->steps - 1].count++;
  }
  for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++)
    if (--q->waits[g->user[k]] == 0) push(q, g->user[k]);
}

static bool begin_step(scheduler *q, node_kind kind) {
  schedule *s = q->s;
  if (!memory_reserve(&q->g->t->allocator, &s->step, &s->step_capacity, s->steps + 1, sizeof *s->step))
    return false;
  s->step[s->steps++] = (schedule_step){ kind, s->count, 0 };
  return true;
}

/* Runs a whole queue, and what becomes ready in it meanwhile. */
static bool drain(scheduler *q, size_t line, node_kind kind) {
  if (!begin_step(q, kind)) return false;
  for (uint32_t i; (i = pop(q, line)) != NOBODY;) {
    run_node(q, i, false);
    if (kind == KIND_STRUCTURED) break;
  }
  return true;
}

/* Of regions the smallest: what it makes ready may still join a bigger one, where memory is saved. */
static size_t choose_queue(const scheduler *q) {
  size_t best = q->queues;
  int64_t least = 0;
  for (size_t line = 0; line < q->queues; line++) {
    if (q->queue[line].head == NOBODY) continue;
    if (line < FIRST_SHAPE) return line;
    const int64_t count = ad_type_count(*q->shape[line]);
    if (best == q->queues || count < least) best = line, least = count;
  }
  return best;
}

static bool run_all(scheduler *q) {
  const run_graph *g = q->g;
  uint32_t left = 0;
  for (uint32_t i = 0; i < g->n; i++) {
    q->waits[i] = g->kind[i] == KIND_GIVEN ? 0 : g->operand_start[i + 1] - g->operand_start[i];
    left += g->kind[i] != KIND_GIVEN;
  }
  for (uint32_t i = 0; i < g->n; i++) {
    if (g->kind[i] == KIND_GIVEN) run_node(q, i, true);
    else if (g->operand_start[i + 1] == g->operand_start[i]) push(q, i);
  }
  while (q->s->count < left) {
    const size_t line = choose_queue(q);
    node_kind kind = line == SCALARS ? KIND_SCALAR : line == STRUCTURED ? KIND_STRUCTURED : KIND_ELEMENTWISE;
    if (!drain(q, line, kind)) return false;
  }
  return true;
}

void schedule_free(schedule *s, const ad_allocator *a) {
  memory_release(a, s->order, 2*s->nodes*sizeof *s->order + 1);
  memory_release(a, s->step, s->step_capacity*sizeof *s->step);
}

ad_status schedule_make(schedule *s, const run_graph *g) {
  const ad_allocator *a = &g->t->allocator;
  const size_t n = g->n, types = g->t->types;
  scheduler q = { .g = g, .s = s };
  *s = (schedule){ .nodes = n };
  s->order = memory_get(a, 2*n*sizeof *s->order + 1);
  q.waits = memory_get(a, 3*n*sizeof *q.waits + 1);
  uint32_t *of_type = memory_get(a, types*sizeof *of_type);
  bool good = s->order && q.waits && of_type && add_queue(&q, NULL) && add_queue(&q, NULL);
  if (good) {
    s->step_of = s->order + n;
    q.next = q.waits + n;
    q.queue_of = q.next + n;
    memset(s->step_of, 0xFF, n*sizeof *s->step_of);
    memset(of_type, 0xFF, types*sizeof *of_type);
    good = find_queues(&q, of_type) && run_all(&q);
  }
  memory_release(a, q.waits, 3*n*sizeof *q.waits + 1);
  memory_release(a, of_type, types*sizeof *of_type);
  memory_release(a, q.queue, q.queue_capacity*sizeof *q.queue);
  memory_release(a, q.shape, q.shape_capacity*sizeof *q.shape);
  if (!good) schedule_free(s, a);
  return good ? AD_OK : AD_ERROR_MEMORY;
}
