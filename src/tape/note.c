/* note.c -- labels on a tape. */
#include "tape/note.h"
#include "adit/debug.h"

#include <string.h>

static bool append(ad_tape *t, const char *text) {
  uint32_t word;
  if (!memory_reserve(&t->allocator, &t->note, &t->note_capacity, t->notes + 1, sizeof *t->note)
      || !arena_reserve(t, 1, &word))
    return false;
  struct tape_note *n = &t->note[t->notes++];
  n->node = (uint32_t)t->count;
  n->word = word;
  const size_t length = strlen(text);
  memset(n->text, 0, sizeof n->text);
  memcpy(n->text, text, length < NOTE_TEXT ? length : NOTE_TEXT - 1);
  return true;
}

/* Of many labels in a row the last one counts. */
static bool set(ad_tape *t, const char *text) {
  return !strcmp(tape_note_at(t, (uint32_t)t->count), text) || append(t, text);
}

ad_status ad_note(ad_tape *t, const char *text) {
  if (!t) return AD_ERROR_ARGUMENT;
  return set(t, text ? text : "") ? AD_OK : tape_fail(t, AD_ERROR_MEMORY, "note: out of memory");
}

const char *tape_note_at(const ad_tape *t, uint32_t i) {
  size_t low = 0, high = t->notes;
  while (low < high) {
    const size_t middle = low + (high - low)/2;
    if (t->note[middle].node <= i) low = middle + 1; else high = middle;
  }
  return low ? t->note[low - 1].text : "";
}

void tape_save_note(const ad_tape *t, char text[NOTE_TEXT]) {
  memcpy(text, "", 1);
  if (t->notes) memcpy(text, t->note[t->notes - 1].text, NOTE_TEXT);
}

void tape_set_note(ad_tape *t, const char *text) { set(t, text); }

/* The labels of src may move when dst is the same tape. */
void tape_copy_note(ad_tape *dst, const ad_tape *src, uint32_t i) {
  char text[NOTE_TEXT];
  if (!src->notes) return;
  strcpy(text, tape_note_at(src, i));
  set(dst, text);
}

void tape_forget_notes(ad_tape *t, uint32_t words) {
  while (t->notes && t->note[t->notes - 1].word >= words) t->notes--;
}

void tape_free_notes(ad_tape *t) {
  memory_release(&t->allocator, t->note, t->note_capacity*sizeof *t->note);
}
