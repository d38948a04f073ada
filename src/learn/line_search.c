/* line_search.c -- the strong Wolfe conditions: an interval that has such a point, and the zoom into it. */
#include "learn/line_search.h"

#include <math.h>

enum { MOST_TRIALS = 60 };

typedef struct point { double a, f, slope; } point;

static ad_status evaluate(const line_search *s, double a, point *p) {
  p->a = a;
  const ad_status status = s->at(s->context, a, &p->f, &p->slope);
  if (status == AD_OK && !(isfinite(p->f) && isfinite(p->slope))) p->f = p->slope = INFINITY;
  return status;
}

static bool flat(const line_search *s, const point *p) { return fabs(p->slope) <= -s->curvature*s->slope; }
static bool lower(const line_search *s, const point *p) { return p->f <= s->f + s->sufficient*p->a*s->slope; }

static bool good(const line_search *s, const point *p) {
  if (!flat(s, p)) return false;
  return lower(s, p) || (fabs(p->f - s->f) <= s->rounding && p->slope <= (2*s->sufficient - 1)*s->slope);
}

/* The minimum of the cubic through both points with their slopes (3.59), kept from the ends by a tenth of the
 * interval; the middle where there is none. */
static double inside(const point *p, const point *q) {
  const double width = q->a - p->a, middle = p->a + 0.5*width;
  const double d1 = p->slope + q->slope - 3*(p->f - q->f)/(p->a - q->a), under = d1*d1 - p->slope*q->slope;
  if (!(under >= 0) || !isfinite(under)) return middle;
  const double d2 = copysign(sqrt(under), width);
  const double a = q->a - width*((q->slope + d2 - d1)/(q->slope - p->slope + 2*d2));
  if (!isfinite(a)) return middle;
  const double low = fmin(p->a, q->a) + 0.1*fabs(width), high = fmax(p->a, q->a) - 0.1*fabs(width);
  return fmin(fmax(a, low), high);
}

/* Low is the best point so far that satisfies the first condition, and points towards high. */
static ad_status zoom(const line_search *s, point low, point high, point *found) {
  point p = low;
  for (int k = 0; k < MOST_TRIALS && fabs(high.a - low.a) > 1e-15*fmax(low.a, high.a); k++) {
    const ad_status status = evaluate(s, inside(&low, &high), &p);
    if (status != AD_OK) return status;
    if (good(s, &p)) {
      *found = p;
      return AD_OK;
    }
    if (!lower(s, &p) || p.f >= low.f) high = p;
    else {
      if (p.slope*(high.a - low.a) >= 0) high = low;
      low = p;
    }
  }
  *found = low;
  return low.a > 0 && p.a != low.a ? evaluate(s, low.a, found) : AD_OK;
}

ad_status line_search_run(const line_search *s, double first, double *a) {
  point before = { 0, s->f, s->slope }, p;
  ad_status status = AD_OK;
  for (int k = 0; k < MOST_TRIALS; k++, before = p) {
    status = evaluate(s, k ? 2*before.a : first, &p);
    if (status != AD_OK || good(s, &p)) break;
    const bool higher = !lower(s, &p) || (k && p.f >= before.f);
    if (higher || p.slope >= 0) {
      status = higher ? zoom(s, before, p, &p) : zoom(s, p, before, &p);
      break;
    }
  }
  *a = p.a;
  return status;
}
