/* decimal.h -- numbers in files: a decimal point whatever the locale. */
#ifndef ADIT_LEARN_DECIMAL_H
#define ADIT_LEARN_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>

/* [+-] digits [. digits] [e [+-] digits], at least one digit, at most 1000 bytes, rounded correctly. False
 * for anything else, and where the number is too large for a double. */
bool decimal_read(const char *text, size_t length, double *value);

/* The shortest of 15 to 17 digits that reads as value again, with a decimal point; nan and inf are "nan",
 * "inf" and "-inf". Returns text. */
enum { DECIMAL_TEXT = 32 };
char *decimal_write(double value, char text[DECIMAL_TEXT]);

#endif
