/* expression.h -- reads expressions: the texts of the table's rows, and what users type (src/formula).
 *
 * One grammar for both, operators in C's order of precedence, with ^ (right associative, tighter than unary
 * minus: -x^2 is -(x^2), 2^-1 is fine):
 *   program   = statement (";" statement)* [";"]                    only with EXPRESSION_FORMULA
 *   statement = name "=" choice | choice
 *   choice    = or ["?" choice ":" choice]
 *   or        = and ("||" and)*          and = equality ("&&" equality)*
 *   equality  = relation (("==" | "!=") relation)*
 *   relation  = sum (("<=" | "<" | ">=" | ">") sum)*
 *   sum       = product (("+" | "-") product)*
 *   product   = unary (("*" | "/") unary)*         also "@", the matrix product, in formulas
 *   unary     = ("-" | "+" | "!") unary | power
 *   power     = primary ["^" unary]
 *   primary   = number | name | name "(" [argument ("," argument)*] ")" | "(" choice ")"
 *   argument  = [name "="] choice                                   the name only in formulas
 * and in formulas also
 *   primary   = "[" [choice ("," choice)*] "]" | "(" choice "," [choice ("," choice)*] ")"        both are
 *             lists
 *             | a text in double quotes
 * Operators become calls of the rows' names: neg add sub mul div pow less less_equal greater greater_equal
 * equal not_equal logical_not logical_and logical_or select. The parser does not know which names exist.
 */
#ifndef ADIT_PRIMITIVES_EXPRESSION_H
#define ADIT_PRIMITIVES_EXPRESSION_H

#include "base/memory.h"

typedef enum expression_kind { EXPRESSION_NUMBER, EXPRESSION_NAME, EXPRESSION_CALL, EXPRESSION_LIST,
                              EXPRESSION_TEXT } expression_kind;   /* LIST, TEXT: only in formulas */

/* Nodes stand in one array, arguments before the call that uses them, so that most passes are one loop. */
typedef struct expression_node {
  expression_kind kind;
  bool integer;                 /* a number written without point or exponent */
  double number;
  /* of a NAME, CALL or TEXT: not terminated, points into the text, or is an operator's static name */
  const char *name;
  int name_length;
  int argument_count;
  /* index of the first argument node, -1: none; the others follow by next_argument */
  int first_argument;
  int next_argument;            /* the next argument of the same call, -1: the last */
  const char *keyword;          /* name of a named argument (axis=0), else NULL */
  int keyword_length;
  /* offset in the text for a caret: where the node begins; for an operator, the operator */
  int position;
} expression_node;

typedef struct expression_statement {
  const char *name;             /* name = root; NULL for a bare expression */
  int name_length, position;
  int root;
} expression_statement;

typedef struct expression {
  expression_node *node;
  expression_statement *statement;
  int node_count, statement_count;
  size_t node_capacity, statement_capacity;
} expression;

typedef struct expression_error { int position; char message[160]; } expression_error;

enum { EXPRESSION_FORMULA = 1 };

/* Reads text. On AD_ERROR_SYNTAX or AD_ERROR_MEMORY *error (may be NULL) says where and what, and *out is
 * empty. Nesting deeper than 1000 is a syntax error, long sums are not. text must outlive *out. */
ad_status expression_read(const ad_allocator *a, const char *text, int flags, expression *out,
                          expression_error *error);
void expression_free(const ad_allocator *a, expression *e);
bool expression_is(const char *name, int length, const char *word);    /* name[0..length) is word */

#endif
