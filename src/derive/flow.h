/* flow.h -- how a tangent or an adjoint passes one node, in nodes.
 *
 * A flow is a value and a mask (tape/replay.h): what is not connected is no zero, so that 0*inf of a branch
 * that was not taken never appears. Masks exist only below operations that choose or that place elements.
 */
#ifndef ADIT_DERIVE_FLOW_H
#define ADIT_DERIVE_FLOW_H

#include "tape/replay.h"

/* True when the derivative of node i by its operand k is looked at at all: both are floats, and the primitive
 * connects them. */
bool flow_passes(const ad_tape *t, uint32_t i, int k);
/* The sum of two flows of one type. */
flow flow_add(ad_tape *t, flow a, flow b);
/* The tangent of node i from those of its operands, xdot[k] for each. */
flow flow_forward(ad_tape *t, uint32_t i, const flow xdot[]);
/* What the operands of node i get of the cotangent zbar: xbar[k] where wanted[k], else nothing. */
void flow_reverse(ad_tape *t, uint32_t i, flow zbar, const bool wanted[], flow xbar[]);
/* The flow as a value of that type: zeros where it is not connected. */
ad_var flow_value(ad_tape *t, flow f, const ad_type *type);

/* The reverse sweep behind ad_vjp on nodes: seeds ybar[j] at y[j], results xbar[i] at x[i]. */
ad_status sweep_reverse(ad_tape *t, int m, const uint32_t y[], const flow ybar[], int n, const uint32_t x[],
                        flow xbar[]);

#endif
