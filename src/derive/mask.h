/* mask.h -- which elements of a flow are connected, and who asks.
 *
 * Where elements are summed (structured primitives, broadcasts) an element of the result is connected when
 * one of its terms is, whatever the weights. Such an operation works on settled values, zeros where there is
 * no connection, and its result is zero by itself where none of the terms is connected: its mask says nothing
 * new until something makes nan of that zero. So masks behind sums are made only where a rule comes further
 * on that may: mask_counts says which; the sweeps find out before they begin. Masks behind sums with unit
 * weights cost little, and are made for every rule that multiplies; behind products, only for rules with
 * poles.
 */
#ifndef ADIT_DERIVE_MASK_H
#define ADIT_DERIVE_MASK_H

#include "tape/replay.h"

/* What the derivative of node i by its operand k may do to a zero: FLOW_MASK where it multiplies by a value;
 * FLOW_POLE besides, where by a slope that may be infinite with all values finite; else 0. */
unsigned mask_counts(ad_tape *t, uint32_t i, int k);

/* Of an elementwise row, where none of the values is nan: 0 where its slopes are always finite, FLOW_MASK
 * where they are as long as operands and value are, FLOW_ASKED otherwise. */
unsigned mask_slopes(const ad_tape *t, uint32_t i);

/* p is linear in its operand k with the others fixed. */
static inline bool mask_is_linear(const ad_primitive *p, int k) {
  return (p->traits & AD_TRAIT_LINEAR) || (k < 32 && (p->linear_in >> k & 1));
}

/* The rule of node i by its operand k makes a zero, of either sign, of the same zero: it adds, or multiplies
 * by a positive constant. */
bool mask_keeps_zeros(const ad_tape *t, uint32_t i, int k);

/* True, with its value, when node i is a constant number. */
bool mask_constant(const ad_tape *t, uint32_t i, double *number);

/* The same mask, none included. */
bool mask_same(ad_var m, ad_var n);
/* Is it so that, within a third mask (none: everywhere), m holds where n does not, and the other way round,
 * as their nodes tell? One is the negation of the other then, or they are == and != of the same operands.
 * *first: which of them holds, within *within. */
bool mask_is_choice(ad_tape *t, ad_var m, ad_var n, ad_var *first, ad_var *within);
/* Elements in both; ad_none() is everywhere. */
ad_var mask_both(ad_var m, ad_var n);
/* Elements in one of them. */
ad_var mask_either(ad_var m, ad_var n);
/* A mask that is no single element. */
bool mask_is_array(ad_var mask);
/* v broadcast to the shape of type. */
ad_var mask_shaped(ad_var v, const ad_type *type);
/* 1 where the mask holds, 0 elsewhere, of that type; and back. */
ad_var mask_as_numbers(ad_var mask, const ad_type *type);
ad_var mask_of_numbers(ad_var v);

/* The elements of node i that get a term with an element of operand k under the mask; linear in operand k. */
ad_var mask_reached(ad_tape *t, uint32_t i, int k, ad_var mask);
/* All elements as soon as one is under the mask: what can be said of any operation. */
ad_var mask_of_any(ad_var mask);

/* True for a slice_add, scatter_add, ...: where nothing was added to zeros, there is no connection. */
bool mask_is_addition(const ad_tape *t, ad_var v);
/* The flow with its mask made explicit, where it is only implied by additions into zeros. */
flow mask_explicit(ad_tape *t, flow f);

/* Records node i again, attribute and all, on other operands. */
ad_var mask_record_again(ad_tape *t, uint32_t i, int n, const ad_var x[]);

#endif
