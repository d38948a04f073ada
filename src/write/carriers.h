/* carriers.h -- what the files that write one kind of carrier each share. */
#ifndef ADIT_WRITE_CARRIERS_H
#define ADIT_WRITE_CARRIERS_H

#include "function/derived.h"
#include "write/unit.h"

/* One carrier as text: the addresses of its operands and results (NULL: not wanted). */
typedef struct carrier_text {
  unit *u;
  uint32_t node;
  const carrier *c;
  const char **x, **z;
  int operands, results;
  size_t bytes;
} carrier_text;

/* The vjp that an adjoint runs, as prepare_vjp of run/carrier.h; NULL with the error left. */
ad_function *text_vjp(carrier_text *c, ad_function *f, const bool sums[], const bool in[], const bool out[]);
/* derived_opened; NULL with the error left. */
ad_function *text_opened(carrier_text *c, ad_function *f);
const unit_info *text_unit(carrier_text *c, ad_function *f, const bool wanted[]);

/* --- states of loops: scan.c --------------------------------------------------------------------------- */

/* The states of a loop, name0, name1, ..: which input and which output of the body each is; on the way
 * forwards, which are of use to anybody, and which are recorded. */
typedef struct state_texts {
  carrier_text *c;
  const char *name;
  int n, *in, *out;
  bool *live, *recorded;
  size_t bytes;
} state_texts;

bool states_open(state_texts *s, carrier_text *c, const char *name);
void states_close(state_texts *s);
/* Are n elements a local array? */
bool text_is_local(int64_t n);
/* Declares name0 and name0_next, arrays both or addresses of work memory; chosen (NULL: all). */
void states_declare(const state_texts *s, const bool chosen[]);
void states_set(const state_texts *s, int k, const char *from);
void states_clear(const state_texts *s, int k);
void states_get(const state_texts *s, int k, const char *to);
void states_turn(const state_texts *s, const bool chosen[]);
/* name3_next becomes name3: n elements. */
void text_turn(unit *u, const char *name, int k, ad_dtype dtype, int64_t n);

/* "const int64_t name = ..": how many steps a scan makes, once that is found to be in range. */
void write_steps_count(carrier_text *c, const char *name);
/* Row number `at` of a stacked array. */
const char *text_row(carrier_text *c, const char *base, int64_t count);

/* Does the adjoint at node i, whose steps are made ready for that, look at input k of f? */
bool text_step_reads(carrier_text *c, uint32_t i, int k);

/* --- states that a loop keeps for its adjoint: kept.c --------------------------------------------------- */

/* Steps there is memory for where all states are kept; are they? */
int64_t text_bound(const ad_writer *w, const carrier *c);
bool text_keeps_all(const ad_writer *w, const carrier *c);
/* Of a loop or its adjoint: are states kept by the one for the other? Then the rows of the state that input k
 * is. */
bool text_is_kept(const carrier_text *c);
const char *text_kept(const carrier_text *c, int k);

/* Of result k of a scan, or of operand k of its adjoint, the elements from row to row, and row `at`. */
int64_t text_row_step(const carrier_text *c, bool result, int k);
const char *text_kept_row(carrier_text *c, bool result, int k);

/* The arguments of a call: addresses of n inputs and m outputs, and which of these are wanted. */
typedef struct argument_texts {
  ad_writer *w;
  int n, m;
  const char **in, **out;
  bool *wanted;
  char *room;
  size_t bytes;
} argument_texts;

bool arguments_open(argument_texts *a, ad_writer *w, int n, int m);
void arguments_close(argument_texts *a);
void set_in(argument_texts *a, int k, const char *address);
void set_out(argument_texts *a, int j, const char *address);

/* Is f nothing but elementwise operations on scalars? */
bool write_all_scalar(const ad_function *f);

bool write_call(carrier_text *c);
bool write_map(carrier_text *c);
/* Is it written in blocks? Of c, which results are wanted is looked at, but no address. */
bool map_in_blocks(carrier_text *c);
bool write_scan(carrier_text *c);
bool write_scan_adjoint(carrier_text *c);

#endif
