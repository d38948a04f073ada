/* shifts.c -- loops over one row that read each other's results a few elements before or behind, as one loop
 * over vectors.
 *
 * A shift by an element is a step of its own in a schedule, so x times (1, y[0], .., y[n-2]) ends a
 * region, and the stages of a Runge-Kutta method become as many loops, each of which stores a row for the
 * next one, which reads it across the borders of vectors that have just been written. Here vectors stay in
 * registers: a loop that reads element i - 1 takes it from this vector and the one before, and a loop that
 * reads i + 1 runs one vector behind. Of each value as many vectors are kept as loops lie apart; what lies
 * in front of a row or behind it (the 1 above) is put into vectors before the first and behind the last.
 *
 * A row that does not fill its last vector ends with one that overlaps the one before.
 */
#include "write/unit.h"
#include "primitives/construct.h"
#include "primitives/library.h"

#include <stdio.h>
#include <string.h>

/* Vectors that are kept of all values: registers, and some more that the compiler puts aside. */
enum { VECTOR_BYTES = 64, STATEMENTS_MOST = 256, KEPT_MOST = 48, LEAST_VECTORS = 1, PARALLEL_WORK = 1 << 18 };

typedef struct shifts {
  unit *u;
  uint32_t first, last;             /* steps of the schedule: from first to before last */
  const uint32_t *node;             /* their nodes, in order */
  uint32_t nodes;
  ad_dtype dtype;
  int64_t n, lanes, vectors, rest;  /* elements; of a vector; whole vectors, elements behind them */
  uint32_t statements;
  bool shifted;
  /* Of each graph node, of the group: */
  uint32_t *lag;                    /* vectors that its loop runs behind the first loop */
  uint32_t *age;                    /* vectors before the last one that other loops read */
  unsigned char *joined, *outside;  /* other loops read it (2: elements further on); what comes behind does */
  unsigned char *step_back, *step_on;           /* shifts that are read, by elements */
  const char *vector, *at, *mask;   /* types: of numbers, the same anywhere in memory, of indices */
  char names[3][WRITE_NAME];
  bool end;                         /* the last vectors are being written */
} shifts;

static bool in_group(const shifts *s, uint32_t i) {
  const uint32_t step = s->u->q.s.step_of[i];
  return step != NOWHERE && step >= s->first && step < s->last;
}

/* The node of a loop of the group that x is, under another name or with more around it: NOWHERE, none. x
 * begins with its element *shift. */
static uint32_t source(const shifts *s, uint32_t x, int64_t *shift) {
  const planner *q = &s->u->q;
  const int64_t begin = q->begin[x];
  int64_t part;
  while (x != NOWHERE && in_group(s, x) && q->g.kind[x] == KIND_STRUCTURED)
    x = unit_view(s->u, x, &part) ? q->g.operand[q->g.operand_start[x]] : glued_part(q, x);
  if (x == NOWHERE || !in_group(s, x) || q->g.kind[x] != KIND_ELEMENTWISE) return NOWHERE;
  *shift = begin - q->begin[x];
  return x;
}

/* An array put together of one that is read where it is, as through a window, and of less than a vector
 * before and behind it. */
typedef struct window { uint32_t part, n; int64_t first, count, behind; const uint32_t *x; } window;

static int64_t count_of(const shifts *s, uint32_t i) { return ad_type_count(*graph_type(&s->u->q.g, i)); }

static bool find_window(const shifts *s, uint32_t i, window *w) {
  const planner *q = &s->u->q;
  const ad_type *types[GLUED_PARTS];
  const uint32_t n = q->g.operand_start[i + 1] - q->g.operand_start[i];
  int64_t at = 0;
  if (q->g.kind[i] != KIND_STRUCTURED || n == 0 || n > GLUED_PARTS || graph_type(&q->g, i)->dtype != s->dtype
      || count_of(s, i) != s->n)
    return false;
  const uint32_t around = glued_part(q, i);
  if (around != NOWHERE && count_of(s, around) >= s->lanes) return false;
  const ad_operation op = node_operation(q->g.t, q->g.node[i], types);
  *w = (window){ .part = NOWHERE, .n = n, .x = q->g.operand + q->g.operand_start[i] };
  if (!join_is_runs(&op)) return false;
  for (uint32_t k = 0; k < n; at += count_of(s, w->x[k]), k++) {
    if (in_group(s, w->x[k]) || q->place_of[w->x[k]] == NOWHERE) return false;
    if (count_of(s, w->x[k]) < s->lanes || w->part != NOWHERE) continue;
    w->part = w->x[k], w->first = at, w->count = count_of(s, w->x[k]);
  }
  w->behind = s->n - w->first - w->count;
  return w->part != NOWHERE && w->first < s->lanes && w->behind < s->lanes
         && (s->rest == 0 || w->behind <= s->rest);
}

/* --- which steps ---------------------------------------------------------------------------------------- */

static bool has_vector_text(const elementwise_row *row) {
  static const elementwise_id plain[] = { ROW_add, ROW_sub, ROW_mul, ROW_div, ROW_neg, ROW_square };
  for (size_t k = 0; k < sizeof plain/sizeof *plain; k++)
    if (row == &elementwise_rows[plain[k]]) return true;
  return false;
}

static bool takes_operand(shifts *s, uint32_t x) {
  const ad_type *type = graph_type(&s->u->q.g, x);
  int64_t shift = 0;
  window w;
  if (type->dtype != s->dtype) return false;
  if (type->rank == 0) return !in_group(s, x);
  if (ad_type_count(*type) != s->n) return false;
  if (!in_group(s, x)) return s->u->q.place_of[x] != NOWHERE;
  if (find_window(s, x, &w)) return true;
  if (source(s, x, &shift) == NOWHERE || shift <= -s->lanes || shift >= s->lanes) return false;
  if (s->rest && (shift < -s->rest || shift > s->rest)) return false;
  s->shifted |= shift != 0;
  return true;
}

static bool takes_region(shifts *s, const schedule_step *step) {
  const run_graph *g = &s->u->q.g;
  const uint32_t *node = s->u->q.s.order + step->first;
  for (uint32_t k = 0; k < step->count; k++) {
    const ad_type *type = graph_type(g, node[k]);
    if (type->dtype != s->dtype || ad_type_count(*type) != s->n) return false;
    if (!has_vector_text(node_primitive(g->t, g->node[node[k]])->row)) return false;
    for (uint32_t e = g->operand_start[node[k]]; e < g->operand_start[node[k] + 1]; e++)
      if (!takes_operand(s, g->operand[e])) return false;
  }
  return true;
}

/* Another name of a value of the group, or something around it that comes from elsewhere. */
static bool takes_structured(const shifts *s, uint32_t i) {
  const planner *q = &s->u->q;
  int64_t shift;
  glued_rest rest;
  window w;
  if (is_unread(q, i) || find_window(s, i, &w)) return true;
  if (node_tuple(q->g.t, q->g.node[i]) || source(s, i, &shift) == NOWHERE) return false;
  if (!find_around(q, i, &rest)) return true;
  for (int k = 0; k < rest.n; k++)
    if (rest.part[k].x != NOWHERE && (in_group(s, rest.part[k].x) || q->place_of[rest.part[k].x] == NOWHERE))
      return false;
  return true;
}

static bool takes_step(shifts *s, uint32_t number) {
  const unit *u = s->u;
  const schedule_step *step = &u->q.s.step[number];
  const uint32_t node = u->q.s.order[step->first];
  row_sums sums;
  if (find_row_sums(u, number, &sums)) return false;
  s->statements += step->count;
  if (s->statements > STATEMENTS_MOST) return false;
  if (u->part_of[node] != u->part_of[u->q.s.order[u->q.s.step[s->first].first]]) return false;
  s->last = number + 1;
  const bool takes = step->kind == KIND_ELEMENTWISE ? takes_region(s, step)
                   : step->kind == KIND_STRUCTURED && takes_structured(s, node);
  if (!takes) s->last = number;
  return takes;
}

/* Steps from the first on, of which the last is a loop. */
static void find_steps(shifts *s) {
  const unit *u = s->u;
  uint32_t end = s->first, loops = 0;
  for (uint32_t k = s->first; k < u->q.s.steps && takes_step(s, k); k++)
    if (u->q.s.step[k].kind == KIND_ELEMENTWISE) end = k + 1, loops++;
  const bool good = loops > 1 && s->shifted && (double)s->n*s->statements < PARALLEL_WORK;
  s->last = good ? end : s->first;
  const uint32_t from = u->q.s.step[s->first].first;
  s->node = u->q.s.order + from;
  s->nodes = s->last < u->q.s.steps ? u->q.s.step[s->last].first - from : u->q.s.count - from;
}

/* --- what is kept --------------------------------------------------------------------------------------- */

typedef struct reading { uint32_t y; int64_t shift; } reading;

/* Does node i read y, of another loop? */
static bool reads(const shifts *s, uint32_t x, uint32_t i, reading *r) {
  if (graph_type(&s->u->q.g, x)->rank == 0 || !in_group(s, x)) return false;
  r->y = source(s, x, &r->shift);
  return r->y != NOWHERE && s->u->q.s.step_of[r->y] != s->u->q.s.step_of[i];
}

static void find_lags(shifts *s) {
  const planner *q = &s->u->q;
  reading r;
  for (uint32_t k = s->first; k < s->last; k++) {
    const schedule_step *step = &q->s.step[k];
    const uint32_t *node = q->s.order + step->first;
    uint32_t lag = 0;
    if (step->kind != KIND_ELEMENTWISE) continue;
    for (uint32_t j = 0; j < step->count; j++)
      for (uint32_t e = q->g.operand_start[node[j]]; e < q->g.operand_start[node[j] + 1]; e++)
        if (reads(s, q->g.operand[e], node[j], &r) && s->lag[r.y] + (r.shift > 0) > lag)
          lag = s->lag[r.y] + (r.shift > 0);
    for (uint32_t j = 0; j < step->count; j++) s->lag[node[j]] = lag;
  }
}

static void note_reading(shifts *s, uint32_t i, const reading *r) {
  const uint32_t age = s->lag[i] - s->lag[r->y] + (r->shift < 0);
  if (r->shift > 0) s->joined[r->y] = 2;
  else if (!s->joined[r->y]) s->joined[r->y] = 1;
  if (s->age[r->y] < age) s->age[r->y] = age;
  if (r->shift < 0) s->step_back[-r->shift] = 1;
  if (r->shift > 0) s->step_on[r->shift] = 1;
}

/* False if that would be too many. */
static bool find_ages(shifts *s) {
  const planner *q = &s->u->q;
  uint32_t kept = 0;
  reading r;
  for (uint32_t k = 0; k < s->nodes; k++) {
    const uint32_t i = s->node[k];
    if (q->g.kind[i] != KIND_ELEMENTWISE) continue;
    for (uint32_t e = q->g.operand_start[i]; e < q->g.operand_start[i + 1]; e++)
      if (reads(s, q->g.operand[e], i, &r)) note_reading(s, i, &r);
  }
  for (uint32_t k = 0; k < s->nodes; k++) kept += s->age[s->node[k]];
  return kept <= KEPT_MOST;
}

/* What is read in memory: by steps behind the group, or as the operand of a structured one of these. */
static void find_outside(shifts *s) {
  const planner *q = &s->u->q;
  for (uint32_t k = s->nodes; k-- > 0;) {
    const uint32_t i = s->node[k];
    s->outside[i] = q->is_target[i];
    for (uint32_t e = q->g.user_start[i]; e < q->g.user_start[i + 1]; e++) {
      const uint32_t user = q->g.user[e];
      s->outside[i] |= !in_group(s, user) || (q->g.kind[user] == KIND_STRUCTURED && s->outside[user]);
    }
  }
}

/* Elements of memory that are read or written. */
typedef struct extent { const place *at; int64_t begin, end; } extent;

static extent find_extent(const shifts *s, uint32_t i, int64_t first, int64_t count) {
  const planner *q = &s->u->q;
  const place *at = &q->p->place[q->place_of[i]];
  const int64_t start = q->begin[i] - q->life[q->place_of[i]].low + first
                        + (at->kind == PLACE_WORK ? (int64_t)at->offset : 0);
  return (extent){ at, start, start + count };
}

static bool meet(const extent *a, const extent *b) {
  if (a->at->kind != b->at->kind || a->at->kind == PLACE_FIXED) return false;
  if (a->at->kind != PLACE_WORK && a->at->number != b->at->number) return false;
  return a->begin < b->end && b->begin < a->end;
}

/* Would a loop of the group read what is written there? */
static bool is_read(const shifts *s, const extent *written) {
  const planner *q = &s->u->q;
  for (uint32_t k = 0; k < s->nodes; k++) {
    const uint32_t i = s->node[k];
    for (uint32_t e = q->g.operand_start[i]; e < q->g.operand_start[i + 1]; e++) {
      const uint32_t x = q->g.operand[e];
      const ad_type *type = graph_type(&q->g, x);
      if (in_group(s, x) || type->rank == 0 || q->place_of[x] == NOWHERE || type->dtype != s->dtype) continue;
      const extent read = find_extent(s, x, 0, ad_type_count(*type));
      if (meet(&read, written)) return true;
    }
  }
  return false;
}

/* A loop may have put its result where one before it was the last to read; in one loop they are not apart. */
static bool are_apart(const shifts *s) {
  const planner *q = &s->u->q;
  glued_rest rest;
  for (uint32_t k = 0; k < s->nodes; k++) {
    const uint32_t i = s->node[k];
    if (!s->outside[i] || q->place_of[i] == NOWHERE) continue;
    const extent all = find_extent(s, i, 0, ad_type_count(*graph_type(&q->g, i)));
    if (q->g.kind[i] == KIND_ELEMENTWISE && is_read(s, &all)) return false;
    if (q->g.kind[i] != KIND_STRUCTURED || !find_rest(q, i, &rest)) continue;
    for (int j = 0; j < rest.n; j++) {
      const extent part = find_extent(s, i, rest.part[j].first, rest.part[j].count);
      if (is_read(s, &part)) return false;
    }
  }
  return true;
}

/* Windows that are read in memory would have to be there. */
static bool has_windows_to_itself(const shifts *s) {
  window w;
  for (uint32_t k = 0; k < s->nodes; k++)
    if (s->outside[s->node[k]] && find_window(s, s->node[k], &w)) return false;
  return true;
}

/* --- vectors before the first and behind the last ------------------------------------------------------- */

/* Parts around value y that the node is put together of: elements of y's place, counted from y's first. */
static void put_around(shifts *s, uint32_t node, uint32_t y) {
  unit *u = s->u;
  glued_rest rest;
  if (!find_around(&u->q, node, &rest)) return;
  const int64_t from = u->q.begin[node] - u->q.begin[y];
  for (int k = 0; k < rest.n; k++)
    for (int64_t e = 0; e < rest.part[k].count; e++) {
      const int64_t at = from + rest.part[k].first + e;
      const bool before = at < 0 && at >= -s->lanes;
      if (rest.part[k].x == NOWHERE || (!before && !(at >= s->n && at < s->n + s->lanes))) continue;
      if (before ? s->age[y] == 0 : s->joined[y] < 2) continue;
      const char *value = unit_part(u, rest.part[k].x, e);
      if (before) unit_line(u, "h%u[%lld] = %s[0];", y, (long long)(at + s->lanes), value);
      else unit_line(u, "h%u_end[%lld] = %s[0];", y, (long long)(at - s->n), value);
    }
}

/* The first vector of what window w is of, or the last one: that of its part, and what is put around it. */
static void declare_end(shifts *s, uint32_t i, const window *w, bool last) {
  unit *u = s->u;
  const char *side = last ? "last" : "first";
  const int64_t begin = last ? s->n - s->lanes : 0;
  unit_line(u, "%s g%u_%s;", s->vector, i, side);
  int64_t at = 0;
  for (uint32_t k = 0; k < w->n; k++) {
    const int64_t count = count_of(s, w->x[k]);
    for (int64_t e = begin > at ? begin - at : 0; e < count && at + e < begin + s->lanes; e++)
      unit_line(u, "g%u_%s[%lld] = %s[0];", i, side, (long long)(at + e - begin), unit_part(u, w->x[k], e));
    at += count;
  }
}

static void declare_windows(shifts *s) {
  window w;
  for (uint32_t k = 0; k < s->nodes; k++) {
    const uint32_t i = s->node[k];
    if (!find_window(s, i, &w)) continue;
    if (w.first) declare_end(s, i, &w, false);
    if (w.behind) declare_end(s, i, &w, true);
  }
}

static void declare_values(shifts *s) {
  unit *u = s->u;
  const planner *q = &u->q;
  int64_t shift;
  window w;
  for (uint32_t k = 0; k < s->nodes; k++) {
    const uint32_t i = s->node[k];
    if (s->joined[i])
      unit_line(u, s->joined[i] > 1 ? "%s h%u = { 0 }, h%u_end = { 0 };" : "%s h%u = { 0 };", s->vector, i,
                i);
  }
  for (uint32_t k = 0; k < s->nodes; k++) {
    const uint32_t i = s->node[k];
    if (q->g.kind[i] != KIND_STRUCTURED || is_unread(q, i) || find_window(s, i, &w)) continue;
    const uint32_t y = source(s, i, &shift);
    if (s->joined[y]) put_around(s, i, y);
  }
  for (uint32_t k = 0; k < s->nodes; k++)
    for (uint32_t i = s->node[k], a = 1; a <= s->age[i]; a++)
      unit_line(u, "%s h%u_%u = h%u;", s->vector, i, a, i);
}

/* --- statements ----------------------------------------------------------------------------------------- */

/* "{ 7, 8, .. }": which elements of two vectors in a row; those of the first are `low` further up than where
 * whole vectors have them, those of the second `high`. */
static void put_indices(const shifts *s, text *to, int64_t shift, int64_t low, int64_t high) {
  text_put(to, "{ ");
  for (int64_t k = 0; k < s->lanes; k++) {
    const int64_t at = (shift < 0 ? s->lanes : 0) + k + shift;
    text_put(to, "%s%lld", k ? ", " : "", (long long)(at < s->lanes ? at + low : at + high));
  }
  text_put(to, " }");
}

/* "const .. back1 = ..": of a shift, at vector v where the row ends. */
static void declare_indices(const shifts *s, int64_t shift) {
  unit *u = s->u;
  text t = text_on(&u->w->allocator);
  const int64_t special = shift < 0 ? s->vectors : s->vectors - 1;
  text_put(&t, "const %s %s%lld = ", s->mask, shift < 0 ? "back" : "on",
           (long long)(shift < 0 ? -shift : shift));
  if (s->end && s->rest) {
    text_put(&t, "v == %lld ? (%s)", (long long)special, s->mask);
    if (shift < 0) put_indices(s, &t, shift, s->rest - s->lanes, 0);
    else put_indices(s, &t, shift, 0, s->lanes - s->rest);
    text_put(&t, " : (%s)", s->mask);
  }
  put_indices(s, &t, shift, 0, 0);
  unit_line(u, "%s;", text_of(&t));
  u->failed |= t.failed;
  written_free(&t);
}

static void declare_shifts(const shifts *s) {
  for (int64_t k = 1; k < s->lanes; k++) {
    if (s->step_back[k]) declare_indices(s, -k);
    if (s->step_on[k]) declare_indices(s, k);
  }
}

static void put_kept(text *to, uint32_t y, uint32_t age) {
  text_put(to, age ? "h%u_%u" : "h%u", y, age);
}

static void put_operand(const shifts *s, text *to, uint32_t x, uint32_t i) {
  reading r;
  if (graph_type(&s->u->q.g, x)->rank == 0) put_scalar(s->u, to, x, false);
  else if (reads(s, x, i, &r)) {
    const uint32_t age = s->lag[i] - s->lag[r.y];
    if (r.shift) text_put(to, "__builtin_shuffle(");
    put_kept(to, r.y, age + (r.shift < 0));
    if (!r.shift) return;
    text_put(to, ", ");
    put_kept(to, r.y, age - (r.shift > 0));
    text_put(to, ", %s%d)", r.shift < 0 ? "back" : "on", (int)(r.shift < 0 ? -r.shift : r.shift));
  } else if (in_group(s, x)) text_put(to, "v%u", x);
  else {
    text_put(to, "(*(const %s *)(", s->at);
    put_pointer(s->u, to, x);
    text_put(to, " + at))");
  }
}

static bool write_statement(const shifts *s, uint32_t i) {
  unit *u = s->u;
  const run_graph *g = &u->q.g;
  const uint32_t first = g->operand_start[i], n = g->operand_start[i + 1] - first;
  const char *plus = u->q.zero_added[i] ? " + 0" : "";
  text x[2] = { text_on(&u->w->allocator), text_on(&u->w->allocator) }, t = text_on(&u->w->allocator);
  for (uint32_t k = 0; k < n && k < 2; k++) put_operand(s, &x[k], g->operand[first + k], i);
  const bool good = unit_value(u, &t, i, (const char *const[]){ text_of(&x[0]), text_of(&x[1]) });
  unit_line(u, "const %s v%u = %s;", s->vector, i, text_of(&t));
  if (s->joined[i]) unit_line(u, "h%u = v%u%s;", i, i, plus);
  if (s->outside[i] && u->q.place_of[i] != NOWHERE)
    unit_line(u, "*(%s *)(%s + at) = v%u%s;", s->at, unit_pointer(u, i), i, plus);
  u->failed |= t.failed || x[0].failed || x[1].failed;
  written_free(&x[0]);
  written_free(&x[1]);
  written_free(&t);
  return good;
}

static bool step_reads(const shifts *s, const schedule_step *step, uint32_t x) {
  const planner *q = &s->u->q;
  for (uint32_t e = q->g.user_start[x]; e < q->g.user_start[x + 1]; e++)
    if (q->s.step_of[q->g.user[e]] == (uint32_t)(step - q->s.step)) return true;
  return false;
}

/* The vectors at `at` of arrays that are read through windows. */
static void read_windows(const shifts *s, const schedule_step *step) {
  unit *u = s->u;
  window w;
  for (uint32_t k = 0; k < s->nodes; k++) {
    const uint32_t i = s->node[k];
    if (!find_window(s, i, &w) || !step_reads(s, step, i)) continue;
    text t = text_on(&u->w->allocator);
    if (w.first) text_put(&t, "at == 0 ? g%u_first : ", i);
    if (w.behind && s->end) text_put(&t, "at == %lld ? g%u_last : ", (long long)(s->n - s->lanes), i);
    text_put(&t, "(%s)*(const %s *)(", s->vector, s->at);
    put_pointer(u, &t, w.part);
    text_put(&t, " + (at - %lld))", (long long)w.first);
    unit_line(u, "const %s v%u = %s;", s->vector, i, text_of(&t));
    u->failed |= t.failed;
    written_free(&t);
  }
}

/* One loop's vector number v, if it has one; behind its last one come the elements behind the row. */
static bool write_loop(const shifts *s, const schedule_step *step) {
  unit *u = s->u;
  const uint32_t *node = u->q.s.order + step->first, lag = s->lag[node[0]];
  const long long whole = (long long)s->vectors, all = whole + (s->rest != 0), lanes = (long long)s->lanes;
  bool good = true;
  if (s->end) {
    unit_open(u, "%s", "");
    unit_line(u, "const int64_t v = t - %u;", lag);
    unit_open(u, "if (v >= 0 && v < %lld) ", all);
    unit_line(u, "const int64_t at = v < %lld ? v*%lld : %lld;", whole, lanes, (long long)s->n - lanes);
    declare_shifts(s);
  } else {
    unit_open(u, "if (t >= %u) ", lag);
    unit_line(u, "const int64_t at = (t - %u)*%lld;", lag, lanes);
  }
  read_windows(s, step);
  for (uint32_t k = 0; k < step->count && good; k++) good = write_statement(s, node[k]);
  unit_close(u);
  if (!s->end) return good;
  for (uint32_t k = 0; k < step->count; k++)
    if (s->joined[node[k]] > 1) unit_line(u, "if (v == %lld) h%u = h%u_end;", all, node[k], node[k]);
  unit_close(u);
  return good;
}

static bool write_vectors(const shifts *s) {
  unit *u = s->u;
  const schedule *order = &u->q.s;
  bool good = true;
  for (uint32_t k = s->first; k < s->last && good; k++)
    if (order->step[k].kind == KIND_ELEMENTWISE) good = write_loop(s, &order->step[k]);
  for (uint32_t k = 0; k < s->nodes; k++)
    for (uint32_t i = s->node[k], a = s->age[i]; a > 0; a--) {
      if (a > 1) unit_line(u, "h%u_%u = h%u_%u;", i, a, i, a - 1);
      else unit_line(u, "h%u_1 = h%u;", i, i);
    }
  return good;
}

/* The elements around values that are read in memory. */
static void write_rests(const shifts *s) {
  const planner *q = &s->u->q;
  glued_rest rest;
  for (uint32_t k = 0; k < s->nodes; k++) {
    const uint32_t i = s->node[k];
    if (q->g.kind[i] == KIND_STRUCTURED && s->outside[i] && find_rest(q, i, &rest))
      unit_rest(s->u, i, &rest);
  }
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static void write_types(shifts *s) {
  ad_writer *w = s->u->w;
  const ad_dtype d = s->dtype;
  snprintf(s->names[0], WRITE_NAME, "%s", ad_write_routine(w, d, "vector",
           "typedef REAL HELPER(vector) __attribute__((vector_size(64)));\n"));
  snprintf(s->names[1], WRITE_NAME, "%s", ad_write_routine(w, d, "vector_at",
           "typedef REAL HELPER(vector_at)\n"
           "  __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));\n"));
  snprintf(s->names[2], WRITE_NAME, "%s", ad_write_routine(w, d, "vector_of", d == AD_F64
           ? "typedef int64_t HELPER(vector_of) __attribute__((vector_size(64)));\n"
           : "typedef int32_t HELPER(vector_of) __attribute__((vector_size(64)));\n"));
  s->vector = s->names[0], s->at = s->names[1], s->mask = s->names[2];
}

static bool write_group(shifts *s) {
  unit *u = s->u;
  uint32_t behind = 0;
  for (uint32_t k = 0; k < s->nodes; k++)
    if (s->lag[s->node[k]] > behind) behind = s->lag[s->node[k]];
  write_types(s);
  write_rests(s);
  declare_windows(s);
  declare_values(s);
  unit_open(u, "for (int64_t t = 0; t < %lld; t++) ", (long long)s->vectors - 1);
  declare_shifts(s);
  bool good = write_vectors(s);
  unit_close(u);
  s->end = true;
  unit_open(u, "for (int64_t t = %lld; t <= %lld; t++) ", (long long)s->vectors - 1,
            (long long)(s->vectors - (s->rest == 0) + behind));
  good = good && write_vectors(s);
  unit_close(u);
  return good;
}

static bool find_group(shifts *s) {
  const unit *u = s->u;
  const schedule_step *step = &u->q.s.step[s->first];
  const ad_type *type = graph_type(&u->q.g, u->q.s.order[step->first]);
  if (!u->w->native || u->shape->lanes || type->dtype < AD_F32) return false;
  if (step->kind != KIND_ELEMENTWISE && step->kind != KIND_STRUCTURED) return false;
  s->dtype = type->dtype;
  s->n = ad_type_count(*type);
  s->lanes = VECTOR_BYTES/(int64_t)ad_dtype_bytes(type->dtype);
  s->vectors = s->n/s->lanes;
  s->rest = s->n%s->lanes;
  if (s->vectors < LEAST_VECTORS) return false;
  find_steps(s);
  return s->last > s->first;
}

bool unit_shifts(unit *u, uint32_t first, uint32_t *end, bool *written) {
  shifts s = { .u = u, .first = first, .last = first };
  const size_t n = u->q.g.n, bytes = n*(2*sizeof(uint32_t) + 2) + 2*VECTOR_BYTES;
  *end = first, *written = false;
  if (!find_group(&s)) return true;
  s.lag = memory_get_zeroed(&u->w->allocator, bytes, 1);
  if (!s.lag) return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  s.age = s.lag + n;
  s.joined = (unsigned char *)(s.age + n);
  s.outside = s.joined + n;
  s.step_back = s.outside + n;
  s.step_on = s.step_back + VECTOR_BYTES;
  find_lags(&s);
  find_outside(&s);
  bool good = true;
  if (has_windows_to_itself(&s)) {
    *end = s.last;
    *written = find_ages(&s) && are_apart(&s);
  }
  if (*written) {
    unit_line(u, "#if defined __AVX512F__ && defined __GNUC__ && !defined __clang__");
    unit_open(u, "%s", "");
    good = write_group(&s);
    unit_close(u);
    unit_line(u, "#else");
  }
  memory_release(&u->w->allocator, s.lag, bytes);
  return good;
}
