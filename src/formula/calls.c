/* calls.c -- the table of structured functions a formula may call, and how arguments find their
 * parameters. */
#include "formula/calls.h"
#include "formula/scalar_calls.h"
#include "adit/elementwise.h"
#include "tape/tape.h"

#include <math.h>
#include <string.h>

enum { MAX_SLOTS = 6, MAX_VARIADIC = 64 };

typedef struct function function;

/* A call whose arguments were matched with its parameters. */
typedef struct call {
  formula_run *f;
  int node;
  const function *fn;
  int slot[MAX_SLOTS];                /* argument node of each parameter, -1: not given */
  int count;                          /* positional arguments of a variadic function, and which */
  int argument[MAX_VARIADIC];
} call;

struct function {
  const char *name;
  const char *parameters;             /* "x axis? keep?":
      ? may be left out; a first "*" takes any number of arguments */
  ad_var (*record)(call *c);
  union {
    ad_var (*reduce)(ad_var, ad_axes, bool);
    ad_var (*axis_keep)(ad_var, int, bool);
    ad_var (*axis)(ad_var, int);
    ad_var (*shape)(ad_var, int, const int64_t[]);
    ad_var (*axes)(ad_var, ad_axes);
    ad_var (*join)(int, const ad_var[], int);
    ad_var (*one)(ad_var);
    ad_var (*two)(ad_var, ad_var);
    ad_var (*indexed)(ad_var, ad_var, int);
    ad_var (*updated)(ad_var, ad_var, ad_var, int);
    ad_var (*filled)(ad_tape *, ad_type);
    ad_dtype dtype;
  } as;
};

/* --- parameters ------------------------------------------------------------------------------- */

/* The k-th word of a parameter list, and its length without the question mark; NULL beyond the last. */
static const char *parameter(const char *list, int k, int *length, bool *optional) {
  while (k-- > 0 && list) list = (list = strchr(list, ' ')) ? list + 1 : NULL;
  if (!list || !*list) return NULL;
  *length = (int)strcspn(list, " ?");
  *optional = list[*length] == '?';
  return list;
}

static int parameter_named(const char *list, const char *name, int length) {
  int n;
  bool optional;
  const char *p;
  for (int k = 0; (p = parameter(list, k, &n, &optional)); k++)
    if (n == length && !memcmp(p, name, (size_t)n)) return k;
  return -1;
}

static bool refuse(call *c, int node, const char *what) {
  formula_refuse(c->f, node, AD_ERROR_ARGUMENT, "%s: %s", c->fn->name, what);
  return false;
}

/* Puts every argument into its slot. */
static bool bind(call *c) {
  const expression_node *node = c->f->e->node;
  const bool variadic = c->fn->parameters[0] == '*';
  int next = 0, length;
  bool optional;
  for (int k = 0; k < MAX_SLOTS; k++) c->slot[k] = -1;
  for (int a = node[c->node].first_argument; a >= 0; a = node[a].next_argument) {
    int k = node[a].keyword ? parameter_named(c->fn->parameters, node[a].keyword, node[a].keyword_length)
        : next++;
    if (variadic && !node[a].keyword) {
      if (c->count == MAX_VARIADIC) return refuse(c, a, "more than 64 arguments");
      c->argument[c->count++] = a;
      continue;
    }
    if (k < 0) return refuse(c, a, "no parameter has this name");
    if (!parameter(c->fn->parameters, k, &length, &optional)) return refuse(c, a, "too many arguments");
    if (c->slot[k] >= 0) return refuse(c, a, "this parameter is given twice");
    c->slot[k] = a;
  }
  const char *p;
  for (int k = 0; (p = parameter(c->fn->parameters, k, &length, &optional)); k++)
    if (c->slot[k] < 0 && !optional && *p != '*') {
      formula_refuse(c->f, c->node, AD_ERROR_ARGUMENT, "%s: the argument %.*s is missing", c->fn->name,
                     length, p);
      return false;
    }
  return true;
}

/* --- arguments as what a recording call takes ------------------------------------------------- */

static bool node_integer(call *c, int node, int64_t *out) {
  const formula_value *v = &c->f->value[node];
  double d = v->list < 0 && is_literal(v->var) ? literal_value(v->var) : NAN;
  if (!(fabs(d) <= 9007199254740992.0) || d != floor(d))
    return refuse(c, node, "a literal integer is needed here");
  *out = (int64_t)d;
  return true;
}

static bool slot_integer(call *c, int k, int64_t fallback, int64_t *out) {
  *out = fallback;
  return c->slot[k] < 0 || node_integer(c, c->slot[k], out);
}

static bool slot_int(call *c, int k, int fallback, int *out) {
  int64_t wide;
  if (!slot_integer(c, k, fallback, &wide)) return false;
  if (wide < INT32_MIN || wide > INT32_MAX) return refuse(c, c->slot[k], "this number is too large");
  *out = (int)wide;
  return true;
}

static bool slot_flag(call *c, int k, bool *out) {
  int64_t wide;
  if (!slot_integer(c, k, 0, &wide)) return false;
  *out = wide != 0;
  return true;
}

static bool slot_real(call *c, int k, double fallback, double *out) {
  *out = fallback;
  if (c->slot[k] < 0) return true;
  const formula_value *v = &c->f->value[c->slot[k]];
  if (v->list >= 0 || !is_literal(v->var)) return refuse(c, c->slot[k], "a literal number is needed here");
  *out = literal_value(v->var);
  return true;
}

/* An integer or a list of up to 8 of them. */
static bool slot_list(call *c, int k, int *count, int64_t out[AD_MAX_RANK]) {
  const formula_value *v = &c->f->value[c->slot[k]];
  const expression_node *node = c->f->e->node;
  *count = 0;
  if (v->list < 0) {
    *count = 1;
    return node_integer(c, c->slot[k], &out[0]);
  }
  for (int a = node[v->list].first_argument; a >= 0; a = node[a].next_argument) {
    if (*count == AD_MAX_RANK) return refuse(c, a, "more than 8 entries");
    if (!node_integer(c, a, &out[(*count)++])) return false;
  }
  return true;
}

static bool slot_axes(call *c, int k, ad_axes *axes) {
  int64_t list[AD_MAX_RANK];
  int count, axis[AD_MAX_RANK] = { 0 };
  *axes = AD_ALL_AXES;
  if (c->slot[k] < 0) return true;
  if (!slot_list(c, k, &count, list)) return false;
  for (int i = 0; i < count; i++) {
    if (list[i] < -AD_MAX_RANK || list[i] >= AD_MAX_RANK) return refuse(c, c->slot[k], "no such axis");
    axis[i] = (int)list[i];
  }
  *axes = ad_axes_make(count, axis);
  return true;
}

static bool slot_type(call *c, int k, ad_type *type) {
  int64_t dim[AD_MAX_RANK];
  int rank;
  if (!slot_list(c, k, &rank, dim)) return false;
  *type = ad_type_make(AD_F64, rank, dim);
  return type->rank >= 0 || refuse(c, c->slot[k], "no such shape");
}

static ad_var failed(const call *c) { return handle_invalid(c->f->tape); }

/* A literal becomes a constant of the tape: structured operations need to know their tape. */
static ad_var settled(const call *c, ad_var v) {
  if (!is_literal(v)) return v;
  const double real = literal_value(v);
  const int64_t integer = v.tape ? v.at.integer : 0;
  return v.tape ? ad_constant(c->f->tape, ad_type_make(AD_I64, 0, NULL), &integer)
         : ad_constant(c->f->tape, ad_type_make(AD_F64, 0, NULL), &real);
}

static ad_var slot_var(call *c, int k) { return settled(c, formula_variable(c->f, c->slot[k])); }

/* The positional arguments of a variadic function from the first-th on. */
static bool variables(call *c, int first, ad_var x[MAX_VARIADIC]) {
  for (int i = first; i < c->count; i++) {
    x[i - first] = settled(c, formula_variable(c->f, c->argument[i]));
    if (!ad_is_valid(x[i - first])) return false;
  }
  return c->count > first || refuse(c, c->node, "arguments are missing");
}

/* --- one function for each kind of parameter list --------------------------------------------- */

static ad_var reduction(call *c) {
  ad_axes axes;
  bool keep;
  if (!slot_axes(c, 1, &axes) || !slot_flag(c, 2, &keep)) return failed(c);
  return c->fn->as.reduce(slot_var(c, 0), axes, keep);
}

static ad_var variance(call *c) {
  ad_axes axes;
  bool keep;
  int ddof;
  if (!slot_axes(c, 1, &axes) || !slot_flag(c, 2, &keep) || !slot_int(c, 3, 0, &ddof)) return failed(c);
  return ad_variance(slot_var(c, 0), axes, keep, ddof);
}

static ad_var along_axis_keep(call *c) {
  int axis;
  bool keep;
  if (!slot_int(c, 1, -1, &axis) || !slot_flag(c, 2, &keep)) return failed(c);
  return c->fn->as.axis_keep(slot_var(c, 0), axis, keep);
}

static ad_var along_axis(call *c) {
  int axis;
  return slot_int(c, 1, -1, &axis) ? c->fn->as.axis(slot_var(c, 0), axis) : failed(c);
}

/* diag, tril, triu: an optional number that is 0 if left out. */
static ad_var diagonal(call *c) {
  int k;
  return slot_int(c, 1, 0, &k) ? c->fn->as.axis(slot_var(c, 0), k) : failed(c);
}

static ad_var with_shape(call *c) {
  int64_t dim[AD_MAX_RANK];
  int rank;
  return slot_list(c, 1, &rank, dim) ? c->fn->as.shape(slot_var(c, 0), rank, dim) : failed(c);
}

static ad_var with_axes(call *c) {
  ad_axes axes;
  return slot_axes(c, 1, &axes) ? c->fn->as.axes(slot_var(c, 0), axes) : failed(c);
}

static ad_var transpose(call *c) {
  int64_t list[AD_MAX_RANK];
  int count, perm[AD_MAX_RANK];
  ad_var x = slot_var(c, 0);
  if (c->slot[1] < 0) return ad_transpose(x, NULL);
  if (!slot_list(c, 1, &count, list)) return failed(c);
  if (ad_is_valid(x) && count != ad_type_of(x).rank)
    refuse(c, c->slot[1], "one entry for each axis is needed");
  if (c->f->report->status) return failed(c);
  for (int i = 0; i < count; i++)
    perm[i] = list[i] >= -AD_MAX_RANK && list[i] < AD_MAX_RANK ? (int)list[i] : AD_MAX_RANK;
  return ad_transpose(x, perm);
}

static ad_var join(call *c) {
  ad_var x[MAX_VARIADIC];
  int axis;
  return variables(c, 0, x) && slot_int(c, 1, 0, &axis) ? c->fn->as.join(c->count, x, axis) : failed(c);
}

static ad_var einsum(call *c) {
  ad_var x[MAX_VARIADIC];
  char equation[128];
  int text = c->count ? c->f->value[c->argument[0]].list : -1;
  const expression_node *n = text < 0 ? NULL : &c->f->e->node[text];
  if (!n || n->kind != EXPRESSION_TEXT || n->name_length >= (int)sizeof equation) {
    refuse(c, c->node, "the first argument is the equation in double quotes");
    return failed(c);
  }
  memcpy(equation, n->name, (size_t)n->name_length);
  equation[n->name_length] = 0;
  return variables(c, 1, x) ? ad_einsum(equation, c->count - 1, x) : failed(c);
}

static ad_var at(call *c) {
  int64_t index[AD_MAX_RANK];
  if (c->count < 1 || c->count > AD_MAX_RANK + 1) {
    refuse(c, c->node, "an array and up to 8 indices are needed");
    return failed(c);
  }
  for (int i = 1; i < c->count; i++) if (!node_integer(c, c->argument[i], &index[i - 1])) return failed(c);
  return ad_at(settled(c, formula_variable(c->f, c->argument[0])), c->count - 1, index);
}

static ad_var slice(call *c) {
  int64_t start, count, step;
  int axis;
  if (!slot_int(c, 1, 0, &axis) || !slot_integer(c, 2, 0, &start) || !slot_integer(c, 3, 0, &count)
      || !slot_integer(c, 4, 1, &step)) return failed(c);
  return ad_slice(slot_var(c, 0), axis, start, count, step);
}

static ad_var slice_add(call *c) {
  int64_t start, step;
  int axis;
  if (!slot_int(c, 2, 0, &axis) || !slot_integer(c, 3, 0, &start) || !slot_integer(c, 4, 1, &step))
    return failed(c);
  ad_var base = slot_var(c, 0), part = slot_var(c, 1);
  return ad_slice_add(base, part, axis, start, step);
}

static ad_var pad(call *c) {
  int64_t before[AD_MAX_RANK] = { 0 }, after[AD_MAX_RANK] = { 0 };
  int n, m;
  ad_var x = slot_var(c, 0);
  if (!slot_list(c, 1, &n, before) || !slot_list(c, 2, &m, after)) return failed(c);
  if (ad_is_valid(x) && (n != ad_type_of(x).rank || m != n))
    refuse(c, c->node, "one entry for each axis is needed");
  if (c->f->report->status) return failed(c);
  return ad_pad(x, before, after, c->slot[3] < 0 ? ad_real(0) : formula_variable(c->f, c->slot[3]));
}

static ad_var repeat(call *c) {
  int64_t times;
  int axis;
  return slot_integer(c, 1, 1, &times) && slot_int(c, 2, 0, &axis) ? ad_repeat(slot_var(c, 0), axis, times)
         : failed(c);
}

/* An index array written in the formula, [0, 2], has numbers of f64. */
static ad_var slot_index(call *c, int k) {
  ad_var x = slot_var(c, k);
  return c->f->value[c->slot[k]].list >= 0 && ad_is_valid(x) ? ad_cast(x, AD_I64) : x;
}

static ad_var indexed(call *c) {
  int axis;
  if (!slot_int(c, 2, 0, &axis)) return failed(c);
  ad_var x = slot_var(c, 0), index = slot_index(c, 1);
  return c->fn->as.indexed(x, index, axis);
}

static ad_var updated(call *c) {
  int axis;
  if (!slot_int(c, 3, 0, &axis)) return failed(c);
  ad_var base = slot_var(c, 0), index = slot_index(c, 1), updates = slot_var(c, 2);
  return c->fn->as.updated(base, index, updates, axis);
}

static ad_var one_hot(call *c) {
  int64_t depth;
  return slot_integer(c, 1, 0, &depth) ? ad_one_hot(slot_index(c, 0), depth, AD_F64) : failed(c);
}

static ad_var topk(call *c) {
  int64_t k;
  int axis;
  ad_var values = failed(c);
  if (!slot_integer(c, 1, 0, &k) || !slot_int(c, 2, -1, &axis)) return values;
  (void)ad_topk(slot_var(c, 0), k, axis, &values, NULL);
  return values;
}

static ad_var one(call *c) { return c->fn->as.one(slot_var(c, 0)); }
static ad_var cast(call *c) { return ad_cast(slot_var(c, 0), c->fn->as.dtype); }

static ad_var two(call *c) {
  ad_var x = slot_var(c, 0), y = slot_var(c, 1);
  return c->fn->as.two(x, y);
}

static ad_var filled(call *c) {
  ad_type type;
  return slot_type(c, 0, &type) ? c->fn->as.filled(c->f->tape, type) : failed(c);
}

static ad_var full(call *c) {
  ad_type type;
  double value;
  return slot_type(c, 0, &type) && slot_real(c, 1, 0, &value) ? ad_full(c->f->tape, type, value) : failed(c);
}

static ad_var eye(call *c) {
  int64_t n, m;
  int k;
  if (!slot_integer(c, 0, 0, &n) || !slot_integer(c, 1, n, &m) || !slot_int(c, 2, 0, &k)) return failed(c);
  return ad_eye(c->f->tape, n, m, k, AD_F64);
}

/* arange(stop), arange(start, stop), arange(start, stop, step) */
static ad_var arange(call *c) {
  double start, stop, step;
  if (!slot_real(c, 0, 0, &start) || !slot_real(c, 1, 0, &stop) || !slot_real(c, 2, 1, &step))
    return failed(c);
  if (c->slot[1] < 0) stop = start, start = 0;
  return ad_arange(c->f->tape, start, stop, step, AD_F64);
}

static ad_var linspace(call *c) {
  int64_t n;
  if (!slot_integer(c, 2, 0, &n)) return failed(c);
  ad_var start = slot_var(c, 0), stop = slot_var(c, 1);
  return ad_linspace(start, stop, n);
}

/* --- the table -------------------------------------------------------------------------------- */

#define REDUCTION(name, function) { name, "x axis? keep?", reduction, { .reduce = function } }
static const function functions[] = {
  REDUCTION("sum", ad_sum), REDUCTION("prod", ad_prod), REDUCTION("mean", ad_mean),
  REDUCTION("max", ad_reduce_max), REDUCTION("min", ad_reduce_min), REDUCTION("any", ad_any),
  REDUCTION("all", ad_all),
  REDUCTION("logsumexp", ad_logsumexp), REDUCTION("norm", ad_norm),
  { "variance", "x axis? keep? ddof?", variance, { .one = NULL } },
  { "argmin", "x axis? keep?", along_axis_keep, { .axis_keep = ad_argmin } },
  { "argmax", "x axis? keep?", along_axis_keep, { .axis_keep = ad_argmax } },
  { "sort", "x axis? descending?", along_axis_keep, { .axis_keep = ad_sort } },
  { "argsort", "x axis? descending?", along_axis_keep, { .axis_keep = ad_argsort } },
  { "cumsum", "x axis?", along_axis, { .axis = ad_cumsum } },
  { "cumprod", "x axis?", along_axis, { .axis = ad_cumprod } },
  { "expand", "x axis", along_axis, { .axis = ad_expand } },
  { "reshape", "x shape", with_shape, { .shape = ad_reshape } },
  { "broadcast_to", "x shape", with_shape, { .shape = ad_broadcast_to } },
  { "tile", "x reps", with_shape, { .shape = ad_tile } },
  { "squeeze", "x axis?", with_axes, { .axes = ad_squeeze } },
  { "flip", "x axis?", with_axes, { .axes = ad_flip } },
  { "transpose", "x perm?", transpose, { .one = NULL } },
  { "concat", "* axis?", join, { .join = ad_concat } },
  { "stack", "* axis?", join, { .join = ad_stack } },
  { "einsum", "*", einsum, { .one = NULL } },
  { "at", "*", at, { .one = NULL } },
  { "slice", "x axis start count step?", slice, { .one = NULL } },
  { "slice_add", "base part axis start step?", slice_add, { .one = NULL } },
  { "pad", "x before after value?", pad, { .one = NULL } },
  { "repeat", "x times axis?", repeat, { .one = NULL } },
  { "take", "x index axis?", indexed, { .indexed = ad_take } },
  { "gather", "x index axis?", indexed, { .indexed = ad_gather } },
  { "scatter_add", "base index updates axis?", updated, { .updated = ad_scatter_add } },
  { "gather_add", "base index updates axis?", updated, { .updated = ad_gather_add } },
  { "one_hot", "index depth", one_hot, { .one = NULL } },
  { "topk", "x k axis?", topk, { .one = NULL } },
  { "diag", "x k?", diagonal, { .axis = ad_diag } },
  { "tril", "x k?", diagonal, { .axis = ad_tril } },
  { "triu", "x k?", diagonal, { .axis = ad_triu } },
  { "trace", "x", one, { .one = ad_trace } },
  { "matmul", "x y", two, { .two = ad_matmul } },
  { "dot", "x y", two, { .two = ad_dot } },
  { "outer", "x y", two, { .two = ad_outer } },
  { "stop_gradient", "x", one, { .one = ad_stop_gradient } },
  { "f64", "x", cast, { .dtype = AD_F64 } },
  { "f32", "x", cast, { .dtype = AD_F32 } },
  { "i64", "x", cast, { .dtype = AD_I64 } },
  { "i32", "x", cast, { .dtype = AD_I32 } },
  { "bool", "x", cast, { .dtype = AD_BOOL } },
  { "zeros", "shape", filled, { .filled = ad_zeros } },
  { "ones", "shape", filled, { .filled = ad_ones } },
  { "full", "shape value", full, { .one = NULL } },
  { "eye", "n m? k?", eye, { .one = NULL } },
  { "arange", "start stop? step?", arange, { .one = NULL } },
  { "linspace", "start stop n", linspace, { .one = NULL } },
};

static const function *find_function(const char *name, int length) {
  for (size_t i = 0; i < sizeof functions/sizeof *functions; i++)
    if (expression_is(name, length, functions[i].name)) return &functions[i];
  return NULL;
}

bool formula_has_function(const char *name, int length) {
  return find_function(name, length) || scalar_call_find(name, length, NULL) >= 0;
}

/* max and min are reductions when their first argument stands alone or beside named ones. */
static bool one_positional(const formula_run *f, int node) {
  int count = 0;
  for (int a = f->e->node[node].first_argument; a >= 0; a = f->e->node[a].next_argument)
    count += !f->e->node[a].keyword;
  return count < 2;
}

ad_var formula_call(formula_run *f, int node) {
  const expression_node *n = &f->e->node[node];
  const function *fn = find_function(n->name, n->name_length);
  scalar_call row;
  if (scalar_call_find(n->name, n->name_length, &row) >= 0 && !(fn && one_positional(f, node)))
    return scalar_call_record(f, node, &row);
  call c = { .f = f, .node = node, .fn = fn };
  if (!fn)
    return formula_refuse(f, node, AD_ERROR_SYNTAX, "no function is called '%.*s'",
                          n->name_length < 60 ? n->name_length : 60, n->name);
  return bind(&c) ? fn->record(&c) : failed(&c);
}
