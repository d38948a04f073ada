/* graph.c -- finding what a run needs. */
#include "run/graph.h"
#include "primitives/library.h"
#include "tape/tuple.h"

#include <string.h>

/* --- the set of needed nodes ---------------------------------------------------------------------- */

typedef struct search {
  ad_tape *t;
  unsigned options;
  uint64_t *seen;                   /* a bit for each tape index up to the highest target */
  uint32_t *stack;
  size_t words, depth, capacity, found, edges;
  uint32_t low, high;
  uint32_t *number;                 /* in the graph, of tape index low + i */
} search;

static bool is_given(const search *s, uint32_t i) {
  return node_is_leaf(s->t, i) || ((s->options & GRAPH_USE_KNOWN) && node_known(&s->t->node[i]));
}

static bool visit(search *s, uint32_t i) {
  if (s->seen[i/64] >> i%64 & 1) return true;
  s->seen[i/64] |= (uint64_t)1 << i%64;
  s->found++;
  if (i < s->low) s->low = i;
  if (i > s->high) s->high = i;
  if (is_given(s, i)) return true;
  if (!memory_reserve(&s->t->allocator, &s->stack, &s->capacity, s->depth + 1, sizeof *s->stack))
    return false;
  s->stack[s->depth++] = i;
  return true;
}

/* Who asks for one result of an operation on a tape will ask for the others: they come at the same price. */
static bool visit_results(search *s, uint32_t i) {
  if (!(s->options & GRAPH_USE_KNOWN) || !node_tuple(s->t, i)) return true;
  const uint32_t n = (uint32_t)tuple_visible(s->t, i);
  for (uint32_t k = i + 1; k <= i + n && k/64 < s->words && k < s->t->count; k++)
    if (!visit(s, k)) return false;
  return true;
}

static bool find_needed(search *s, int n, const uint32_t targets[]) {
  for (int k = 0; k < n; k++)
    if (targets[k] != INVALID_INDEX && !visit(s, targets[k])) return false;
  while (s->depth) {
    int count;
    const uint32_t i = s->stack[--s->depth];
    if (!visit_results(s, i)) return false;
    const uint32_t *x = node_operands(s->t, i, &count);
    s->edges += (size_t)count;
    for (int k = 0; k < count; k++)
      if (!visit(s, x[k])) return false;
  }
  return true;
}

/* --- kinds ---------------------------------------------------------------------------------------- */

static bool is_slot_type(const ad_type *type) {
  return type->rank == 0 && (type->dtype == AD_F64 || type->dtype == AD_BOOL);
}

/* A bool scalar is a number 0 or 1 inside scalar programs and a byte everywhere else: only those made by, or
 * given to, programs can be used there. */
static bool is_scalar(const run_graph *g, uint32_t i, const ad_primitive *p) {
  if ((!p->row && p != &cast_primitive) || !is_slot_type(graph_type(g, i))) return false;
  for (uint32_t k = g->operand_start[i]; k < g->operand_start[i + 1]; k++) {
    uint32_t x = g->operand[k];
    const ad_type *type = graph_type(g, x);
    if (!is_slot_type(type)) return false;
    if (type->dtype == AD_BOOL && g->kind[x] != KIND_SCALAR && g->kind[x] != KIND_GIVEN) return false;
  }
  return true;
}

static node_kind classify(const run_graph *g, uint32_t i, unsigned options) {
  const ad_primitive *p = node_primitive(g->t, g->node[i]);
  if (p == &result_primitive) return KIND_RESULT;
  const bool elementwise = p->row || !p->type || p == &cast_primitive;
  if (options & GRAPH_WRITE && elementwise && graph_type(g, i)->rank == 0) return KIND_SCALAR;
  if (!(options & (GRAPH_LANES | GRAPH_WRITE)) && is_scalar(g, i, p)) return KIND_SCALAR;
  return elementwise ? KIND_ELEMENTWISE : KIND_STRUCTURED;
}

/* --- the graph ------------------------------------------------------------------------------------ */

/* Of the lists of what nodes use, and of those of who uses them: two blocks. */
static size_t operand_words(const run_graph *g) { return 2*(size_t)g->n + 1 + g->edges; }
static size_t user_words(const run_graph *g) { return (size_t)g->n + 2 + g->edges; }

static bool allocate(run_graph *g) {
  const ad_allocator *a = &g->t->allocator;
  const size_t n = g->n;
  g->node = memory_get(a, operand_words(g)*sizeof *g->node);
  g->user_start = memory_get(a, user_words(g)*sizeof *g->user_start);
  g->kind = memory_get(a, n + 1);
  if (!g->node || !g->user_start || !g->kind) return false;
  g->operand_start = g->node + n;
  g->operand = g->operand_start + n + 1;
  g->user = g->user_start + n + 2;
  memset(g->user_start, 0, (n + 2)*sizeof *g->user_start);
  return true;
}

void graph_forget_users(run_graph *g) {
  memory_release(&g->t->allocator, g->user_start, user_words(g)*sizeof *g->user_start);
  g->user = g->user_start = NULL;
}

void graph_close(run_graph *g) {
  const ad_allocator *a = &g->t->allocator;
  graph_forget_users(g);
  memory_release(a, g->node, operand_words(g)*sizeof *g->node);
  memory_release(a, g->kind, (size_t)g->n + 1);
}

static void put_nodes(run_graph *g, const search *s) {
  uint32_t count = 0, edges = 0;
  for (uint32_t w = s->low/64; w <= s->high/64; w++)
    for (uint64_t bits = s->seen[w]; bits; bits &= bits - 1) {
      uint32_t i = w*64 + (uint32_t)__builtin_ctzll(bits);
      s->number[i - s->low] = count;
      g->node[count] = i;
      g->operand_start[count] = edges;
      g->kind[count] = KIND_GIVEN;
      if (!is_given(s, i)) {
        int n;
        const uint32_t *x = node_operands(g->t, i, &n);
        for (int k = 0; k < n; k++) g->operand[edges++] = s->number[x[k] - s->low];
        g->operand_start[count + 1] = edges;
        g->kind[count] = (unsigned char)classify(g, count, s->options);
      }
      count++;
    }
  g->operand_start[count] = edges;
}

static bool fill(run_graph *g, search *s) {
  const size_t bytes = s->found ? ((size_t)s->high - s->low + 1)*sizeof *s->number : 0;
  g->operand_start[0] = 0;
  if (bytes == 0) return true;
  s->number = memory_get(&g->t->allocator, bytes);
  if (s->number) put_nodes(g, s);
  memory_release(&g->t->allocator, s->number, bytes);
  return s->number != NULL;
}

/* Users by counting sort; user_start is one further along while they are filled in. */
static void find_users(run_graph *g) {
  uint32_t edges = g->operand_start[g->n];
  for (uint32_t e = 0; e < edges; e++) g->user_start[g->operand[e] + 2]++;
  for (uint32_t i = 1; i <= g->n; i++) g->user_start[i + 1] += g->user_start[i];
  for (uint32_t i = 0; i < g->n; i++)
    for (uint32_t k = g->operand_start[i]; k < g->operand_start[i + 1]; k++)
      g->user[g->user_start[g->operand[k] + 1]++] = i;
}

ad_status graph_open(run_graph *g, ad_tape *t, int n, const uint32_t targets[], unsigned options) {
  search s = { .t = t, .options = options, .low = UINT32_MAX };
  *g = (run_graph){ .t = t };
  uint32_t highest = 0;
  for (int k = 0; k < n; k++)
    if (targets[k] != INVALID_INDEX && targets[k] > highest) highest = targets[k];
  s.words = (size_t)highest/64 + 4;
  s.seen = memory_get_zeroed(&t->allocator, s.words, sizeof *s.seen);
  bool good = s.seen && find_needed(&s, n, targets);
  const bool too_many = s.edges > UINT32_MAX - 2 || s.found > UINT32_MAX - 2;
  if (good && !too_many) {
    g->n = (uint32_t)s.found;
    g->edges = s.edges;
    good = allocate(g) && fill(g, &s);
    if (good) find_users(g);
  }
  memory_release(&t->allocator, s.seen, s.words*sizeof *s.seen);
  memory_release(&t->allocator, s.stack, s.capacity*sizeof *s.stack);
  if (too_many) return AD_ERROR_LIMIT;
  if (good) return AD_OK;
  graph_close(g);
  return AD_ERROR_MEMORY;
}

uint32_t graph_find(const run_graph *g, uint32_t node) {
  uint32_t low = 0, high = g->n;
  while (low < high) {
    uint32_t middle = low + (high - low)/2;
    if (g->node[middle] < node) low = middle + 1; else high = middle;
  }
  return low < g->n && g->node[low] == node ? low : UINT32_MAX;
}
