/* native_text.c -- the text that is compiled for this machine: the written functions in their fast style, and
 * one entry that shares out the memory. */
#include "native/native.h"

/* glibc's vector functions, which gcc calls from loops once it has seen these prototypes; see
 * run/kernels/vector_math.h. As functions of their arguments alone (there is no errno: see cache.c) they do
 * not keep it from choosing by masks instead of branches. */
static const char vector_math[] =
  "#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)\n"
  "#if __GLIBC_PREREQ(2, 35)\n"
  "#define V __attribute__((simd(\"notinbranch\"), const))\n"
  "#define V1(f) V double f(double); V float f##f(float);\n"
  "#define V2(f) V double f(double, double); V float f##f(float, float);\n"
  "V1(exp) V1(exp2) V1(expm1) V1(log) V1(log2) V1(log10) V1(log1p) V1(sin) V1(cos) V1(tan) V1(asin)\n"
  "V1(acos) V1(atan) V1(sinh) V1(cosh) V1(tanh) V1(asinh) V1(acosh) V1(atanh) V1(cbrt) V1(erf) V1(erfc)\n"
  "V2(pow) V2(hypot) V2(atan2)\n"
  "#endif\n#endif\n\n";

static const char words[] =
  "#include <math.h>\n#include <stdint.h>\n\n"
  "typedef double R;\n#define M(name) name\n#define ADIT_ALIGNED __attribute__((aligned(64)))\n"
  "#define ADIT_APART __attribute__((noinline))\n"
  "#define ADIT_SIMD _Pragma(\"omp simd\")\n"
  "#ifdef _OPENMP\n#define ADIT_PARALLEL _Pragma(\"omp parallel for\")\n"
  "#define ADIT_PARALLEL_SIMD _Pragma(\"omp parallel for simd\")\n"
  "int omp_get_max_threads(void);\nint omp_get_thread_num(void);\n"
  "#define ADIT_THREAD omp_get_thread_num()\n"
  "#define ADIT_THREADS(most) (omp_get_max_threads() < (most) ? omp_get_max_threads() : (most))\n"
  "#else\n#define ADIT_PARALLEL\n#define ADIT_PARALLEL_SIMD ADIT_SIMD\n#define ADIT_THREAD 0\n#endif\n"
  "/* n numbers of that many bytes in whole vectors, where vectors can be loaded and stored in part. */\n"
  "#if defined(__AVX2__) && defined(__GNUC__) && !defined(__clang__)\n"
  "#ifdef __AVX512DQ__\n#define ADIT_VECTOR 64\n#else\n#define ADIT_VECTOR 32\n#endif\n"
  "#define ADIT_LANES(n, bytes) (((n)*(bytes) + ADIT_VECTOR - 1)/ADIT_VECTOR*(ADIT_VECTOR/(bytes)))\n"
  "#else\n#define ADIT_LANES(n, bytes) (n)\n#endif\n"
  "#define ADIT_INLINE inline __attribute__((always_inline))\n"
  "#ifdef __FMA__\n#define ADIT_FMA(a, b, c) __builtin_fma(a, b, c)\n"
  "#else\n#define ADIT_FMA(a, b, c) ((a)*(b) + (c))\n#endif\n"
  "struct host { int (*run)(const struct host *, uint64_t, void *const *, const void *const *, void *); "
  "int (*fail)(const struct host *, int, const char *, int64_t, double); const void *const *fixed; };\n\n";

static size_t rounded(size_t bytes) { return (bytes + 63)/64*64; }

static void put_arguments(text *to, const ad_function *f, const unit_info *u, const size_t at[]) {
  const char *comma = "";
  for (int k = 0; k < f->n_in; k++)
    if (u->uses[k]) text_put(to, "%sin[%d]", comma, k), comma = ", ";
  for (int j = 0; j < f->n_out; j++) text_put(to, "%sout[%d]", comma, j), comma = ", ";
  for (int d = AD_DTYPES; d-- > 0;)
    if (u->pool[d]) text_put(to, "%s(void *)((char *)memory + %zu)", comma, at[d]), comma = ", ";
  if (u->host) text_put(to, "%shost", comma), comma = ", ";
  if (u->fixed) text_put(to, "%shost->fixed", comma);
}

static void put_entry(text *to, const ad_function *f, const unit_info *u, const size_t at[]) {
  text_put(to, "\nint adit_entry(const void *const *in, void *const *out, void *memory, "
               "const struct host *host) {\n"
               "  (void)in, (void)out, (void)memory, (void)host;\n");
  text_put(to, u->fails ? "  return %s(" : "  %s(", u->name);
  put_arguments(to, f, u, at);
  text_put(to, u->fails ? ");\n}\n" : ");\n  return 0;\n}\n");
}

bool native_text(ad_writer *w, ad_function *f, native_source *s, size_t *bytes) {
  static const unit_shape plain;
  *s = (native_source){ text_on(&w->allocator), text_on(&w->allocator),
                        { &s->head, &w->routines, &w->units, &s->tail } };
  const unit_info *u = write_unit(w, f, NULL, &plain);
  size_t at[AD_DTYPES];
  bool failed = w->constants.failed;
  if (!u) return false;
  *bytes = 0;
  for (int d = AD_DTYPES; d-- > 0;) {
    at[d] = *bytes;
    *bytes += rounded(u->need[d]*write_size((ad_dtype)d));
  }
  text_put(&s->head, "%s%s", words, vector_math);
  writer_put_constants(w, &s->head);
  put_entry(&s->tail, f, u, at);
  for (int k = 0; k < NATIVE_PIECES; k++) failed |= s->piece[k]->failed;
  return !failed || writer_fail(w, AD_ERROR_MEMORY, "out of memory");
}

void native_source_close(native_source *s) {
  written_free(&s->head);
  written_free(&s->tail);
}
