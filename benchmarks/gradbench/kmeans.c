/* kmeans.c -- the sum of squared distances of points to the nearest of k centroids, and Newton's direction
 * for it: the gradient over the Hessian, which is diagonal. */
#include "job.h"

enum { COST, DIRECTION };

/* (points, centroids) -> cost. Which centroid is nearest does not change nearby, so it has no derivative:
 * of the squared distance |c|^2 - 2 p c + |p|^2 the part that depends on c is compared. */
static void cost(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const ad_var products = ad_matmul(in[1], ad_transpose(in[0], NULL));
  const ad_var apart = ad_sub(ad_sum(ad_square(in[1]), AD_AXES(1), true), ad_mul(2, products));
  const ad_var nearest = ad_take(in[1], ad_argmin(apart, 0, false), 0);
  (void)t, (void)context;
  out[0] = ad_sum(ad_square(ad_sub(nearest, in[0])), AD_ALL_AXES, false);
}

/* The Hessian times a vector of ones is its diagonal. */
static void direction(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  ad_var y = ad_none(), gradient = ad_none(), diagonal = ad_none();
  cost(t, in, &y, context);
  const ad_var ones = ad_ones(t, ad_type_of(in[1]));
  ad_grad(y, 1, &in[1], &gradient);
  ad_jvp(1, &in[1], &ones, 1, &gradient, &diagonal);
  out[0] = ad_div(gradient, diagonal);
}

static bool prepare(job *j, const json_t *input) {
  int64_t points[2], centroids[2];
  if (!read_array(j, input, "points", 2, points) || !read_array(j, input, "centroids", 2, centroids))
    return false;
  if (points[0] == 0 || centroids[0] == 0 || points[1] == 0)
    return job_refuse(j, "no points, no centroids or no dimensions");
  if (centroids[1] != points[1]) return job_refuse(j, "points and centroids differ in dimensions");
  const ad_type types[2] = { ad_type_make(AD_F64, 2, points), ad_type_make(AD_F64, 2, centroids) };
  return job_take(j, ad_function_trace("kmeans", j->function == COST ? cost : direction, NULL, 2, types, 1));
}

static json_t *answer(const job *j) {
  return j->function == COST ? answer_number(j, 0)
         : answer_array(j->out[0], 2, ad_function_output_type(j->f, 0).dim);
}

const evaluation evaluation_kmeans = { "kmeans", { "cost", "dir" }, prepare, answer };
