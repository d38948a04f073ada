/* flow.h -- how a tangent or an adjoint passes one node, in nodes.
 *
 * A flow is a value and a mask (tape/replay.h): what is not connected is no zero, so that 0*inf of a branch
 * that was not taken never appears. Masks begin where operations choose or place elements. Elementwise they
 * go on as they are; what becomes of them where elements are summed is the business of mask.h.
 */
#ifndef ADIT_DERIVE_FLOW_H
#define ADIT_DERIVE_FLOW_H

#include "tape/replay.h"

/* How a flow is handed on. A mask is left out where the value is zero by itself, unless somebody further on
 * looks at it: FLOW_MASK, to multiply by a value; FLOW_POLE, by a slope that may be infinite where all values
 * are finite. FLOW_IN_RULE: the node was recorded by a derivative rule, and its own rules are applied as they
 * are. */
enum { FLOW_MASK = 1, FLOW_POLE = 2, FLOW_ASKED = FLOW_MASK | FLOW_POLE, FLOW_IN_RULE = 4 };

/* True when the derivative of node i by its operand k is looked at at all: both are floats, and the primitive
 * connects them. */
bool flow_passes(const ad_tape *t, uint32_t i, int k);
/* The sum of two flows of one type. */
flow flow_add(ad_tape *t, flow a, flow b, unsigned how);
/* The tangent of node i from those of its operands, xdot[k] for each. */
flow flow_forward(ad_tape *t, uint32_t i, const flow xdot[], unsigned how);
/* What the operands of node i get of the cotangent zbar: xbar[k] where wanted[k], else nothing. */
void flow_reverse(ad_tape *t, uint32_t i, flow zbar, const bool wanted[], flow xbar[], unsigned how);
/* The flow as a value of that type: zeros where it is not connected. */
ad_var flow_value(ad_tape *t, flow f, const ad_type *type);

/* The sweeps behind ad_vjp and ad_jvp on nodes: seeds ybar[j] at y[j], results xbar[i] at x[i], and the other
 * way round. */
ad_status sweep_reverse(ad_tape *t, int m, const uint32_t y[], const flow ybar[], int n, const uint32_t x[],
                        flow xbar[], unsigned how);
ad_status sweep_forward(ad_tape *t, int n, const uint32_t x[], const flow xdot[], int m, const uint32_t y[],
                        flow ydot[], unsigned how);

#endif
