/* rows.c -- the rows of elementwise.def, the functions of helpers.h and conversions, as C expressions.
 *
 * Both are read as text, word by word: names of operands, of <math.h>'s functions and of helpers are
 * replaced, and so are the words REAL, C, MATH and HELPER, which those texts use to serve several types.
 */
#include "write/writer.h"
#include "primitives/library.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- the helper functions ------------------------------------------------------------------------------- */

static const char *const helper_line[] = {
#include "write/helpers_text.inc"
  ""
};
enum { HELPER_LINES = sizeof helper_line/sizeof *helper_line };

/* What integers need beside: as helpers.h, with UNSIGNED for the unsigned type of REAL. */
static const char *const integer_line[] = {
  "/* x/0 is 0; what overflows wraps. */",
  "static inline REAL HELPER(quotient)(REAL x, REAL y) {",
  "  return y == 0 ? 0 : y == -1 ? (REAL)(0 - (UNSIGNED)x) : (REAL)(x/y);",
  "}",
  "",
  "static inline REAL HELPER(remainder)(REAL x, REAL y) { return y == 0 || y == -1 ? 0 : (REAL)(x%y); }",
  "",
  "/* x^n; n < 0 truncates the quotient 1/x^-n. */",
  "static inline REAL HELPER(power)(REAL x, REAL n) {",
  "  UNSIGNED z = 1, p = (UNSIGNED)x;",
  "  if (n < 0) return x == 1 ? 1 : x == -1 ? ((n & 1) ? -1 : 1) : 0;",
  "  for (; n; n >>= 1, p *= p)",
  "    if (n & 1) z *= p;",
  "  return (REAL)z;",
  "}",
  ""
};
enum { INTEGER_LINES = sizeof integer_line/sizeof *integer_line };

/* Conversions of floats: they truncate and saturate, and nan gives 0. */
static const char *const cast_line[] = {
  "static inline int32_t HELPER(to_i32)(REAL x) {",
  ("  return x >= (REAL)2147483648.0 ? INT32_MAX : x >= -(REAL)2147483648.0 ? (int32_t)x"
    " : x < 0 ? INT32_MIN : 0;"),
  "}",
  "",
  "static inline int64_t HELPER(to_i64)(REAL x) {",
  "  return x >= (REAL)9223372036854775808.0 ? INT64_MAX",
  "         : x >= -(REAL)9223372036854775808.0 ? (int64_t)x : x < 0 ? INT64_MIN : 0;",
  "}",
  ""
};
enum { CAST_LINES = sizeof cast_line/sizeof *cast_line };

typedef struct lines { const char *const *line; int count; } lines;

static const lines sources[] = {
  { helper_line, HELPER_LINES }, { integer_line, INTEGER_LINES }, { cast_line, CAST_LINES }
};

/* The lines [*from, *to) of the paragraph that defines a function; which has no indentation but its body. */
static bool find_helper(const lines *s, const char *name, size_t length, int *from, int *to) {
  for (int i = 0; i < s->count; i++) {
    const char *at = strstr(s->line[i], "HELPER(");
    if (!at || s->line[i][0] == ' ' || strncmp(at + 7, name, length) || at[7 + length] != ')') continue;
    for (*from = i; *from > 0 && s->line[*from - 1][0]; ) --*from;
    for (*to = i; *to < s->count && s->line[*to][0]; ) ++*to;
    return true;
  }
  return false;
}

static const lines *find_source(const char *name, size_t length, int *from, int *to) {
  for (size_t k = 0; k < sizeof sources/sizeof *sources; k++)
    if (find_helper(&sources[k], name, length, from, to)) return &sources[k];
  return NULL;
}

static bool is_helper(const char *name, size_t length) {
  int from, to;
  return find_source(name, length, &from, &to) != NULL;
}

/* --- words ---------------------------------------------------------------------------------------------- */

typedef struct words {
  ad_writer *w;
  text *to;
  ad_dtype dtype;
  const char *const *x;             /* operands, NULL: the names stay */
  const char *attribute;
} words;

static const char *suffix(ad_dtype dtype) {
  static const char *const of[AD_DTYPES] = { "_b", "_i32", "_i64", "_f32", "" };
  return of[dtype];
}

/* exp for native code, in line: two thirds of the time of libmvec's in long loops, half in short ones, where
 * no register has to be saved around a call. x = n log 2 + r with |r| < 0.35, and exp(r) = 1 + r + r^2 q(r)
 * with q of degree 9, interpolated at the zeros of a Chebyshev polynomial, to 1.6e-17. 2^n is made of its
 * bits, 2^64 nearer to 1, so that results may be subnormal and infinite. Within 1.2 units of the last place,
 * without fused operations too. */
static const char exp_text[] =
  "static ADIT_INLINE REAL HELPER(exp_in)(REAL x) {\n"
  "  const REAL n = MATH(rint)(x*0x1.71547652b82fep0), t = n + 0x1.8p52;\n"
  "  const REAL r = ADIT_FMA(n, -0x1.473de6af278edp-34, ADIT_FMA(n, -0x1.62e42fefp-1, x));\n"
  "  const REAL r2 = r*r, r4 = r2*r2;\n"
  "  const REAL a = ADIT_FMA(0x1.5555555555556p-3, r, 0.5);\n"
  "  const REAL b = ADIT_FMA(0x1.11111111109b3p-7, r, 0x1.5555555553d63p-5);\n"
  "  const REAL c = ADIT_FMA(0x1.a01a01a7c41d5p-13, r, 0x1.6c16c1788bd9p-10);\n"
  "  const REAL d = ADIT_FMA(0x1.71de0dae63bb3p-19, r, 0x1.a019b90d2ae7ap-16);\n"
  "  const REAL e = ADIT_FMA(0x1.af38a9b0ec855p-26, r, 0x1.289185613a3d6p-22);\n"
  "  const REAL q = ADIT_FMA(r4, ADIT_FMA(r4, e, ADIT_FMA(r2, d, c)), ADIT_FMA(r2, b, a));\n"
  "  const REAL z = (1 + ADIT_FMA(r2, q, r))*(x < 0 ? 0x1p-64 : 0x1p64);\n"
  "  int64_t bits;\n"
  "  REAL power;\n"
  "  __builtin_memcpy(&bits, &t, sizeof bits);\n"
  "  bits = (int64_t)((uint64_t)(bits + (x < 0 ? 1087 : 959)) << 52);\n"
  "  __builtin_memcpy(&power, &bits, sizeof power);\n"
  "  const REAL y = x < -746 ? 0 : z*power;\n"
  "  return x > 710 ? (REAL)INFINITY : y;\n"
  "}\n";

/* tanh for native code: a third of the time of libmvec's. Near 0 the rational approximation of Cephes
 * (S. L. Moshier, tanh.c), a + a s p/q with s = a^2; else 1 - 2 e/(1 + e) with e = exp(-2 a) below 0.29,
 * whose errors shrink. One reciprocal does for both. Within 2 units of the last place where exp is within 1.
 *
 * Its slope is 1 - tanh(x)^2 near 0, where that does not cancel, and 4 e/(1 + e)^2 elsewhere: exponential and
 * reciprocal are those of tanh(x), which a loop has anyway, and so it costs a few products more. In the same
 * way sigmoid(x) and sigmoid(-x), whose product is the slope of either, share theirs. */
#define TANH_PARTS(EXP) \
  "  const REAL e = " EXP "(-2*MATH(fabs)(x)), a = MATH(fabs)(x), s = x*x;\n" \
  "  const REAL q = C(4.84406305325125486048e3) + s*(C(2.23548839060100448583e3)" \
    " + s*(C(1.12811678491631932402e2) + s));\n" \
  "  const int small = a < C(0.625);\n" \
  "  const REAL r = 1/(small ? q : 1 + e);\n"
#define TANH(NAME, EXP) \
  " REAL HELPER(" NAME ")(REAL x) {\n" TANH_PARTS(EXP) \
  "  const REAL p = -C(1.61468768441708447952e3) - s*(C(9.92877231001918586564e1)" \
    " + s*C(9.64399179425052238628e-1));\n" \
  "  return MATH(copysign)((small ? a : 1) + (small ? a*s*p : -2*e)*r, x);\n}\n"
#define SECH2(NAME, TANH, EXP) \
  " REAL HELPER(" NAME ")(REAL x) {\n" TANH_PARTS(EXP) \
  "  const REAL z = HELPER(" TANH ")(x);\n" \
  "  return small ? 1 - z*z : 4*e*(r*r);\n}\n"
#define SIGMOID(NAME, EXP) \
  " REAL HELPER(" NAME ")(REAL x) {\n" \
  "  const REAL e = " EXP "(-MATH(fabs)(x)), r = 1/(1 + e);\n" \
  "  return x < 0 ? e*r : r;\n}\n"

/* Each with a call of exp, for compilers to put in line or not, and all in line, for loops of few statements:
 * one that is not in line keeps a loop from becoming vector code. */
/* after: one that has to stand before it. */
typedef struct own_text { const char *name, *own, *text, *after; } own_text;

static const own_text called_texts[] = {
  { "tanh", "tanh", "static inline" TANH("tanh", "MATH(exp)"), NULL },
  { "sech2", "sech2", "static inline" SECH2("sech2", "tanh", "MATH(exp)"), "tanh" },
  { "sigmoid", "sigmoid", "static inline" SIGMOID("sigmoid", "MATH(exp)"), NULL },
  { NULL, NULL, NULL, NULL }
}, loop_texts[] = {
  { "exp", "exp_in", exp_text, NULL },
  { "tanh", "tanh_in", "static ADIT_INLINE" TANH("tanh_in", "HELPER(exp_in)"), "exp" },
  { "sech2", "sech2_in", "static ADIT_INLINE" SECH2("sech2_in", "tanh_in", "HELPER(exp_in)"), "tanh" },
  { "sigmoid", "sigmoid_in", "static ADIT_INLINE" SIGMOID("sigmoid_in", "HELPER(exp_in)"), "exp" },
  { NULL, NULL, NULL, NULL }
};

static bool is_word(const char *name, size_t length, const char *word);

/* Native code's own function of doubles of that name, or NULL. */
static const char *native_function(ad_writer *w, ad_dtype dtype, const char *name, size_t length) {
  if (!w->native || dtype != AD_F64) return NULL;
  const own_text *t = w->in_loop ? loop_texts : called_texts;
  while (t->name && !is_word(name, length, t->name)) t++;
  if (!t->name) return NULL;
  if (t->after) native_function(w, dtype, t->after, strlen(t->after));
  return ad_write_routine(w, dtype, t->own, t->text);
}

static void put_math(const words *p, const char *name, size_t length) {
  const char *native = native_function(p->w, p->dtype, name, length);
  if (native) text_put(p->to, "%s", native);
  else if (p->dtype == AD_F32) text_put(p->to, "%.*sf", (int)length, name);
  else text_put(p->to, "M(%.*s)", (int)length, name);
}

static bool is_word(const char *name, size_t length, const char *word) {
  return strlen(word) == length && !strncmp(name, word, length);
}

/* The inner part of MACRO(inner), and the length of all of it. */
static size_t macro(const char *at, size_t word, const char **inner, size_t *length) {
  *inner = at + word + 1;
  *length = strcspn(*inner, ")");
  return word + *length + 2;
}

/* One of the words that texts for several types have; 0: none of them. */
static size_t put_type_word(const words *p, const char *at, size_t length) {
  const char *inner;
  size_t n, all;
  if (is_word(at, length, "REAL")) text_put(p->to, "%s", write_type(p->dtype));
  else if (is_word(at, length, "UNSIGNED")) text_put(p->to, p->dtype == AD_I32 ? "uint32_t" : "uint64_t");
  else {
    if (at[length] != '(') return 0;
    all = macro(at, length, &inner, &n);
    if (is_word(at, length, "C")) text_put(p->to, "(%s)%.*s", write_type(p->dtype), (int)n, inner);
    else if (is_word(at, length, "MATH")) put_math(p, inner, n);
    else if (is_word(at, length, "HELPER")) text_put(p->to, "%s", write_helper(p->w, p->dtype, inner, n));
    else return 0;
    return all;
  }
  return length;
}

/* A row's names of functions are other rows', which are helpers or functions of <math.h>. */
static void put_call_name(const words *p, const char *at, size_t length) {
  if (is_word(at, length, "fmax") || is_word(at, length, "fmin")) at++, length--;
  if (is_helper(at, length)) text_put(p->to, "%s", write_helper(p->w, p->dtype, at, length));
  else put_math(p, at, length);
}

static void put_word(const words *p, const char *at, size_t length) {
  if (!p->x) text_put_bytes(p->to, at, length);
  else if (at[length] == '(') put_call_name(p, at, length);
  else if (is_word(at, length, "x")) text_put(p->to, "%s", p->x[0]);
  else if (is_word(at, length, "y")) text_put(p->to, "%s", p->x[1]);
  else if (is_word(at, length, "w")) text_put(p->to, "%s", p->x[2]);
  else if (is_word(at, length, "a")) text_put(p->to, "%s", p->attribute);
  else text_put_bytes(p->to, at, length);
}

static void put_words(const words *p, const char *at) {
  while (*at) {
    size_t length = 0;
    if (isalpha((unsigned char)*at) || *at == '_') {
      while (isalnum((unsigned char)at[length]) || at[length] == '_') length++;
      const size_t all = put_type_word(p, at, length);
      if (!all) put_word(p, at, length);
      at += all ? all : length;
      continue;
    }
    /* a number, with what is part of it, or one other character */
    while (isalnum((unsigned char)at[length])
           || (at[length] == '.' && isdigit((unsigned char)at[length + 1])))
      length++;
    if (!length) length = 1;
    text_put_bytes(p->to, at, length);
    at += length;
  }
}

/* All functions of a paragraph are written together. */
static void mark_others(ad_writer *w, ad_dtype dtype, const lines *s, int from, int to) {
  for (int i = from; i < to; i++) {
    const char *at = strstr(s->line[i], "HELPER(");
    if (!at || s->line[i][0] == ' ') continue;
    writer_has(w,
               writer_text(w, "%.40s_%.*s%s", w->prefix, (int)strcspn(at + 7, ")"), at + 7, suffix(dtype)));
  }
}

/* Functions of doubles with an exponential that others in the loop share: all of them are in line then, with
 * native code's own exp. */
static bool shares_exp(const ad_writer *w, ad_dtype dtype, const char *name, size_t length) {
  static const char *const names[] = { "softplus", "logaddexp", "share", "silu", "silu_slope", "gelu_slope" };
  bool found = false;
  for (size_t k = 0; k < sizeof names/sizeof *names; k++) found |= is_word(name, length, names[k]);
  return found && w->native && w->in_loop && dtype == AD_F64;
}

static void put_helper(const words *p, const char *line, bool shares) {
  static const char usual[] = "static inline ";
  const bool first = shares && !strncmp(line, usual, sizeof usual - 1);
  if (first) text_put(p->to, "static ADIT_INLINE ");
  put_words(p, first ? line + sizeof usual - 1 : line);
  text_put(p->to, "\n");
}

const char *write_helper(ad_writer *w, ad_dtype dtype, const char *name, size_t length) {
  const char *native = native_function(w, dtype, name, length);
  if (native) return native;
  int from, to;
  char own[WRITE_NAME];
  const bool in_loop = w->in_loop, shares = shares_exp(w, dtype, name, length);
  const lines *s = find_source(name, length, &from, &to);
  snprintf(own, sizeof own, "%.40s_%.*s%s", w->prefix, (int)length, name, shares ? "_in" : suffix(dtype));
  if (s && !writer_has(w, own)) {
    text t = text_on(&w->allocator);
    if (!shares) mark_others(w, dtype, s, from, to);
    const words p = { w, &t, dtype, NULL, NULL };
    w->in_loop = shares;
    for (int i = from; i < to; i++) put_helper(&p, s->line[i], shares);
    w->in_loop = in_loop;
    /* those it calls have been written by now */
    text_put(&w->routines, "%s\n", text_of(&t));
    if (t.failed) w->routines.failed = true;
    written_free(&t);
  }
  return writer_text(w, "%s", own);
}

const char *ad_write_routine(ad_writer *w, ad_dtype dtype, const char *name, const char *lines_of_text) {
  char own[WRITE_NAME];
  snprintf(own, sizeof own, "%.40s_%.40s%s", w->prefix, name, suffix(dtype));
  if (!writer_has(w, own)) {
    text t = text_on(&w->allocator);
    const words p = { w, &t, dtype, NULL, NULL };
    put_words(&p, lines_of_text);
    /* those it calls have been written by now */
    text_put(&w->routines, "%s\n", text_of(&t));
    if (t.failed) w->routines.failed = true;
    written_free(&t);
  }
  return writer_text(w, "%s", own);
}

/* --- rows ----------------------------------------------------------------------------------------------- */

/* What differs from the row's text for integers: see run/kernels/kernels_integer.inc. */
static const char *integer_text(const elementwise_row *row) {
  static const struct { elementwise_id id; const char *value; } own[] = {
    { ROW_add, "(REAL)((UNSIGNED)x + (UNSIGNED)y)" }, { ROW_sub, "(REAL)((UNSIGNED)x - (UNSIGNED)y)" },
    { ROW_mul, "(REAL)((UNSIGNED)x*(UNSIGNED)y)" },   { ROW_neg, "(REAL)(0 - (UNSIGNED)x)" },
    { ROW_abs, "(REAL)(x < 0 ? 0 - (UNSIGNED)x : (UNSIGNED)x)" },
    { ROW_square, "(REAL)((UNSIGNED)x*(UNSIGNED)x)" }, { ROW_div, "HELPER(quotient)(x, y)" },
    { ROW_fmod, "HELPER(remainder)(x, y)" }, { ROW_powi, "HELPER(power)(x, a)" },
    { ROW_max, "x > y ? x : y" }, { ROW_min, "x < y ? x : y" }, { ROW_floor, "x" }, { ROW_ceil, "x" },
    { ROW_round, "x" }, { ROW_trunc, "x" }
  };
  for (size_t k = 0; k < sizeof own/sizeof *own; k++)
    if (row == &elementwise_rows[own[k].id]) return own[k].value;
  return row->value;
}

/* x^n for a small whole n, as a function of its own: the products of helpers.h's powi without the loop. */
static void put_power(ad_writer *w, text *to, ad_dtype dtype, int n, const char *x) {
  char name[WRITE_NAME];
  const int m = n < 0 ? -n : n;
  snprintf(name, sizeof name, "%.40s_%s%d%s", w->prefix, n < 0 ? "over_pow" : "pow", m, suffix(dtype));
  if (!writer_has(w, name)) {
    text *r = &w->routines;
    const char *type = write_type(dtype), *times = "";
    text_put(r, "static inline %s %s(%s x1) {\n", type, name, type);
    for (int k = 2; k <= m; k *= 2) text_put(r, "  const %s x%d = x%d*x%d;\n", type, k, k/2, k/2);
    text_put(r, n < 0 ? "  return 1/(" : "  return ");
    for (int k = 1; k <= m; k *= 2)
      if (m & k) {
        text_put(r, "%sx%d", times, k);
        times = "*";
      }
    text_put(r, n < 0 ? ");\n}\n\n" : ";\n}\n\n");
  }
  text_put(to, "%s(%s)", name, x);
}

void put_expression(ad_writer *w, text *to, const char *expression, ad_dtype dtype, const char *const x[],
                    const char *attribute) {
  const words p = { w, to, dtype, x, attribute };
  put_words(&p, expression);
}

void put_row(ad_writer *w, text *to, const elementwise_row *row, ad_dtype dtype, const char *const x[],
             double attribute) {
  const bool integer = dtype < AD_F32;
  text a = text_on(&w->allocator);
  if (row == &elementwise_rows[ROW_powi] && !integer && attribute == rint(attribute) && fabs(attribute) <= 64
      && attribute != 0) {
    put_power(w, to, dtype, (int)attribute, x[0]);
    return;
  }
  if (row->attributed && integer) text_put(&a, "%lld", (long long)attribute);
  else if (row->attributed) {
    const float single = (float)attribute;
    /* an order of polygamma is a double whatever the operand is */
    put_literal(&a, dtype, dtype == AD_F32 ? (const void *)&single : &attribute, true);
  }
  put_expression(w, to, integer ? integer_text(row) : row->value, dtype, x, text_of(&a));
  written_free(&a);
}

void put_cast(ad_writer *w, text *to, ad_dtype from, ad_dtype type, const char *x) {
  if (from == type) text_put(to, "%s", x);
  else if (type == AD_BOOL) text_put(to, "%s != 0", x);
  else if (from >= AD_F32 && type < AD_F32)
    text_put(to, "%s(%s)", write_helper(w, from, type == AD_I32 ? "to_i32" : "to_i64", 6), x);
  else text_put(to, "(%s)%s", write_type(type), x);
}
