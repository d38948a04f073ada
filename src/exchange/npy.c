/* npy.c -- one array: its elements read into row-major order, this machine's bytes; .npy files.
 *
 * Source: NumPy, numpy.lib.format: "\x93NUMPY", two bytes of version, the length of the header in two bytes
 * (version 1) or four (2 and 3), the header, padded with spaces to a multiple of 64 bytes, the elements.
 */
#include "exchange/npy.h"
#include "exchange/npy_header.h"

#include <stdio.h>
#include <string.h>

enum { PREFIX = 8, LONGEST_HEADER = 4096 };
static const char magic[6] = { '\x93', 'N', 'U', 'M', 'P', 'Y' };

/* --- the header ----------------------------------------------------------------------------------------- */

size_t npy_header(ad_type type, char header[NPY_HEADER]) {
  static const char *const name[AD_DTYPES] = { "b1", "i4", "i8", "f4", "f8" };
  const uint16_t one = 1;
  const char order = type.dtype == AD_BOOL ? '|' : *(const uint8_t *)&one ? '<' : '>';
  char shape[AD_MAX_RANK*24 + 1] = "";
  int at = 0;
  for (int d = 0; d < type.rank; d++)
    at += snprintf(shape + at, sizeof shape - (size_t)at, "%lld,%s", (long long)type.dim[d],
                   d + 1 < type.rank ? " " : "");
  if (type.rank > 1) shape[at - 1] = 0;
  const int length = snprintf(header + PREFIX + 2, NPY_HEADER - PREFIX - 2,
                              "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s), }", order,
                              name[type.dtype], shape);
  const size_t total = ((size_t)length + PREFIX + 2 + 1 + 63)/64*64, text = total - PREFIX - 2;
  memset(header + PREFIX + 2 + length, ' ', text - (size_t)length - 1);
  header[total - 1] = '\n';
  memcpy(header, magic, sizeof magic);
  memcpy(header + sizeof magic, (const char[]){ 1, 0, (char)(text & 255), (char)(text >> 8) }, 4);
  return total;
}

ad_status source_read(byte_source *s, void *to, size_t size) {
  if (size > s->left) return file_fail(s->at, AD_ERROR_IO, "is cut off");
  const ad_status status = size ? s->read(s, to, size) : AD_OK;
  s->left -= size;
  return status;
}

static ad_status read_layout(byte_source *s, npy_layout *out) {
  unsigned char start[PREFIX], length[4] = { 0 };
  char text[LONGEST_HEADER];
  ad_status status = source_read(s, start, sizeof start);
  if (status != AD_OK) return status;
  if (memcmp(start, magic, sizeof magic))
    return file_fail(s->at, AD_ERROR_IO, "is no array of NumPy's format");
  const int version = start[6];
  if (version < 1 || version > 3 || start[7])
    return file_fail(s->at, AD_ERROR_UNSUPPORTED, "has the format's version %d.%d", version, start[7]);
  status = source_read(s, length, version == 1 ? 2 : 4);
  const size_t size = length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16 | (size_t)length[3] << 24;
  if (status == AD_OK && size > sizeof text)
    return file_fail(s->at, AD_ERROR_UNSUPPORTED, "has a header of %zu bytes: more than adit reads", size);
  if (status == AD_OK) status = source_read(s, text, size);
  return status == AD_OK ? npy_header_read(s->at, text, size, out) : status;
}

/* --- the elements --------------------------------------------------------------------------------------- */

size_t npy_bytes(ad_type type) {
  const size_t bytes = ad_type_bytes(type);
  return bytes ? bytes : 1;
}

static void swap_bytes(unsigned char *at, size_t width, int64_t count) {
  for (; count > 0; count--, at += width)
    for (size_t i = 0; i < width/2; i++) {
      const unsigned char low = at[i];
      at[i] = at[width - 1 - i];
      at[width - 1 - i] = low;
    }
}

/* to[i_0, .., i_last] row-major = from[..] with the first axis contiguous. */
static void to_row_major(ad_type type, char *to, const char *from) {
  const size_t width = ad_dtype_bytes(type.dtype);
  int64_t stride[AD_MAX_RANK], index[AD_MAX_RANK] = { 0 }, at = 0, step = 1, count = ad_type_count(type);
  for (int d = 0; d < type.rank && count; d++) {
    stride[d] = step;
    step *= type.dim[d];
  }
  for (; count > 0; count--, to += width) {
    memcpy(to, from + (size_t)at*width, width);
    for (int d = type.rank - 1; d >= 0; d--) {
      at += stride[d];
      if (++index[d] < type.dim[d]) break;
      at -= stride[d]*type.dim[d];
      index[d] = 0;
    }
  }
}

static ad_status turn(const ad_allocator *a, ad_type type, void **data) {
  void *turned = memory_get(a, npy_bytes(type));
  if (!turned) return AD_ERROR_MEMORY;
  to_row_major(type, turned, *data);
  memory_release(a, *data, npy_bytes(type));
  *data = turned;
  return AD_OK;
}

static void normalise(const npy_layout *l, void *data) {
  unsigned char *bytes = data;
  const int64_t count = ad_type_count(l->type);
  if (l->swapped) swap_bytes(data, ad_dtype_bytes(l->type.dtype), count);
  for (int64_t i = 0; l->type.dtype == AD_BOOL && i < count; i++) bytes[i] = bytes[i] != 0;
}

ad_status npy_read(byte_source *s, const ad_allocator *a, ad_type *type, void **data) {
  npy_layout l;
  char text[192];
  ad_status status = read_layout(s, &l);
  if (status != AD_OK) return status;
  if (ad_type_bytes(l.type) != s->left)
    return file_fail(s->at, AD_ERROR_IO, "is damaged: %s takes %zu bytes, not the %llu there",
                     ad_type_print(l.type, text, sizeof text), ad_type_bytes(l.type),
                     (unsigned long long)s->left);
  *type = l.type;
  *data = memory_get(a, npy_bytes(l.type));
  if (!*data) return file_fail(s->at, AD_ERROR_MEMORY, "no memory for it");
  status = source_read(s, *data, ad_type_bytes(l.type));
  if (status == AD_OK) {
    normalise(&l, *data);
    if (l.fortran && l.type.rank > 1) status = turn(a, l.type, data);
    if (status != AD_OK) file_fail(s->at, status, "no memory for it");
  }
  if (status != AD_OK) memory_release(a, *data, npy_bytes(l.type));
  return status;
}

/* --- what was read -------------------------------------------------------------------------------------- */

typedef struct owned_archive {
  ad_archive is;                    /* the first member: what the caller sees */
  ad_allocator allocator;
  size_t room;
} owned_archive;

ad_archive *archive_new(const ad_allocator *a, size_t room) {
  owned_archive *new = memory_get_zeroed(a, 1, sizeof *new);
  if (!new) return NULL;
  new->allocator = *a;
  new->room = room;
  new->is.array = memory_get_zeroed(a, room ? room : 1, sizeof *new->is.array);
  if (new->is.array) return &new->is;
  memory_release(a, new, sizeof *new);
  return NULL;
}

bool archive_add(ad_archive *given, const char *name, ad_type type, void *data) {
  owned_archive *all = (owned_archive *)given;
  const size_t size = strlen(name) + 1;
  char *copy = (size_t)given->count < all->room ? memory_get(&all->allocator, size) : NULL;
  if (!copy) return false;
  memcpy(copy, name, size);
  given->array[given->count++] = (ad_named_array){ copy, type, data };
  return true;
}

int ad_archive_find(const ad_archive *archive, const char *name) {
  for (int i = 0; archive && name && i < archive->count; i++)
    if (!strcmp(archive->array[i].name, name)) return i;
  return -1;
}

void ad_archive_free(ad_archive *given) {
  owned_archive *all = (owned_archive *)given;
  if (!all) return;
  const ad_allocator a = all->allocator;
  for (int i = 0; i < given->count; i++) {
    char *name = (char *)(uintptr_t)given->array[i].name;
    memory_release(&a, name, strlen(name) + 1);
    memory_release(&a, given->array[i].data, npy_bytes(given->array[i].type));
  }
  memory_release(&a, given->array, (all->room ? all->room : 1)*sizeof *given->array);
  memory_release(&a, all, sizeof *all);
}

/* --- .npy files ----------------------------------------------------------------------------------------- */

ad_status ad_npy_save(const char *path, ad_type type, const void *data, ad_report *report) {
  ad_report own;
  report = file_report(report, &own);
  file_place at = { report, path ? path : "(no path)", NULL };
  if (!path || !ad_type_valid(type) || (!data && ad_type_bytes(type)))
    return file_fail(&at, AD_ERROR_ARGUMENT, "no path, no valid type or no data");
  file_writer f;
  char header[NPY_HEADER];
  ad_status status = file_create(&f, path, report);
  if (status != AD_OK) return status;
  status = file_write(&f, header, npy_header(type, header));
  if (status == AD_OK) status = file_write(&f, data, ad_type_bytes(type));
  return file_finish(&f, status);
}

typedef struct file_source {
  byte_source s;                    /* the first member */
  file_reader *file;
} file_source;

static ad_status read_file(byte_source *s, void *to, size_t size) {
  file_reader *f = ((file_source *)s)->file;
  return file_read(f, f->size - s->left, to, size);
}

static ad_archive *single(file_reader *f, const ad_allocator *a) {
  file_source from = { { read_file, &f->at, f->size }, f };
  ad_type type;
  void *data;
  if (npy_read(&from.s, a, &type, &data) != AD_OK) return NULL;
  ad_archive *archive = archive_new(a, 1);
  if (archive && archive_add(archive, "", type, data)) return archive;
  file_fail(&f->at, AD_ERROR_MEMORY, "no memory for it");
  memory_release(a, data, npy_bytes(type));
  ad_archive_free(archive);
  return NULL;
}

ad_archive *ad_npy_load(const char *path, const ad_allocator *allocator, ad_report *report) {
  ad_report own;
  report = file_report(report, &own);
  file_place at = { report, "(no path)", NULL };
  if (!path) {
    file_fail(&at, AD_ERROR_ARGUMENT, "no path");
    return NULL;
  }
  file_reader f;
  ad_archive *archive = NULL;
  if (file_open(&f, path, report) == AD_OK) archive = single(&f, allocator ? allocator : &memory_standard);
  file_close(&f);
  return archive;
}
