#ifndef ADIT_VERSION_H
#define ADIT_VERSION_H
/* The version, in the only place it is written. */
#define AD_VERSION_MAJOR 0
#define AD_VERSION_MINOR 1
#define AD_VERSION_PATCH 0
#endif
