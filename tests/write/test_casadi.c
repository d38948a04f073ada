/* Functions written with CasADi's calling convention, loaded as a library by what the public description of
 * that interface says, beside ad_function_call: every companion, matrices by columns, arguments and results
 * that are missing, both integer types, both real types. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "folder.h"
#include "heap.h"

#include "adit.h"

#include <dlfcn.h>
#include <stdlib.h>

enum { ARRAYS_MOST = 16, GUARD = 32 };

/* --- the loader: from the description of the interface alone -------------------------------------------- */

typedef struct loaded {
  void *library;
  const char *name;
  bool small, single;               /* the integer is an int; the real is a float */
  int n_in, n_out;
  long long work[4];
} loaded;

typedef void any_function(void);

static any_function *symbol(const loaded *l, const char *suffix) {
  char name[80];
  any_function *f = NULL;
  snprintf(name, sizeof name, "%s%s", l->name, suffix);
  void *const address = dlsym(l->library, name);
  if (CHECK_THAT(address != NULL, "%s is missing", name)) memcpy(&f, &address, sizeof f);
  else abort();
  return f;
}

static long long get_count(const loaded *l, const char *suffix) {
  any_function *f = symbol(l, suffix);
  return l->small ? ((int (*)(void))f)() : ((long long (*)(void))f)();
}

static const char *get_name(const loaded *l, const char *suffix, int i) {
  any_function *f = symbol(l, suffix);
  return l->small ? ((const char *(*)(int))f)(i) : ((const char *(*)(long long))f)(i);
}

/* Rows and columns; false: the pattern is missing, or not dense. */
static bool get_shape(const loaded *l, const char *suffix, int i, long long shape[2]) {
  any_function *f = symbol(l, suffix);
  const int *narrow = l->small ? ((const int *(*)(int))f)(i) : NULL;
  const long long *wide = l->small ? NULL : ((const long long *(*)(long long))f)(i);
  if (!narrow && !wide) return false;
  for (int k = 0; k < 2; k++) shape[k] = narrow ? narrow[k] : wide[k];
  return (narrow ? narrow[2] : wide[2]) == 1;
}

static void get_work(const loaded *l, const char *suffix, long long size[4]) {
  any_function *f = symbol(l, suffix);
  int s[4], *const none = NULL;
  if (!l->small) {
    CHECK(((int (*)(long long *, long long *, long long *, long long *))f)(size, size + 1, size + 2,
                                                                           size + 3) == 0);
    return;
  }
  int (*narrow)(int *, int *, int *, int *) = (int (*)(int *, int *, int *, int *))f;
  CHECK(narrow(s, s + 1, s + 2, s + 3) == 0 && narrow(none, none, none, none) == 0);
  for (int k = 0; k < 4; k++) size[k] = s[k];
}

static double get_default(const loaded *l, int i) {
  any_function *f = symbol(l, "_default_in");
  if (l->single) return (double)(l->small ? ((float (*)(int))f)(i) : ((float (*)(long long))f)(i));
  return l->small ? ((double (*)(int))f)(i) : ((double (*)(long long))f)(i);
}

static size_t real_size(const loaded *l) { return l->single ? sizeof(float) : sizeof(double); }
static double get_real(const loaded *l, const void *data, size_t i) {
  return l->single ? (double)((const float *)data)[i] : ((const double *)data)[i];
}
static void set_real(const loaded *l, void *data, size_t i, double value) {
  if (l->single) ((float *)data)[i] = (float)value;
  else ((double *)data)[i] = value;
}

static void load(loaded *l) {
  static const size_t pointers[2] = { sizeof(const void *), sizeof(void *) };
  long long bytes[4];
  ((void (*)(void))symbol(l, "_incref"))();
  l->n_in = (int)get_count(l, "_n_in");
  l->n_out = (int)get_count(l, "_n_out");
  get_work(l, "_work", l->work);
  get_work(l, "_work_bytes", bytes);
  CHECK(l->work[0] >= l->n_in && l->work[1] >= l->n_out && l->work[2] >= 0 && l->work[3] >= 0);
  for (int k = 0; k < 2; k++) CHECK(bytes[k] == l->work[k]*(long long)pointers[k]);
  CHECK(bytes[2] == l->work[2]*(long long)(l->small ? sizeof(int) : sizeof(long long)));
  CHECK(bytes[3] == l->work[3]*(long long)real_size(l));
}

static void unload(const loaded *l) { ((void (*)(void))symbol(l, "_decref"))(); }

static int evaluate(const loaded *l, const void **arg, void **res, void *iw, void *w, int mem) {
  any_function *f = symbol(l, "");
  if (l->single && l->small)
    return ((int (*)(const float **, float **, int *, float *, int))f)((const float **)arg, (float **)res,
                                                                       iw, w, mem);
  if (l->single)
    return ((int (*)(const float **, float **, long long *, float *, int))f)((const float **)arg,
                                                                             (float **)res, iw, w, mem);
  if (l->small)
    return ((int (*)(const double **, double **, int *, double *, int))f)((const double **)arg,
                                                                          (double **)res, iw, w, mem);
  return ((int (*)(const double **, double **, long long *, double *, int))f)((const double **)arg,
                                                                              (double **)res, iw, w, mem);
}

/* One call from checkout to release, with work memory of exactly the size that is asked for, which begins
 * where only a real may. A memory object made by hand is as good as one that is checked out. */
static int call(const loaded *l, const void *const in[], void *const out[], bool by_hand) {
  const size_t bytes = (size_t)l->work[3]*real_size(l), shift = 64 + real_size(l);
  const void **arg = calloc((size_t)l->work[0] + 1, sizeof *arg);
  void **res = calloc((size_t)l->work[1] + 1, sizeof *res);
  unsigned char *w = aligned_alloc(64, (shift + bytes + GUARD + 63)/64*64);
  long long *iw = calloc((size_t)l->work[2] + 1, sizeof *iw);
  if (!arg || !res || !w || !iw) abort();
  memcpy(arg, in, (size_t)l->n_in*sizeof *arg);
  memcpy(res, out, (size_t)l->n_out*sizeof *res);
  memset(w, 0xA5, shift + bytes + GUARD);
  const int mem = ((int (*)(void))symbol(l, by_hand ? "_alloc_mem" : "_checkout"))();
  CHECK(mem >= 0);
  if (by_hand) CHECK(((int (*)(int))symbol(l, "_init_mem"))(mem) == 0);
  const int status = evaluate(l, arg, res, iw, w + shift, mem);
  ((void (*)(int))symbol(l, by_hand ? "_free_mem" : "_release"))(mem);
  for (size_t i = 0; i < GUARD; i++) CHECK(w[shift + bytes + i] == 0xA5 && w[shift - 1 - i] == 0xA5);
  CHECK(!memcmp(arg, in, (size_t)l->n_in*sizeof *arg) && !memcmp(res, out, (size_t)l->n_out*sizeof *res));
  free(arg), free(res), free(w), free(iw);
  return status;
}

/* --- written functions ---------------------------------------------------------------------------------- */

typedef struct build {
  const char *compiler, *flags;
  ad_convention convention;
  bool small, single;
} build;

static const build builds[] = {
  { "gcc", "-O2", AD_CODE_CASADI, false, false },
  { "clang", "-O0", AD_CODE_CASADI_INT, true, false },
  { "gcc", "-O1 -Dcasadi_int=int -Dp_FLOAT -fsanitize=undefined -fsanitize-undefined-trap-on-error",
    AD_CODE_CASADI, true, true },
  { "clang", "-O3 -DCASADI_SYMBOL_EXPORT=", AD_CODE_CASADI, false, false }
};
enum { BUILDS = sizeof builds/sizeof *builds };

static const char strict[] = "-std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow "
                             "-Wmissing-prototypes -Werror -fno-builtin-malloc";

static bool run(const char *folder, const char *format, ...) {
  char command[1200], rest[900];
  va_list list;
  va_start(list, format);
  vsnprintf(rest, sizeof rest, format, list);
  va_end(list);
  snprintf(command, sizeof command, "cd '%s' && %s", folder, rest);
  return system(command) == 0;
}

static FILE *open_in(const char *folder, const char *name) {
  FILE *f = fopen(folder_path(folder, name), "w");
  if (!f) abort();
  return f;
}

/* p.c and p.h of f and its derivatives, or of n functions. */
static bool write_functions(const char *folder, int n, ad_function *const f[], const char *const names[],
                            const ad_code *code) {
  ad_report report = { AD_OK, "" };
  FILE *c = open_in(folder, "p.c"), *h = open_in(folder, "p.h");
  if (names) ad_functions_emit_c(n, f, names, c, h, code, &report);
  else ad_function_emit_c(f[0], c, h, code, &report);
  fclose(c), fclose(h);
  return CHECK_THAT(report.status == AD_OK, "writing: %s", report.message);
}

/* Compiles strictly, looks at what the object has and wants, and loads the library. */
static void *compile(const char *folder, const build *b) {
  if (!CHECK_THAT(run(folder, "%s %s %s -fPIC -c p.c", b->compiler, strict, b->flags),
                  "it does not compile: %s %s", b->compiler, b->flags))
    return NULL;
  CHECK_THAT(!run(folder, "nm p.o | grep -E ' U .*(alloc|free|printf|abort|exit)'"), "it calls that");
  CHECK_THAT(!run(folder, "nm p.o | grep -E ' [bBdDC] '"), "it has memory of its own");
  CHECK(run(folder, "%s -shared p.o -o p.so -lm", b->compiler));
  void *library = dlopen(folder_path(folder, "p.so"), RTLD_NOW | RTLD_LOCAL);
  CHECK_THAT(library != NULL, "%s", library ? "" : dlerror());
  return library;
}

/* --- comparing ------------------------------------------------------------------------------------------ */

/* One array: as the function has it, and by columns as reals. */
typedef struct array { ad_type type; void *native, *reals; } array;

static size_t place_by_columns(ad_type type, size_t e) {
  if (type.rank != 2) return e;
  const size_t rows = (size_t)type.dim[0], columns = (size_t)type.dim[1];
  return e/columns + rows*(e%columns);
}

static void open_array(const loaded *l, array *a, ad_type type, uint64_t *seed) {
  const size_t n = (size_t)ad_type_count(type);
  *a = (array){ type, calloc(ad_type_bytes(type) + 8, 1), calloc(n + 1, real_size(l)) };
  if (!a->native || !a->reals) abort();
  for (size_t e = 0; e < n; e++) {
    const double value = check_uniform(seed, -1, 1)*(type.dtype < AD_F32 ? 9 : 1);
    check_set_element(type.dtype, a->native, (int64_t)e, type.dtype == AD_BOOL ? (double)(value > 0) : value);
    set_real(l, a->reals, place_by_columns(type, e), check_element(type.dtype, a->native, (int64_t)e));
  }
}

static void close_array(array *a) {
  free(a->native);
  free(a->reals);
}

static void check_shape(const loaded *l, const char *suffix, int i, ad_type type) {
  long long shape[2] = { -1, -1 };
  CHECK(get_shape(l, suffix, i, shape));
  CHECK(shape[0] == (type.rank == 2 ? type.dim[0] : ad_type_count(type)));
  CHECK(shape[1] == (type.rank == 2 ? type.dim[1] : 1));
}

static void check_description(const loaded *l, const ad_function *f) {
  long long shape[2];
  char name[16];
  CHECK(l->n_in == ad_function_inputs(f) && l->n_out == ad_function_outputs(f));
  for (int k = 0; k < l->n_in; k++) {
    snprintf(name, sizeof name, "x%d", k);
    CHECK(!strcmp(get_name(l, "_name_in", k), name) && get_default(l, k) == 0);
    check_shape(l, "_sparsity_in", k, ad_function_input_type(f, k));
  }
  for (int j = 0; j < l->n_out; j++) {
    snprintf(name, sizeof name, "z%d", j);
    CHECK(!strcmp(get_name(l, "_name_out", j), name));
    check_shape(l, "_sparsity_out", j, ad_function_output_type(f, j));
  }
  for (int beyond = -1; beyond < 2; beyond += 2) {
    CHECK(!get_name(l, "_name_in", beyond < 0 ? -1 : l->n_in)
          && !get_name(l, "_name_out", beyond < 0 ? -1 : l->n_out));
    CHECK(!get_shape(l, "_sparsity_in", beyond < 0 ? -1 : l->n_in, shape));
    CHECK(!get_shape(l, "_sparsity_out", beyond < 0 ? -1 : l->n_out, shape));
  }
}

static void check_output(const loaded *l, const ad_function *f, int j, const array *a) {
  double size = 1, most = 0;
  const size_t n = (size_t)ad_type_count(a->type);
  for (size_t e = 0; e < n; e++) size = fmax(size, fabs(check_element(a->type.dtype, a->native, (int64_t)e)));
  for (size_t e = 0; e < n; e++) {
    const double want = check_element(a->type.dtype, a->native, (int64_t)e);
    const double d = fabs(get_real(l, a->reals, place_by_columns(a->type, e)) - want)/size;
    if (!(d <= most)) most = isnan(d) ? INFINITY : d;
  }
  const double tolerance = l->single ? 1e-4 : a->type.dtype == AD_F32 ? 2e-6 : 1e-13;
  CHECK_THAT(most <= tolerance, "%s, output %d: off by %.3g", ad_function_name(f), j, most);
}

/* Bits of no_in, no_out: what is missing. Inputs that are missing are zeros for the other side. */
static void compare_once(const loaded *l, ad_function *f, unsigned no_in, unsigned no_out, uint64_t seed) {
  array in[ARRAYS_MOST], out[ARRAYS_MOST];
  const void *x[ARRAYS_MOST], *arg[ARRAYS_MOST];
  void *z[ARRAYS_MOST], *res[ARRAYS_MOST];
  if (!CHECK(l->n_in <= ARRAYS_MOST && l->n_out <= ARRAYS_MOST)) return;
  for (int k = 0; k < l->n_in; k++) {
    open_array(l, &in[k], ad_function_input_type(f, k), &seed);
    if (no_in >> k & 1) memset(in[k].native, 0, ad_type_bytes(in[k].type));
    x[k] = in[k].native;
    arg[k] = no_in >> k & 1 ? NULL : in[k].reals;
  }
  for (int j = 0; j < l->n_out; j++) {
    open_array(l, &out[j], ad_function_output_type(f, j), &seed);
    z[j] = out[j].native;
    res[j] = no_out >> j & 1 ? NULL : out[j].reals;
  }
  const ad_status want = ad_function_call(f, x, z, NULL);
  const int got = call(l, arg, res, seed & 1);
  CHECK_THAT(got == (int)want, "%s gives %d, not %d", ad_function_name(f), got, (int)want);
  for (int j = 0; j < l->n_out; j++) {
    if (want == AD_OK && res[j]) check_output(l, f, j, &out[j]);
    close_array(&out[j]);
  }
  for (int k = 0; k < l->n_in; k++) close_array(&in[k]);
}

static void compare(void *library, const build *b, const char *name, ad_function *f) {
  loaded l = { .library = library, .name = name, .small = b->small, .single = b->single };
  if (!CHECK_THAT(f != NULL, "%s is missing", name)) return;
  load(&l);
  check_description(&l, f);
  compare_once(&l, f, 0, 0, 1);
  compare_once(&l, f, 0, ~0u, 2);
  compare_once(&l, f, ~0u, 0, 3);
  for (unsigned k = 0; k < 3; k++) compare_once(&l, f, 0x5AA5u >> k, 0xA55Au >> k, 4 + k);
  unload(&l);
}

static ad_function *derived(ad_function *f, unsigned entry) {
  switch (entry) {
    case AD_CODE_JVP: return ad_function_jvp(f);
    case AD_CODE_VJP: return ad_function_vjp(f);
    case AD_CODE_GRADIENT: return ad_function_gradient(f, 0, NULL);
    case AD_CODE_JACOBIAN: return ad_function_jacobian(f, 0, NULL);
    case AD_CODE_HESSIAN: return ad_function_hessian(f, 0, NULL);
    default: return ad_function_retain(f);
  }
}

/* f, which ends here, and those derivatives, in every build. */
static void compare_entries(ad_function *f, unsigned entries) {
  static const char *const name[] = { "p", "p_jvp", "p_vjp", "p_gradient", "p_jacobian", "p_hessian" };
  const char *const folder = folder_make();
  if (!CHECK(f != NULL) || !CHECK(folder != NULL)) return;
  for (int k = 0; k < BUILDS; k++) {
    const ad_code code = { .name = "p", .entries = entries, .convention = builds[k].convention };
    if (!write_functions(folder, 1, &f, NULL, &code)) break;
    void *library = compile(folder, &builds[k]);
    for (int e = 0; e < 6 && library; e++) {
      if (!(entries >> e & 1)) continue;
      ad_function *g = derived(f, 1u << e);
      compare(library, &builds[k], name[e], g);
      ad_function_free(g);
    }
    if (library) dlclose(library);
  }
  folder_remove(folder);
  ad_function_free(f);
}

/* --- functions ------------------------------------------------------------------------------------------ */

static void matrices_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[3], ad_matmul(in[0], in[1]));
  out[1] = ad_matmul(in[0], in[2]);
  out[2] = ad_sum(ad_exp(in[1]), AD_ALL_AXES, false);
  out[3] = in[0];
}
static void test_matrices(void) {
  const ad_type in[] = { AD_F64(2, 3), AD_F64(3, 4), AD_F64(3), AD_F64() };
  compare_entries(ad_function_trace("matrices", matrices_body, NULL, 4, in, 4),
                  AD_CODE_VALUE | AD_CODE_JVP | AD_CODE_VJP | AD_CODE_JACOBIAN);
}

static void energy_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  ad_var others = ad_sum(ad_exp(ad_mul(in[0], ad_sin(in[1]))), AD_ALL_AXES, false);
  out[0] = ad_add(ad_dot(in[1], ad_matmul(in[0], in[1])), others);
}
static ad_function *energy(void) {
  const ad_type in[] = { AD_F64(4, 4), AD_F64(4) };
  return ad_function_trace("energy", energy_body, NULL, 2, in, 1);
}
static void test_scalar_function(void) {
  compare_entries(energy(), AD_CODE_VALUE | AD_CODE_GRADIENT | AD_CODE_HESSIAN | AD_CODE_JVP);
}

/* Work memory and arrays of every type: sorting takes scratch, tails of sums keep carries. */
static void types_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(ad_matmul(in[0], in[0]), ad_cast(ad_sum(in[4], AD_ALL_AXES, false), AD_F32));
  out[1] = ad_add(ad_cumsum(in[1], 0), ad_cast(in[2], AD_I64));
  out[2] = ad_mul(in[2], ad_reduce_max(in[2], AD_ALL_AXES, false));
  out[3] = ad_logical_not(in[3]);
  out[4] = ad_select(in[3], in[4], ad_cast(in[1], AD_F64));
  out[5] = ad_sort(in[1], 0, false);
  out[6] = ad_exp(ad_matmul(in[0], ad_exp(in[0])));
}
static const int64_t five = 5, three[2] = { 3, 3 };
static void make_types(ad_type in[5]) {
  static const ad_dtype dtype[5] = { AD_F32, AD_I64, AD_I32, AD_BOOL, AD_F64 };
  in[0] = ad_type_make(AD_F32, 2, three);
  for (int k = 1; k < 5; k++) in[k] = ad_type_make(dtype[k], 1, &five);
}
static void test_types(void) {
  ad_type in[5];
  make_types(in);
  compare_entries(ad_function_trace("types", types_body, NULL, 5, in, 7), AD_CODE_VALUE);
}

/* (state 2, x 2, A 2 2) -> A tanh(state) + x, and its square */
static void step_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_add(ad_matmul(in[2], ad_tanh(in[0])), in[1]);
  out[1] = ad_mul(out[0], out[0]);
}
static void norm_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_sqrt(ad_add(ad_sum(in[0], AD_ALL_AXES, false), 1));
}
static void loops_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_function *const *f = context;
  (void)t;
  ad_scan(f[0], 1, NULL, in, out);
  ad_map(f[1], &out[1], &out[2]);
}
static void test_loops(void) {
  const ad_type step[] = { AD_F64(2), AD_F64(2), AD_F64(2, 2) };
  const ad_type whole[] = { AD_F64(2), AD_F64(30, 2), AD_F64(2, 2) };
  ad_function *f[2] = { ad_function_trace("step", step_body, NULL, 3, step, 2),
                        ad_function_trace("norm", norm_body, NULL, 1, (const ad_type[]){ AD_F64(2) }, 1) };
  compare_entries(ad_function_trace("loops", loops_body, f, 3, whole, 3),
                  AD_CODE_VALUE | AD_CODE_JVP | AD_CODE_VJP);
  ad_function_free(f[0]);
  ad_function_free(f[1]);
}

static void edges_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)context;
  out[0] = ad_mul(in[0], 2);
  out[1] = ad_sum(in[1], AD_ALL_AXES, false);
  out[2] = ad_mul(in[2], in[2]);
  out[3] = ad_full(t, AD_F64(2, 2), 3);
  out[4] = ad_add(in[1], 1);
  out[5] = ad_exp(in[4]);
  out[6] = ad_exp(in[5]);
}
/* Arrays without elements, of rank 3, rows; an input that is not used, an output that is a constant. */
static void test_edges(void) {
  const ad_type in[] = { AD_F64(0), AD_F64(3, 0), AD_F64(2, 3, 2), AD_F64(7, 7), AD_F64(1, 5), AD_F64(5, 1) };
  compare_entries(ad_function_trace("edges", edges_body, NULL, 6, in, 7), AD_CODE_VALUE | AD_CODE_VJP);
}

static void constant_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)in, (void)context;
  out[0] = ad_full(t, AD_F64(2, 3), 0.1);
}
static void solve_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_solve(in[0], in[1]);
}
/* Without inputs; and failing, where the missing matrix is one of zeros. */
static void test_statuses(void) {
  compare_entries(ad_function_trace("constant", constant_body, NULL, 0, NULL, 1), AD_CODE_VALUE);
  compare_entries(ad_function_trace("solve", solve_body, NULL, 2,
                                    (const ad_type[]){ AD_F64(3, 3), AD_F64(3, 2) }, 1),
                  AD_CODE_VALUE | AD_CODE_VJP);
}

/* --- files ---------------------------------------------------------------------------------------------- */

static void test_several_functions(void) {
  const ad_type in[] = { AD_F64(2, 3), AD_F64(3, 4), AD_F64(3), AD_F64() };
  ad_function *f[2] = { ad_function_trace("matrices", matrices_body, NULL, 4, in, 4),
                        energy() };
  const char *const folder = folder_make();
  if (!CHECK(folder != NULL)) return;
  for (int k = 0; k < 2; k++) {
    const ad_code code = { .name = "p", .convention = builds[k].convention };
    if (!write_functions(folder, 2, f, (const char *const[]){ "matrices", "energy" }, &code)) break;
    void *library = compile(folder, &builds[k]);
    if (!library) break;
    compare(library, &builds[k], "p_matrices", f[0]);
    compare(library, &builds[k], "p_energy", f[1]);
    dlclose(library);
  }
  CHECK_THAT(run(folder,
                 "printf '#include \"p.h\"\\nint main() { return (int)p_energy_n_in() - 2; }\\n' >m.cpp && "
                 "gcc -c p.c && g++ -Wall -Wextra -Werror m.cpp p.o -lm -o m && ./m"), "C++ cannot call it");
  folder_remove(folder);
  ad_function_free(f[0]);
  ad_function_free(f[1]);
}

/* Without the header the source has the declarations. */
static void test_one_file(void) {
  const char *const folder = folder_make();
  ad_function *f = energy();
  if (!CHECK(f != NULL) || !CHECK(folder != NULL)) return;
  FILE *c = open_in(folder, "p.c");
  CHECK_STATUS(ad_function_emit_c(f, c, NULL, &(ad_code){ .name = "p", .convention = AD_CODE_CASADI }, NULL),
               AD_OK);
  fclose(c);
  void *library = compile(folder, &builds[0]);
  if (library) compare(library, &builds[0], "p", f), dlclose(library);
  folder_remove(folder);
  ad_function_free(f);
}

static void wide_body(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  (void)t, (void)context;
  out[0] = ad_mul(in[0], 2);
}
static void test_refusals(void) {
  char text[1 << 15];
  ad_report report;
  ad_function *f = energy();
  const ad_type many = AD_F64(INT64_C(1) << 32);
  ad_function *wide = ad_function_trace("wide", wide_body, NULL, 1, &many, 1);
  ad_function *const two[2] = { f, f };
  const ad_code loadable = { .name = "p", .convention = AD_CODE_CASADI, .make_static = true };
  const ad_code narrow = { .name = "p", .convention = AD_CODE_CASADI_INT }, plain = { .name = "p" },
                wider = { .name = "p", .convention = AD_CODE_CASADI };
  FILE *to = fmemopen(text, sizeof text, "w");
  if (!CHECK(f && wide && to)) return;
  CHECK_STATUS(ad_function_emit_c(f, to, NULL, &loadable, &report), AD_ERROR_ARGUMENT);
  CHECK_STATUS(ad_function_emit_c(wide, to, NULL, &narrow, &report), AD_ERROR_SIZE);
  CHECK(strstr(report.message, "int") != NULL);
  CHECK_STATUS(ad_function_emit_c(wide, to, NULL, &wider, &report), AD_OK);
  CHECK_STATUS(ad_functions_emit_c(2, two, (const char *const[]){ "", "work" }, to, NULL, &wider, &report),
               AD_ERROR_ARGUMENT);
  CHECK(strstr(report.message, "p_work") != NULL);
  CHECK_STATUS(ad_functions_emit_c(2, two, (const char *const[]){ "", "work" }, to, NULL, &plain, &report),
               AD_OK);
  fclose(to);
  ad_function_free(f);
  ad_function_free(wide);
}

/* --- memory --------------------------------------------------------------------------------------------- */

/* With the k-th allocation failing, for every k: the status says so and nothing is left, or all is well. */
static void test_memory(void) {
  static char text[1 << 16];
  const ad_code code = { .name = "p", .convention = AD_CODE_CASADI_INT };
  ad_type in[5];
  bool done = false;
  make_types(in);
  for (long k = 1; !done && k < 10000; k++) {
    heap h = { 0 };
    const ad_allocator allocator = heap_allocator(&h);
    ad_function *f = ad_function_trace_with(&allocator, "types", types_body, NULL, 5, in, 7, NULL);
    FILE *to = fmemopen(text, sizeof text, "w");
    if (!CHECK(f && to)) return;
    heap_fail(&h, k, false);
    const ad_status status = ad_function_emit_c(f, to, NULL, &code, NULL);
    done = heap_has_served(&h);
    CHECK_THAT(status == AD_OK || (status == AD_ERROR_MEMORY && !done), "allocation %ld: %s", k,
               ad_status_sentence(status));
    fclose(to);
    ad_function_free(f);
    CHECK_THAT(heap_is_empty(&h), "allocation %ld: %s", k, heap_text(&h));
  }
  CHECK(done);
}

int main(void) {
  test_matrices();
  test_scalar_function();
  test_types();
  test_loops();
  test_edges();
  test_statuses();
  test_several_functions();
  test_one_file();
  test_refusals();
  test_memory();
  return check_summary();
}
