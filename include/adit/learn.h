/* adit/learn.h -- learning from gradients: losses, parameters, networks, optimisers, training. */
#ifndef ADIT_LEARN_H
#define ADIT_LEARN_H
#include "losses.h"
#include "parameters.h"
#include "layers.h"
#include "optimisers.h"
#include "data.h"
#include "train.h"
#include "plot.h"
#endif
