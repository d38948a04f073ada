/* line_search.h -- steps along a line that satisfy the strong Wolfe conditions. */
#ifndef ADIT_LEARN_LINE_SEARCH_H
#define ADIT_LEARN_LINE_SEARCH_H

#include "adit/types.h"

/* phi(a) = f(x + a d): f and slope = d . df/dx there. Not finite: too far. Other failures end the search. */
typedef ad_status line_function(void *context, double a, double *f, double *slope);

typedef struct line_search {
  line_function *at;
  void *context;
  double f, slope;                  /* at a = 0; slope < 0 */
  double sufficient, curvature;
  double rounding;                  /* by which f may be wrong */
} line_search;

/* From the first trial on, an a with
 *
 *   f(a) <= f(0) + sufficient a slope(0)  and  |slope(a)| <= curvature |slope(0)|
 *
 * or, where rounding hides the decrease, |f(a) - f(0)| <= rounding, the same with the slopes alone (the
 * approximate condition of Hager and Zhang 2005). The last evaluation is the one at *a. *a = 0: there is
 * none. Source: Nocedal and Wright, 2nd ed., algorithms 3.5 and 3.6. */
ad_status line_search_run(const line_search *s, double first, double *a);

#endif
