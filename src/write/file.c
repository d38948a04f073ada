/* file.c -- a .c and a .h: what is at their heads, the functions, the entry points. */
#include "write/file.h"
#include "adit/version.h"

#include <stdio.h>
#include <string.h>

/* --- names ---------------------------------------------------------------------------------------------- */

static bool is_name(const char *s) {
  if (!*s || (*s >= '0' && *s <= '9') || strlen(s) > 60) return false;
  for (; *s; s++)
    if (!(*s == '_' || (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')))
      return false;
  return true;
}

/* A name made of a text: other characters become _. */
static void make_name(char to[WRITE_NAME], const char *from) {
  snprintf(to, 61, "%s%s", *from >= '0' && *from <= '9' ? "_" : "", *from ? from : "f");
  for (char *s = to; *s; s++)
    if (!((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z'))) *s = '_';
}

/* --- comments ------------------------------------------------------------------------------------------- */

void put_shape(text *to, const ad_type *type) {
  static const char *const name[AD_DTYPES] = { "bool", "i32", "i64", "f32", "f64" };
  text_put(to, "%s", name[type->dtype]);
  for (int d = 0; d < type->rank; d++)
    text_put(to, "%s%lld%s", d ? ", " : "(", (long long)type->dim[d], d + 1 == type->rank ? ")" : "");
}

/* In comments a text must not end them. */
void put_comment_word(text *to, const char *s) {
  for (; *s; s++)
    if (*s == '*' || *s == '/' || *s == '\\' || (unsigned char)*s < ' ') text_put(to, "_");
    else text_put_bytes(to, s, 1);
}

static void put_arguments_comment(text *to, const ad_function *f) {
  for (int k = 0; k < f->n_in; k++) {
    const ad_type type = node_type(f->body, f->in[k])->type;
    text_put(to, " *   x%d  ", k);
    put_shape(to, &type);
    text_put(to, "\n");
  }
  for (int j = 0; j < f->n_out; j++) {
    const ad_type type = node_type(f->body, f->out[j])->type;
    text_put(to, " *   z%d  ", j);
    put_shape(to, &type);
    text_put(to, "\n");
  }
}

/* --- entry points --------------------------------------------------------------------------------------- */

static const char *const pool_macro[AD_DTYPES] = { "_WORK_BOOL", "_WORK_I32", "_WORK_I64", "_WORK_F32",
                                                   "_WORK" };

/* As the caller sees them: the type that the macro chooses has the file's own name. */
static void put_public_type(const file *p, text *to, ad_dtype dtype) {
  if (dtype == AD_F64) text_put(to, "%s_real", p->w.prefix);
  else text_put(to, "%s", write_type(dtype));
}

static void put_prototype(const file *p, text *to, const entry *e) {
  const ad_function *f = e->f;
  text_put(to, "%sint %s(", p->w.options.make_static ? "static " : "", e->name);
  for (int k = 0; k < f->n_in; k++) {
    text_put(to, "const ");
    put_public_type(p, to, node_type(f->body, f->in[k])->type.dtype);
    text_put(to, " *x%d, ", k);
  }
  for (int j = 0; j < f->n_out; j++) {
    put_public_type(p, to, node_type(f->body, f->out[j])->type.dtype);
    text_put(to, " *z%d, ", j);
  }
  put_public_type(p, to, AD_F64);
  text_put(to, " *w");
  for (int d = AD_F64; d-- > 0;)
    if (e->code->need[d]) text_put(to, ", %s *%s", write_type((ad_dtype)d), write_pool((ad_dtype)d));
  text_put(to, ")");
}

/* The unit called with the names that it has for its parameters. */
void put_call(text *to, const entry *e) {
  const char *comma = "";
  text_put(to, "%s(", e->code->name);
  for (int k = 0; k < e->f->n_in; k++)
    if (e->code->uses[k]) text_put(to, "%sx%d", comma, k), comma = ", ";
  for (int j = 0; j < e->f->n_out; j++) text_put(to, "%sz%d", comma, j), comma = ", ";
  for (int d = AD_DTYPES; d-- > 0;)
    if (e->code->pool[d]) text_put(to, "%s%s", comma, write_pool((ad_dtype)d)), comma = ", ";
  text_put(to, ");\n");
}

static void put_entry(const file *p, text *to, const entry *e) {
  const ad_function *f = e->f;
  text_put(to, "\n");
  put_prototype(p, to, e);
  text_put(to, " {\n");
  for (int k = 0; k < f->n_in; k++)
    if (!e->code->uses[k]) text_put(to, "  (void)x%d;\n", k);
  if (!e->code->pool[AD_F64]) text_put(to, "  (void)w;\n");
  for (int d = 0; d < AD_F64; d++)
    if (e->code->need[d] && !e->code->pool[d]) text_put(to, "  (void)%s;\n", write_pool((ad_dtype)d));
  text_put(to, e->code->fails ? "  return " : "  ");
  put_call(to, e);
  text_put(to, e->code->fails ? "}\n" : "  return 0;\n}\n");
}

static void put_upper(text *to, const char *s) {
  for (; *s; s++) {
    const char c = *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s;
    text_put_bytes(to, &c, 1);
  }
}

/* Declaration, sizes, and what the arguments are. */
static void put_declaration(const file *p, text *to, const entry *e) {
  text_put(to, "\n/* ");
  put_comment_word(to, e->f->name);
  text_put(to, "\n");
  put_arguments_comment(to, e->f);
  text_put(to, " */\n");
  for (int d = AD_DTYPES; d-- > 0;)
    if (d == AD_F64 || e->code->need[d])
      text_put(to, "#define %s%s %zu\n", e->name, pool_macro[d], e->code->need[d]);
  if (p->w.options.make_static) return;
  put_prototype(p, to, e);
  text_put(to, ";\n");
}

/* --- the two files -------------------------------------------------------------------------------------- */

static void put_types(const file *p, text *to) {
  const char *name = p->w.prefix;
  text_put(to, "#ifdef %s_FLOAT\ntypedef float %s_real;\n#else\ntypedef double %s_real;\n#endif\n", name,
           name, name);
}

static void put_declarations(const file *p, text *to) {
  put_types(p, to);
  if (is_casadi(p)) put_casadi_types(p, to);
  for (int i = 0; i < p->n; i++)
    if (is_casadi(p)) put_casadi_declaration(p, to, &p->entry[i]);
    else put_declaration(p, to, &p->entry[i]);
}

static void put_header(const file *p, text *to, uint64_t hash) {
  text_put(to, "/* Written by adit %d.%d.%d; %016llx. */\n#ifndef ", AD_VERSION_MAJOR,
           AD_VERSION_MINOR, AD_VERSION_PATCH, (unsigned long long)hash);
  put_upper(to, p->w.prefix);
  text_put(to, "_H\n#define ");
  put_upper(to, p->w.prefix);
  text_put(to, "_H\n\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
  put_declarations(p, to);
  text_put(to, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
}

/* What the functions are written in: R, M(exp), and nothing where loops could be made parallel. */
static void put_words_of_file(const file *p, text *to) {
  text_put(to,
           "#define R %s_real\n#ifdef %s_FLOAT\n#  define M(name) name##f\n#else\n#  define M(name) name\n"
           "#endif\n#define ADIT_SIMD\n\n", p->w.prefix, p->w.prefix);
}

/* Entry points are made first: they may need routines. */
static void put_body(file *p, text *to) {
  text entries = text_on(&p->w.allocator);
  for (int i = 0; i < p->n; i++)
    if (is_casadi(p)) put_casadi_entry(p, &entries, &p->entry[i]);
    else put_entry(p, &entries, &p->entry[i]);
  put_words_of_file(p, to);
  writer_put_constants(&p->w, to);
  text_put_bytes(to, text_of(&p->w.routines), p->w.routines.length);
  text_put_bytes(to, text_of(&p->w.units), p->w.units.length);
  text_put_bytes(to, text_of(&entries), entries.length);
  to->failed |= entries.failed;
  written_free(&entries);
  text_put(to, "\n#undef R\n#undef M\n#undef ADIT_SIMD\n#undef ADIT_FIXED\n");
}

static uint64_t hash_of(const text *t) { return text_hash(TEXT_HASH, text_of(t), t->length); }

static void put_source(file *p, bool header) {
  text body = text_on(&p->w.allocator);
  const char *own = p->w.options.header;
  put_body(p, &body);
  const uint64_t hash = hash_of(&body);
  text_put(&p->source, "/* Written by adit %d.%d.%d; %016llx. */\n", AD_VERSION_MAJOR, AD_VERSION_MINOR,
           AD_VERSION_PATCH, (unsigned long long)hash);
  if (header && own) text_put(&p->source, "#include \"%s\"\n\n#include <math.h>\n\n", own);
  else if (header) text_put(&p->source, "#include \"%s.h\"\n\n#include <math.h>\n\n", p->w.prefix);
  else {
    text_put(&p->source, "#include <math.h>\n#include <stdint.h>\n\n");
    put_declarations(p, &p->source);
    text_put(&p->source, "\n");
  }
  text_put_bytes(&p->source, text_of(&body), body.length);
  if (header) put_header(p, &p->header, hash);
  p->source.failed |= body.failed || p->w.constants.failed || p->w.routines.failed || p->w.units.failed;
  written_free(&body);
}

/* --- writing -------------------------------------------------------------------------------------------- */

static bool write_entries(file *p) {
  static const unit_shape plain;
  for (int i = 0; i < p->n; i++) {
    p->entry[i].code = write_unit(&p->w, p->entry[i].f, NULL, &plain);
    if (!p->entry[i].code) return false;
  }
  return true;
}

bool check_name(file *p, const char *name) {
  return !writer_has(&p->w, name)
         || writer_fail(&p->w, AD_ERROR_ARGUMENT,
                        "the name %s is there twice, or a function of the file has it", name);
}

/* Units and constants have names with a digit that no entry point can have; helpers have names like any. */
static bool check_names(file *p) {
  bool good = true;
  for (int i = 0; i < p->n && good; i++) good = check_name(p, p->entry[i].name);
  return good && (!is_casadi(p) || check_casadi(p));
}

static bool put_file(ad_writer *w, const text *t, FILE *to) {
  if (t->failed) return writer_fail(w, AD_ERROR_MEMORY, "out of memory");
  if (to && (fwrite(text_of(t), 1, t->length, to) != t->length || fflush(to)))
    return writer_fail(w, AD_ERROR_IO, "the file cannot be written");
  return true;
}

static ad_status finish(file *p, ad_status status, ad_report *report) {
  const ad_allocator a = p->w.allocator;
  if (status == AD_OK) status = p->w.status;
  if (report) {
    report->status = status;
    const char *why = *p->w.message ? p->w.message : ad_status_sentence(status);
    snprintf(report->message, sizeof report->message, "%s", status == AD_OK ? "" : why);
  }
  written_free(&p->source);
  written_free(&p->header);
  writer_close(&p->w);
  memory_release(&a, p->entry, (size_t)p->n*sizeof *p->entry);
  return status;
}

ad_status ad_functions_emit_c(int n, ad_function *const f[], const char *const names[], FILE *source,
                              FILE *header, const ad_code *options, ad_report *report) {
  static const ad_code defaults;
  char prefix[WRITE_NAME];
  bool good = n > 0 && f && source && (n == 1 || names);
  file p = { .n = 0 };
  if (!options) options = &defaults;
  for (int i = 0; i < n && good; i++) good = f[i] != NULL;
  if (!good || (options->name && !is_name(options->name))) {
    if (report)
      *report = (ad_report){ AD_ERROR_ARGUMENT, "a function or file is missing, or the name is none in C" };
    return AD_ERROR_ARGUMENT;
  }
  if (options->convention != AD_CODE_PLAIN && options->make_static) {
    if (report)
      *report = (ad_report){ AD_ERROR_ARGUMENT, "entry points that are to be loaded cannot be static" };
    return AD_ERROR_ARGUMENT;
  }
  if (options->name) snprintf(prefix, sizeof prefix, "%s", options->name);
  else make_name(prefix, f[0]->name);
  writer_open(&p.w, &f[0]->body->allocator, options, prefix, false);
  p.source = p.header = text_on(&p.w.allocator);
  p.entry = memory_get_zeroed(&p.w.allocator, (size_t)n, sizeof *p.entry);
  if (!p.entry) return finish(&p, AD_ERROR_MEMORY, report);
  p.n = n;
  for (int i = 0; i < n; i++) {
    p.entry[i].f = f[i];
    const char *name = names && names[i] && *names[i] ? names[i] : NULL;
    if (name && !is_name(name)) writer_fail(&p.w, AD_ERROR_ARGUMENT, "%.60s is no name in C", name);
    snprintf(p.entry[i].name, WRITE_NAME, name ? "%.60s_%.30s" : "%.60s", prefix, name);
  }
  if (p.w.status == AD_OK && write_entries(&p) && check_names(&p)) {
    put_source(&p, header != NULL);
    if (put_file(&p.w, &p.source, source) && header) put_file(&p.w, &p.header, header);
  }
  return finish(&p, AD_OK, report);
}
