/* elementwise.c -- the rows of elementwise.def as numbers and as text. */
#include "primitives/elementwise.h"

#include <math.h>

/* helpers.h and the rows, first in float and then in double. */
#define C(k) ((REAL)k)
#define REAL float
#define MATH(name) name##f
#define HELPER(name) name##_in_f32
#include "primitives/helpers.h"
#undef REAL
#undef MATH
#undef HELPER
#define REAL double
#define MATH(name) name
#define HELPER(name) name##_in_f64
#include "primitives/helpers.h"
#include "primitives/row_names.h"
#include "primitives/scalar_tanh.h"

#define EVALUATE(function, value) \
  static double function(double x, double y, double w, double a) { \
    (void)x, (void)y, (void)w, (void)a; \
    return (double)(value); \
  }
#define UNARY(name, kind, traits, lo, hi, value, ...)              EVALUATE(name##_evaluate, value)
#define UNARY_ATTRIBUTE(name, kind, traits, at, lo, hi, value, ...) EVALUATE(name##_evaluate, value)
#define BINARY(name, kind, traits, lx, hx, ly, hy, value, ...)     EVALUATE(name##_evaluate, value)
#define TERNARY(name, kind, traits, lx, hx, ly, hy, lw, hw, value, ...) EVALUATE(name##_evaluate, value)
#include "primitives/elementwise.def"

/* NONE sets a flag on its way to being 0. So it needs no number of its own while the rule is computed,
 * and every other outcome, normalised by + 0.0, is told from the -0.0 that stands for it afterwards. */
#define NONE (none = true, 0.0)
#define RULE(k, rule) { bool none = false; const double c = (double)(rule); d[k] = none ? -0.0 : c + 0.0; }
#define PROPAGATE(function, rules) \
  static void function(double d[3], double x, double y, double w, double z, double g, double a) { \
    (void)x, (void)y, (void)w, (void)z, (void)g, (void)a; \
    d[1] = d[2] = -0.0; \
    rules \
  }
#define UNARY(name, kind, traits, lo, hi, value, by_x, doc) PROPAGATE(name##_propagate, RULE(0, by_x))
#define UNARY_ATTRIBUTE(name, kind, traits, at, lo, hi, value, by_x, doc) \
  PROPAGATE(name##_propagate, RULE(0, by_x))
#define BINARY(name, kind, traits, lx, hx, ly, hy, value, by_x, by_y, doc) \
  PROPAGATE(name##_propagate, RULE(0, by_x) RULE(1, by_y))
#define TERNARY(name, kind, traits, lx, hx, ly, hy, lw, hw, value, by_x, by_y, by_w, doc) \
  PROPAGATE(name##_propagate, RULE(0, by_x) RULE(1, by_y) RULE(2, by_w))
#include "primitives/elementwise.def"

#undef REAL
#undef MATH
#undef HELPER
#define REAL float
#define MATH(name) name##f
#define HELPER(name) name##_in_f32
#undef tanh
#define tanh MATH(tanh)
#define EVALUATE_F32(function, value) \
  static float function(float x, float y, float w, double attribute) { \
    const float a = (float)attribute; \
    (void)x, (void)y, (void)w, (void)a; \
    return (float)(value); \
  }
#define UNARY(name, kind, traits, lo, hi, value, ...)              EVALUATE_F32(name##_evaluate_f32, value)
#define UNARY_ATTRIBUTE(name, kind, traits, at, lo, hi, value, ...) EVALUATE_F32(name##_evaluate_f32, value)
#define BINARY(name, kind, traits, lx, hx, ly, hy, value, ...)     EVALUATE_F32(name##_evaluate_f32, value)
#define TERNARY(name, kind, traits, lx, hx, ly, hy, lw, hw, value, ...) \
  EVALUATE_F32(name##_evaluate_f32, value)
#include "primitives/elementwise.def"

const elementwise_row elementwise_rows[ROW_COUNT] = {
#define UNARY(id, class, trait, low, high, val, by_x, docs) \
  [ROW_##id] = { .name = #id, .doc = docs, .arity = 1, .kind = CLASS_##class, .traits = trait, \
                 .lo = { low }, .hi = { high }, .value = #val, .rule = { #by_x }, \
                 .evaluate = id##_evaluate, .evaluate_f32 = id##_evaluate_f32, .propagate = id##_propagate },
#define UNARY_ATTRIBUTE(id, class, trait, at, low, high, val, by_x, docs) \
  [ROW_##id] = { .name = #id, .doc = docs, .arity = 1, .kind = CLASS_##class, .traits = trait, \
                 .attributed = true, .attribute = at, \
                 .lo = { low }, .hi = { high }, .value = #val, .rule = { #by_x }, \
                 .evaluate = id##_evaluate, .evaluate_f32 = id##_evaluate_f32, .propagate = id##_propagate },
#define BINARY(id, class, trait, lx, hx, ly, hy, val, by_x, by_y, docs) \
  [ROW_##id] = { .name = #id, .doc = docs, .arity = 2, .kind = CLASS_##class, .traits = trait, \
                 .lo = { lx, ly }, .hi = { hx, hy }, .value = #val, .rule = { #by_x, #by_y }, \
                 .evaluate = id##_evaluate, .evaluate_f32 = id##_evaluate_f32, .propagate = id##_propagate },
#define TERNARY(id, class, trait, lx, hx, ly, hy, lw, hw, val, by_x, by_y, by_w, docs) \
  [ROW_##id] = { .name = #id, .doc = docs, .arity = 3, .kind = CLASS_##class, .traits = trait, \
                 .lo = { lx, ly, lw }, .hi = { hx, hy, hw }, .value = #val, .rule = { #by_x, #by_y, #by_w }, \
                 .evaluate = id##_evaluate, .evaluate_f32 = id##_evaluate_f32, .propagate = id##_propagate },
#include "primitives/elementwise.def"
};
