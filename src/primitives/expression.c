/* expression.c -- the one reader of expressions: operator precedence climbing into a postorder array.
 *
 * Every function reads the rule of the grammar that stands above it and returns the index of the node it
 * appended, or -1 after leaving the first error in the reader. Recursion is bounded by NESTING: a level of
 * parentheses, of ?:, of unary operators or of ^ counts one; a sum of a million terms is a loop.
 */
#include "primitives/expression.h"

#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NESTING = 1000 };

typedef struct reader {
  const ad_allocator *allocator;
  const char *text;
  int at;                             /* offset of the next character that is not read yet */
  int depth;
  bool formula;                       /* statements, lists, named arguments and quoted text are allowed */
  expression *out;
  expression_error *error;
  ad_status status;
} reader;

/* --- errors ----------------------------------------------------------------------------------- */

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static int refuse(reader *r, int position, const char *format, ...) {
  if (r->status) return -1;
  r->status = AD_ERROR_SYNTAX;
  r->error->position = position;
  va_list list;
  va_start(list, format);
  vsnprintf(r->error->message, sizeof r->error->message, format, list);
  va_end(list);
  return -1;
}

static int out_of_memory(reader *r) {
  if (!r->status) {
    r->status = AD_ERROR_MEMORY;
    r->error->position = r->at;
    snprintf(r->error->message, sizeof r->error->message, "%s", ad_status_sentence(AD_ERROR_MEMORY));
  }
  return -1;
}

/* --- characters (not <ctype.h>: its answers depend on the locale) ----------------------------- */

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
/* Bytes of multi-byte UTF-8 characters count as letters, so that Greek names work. */
static bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static char peek(reader *r) {
  while (is_space(r->text[r->at])) r->at++;
  return r->text[r->at];
}

static bool accept(reader *r, char c) {
  if (peek(r) != c) return false;
  r->at++;
  return true;
}

/* Length of the name at offset at, 0 if there is none. */
static int name_length(const reader *r, int at) {
  int n = 0;
  if (!is_letter(r->text[at])) return 0;
  while (is_letter(r->text[at + n]) || is_digit(r->text[at + n])) n++;
  return n;
}

/* "name =" (but not "name ==") comes next: the name's length, 0 otherwise. */
static int assigned_name(reader *r) {
  (void)peek(r);
  int n = name_length(r, r->at), i = r->at + n;
  while (n && is_space(r->text[i])) i++;
  return n && r->text[i] == '=' && r->text[i + 1] != '=' ? n : 0;
}

/* Says what stands where something else should: want is "a value" or "')'". */
static int unexpected(reader *r, const char *want) {
  char c = peek(r);
  int n = name_length(r, r->at);
  if (!c) return refuse(r, r->at, "the text ends where %s should stand", want);
  if (n > 40) n = 40;
  if (n) return refuse(r, r->at, "'%.*s' stands where %s should", n, r->text + r->at, want);
  if ((unsigned char)c < ' ') return refuse(r, r->at, "a control character stands where %s should", want);
  return refuse(r, r->at, "'%c' stands where %s should", c, want);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static int append(reader *r, expression_kind kind, int position, const char *name, int length) {
  expression *e = r->out;
  if (e->node_count == INT_MAX) return refuse(r, position, "the expression is too long");
  if (!memory_reserve(r->allocator, &e->node, &e->node_capacity, (size_t)e->node_count + 1, sizeof *e->node))
    return out_of_memory(r);
  e->node[e->node_count] = (expression_node){
    .kind = kind, .name = name, .name_length = length, .position = position,
    .first_argument = -1, .next_argument = -1,
  };
  return e->node_count++;
}

/* Appends a call of an operator's row. Missing arguments are -1; a failed argument fails the call. */
static int append_operator(reader *r, const char *name, int position, int count, const int argument[]) {
  for (int i = 0; i < count; i++) if (argument[i] < 0) return -1;
  int call = append(r, EXPRESSION_CALL, position, name, (int)strlen(name));
  if (call < 0) return -1;
  expression_node *node = r->out->node;
  node[call].argument_count = count;
  node[call].first_argument = argument[0];
  for (int i = 0; i + 1 < count; i++) node[argument[i]].next_argument = argument[i + 1];
  return call;
}

/* The arguments of a call or the elements of a list while they are read. */
typedef struct chain { int first, last, count; } chain;

static bool chain_add(reader *r, chain *c, int node) {
  if (node < 0) return false;
  if (c->last >= 0) r->out->node[c->last].next_argument = node;
  else c->first = node;
  c->last = node;
  c->count++;
  return true;
}

static int chain_close(reader *r, const chain *c, int call) {
  if (call < 0) return -1;
  r->out->node[call].first_argument = c->first;
  r->out->node[call].argument_count = c->count;
  return call;
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* Length of the number at r->at: digits ["." digits] [("e" | "E") ["+" | "-"] digits]; *exponent: where the
 * exponent begins. */
static int number_length(const reader *r, int *exponent, bool *integer) {
  const char *s = r->text + r->at;
  int n = 0;
  while (is_digit(s[n])) n++;
  *integer = s[n] != '.';
  if (s[n] == '.') for (n++; is_digit(s[n]); ) n++;
  *exponent = n;
  int sign = s[n] == 'e' || s[n] == 'E' ? (s[n + 1] == '+' || s[n + 1] == '-') : -1;
  if (sign < 0 || !is_digit(s[n + 1 + sign])) return n;
  *integer = false;
  for (n += 1 + sign; is_digit(s[n]); ) n++;
  return n;
}

/* strtod reads the point of the current locale. So the point is removed, 12.5e3 being 125e2: digits and an
 * integer exponent mean the same everywhere, and strtod rounds them correctly. */
static double convert(const char *s, int length, int exponent, char *buffer) {
  int n = 0, fraction = 0;
  bool point = false;
  for (int i = 0; i < exponent; i++) {
    if (s[i] == '.') point = true;
    else buffer[n++] = s[i], fraction += point;
  }
  long long power = 0;
  bool negative = exponent < length && s[exponent + 1] == '-';
  for (int i = exponent + 1; i < length; i++)
    if (is_digit(s[i]) && power < 1000000000000) power = 10*power + (s[i] - '0');
  snprintf(buffer + n, 32, "e%lld", (negative ? -power : power) - fraction);
  return strtod(buffer, NULL);
}

static int read_number(reader *r) {
  int exponent = 0, position = r->at;
  bool integer = false;
  int length = number_length(r, &exponent, &integer);
  if (length == 1 && r->text[r->at] == '.') return unexpected(r, "a value");
  char small[128], *buffer = small;
  size_t size = (size_t)length + 32;
  if (size > sizeof small && !(buffer = memory_get(r->allocator, size))) return out_of_memory(r);
  double value = convert(r->text + r->at, length, exponent, buffer);
  if (buffer != small) memory_release(r->allocator, buffer, size);
  if (isinf(value)) return refuse(r, position, "the number is too large for a double");
  r->at += length;
  int node = append(r, EXPRESSION_NUMBER, position, NULL, 0);
  if (node < 0) return -1;
  r->out->node[node].number = value;
  r->out->node[node].integer = integer;
  return node;
}

/* --- the grammar, from the inside out --------------------------------------------------------- */

static int read_choice(reader *r);

/* A quoted text, only in formulas: "ij,jk->ik" */
static int read_text(reader *r) {
  int position = r->at++, begin = r->at;
  while (r->text[r->at] && r->text[r->at] != '"') r->at++;
  if (!r->text[r->at]) return refuse(r, position, "the quoted text is not closed");
  r->at++;
  return append(r, EXPRESSION_TEXT, position, r->text + begin, r->at - 1 - begin);
}

/* argument = [name "="] choice */
static int read_argument(reader *r) {
  int length = r->formula ? assigned_name(r) : 0, begin = r->at;
  if (length) {
    r->at += length;
    (void)accept(r, '=');
  }
  int node = read_choice(r);
  if (node >= 0 && length) {
    r->out->node[node].keyword = r->text + begin;
    r->out->node[node].keyword_length = length;
  }
  return node;
}

/* [argument ("," argument)*] close */
static bool read_arguments(reader *r, chain *c, char close, int opened) {
  if (accept(r, close)) return true;
  do {
    if (c->count && r->formula && peek(r) == close) break;      /* (3,) is a list of one */
    if (!chain_add(r, c, close == ')' ? read_argument(r) : read_choice(r))) return false;
  } while (accept(r, ','));
  if (accept(r, close)) return true;
  char want[48];
  snprintf(want, sizeof want, peek(r) ? "',' or '%c'" : "'%c'", close);
  if (peek(r)) unexpected(r, want);
  else refuse(r, opened, "this '%c' is not closed", r->text[opened]);
  return false;
}

/* name | name "(" [argument ("," argument)*] ")" */
static int read_name(reader *r) {
  int position = r->at, length = name_length(r, r->at);
  const char *name = r->text + position;
  r->at += length;
  if (peek(r) != '(') return append(r, EXPRESSION_NAME, position, name, length);
  chain arguments = { -1, -1, 0 };
  int opened = r->at++;
  if (!read_arguments(r, &arguments, ')', opened)) return -1;
  return chain_close(r, &arguments, append(r, EXPRESSION_CALL, position, name, length));
}

/* "(" choice ")"; in formulas also a list, "(" choice "," [choice ("," choice)*] ")" */
static int read_parenthesis(reader *r) {
  int opened = r->at++;
  if (r->formula && accept(r, ')')) return append(r, EXPRESSION_LIST, opened, NULL, 0);
  int node = read_choice(r);
  if (node < 0) return -1;
  if (!r->formula || peek(r) != ',') {
    if (accept(r, ')')) return node;
    return peek(r) ? unexpected(r, "an operator or ')'") : refuse(r, opened, "this '(' is not closed");
  }
  chain elements = { node, node, 1 };
  r->at++;
  if (!read_arguments(r, &elements, ')', opened)) return -1;
  return chain_close(r, &elements, append(r, EXPRESSION_LIST, opened, NULL, 0));
}

/* "[" [choice ("," choice)*] "]" */
static int read_list(reader *r) {
  chain elements = { -1, -1, 0 };
  int opened = r->at++;
  if (!read_arguments(r, &elements, ']', opened)) return -1;
  return chain_close(r, &elements, append(r, EXPRESSION_LIST, opened, NULL, 0));
}

/* primary = number | name | name "(" .. ")" | "(" choice ")" | list */
static int read_primary(reader *r) {
  char c = peek(r);
  if (is_digit(c) || c == '.') return read_number(r);
  if (is_letter(c)) return read_name(r);
  if (c == '(') return read_parenthesis(r);
  if (c == '[' && r->formula) return read_list(r);
  if (c == '"' && r->formula) return read_text(r);
  return unexpected(r, "a value");
}

static int read_unary(reader *r);

/* One level of unary operators or powers deeper. */
static int read_deeper_unary(reader *r) {
  if (r->depth >= NESTING) return refuse(r, r->at, "nesting is deeper than %d", NESTING);
  r->depth++;
  int node = read_unary(r);
  r->depth--;
  return node;
}

/* power = primary ["^" unary] */
static int read_power(reader *r) {
  int base = read_primary(r);
  if (base < 0 || peek(r) != '^') return base;
  int position = r->at++;
  return append_operator(r, "pow", position, 2, (int[]){ base, read_deeper_unary(r) });
}

/* unary = ("-" | "+" | "!") unary | power */
static int read_unary(reader *r) {
  char c = peek(r);
  int position = r->at;
  if (c != '-' && c != '+' && c != '!') return read_power(r);
  r->at++;
  int operand = read_deeper_unary(r);
  if (c == '+') return operand;
  return append_operator(r, c == '-' ? "neg" : "logical_not", position, 1, &operand);
}

/* The binary operators; a longer spelling stands before its prefix. */
static const struct binary { char spelling[3], precedence; bool formula; const char *name; } binaries[] = {
  { "||", 1, false, "logical_or" },
  { "&&", 2, false, "logical_and" },
  { "==", 3, false, "equal" },      { "!=", 3, false, "not_equal" },
  { "<=", 4, false, "less_equal" }, { ">=", 4, false, "greater_equal" },
  { "<",  4, false, "less" },       { ">",  4, false, "greater" },
  { "+",  5, false, "add" },        { "-",  5, false, "sub" },
  { "*",  6, false, "mul" },        { "/",  6, false, "div" },        { "@", 6, true, "matmul" },
};

static const struct binary *peek_binary(reader *r) {
  (void)peek(r);
  for (size_t i = 0; i < sizeof binaries/sizeof *binaries; i++) {
    const struct binary *b = &binaries[i];
    if (strncmp(r->text + r->at, b->spelling, strlen(b->spelling)) == 0)
      return b->formula && !r->formula ? NULL : b;
  }
  return NULL;
}

/* or, and, equality, relation, sum, product: all left associative, so operators of at least this precedence
 * are a loop. */
static int read_binary(reader *r, int precedence) {
  int left = read_unary(r);
  for (const struct binary *b; left >= 0 && (b = peek_binary(r)) && b->precedence >= precedence; ) {
    int position = r->at;
    r->at += (int)strlen(b->spelling);
    if (b->spelling[0] == '*' && r->text[r->at] == '*')
      return refuse(r, position, "a power is written with ^");
    int right = read_binary(r, b->precedence + 1);
    left = append_operator(r, b->name, position, 2, (int[]){ left, right });
  }
  return left;
}

/* choice = or ["?" choice ":" choice] */
static int read_choice(reader *r) {
  if (r->depth >= NESTING) return refuse(r, r->at, "nesting is deeper than %d", NESTING);
  r->depth++;
  int node = read_binary(r, 1);
  if (node >= 0 && peek(r) == '?') {
    int position = r->at++;
    int yes = read_choice(r);
    if (yes >= 0 && !accept(r, ':')) yes = unexpected(r, "':'");
    int no = yes < 0 ? -1 : read_choice(r);
    node = append_operator(r, "select", position, 3, (int[]){ node, yes, no });
  }
  r->depth--;
  return node;
}

/* --- statements ------------------------------------------------------------------------------- */

/* What follows a complete expression and is neither its end nor a semicolon. */
static void refuse_rest(reader *r) {
  char c = peek(r);
  if (c == ')' || c == ']') refuse(r, r->at, "this '%c' was never opened", c);
  else if (c == '=') refuse(r, r->at, "only a name can be assigned to; equality is written ==");
  else if (is_digit(c) || is_letter(c) || c == '(' || c == '.') unexpected(r, "an operator");
  else unexpected(r, r->formula ? "an operator or ';'" : "an operator");
}

/* statement = name "=" choice | choice */
static bool read_statement(reader *r) {
  expression *e = r->out;
  expression_statement s = { .root = -1 };
  s.name_length = r->formula ? assigned_name(r) : 0;
  s.position = (peek(r), r->at);
  if (s.name_length) {
    s.name = r->text + r->at;
    r->at += s.name_length;
    (void)accept(r, '=');
  }
  s.root = read_choice(r);
  if (s.root < 0) return false;
  if (!memory_reserve(r->allocator, &e->statement, &e->statement_capacity, (size_t)e->statement_count + 1,
                      sizeof s)) {
    out_of_memory(r);
    return false;
  }
  e->statement[e->statement_count++] = s;
  return true;
}

/* program = statement (";" statement)* [";"] */
static void read_program(reader *r) {
  do {
    if (r->out->statement_count && !peek(r)) return;
    if (!read_statement(r)) return;
  } while (r->formula && accept(r, ';'));
  if (peek(r)) refuse_rest(r);
}

ad_status expression_read(const ad_allocator *a, const char *text, int flags, expression *out,
                          expression_error *error) {
  expression_error unwanted;
  reader r = {
    .allocator = a, .text = text, .formula = (flags & EXPRESSION_FORMULA) != 0,
    .out = out, .error = error ? error : &unwanted,
  };
  *out = (expression){ 0 };
  *r.error = (expression_error){ 0 };
  if (strlen(text) > INT_MAX - 64) refuse(&r, 0, "the text is too long");
  else read_program(&r);
  if (r.status) expression_free(a, out);
  return r.status;
}

void expression_free(const ad_allocator *a, expression *e) {
  memory_release(a, e->node, e->node_capacity*sizeof *e->node);
  memory_release(a, e->statement, e->statement_capacity*sizeof *e->statement);
  *e = (expression){ 0 };
}

bool expression_is(const char *name, int length, const char *word) {
  return name && strlen(word) == (size_t)length && !memcmp(name, word, (size_t)length);
}
