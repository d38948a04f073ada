/* parameters.c -- a tree of named arrays: building and looking. */
#include "learn/parameters.h"

#include <stdarg.h>
#include <string.h>

enum { ALIGNMENT = 64, LONGEST_NAME = 200 };

ad_status parameters_fail(ad_parameters *p, ad_status status, const char *format, ...) {
  if (!p || p->report.status != AD_OK) return status;
  va_list list;
  va_start(list, format);
  vsnprintf(p->report.message, sizeof p->report.message, format, list);
  va_end(list);
  return p->report.status = status;
}

/* --- the container -------------------------------------------------------------------------------------- */

ad_parameters *ad_parameters_new_with(const ad_allocator *allocator) {
  const ad_allocator *a = allocator ? allocator : &memory_standard;
  ad_parameters *p = memory_get_zeroed(a, 1, sizeof *p);
  if (p) p->allocator = *a;
  return p;
}

ad_parameters *ad_parameters_new(void) { return ad_parameters_new_with(NULL); }

static size_t block_size(ad_type type) { return ad_type_bytes(type) + ALIGNMENT; }

/* Removes the entries from `first` on. */
static void cut(ad_parameters *p, int first) {
  for (int i = first; i < p->entries; i++) {
    memory_release(&p->allocator, p->entry[i].name, strlen(p->entry[i].name) + 1);
    memory_release(&p->allocator, p->entry[i].block, block_size(p->type[i]));
  }
  p->entries = first;
}

void ad_parameters_free(ad_parameters *p) {
  if (!p) return;
  const ad_allocator a = p->allocator;
  cut(p, 0);
  memory_release(&a, p->entry, p->entry_room*sizeof *p->entry);
  memory_release(&a, p->type, p->type_room*sizeof *p->type);
  memory_release(&a, p->data, p->data_room*sizeof *p->data);
  memory_release(&a, p, sizeof *p);
}

ad_status ad_parameters_status(const ad_parameters *p) { return p ? p->report.status : AD_ERROR_MEMORY; }
const char *ad_parameters_message(const ad_parameters *p) { return p ? p->report.message : "out of memory"; }

void ad_parameters_clear(ad_parameters *p) {
  if (p) p->report = (ad_report){ AD_OK, "" };
}

/* --- names ---------------------------------------------------------------------------------------------- */

/* NULL, or what is wrong with a name. */
static const char *name_fault(const char *name) {
  const size_t length = strlen(name);
  if (length == 0 || length > LONGEST_NAME) return "a name has 1 to 200 bytes";
  for (const char *c = name; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 127) return "a name has printable characters";
  for (const char *part = name; part; ) {
    const size_t size = strcspn(part, "/");
    if (size == 0) return "a part of the name is empty";
    if ((size == 1 && part[0] == '.') || (size == 2 && part[0] == '.' && part[1] == '.'))
      return "a part of the name is . or ..";
    part = part[size] ? part + size + 1 : NULL;
  }
  return NULL;
}

/* One is the other, or a folder of it. */
static bool collide(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return (!*a && (!*b || *b == '/')) || (!*b && *a == '/');
}

static ad_status check_entry(ad_parameters *p, const char *name, ad_type type, ad_init init) {
  if (!name) return parameters_fail(p, AD_ERROR_ARGUMENT, "entry %d: no name", p->entries);
  const char *fault = name_fault(name);
  if (fault) return parameters_fail(p, AD_ERROR_ARGUMENT, "\"%.100s\": %s", name, fault);
  for (int i = 0; i < p->entries; i++)
    if (collide(p->entry[i].name, name))
      return parameters_fail(p, AD_ERROR_ARGUMENT, "\"%.100s\": there is \"%.100s\" already", name,
                             p->entry[i].name);
  if (!ad_type_valid(type) || ad_type_bytes(type) > PTRDIFF_MAX - ALIGNMENT)
    return parameters_fail(p, AD_ERROR_ARGUMENT, "\"%.100s\": no valid type", name);
  if (init.kind < AD_INIT_CONSTANT || init.kind > AD_INIT_HE_NORMAL)
    return parameters_fail(p, AD_ERROR_ARGUMENT, "\"%.100s\": no such rule of initial values", name);
  const double most = type.dtype == AD_I32 ? INT32_MAX : 0x1p53;
  if (init.kind == AD_INIT_CONSTANT && type.dtype < AD_F32 && !(init.a >= -most && init.a <= most))
    return parameters_fail(p, AD_ERROR_ARGUMENT, "\"%.100s\": %g is beyond %s", name, init.a,
                           ad_dtype_name(type.dtype));
  if (init.kind != AD_INIT_CONSTANT && type.dtype < AD_F32)
    return parameters_fail(p, AD_ERROR_DTYPE, "\"%.100s\": random initial values are for floats, not %s",
                           name, ad_dtype_name(type.dtype));
  return AD_OK;
}

/* --- adding --------------------------------------------------------------------------------------------- */

static bool make_room(ad_parameters *p) {
  const size_t need = (size_t)p->entries + 1;
  const ad_allocator *a = &p->allocator;
  return memory_reserve(a, &p->entry, &p->entry_room, need, sizeof *p->entry)
      && memory_reserve(a, &p->type, &p->type_room, need, sizeof *p->type)
      && memory_reserve(a, &p->data, &p->data_room, need, sizeof *p->data);
}

int ad_parameters_add(ad_parameters *p, const char *name, ad_type type, ad_init init) {
  if (!p || check_entry(p, name, type, init) != AD_OK) return -1;
  const size_t length = strlen(name) + 1;
  char *copy = make_room(p) ? memory_get(&p->allocator, length) : NULL;
  char *block = copy ? memory_get_zeroed(&p->allocator, 1, block_size(type)) : NULL;
  if (!block) {
    memory_release(&p->allocator, copy, length);
    parameters_fail(p, AD_ERROR_MEMORY, "\"%.100s\": out of memory", name);
    return -1;
  }
  memcpy(copy, name, length);
  p->entry[p->entries] = (parameters_entry){ copy, init, block };
  p->type[p->entries] = type;
  p->data[p->entries] = block + (ALIGNMENT - (uintptr_t)block%ALIGNMENT)%ALIGNMENT;
  return p->entries++;
}

static bool copy_entry(ad_parameters *p, const char *name, const ad_parameters *other, int i) {
  const int k = ad_parameters_add(p, name, other->type[i], other->entry[i].init);
  if (k >= 0) memcpy(p->data[k], other->data[i], ad_type_bytes(other->type[i]));
  return k >= 0;
}

ad_parameters *ad_parameters_copy(const ad_parameters *p) {
  ad_parameters *copy = p ? ad_parameters_new_with(&p->allocator) : NULL;
  for (int i = 0; copy && i < p->entries; i++) {
    if (copy_entry(copy, p->entry[i].name, p, i)) continue;
    ad_parameters_free(copy);
    return NULL;
  }
  return copy;
}

ad_status ad_parameters_append(ad_parameters *p, const char *prefix, const ad_parameters *other) {
  if (!p || !other)
    return parameters_fail(p, AD_ERROR_ARGUMENT, "nothing to append, or nothing to append to");
  const int before = p->entries, count = other->entries;
  char name[LONGEST_NAME + 2];
  for (int i = 0; i < count; i++) {
    const char *slash = prefix && *prefix ? "/" : "";
    const int length = snprintf(name, sizeof name, "%s%s%s", prefix ? prefix : "", slash,
                                other->entry[i].name);
    if (length > LONGEST_NAME)
      parameters_fail(p, AD_ERROR_ARGUMENT, "\"%.100s..\": a name has 1 to 200 bytes", name);
    if (length <= LONGEST_NAME && copy_entry(p, name, other, i)) continue;
    cut(p, before);
    return p->report.status;
  }
  return AD_OK;
}

/* --- looking -------------------------------------------------------------------------------------------- */

static bool inside(const ad_parameters *p, int i) { return p && i >= 0 && i < p->entries; }

int ad_parameters_entries(const ad_parameters *p) { return p ? p->entries : 0; }

int64_t ad_parameters_count(const ad_parameters *p) {
  int64_t count = 0;
  for (int i = 0; p && i < p->entries; i++) count += ad_type_count(p->type[i]);
  return count;
}

const char *ad_parameters_name(const ad_parameters *p, int i) {
  return inside(p, i) ? p->entry[i].name : NULL;
}

ad_type ad_parameters_type(const ad_parameters *p, int i) {
  return inside(p, i) ? p->type[i] : ad_type_make(AD_F64, -1, NULL);
}

void *ad_parameters_data(const ad_parameters *p, int i) { return inside(p, i) ? p->data[i] : NULL; }
const ad_type *ad_parameters_types(const ad_parameters *p) { return p ? p->type : NULL; }
void *const *ad_parameters_all(const ad_parameters *p) { return p ? p->data : NULL; }

int ad_parameters_find(const ad_parameters *p, const char *name) {
  for (int i = 0; p && name && i < p->entries; i++)
    if (!strcmp(p->entry[i].name, name)) return i;
  return -1;
}
