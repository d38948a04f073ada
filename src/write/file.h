/* file.h -- a written file and its entry points, in the plain style (file.c) or CasADi's (casadi.c). */
#ifndef ADIT_WRITE_FILE_H
#define ADIT_WRITE_FILE_H

#include "write/unit.h"

/* One entry point: a function under a name. */
typedef struct entry {
  ad_function *f;
  char name[WRITE_NAME];
  const unit_info *code;
} entry;

typedef struct file {
  ad_writer w;
  entry *entry;
  int n;
  text source, header;
} file;

static inline bool is_casadi(const file *p) { return p->w.options.convention != AD_CODE_PLAIN; }

/* "f64(2, 3)" */
void put_shape(text *to, const ad_type *type);
/* For comments: what would end them is replaced. */
void put_comment_word(text *to, const char *s);
/* The call of the entry's unit, with the names that this has for its parameters: x0, z0, w; and ";". */
void put_call(text *to, const entry *e);
/* Leaves the error if something of the file has that name; it counts as taken from here on. */
bool check_name(file *p, const char *name);

/* --- casadi.c ------------------------------------------------------------------------------------------- */

/* The integer type, and how symbols are exported. */
void put_casadi_types(const file *p, text *to);
void put_casadi_declaration(const file *p, text *to, const entry *e);
/* The entry point and its companions. */
void put_casadi_entry(file *p, text *to, const entry *e);
/* Names of companions, and sizes that the integer type must hold. */
bool check_casadi(file *p);

#endif
