/* map.h -- one map on its way to C, as a loop around calls (map.c) or in blocks (blocks.c). */
#ifndef ADIT_WRITE_MAP_H
#define ADIT_WRITE_MAP_H

#include "write/carriers.h"

/* What runs for an instance, f or its vjp, and of its inputs and outputs: is there one for each instance? */
typedef struct map_text {
  carrier_text *c;
  ad_function *f;
  bool *each_in, *each_out;
  size_t bytes;
  argument_texts call;
} map_text;

bool map_open(map_text *m, carrier_text *c);
void map_close(map_text *m);
static inline bool map_wants(const map_text *m, int j) { return j < m->c->results && m->c->z[j]; }
static inline int64_t map_count_in(const map_text *m, int k) {
  return node_type(m->f->body, m->f->in[k])->count;
}
static inline int64_t map_count_out(const map_text *m, int j) {
  return node_type(m->f->body, m->f->out[j])->count;
}

/* Operations from which on native code shares instances among threads. */
enum { MAP_PARALLEL_WORK = 1 << 18 };

/* How many instances a block of native code has; 0: this map is not written in blocks. */
int64_t block_size(const map_text *m);
bool write_blocks(map_text *m, int64_t size);

/* In how many parts the instances of native code, calls of that function, are shared among threads; 1: they
 * are not. */
int64_t instance_parts(const map_text *m, const unit_info *callee);
/* The loop over them, whose inputs are set. False when memory fails. */
bool write_instance_parts(map_text *m, const unit_info *callee, int64_t parts);

#endif
