/* initialise.c -- the values that parameters begin with. */
#include "adit/random.h"
#include "learn/parameters.h"

#include <math.h>

/* Inputs of one output and outputs of one input of an array (.., n, m), with the axes before as a field. */
typedef struct fans { double in, out; } fans;

static fans fans_of(ad_type type) {
  double field = 1;
  if (type.rank == 0) return (fans){ 1, 1 };
  if (type.rank == 1) return (fans){ (double)type.dim[0], (double)type.dim[0] };
  for (int d = 0; d < type.rank - 2; d++) field *= (double)type.dim[d];
  return (fans){ field*(double)type.dim[type.rank - 2], field*(double)type.dim[type.rank - 1] };
}

/* The rule as a plain one: constant, uniform or normal. A uniform variable on [-r, r) has variance r^2/3. */
static ad_init plain(ad_init init, ad_type type) {
  const fans f = fans_of(type);
  const double by_both = sqrt(init.a/((f.in + f.out)/2)), by_in = sqrt(init.a/f.in), r = sqrt(3);
  switch (init.kind) {
    case AD_INIT_GLOROT_UNIFORM: return ad_init_uniform(-r*by_both, r*by_both);
    case AD_INIT_GLOROT_NORMAL:  return ad_init_normal(0, by_both);
    case AD_INIT_HE_UNIFORM:     return ad_init_uniform(-r*by_in, r*by_in);
    case AD_INIT_HE_NORMAL:      return ad_init_normal(0, by_in);
    default:                     return init;
  }
}

static void set_element(ad_dtype dtype, void *data, int64_t i, double value) {
  switch (dtype) {
    case AD_BOOL: ((uint8_t *)data)[i] = value != 0; break;
    case AD_I32:  ((int32_t *)data)[i] = (int32_t)value; break;
    case AD_I64:  ((int64_t *)data)[i] = (int64_t)value; break;
    case AD_F32:  ((float *)data)[i] = (float)value; break;
    default:      ((double *)data)[i] = value;
  }
}

/* x -> offset + scale x; in f32 rounded once. */
static void scale_all(ad_dtype dtype, void *data, int64_t count, double offset, double scale) {
  float *narrow = data;
  double *wide = data;
  for (int64_t i = 0; i < count; i++) {
    if (dtype == AD_F32) narrow[i] = (float)(offset + scale*(double)narrow[i]);
    else wide[i] = offset + scale*wide[i];
  }
}

/* Names tell entries apart: FNV-1a (Fowler, Noll, Vo), 64 bits. */
static uint64_t hash(const char *name) {
  uint64_t h = 0xCBF29CE484222325u;
  for (; *name; name++) h = (h ^ (unsigned char)*name)*0x100000001B3u;
  return h;
}

static ad_status fill(ad_init init, ad_type type, uint64_t seed, void *data) {
  const int64_t count = ad_type_count(type);
  const ad_init rule = plain(init, type);
  ad_status status = AD_OK;
  if (count == 0) return AD_OK;
  if (rule.kind == AD_INIT_CONSTANT) {
    for (int64_t i = 0; i < count; i++) set_element(type.dtype, data, i, rule.a);
  } else if (rule.kind == AD_INIT_UNIFORM) {
    status = ad_random_fill_uniform(seed, type.dtype, count, data);
    if (status == AD_OK) scale_all(type.dtype, data, count, rule.a, rule.b - rule.a);
  } else {
    status = ad_random_fill_normal(seed, type.dtype, count, data);
    if (status == AD_OK) scale_all(type.dtype, data, count, rule.a, rule.b);
  }
  return status;
}

ad_status ad_parameters_initialise(ad_parameters *p, uint64_t seed) {
  if (!p) return AD_ERROR_ARGUMENT;
  for (int i = 0; i < p->entries; i++) {
    const char *name = p->entry[i].name;
    const ad_status status = fill(p->entry[i].init, p->type[i], ad_seed_fold(seed, hash(name)), p->data[i]);
    if (status != AD_OK)
      return parameters_fail(p, status, "\"%.100s\": %s", name, ad_status_sentence(status));
  }
  return AD_OK;
}
