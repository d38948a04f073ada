/* learning_to_learn.c -- a network that starts from where five steps of descent are enough.
 *
 * A task is y = a . x + b with a in R^5; a and b are random, and what is known of a task is ten points.
 * From a start w0, the same for all tasks, five steps of gradient descent on those ten points (the support)
 * lead to the fast weights
 *
 *   w[k+1] = w[k] - 0.1 grad L_support(w[k]),  k = 0 .. 4,
 *
 * and how good they are is seen at ten other points (the query): L_query(w[5]). Learning to learn is to
 * choose the w0 for which the mean of that over all tasks is least, by its gradient: a derivative of second
 * order, since it goes through the gradients of the five steps (MAML: Finn, Abbeel, Levine, ICML 2017). Their
 * first-order variant takes those gradients as constants: cheaper, and not the derivative of anything. Nearly
 * as good at first, it later goes where steps of 0.1 are too long to be stable: how the curvature changes is
 * what it leaves out.
 *
 * It is a common mistake to take the gradient of every step at w0 instead of w[k]. Then all five are equal
 * and the five steps are one of rate 0.5. A loop written out by hand, through a function that knows nothing
 * of all this, tells the one from the other.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FEATURES = 5, HIDDEN = 20, POINTS = 10, STEPS = 5, TASKS = 16, NEW_TASKS = 200, FEW = 50, MANY = 600 };
enum { W = 4, STATE = 1 + 2*W };         /* arrays of parameters, and of the state of Adam */
static const double rate = 0.1;

typedef enum method { SECOND_ORDER, FIRST_ORDER, IGNORING_FAST_WEIGHTS } method;

/* What a function is recorded from. */
typedef struct recipe {
  const ad_layer *net;
  method method;
  int steps, tasks;
  ad_function *task, *meta;
} recipe;

static ad_var loss_at(const ad_layer *net, const ad_var w[W], ad_var x, ad_var y) {
  ad_var prediction = ad_squeeze(ad_layer_apply(net, w, x, NULL), AD_AXES(1));
  return ad_mse(prediction, y, AD_MEAN);
}

/* (w.., x, y) -> the loss there */
static void loss(ad_tape *tape, const ad_var in[], ad_var out[], void *net) {
  (void)tape;
  out[0] = loss_at(net, in, in[W], in[W + 1]);
}

/* (w.., support x, support y, query x, query y) -> the loss at the query after the steps */
static void task(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const recipe *r = context;
  const ad_var *support = in + W, *query = in + W + 2;
  ad_var fast[W], g[W];
  (void)tape;
  memcpy(fast, in, sizeof fast);
  for (int k = 0; k < r->steps; k++) {
    const ad_var *at = r->method == IGNORING_FAST_WEIGHTS ? in : fast;
    ad_grad(loss_at(r->net, at, support[0], support[1]), W, at, g);
    for (int i = 0; i < W; i++) {
      if (r->method == FIRST_ORDER) g[i] = ad_stop_gradient(g[i]);
      fast[i] = ad_sub(fast[i], ad_mul(rate, g[i]));
    }
  }
  out[0] = loss_at(r->net, fast, query[0], query[1]);
}

/* (w.., key) -> the mean over random tasks */
static void meta(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const recipe *r = context;
  const int64_t n = r->tasks;
  ad_var a = ad_random_normal(ad_key_fold(in[W], 0), 0, 1, AD_F64(n, FEATURES));
  ad_var b = ad_random_normal(ad_key_fold(in[W], 1), 0, 1, AD_F64(n, 1));
  ad_var x = ad_random_uniform(ad_key_fold(in[W], 2), -1, 1, AD_F64(n, 2*POINTS, FEATURES)), losses;
  ad_var y = ad_add(ad_einsum("tpf,tf->tp", 2, (const ad_var[]){ x, a }), b);
  ad_var all[W + 4];
  (void)tape;
  memcpy(all, in, W*sizeof all[0]);
  for (int part = 0; part < 2; part++) {
    all[W + 2*part] = ad_slice(x, 1, part*POINTS, POINTS, 1);
    all[W + 2*part + 1] = ad_slice(y, 1, part*POINTS, POINTS, 1);
  }
  ad_map(r->task, all, &losses);
  out[0] = ad_mean(losses, AD_ALL_AXES, false);
}

/* (w.., state..) -> both after a step of Adam on tasks that are drawn for this step alone */
static void learn(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const recipe *r = context;
  const ad_optimiser adam = ad_adam(1e-2);
  ad_var all[W + 1], value, g[W];
  memcpy(all, in, W*sizeof all[0]);
  all[W] = ad_key_fold(ad_key(tape, 1), in[W]);               /* in[W] counts the steps */
  ad_function_apply(r->meta, all, &value);
  ad_grad(value, W, in, g);
  ad_optimiser_step(&adam, W, in, g, in + W, out, out + W);
}

static void set_types(ad_type type[W + 4], const ad_parameters *w) {
  memcpy(type, ad_parameters_types(w), W*sizeof type[0]);
  for (int part = 0; part < 2; part++) {
    type[W + 2*part] = AD_F64(POINTS, FEATURES);
    type[W + 2*part + 1] = AD_F64(POINTS);
  }
}

static ad_function *make_task(recipe *r, const ad_parameters *w) {
  ad_type type[W + 4];
  set_types(type, w);
  return r->task = ad_function_trace("task", task, r, W + 4, type, 1);
}

static ad_function *make_meta(recipe *r, const ad_parameters *w) {
  ad_type type[W + 4];
  set_types(type, w);
  type[W] = AD_I64();
  if (make_task(r, w)) r->meta = ad_function_trace("meta", meta, r, W + 1, type, 1);
  return r->meta;
}

static void release(recipe *r) {
  ad_function_free(r->meta);
  ad_function_free(r->task);
}

/* --- one task, and its gradient --------------------------------------------------------------------- */

typedef struct points { double x[2][POINTS][FEATURES], y[2][POINTS]; } points;

static void draw(points *p) {
  double a[FEATURES + 1];
  ad_random_fill_normal(11, AD_F64, FEATURES + 1, a);
  ad_random_fill_normal(12, AD_F64, sizeof p->x/sizeof(double), p->x);
  for (int part = 0; part < 2; part++)
    for (int i = 0; i < POINTS; i++) {
      p->y[part][i] = a[FEATURES];
      for (int k = 0; k < FEATURES; k++) p->y[part][i] += a[k]*p->x[part][i][k];
    }
}

static void gather(const ad_parameters *w, const points *p, const void *in[W + 4]) {
  for (int i = 0; i < W; i++) in[i] = ad_parameters_data(w, i);
  for (int part = 0; part < 2; part++) in[W + 2*part] = p->x[part], in[W + 2*part + 1] = p->y[part];
}

/* The loss at the query after five steps, each of which is made here from a gradient that is called. Also
 * says whether the gradients of all steps are different. */
static double by_hand(ad_function *f, const ad_parameters *start, const points *p, bool *different) {
  ad_function *gradient = ad_function_gradient(f, W, (const int[]){ 0, 1, 2, 3 });
  ad_parameters *w = ad_parameters_copy(start), *g = ad_parameters_copy(start);
  const void *in[W + 4];
  double value = NAN, before[STEPS];
  gather(w, p, in);
  *different = true;
  ad_status status = AD_OK;
  for (int k = 0; k < STEPS && !status; k++) {
    void *out[W + 1] = { NULL };
    memcpy(out + 1, ad_parameters_all(g), W*sizeof out[0]);
    status = ad_function_call(gradient, in, out, NULL);
    before[k] = *(double *)ad_parameters_data(g, W - 1);      /* of the last bias */
    for (int j = 0; j < k; j++) *different = *different && before[j] != before[k];
    for (int i = 0; i < W; i++) {
      double *wi = ad_parameters_data(w, i), *gi = ad_parameters_data(g, i);
      for (int64_t e = 0; e < ad_type_count(ad_parameters_type(w, i)); e++) wi[e] -= rate*gi[e];
    }
  }
  in[W] = p->x[1], in[W + 1] = p->y[1];
  if (!status) ad_function_call(f, in, (void *[]){ &value }, NULL);
  ad_function_free(gradient);
  ad_parameters_free(g);
  ad_parameters_free(w);
  return value;
}

static double value_of(ad_function *f, const void *const in[]) {
  double value = NAN;
  ad_function_call(f, in, (void *[]){ &value }, NULL);
  return value;
}

/* The largest difference between the outer gradient and differences of the second-order loss, for each
 * element of the last weights and bias, relative to the largest element. */
static double gradient_error(ad_function *f, ad_function *truth, ad_parameters *w, const points *p) {
  ad_function *gradient = ad_function_gradient(f, 2, (const int[]){ 2, 3 });
  double g[HIDDEN + 1], worst = 0, largest = 0;
  const void *in[W + 4];
  gather(w, p, in);
  ad_status status = ad_function_call(gradient, in, (void *[]){ NULL, g, g + HIDDEN }, NULL);
  for (int i = 0; i <= HIDDEN && !status; i++) {
    double *element = (double *)ad_parameters_data(w, i < HIDDEN ? 2 : 3) + i%HIDDEN;
    double middle = *element, side[2];
    for (int s = 0; s < 2; s++) {
      *element = middle + (s ? 1e-4 : -1e-4);
      side[s] = value_of(truth, in);
    }
    *element = middle;
    worst = fmax(worst, fabs(g[i] - (side[1] - side[0])/2e-4));
    largest = fmax(largest, fabs(g[i]));
  }
  ad_function_free(gradient);
  return status ? NAN : worst/largest;
}

static void check(const ad_layer *net, ad_parameters *w) {
  static const char *const name[3] = { "second order", "first order", "fast weights ignored" };
  ad_function *f[3], *at;
  points p;
  bool different;
  ad_type type[W + 4];
  set_types(type, w);
  draw(&p);
  at = ad_function_trace("loss", loss, (void *)(uintptr_t)net, W + 2, type, 1);
  for (int m = 0; m < 3; m++) {
    recipe r = { .net = net, .method = (method)m, .steps = STEPS };
    f[m] = make_task(&r, w);
  }
  double hand = by_hand(at, w, &p, &different);
  printf("the five gradients differ: %s\n", different ? "yes" : "no");
  for (int m = 0; m < 3; m++) {
    const void *in[W + 4];
    gather(w, &p, in);
    bool same = fabs(value_of(f[m], in) - hand) < 1e-12*hand;
    double error = gradient_error(f[m], f[SECOND_ORDER], w, &p);
    printf("%-20s  five steps as by hand: %-3s  outer gradient as by differences: %s\n", name[m],
           same ? "yes" : "no", error < 1e-6 ? "to 1e-6" : error > 0.05 ? "not within 5%" : "neither");
  }
  for (int m = 0; m < 3; m++) ad_function_free(f[m]);
  ad_function_free(at);
}

/* --- learning ------------------------------------------------------------------------------------------ */

/* Learns a start in w, in that many steps of Adam. */
static ad_status train(const ad_layer *net, ad_parameters *w, method how, int rounds) {
  recipe r = { .net = net, .method = how, .steps = STEPS, .tasks = TASKS };
  const ad_optimiser adam = ad_adam(1e-2);
  ad_parameters *state = ad_optimiser_state(&adam, w);
  ad_type type[W + STATE];
  void *both[W + STATE];
  ad_status status = AD_ERROR_MEMORY;
  ad_function *step = NULL;
  if (make_meta(&r, w) && state) {
    memcpy(type, ad_parameters_types(w), W*sizeof type[0]);
    memcpy(type + W, ad_parameters_types(state), STATE*sizeof type[0]);
    memcpy(both, ad_parameters_all(w), W*sizeof both[0]);
    memcpy(both + W, ad_parameters_all(state), STATE*sizeof both[0]);
    step = ad_function_trace("learn", learn, &r, W + STATE, type, W + STATE);
    status = step ? AD_OK : AD_ERROR_ARGUMENT;
  }
  for (int i = 0; i < rounds && !status; i++)
    status = ad_function_call(step, (const void *const *)both, both, NULL);
  ad_function_free(step);
  ad_parameters_free(state);
  release(&r);
  return status;
}

/* The mean loss on new tasks after that many steps. */
static double on_new_tasks(const ad_layer *net, const ad_parameters *w, int steps) {
  const int64_t key = 123456789;
  const void *in[W + 1];
  recipe r = { .net = net, .steps = steps, .tasks = NEW_TASKS };
  ad_function *f = make_meta(&r, w);
  memcpy(in, ad_parameters_all(w), W*sizeof in[0]);
  in[W] = &key;
  double value = f ? value_of(f, in) : NAN;
  release(&r);
  return value;
}

static double print_new_tasks(const char *name, int rounds, const ad_layer *net, const ad_parameters *w) {
  double value = NAN;
  printf("%-13s %6d    ", name, rounds);
  for (int steps = 0; steps <= STEPS; steps++) printf(" %6.2f", value = on_new_tasks(net, w, steps));
  printf("\n");
  return value;
}

static bool compare(const ad_layer *net, const ad_parameters *untrained) {
  enum { STARTS = 4 };
  static const method how[STARTS] = { FIRST_ORDER, SECOND_ORDER, SECOND_ORDER, FIRST_ORDER };
  static const int rounds[STARTS] = { FEW, FEW, MANY, MANY };
  double after[STARTS];
  bool good = true;
  printf("loss on %d new tasks after 0 .. %d steps\nstart         rounds\n", NEW_TASKS, STEPS);
  double before = print_new_tasks("untrained", 0, net, untrained);
  for (int i = 0; i < STARTS && good; i++) {
    ad_parameters *w = ad_parameters_copy(untrained);
    good = w && !train(net, w, how[i], rounds[i]);
    if (good && i < STARTS - 1)
      after[i] = print_new_tasks(how[i] == FIRST_ORDER ? "first order" : "second order", rounds[i], net, w);
    else if (good) after[i] = on_new_tasks(net, w, STEPS);
    ad_parameters_free(w);
  }
  if (!good) return false;
  printf("five steps on a new task leave 1/%.1f of what they leave from the untrained start\n",
         before/after[2]);
  printf("first order: better than untrained after %d rounds: %s; after %d better than after %d: %s\n", FEW,
         after[0] < before ? "yes" : "no", MANY, FEW, after[3] < after[0] ? "yes" : "no");
  return true;
}

int main(void) {
  ad_layer *net = ad_sequential(3, (ad_layer *[]){
    ad_linear(FEATURES, HIDDEN), ad_activation(ad_tanh), ad_linear(HIDDEN, 1) });
  ad_parameters *untrained = ad_layer_parameters(net, AD_F64, 7);
  bool good = untrained && !ad_parameters_status(untrained);
  if (good) check(net, untrained);
  good = good && compare(net, untrained);
  ad_parameters_free(untrained);
  ad_layer_free(net);
  return good ? 0 : 1;
}
