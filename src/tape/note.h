/* note.h -- labels on a tape: from which node on which text holds. */
#ifndef ADIT_TAPE_NOTE_H
#define ADIT_TAPE_NOTE_H

#include "tape/tape.h"

enum { NOTE_TEXT = 60 };

/* word: of the arena, which tells whether the label is older than a mark. */
struct tape_note { uint32_t node, word; char text[NOTE_TEXT]; };

/* The label of node i, "" if it has none. */
const char *tape_note_at(const ad_tape *t, uint32_t i);
/* The label that the next node gets, for going back to it. A label lost for lack of memory is no reason
 * to fail. */
void tape_save_note(const ad_tape *t, char text[NOTE_TEXT]);
void tape_set_note(ad_tape *t, const char *text);
/* What is recorded on dst next gets the label of node i of src, if src has labels at all. */
void tape_copy_note(ad_tape *dst, const ad_tape *src, uint32_t i);

#endif
