/* replay.h -- a rule of a row, recorded: the text becomes nodes. */
#ifndef ADIT_TAPE_REPLAY_H
#define ADIT_TAPE_REPLAY_H

#include "primitives/rule.h"
#include "tape/tape.h"

/* A derivative on its way through the tape: where mask holds it is value, elsewhere there is no connection (a
 * structural zero, and value is anything, or, if zeros, known to be 0). mask is ad_none() when it is
 * connected everywhere; value is ad_none() when it is connected nowhere. */
typedef struct flow { ad_var value, mask; bool zeros; } flow;

static inline flow flow_none(void) { return (flow){ ad_none(), ad_none(), false }; }
static inline flow flow_of(ad_var value) { return (flow){ value, ad_none(), false }; }
static inline bool flow_connected(flow f) { return !ad_is_none(f.value); }
/* The value with zeros where there is no connection. f must be connected. */
ad_var flow_settle(flow f);

/* The rule of an elementwise primitive by operand k, read once per tape. NULL with the error on the tape when
 * it has none. */
const rule *tape_rule(ad_tape *t, uint32_t primitive, int k);

/* Records a rule. letter[LETTER_X..LETTER_G] stand for the letters, a is the attribute. */
flow tape_replay(ad_tape *t, const rule *r, const ad_var letter[LETTERS], double a);

#endif
