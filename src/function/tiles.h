/* tiles.h -- searches for the least or greatest, block by block.
 *
 * argmin over one axis of an array that is computed from smaller ones, distances of all points to all centres
 * for example, needs none of that array but the places. So where the array is big, its other axis goes in
 * blocks: a map computes a block of it and searches that, and only blocks are ever there. Blocks fit into the
 * cache and are shared among threads. Nothing flows through places, so derivatives do not see the map.
 */
#ifndef ADIT_FUNCTION_TILES_H
#define ADIT_FUNCTION_TILES_H

#include "function/function.h"

/* f with such searches in blocks: a new function, the caller's. NULL: there is none, or memory has failed. */
ad_function *function_tiled(ad_function *f);

#endif
