/* layout.h -- terms of the algebra laid out as a textbook writes them. */
#ifndef ADIT_FORMULA_LAYOUT_H
#define ADIT_FORMULA_LAYOUT_H

#include "formula/algebra.h"
#include "formula/notation.h"

/* Lays term x out on the sheet; its note, -1 when memory fails. */
int layout_term(const algebra *a, int x, sheet *s);

#endif
