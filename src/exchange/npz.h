/* npz.h -- writing archives, for tests too: with 64-bit records from a size of one's own choice on. */
#ifndef ADIT_EXCHANGE_NPZ_H
#define ADIT_EXCHANGE_NPZ_H

#include "exchange/zip.h"

/* ad_npz_save with memory of a and zip_writer's narrow. */
ad_status npz_save(const char *path, int count, const ad_named_array array[], const ad_allocator *a,
                   uint64_t narrow, ad_report *report);

#endif
