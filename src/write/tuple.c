/* tuple.c -- operations with several results: each kind of carrier has its own file. */
#include "function/own_rule.h"
#include "write/implicit.h"

#include <string.h>

/* The operand's address and its result's. */
static bool open_lists(carrier_text *c, unit *u, uint32_t i, const carrier *a) {
  const run_graph *g = &u->q.g;
  const size_t n = g->operand_start[i + 1] - g->operand_start[i];
  size_t results = 0;
  for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++) {
    const size_t j = (size_t)result_number(g->t, g->node[g->user[k]]);
    if (j + 1 > results) results = j + 1;
  }
  *c = (carrier_text){ .u = u, .node = i, .c = a, .operands = (int)n, .results = (int)results };
  c->bytes = (n + results)*(sizeof(char *) + WRITE_NAME) + 1;
  c->x = memory_get_zeroed(&u->w->allocator, c->bytes, 1);
  if (!c->x) return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  c->z = c->x + n;
  char *room = (char *)(c->z + results);
  for (size_t k = 0; k < n; k++, room += WRITE_NAME) {
    const uint32_t x = g->operand[g->operand_start[i] + k];
    strcpy(room, unit_pointer(u, unit_gathers(u, x) ? g->operand[g->operand_start[x]] : x));
    c->x[k] = room;
  }
  for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++, room += WRITE_NAME) {
    strcpy(room, unit_pointer(u, g->user[k]));
    c->z[result_number(g->t, g->node[g->user[k]])] = room;
  }
  return true;
}

bool unit_map_reads(unit *u, uint32_t i) {
  const run_graph *g = &u->q.g;
  size_t size;
  const carrier *a = node_attribute(g->t, g->node[i], &size);
  carrier_text c = { .u = u, .node = i, .c = a, .results = a->adjoint ? a->n_in : a->n_out };
  c.bytes = (size_t)c.results*sizeof *c.z + 1;
  c.z = memory_get_zeroed(&u->w->allocator, c.bytes, 1);
  if (!c.z) return writer_fail(u->w, AD_ERROR_MEMORY, "out of memory");
  for (uint32_t k = g->user_start[i]; k < g->user_start[i + 1]; k++)
    c.z[result_number(g->t, g->node[g->user[k]])] = "";
  const bool reads = map_in_blocks(&c);
  memory_release(&u->w->allocator, c.z, c.bytes);
  return reads;
}

static bool write_carrier(unit *u, uint32_t i, const carrier *a) {
  carrier_text c;
  bool good = open_lists(&c, u, i, a);
  unit_open(u, "%s", "");
  if (good) switch (a->kind) {
    case CARRIER_CALL: case CARRIER_BRANCH: good = write_call(&c); break;
    case CARRIER_MAP: good = write_map(&c); break;
    default: good = a->adjoint ? write_scan_adjoint(&c) : write_scan(&c);
  }
  unit_close(u);
  memory_release(&u->w->allocator, c.x, c.bytes);
  return good;
}

/* Systems from that size on are solved faster by the library's LAPACK. */
enum { HOST_UNKNOWNS = 24 };

/* Callbacks run in the library only. */
static bool write_other(unit *u, uint32_t i, const ad_operation *op) {
  carrier_text c;
  bool large = false;
  if (is_iteration(op)) large = u->w->native && ad_type_count(*op->x[0]) > HOST_UNKNOWNS;
  else if (!is_integration(op)) {
    const char *name = external_name(u->q.g.t, u->q.g.node[i]);
    if (u->w->native) return unit_host_results(u, i, op);
    return writer_fail(u->w, AD_ERROR_UNSUPPORTED, "%s%s cannot be written as C", name ? "the callback " : "",
                       name ? name : op->primitive->name);
  }
  if (large) return unit_host_results(u, i, op);
  bool good = open_lists(&c, u, i, NULL);
  unit_open(u, "%s", "");
  good = good && write_solution(&c, op);
  unit_close(u);
  memory_release(&u->w->allocator, c.x, c.bytes);
  return good;
}

bool unit_tuple(unit *u, uint32_t i, const ad_operation *op) {
  return op->primitive->tuple->run ? write_other(u, i, op) : write_carrier(u, i, op->attribute);
}

/* d, made on behalf of t, which ends here. */
static ad_function *made(ad_writer *w, ad_tape *t, ad_function *d) {
  if (!d) writer_fail(w, t && ad_tape_status(t) != AD_OK ? ad_tape_status(t) : AD_ERROR_MEMORY, "%s",
                      t ? ad_tape_message(t) : "out of memory");
  ad_tape_free(t);
  return d;
}

ad_function *text_vjp(carrier_text *c, ad_function *f, const bool sums[], const bool in[], const bool out[]) {
  ad_writer *w = c->u->w;
  if (c->c->v) return c->c->v;
  ad_tape *t = ad_tape_new_with(&w->allocator);
  return made(w, t, t ? derived_vjp(t, f, in, out, sums) : NULL);
}

ad_function *text_opened(carrier_text *c, ad_function *f) {
  ad_tape *t = ad_tape_new_with(&c->u->w->allocator);
  return made(c->u->w, t, t ? derived_opened(t, f) : NULL);
}

const unit_info *text_unit(carrier_text *c, ad_function *f, const bool wanted[]) {
  static const unit_shape plain;
  return f ? write_unit(c->u->w, f, wanted, &plain) : NULL;
}

/* --- calls and branches --------------------------------------------------------------------------------- */

static bool write_side(carrier_text *c, ad_function *f) {
  const carrier *a = c->c;
  const size_t n = (size_t)c->operands, m = (size_t)f->n_out + (size_t)a->n_in + (size_t)c->results;
  const char **in = memory_get_zeroed(&c->u->w->allocator, n + m + 1, sizeof *in), **out = in + n;
  bool *wanted = memory_get_zeroed(&c->u->w->allocator, m + (size_t)a->n_in + 1, 1);
  bool good = in && wanted;
  if (!good) writer_fail(c->u->w, AD_ERROR_MEMORY, "out of memory");
  const bool skip = a->kind == CARRIER_BRANCH;
  if (good && a->adjoint)
    f = text_vjp(c, f, wanted + m, (const bool *)active_in(a), (const bool *)active_out(a));
  for (int k = 0, j = 0; good && f && j < f->n_in; k++)
    if (!skip || k != a->n_in) in[j++] = c->x[k];
  for (int j = 0; good && f && j < f->n_out && j < c->results; j++) {
    out[j] = c->z[j];
    wanted[j] = c->z[j] != NULL;
  }
  const unit_info *callee = good && f ? text_unit(c, f, wanted) : NULL;
  if (callee) unit_call(c->u, callee, in, out);
  memory_release(&c->u->w->allocator, in, (n + m + 1)*sizeof *in);
  memory_release(&c->u->w->allocator, wanted, m + (size_t)a->n_in + 1);
  return callee != NULL;
}

bool write_call(carrier_text *c) {
  if (c->c->kind != CARRIER_BRANCH) return write_side(c, c->c->f);
  unit_open(c->u, "if (%s[0]) ", c->x[c->c->n_in]);
  bool good = write_side(c, c->c->f);
  c->u->w->indent--;
  unit_open(c->u, "} else ");
  good = good && write_side(c, c->c->g);
  unit_close(c->u);
  return good;
}
