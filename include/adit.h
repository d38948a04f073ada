/* adit.h -- automatic differentiation for C: everything but dual numbers (adit/dual.h). */
#ifndef ADIT_H
#define ADIT_H
#include "adit/version.h"
#include "adit/types.h"
#include "adit/tape.h"
#include "adit/primitive.h"
#include "adit/elementwise.h"
#include "adit/arrays.h"
#include "adit/linear.h"
#include "adit/derive.h"
#include "adit/function.h"
#include "adit/control.h"
#include "adit/custom.h"
#include "adit/debug.h"
#include "adit/implicit.h"
#include "adit/ode.h"
#include "adit/code.h"
#include "adit/report.h"
#include "adit/random.h"
#include "adit/learn.h"
#include "adit/npy.h"
#include "adit/formula.h"
#endif
