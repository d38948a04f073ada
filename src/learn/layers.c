/* layers.c -- networks as lists of steps.
 *
 * A layer is kept flat: sequential joins the steps of what is put into it, residual puts a pair of steps
 * around them, one that remembers x and one that adds it. Declaring and applying are loops over the list,
 * whatever the nesting. A step knows its path, the numbers of the sequentials on the way to it.
 */
#include "adit/layers.h"

#include "adit/arrays.h"
#include "adit/elementwise.h"
#include "adit/losses.h"
#include "adit/primitive.h"
#include "adit/random.h"
#include "base/memory.h"
#include "learn/parameters.h"
#include "primitives/operands.h"

#include <string.h>

typedef enum step_kind { LINEAR, ACTIVATION, DROPOUT, NORM, OWN, REMEMBER, ADD } step_kind;

typedef struct step {
  step_kind kind;
  char *path;                       /* "", "0/2" */
  int64_t n_in, n_out;
  bool bias;
  ad_init weight_init, bias_init;
  double epsilon, rate;
  ad_var (*f)(ad_var);
  const ad_layer_own *own;
} step;

struct ad_layer {
  ad_allocator allocator;
  size_t steps, room;
  step *step;
  int depth;                        /* how many values are remembered at once */
  ad_report report;                 /* arguments that make no sense */
};

/* --- building ------------------------------------------------------------------------------------------- */

void ad_layer_free(ad_layer *l) {
  if (!l) return;
  const ad_allocator a = l->allocator;
  for (size_t i = 0; i < l->steps; i++) memory_release(&a, l->step[i].path, strlen(l->step[i].path) + 1);
  memory_release(&a, l->step, l->room*sizeof *l->step);
  memory_release(&a, l, sizeof *l);
}

static void refuse(ad_layer *l, const char *text) {
  if (l->report.status != AD_OK) return;
  l->report.status = AD_ERROR_ARGUMENT;
  snprintf(l->report.message, sizeof l->report.message, "%s", text);
}

/* Adds a step whose path is prefix and "/" before path, where neither is empty. */
static bool add_step(ad_layer *l, const char *prefix, const char *path, step s) {
  const size_t size = strlen(prefix) + strlen(path) + 2;
  if (!memory_reserve(&l->allocator, &l->step, &l->room, l->steps + 1, sizeof *l->step)) return false;
  const bool slash = *prefix && *path;
  s.path = memory_get(&l->allocator, size - !slash);
  if (!s.path) return false;
  snprintf(s.path, size, "%s%s%s", prefix, slash ? "/" : "", path);
  l->step[l->steps++] = s;
  return true;
}

/* Adds all steps of other. */
static bool absorb(ad_layer *l, const char *prefix, const ad_layer *other) {
  for (size_t i = 0; i < other->steps; i++)
    if (!add_step(l, prefix, other->step[i].path, other->step[i])) return false;
  if (other->depth > l->depth) l->depth = other->depth;
  if (l->report.status == AD_OK) l->report = other->report;
  return true;
}

static void check_sizes(ad_layer *l, const ad_layer_spec *s) {
  if (s->kind == AD_LAYER_LINEAR && (s->n_in < 0 || s->n_out < 0)) refuse(l, "linear: a size is negative");
  if (s->kind == AD_LAYER_NORM && s->n_in < 1) refuse(l, "layer_norm: of nothing");
  if (s->kind == AD_LAYER_NORM && !(s->epsilon >= 0)) refuse(l, "layer_norm: epsilon is negative");
  if (s->kind == AD_LAYER_ACTIVATION && !s->f) refuse(l, "activation: no function");
  if (s->kind == AD_LAYER_DROPOUT && !(s->rate >= 0 && s->rate <= 1))
    refuse(l, "dropout: the rate is not in [0, 1]");
  if (s->kind != AD_LAYER_OWN) return;
  const ad_layer_own *own = s->own;
  const bool described = own && (own->parameters == 0 || (own->name && own->type && own->init));
  if (!described || !own->apply || own->parameters < 0)
    refuse(l, "own layer: no function, or no names, types and rules");
}

/* The layer as one step. */
static bool add_single(ad_layer *l, const ad_layer_spec *s) {
  const bool norm = s->kind == AD_LAYER_NORM;
  const step_kind kind = s->kind == AD_LAYER_LINEAR ? LINEAR : s->kind == AD_LAYER_ACTIVATION ? ACTIVATION
                       : s->kind == AD_LAYER_DROPOUT ? DROPOUT : norm ? NORM : OWN;
  const ad_init weight = norm ? ad_init_constant(1) : ad_init_glorot_uniform();
  const step one = {
    .kind = kind, .n_in = s->n_in, .n_out = s->n_out, .bias = !s->no_bias,
    .weight_init = s->weight ? *s->weight : weight, .bias_init = s->bias ? *s->bias : ad_init_zeros(),
    .epsilon = s->epsilon > 0 ? s->epsilon : 1e-5, .rate = s->rate, .f = s->f, .own = s->own };
  check_sizes(l, s);
  return add_step(l, "", "", one);
}

/* Layer i of the list is there before. */
static bool is_repeated(const ad_layer_spec *s, int i) {
  for (int k = 0; k < i; k++)
    if (s->layer[k] == s->layer[i]) return true;
  return false;
}

static bool add_sequence(ad_layer *l, const ad_layer_spec *s) {
  if (s->count > 0 && !s->layer) return false;
  for (int i = 0; i < s->count; i++) {
    char number[16];
    if (is_repeated(s, i)) refuse(l, "sequential: one layer is in it twice");
    snprintf(number, sizeof number, "%d", i);
    if (!s->layer[i] || !absorb(l, number, s->layer[i])) return false;
  }
  return true;
}

static bool add_residual(ad_layer *l, const ad_layer_spec *s) {
  const ad_layer *inside = s->layer && s->count == 1 ? s->layer[0] : NULL;
  if (!inside || !add_step(l, "", "", (step){ .kind = REMEMBER }) || !absorb(l, "", inside)) return false;
  l->depth++;
  return add_step(l, "", "", (step){ .kind = ADD });
}

static bool build(ad_layer *l, const ad_layer_spec *s) {
  switch (s->kind) {
    case AD_LAYER_SEQUENTIAL: return add_sequence(l, s);
    case AD_LAYER_RESIDUAL:   return add_residual(l, s);
    case AD_LAYER_LINEAR: case AD_LAYER_ACTIVATION: case AD_LAYER_DROPOUT: case AD_LAYER_NORM:
    case AD_LAYER_OWN:        return add_single(l, s);
  }
  refuse(l, "no such kind of layer");
  return true;
}

/* What is put in is no longer needed, and belonged to this one. */
static void free_inside(const ad_layer_spec *s) {
  const bool has_layers = s->kind == AD_LAYER_SEQUENTIAL || s->kind == AD_LAYER_RESIDUAL;
  for (int i = 0; has_layers && s->layer && i < s->count; i++)
    if (!is_repeated(s, i)) ad_layer_free(s->layer[i]);
}

ad_layer *ad_layer_new(const ad_allocator *allocator, const ad_layer_spec *spec) {
  const ad_allocator *a = allocator ? allocator : &memory_standard;
  if (!spec) return NULL;
  ad_layer *l = memory_get_zeroed(a, 1, sizeof *l);
  if (l) l->allocator = *a;
  const bool done = l && build(l, spec);
  free_inside(spec);
  if (done) return l;
  ad_layer_free(l);
  return NULL;
}

ad_layer *ad_linear(int64_t n_in, int64_t n_out) {
  return ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_LINEAR, .n_in = n_in, .n_out = n_out });
}

ad_layer *ad_activation(ad_var (*f)(ad_var x)) {
  return ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_ACTIVATION, .f = f });
}

ad_layer *ad_dropout_layer(double rate) {
  return ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_DROPOUT, .rate = rate });
}

ad_layer *ad_layer_norm_layer(int64_t n) {
  return ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_NORM, .n_in = n });
}

ad_layer *ad_sequential(int n, ad_layer *const layer[]) {
  return ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_SEQUENTIAL, .count = n, .layer = layer });
}

ad_layer *ad_residual(ad_layer *inside) {
  return ad_layer_new(NULL, &(ad_layer_spec){ .kind = AD_LAYER_RESIDUAL, .count = 1, .layer = &inside });
}

/* --- declaring ------------------------------------------------------------------------------------------ */

static int parameters_of(const step *s) {
  if (s->kind == OWN) return s->own ? s->own->parameters : 0;
  return s->kind == LINEAR || s->kind == NORM ? 1 + s->bias : 0;
}

int ad_layer_entries(const ad_layer *l) {
  int count = 0;
  for (size_t i = 0; l && l->report.status == AD_OK && i < l->steps; i++) count += parameters_of(&l->step[i]);
  return count;
}

/* Parameter k of a step: what it is called, its type and rule. */
static const char *describe(const step *s, int k, ad_dtype dtype, ad_type *type, ad_init *init) {
  if (s->kind == OWN) {
    *type = s->own->type[k];
    if (type->dtype >= AD_F32) type->dtype = dtype;
    *init = s->own->init[k];
    return s->own->name[k];
  }
  const int64_t n = s->kind == NORM ? s->n_in : s->n_out;
  *init = k == 0 ? s->weight_init : s->bias_init;
  *type = ad_type_make(dtype, 1, &n);
  if (k == 0 && s->kind == LINEAR) *type = ad_type_make(dtype, 2, (int64_t[]){ s->n_in, n });
  return k == 0 ? "weight" : "bias";
}

static ad_status declare_step(const step *s, ad_parameters *p, const char *prefix, ad_dtype dtype) {
  for (int k = 0; k < parameters_of(s); k++) {
    ad_type type;
    ad_init init;
    char name[256];
    const char *last = describe(s, k, dtype, &type, &init);
    const int length = snprintf(name, sizeof name, "%s%s%s%s%s", prefix, *prefix ? "/" : "", s->path,
                                *s->path ? "/" : "", last ? last : "");
    if (length >= (int)sizeof name)
      return parameters_fail(p, AD_ERROR_ARGUMENT, "\"%.100s..\": a name has 1 to 200 bytes", name);
    if (ad_parameters_add(p, name, type, init) < 0) return ad_parameters_status(p);
  }
  return AD_OK;
}

ad_status ad_layer_declare(const ad_layer *l, ad_parameters *p, const char *prefix, ad_dtype dtype) {
  if (!p) return AD_ERROR_ARGUMENT;
  if (!l) return parameters_fail(p, AD_ERROR_ARGUMENT, "no layer, or no memory for it");
  if (l->report.status != AD_OK) return parameters_fail(p, l->report.status, "%s", l->report.message);
  if (dtype != AD_F32 && dtype != AD_F64)
    return parameters_fail(p, AD_ERROR_DTYPE, "the parameters of a network are f32 or f64, not %s",
                           ad_dtype_name(dtype));
  for (size_t i = 0; i < l->steps; i++) {
    const ad_status status = declare_step(&l->step[i], p, prefix ? prefix : "", dtype);
    if (status != AD_OK) return status;
  }
  return AD_OK;
}

ad_parameters *ad_layer_parameters(const ad_layer *l, ad_dtype dtype, uint64_t seed) {
  ad_parameters *p = l ? ad_parameters_new_with(&l->allocator) : NULL;
  if (p && ad_layer_declare(l, p, NULL, dtype) == AD_OK) ad_parameters_initialise(p, seed);
  return p;
}

/* --- applying ------------------------------------------------------------------------------------------- */

typedef struct run {
  ad_tape *tape;
  const ad_var *parameter;          /* the next one */
  ad_var *kept;                     /* by REMEMBER, the last one on top */
  int count;
  const ad_layer_mode *mode;
} run;

/* The last axis of x has n elements, or the error is on the tape, with the layer's path. */
static bool takes(const step *s, const char *name, ad_var x, int64_t n, const run *r) {
  const ad_type type = ad_type_of(x);
  char text[192];
  if (type.rank > 0 && type.dim[type.rank - 1] == n) return true;
  if (type.rank >= 0)
    ad_fail(r->tape, AD_ERROR_SHAPE, "layer%s%s: %s takes (.., %lld), not %s", *s->path ? " " : "", s->path,
            name, (long long)n, ad_type_print(type, text, sizeof text));
  return false;
}

static ad_var apply_linear(const step *s, run *r, ad_var x) {
  if (!takes(s, "linear", x, s->n_in, r)) return ad_fail(r->tape, AD_ERROR_SHAPE, "linear");
  const ad_var y = ad_matmul(x, r->parameter[0]);
  return s->bias ? ad_add(y, r->parameter[1]) : y;
}

static ad_var apply_norm(const step *s, run *r, ad_var x) {
  if (!takes(s, "layer_norm", x, s->n_in, r)) return ad_fail(r->tape, AD_ERROR_SHAPE, "layer_norm");
  const ad_var y = ad_mul(ad_layer_norm(x, AD_AXES(-1), s->epsilon), r->parameter[0]);
  return s->bias ? ad_add(y, r->parameter[1]) : y;
}

/* Each dropout of a network has a key of its own: that of the mode with the number of the step. */
static ad_var apply_dropout(const step *s, run *r, size_t number, ad_var x) {
  if (!r->mode || !r->mode->training || s->rate == 0) return x;
  const ad_var key = r->mode->key;
  if (operand_is_literal(key) || ad_type_of(key).dtype != AD_I64)
    return ad_fail(r->tape, AD_ERROR_ARGUMENT, "layer%s%s: dropout needs a key of i64 where training",
                   *s->path ? " " : "", s->path);
  return ad_dropout(x, s->rate, ad_key_fold(key, (long long)number));
}

static ad_var apply_sum(const step *s, run *r, ad_var x) {
  const ad_var before = r->kept[--r->count];
  const ad_type type = ad_type_of(x), was = ad_type_of(before);
  char now[192], then[192];
  if (type.rank < 0 || was.rank < 0 || ad_type_equal(type, was)) return ad_add(before, x);
  return ad_fail(r->tape, AD_ERROR_SHAPE, "layer%s%s: residual: %s became %s", *s->path ? " " : "", s->path,
                 ad_type_print(was, then, sizeof then), ad_type_print(type, now, sizeof now));
}

static ad_var apply_step(const step *s, run *r, size_t number, ad_var x) {
  switch (s->kind) {
    case LINEAR:     return apply_linear(s, r, x);
    case ACTIVATION: return s->f(x);
    case DROPOUT:    return apply_dropout(s, r, number, x);
    case NORM:       return apply_norm(s, r, x);
    case OWN:        return s->own->apply(s->own->context, r->parameter, x, r->mode);
    case ADD:        return apply_sum(s, r, x);
    case REMEMBER:   break;
  }
  return r->kept[r->count++] = x;
}

ad_var ad_layer_apply(const ad_layer *l, const ad_var parameters[], ad_var x, const ad_layer_mode *mode) {
  enum { FEW = 16 };
  ad_var few[FEW];
  const int entries = ad_layer_entries(l);
  ad_tape *tape = ad_tape_of(1, &x);
  run r = { tape ? tape : ad_tape_of(entries, parameters), parameters, few, 0, mode };
  if (!l) return ad_fail(r.tape, AD_ERROR_ARGUMENT, "no layer, or no memory for it");
  if (l->report.status != AD_OK) return ad_fail(r.tape, l->report.status, "%s", l->report.message);
  if (entries && !parameters) return ad_fail(r.tape, AD_ERROR_ARGUMENT, "layers: no parameters");
  const size_t bytes = (size_t)l->depth*sizeof(ad_var);
  if (l->depth > FEW) r.kept = memory_get(&l->allocator, bytes);
  if (!r.kept) return ad_fail(r.tape, AD_ERROR_MEMORY, "layers: out of memory");
  for (size_t i = 0; i < l->steps; i++) {
    x = apply_step(&l->step[i], &r, i, x);
    r.parameter += parameters_of(&l->step[i]);
  }
  if (l->depth > FEW) memory_release(&l->allocator, r.kept, bytes);
  return x;
}
