/* reduce_write.c -- see reduce_write.h. */
#include "primitives/reduce_write.h"

#include <stdio.h>
#include <string.h>

/* --- the walk ------------------------------------------------------------------------------------------- */

static void add_axis(written_walk *a, int64_t dim, int64_t stride) {
  if (dim == 1) return;
  a->dim[a->rank] = dim;
  a->x[a->rank++] = stride;
}

/* The plan lists outer axes from the innermost on. */
written_walk written_walk_of(const ad_type *x, unsigned mask) {
  const reduction_plan p = reduction_plan_of(x, mask);
  written_walk a = { 0 };
  for (int d = p.kept; d-- > 0;) add_axis(&a, p.kept_dim[d], p.kept_stride[d]);
  add_axis(&a, p.width, 1);
  a.kept = a.rank;
  for (int d = p.reduced; d-- > 0;) add_axis(&a, p.reduced_dim[d], p.reduced_stride[d]);
  add_axis(&a, p.rows, p.width);
  dense_strides(a.kept, a.dim, a.z);
  dense_strides(a.rank - a.kept, a.dim + a.kept, a.line + a.kept);
  a.n = p.segments*p.rows;
  return a;
}

/* Reduced axes that do not follow each other at one distance are copied into a list first. */
static void write_one(ad_writer *w, const ad_operation *op, const written_walk *a, const char *z,
                      const char *x, write_line *line) {
  char at[2*WRITTEN_INDEX], index[WRITTEN_INDEX], list[WRITTEN_INDEX];
  written_line l = { at, a->n, a->rank > a->kept ? a->x[a->kept] : 1 };
  written_index(index, a->kept, a->x, 0);
  if (!strcmp(index, "0")) snprintf(at, sizeof at, "%s", x);
  else snprintf(at, sizeof at, "%s + %s", x, index);
  if (a->rank - a->kept > 1) {
    snprintf(at, sizeof at, "%s", ad_write_scratch(w, op->x[0]->dtype, a->n));
    l.step = 1;
    write_open_loops(w, a->dim, a->kept, a->rank);
    ad_write(w, "%s[%s] = %s[%s];", at, written_index(list, a->rank, a->line, 0), x,
             written_index(index, a->rank, a->x, 0));
    write_close_loops(w, a->rank - a->kept);
  }
  line(w, op, z, &l);
}

ad_status write_lines(ad_writer *w, const ad_operation *op, unsigned mask, const char *z, const char *x,
                      write_line *line, const char *empty) {
  const written_walk a = written_walk_of(op->x[0], mask);
  char index[WRITTEN_INDEX], element[2*WRITTEN_INDEX];
  if (a.n == 0) {
    write_fill(w, ad_type_count(op->z), z, empty);
    return AD_OK;
  }
  if (ad_type_count(op->z) == 0) return AD_OK;
  write_open_loops(w, a.dim, 0, a.kept);
  snprintf(element, sizeof element, "%s[%s]", z, written_index(index, a.kept, a.z, 0));
  write_one(w, op, &a, element, x, line);
  write_close_loops(w, a.kept);
  return AD_OK;
}

/* --- folds ---------------------------------------------------------------------------------------------- */

/* The words in capitals are filled in, those of ad_write_routine later. */
static const char fold_text[] =
  "/* Blocks of 512 elements, in 16 lanes each; lanes and blocks are put together pairwise. */\n"
  "static SUM HELPER(NAME)(const REAL *x, int64_t nPARAMETERS) {\n"
  "  SUM lane[16] = { 0 }, level[48] = { 0 }, a = EMPTY, b;\n"
  "  uint64_t blocks = 0;\n"
  "  int k, some = 0;\n"
  "  REAL v;\n"
  "  for (int64_t begin = 0; begin < n; begin += 512) {\n"
  "    const int64_t m = n - begin < 512 ? n - begin : 512;\n"
  "    int64_t i, l, lanes = m < 16 ? m : 16;\n"
  "    for (l = 0; l < lanes; l++) { v = x[PLACE(begin + l)]; lane[l] = TERM; }\n"
  "    for (i = 16; i + 16 <= m; i += 16)\n"
  "      for (l = 0; l < 16; l++) {\n"
  "        v = x[PLACE(begin + i + l)]; a = lane[l]; b = TERM;\n"
  "        lane[l] = COMBINE;\n"
  "      }\n"
  "    for (l = 0; i + l < m; l++) {\n"
  "      v = x[PLACE(begin + i + l)]; a = lane[l]; b = TERM;\n"
  "      lane[l] = COMBINE;\n"
  "    }\n"
  "    for (i = 8; i > 0; i /= 2) {\n"
  "      for (l = 0; l < i && l + i < lanes; l++) { a = lane[l]; b = lane[l + i]; lane[l] = COMBINE; }\n"
  "      if (lanes > i) lanes = i;\n"
  "    }\n"
  "    if (m < 512) { some = 1; break; }\n"
  "    b = lane[0];\n"
  "    for (k = 0; blocks >> k & 1; k++) { a = level[k]; b = COMBINE; }\n"
  "    level[k] = b;\n"
  "    blocks++;\n"
  "  }\n"
  "  b = some ? lane[0] : EMPTY;\n"
  "  for (k = 0; blocks >> k; k++) {\n"
  "    if (!(blocks >> k & 1)) continue;\n"
  "    a = level[k];\n"
  "    b = some ? COMBINE : a;\n"
  "    some = 1;\n"
  "  }\n"
  "  return b;\n"
  "}\n";

/* The same for a number of elements that is known, one block at most. */
static const char short_text[] =
  "/* ELEMENTS elements in LANES lanes, put together pairwise. */\n"
  "static inline SUM HELPER(NAME)(const REAL *xPARAMETERS) {\n"
  "  SUM lane[LANES], a, b;\n"
  "  REAL v;\n"
  "  int l;\n"
  "  for (l = 0; l < LANES; l++) { v = x[PLACE(l)]; lane[l] = TERM; }\n";
static const char rows_text[] =
  "  for (int i = LANES; i < ROUND; i += LANES)\n"
  "    for (l = 0; l < LANES; l++) { v = x[PLACE(i + l)]; a = lane[l]; b = TERM; lane[l] = COMBINE; }\n";
static const char rest_text[] =
  "  for (l = 0; l < ELEMENTS - ROUND; l++) {\n"
  "    v = x[PLACE(ROUND + l)]; a = lane[l]; b = TERM;\n"
  "    lane[l] = COMBINE;\n"
  "  }\n";
static const char pairs_text[] =
  "  for (l = 0; l < PAIRS; l++) { a = lane[l]; b = lane[l + HALF]; lane[l] = COMBINE; }\n";

/* Columns side by side: lanes and levels have an element for each. EACH_OF(n): the elements e of n rows,
 * which lie at x[AT]. */
static const char columns_text[] =
  "/* ELEMENTS rows of WIDTH columns: blocks of 512 rows, in 16 lanes each; lanes and blocks pairwise. */\n"
  "#define EACH_OF(n) EACH\n"
  "static void HELPER(NAME)(const REAL *x, RESULT *z) {\n"
  "  SUM lane[LANES*WIDTH] = { 0 }, level[LEVELS*WIDTH] = { 0 }, a, b;\n"
  "  int64_t blocks = 0;\n"
  "  int some = 0;\n"
  "  REAL v;\n"
  "  for (int64_t begin = 0; begin < ELEMENTS; begin += 512) {\n"
  "    const int64_t m = ELEMENTS - begin < 512 ? ELEMENTS - begin : 512;\n"
  "    int64_t i, e, k, lanes = m < LANES ? m : LANES;\n"
  "    EACH_OF(lanes) { v = x[begin*STEP + AT]; lane[e] = TERM; }\n"
  "    for (i = LANES; i + LANES <= m; i += LANES)\n"
  "      EACH_OF(LANES) { v = x[(begin + i)*STEP + AT]; a = lane[e]; b = TERM; lane[e] = COMBINE; }\n"
  "    EACH_OF(m - i) { v = x[(begin + i)*STEP + AT]; a = lane[e]; b = TERM; lane[e] = COMBINE; }\n"
  "    for (i = 8; i > 0; i /= 2) {\n"
  "      for (e = 0; e < (lanes - i)*WIDTH; e++) {\n"
  "        a = lane[e]; b = lane[e + i*WIDTH];\n"
  "        lane[e] = COMBINE;\n"
  "      }\n"
  "      if (lanes > i) lanes = i;\n"
  "    }\n"
  "    if (m < 512) { some = 1; break; }\n"
  "    for (k = 0; blocks >> k & 1; k++)\n"
  "      for (e = 0; e < WIDTH; e++) { a = level[k*WIDTH + e]; b = lane[e]; lane[e] = COMBINE; }\n"
  "    for (e = 0; e < WIDTH; e++) level[k*WIDTH + e] = lane[e];\n"
  "    blocks++;\n"
  "  }\n"
  "  for (int64_t k = 0; blocks >> k; k++) {\n"
  "    if (!(blocks >> k & 1)) continue;\n"
  "    for (int64_t e = 0; e < WIDTH; e++) {\n"
  "      a = level[k*WIDTH + e]; b = some ? lane[e] : a;\n"
  "      lane[e] = some ? COMBINE : a;\n"
  "    }\n"
  "    some = 1;\n"
  "  }\n"
  "  for (int64_t e = 0; e < WIDTH; e++) z[e] = (RESULT)lane[e];\n"
  "}\n"
  "#undef EACH_OF\n";

/* COLUMNS_LEAST, COLUMNS_MOST: so many are folded side by side; ROWS_LEAST: of them. */
enum {
  FOLD_TEXT = 4096, FOLD_WORDS = 13, FOLD_BLOCK = 512, FOLD_LANES = 16, COLUMNS_LEAST = 3, COLUMNS_MOST = 64,
  ROWS_LEAST = 4
};

typedef struct word { const char *name, *text; } word;

/* Copies the text with words replaced; PLACE(i) is i, or i times the step. Returns the end. */
static char *fill_in(char *to, char *end, const char *from, const word words[FOLD_WORDS]) {
  while (*from && to < end) {
    int k = 0;
    while (k < FOLD_WORDS && (!words[k].name || strncmp(from, words[k].name, strlen(words[k].name)))) k++;
    if (k == FOLD_WORDS) {
      *to++ = *from++;
      continue;
    }
    const size_t n = strlen(words[k].text), room = (size_t)(end - to);
    memcpy(to, words[k].text, n < room ? n : room);
    to += n < room ? n : room;
    from += strlen(words[k].name);
  }
  *to = 0;
  return to;
}

static const char *write_fold(ad_writer *w, ad_dtype dtype, const written_fold *fold, bool dense) {
  char text[FOLD_TEXT], parameters[80], name[40];
  snprintf(name, sizeof name, "%s%s", fold->name, dense ? "" : "_strided");
  snprintf(parameters, sizeof parameters, "%s%s%s%s", dense ? "" : ", int64_t step", fold->shift ? ", " : "",
           fold->shift ? fold->shift : "", fold->shift ? " c" : "");
  const word words[FOLD_WORDS] = {
    { "SUM", fold->sum }, { "NAME", name }, { "PARAMETERS", parameters },
    { "PLACE", dense ? "" : "step*" }, { "TERM", fold->term }, { "COMBINE", fold->combine },
    { "EMPTY", fold->empty }
  };
  fill_in(text, text + FOLD_TEXT - 1, fold_text, words);
  return ad_write_routine(w, dtype, name, text);
}

/* What is left of the lanes is halved until one is; pairs are few where the lanes are no power of two. */
static const char *write_short_fold(ad_writer *w, ad_dtype dtype, const written_fold *fold,
                                    const written_line *line) {
  char text[FOLD_TEXT], parameters[80], name[60], number[5][24], *at = text;
  char *const end = text + FOLD_TEXT - 1;
  const int n = (int)line->n, lanes = n < FOLD_LANES ? n : FOLD_LANES, whole = n/lanes*lanes;
  const bool dense = line->step == 1;
  snprintf(name, sizeof name, "%s_%d%s", fold->name, n, dense ? "" : "_strided");
  snprintf(parameters, sizeof parameters, "%s%s%s%s", dense ? "" : ", int64_t step", fold->shift ? ", " : "",
           fold->shift ? fold->shift : "", fold->shift ? " c" : "");
  snprintf(number[0], sizeof number[0], "%d", n);
  snprintf(number[1], sizeof number[1], "%d", lanes);
  snprintf(number[2], sizeof number[2], "%d", whole);
  const word words[FOLD_WORDS] = {
    { "SUM", fold->sum }, { "NAME", name }, { "PARAMETERS", parameters }, { "PLACE", dense ? "" : "step*" },
    { "TERM", fold->term }, { "COMBINE", fold->combine }, { "ELEMENTS", number[0] }, { "LANES", number[1] },
    { "ROUND", number[2] }, { "PAIRS", number[3] }, { "HALF", number[4] }
  };
  at = fill_in(at, end, short_text, words);
  if (whole > lanes) at = fill_in(at, end, rows_text, words);
  if (n > whole) at = fill_in(at, end, rest_text, words);
  for (int half = FOLD_LANES/2, left = lanes; half > 0; half /= 2) {
    const int pairs = left - half;
    if (pairs <= 0) continue;
    snprintf(number[3], sizeof number[3], "%d", pairs);
    snprintf(number[4], sizeof number[4], "%d", half);
    at = fill_in(at, end, pairs_text, words);
    left = half;
  }
  snprintf(at, (size_t)(end - at), "  return lane[0];\n}\n");
  return ad_write_routine(w, dtype, name, text);
}

const char *written_fold_call(ad_writer *w, char to[WRITTEN_CALL], ad_dtype dtype,
                              const written_fold *fold, const written_line *line, const char *shift) {
  const bool dense = line->step == 1;
  char step[32] = "";
  if (!dense) snprintf(step, sizeof step, ", %lld", (long long)line->step);
  if (line->n > 0 && line->n <= FOLD_BLOCK) {
    snprintf(to, WRITTEN_CALL, "%s(%s%s%s%s)", write_short_fold(w, dtype, fold, line), line->at, step,
             shift ? ", " : "", shift ? shift : "");
    return to;
  }
  snprintf(to, WRITTEN_CALL, "%s(%s, %lld%s%s%s)", write_fold(w, dtype, fold, dense), line->at,
           (long long)line->n, step, shift ? ", " : "", shift ? shift : "");
  return to;
}

/* --- columns */

/* The innermost axis of z lies densely in x, and the reduced axis is the rows. */
static bool is_columns(const written_walk *a) {
  if (a->kept == 0 || a->rank != a->kept + 1 || a->x[a->kept - 1] != 1) return false;
  return a->dim[a->kept - 1] >= COLUMNS_LEAST && a->n >= ROWS_LEAST;
}

/* The routine for so many columns of rows that are `step` apart. */
static const char *write_columns_fold(ad_writer *w, const ad_operation *op, const written_fold *fold,
                                      int64_t n, int64_t columns, int64_t step) {
  char text[FOLD_TEXT], name[80], number[5][24], each[120], at[48];
  int levels = 1;
  while (n/FOLD_BLOCK >> levels) levels++;
  const long long values[5] = { n, columns, step, levels, n < FOLD_LANES ? n : FOLD_LANES };
  for (int k = 0; k < 5; k++) snprintf(number[k], sizeof number[k], "%lld", values[k]);
  snprintf(name, sizeof name, "%s_%s_by_%s_of_%s", fold->name, number[0], number[1], number[2]);
  snprintf(at, sizeof at, step == columns ? "e" : "(e + l*%lld)", (long long)(step - columns));
  snprintf(each, sizeof each, step == columns ? "for (e = 0; e < (n)*%s; e++)"
           : "for (int64_t l = 0; l < (n); l++) for (e = l*%s; e < (l + 1)*%s; e++)", number[1], number[1]);
  const word words[FOLD_WORDS] = {
    { "SUM", fold->sum }, { "NAME", name }, { "TERM", fold->term }, { "COMBINE", fold->combine },
    { "ELEMENTS", number[0] }, { "WIDTH", number[1] }, { "STEP", number[2] }, { "LEVELS", number[3] },
    { "LANES", number[4] }, { "RESULT", ad_write_type(op->z.dtype) }, { "EACH_OF", "EACH_OF" },
    { "EACH", each }, { "AT", at }
  };
  fill_in(text, text + FOLD_TEXT - 1, columns_text, words);
  return ad_write_routine(w, op->x[0]->dtype, name, text);
}

/* Wide rows go in tiles of columns. */
static void write_columns(ad_writer *w, const ad_operation *op, const char *z, const char *x,
                          const written_fold *fold, const written_walk *a) {
  char from[WRITTEN_INDEX], to[WRITTEN_INDEX];
  const int outer = a->kept - 1;
  const long long width = a->dim[outer], rest = width%COLUMNS_MOST, whole = width - rest;
  write_open_loops(w, a->dim, 0, outer);
  written_index(from, outer, a->x, 0);
  written_index(to, outer, a->z, 0);
  if (whole) {
    ad_write(w, "for (int64_t c = 0; c < %lld; c += %d)", whole, COLUMNS_MOST);
    ad_write(w, "  %s(%s + %s + c, %s + %s + c);",
             write_columns_fold(w, op, fold, a->n, COLUMNS_MOST, width), x, from, z, to);
  }
  if (rest)
    ad_write(w, "%s(%s + %s + %lld, %s + %s + %lld);", write_columns_fold(w, op, fold, a->n, rest, width), x,
             from, whole, z, to, whole);
  write_close_loops(w, outer);
}

ad_status write_fold_lines(ad_writer *w, const ad_operation *op, const char *z, const char *x,
                           const written_fold *fold, write_line *line) {
  const unsigned mask = ((const reduction *)op->attribute)->mask;
  const written_walk a = written_walk_of(op->x[0], mask);
  if (a.n == 0 || ad_type_count(op->z) == 0 || !is_columns(&a))
    return write_lines(w, op, mask, z, x, line, fold->empty);
  write_columns(w, op, z, x, fold, &a);
  return AD_OK;
}

const written_fold written_sum = { "sum", "R", "(R)v", "a + b", "0", NULL };
const written_fold written_max = { "largest", "REAL", "v", "a == a ? (b > a ? b : a) : b", "0", NULL };
