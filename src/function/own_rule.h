/* own_rule.h -- the derivative that a user gave a function, completed: what custom.c and external.c share. */
#ifndef ADIT_FUNCTION_OWN_RULE_H
#define ADIT_FUNCTION_OWN_RULE_H

#include <stdatomic.h>

#include "adit/custom.h"
#include "function/function.h"
#include "tape/tuple.h"

/* (x.., s..) -> (anything.., r..), linear in s. */
typedef struct linear_rule {
  ad_function *f;                   /* NULL: there is none */
  int skip;                         /* outputs in front of r */
} linear_rule;

/* Reference counted: the nodes of a function with a rule of its own hold on to it through their tapes. */
typedef struct own_rule {
  atomic_int references;
  ad_allocator allocator;
  char name[64];
  int n, m;                         /* inputs and outputs */
  linear_rule jvp, vjp;
  bool *depends;                    /* [output*n + input]; NULL: all on all */
  char why[160];                    /* what is missing could not be derived: the reason, or "" */
  void (*free)(struct own_rule *o); /* what it is part of, NULL: by itself */
} own_rule;

/* Fills in *o for a function of that name and these types, checked and completed. False with *report; nothing
 * is held then. own: a function to derive from where the rule has none, NULL: none. */
bool own_rule_open(own_rule *o, const ad_allocator *a, const char *name, int n, const ad_type in[], int m,
                   const ad_type out[], const ad_custom_rule *given, ad_function *own, ad_report *report);
/* Lets go of what own_rule_open has taken. */
void own_rule_close(own_rule *o);

void own_rule_retain(void *o);
void own_rule_release(void *o);

/* The rules of a node whose derivative is o: tuple.h. */
bool own_rule_forward(ad_tape *t, const own_rule *o, uint32_t i, const flow xdot[], flow zdot[]);
bool own_rule_reverse(ad_tape *t, const own_rule *o, uint32_t i, const flow zbar[], const bool wanted[],
                      flow xbar[]);
bool own_rule_taylor(ad_tape *t, const own_rule *o, uint32_t i, int order, const ad_var x[], ad_var z[]);

/* *report with a text, or what t says; report may be NULL. */
void own_report(ad_report *report, ad_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Records one operation of primitive p on in[0..n) and its m results. */
void own_record(ad_tape *t, const ad_primitive *p, const void *attribute, size_t size, int n,
                const ad_var in[], int m, ad_var out[]);

/* The name of the callback that node i calls; NULL for other nodes. */
const char *external_name(const ad_tape *t, uint32_t i);

#endif
