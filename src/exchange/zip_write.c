/* zip_write.c -- writing archives, stored; and their checksum. */
#include "exchange/zip.h"

#include <string.h>

#ifdef ADIT_ZLIB
#  include <zlib.h>
#endif

/* The remainder of the bits, lowest first, divided by the polynomial 0xEDB88320 over GF(2) (APPNOTE
 * 4.4.7). */
uint32_t zip_crc(uint32_t crc, const void *data, size_t size) {
#ifdef ADIT_ZLIB
  return (uint32_t)crc32_z(crc, data, size);
#else
  const unsigned char *at = data;
  uint32_t table[256];
  for (uint32_t i = 0; i < 256; i++) {
    table[i] = i;
    for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0);
  }
  crc = ~crc;
  for (; size > 0; size--, at++) crc = table[(crc ^ *at) & 255] ^ crc >> 8;
  return ~crc;
#endif
}

/* A header that is put together from its beginning. */
typedef struct record {
  size_t size;
  unsigned char bytes[128];
} record;

static void put(record *r, uint64_t value, int width) {
  for (int i = 0; i < width; i++) r->bytes[r->size++] = (unsigned char)(value >> 8*i);
}

static void put_signature(record *r, int third, int fourth) {
  put(r, (uint64_t)('P' | 'K' << 8 | third << 16 | fourth << 24), 4);
}

enum {
  VERSION = 20, VERSION_64 = 45, UNIX = 3 << 8, UTF8 = 1u << 11,
  FIRST_DAY = 1 << 5 | 1            /* the first of January 1980: equal arrays make equal files */
};

static bool is_ascii(const char *name) {
  while (*name)
    if ((unsigned char)*name++ > 127) return false;
  return true;
}

/* What the local header and the directory have in common, from version to extra length. */
static void put_common(record *r, const zip_record *e, bool wide, size_t extra) {
  const uint64_t size = wide ? UINT32_MAX : e->size;
  put(r, wide || extra ? VERSION_64 : VERSION, 2);
  put(r, is_ascii(e->name) ? 0 : UTF8, 2);
  put(r, 0, 2);                     /* stored */
  put(r, 0, 2);                     /* midnight */
  put(r, FIRST_DAY, 2);
  put(r, e->crc, 4);
  put(r, size, 4);
  put(r, size, 4);
  put(r, strlen(e->name) + 4, 2);
  put(r, extra, 2);
}

static ad_status write_name(zip_writer *z, const char *name) {
  const ad_status status = file_write(z->file, name, strlen(name));
  return status == AD_OK ? file_write(z->file, ".npy", 4) : status;
}

ad_status zip_begin(zip_writer *z, zip_record *e) {
  const bool wide = e->size >= z->narrow;
  record head = { 0 }, extra = { 0 };
  e->header = z->file->written;
  put_signature(&head, 3, 4);
  put_common(&head, e, wide, wide ? 20 : 0);
  if (wide) {
    put(&extra, 1, 2);
    put(&extra, 16, 2);
    put(&extra, e->size, 8);
    put(&extra, e->size, 8);
  }
  ad_status status = file_write(z->file, head.bytes, head.size);
  if (status == AD_OK) status = write_name(z, e->name);
  return status == AD_OK ? file_write(z->file, extra.bytes, extra.size) : status;
}

static ad_status write_central(zip_writer *z, const zip_record *e) {
  const bool wide = e->size >= z->narrow, far_off = e->header >= z->narrow;
  record head = { 0 }, extra = { 0 };
  if (wide || far_off) {
    put(&extra, 1, 2);
    put(&extra, (wide ? 16u : 0) + (far_off ? 8u : 0), 2);
    if (wide) put(&extra, e->size, 8);
    if (wide) put(&extra, e->size, 8);
    if (far_off) put(&extra, e->header, 8);
  }
  put_signature(&head, 1, 2);
  put(&head, UNIX | VERSION_64, 2);
  put_common(&head, e, wide, extra.size);
  put(&head, 0, 2);                 /* comment */
  put(&head, 0, 2);                 /* disk */
  put(&head, 0, 2);                 /* internal attributes */
  put(&head, (uint64_t)0100644 << 16, 4);                /* a file, rw-r--r-- */
  put(&head, far_off ? UINT32_MAX : e->header, 4);
  ad_status status = file_write(z->file, head.bytes, head.size);
  if (status == AD_OK) status = write_name(z, e->name);
  return status == AD_OK ? file_write(z->file, extra.bytes, extra.size) : status;
}

/* The zip64 end record and its locator. */
static void put_end_64(record *r, size_t count, uint64_t begin, uint64_t end) {
  put_signature(r, 6, 6);
  put(r, 44, 8);                    /* bytes that follow */
  put(r, UNIX | VERSION_64, 2);
  put(r, VERSION_64, 2);
  put(r, 0, 4);
  put(r, 0, 4);
  put(r, count, 8);
  put(r, count, 8);
  put(r, end - begin, 8);
  put(r, begin, 8);
  put_signature(r, 6, 7);
  put(r, 0, 4);
  put(r, end, 8);
  put(r, 1, 4);
}

ad_status zip_end(zip_writer *z, size_t count, const zip_record entry[]) {
  const uint64_t begin = z->file->written;
  ad_status status = AD_OK;
  record r = { 0 };
  for (size_t i = 0; i < count && status == AD_OK; i++) status = write_central(z, &entry[i]);
  if (status != AD_OK) return status;
  const uint64_t end = z->file->written;
  const bool wide = begin >= z->narrow || end - begin >= z->narrow || count >= UINT16_MAX;
  if (wide) put_end_64(&r, count, begin, end);
  put_signature(&r, 5, 6);
  put(&r, 0, 4);
  put(&r, wide ? UINT16_MAX : count, 2);
  put(&r, wide ? UINT16_MAX : count, 2);
  put(&r, wide ? UINT32_MAX : end - begin, 4);
  put(&r, wide ? UINT32_MAX : begin, 4);
  put(&r, 0, 2);
  return file_write(z->file, r.bytes, r.size);
}
