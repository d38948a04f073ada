/* instances.c -- maps of functions of arrays in native code, shared among threads: each thread has work
 * memory of its own. Cotangents of shared inputs are added up part by part, and the parts in order: parts do
 * not depend on threads, so neither do the bits. */
#include "write/map.h"

#include <stdio.h>

/* THREADS_MOST: that there is work memory for; WORK_MOST, SUMS_MOST: bytes of it and of sums; PARTS_SUMMED:
 * parts where they have sums, each of which is one more to join. */
enum { THREADS_MOST = 16, PARTS_MOST = 64, PARTS_SUMMED = 16, WORK_MOST = 1 << 28, SUMS_MOST = 1 << 22 };

/* Elements that an instance computes. */
static double work_of(const ad_function *f) {
  double work = 0;
  for (uint32_t i = 0; i < f->body->count; i++)
    if (!node_is_leaf(f->body, i)) work += (double)node_type(f->body, i)->count;
  return work;
}

static bool is_sum(const map_text *m, int j) { return map_wants(m, j) && !m->each_out[j]; }

int64_t instance_parts(const map_text *m, const unit_info *callee) {
  const int64_t n = m->c->c->n;
  size_t memory = 0, sums = 1;
  if (!m->c->u->w->native || m->c->u->own_pools || callee->fails
      || (double)n*work_of(m->f) < MAP_PARALLEL_WORK) return 1;
  for (int d = 0; d < AD_DTYPES; d++) memory += callee->need[d]*ad_dtype_bytes((ad_dtype)d);
  for (int j = 0; j < m->f->n_out; j++)
    if (is_sum(m, j)) sums += 2*node_type(m->f->body, m->f->out[j])->bytes;
  if (memory > WORK_MOST/THREADS_MOST) return 1;
  const int64_t most = sums > 1 ? PARTS_SUMMED : PARTS_MOST;
  int64_t parts = n < most ? n : most;
  if ((size_t)parts > SUMS_MOST/sums) parts = (int64_t)(SUMS_MOST/sums);
  if (parts < 2) return 1;
  const int64_t length = (n + parts - 1)/parts;
  return (n + length - 1)/length;
}

/* Memory of a sum: for what the parts give, and for what an instance gives; both for each part. */
typedef struct part_sums { char part[WRITE_NAME], one[WRITE_NAME]; } part_sums;

static const char *dtype_name(const map_text *m, int j) {
  return write_type(node_type(m->f->body, m->f->out[j])->type.dtype);
}

/* Sums of part p, which begin with 0, and where an instance leaves what it adds. */
static void open_sum(map_text *m, int j, const part_sums *s) {
  unit *u = m->c->u;
  const long long n = (long long)map_count_out(m, j);
  unit_line(u, "%s *const sum%d = %s + p*%lld, *const one%d = %s + p*%lld;", dtype_name(m, j), j, s->part, n,
            j, s->one, n);
  unit_line(u, "for (int64_t i = 0; i < %lld; i++) sum%d[i] = 0;", n, j);
  set_out(&m->call, j, writer_text(u->w, "one%d", j));
}

static void add_instance(const map_text *m, int j) {
  const long long n = (long long)map_count_out(m, j);
  unit_line(m->c->u, "for (int64_t i = 0; i < %lld; i++) sum%d[i] += one%d[i];", n, j, j);
}

static void add_parts(const map_text *m, int j, const part_sums *s, int64_t parts) {
  const long long n = (long long)map_count_out(m, j);
  unit_open(m->c->u, "for (int64_t p = 0; p < %lld; p++) ", (long long)parts);
  unit_line(m->c->u, "for (int64_t i = 0; i < %lld; i++) %s[i] += %s[p*%lld + i];", n, m->c->z[j], s->part,
            n);
  unit_close(m->c->u);
}

/* Each thread's work memory, of what the step has. */
static void open_work(map_text *m, const unit_info *callee, char work[][WRITE_NAME]) {
  for (int d = 0; d < AD_DTYPES; d++)
    if (callee->pool[d])
      unit_line(m->c->u, "%s *const own_%s = %s + ADIT_THREAD*%zu;", write_type((ad_dtype)d),
                write_pool((ad_dtype)d), work[d], callee->need[d]);
}

static void write_parts(map_text *m, const unit_info *callee, int64_t parts, const part_sums sums[],
                        char work[][WRITE_NAME]) {
  unit *u = m->c->u;
  const int64_t n = m->c->c->n, length = (n + parts - 1)/parts;
  unit_line(u, "#ifdef _OPENMP");
  unit_line(u, "#pragma omp parallel for num_threads(ADIT_THREADS(%d))", THREADS_MOST);
  unit_line(u, "#endif");
  unit_open(u, "for (int64_t p = 0; p < %lld; p++) ", (long long)parts);
  open_work(m, callee, work);
  for (int j = 0; j < m->f->n_out; j++)
    if (is_sum(m, j)) open_sum(m, j, &sums[j]);
  unit_open(u, "for (int64_t at = p*%lld; at < %lld && at < (p + 1)*%lld; at++) ", (long long)length,
            (long long)n, (long long)length);
  unit_line(u, "(void)at;");
  u->own_pools = true;
  unit_call(u, callee, m->call.in, m->call.out);
  u->own_pools = false;
  for (int j = 0; j < m->f->n_out; j++)
    if (is_sum(m, j)) add_instance(m, j);
  unit_close(u);
  unit_close(u);
}

/* Names of memory stay good for a while only. */
static void take_name(char to[WRITE_NAME], const char *name) { snprintf(to, WRITE_NAME, "%s", name); }

bool write_instance_parts(map_text *m, const unit_info *callee, int64_t parts) {
  unit *u = m->c->u;
  ad_writer *w = u->w;
  const size_t bytes = ((size_t)m->f->n_out + 1)*sizeof(part_sums);
  part_sums *sums = memory_get_zeroed(&w->allocator, bytes, 1);
  char work[AD_DTYPES][WRITE_NAME];
  if (!sums) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  for (int j = 0; j < m->f->n_out; j++) {
    if (!is_sum(m, j)) continue;
    const ad_dtype dtype = node_type(m->f->body, m->f->out[j])->type.dtype;
    const int64_t n = map_count_out(m, j)*parts;
    take_name(sums[j].part, unit_take(u, dtype, n));
    take_name(sums[j].one, unit_take(u, dtype, n));
  }
  for (int d = 0; d < AD_DTYPES; d++)
    if (callee->pool[d])
      take_name(work[d], unit_take(u, (ad_dtype)d, (int64_t)callee->need[d]*THREADS_MOST));
  write_parts(m, callee, parts, sums, work);
  for (int j = 0; j < m->f->n_out; j++)
    if (is_sum(m, j)) add_parts(m, j, &sums[j], parts);
  memory_release(&w->allocator, sums, bytes);
  return true;
}
