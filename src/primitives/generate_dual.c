/* generate_dual.c -- the program that writes include/adit/dual.h from the table of elementwise primitives.
 *
 *     generate_dual dual.h.in helpers.h >dual.h
 *
 * Each row is read by the parser of expressions and printed three times:
 *   plain    ad_dual: infix C on the fields, x.v and x.d
 *   family   N directions and float: the same over macros, what no direction changes taken out of the loop
 *   second   ad_dual_dual, a dual number of dual numbers: every operation becomes a call of the plain family
 * The prose around them, and what is not in the table (make, of, scale, ...), stands here in the order of
 * the header.
 */
#include "primitives/elementwise.h"
#include "primitives/expression.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 4096, COLUMNS = 108, MAX_HOISTS = 4 };

/* --- the table ---------------------------------------------------------------------------------------- */

typedef struct row {
  const char *name, *doc;
  elementwise_class kind;
  int arity;
  bool attributed;
  const char *value, *rule[3];
} row;

static const row rows[ROW_COUNT] = {
#define UNARY(n, c, t, lo, hi, value, x, doc)              { #n, doc, CLASS_##c, 1, false, #value, { #x } },
#define UNARY_ATTRIBUTE(n, c, t, a, lo, hi, value, x, doc) { #n, doc, CLASS_##c, 1, true,  #value, { #x } },
#define BINARY(n, c, t, lx, hx, ly, hy, value, x, y, doc) \
  { #n, doc, CLASS_##c, 2, false, #value, { #x, #y } },
#define TERNARY(n, c, t, lx, hx, ly, hy, lw, hw, value, x, y, w, doc) \
  { #n, doc, CLASS_##c, 3, false, #value, { #x, #y, #w } },
#include "primitives/elementwise.def"
};

static const char *const letters[3] = { "x", "y", "w" };

static bool is_boolean(const row *r) {
  return r->kind == CLASS_COMPARE || r->kind == CLASS_PREDICATE || r->kind == CLASS_LOGICAL;
}

static void give_up(const char *what, const char *text) {
  fprintf(stderr, "generate_dual: %s: %s\n", what, text);
  exit(1);
}

/* --- text --------------------------------------------------------------------------------------------- */

typedef struct text { char s[TEXT]; size_t n; } text;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void put(text *t, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int n = vsnprintf(t->s + t->n, TEXT - t->n, format, list);
  va_end(list);
  if (n < 0 || (size_t)n >= TEXT - t->n) give_up("text too long", t->s);
  t->n += (size_t)n;
}

/* Where to break a long line: before the last colon that fits, if it is not too far left; else after a
 * comma or before an operator. 0: nowhere. */
static size_t break_of(const char *line, size_t indent) {
  size_t best = 0, colon = 0;
  for (size_t i = indent + 1; line[i] && i <= COLUMNS; i++) {
    if (line[i] != ' ') continue;
    if (line[i - 1] == ',' || strchr("?+|&", line[i + 1])) best = i;
    if (line[i + 1] == ':') colon = i;
  }
  return colon > COLUMNS/2 || !best ? colon : best;
}

/* Prints one statement, indented, broken into lines where it is long. */
static void statement(int indent, const char *s) {
  char line[TEXT + 16];
  int hang = indent + 4;
  snprintf(line, sizeof line, "%*s%s", indent, "", s);
  while (strlen(line) > COLUMNS) {
    size_t at = break_of(line, (size_t)hang);
    if (!at) break;
    printf("%.*s\n", (int)at, line);
    char rest[TEXT + 16];
    snprintf(rest, sizeof rest, "%*s%s", hang, "", line + at + 1);
    memcpy(line, rest, sizeof line);
  }
  printf("%s\n", line);
}

/* --- expressions -------------------------------------------------------------------------------------- */

static expression read(const char *s) {
  expression e;
  expression_error error;
  if (expression_read(&memory_standard, s, 0, &e, &error)) give_up(error.message, s);
  return e;
}

static bool named(const expression_node *n, const char *word) {
  return n->kind == EXPRESSION_NAME && expression_is(n->name, n->name_length, word);
}

static bool calls(const expression_node *n, const char *word) {
  return n->kind == EXPRESSION_CALL && expression_is(n->name, n->name_length, word);
}

static int argument(const expression *e, int i, int k) {
  int at = e->node[i].first_argument;
  while (k--) at = e->node[at].next_argument;
  return at;
}

/* Is there a name out of words (one letter each) below node i? */
static bool mentions(const expression *e, int i, const char *words) {
  const expression_node *n = &e->node[i];
  if (n->kind == EXPRESSION_NAME) return n->name_length == 1 && strchr(words, n->name[0]);
  for (int k = 0; k < n->argument_count; k++)
    if (mentions(e, argument(e, i, k), words)) return true;
  return false;
}

static const struct { const char *name, *sign; int precedence; } operators[] = {
  { "select", "?", 1 },  { "logical_or", " || ", 2 }, { "logical_and", " && ", 3 },
  { "equal", " == ", 4 }, { "not_equal", " != ", 4 }, { "less", " < ", 5 }, { "less_equal", " <= ", 5 },
  { "greater", " > ", 5 }, { "greater_equal", " >= ", 5 }, { "add", " + ", 6 }, { "sub", " - ", 6 },
  { "mul", "*", 7 }, { "div", "/", 7 }, { "neg", "-", 8 }, { "logical_not", "!", 8 },
};
enum { OPERATORS = sizeof operators/sizeof *operators };
enum { SELECT = 1, OR = 2, AND = 3, SUM = 6, PRODUCT = 7, PRIMARY = 9 };         /* precedences */

/* The operator that node n is, -1 if it is none. */
static int operator_of(const expression_node *n) {
  for (int k = 0; k < OPERATORS; k++)
    if (calls(n, operators[k].name)) return k;
  return -1;
}

static bool is_condition(const expression_node *n) {
  int k = operator_of(n);
  if (k < 0) return false;
  return (operators[k].precedence >= OR && operators[k].precedence < SUM) || calls(n, "logical_not");
}

/* Does a function that is no operator stand below node i, or a division if wanted? */
static bool has_call(const expression *e, int i, bool or_division) {
  const expression_node *n = &e->node[i];
  if (n->kind != EXPRESSION_CALL) return false;
  if (operator_of(n) < 0 && !calls(n, "C")) return true;
  if (or_division && calls(n, "div")) return true;
  for (int k = 0; k < n->argument_count; k++)
    if (has_call(e, argument(e, i, k), or_division)) return true;
  return false;
}

/* --- helper functions --------------------------------------------------------------------------------- */

/* The text of helpers.h, and the names that it defines: in the header they are ad_dual_NAME_. */
enum { MAX_HELPERS = 100, HELPER_NAME = 48 };
static char *helper_text;
static char helper[MAX_HELPERS][HELPER_NAME];
static int helpers;

static bool is_helper(const char *name, int length) {
  for (int k = 0; k < helpers; k++)
    if (expression_is(name, length, helper[k])) return true;
  return false;
}

static void add_helper(const char *name, int length) {
  if (is_helper(name, length)) return;
  if (helpers == MAX_HELPERS || length >= HELPER_NAME) give_up("too many helpers, or too long a name", name);
  memcpy(helper[helpers], name, (size_t)length);
  helper[helpers++][length] = 0;
}

static void read_helpers(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) give_up("cannot read", path);
  long size = ftell(f);
  rewind(f);
  helper_text = size < 0 ? NULL : calloc((size_t)size + 1, 1);
  if (!helper_text || fread(helper_text, 1, (size_t)size, f) != (size_t)size) give_up("cannot read", path);
  fclose(f);
  for (const char *at = helper_text; (at = strstr(at, "HELPER(")); ) {
    at += strlen("HELPER(");
    add_helper(at, (int)strcspn(at, ")"));
  }
}

/* s begins with the word macro, then what its parentheses hold is *inner; returns the length of all of it,
 * else 0. */
static int macro_call(const char *s, const char *macro, const char **inner, int *length) {
  size_t n = strlen(macro);
  if (strncmp(s, macro, n) || s[n] != '(') return 0;
  *inner = s + n + 1;
  *length = (int)strcspn(*inner, ")");
  return (int)n + *length + 2;
}

/* helpers.h for REAL = double, its macros expanded, without the comment at its head. */
static void print_helpers(void) {
  const char *s = strstr(helper_text, "*/"), *inner = NULL;
  bool word = false;                                        /* the character before s belongs to a name */
  for (s = s ? s + 3 : helper_text; *s; ) {
    int length = 0, n = 0;
    if (!word && (n = macro_call(s, "HELPER", &inner, &length))) printf("ad_dual_%.*s_", length, inner);
    else if (!word && (n = macro_call(s, "MATH", &inner, &length))) printf("%.*s", length, inner);
    else if (!word && (n = macro_call(s, "C", &inner, &length))) printf("%.*s", length, inner);
    else if (!strncmp(s, "(REAL)", 6)) n = 6;
    else if (!strncmp(s, "(double)", 8)) n = 8;
    else if (!word && !strncmp(s, "REAL", 4)) n = 4, printf("double");
    else if (!strncmp(s, "\nextern double lgamma_r", 23)) {  /* C++ minds the second declaration */
      n = 1 + (int)strcspn(s + 1, "\n");
      printf("\n#ifndef __cplusplus%.*s\n#endif", n, s);
    }
    else n = 1, putchar(*s);
    s += n;
    word = (s[-1] >= 'a' && s[-1] <= 'z') || (s[-1] >= 'A' && s[-1] <= 'Z') || s[-1] == '_';
  }
}

/* --- printing infix C --------------------------------------------------------------------------------- */

/* How the letters of a row are written, and what was taken out of the loop over directions. */
typedef struct spelling {
  const row *row;
  const char *text;                     /* what the nodes were read from */
  const char *value;                    /* suffix of an operand's value: ".v" */
  const char *z;                        /* z, or its value */
  char g[32];                           /* the tangent: "x.d" */
  int hoists;
  char hoisted[MAX_HOISTS][256];        /* text of p, q, r, s */
  bool hoisting;
} spelling;

static const char hoist_letter[] = "pqrs";

static void infix(text *t, const expression *e, int i, int precedence, spelling *sp);

static void infix_name(text *t, const expression_node *n, const spelling *sp) {
  if (named(n, "NONE")) put(t, "0");
  else if (named(n, "g")) put(t, "%s", sp->g);
  else if (named(n, "z")) put(t, "%s", sp->z);
  else if (named(n, "x") || named(n, "y") || named(n, "w")) put(t, "%c%s", n->name[0], sp->value);
  else put(t, "%.*s", n->name_length, n->name);
}

/* Functions that the rows call by C's names. */
static const char *row_name(const expression_node *n, int *length) {
  static const char *const aliases[][2] = { { "fabs", "abs" }, { "fmax", "max" }, { "fmin", "min" } };
  *length = n->name_length;
  for (size_t k = 0; k < sizeof aliases/sizeof *aliases; k++)
    if (calls(n, aliases[k][0])) {
      *length = (int)strlen(aliases[k][1]);
      return aliases[k][1];
    }
  return n->name;
}

/* A row that is no function of C's and no helper either: its value in place of the call, which must be one
 * of x. */
static bool infix_value(text *t, const expression *e, int i, spelling *sp) {
  const expression_node *n = &e->node[i];
  for (int k = 0; k < ROW_COUNT; k++) {
    const char *value = rows[k].value;
    bool function = !strncmp(value, rows[k].name, strlen(rows[k].name)) && value[strlen(rows[k].name)] == '(';
    if (!calls(n, rows[k].name) || function) continue;
    bool of_x = n->argument_count == 1 && named(&e->node[argument(e, i, 0)], "x");
    if (!of_x) give_up("needs a helper", rows[k].name);
    const char *outer = sp->text;
    expression inner = read(value);
    sp->text = value;
    infix(t, &inner, inner.statement[0].root, PRIMARY, sp);
    sp->text = outer;
    expression_free(&memory_standard, &inner);
    return true;
  }
  return false;
}

static void infix_call(text *t, const expression *e, int i, spelling *sp) {
  const expression_node *n = &e->node[i];
  int length;
  const char *name = row_name(n, &length);
  bool ours = is_helper(name, length);
  if (calls(n, "C")) { infix(t, e, argument(e, i, 0), PRIMARY, sp); return; }
  if (!ours && infix_value(t, e, i, sp)) return;
  if (ours) put(t, "ad_dual_%.*s_(", length, name);
  else put(t, "%.*s(", n->name_length, n->name);
  for (int k = 0; k < n->argument_count; k++) {
    if (k) put(t, ", ");
    infix(t, e, argument(e, i, k), 0, sp);
  }
  put(t, ")");
}

static void infix_operator(text *t, const expression *e, int i, int op, int precedence, spelling *sp) {
  int own = operators[op].precedence;
  int first = argument(e, i, 0);
  if (own < precedence) put(t, "(");
  if (own == SELECT) {
    infix(t, e, first, OR, sp);
    put(t, " ? ");
    infix(t, e, argument(e, i, 1), SELECT, sp);
    put(t, " : ");
    infix(t, e, argument(e, i, 2), SELECT, sp);
  } else if (e->node[i].argument_count == 1) {
    put(t, "%s", operators[op].sign);
    infix(t, e, first, PRIMARY, sp);
  } else {
    /* Compilers want parentheses in a && b || c and a < b != c. */
    int left = operator_of(&e->node[first]);
    bool and_in_or = own == OR && left >= 0 && operators[left].precedence == AND;
    bool compares = own > AND && own < SUM;
    infix(t, e, first, and_in_or ? PRIMARY : compares ? SUM : own, sp);
    put(t, "%s", operators[op].sign);
    infix(t, e, argument(e, i, 1), own == OR ? AND + 1 : compares ? SUM : own + 1, sp);
  }
  if (own < precedence) put(t, ")");
}

/* Takes node i out of the loop over directions: prints the letter that stands for it. */
static void hoist(text *t, const expression *e, int i, spelling *sp) {
  text inner = { "", 0 };
  sp->hoisting = false;
  infix(&inner, e, i, 0, sp);
  sp->hoisting = true;
  int k = 0;
  while (k < sp->hoists && strcmp(sp->hoisted[k], inner.s)) k++;
  if (k == MAX_HOISTS || inner.n >= sizeof sp->hoisted[0]) give_up("too much for MAX_HOISTS", sp->row->name);
  if (k == sp->hoists) memcpy(sp->hoisted[sp->hoists++], inner.s, inner.n + 1);
  put(t, "%c", hoist_letter[k]);
}

/* Prints node i as C; in parentheses if it binds weaker than precedence. */
static void infix(text *t, const expression *e, int i, int precedence, spelling *sp) {
  const expression_node *n = &e->node[i];
  int op = operator_of(n);
  bool costly = !is_condition(n) && op != 0 && has_call(e, i, true);
  if (sp->hoisting && costly && !mentions(e, i, "g")) hoist(t, e, i, sp);
  else if (n->kind == EXPRESSION_NAME) infix_name(t, n, sp);
  else if (n->kind == EXPRESSION_NUMBER) {
    char *end;
    const char *from = sp->text + n->position;
    strtod(from, &end);
    put(t, "%.*s", (int)(end - from), from);
  }
  else if (op >= 0) infix_operator(t, e, i, op, precedence, sp);
  else infix_call(t, e, i, sp);
}

/* --- printing calls ----------------------------------------------------------------------------------- */

static bool takes_attribute(const expression_node *n) {
  for (int k = 0; k < ROW_COUNT; k++)
    if (rows[k].attributed && calls(n, rows[k].name)) return true;
  return false;
}

/* Numbers, the attribute, and what is made of them. */
static bool is_real(const expression *e, int i) {
  return !mentions(e, i, "xywzg") && !named(&e->node[i], "NONE");
}

static void nested(text *t, const expression *e, int i, spelling *sp);

/* One node as real number: an attribute, or a condition on the values. */
static void real(text *t, const expression *e, int i, int precedence, const spelling *sp) {
  spelling flat = *sp;
  char z[24];
  snprintf(z, sizeof z, "%s.v", sp->z);
  flat.z = z;
  flat.value = ".v.v";
  infix(t, e, i, precedence, &flat);
}

/* e + real, e*real and so on, without making a dual number of the real one; false if neither operand is
 * real. */
static bool nested_with_real(text *t, const expression *e, int i, spelling *sp) {
  const expression_node *n = &e->node[i];
  if (n->argument_count != 2) return false;
  int left = argument(e, i, 0), right = argument(e, i, 1);
  bool product = calls(n, "mul"), difference = calls(n, "sub");
  if (!product && !difference && !calls(n, "add")) return false;
  if (is_real(e, right)) {
    put(t, product ? "ad_dual_scale(" : "ad_dual_shift(");
    nested(t, e, left, sp);
    put(t, difference ? ", -" : ", ");
    real(t, e, right, difference ? PRIMARY : 0, sp);
  } else if (is_real(e, left)) {
    put(t, product ? "ad_dual_scale(" : difference ? "ad_dual_shift(ad_dual_neg(" : "ad_dual_shift(");
    nested(t, e, right, sp);
    put(t, difference ? "), " : ", ");
    real(t, e, left, 0, sp);
  } else return false;
  put(t, ")");
  return true;
}

static void nested_call(text *t, const expression *e, int i, spelling *sp) {
  const expression_node *n = &e->node[i];
  int length, first = 0;
  const char *name = row_name(n, &length);
  if (nested_with_real(t, e, i, sp)) return;
  put(t, "ad_dual_%.*s(", length, name);
  if (takes_attribute(n)) first = 1;
  for (int k = first; k < n->argument_count; k++) {
    if (k > first) put(t, ", ");
    nested(t, e, argument(e, i, k), sp);
  }
  if (first) {
    put(t, ", ");
    real(t, e, argument(e, i, 0), 0, sp);
  }
  put(t, ")");
}

/* Prints node i as calls of functions on ad_dual. */
static void nested(text *t, const expression *e, int i, spelling *sp) {
  const expression_node *n = &e->node[i];
  if (named(n, "NONE")) put(t, "ad_dual_of(0)");
  else if (is_real(e, i)) {
    put(t, "ad_dual_of(");
    real(t, e, i, 0, sp);
    put(t, ")");
  }
  else if (n->kind == EXPRESSION_NAME) infix_name(t, n, sp);
  else if (calls(n, "select")) {
    real(t, e, argument(e, i, 0), OR, sp);
    put(t, " ? ");
    nested(t, e, argument(e, i, 1), sp);
    put(t, " : ");
    nested(t, e, argument(e, i, 2), sp);
  }
  else nested_call(t, e, i, sp);
}

/* --- one row as a function ---------------------------------------------------------------------------- */

typedef enum flavour { PLAIN, FAMILY, SECOND } flavour;

static const struct { const char *type, *open, *close, *value, *tangent, *real; } styles[] = {
  [PLAIN]  = { "ad_dual",      "ad_dual_",      "",  ".v", ".d",           "double" },
  [FAMILY] = { "AD_DUAL_T_",   "AD_DUAL_F_(",   ")", ".v", ".AD_DUAL_D_",  "double" },
  [SECOND] = { "ad_dual_dual", "ad_dual_dual_", "",  ".v", ".d",           "ad_dual" },
};

typedef struct part { text s; bool choice; } part;     /* what one operand contributes to the tangent */

/* The row's line of documentation without what concerns integers and the formula language. */
static int doc_length(const row *r) {
  const char *formula = strstr(r->doc, "; written"), *integers = strstr(r->doc, "; integers");
  const char *end = formula ? formula : integers;
  return end ? (int)(end - r->doc) : (int)strlen(r->doc);
}

static void signature(const row *r, flavour f) {
  const char *type = is_boolean(r) ? "bool" : styles[f].type;
  printf("/* %.*s */\nstatic inline %s ", doc_length(r), r->doc, type);
  printf("%s%s%s(", styles[f].open, r->name, styles[f].close);
  for (int k = 0; k < r->arity; k++)
    printf("%s%s %s", k ? ", " : "", r->kind == CLASS_CHOICE && k == 0 ? "bool" : styles[f].type, letters[k]);
  printf(r->attributed ? ", double a) {\n" : ") {\n");
}

static void print_boolean(const row *r, flavour f) {
  spelling sp = { .row = r, .text = r->value, .value = f == SECOND ? ".v.v" : ".v", .z = "z" };
  expression e = read(r->value);
  text t = { "return ", 7 };
  infix(&t, &e, e.statement[0].root, 0, &sp);
  put(&t, ";");
  statement(2, t.s);
  expression_free(&memory_standard, &e);
}

/* The value of the row at the values of its operands. */
static void value_of(text *t, const row *r, flavour f, spelling *sp) {
  if (f == SECOND) {
    put(t, "ad_dual_%s(", r->name);
    for (int k = 0; k < r->arity; k++) put(t, "%s%s.v", k ? ", " : "", letters[k]);
    put(t, r->attributed ? ", a)" : ")");
    return;
  }
  expression e = read(r->value);
  sp->text = r->value;
  infix(t, &e, e.statement[0].root, 0, sp);
  expression_free(&memory_standard, &e);
}

/* What operand k contributes. An operand without tangent is a constant where a function is called that may
 * be infinite. */
static void part_of(part *out, const row *r, int k, flavour f, spelling *sp) {
  expression e = read(r->rule[k]);
  int root = e.statement[0].root;
  bool guarded = r->arity > 1 && has_call(&e, root, false);
  out->choice = guarded || calls(&e.node[root], "select");
  snprintf(sp->g, sizeof sp->g, "%s%s", letters[k], styles[f].tangent);
  sp->text = r->rule[k];
  if (guarded && f == SECOND) put(&out->s, "%s.v == 0 && %s.d == 0 ? ad_dual_of(0) : ", sp->g, sp->g);
  else if (guarded) put(&out->s, "%s == 0 ? 0 : ", sp->g);
  sp->hoisting = f == FAMILY;
  if (f == SECOND) nested(&out->s, &e, root, sp);
  else infix(&out->s, &e, root, out->choice || r->arity == 1 ? SELECT : PRODUCT, sp);
  sp->hoisting = false;
  expression_free(&memory_standard, &e);
}

/* sum = what the parts add up to; parts that choose are named xdot, ydot, wdot first, in lines. Returns
 * their number. */
static int sum_of(text *sum, int n, part p[], const int operand[], flavour f, text line[3]) {
  int lines = 0;
  bool choice = false;
  for (int k = 0; k < n; k++) choice |= p[k].choice;
  for (int k = 0; k < n; k++) {
    text term = p[k].s;
    if (n > 1 && choice) {
      term = (text){ "", 0 };
      put(&line[lines++], "const %s %sdot = %s;", styles[f].real, letters[operand[k]], p[k].s.s);
      put(&term, "%sdot", letters[operand[k]]);
    }
    text before = *sum;
    *sum = (text){ "", 0 };
    if (k == 0) put(sum, "%s", term.s);
    else if (f == SECOND) put(sum, "ad_dual_add(%s, %s)", before.s, term.s);
    else if (term.s[0] == '-') put(sum, "%s - %s", before.s, term.s + 1);
    else put(sum, "%s + %s", before.s, term.s);
  }
  return lines;
}

static void print_hoists(const spelling *sp) {
  text t = { "const double ", 13 };
  for (int k = 0; k < sp->hoists; k++) put(&t, "%s%c = %s", k ? ", " : "", hoist_letter[k], sp->hoisted[k]);
  put(&t, ";");
  if (sp->hoists) statement(2, t.s);
}

static void print_result(flavour f, const text *z, const text *sum, int lines, const text line[]) {
  text t = { "", 0 };
  if (f != FAMILY) {
    for (int k = 0; k < lines; k++) statement(2, line[k].s);
    put(&t, "return %smake(%s, %s);", styles[f].open, z->s, sum->s);
    statement(2, t.s);
    return;
  }
  printf("  AD_DUAL_T_ out;\n");
  put(&t, z->n == 1 ? "out.v = (AD_DUAL_R_)%s;" : "out.v = (AD_DUAL_R_)(%s);", z->s);
  statement(2, t.s);
  t = (text){ "", 0 };
  if (lines) {
    printf("  AD_DUAL_EACH_ {\n");
    for (int k = 0; k < lines; k++) statement(4, line[k].s);
  }
  put(&t, "%sout.AD_DUAL_D_ = (AD_DUAL_R_)(%s);", lines ? "" : "AD_DUAL_EACH_ ", sum->s);
  statement(lines ? 4 : 2, t.s);
  printf(lines ? "  }\n  return out;\n" : "  return out;\n");
}

static void print_numeric(const row *r, flavour f) {
  spelling sp = { .row = r, .value = styles[f].value, .z = "z" };
  text z = { "", 0 }, sum = { "", 0 }, line[3] = { { "", 0 }, { "", 0 }, { "", 0 } };
  static part p[3];
  int n = 0, operand[3] = { 0, 0, 0 };
  bool keep_z = false;
  memset(p, 0, sizeof p);
  value_of(&z, r, f, &sp);
  for (int k = 0; k < r->arity; k++) {
    expression e = read(r->rule[k]);
    int root = e.statement[0].root;
    bool none = named(&e.node[root], "NONE");
    keep_z |= mentions(&e, root, "z");
    expression_free(&memory_standard, &e);
    if (none) continue;
    operand[n] = k;
    part_of(&p[n++], r, k, f, &sp);
  }
  if (keep_z) {
    text t = { "", 0 };
    put(&t, "const %s z = %s;", styles[f].real, z.s);
    statement(2, t.s);
    z = (text){ "z", 1 };
  }
  print_hoists(&sp);
  if (n) print_result(f, &z, &sum, sum_of(&sum, n, p, operand, f, line), line);
  else if (f == SECOND) printf("  return ad_dual_dual_make(%s, ad_dual_of(0));\n", z.s);
  else printf("  return %sof%s(%s);\n", styles[f].open, styles[f].close, z.s);
}

static void print_rows(flavour f) {
  for (int k = 0; k < ROW_COUNT; k++) {
    const row *r = &rows[k];
    printf("\n");
    signature(r, f);
    if (is_boolean(r)) print_boolean(r, f);
    else if (r->kind == CLASS_CHOICE) printf("  return x ? y : w;\n");
    else print_numeric(r, f);
    printf("}\n");
  }
}

/* --- the header --------------------------------------------------------------------------------------- */

/* Copies the template; a line @NAME@ is what the function of that name prints. */
static void print_template(const char *path) {
  char line[256];
  FILE *f = fopen(path, "r");
  if (!f) give_up("cannot read", path);
  while (fgets(line, sizeof line, f)) {
    if (!strcmp(line, "@HELPERS@\n")) print_helpers();
    else if (!strcmp(line, "@PLAIN@\n")) print_rows(PLAIN);
    else if (!strcmp(line, "@SECOND@\n")) print_rows(SECOND);
    else if (!strcmp(line, "@FAMILY@\n")) print_rows(FAMILY);
    else fputs(line, stdout);
  }
  if (ferror(f)) give_up("cannot read", path);
  fclose(f);
}

int main(int argc, char **argv) {
  if (argc != 3) give_up("usage", "generate_dual dual.h.in helpers.h >dual.h");
  read_helpers(argv[2]);
  print_template(argv[1]);
  free(helper_text);
  return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
