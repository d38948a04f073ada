/* npy_header.h -- what the header of an array says:
 *   {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }
 */
#ifndef ADIT_EXCHANGE_NPY_HEADER_H
#define ADIT_EXCHANGE_NPY_HEADER_H

#include "adit/types.h"
#include "exchange/file.h"

typedef struct npy_layout {
  ad_type type;
  bool fortran;                     /* the first axis is contiguous */
  bool swapped;                     /* bytes in the other order than this machine's */
} npy_layout;

ad_status npy_header_read(const file_place *at, const char *text, size_t size, npy_layout *out);

#endif
