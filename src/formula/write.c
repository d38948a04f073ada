/* write.c -- a sheet as text or LaTeX: one template for each row, parentheses only where precedence needs
 * them.
 *
 * A template is text with $kp, operand k written so that it binds at least as tight as p, and has a
 * precedence of its own. An explicit stack takes the place of recursion, so depth costs memory only.
 */
#include "formula/notation.h"
#include "primitives/expression.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Precedences, loose to tight. A leading minus counts as a sum. */
enum { CHOICE = 0, SUM = 5, PRODUCT = 6, UNARY = 7, POWER = 8, PRIMARY = 9 };

typedef struct template { const char *name; int precedence; const char *pattern; } template;

static const template text_templates[] = {
  { "add", SUM, "$05 + $15" },            { "sub", SUM, "$05 - $16" },
  { "mul", PRODUCT, "$06*$16" },          { "div", PRODUCT, "$06/$17" },
  { "matmul", PRODUCT, "$06 @ $17" },     { "neg", SUM, "-$06" },
  { "pow", POWER, "$09^$17" },            { "powi", POWER, "$19^$07" },
  { "square", POWER, "$09^2" },           { "reciprocal", PRODUCT, "1/$07" },
  { "select", CHOICE, "$01 ? $11 : $20" }, { "logical_or", 1, "$01 || $12" },
  { "logical_and", 2, "$02 && $13" },     { "logical_not", UNARY, "!$07" },
  { "equal", 3, "$04 == $14" },           { "not_equal", 3, "$04 != $14" },
  { "less", 4, "$05 < $15" },             { "less_equal", 4, "$05 <= $15" },
  { "greater", 4, "$05 > $15" },          { "greater_equal", 4, "$05 >= $15" },
};

static const template latex_templates[] = {
  { "add", SUM, "$05 + $15" },            { "sub", SUM, "$05 - $16" },
  { "mul", PRODUCT, "$06*$16" },          { "div", UNARY, "\\frac{$00}{$10}" },
  { "matmul", PRODUCT, "$06 \\, $17" },   { "neg", SUM, "-$06" },
  { "pow", POWER, "$09^{$10}" },          { "powi", POWER, "$19^{$00}" },
  { "square", POWER, "$09^{2}" },         { "reciprocal", UNARY, "\\frac{1}{$00}" },
  { "sqrt", PRIMARY, "\\sqrt{$00}" },     { "rsqrt", UNARY, "\\frac{1}{\\sqrt{$00}}" },
  { "cbrt", PRIMARY, "\\sqrt[3]{$00}" },  { "hypot", PRIMARY, "\\sqrt{$09^{2} + $19^{2}}" },
  { "exp", POWER, "e^{$00}" },            { "exp2", POWER, "2^{$00}" },
  { "expm1", SUM, "e^{$00} - 1" },        { "log1p", POWER, "\\ln\\left(1 + $05\\right)" },
  { "abs", PRIMARY, "\\left|$00\\right|" }, { "norm", PRIMARY, "\\left\\|$00\\right\\|" },
  { "floor", PRIMARY, "\\left\\lfloor $00\\right\\rfloor" },
  { "ceil", PRIMARY, "\\left\\lceil $00\\right\\rceil" },
  { "fma", SUM, "$06 \\, $16 + $25" },
  { "select", CHOICE, "" },
  { "logical_or", 1, "$01 \\lor $12" },   { "logical_and", 2, "$02 \\land $13" },
  { "logical_not", UNARY, "\\lnot $07" }, { "equal", 3, "$04 = $14" },
  { "not_equal", 3, "$04 \\ne $14" },     { "less", 4, "$05 < $15" },
  { "less_equal", 4, "$05 \\le $15" },    { "greater", 4, "$05 > $15" },
  { "greater_equal", 4, "$05 \\ge $15" }, { "xlogy", PRODUCT, "$06 \\ln\\left($10\\right)" },
  { "lgamma", POWER, "\\ln\\left|\\Gamma\\left($00\\right)\\right|" },
  { "polygamma", POWER, "\\psi^{\\left($00\\right)}\\left($10\\right)" },
  { "trigamma", POWER, "\\psi^{\\left(1\\right)}\\left($00\\right)" },
};

/* Functions whose name in LaTeX is not \operatorname{name}. */
static const struct { const char *name, *latex; } latex_functions[] = {
  { "sin", "\\sin" }, { "cos", "\\cos" }, { "tan", "\\tan" }, { "asin", "\\arcsin" }, { "acos", "\\arccos" },
  { "atan", "\\arctan" }, { "sinh", "\\sinh" }, { "cosh", "\\cosh" }, { "tanh", "\\tanh" },
  { "asinh", "\\operatorname{arsinh}" }, { "acosh", "\\operatorname{arcosh}" },
  { "atanh", "\\operatorname{artanh}" },
  { "log", "\\ln" }, { "log2", "\\log_{2}" }, { "log10", "\\log_{10}" }, { "max", "\\max" },
  { "min", "\\min" },
  { "sign", "\\operatorname{sgn}" }, { "tgamma", "\\Gamma" }, { "digamma", "\\psi" },
  { "sigmoid", "\\sigma" },
};

/* --- names ------------------------------------------------------------------------------------ */

static const char *const greek[] = {
  "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
  "nu", "xi", "pi",
  "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi",
  "Pi", "Sigma",
  "Upsilon", "Phi", "Psi", "Omega",
};

static void put(text *out, const char *s) { text_add(out, s, strlen(s)); }

static void write_escaped(const char *s, int length, text *out) {
  for (int i = 0; i < length; i++) {
    if (s[i] == '_') put(out, "\\");
    text_add(out, s + i, 1);
  }
}

static void write_base(const char *s, int length, text *out) {
  for (size_t i = 0; i < sizeof greek/sizeof *greek; i++)
    if (expression_is(s, length, greek[i])) {
      put(out, "\\");
      put(out, greek[i]);
      return;
    }
  if (expression_is(s, length, "inf")) {
    put(out, "\\infty");
    return;
  }
  bool single = length == 1 || (unsigned char)s[0] >= 0x80;
  if (!single) put(out, "\\mathrm{");
  write_escaped(s, length, out);
  if (!single) put(out, "}");
}

/* A name is a base and an index: x1, x_1, x_max. */
void name_write_latex(const char *name, int length, text *out) {
  int base = 1;
  while (base < length && name[base] != '_' && !(name[base] >= '0' && name[base] <= '9')) base++;
  int index = base < length && name[base] == '_' ? base + 1 : base;
  bool digits = true;
  for (int i = index; i < length; i++) digits = digits && name[i] >= '0' && name[i] <= '9';
  if (name[0] == '_' || (index == base && !digits)) base = index = length;
  write_base(name, base, out);
  if (index >= length) return;
  put(out, "_{");
  if (digits) text_add(out, name + index, (size_t)(length - index));
  else write_base(name + index, length - index, out);
  put(out, "}");
}

/* --- the stack -------------------------------------------------------------------------------- */

/* What is still to be written: a note that must bind at least as tight as precedence, or a piece of text. */
typedef struct item {
  const char *s;
  int length;                         /* of s; -1: a note */
  int note, precedence;
} item;

typedef struct writer {
  const sheet *sheet;
  ad_notation notation;
  text *out;
  item *stack;
  size_t count, capacity;
} writer;

static void push(writer *w, item i) {
  if (w->out->status) return;
  if (w->count > TEXT_LIMIT
      || !memory_reserve(w->out->allocator, &w->stack, &w->capacity, w->count + 1, sizeof i))
    w->out->status = w->count > TEXT_LIMIT ? AD_ERROR_LIMIT : AD_ERROR_MEMORY;
  else w->stack[w->count++] = i;
}
static void push_text(writer *w, const char *s, int length) { push(w, (item){ s, length, 0, 0 }); }
static void push_note(writer *w, int i, int precedence) { push(w, (item){ NULL, -1, i, precedence }); }

/* Items were pushed in reading order from `from` on: turn them around for the stack. */
static void reverse(writer *w, size_t from) {
  for (size_t i = from, j = w->count; i + 1 < j; i++) {
    item t = w->stack[i];
    w->stack[i] = w->stack[--j];
    w->stack[j] = t;
  }
}

static const template *template_of(ad_notation notation, const note *n) {
  const bool latex = notation == AD_LATEX;
  const template *t = latex ? latex_templates : text_templates;
  size_t count = latex ? sizeof latex_templates/sizeof *t : sizeof text_templates/sizeof *t;
  for (size_t i = 0; i < count && n->kind == NOTE_CALL; i++)
    if (expression_is(n->name, n->length, t[i].name)) return &t[i];
  return NULL;
}

static int precedence_of(const writer *w, int i) {
  const note *n = &w->sheet->note[i];
  if (n->kind == NOTE_NUMBER) {
    char s[32];
    bool power = w->notation == AD_LATEX && strchr(number_write(n->number, s), 'e');
    return signbit(n->number) ? SUM : power ? PRODUCT : PRIMARY;
  }
  if (n->kind != NOTE_CALL) return PRIMARY;
  const template *t = template_of(w->notation, n);
  return t ? t->precedence : w->notation == AD_LATEX ? POWER : PRIMARY;
}

/* Whether operand i, which must bind as tight as precedence, begins with a digit: 2*3 needs a dot in
 * LaTeX. */
static bool begins_with_digit(const writer *w, int i, int precedence) {
  while (precedence_of(w, i) >= precedence) {
    const note *n = &w->sheet->note[i];
    const template *t = template_of(w->notation, n);
    if (n->kind == NOTE_NUMBER) return true;
    if (n->kind == NOTE_CALL && expression_is(n->name, n->length, "exp2")) return true;
    if (!t || t->pattern[0] != '$') return false;
    i = w->sheet->argument[n->first + (t->pattern[1] - '0')];
    precedence = t->pattern[2] - '0';
  }
  return false;
}

/* --- writing one note ------------------------------------------------------------------------- */

static void write_number(writer *w, double number) {
  char s[32], *e;
  number_write(number, s);
  if (w->notation == AD_TEXT || !isfinite(number)) {
    put(w->out,
        isfinite(number) || w->notation == AD_TEXT ? s : isnan(number) ? "\\mathrm{nan}" : number > 0
            ? "\\infty" : "-\\infty");
    return;
  }
  if ((e = strchr(s, 'e'))) *e++ = 0;
  put(w->out, s);
  if (!e) return;
  put(w->out, " \\cdot 10^{");
  if (*e == '+') e++;
  if (*e == '-') text_add(w->out, e++, 1);
  while (*e == '0') e++;
  put(w->out, e);
  put(w->out, "}");
}

static void write_value(writer *w, int index) {
  char s[32];
  snprintf(s, sizeof s, w->notation == AD_LATEX ? "v_{%d}" : "v%d", index);
  put(w->out, s);
}

/* The pattern's pieces, operands between them. A * in LaTeX is a space, or a dot before a digit. */
static void push_template(writer *w, const note *n, const template *t) {
  const int *argument = w->sheet->argument + n->first;
  for (const char *s = t->pattern; *s; ) {
    int length = (int)strcspn(s, w->notation == AD_LATEX ? "$*" : "$");
    if (length) push_text(w, s, length);
    s += length;
    if (*s == '*') {
      const char *sign = begins_with_digit(w, argument[1], PRODUCT) ? " \\cdot " : " ";
      push_text(w, sign, (int)strlen(sign));
      s++;
    } else if (*s == '$') {
      int k = s[1] - '0';
      if (k < n->count) push_note(w, argument[k], s[2] - '0');
      s += 3;
    }
  }
}

/* \left( arguments \right) */
static void push_arguments(writer *w, const note *n) {
  const bool latex = w->notation == AD_LATEX;
  push_text(w, latex ? "\\left(" : "(", latex ? 6 : 1);
  for (int i = 0; i < n->count; i++) {
    if (i) push_text(w, ", ", 2);
    push_note(w, w->sheet->argument[n->first + i], CHOICE);
  }
  push_text(w, latex ? "\\right)" : ")", latex ? 7 : 1);
}

static void write_function_name(writer *w, const note *n) {
  if (w->notation == AD_TEXT) {
    text_add(w->out, n->name, (size_t)n->length);
    return;
  }
  for (size_t i = 0; i < sizeof latex_functions/sizeof *latex_functions; i++)
    if (expression_is(n->name, n->length, latex_functions[i].name)) {
      put(w->out, latex_functions[i].latex);
      return;
    }
  put(w->out, "\\operatorname{");
  write_escaped(n->name, n->length, w->out);
  put(w->out, "}");
}

/* \sin^{2}\left(x\right): a positive integer power of a function that is written by its name. */
static bool write_function_power(writer *w, const note *n) {
  if (w->notation != AD_LATEX || n->count < 1 || n->count > 2) return false;
  bool pow = expression_is(n->name, n->length, "pow"), powi = expression_is(n->name, n->length, "powi");
  bool square = expression_is(n->name, n->length, "square");
  if (!pow && !powi && !square) return false;
  const int *argument = w->sheet->argument + n->first;
  const note *base = &w->sheet->note[argument[powi ? 1 : 0]];
  const note *exponent = square ? NULL : &w->sheet->note[argument[powi ? 0 : 1]];
  double p = !exponent ? 2 : exponent->kind == NOTE_NUMBER ? exponent->number : 0;
  if (base->kind != NOTE_CALL || template_of(w->notation, base) || !(p > 1 && p < 100) || p != floor(p))
    return false;
  char s[16];
  write_function_name(w, base);
  snprintf(s, sizeof s, "^{%.0f}", p);
  put(w->out, s);
  size_t from = w->count;
  push_arguments(w, base);
  reverse(w, from);
  return true;
}

/* \begin{cases} a & \text{if } c \\ b & \text{otherwise} \end{cases}, a choice in the else branch as one more
 * line. */
static void push_cases(writer *w, const note *n) {
  static const char begin[] = "\\begin{cases} ", when[] = " & \\text{if } ", next[] = " \\\\ ";
  static const char end[] = " & \\text{otherwise} \\end{cases}";
  push_text(w, begin, sizeof begin - 1);
  for (;;) {
    const int *argument = w->sheet->argument + n->first;
    push_note(w, argument[1], CHOICE);
    push_text(w, when, sizeof when - 1);
    push_note(w, argument[0], CHOICE);
    push_text(w, next, sizeof next - 1);
    const note *other = &w->sheet->note[argument[2]];
    if (other->kind != NOTE_CALL || !expression_is(other->name, other->length, "select")) break;
    n = other;
  }
  push_note(w, w->sheet->argument[n->first + 2], CHOICE);
  push_text(w, end, sizeof end - 1);
}

static void write_call(writer *w, const note *n) {
  const template *t = template_of(w->notation, n);
  if (write_function_power(w, n)) return;
  if (!t) write_function_name(w, n);
  size_t from = w->count;
  if (t && !*t->pattern) push_cases(w, n);
  else if (t) push_template(w, n, t);
  else push_arguments(w, n);
  reverse(w, from);
}

static void write_note(writer *w, int i, int precedence) {
  const note *n = &w->sheet->note[i];
  if (precedence_of(w, i) < precedence) {
    const bool latex = w->notation == AD_LATEX;
    push_text(w, latex ? "\\right)" : ")", latex ? 7 : 1);
    push_note(w, i, CHOICE);
    put(w->out, latex ? "\\left(" : "(");
    return;
  }
  if (n->kind == NOTE_NUMBER) write_number(w, n->number);
  else if (n->kind == NOTE_VALUE) write_value(w, n->index);
  else if (n->kind == NOTE_CALL) write_call(w, n);
  else if (w->notation == AD_LATEX) name_write_latex(n->name, n->length, w->out);
  else text_add(w->out, n->name, (size_t)n->length);
}

void sheet_write(const sheet *s, int root, ad_notation notation, text *out) {
  writer w = { .sheet = s, .notation = notation, .out = out };
  if (s->status || root < 0) {
    out->status = s->status ? s->status : AD_ERROR_MEMORY;
    return;
  }
  push_note(&w, root, CHOICE);
  while (w.count && !out->status) {
    item i = w.stack[--w.count];
    if (i.length >= 0) text_add(out, i.s, (size_t)i.length);
    else write_note(&w, i.note, i.precedence);
  }
  memory_release(out->allocator, w.stack, w.capacity*sizeof *w.stack);
}
