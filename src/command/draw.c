/* draw.c -- adit draw: the computational graph through Graphviz, each node with name, operation, value and
 * adjoint.
 *
 * The program dot is started directly, without a shell; the graph goes through a pipe and the picture comes
 * back through another. Without -o the graph itself is printed, in Graphviz's language.
 */
#define _POSIX_C_SOURCE 200809L
#include "command/wengert.h"
#include "command/derivatives.h"
#include "command/json.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* --- the graph in Graphviz's language --------------------------------------------------------- */

/* A label inside "..": quotes and backslashes escaped, \n between lines written by the caller. */
static void write_label(FILE *out, const char *s) {
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') fputc('\\', out);
    fputc((unsigned char)*s < ' ' ? ' ' : *s, out);
  }
}

/* A few numbers of an array stand for all. */
static int write_array_label(FILE *out, const options *o, const char *what, ad_type type,
                             const double *value) {
  char shape[192];
  fprintf(out, "\\n%s ", what);
  if (type.rank == 0) fprintf(out, "%.8g", value[0]);
  else if (ad_type_count(type) <= 6) plain_array(out, type, value);
  else fputs(ad_type_print(type, shape, sizeof shape), out);
  (void)o;
  return DONE;
}

static int write_adjoint(const options *o, const wengert *w, int i, FILE *out) {
  ad_var v = handle(w->tape, w->node[i].index);
  ad_type type = ad_type_of(v);
  if (type.dtype != AD_F64) return DONE;
  double *z = malloc(ad_type_bytes(type) + 8);
  if (!z) return out_of_memory(o);
  if (!ad_read_adjoint(v, z)) write_array_label(out, o, "adjoint", type, z);
  ad_tape_clear(w->tape);
  free(z);
  return DONE;
}

static const char *colour(const problem *p, const wengert *w, int i) {
  for (int j = 0; j < p->outputs; j++) if (wengert_place(w, p->out[j]) == i) return "#fde3b5";
  return w->node[i].variable ? "#cfe5fa" : "#f2f2f2";
}

static int write_node(const options *o, const problem *p, const wengert *w, int i, bool adjoints, FILE *out) {
  numbers z;
  int status = read_numbers(o, handle(w->tape, w->node[i].index), &z);
  if (status) return status;
  fprintf(out, "  n%d [fillcolor=\"%s\", label=\"v_%d = ", i, colour(p, w, i), w->node[i].number);
  write_label(out, w->node[i].variable ? w->node[i].variable : w->node[i].formula);
  fputs("\\n", out);
  write_label(out, w->node[i].variable ? "input" : ad_operation_name(handle(w->tape, w->node[i].index)));
  status = write_array_label(out, o, "value", z.type, z.value);
  if (!status && adjoints) status = write_adjoint(o, w, i, out);
  fputs("\"];\n", out);
  free_numbers(&z, 1);
  for (int k = 0; k < wengert_operands(w, i); k++)
    if (wengert_operand(w, i, k) >= 0) fprintf(out, "  n%d -> n%d;\n", wengert_operand(w, i, k), i);
  return status;
}

/* The adjoints shown are those of the last output, if it is a float scalar. */
static int write_graph(const options *o, const problem *p, const wengert *w, FILE *out) {
  const ad_var y = p->out[p->outputs - 1];
  const bool adjoints = ad_type_of(y).rank == 0 && ad_type_of(y).dtype == AD_F64 && wengert_place(w, y) >= 0;
  if (adjoints && ad_backward(y)) return complain_tape(o, p->tape);
  fputs("digraph adit {\n  rankdir=LR;\n"
        "  node [shape=box, style=\"rounded,filled\", fontname=\"Helvetica\", fontsize=11];\n"
        "  edge [color=\"#555555\"];\n", out);
  int status = DONE;
  for (int i = 0; i < w->count && !status; i++) status = write_node(o, p, w, i, adjoints, out);
  fputs("}\n", out);
  return status;
}

/* --- Graphviz --------------------------------------------------------------------------------- */

/* A growing block of bytes. */
typedef struct bytes { char *s; size_t used, capacity; } bytes;

static bool add_bytes(bytes *b, const char *s, size_t n) {
  if (b->used + n + 1 > b->capacity) {
    size_t capacity = 2*b->capacity + n + 4096;
    char *larger = realloc(b->s, capacity);
    if (!larger) return false;
    b->s = larger, b->capacity = capacity;
  }
  memcpy(b->s + b->used, s, n);
  b->used += n;
  b->s[b->used] = 0;
  return true;
}

static bool send_all(int to, const char *s, size_t n) {
  while (n > 0) {
    ssize_t k = write(to, s, n);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return false;
    s += k, n -= (size_t)k;
  }
  return true;
}

static bool receive_all(int from, bytes *b) {
  char part[4096];
  for (;;) {
    ssize_t k = read(from, part, sizeof part);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return k == 0;
    if (!add_bytes(b, part, (size_t)k)) return false;
  }
}

/* Starts `dot -Tsvg` between two pipes; errno's value when it cannot. */
static int start(pid_t *child, int *to, int *from) {
  char *const argv[] = { "dot", "-Tsvg", NULL };
  int in[2], back[2];
  if (pipe(in)) return errno;
  if (pipe(back)) {
    close(in[0]), close(in[1]);
    return errno;
  }
  posix_spawn_file_actions_t actions;
  int status = posix_spawn_file_actions_init(&actions);
  if (!status) {
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, back[1], 1);
    posix_spawn_file_actions_addclose(&actions, in[1]);
    posix_spawn_file_actions_addclose(&actions, back[0]);
    status = posix_spawnp(child, "dot", &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  close(in[0]), close(back[1]);
  *to = in[1], *from = back[0];
  if (status) close(*to), close(*from);
  return status;
}

/* dot reads its whole input before it writes, so one after the other does not block. */
static int lay_out(const options *o, const char *graph, bytes *svg) {
  pid_t child;
  int to = -1, from = -1, exit_status = 0;
  int error = start(&child, &to, &from);
  if (!error) {
    bool fine = send_all(to, graph, strlen(graph));
    close(to);
    fine = receive_all(from, svg) && fine;
    close(from);
    while (waitpid(child, &exit_status, 0) < 0 && errno == EINTR) { }
    if (fine && WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 0 && svg->used) return DONE;
  }
  if (error == ENOENT || (!error && WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 127))
    complain(o, NULL, 0,
             "pictures need the program dot of Graphviz, which is not installed "
             "(Debian, Ubuntu: apt install graphviz); "
                         "-o FILE.dot writes the graph without it");
  else complain(o, NULL, 0, "the program dot failed");
  return FAILED;
}

/* --- files ------------------------------------------------------------------------------------ */

static bool ends_in(const char *s, const char *end) {
  size_t n = strlen(s), m = strlen(end);
  return n >= m && !strcmp(s + n - m, end);
}

static void write_html_text(FILE *out, const char *s) {
  for (; *s; s++) {
    if (*s == '<') fputs("&lt;", out);
    else if (*s == '>') fputs("&gt;", out);
    else if (*s == '&') fputs("&amp;", out);
    else fputc(*s, out);
  }
}

/* A page with the expression above the picture; the picture begins at its <svg. */
static void write_page(const options *o, const char *svg, FILE *out) {
  const char *picture = strstr(svg, "<svg");
  fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>", out);
  write_html_text(out, o->expression);
  fputs("</title>\n<style>body { font: 16px sans-serif; margin: 2em } code { font-size: 1.2em } "
        "svg { max-width: 100%; height: auto }"
        "</style>\n<p><code>", out);
  write_html_text(out, o->expression);
  fputs("</code>", out);
  for (int i = 0; i < o->bindings; i++) {
    fputs(i ? ", " : " at ", out);
    write_html_text(out, o->binding[i].argument);
  }
  fputs("</p>\n", out);
  fputs(picture ? picture : svg, out);
  fputs("</html>\n", out);
}

static int save(const options *o, const char *graph) {
  const bool page = ends_in(o->output, ".html"), plain = ends_in(o->output, ".dot");
  bytes svg = { NULL, 0, 0 };
  int status = plain ? DONE : lay_out(o, graph, &svg);
  FILE *file = status ? NULL : fopen(o->output, "w");
  if (!status && !file) status = complain(o, NULL, 0, "cannot write %s: %s", o->output, strerror(errno));
  if (file) {
    if (page) write_page(o, svg.s, file);
    else fputs(plain ? graph : svg.s, file);
    bool bad = ferror(file) != 0;
    if (fclose(file) || bad) status = complain(o, NULL, 0, "cannot write %s", o->output);
  }
  free(svg.s);
  return status;
}

int command_draw(const options *o, FILE *out) {
  problem p;
  wengert w = { .count = 0 };
  char *graph = NULL;
  size_t size = 0;
  if (o->output && !ends_in(o->output, ".svg") && !ends_in(o->output, ".dot") && !ends_in(o->output, ".html"))
    return complain(o, o->output, 0, "the file's name must end in .svg, .dot or .html");
  int status = problem_open(&p, o);
  if (!status) status = wengert_open(&w, &p, o);
  FILE *text = status ? NULL : open_memstream(&graph, &size);
  if (text) {
    status = write_graph(o, &p, &w, text);
    if (fclose(text) && !status) status = out_of_memory(o);
  } else if (!status) status = out_of_memory(o);
  if (!status && o->output) status = save(o, graph);
  else if (!status) fputs(graph, out);
  free(graph);
  wengert_close(&w);
  problem_close(&p);
  return status;
}
