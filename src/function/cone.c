/* cone.c -- see cone.h. */
#include "function/cone.h"

static bool is_open(const ad_tape *src, const unsigned char *needed, uint32_t i) {
  return !node_is_leaf(src, i) && !(needed[i] & 2);
}

void cone_reach(const ad_tape *src, const unsigned char *needed, uint32_t first, uint32_t last,
                unsigned char *reached) {
  for (uint32_t k = first; k <= last; k++) {
    int n;
    if (!is_open(src, needed, k)) continue;
    const uint32_t *x = node_operands(src, k, &n);
    for (int e = 0; e < n && !reached[k]; e++) reached[k] = reached[x[e]];
  }
}

void cone_mark(const ad_tape *src, const unsigned char *needed, int n, const uint32_t node[],
               unsigned char cone[]) {
  const uint32_t first = node[0];
  for (int k = 1; k < n; k++) cone[node[k] - first] = 1;
  for (uint32_t k = node[n - 1]; k > first; k--) {
    int operands;
    if (!cone[k - first] || !is_open(src, needed, k)) continue;
    const uint32_t *x = node_operands(src, k, &operands);
    for (int e = 0; e < operands; e++)
      if (x[e] >= first) cone[x[e] - first] = 1;
  }
  for (int k = 0; k < n; k++) cone[node[k] - first] = 0;
}
