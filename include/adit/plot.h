/* adit/plot.h -- curves as a picture, drawn by gnuplot. */
#ifndef ADIT_PLOT_H
#define ADIT_PLOT_H

#include "function.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The points (x[i], y[i]), i < count; x NULL: 0, 1, 2, .. Points that are not finite are gaps. */
typedef struct ad_series {
  const char *name;                 /* for the legend; NULL: none */
  int64_t count;
  const double *x, *y;
  bool points;                      /* marks instead of a line */
} ad_series;

typedef struct ad_plot {
  const char *title, *x_label, *y_label;        /* may be NULL */
  bool log_x, log_y;                /* what is not positive is a gap then */
  int width, height;                /* in pixels; 0: 720, 480 */
} ad_plot;

/* Writes an SVG picture of n series to path, as a whole or not at all; plot may be NULL. gnuplot runs as a
 * process of its own, found through PATH. AD_ERROR_UNSUPPORTED where it is not installed, AD_ERROR_IO where
 * path cannot be written or gnuplot fails, with its words in the report (may be NULL); AD_ERROR_ARGUMENT
 * without a single point that can be drawn. */
AD_API ad_status ad_plot_svg(const char *path, const ad_plot *plot, int n, const ad_series series[],
                             ad_report *report);

#ifdef __cplusplus
}
#endif
#endif
