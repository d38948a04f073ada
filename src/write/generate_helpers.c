/* generate_helpers.c -- helpers.h as the lines of a C array, for code that is written out:
 *
 *     generate_helpers helpers.h >helpers_text.inc
 *
 * What stands before the first empty line, the description of the file, is left out. */
#include <stdio.h>
#include <string.h>

static void print_quoted(const char *line) {
  fputs("  \"", stdout);
  for (; *line && *line != '\n'; line++) {
    if (*line == '"' || *line == '\\') putchar('\\');
    putchar(*line);
  }
  puts("\",");
}

int main(int argc, char **argv) {
  char line[400];
  FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
  if (!f) {
    fputs("usage: generate_helpers helpers.h >helpers_text.inc\n", stderr);
    return 1;
  }
  while (fgets(line, sizeof line, f) && line[0] != '\n') { }
  while (fgets(line, sizeof line, f)) print_quoted(line);
  fclose(f);
  return 0;
}
