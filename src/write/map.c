/* map.c -- maps and their adjoints: a C loop over the instances. Where the function is all scalars the loop
 * is inside the written function, around its statements, and compilers make vectors of instances; else its
 * body is a call. Cotangents of shared inputs are added up in the order of the instances. */
#include "write/map.h"
#include "primitives/library.h"

#include <string.h>

bool map_open(map_text *m, carrier_text *c) {
  const carrier *a = c->c;
  ad_writer *w = c->u->w;
  const size_t n = (size_t)a->n_in;
  bool *none = a->adjoint ? memory_get_zeroed(&w->allocator, n + 1, 1) : NULL;
  *m = (map_text){ .c = c, .f = a->adjoint ? NULL : text_opened(c, a->f) };
  if (a->adjoint) {
    if (!none) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
    m->f = text_vjp(c, a->f, none, (const bool *)active_in(a), (const bool *)active_out(a));
    memory_release(&w->allocator, none, n + 1);
  }
  if (!m->f) return false;
  m->bytes = (size_t)m->f->n_in + (size_t)m->f->n_out + 1;
  m->each_in = memory_get_zeroed(&w->allocator, m->bytes, 1);
  if (!m->each_in) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  m->each_out = m->each_in + m->f->n_in;
  for (int k = 0; k < m->f->n_in; k++) m->each_in[k] = k >= a->n_in || role_in(a)[k] == ROLE_EACH;
  for (int j = 0; j < m->f->n_out && !a->adjoint; j++) m->each_out[j] = true;
  for (int k = 0, j = 0; k < a->n_in && a->adjoint; k++)
    if (active_in(a)[k]) m->each_out[j++] = role_in(a)[k] == ROLE_EACH;
  return arguments_open(&m->call, w, m->f->n_in, m->f->n_out);
}

void map_close(map_text *m) {
  ad_writer *w = m->c->u->w;
  arguments_close(&m->call);
  memory_release(&w->allocator, m->each_in, m->bytes);
}

/* Sums begin with 0; what an instance, or some, give them goes to memory of the step. */
static bool set_arguments(map_text *m, int64_t instances) {
  carrier_text *c = m->c;
  bool sums = false;
  for (int k = 0; k < m->f->n_in; k++)
    set_in(&m->call, k,
           m->each_in[k] ? text_row(c, c->x[k], map_count_in(m, k)) : c->x[k]);
  for (int j = 0; j < m->f->n_out; j++) {
    if (!map_wants(m, j)) continue;
    const int64_t n = map_count_out(m, j);
    if (m->each_out[j]) {
      set_out(&m->call, j, text_row(c, c->z[j], n));
      continue;
    }
    unit_line(c->u, "for (int64_t i = 0; i < %lld; i++) %s[i] = 0;", (long long)n, c->z[j]);
    set_out(&m->call, j, unit_take(c->u, node_type(m->f->body, m->f->out[j])->type.dtype, n*instances));
    sums = true;
  }
  return sums;
}

static void write_sums(const map_text *m, const char *instances) {
  for (int j = 0; j < m->f->n_out; j++) {
    if (!map_wants(m, j) || m->each_out[j]) continue;
    const int64_t n = map_count_out(m, j);
    if (instances) unit_open(m->c->u, "for (int64_t k = 0; k < %s; k++) ", instances);
    if (n == 1) unit_line(m->c->u, "%s[0] += %s[%s];", m->c->z[j], m->call.out[j], instances ? "k" : "0");
    else if (instances)
      unit_line(m->c->u, "for (int64_t i = 0; i < %lld; i++) %s[i] += %s[k*%lld + i];", (long long)n,
                m->c->z[j], m->call.out[j], (long long)n);
    else unit_line(m->c->u, "for (int64_t i = 0; i < %lld; i++) %s[i] += %s[i];", (long long)n, m->c->z[j],
                   m->call.out[j]);
    if (instances) unit_close(m->c->u);
  }
}

/* --- lanes ---------------------------------------------------------------------------------------------- */

bool write_all_scalar(const ad_function *f) {
  const ad_tape *t = f->body;
  for (uint32_t i = 0; i < t->count; i++) {
    const ad_primitive *p = node_is_leaf(t, i) ? NULL : node_primitive(t, i);
    if (node_type(t, i)->type.rank || (p && !p->row && p != &cast_primitive && !p->value)) return false;
  }
  return true;
}

static bool needs_work(const unit_info *info) {
  for (int d = 0; d < AD_DTYPES; d++)
    if (info->need[d]) return true;
  return false;
}

/* The number of lanes comes first among the arguments. */
static void lanes_call(map_text *m, const unit_info *callee, const char *lanes) {
  unit_call_lanes(m->c->u, callee, lanes, m->call.in, m->call.out);
}

/* How many instances a thread takes at a time. */
enum { PARALLEL_LANES = 4096 };

/* All instances in one call, or in one for each part of them. */
static void write_whole(map_text *m, const unit_info *callee) {
  unit *u = m->c->u;
  const long long n = (long long)m->c->c->n;
  const bool parallel = u->w->native && !callee->fails && !callee->host && n >= 2*PARALLEL_LANES
                     && (double)n*(double)m->f->size >= MAP_PARALLEL_WORK;
  if (!parallel) {
    unit_line(u, "const int64_t at = 0;");
    unit_line(u, "(void)at;");
    lanes_call(m, callee, writer_text(u->w, "%lld", n));
    return;
  }
  unit_open(u, "ADIT_PARALLEL for (int64_t at = 0; at < %lld; at += %d) ", n, PARALLEL_LANES);
  unit_line(u, "const int64_t lanes = %lld - at < %d ? %lld - at : %d;", n, PARALLEL_LANES, n,
            PARALLEL_LANES);
  lanes_call(m, callee, "lanes");
  unit_close(u);
}

static bool write_lanes(map_text *m) {
  unit *u = m->c->u;
  const unit_shape lanes = { .lanes = true, .each = m->each_in };
  const bool sums = set_arguments(m, WRITE_LANES);
  const unit_info *callee = write_unit(u->w, m->f, m->call.wanted, &lanes);
  if (!callee) return false;
  if (!sums && !needs_work(callee)) {
    write_whole(m, callee);
    return true;
  }
  unit_open(u, "for (int64_t at = 0; at < %lld; at += %d) ", (long long)m->c->c->n, WRITE_LANES);
  unit_line(u, "const int64_t lanes = %lld - at < %d ? %lld - at : %d;", (long long)m->c->c->n, WRITE_LANES,
            (long long)m->c->c->n, WRITE_LANES);
  lanes_call(m, callee, "lanes");
  write_sums(m, "lanes");
  unit_close(u);
  return true;
}

/* --- the whole ------------------------------------------------------------------------------------------ */

static bool write_instances(map_text *m) {
  unit *u = m->c->u;
  set_arguments(m, 1);
  const unit_info *callee = text_unit(m->c, m->f, m->call.wanted);
  const int64_t parts = callee ? instance_parts(m, callee) : 1;
  if (!callee) return false;
  if (parts > 1) return write_instance_parts(m, callee, parts);
  unit_open(u, "for (int64_t at = 0; at < %lld; at++) ", (long long)m->c->c->n);
  unit_line(u, "(void)at;");
  unit_call(u, callee, m->call.in, m->call.out);
  write_sums(m, NULL);
  unit_close(u);
  return true;
}

static bool is_scalar(const map_text *m) {
  ad_function *scalars = write_scalar_form(m->f, true);
  return write_all_scalar(scalars ? scalars : m->f);
}

bool map_in_blocks(carrier_text *c) {
  map_text m;
  const bool blocks = map_open(&m, c) && is_scalar(&m) && block_size(&m) > 0;
  map_close(&m);
  return blocks;
}

static bool write_scalars(map_text *m) {
  const int64_t size = block_size(m);
  return size ? write_blocks(m, size) : write_lanes(m);
}

bool write_map(carrier_text *c) {
  map_text m;
  const bool good = map_open(&m, c) && (is_scalar(&m) ? write_scalars(&m) : write_instances(&m));
  map_close(&m);
  return good;
}
