/* fuzz.c -- messages of every evaluation, with parts replaced, added and taken away, then bytes changed. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

/* --- parts ---------------------------------------------------------------------------------------------- */

/* Something that does not belong there: other kinds, numbers beyond every limit, fractions, empty and nested
 * arrays. */
static json_t *junk(chance *r) {
  static const double numbers[] = { -1, 0, 0.5, 1e9, 3e8, 2147483648, 0x1p53, 1e18, 1e300, -1e300, 1e-320,
                                    5e-324, 64 };
  switch (chance_integer(r, 0, 8)) {
  case 0: return json_null();
  case 1: return json_true();
  case 2: return json_string("adit");
  case 3: return json_array();
  case 4: return json_object();
  case 5: return json_pack("[[[[[]]]]]");
  case 6: return json_integer(chance_integer(r, INT64_MIN/4, INT64_MAX/4));
  case 7: return json_pack("{s:i}", "n", 1);
  default: return json_real(numbers[chance_integer(r, 0, sizeof numbers/sizeof *numbers - 1)]);
  }
}

static void spoil_array(chance *r, json_t *array, size_t at) {
  switch (chance_integer(r, 0, 3)) {
  case 0: json_array_remove(array, at); break;
  case 1: json_array_append(array, json_array_get(array, at)); break;
  case 2: json_array_insert_new(array, at, junk(r)); break;
  default: json_array_set_new(array, at, junk(r));
  }
}

static const char *key_at(json_t *object, int64_t at) {
  void *i = json_object_iter(object);
  for (; at > 0; at--) i = json_object_iter_next(object, i);
  return json_object_iter_key(i);
}

/* Goes down into the value by chance, and changes something where it stops. */
static void spoil_parts(chance *r, json_t *value) {
  for (int depth = 0; depth < 16; depth++) {
    json_t *next = NULL;
    if (json_is_array(value) && json_array_size(value) > 0) {
      const size_t at = (size_t)chance_integer(r, 0, (int64_t)json_array_size(value) - 1);
      next = json_array_get(value, at);
      if (json_is_number(next) || chance_integer(r, 0, 2) == 0) {
        spoil_array(r, value, at);
        return;
      }
    } else if (json_is_object(value) && json_object_size(value) > 0) {
      const char *key = key_at(value, chance_integer(r, 0, (int64_t)json_object_size(value) - 1));
      next = json_object_get(value, key);
      if ((!json_is_array(next) && !json_is_object(next)) || chance_integer(r, 0, 5) == 0) {
        if (chance_integer(r, 0, 3) == 0) json_object_del(value, key);
        else json_object_set_new(value, key, junk(r));
        return;
      }
    } else return;
    value = next;
  }
}

/* --- bytes ---------------------------------------------------------------------------------------------- */

enum { LONGEST_PIECE = 32 };

/* `text` has room for a piece more. */
static void spoil_bytes(chance *r, char *text) {
  static const char *const pieces[] = { "NaN", "Infinity", "-", "1e999", "-0", "1e", "[", "]", "{", "}", ",",
                                        "\"", "\\u0000", "null",
                                        "\xff", ":", "123456789012345678901234567890", "0x1" };
  const size_t length = strlen(text), at = (size_t)chance_integer(r, 0, (int64_t)length);
  const char *piece = pieces[chance_integer(r, 0, sizeof pieces/sizeof *pieces - 1)];
  switch (chance_integer(r, 0, 4)) {
  case 0: text[at] = 0; break;
  case 1:
    if (at < length) text[at] = (char)chance_integer(r, 11, 255);
    break;
  case 2:
    if (at < length) memmove(text + at, text + at + 1, length - at);
    break;
  default:
    memmove(text + at + strlen(piece), text + at, length - at + 1);
    memcpy(text + at, piece, strlen(piece));
  }
}

/* --- cases ---------------------------------------------------------------------------------------------- */

static const reference *draw_evaluation(chance *r) {
  const reference *e = references[chance_integer(r, 0, REFERENCES - 1)];
  return e->slow && chance_integer(r, 0, 19) > 0 ? &reference_gmm : e;
}

static json_t *draw_message(chance *r) {
  const reference *e = draw_evaluation(r);
  const char *function = e->functions[chance_integer(r, 0, 1)];
  json_t *input = e->make(r, 1);
  return json_pack("{s:i, s:s, s:s, s:s, s:o}", "id", 7, "kind", "evaluate", "module", e->module, "function",
                   function,
                   "input", input);
}

char *fuzz_line(chance *r) {
  const int bytes = chance_integer(r, 0, 2) == 0 ? (int)chance_integer(r, 1, 4) : 0;
  json_t *message = draw_message(r);
  for (int64_t n = chance_integer(r, bytes > 0 ? 0 : 1, 3); n > 0; n--) {
    json_t *part = chance_integer(r, 0, 9) == 0 ? message : json_object_get(message, "input");
    spoil_parts(r, part ? part : message);
  }
  char *text = json_dumps(message, JSON_COMPACT);
  char *line = take_memory((text ? strlen(text) : 0) + 4*LONGEST_PIECE, 1);
  strcpy(line, text ? text : "");
  for (int i = 0; i < bytes; i++) spoil_bytes(r, line);
  if (line[strspn(line, " \t\v\f\r")] == 0) strcpy(line, "?");
  free(text);
  json_decref(message);
  return line;
}
