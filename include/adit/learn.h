/* adit/learn.h -- learning from gradients: losses, parameters, networks. */
#ifndef ADIT_LEARN_H
#define ADIT_LEARN_H
#include "losses.h"
#include "parameters.h"
#include "layers.h"
#endif
