/* emit.c -- adit emit: generated C is part of a later version; until then this says so. */
#include "command/command.h"

int command_emit(const options *o, FILE *out) {
  (void)out;
  return complain(o, NULL, 0,
                  "generated C comes with a later version of adit; this one evaluates and differentiates, "
                  "but does not write code yet");
}
