/* micro_place.c -- new states of loops computed where the old ones were, instead of copied there. */
#include "run/lower_micro.h"

#include <string.h>

/* A part of the frame. Small types are taken for eight bytes, which is what they have to themselves. */
typedef struct part { uint32_t at; size_t bytes; } part;

static bool meet(part x, part y) { return x.at < y.at + y.bytes && y.at < x.at + x.bytes; }

static bool is_row(const micro *i) { return i->code < MICRO_END || i->code == MICRO_CALL; }
static bool is_copy(const micro *i) { return i->code >= MICRO_COPY_1 && i->code <= MICRO_COPY; }

static size_t length_of(const micro *i) {
  return is_row(i) ? (size_t)8*i->n : is_copy(i) && i->n > 8 ? i->n : 8;
}

/* What the instruction writes itself; nothing: of no bytes. */
static part written(const micro_program *m, const micro *i) {
  const bool none = i->code == MICRO_END || i->code == MICRO_GO || i->code == MICRO_UNLESS;
  if (i->code != MICRO_RUN) return (part){ i->z, none ? 0 : length_of(i) };
  const micro_operation *o = &m->operation[i->to];
  return (part){ o->z, ad_type_bytes(o->op.z) };
}

/* Operand k of three. */
static part operand(const micro *i, int k) {
  const uint32_t at[3] = { i->x, i->y, i->w };
  const uint8_t stride[3] = { i->sx, i->sy, i->sw };
  return (part){ at[k], is_row(i) && !stride[k] ? 8 : length_of(i) };
}

/* Does the instruction read there; and something beside that, too? */
typedef struct reading { bool some, beyond; } reading;

static void note(reading *r, part x, part p) {
  if (!meet(x, p)) return;
  r->some = true;
  r->beyond |= x.at < p.at || x.at + x.bytes > p.at + p.bytes;
}

static reading reads(const micro_program *m, const micro *i, part p) {
  const micro_operation *o = i->code == MICRO_RUN ? &m->operation[i->to] : NULL;
  reading r = { false, false };
  for (int k = 0; o && k < o->op.n; k++) note(&r, (part){ o->x[k], ad_type_bytes(*o->op.x[k]) }, p);
  for (int k = 0; !o && k < 3; k++) note(&r, operand(i, k), p);
  return r;
}

/* May the instruction write to p, whatever it reads there? Elements of many are written one by one. */
static bool may_write(const micro *i, part p) {
  const bool by_one = is_row(i) && i->n > 2;
  if (i->code == MICRO_RUN) return false;
  for (int k = 0; k < 3 && (by_one || i->code == MICRO_CALL); k++) {
    const part x = operand(i, k);
    if (meet(x, p) && (x.at != p.at || x.bytes != length_of(i))) return false;
  }
  return true;
}

/* The only one of instructions [from, to) that writes there; to: none, or several. */
static uint32_t writer_of(const micro_program *m, uint32_t from, uint32_t to, part p) {
  uint32_t writer = to;
  for (uint32_t k = from; k < to; k++) {
    if (!meet(written(m, &m->code[k]), p)) continue;
    if (writer != to) return to;
    writer = k;
  }
  return writer;
}

static void move_offset(uint32_t *at, part from, uint32_t to) {
  if (*at >= from.at && *at < from.at + from.bytes) *at = to + (*at - from.at);
}

static void move_part(micro_program *m, uint32_t first, part from, uint32_t to) {
  for (uint32_t k = first; k < m->count; k++) {
    micro *i = &m->code[k];
    micro_operation *o = i->code == MICRO_RUN ? &m->operation[i->to] : NULL;
    for (int j = 0; o && j < o->op.n; j++) move_offset(&o->x[j], from, to);
    if (o) move_offset(&o->z, from, to);
    move_offset(&i->z, from, to), move_offset(&i->x, from, to);
    move_offset(&i->y, from, to), move_offset(&i->w, from, to);
  }
}

/* Instruction `copy` copies a state: is its value computed where nobody wants the old state any more, and
 * not part of a longer one? */
static bool computes_there(micro_program *m, uint32_t body, uint32_t copy, uint32_t fresh) {
  const micro *c = &m->code[copy];
  const part from = { c->x, length_of(c) }, to = { c->z, length_of(c) };
  const uint32_t writer = writer_of(m, body, copy, from);
  if (writer == copy || from.at < fresh || !may_write(&m->code[writer], to)) return false;
  const part all = written(m, &m->code[writer]);
  if (all.at != from.at || all.bytes != from.bytes) return false;
  for (uint32_t k = writer + 1; k < m->count; k++) {
    if (k < copy && reads(m, &m->code[k], to).some) return false;
    if (reads(m, &m->code[k], from).beyond) return false;
  }
  move_part(m, body, from, to.at);
  return true;
}

void micro_compute_there(micro_builder *b, uint32_t body, uint32_t copies, uint32_t fresh) {
  micro_program *m = b->m;
  for (uint32_t k = copies; k < m->count;) {
    if (!computes_there(m, body, k, fresh)) k++;
    else memmove(&m->code[k], &m->code[k + 1], (--m->count - k)*sizeof *m->code);
  }
}
