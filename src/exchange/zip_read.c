/* zip_read.c -- reading archives. Nothing that an archive says is believed: places and sizes are compared
 * with the file's, and with what deflate can make of so many bytes, before memory is taken. */
#include "exchange/zip.h"

#include <string.h>

#ifdef ADIT_ZLIB
#  include <zlib.h>
#endif

enum {
  LOCAL = 30, CENTRAL = 46, END = 22, END_64 = 56, LOCATOR_64 = 20, LONGEST_COMMENT = UINT16_MAX,
  STORED = 0, DEFLATED = 8,
  ENCRYPTED = 1u << 0,
  MOST_EXPANSION = 1032             /* of deflate; zlib.net/zlib_tech.html */
};

static uint16_t get_16(const unsigned char *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t get_32(const unsigned char *p) { return get_16(p) | (uint32_t)get_16(p + 2) << 16; }
static uint64_t get_64(const unsigned char *p) { return get_32(p) | (uint64_t)get_32(p + 4) << 32; }
static bool is(const unsigned char *p, const char *signature) { return !memcmp(p, signature, 4); }

#define DAMAGED(file, text) file_fail(&(file)->at, AD_ERROR_IO, "is damaged: %s", text)

/* --- the end of the file -------------------------------------------------------------------------------- */

/* The last end record in the file's last bytes whose comment reaches to the end of the file; -1: none. */
static int64_t find_end(const unsigned char *tail, size_t size) {
  for (int64_t i = (int64_t)size - END; i >= 0; i--)
    if (is(tail + i, "PK\5\6") && (size_t)i + END + get_16(tail + i + 20) == size) return i;
  return -1;
}

/* The zip64 end record, if a locator of one stands before the end record at `end`. */
static ad_status read_end_64(zip_reader *z, uint64_t end) {
  unsigned char locator[LOCATOR_64], record[END_64];
  if (end < LOCATOR_64) return AD_OK;
  ad_status status = file_read(z->file, end - LOCATOR_64, locator, sizeof locator);
  if (status != AD_OK || !is(locator, "PK\6\7")) return status;
  const uint64_t at = get_64(locator + 8);
  if (at > end) return DAMAGED(z->file, "the place of its zip64 directory");
  status = file_read(z->file, at, record, sizeof record);
  if (status != AD_OK) return status;
  if (!is(record, "PK\6\6")) return DAMAGED(z->file, "the place of its zip64 directory");
  z->entries = get_64(record + 32);
  z->begin = get_64(record + 48);
  z->end = get_64(record + 40);     /* its size, for now */
  return AD_OK;
}

static ad_status read_end(zip_reader *z, const unsigned char *record, uint64_t end) {
  z->entries = get_16(record + 10);
  z->end = get_32(record + 12);     /* its size, for now */
  z->begin = get_32(record + 16);
  if (get_16(record + 4) != 0 && get_16(record + 4) != UINT16_MAX)
    return file_fail(&z->file->at, AD_ERROR_UNSUPPORTED, "is an archive in several parts");
  const ad_status status = read_end_64(z, end);
  if (status != AD_OK) return status;
  if (z->begin > end || z->end > end - z->begin || z->entries > z->end/CENTRAL)
    return DAMAGED(z->file, "its directory is not inside");
  z->end += z->begin;
  z->at = z->begin;
  return AD_OK;
}

ad_status zip_open(zip_reader *z, file_reader *file) {
  enum { TAIL = END + LONGEST_COMMENT };
  unsigned char tail[TAIL];
  const size_t size = file->size < TAIL ? (size_t)file->size : TAIL;
  *z = (zip_reader){ .file = file };
  const ad_status status = file_read(file, file->size - size, tail, size);
  if (status != AD_OK) return status;
  const int64_t i = find_end(tail, size);
  if (i < 0) return file_fail(&file->at, AD_ERROR_IO, "is no zip archive, or its end is missing");
  return read_end(z, tail + i, file->size - size + (uint64_t)i);
}

/* --- the directory -------------------------------------------------------------------------------------- */

/* The zip64 extra field holds, in this order, those of size, compressed size and place that are all ones. */
static ad_status read_wide(zip_reader *z, uint64_t at, size_t length, zip_entry *e) {
  unsigned char extra[UINT16_MAX];
  uint64_t *wide[3] = { &e->size, &e->compressed, &e->header };
  const ad_status status = file_read(z->file, at, extra, length);
  if (status != AD_OK) return status;
  for (size_t i = 0; i + 4 <= length; ) {
    const size_t field = get_16(extra + i + 2), end = i + 4 + field;
    if (end > length) return DAMAGED(z->file, "an extra field of its directory");
    if (get_16(extra + i) == 1) {
      size_t from = i + 4;
      for (int k = 0; k < 3; k++) {
        if (*wide[k] != UINT32_MAX) continue;
        if (from + 8 > end) return DAMAGED(z->file, "a zip64 field of its directory");
        *wide[k] = get_64(extra + from);
        from += 8;
      }
      return AD_OK;
    }
    i = end;
  }
  return DAMAGED(z->file, "a zip64 field is missing in its directory");
}

static ad_status read_name(zip_reader *z, uint64_t at, size_t length, zip_entry *e) {
  if (length >= sizeof e->name)
    return file_fail(&z->file->at, AD_ERROR_UNSUPPORTED, "has a name of %zu bytes", length);
  const ad_status status = file_read(z->file, at, e->name, length);
  if (status != AD_OK) return status;
  e->name[length] = 0;
  return strlen(e->name) == length ? AD_OK : DAMAGED(z->file, "a name in its directory");
}

ad_status zip_next(zip_reader *z, zip_entry *e) {
  unsigned char record[CENTRAL];
  if (z->end - z->at < CENTRAL) return DAMAGED(z->file, "its directory is too short");
  ad_status status = file_read(z->file, z->at, record, sizeof record);
  if (status != AD_OK) return status;
  const size_t name = get_16(record + 28), extra = get_16(record + 30), comment = get_16(record + 32);
  if (!is(record, "PK\1\2") || z->end - z->at - CENTRAL < name + extra + comment)
    return DAMAGED(z->file, "an entry of its directory");
  const int method = get_16(record + 10);
  e->deflated = method == DEFLATED;
  e->crc = get_32(record + 16);
  e->compressed = get_32(record + 20);
  e->size = get_32(record + 24);
  e->header = get_32(record + 42);
  status = read_name(z, z->at + CENTRAL, name, e);
  if (status != AD_OK) return status;
  if (get_16(record + 8) & ENCRYPTED || (method != STORED && method != DEFLATED))
    return file_fail(&z->file->at, AD_ERROR_UNSUPPORTED, "has an entry that is encrypted or not deflated");
  if (e->size == UINT32_MAX || e->compressed == UINT32_MAX || e->header == UINT32_MAX)
    status = read_wide(z, z->at + CENTRAL + name, extra, e);
  z->at += CENTRAL + name + extra + comment;
  return status;
}

/* --- the bytes of an entry ------------------------------------------------------------------------------ */

enum { CHUNK = 1 << 15 };

typedef struct entry_source {
  byte_source s;                    /* the first member */
  file_reader *file;
  uint64_t at, compressed;          /* what is to be read of the file */
  uint32_t crc;                     /* of what was read */
#ifdef ADIT_ZLIB
  z_stream stream;
  unsigned char chunk[CHUNK];
#endif
} entry_source;

static ad_status read_stored(byte_source *s, void *to, size_t size) {
  entry_source *e = (entry_source *)s;
  const ad_status status = file_read(e->file, e->at, to, size);
  e->at += size;
  if (status == AD_OK) e->crc = zip_crc(e->crc, to, size);
  return status;
}

#ifdef ADIT_ZLIB

/* zlib's memory comes from the hook, which wants to know sizes: they are kept in front. */
static void *zlib_get(void *a, unsigned count, unsigned size) {
  const size_t bytes = (size_t)count*size + 16;
  char *block = memory_get(a, bytes);
  if (!block) return NULL;
  memcpy(block, &bytes, sizeof bytes);
  return block + 16;
}

static void zlib_release(void *a, void *pointer) {
  char *block = (char *)pointer - 16;
  size_t bytes;
  memcpy(&bytes, block, sizeof bytes);
  memory_release(a, block, bytes);
}

static ad_status refill(entry_source *e) {
  const size_t size = e->compressed < CHUNK ? (size_t)e->compressed : CHUNK;
  if (e->stream.avail_in) return AD_OK;
  const ad_status status = file_read(e->file, e->at, e->chunk, size);
  e->at += size, e->compressed -= size;
  e->stream.next_in = e->chunk;
  e->stream.avail_in = (uInt)size;
  return status;
}

static ad_status read_deflated(byte_source *s, void *to, size_t size) {
  entry_source *e = (entry_source *)s;
  unsigned char *at = to;
  while (size) {
    const size_t piece = size < 1u << 30 ? size : 1u << 30;
    const ad_status status = refill(e);
    if (status != AD_OK) return status;
    e->stream.next_out = at;
    e->stream.avail_out = (uInt)piece;
    const int said = inflate(&e->stream, Z_NO_FLUSH);
    if (said == Z_MEM_ERROR) return file_fail(s->at, AD_ERROR_MEMORY, "no memory to inflate it");
    const size_t done = piece - e->stream.avail_out;
    /* Z_OK: it got on, perhaps within a table */
    if (said != Z_OK && !(said == Z_STREAM_END && done == size))
      return file_fail(s->at, AD_ERROR_IO, "is damaged: %s", e->stream.msg ? e->stream.msg : "too short");
    e->crc = zip_crc(e->crc, at, done);
    at += done, size -= done;
  }
  return AD_OK;
}

static ad_status start(entry_source *e, const ad_allocator *a) {
  e->stream = (z_stream){ .zalloc = zlib_get, .zfree = zlib_release, .opaque = (void *)(uintptr_t)a };
  e->s.read = read_deflated;
  if (inflateInit2(&e->stream, -MAX_WBITS) == Z_OK) return AD_OK;      /* negative: no header of its own */
  return file_fail(e->s.at, AD_ERROR_MEMORY, "no memory to inflate it");
}

static void stop(entry_source *e) { inflateEnd(&e->stream); }

#else

static ad_status start(entry_source *e, const ad_allocator *a) {
  (void)a;
  return file_fail(e->s.at, AD_ERROR_UNSUPPORTED, "is compressed, and adit was built without zlib");
}

static void stop(entry_source *e) { (void)e; }

#endif

/* The local header says the name again: a damaged one would otherwise go unnoticed. */
static ad_status compare_name(const zip_reader *z, const zip_entry *e, size_t length) {
  char name[ZIP_NAME];
  const size_t shorter = strlen(e->name);             /* the directory's, without .npy */
  if (length != shorter + 4) return DAMAGED(z->file, "its name in the archive");
  const ad_status status = file_read(z->file, e->header + LOCAL, name, length);
  if (status != AD_OK || !memcmp(name, e->name, shorter)) return status;
  return DAMAGED(z->file, "its name in the archive");
}

/* Where the bytes begin: behind the local header, whose extra field has a length of its own. */
static ad_status find_bytes(const zip_reader *z, const zip_entry *e, uint64_t *at) {
  unsigned char record[LOCAL];
  if (e->header > z->begin || z->begin - e->header < LOCAL)
    return DAMAGED(z->file, "its place in the archive");
  const ad_status status = file_read(z->file, e->header, record, sizeof record);
  if (status != AD_OK) return status;
  *at = e->header + LOCAL + get_16(record + 26) + get_16(record + 28);
  if (!is(record, "PK\3\4") || *at > z->begin || e->compressed > z->begin - *at)
    return DAMAGED(z->file, "its place in the archive");
  if (e->deflated ? e->size/MOST_EXPANSION > e->compressed : e->size != e->compressed)
    return DAMAGED(z->file, "its size in the archive");
  return compare_name(z, e, get_16(record + 26));
}

ad_status zip_read_array(zip_reader *z, const zip_entry *e, const ad_allocator *a, ad_type *type,
                         void **data) {
  entry_source from = { .file = z->file, .compressed = e->compressed };
  ad_status status = find_bytes(z, e, &from.at);
  if (status != AD_OK) return status;
  from.s = (byte_source){ read_stored, &z->file->at, e->size };
  if (e->deflated) status = start(&from, a);
  if (status != AD_OK) return status;
  status = npy_read(&from.s, a, type, data);
  if (e->deflated) stop(&from);
  if (status == AD_OK && from.crc != e->crc) {
    memory_release(a, *data, npy_bytes(*type));
    return DAMAGED(z->file, "its checksum is wrong");
  }
  return status;
}
