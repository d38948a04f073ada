/* status.c -- the sentences of adit/status.def. */
#include "adit/types.h"

const char *ad_status_sentence(ad_status status) {
  static const char *const sentence[] = {
#define STATUS(code, name, text) [code] = text,
#include "adit/status.def"
#undef STATUS
  };
  int last = (int)(sizeof sentence/sizeof *sentence) - 1;
  return (int)status >= 0 && (int)status <= last ? sentence[status] : "unknown status";
}
