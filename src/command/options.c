/* options.c -- the command line, and complaints about it.
 *
 * Not getopt: -x^2 is an expression here, and x=-2 a value. An option is what begins with -- or is -o or -h;
 * `--` ends them.
 */
#include "command/command.h"
#include "adit/code.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- complaints ------------------------------------------------------------------------------- */

enum { SHOWN = 72 };                  /* bytes of a long line that are shown on each side of the spot */

/* Prints the line around the spot and the caret below, counting UTF-8 characters. */
static void point_at(const char *text, int position) {
  int begin = position, end = position;
  while (begin > 0 && text[begin - 1] != '\n' && position - begin < SHOWN) begin--;
  while (text[end] && text[end] != '\n' && end - position < SHOWN) end++;
  while (begin < position && ((unsigned char)text[begin] & 0xC0) == 0x80) begin++;
  fputs("  ", stderr);
  for (int i = begin; i < end; i++) fputc((unsigned char)text[i] < ' ' ? ' ' : text[i], stderr);
  fputs("\n  ", stderr);
  for (int i = begin; i < position; i++) if (((unsigned char)text[i] & 0xC0) != 0x80) fputc(' ', stderr);
  fputs("^\n", stderr);
}

int complain(const options *o, const char *text, int position, const char *format, ...) {
  va_list list;
  fprintf(stderr, "adit%s%s: ", o && o->command ? " " : "", o && o->command ? o->command : "");
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
  fputc('\n', stderr);
  if (text) point_at(text, position);
  return BAD_INPUT;
}

int out_of_memory(const options *o) {
  complain(o, NULL, 0, "out of memory");
  return FAILED;
}

int complain_tape(const options *o, const ad_tape *tape) {
  return complain(o, NULL, 0, "%s", ad_tape_message(tape));
}

/* --- the command line ------------------------------------------------------------------------- */

static bool is_name(const char *s, size_t length) {
  for (size_t i = 0; i < length; i++) {
    char c = s[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
    if (!letter && (i == 0 || c < '0' || c > '9')) return false;
  }
  return length > 0;
}

static char *copied(const char *s, size_t length) {
  char *z = malloc(length + 1);
  if (!z) return NULL;
  memcpy(z, s, length);
  z[length] = 0;
  return z;
}

/* "x=2" */
static int read_binding(options *o, const char *argument) {
  size_t length = strcspn(argument, "=");
  if (!argument[length] || !is_name(argument, length))
    return complain(o, argument, 0,
                    "a value is given as name=value, and the expression is one argument (in quotes)");
  for (int i = 0; i < o->bindings; i++)
    if (strlen(o->binding[i].name) == length && !memcmp(o->binding[i].name, argument, length))
      return complain(o, argument, 0, "%s is given twice", o->binding[i].name);
  char *name = copied(argument, length);
  if (!name) return out_of_memory(o);
  o->binding[o->bindings++] = (binding){ name, argument + length + 1, argument };
  return DONE;
}

/* "x,y" */
static int read_wrt(options *o, const char *list) {
  size_t most = strlen(list) + 1;
  if (o->wrt) return complain(o, NULL, 0, "--wrt is given twice");
  o->wrt = calloc(most, sizeof *o->wrt);
  if (!o->wrt) return out_of_memory(o);
  for (const char *s = list; ; ) {
    size_t length = strcspn(s, ",");
    if (!is_name(s, length))
      return complain(o, list, (int)(s - list), "--wrt takes names separated by commas");
    if (!(o->wrt[o->n_wrt] = copied(s, length))) return out_of_memory(o);
    o->n_wrt++;
    if (!s[length]) return DONE;
    s += length + 1;
  }
}

static int read_order(options *o, const char *s) {
  char *end;
  errno = 0;
  long order = strtol(s, &end, 10);
  if (!*s || *end || errno || order < 0 || order > 10000)
    return complain(o, s, 0, "--order takes a number from 0 to 10000");
  o->order = (int)order;
  return DONE;
}

/* The value of option `name` if argument i is it, "--name=value" or in the next argument; NULL if it is
 * something else. */
static const char *option_value(int argc, char **argv, int *i, const char *name) {
  size_t length = strlen(name);
  if (strncmp(argv[*i], name, length)) return NULL;
  if (argv[*i][length] == '=') return argv[*i] + length + 1;
  if (argv[*i][length]) return NULL;
  return *i + 1 < argc ? argv[++*i] : "";
}

/* Which derivatives emit writes, and for whom; which ones report counts. */
static bool read_entry(options *o, const char *s) {
  static const struct { const char *name; unsigned entry; } entry[] = {
    { "--gradient", AD_CODE_GRADIENT }, { "--jacobian", AD_CODE_JACOBIAN }, { "--hessian", AD_CODE_HESSIAN },
    { "--jvp", AD_CODE_JVP }, { "--vjp", AD_CODE_VJP }
  };
  for (size_t k = 0; k < sizeof entry/sizeof *entry; k++)
    if (!strcmp(s, entry[k].name)) return o->entries |= entry[k].entry, true;
  if (strcmp(o->command, "emit")) return false;
  if (!strcmp(s, "--casadi")) return o->convention = AD_CODE_CASADI, true;
  if (!strcmp(s, "--casadi=int")) return o->convention = AD_CODE_CASADI_INT, true;
  return false;
}

/* An option that begins with - ; *taken tells whether it was one. */
static int read_option(options *o, int argc, char **argv, int *i, bool *taken) {
  const char *s = argv[*i], *value;
  *taken = true;
  if (!strcmp(s, "--json")) return o->json = true, DONE;
  if (!strcmp(s, "--latex")) return o->latex = true, DONE;
  if (!strcmp(s, "--verbose")) return o->verbose = true, DONE;
  if (!strcmp(s, "--help") || !strcmp(s, "-h")) return o->help = true, DONE;
  if ((!strcmp(o->command, "emit") || !strcmp(o->command, "report")) && read_entry(o, s)) return DONE;
  if ((value = option_value(argc, argv, i, "--wrt"))) return read_wrt(o, value);
  if ((value = option_value(argc, argv, i, "--order"))) return read_order(o, value);
  if ((value = option_value(argc, argv, i, "-o")) || (value = option_value(argc, argv, i, "--output")))
    return *value ? (o->output = value, DONE) : complain(o, NULL, 0, "-o takes a file name");
  if (!strncmp(s, "--", 2) && s[2] >= 'a' && s[2] <= 'z') return complain(o, NULL, 0, "unknown option %s", s);
  *taken = false;
  return DONE;
}

int options_read(options *o, int argc, char **argv) {
  bool ended = false;
  *o = (options){ .command = argv[0], .order = -1 };
  o->binding = calloc((size_t)argc + 1, sizeof *o->binding);
  if (!o->binding) return out_of_memory(o);
  for (int i = 1; i < argc; i++) {
    bool taken = false;
    int status = DONE;
    if (!ended && !strcmp(argv[i], "--")) ended = taken = true;
    else if (!ended && argv[i][0] == '-') status = read_option(o, argc, argv, &i, &taken);
    if (!taken && !o->expression) o->expression = argv[i];
    else if (!taken) status = read_binding(o, argv[i]);
    if (status) return status;
  }
  if (!o->expression && !o->help)
    return complain(o, NULL, 0, "an expression is missing; try: adit %s --help", o->command);
  return DONE;
}

void options_free(options *o) {
  for (int i = 0; i < o->bindings; i++) free(o->binding[i].name);
  for (int i = 0; i < o->n_wrt; i++) free(o->wrt[i]);
  free(o->binding);
  free(o->wrt);
}
