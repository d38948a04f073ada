/* json.h -- values as JSON and as plain text. */
#ifndef ADIT_COMMAND_JSON_H
#define ADIT_COMMAND_JSON_H

#include <stdio.h>

#include "adit/types.h"

/* A number with 17 significant digits; "nan", "inf", "-inf" as strings. */
void json_number(FILE *out, double value);
void json_string(FILE *out, const char *s);
/* An array of doubles as nested lists; rank 0: the number. */
void json_array(FILE *out, ad_type type, const double *value);
/* The same as plain text, numbers as short as they read back. */
void plain_array(FILE *out, ad_type type, const double *value);
void plain_number(FILE *out, double value);

#endif
