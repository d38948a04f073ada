/* text.h -- operations of a tape laid out for writing. */
#ifndef ADIT_FORMULA_TEXT_H
#define ADIT_FORMULA_TEXT_H

#include "formula/notation.h"
#include "tape/tape.h"

/* Lays out what node i computes from its operands, whose notes are given. Constants are numbers, inputs the
 * value i. What a structured operation has besides its operands (axes, shapes) is not shown. */
int text_node(const ad_tape *t, uint32_t i, const int operand[], sheet *s);

#endif
