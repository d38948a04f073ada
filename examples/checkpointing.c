/* checkpointing.c -- the gradient of a deep network in less memory.
 *
 * The reverse sweep over a network of n layers uses the outputs of all of them, so all are kept until it
 * comes by. ad_checkpoint keeps of a part of the network its input alone, and computes the inside again when
 * the sweep gets there. With n layers in s parts that is s + n/s outputs at a time instead of n, for one more
 * way forward: least for s near sqrt(n). The layers compute the same as before, so the gradient has the same
 * bits.
 *
 * Here n = 32, and an output is 512 examples by 64 numbers. Memory is what the functions and their workspaces
 * ask of an allocator that counts, recording and compiling included. The times go to stderr: they are those
 * of one machine.
 */
#include <adit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LAYERS = 32, WIDTH = 64, EXAMPLES = 512, W = 2*LAYERS, REPEATS = 5 };

/* --- an allocator that counts ------------------------------------------------------------------------- */

typedef struct meter { size_t now, peak; } meter;

static void *counted(void *user, void *pointer, size_t old_size, size_t new_size) {
  meter *m = user;
  void *result = NULL;
  if (new_size == 0) free(pointer);
  else if ((result = realloc(pointer, new_size)) == NULL) return NULL;
  m->now = m->now - (pointer ? old_size : 0) + new_size;
  if (m->now > m->peak) m->peak = m->now;
  return result;
}

/* --- the network --------------------------------------------------------------------------------------- */

typedef struct network {
  int segments;                     /* 0: no checkpoints */
  ad_function *segment;
} network;

/* h + tanh(h A + b)/2, for `count` layers with parameters w = A, b, A, b, .. */
static ad_var layers(ad_var h, int count, const ad_var w[]) {
  for (int i = 0; i < count; i++) {
    ad_var inside = ad_tanh(ad_add(ad_matmul(h, w[2*i]), w[2*i + 1]));
    h = ad_add(h, ad_mul(0.5, inside));
  }
  return h;
}

/* (h, w..) -> h some layers later */
static void segment(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const network *net = context;
  (void)tape;
  out[0] = layers(in[0], LAYERS/net->segments, in + 1);
}

/* (x, w..) -> the mean square of the output */
static void loss(ad_tape *tape, const ad_var in[], ad_var out[], void *context) {
  const network *net = context;
  const int per_segment = net->segments ? W/net->segments : W;
  ad_var h = in[0];
  (void)tape;
  for (int i = 0; i < net->segments; i++) {
    ad_var part[1 + W];
    part[0] = h;
    memcpy(part + 1, in + 1 + i*per_segment, (size_t)per_segment*sizeof part[0]);
    ad_checkpoint(net->segment, part, &h);
  }
  if (!net->segments) h = layers(h, LAYERS, in + 1);
  out[0] = ad_mean(ad_square(h), AD_ALL_AXES, false);
}

static ad_function *make(network *net, const ad_allocator *allocator) {
  ad_type type[1 + W];
  ad_function *f = NULL, *gradient = NULL;
  type[0] = AD_F64(EXAMPLES, WIDTH);
  for (int i = 0; i < LAYERS; i++) {
    type[1 + 2*i] = AD_F64(WIDTH, WIDTH);
    type[2 + 2*i] = AD_F64(WIDTH);
  }
  if (net->segments)
    net->segment = ad_function_trace_with(allocator, "segment", segment, net, 1 + W/net->segments, type, 1,
                                          NULL);
  f = ad_function_trace_with(allocator, "loss", loss, net, 1 + W, type, 1, NULL);
  gradient = ad_function_gradient(f, 0, NULL);
  ad_function_free(f);
  ad_function_free(net->segment);
  return gradient;
}

/* --- measured ------------------------------------------------------------------------------------------ */

enum { NUMBERS = EXAMPLES*WIDTH + LAYERS*(WIDTH + 1)*WIDTH };

/* Pointers to the arrays of x and w in one block of NUMBERS. */
static void divide(double *all, void *part[1 + W]) {
  part[0] = all;
  all += EXAMPLES*WIDTH;
  for (int i = 0; i < LAYERS; i++) {
    part[1 + 2*i] = all;
    part[2 + 2*i] = all + WIDTH*WIDTH;
    all += (WIDTH + 1)*WIDTH;
  }
}

/* Bytes at most, and the least processor time of a call. */
typedef struct measurement { size_t peak; double seconds, loss; } measurement;

/* The gradient into g; false on failure. */
static bool measure(int segments, double *x, double *g, measurement *m) {
  meter memory = { 0, 0 };
  const ad_allocator allocator = { counted, &memory };
  network net = { .segments = segments };
  ad_function *gradient = make(&net, &allocator);
  void *in[1 + W], *out[2 + W];
  bool good = gradient;
  out[0] = &m->loss;
  divide(x, in);
  divide(g, out + 1);
  good = good && !ad_function_call(gradient, (const void *const *)in, out, NULL);
  m->seconds = INFINITY;
  for (int i = 0; i < REPEATS && good; i++) {
    clock_t start = clock();
    good = !ad_function_call(gradient, (const void *const *)in, out, NULL);
    m->seconds = fmin(m->seconds, (double)(clock() - start)/CLOCKS_PER_SEC);
  }
  m->peak = memory.peak;
  ad_function_free(gradient);
  return good && memory.now == 0;
}

/* The ratio to the nearest twentieth: blocks of matrix products differ between processors. */
static void print(int segments, const measurement *m, const measurement *none, bool same) {
  double ratio = (double)m->peak/(double)none->peak;
  printf("%d segments: same gradient, bit for bit: %s, memory about %.0f %% of that without\n", segments,
         same ? "yes" : "no", 5*round(20*ratio));
}

int main(void) {
  static const int segments[3] = { 0, 4, 8 };
  static double x[NUMBERS], g[3][NUMBERS];
  measurement m[3];
  bool good = !ad_random_fill_normal(1, AD_F64, NUMBERS, x);
  for (int i = EXAMPLES*WIDTH; i < NUMBERS; i++) x[i] *= 0.1;            /* the parameters */
  for (int i = 0; i < 3 && good; i++) {
    good = measure(segments[i], x, g[i], &m[i]);
    fprintf(stderr, "%d segments: %.2f MB, %.1f ms\n", segments[i], 1e-6*(double)m[i].peak, 1e3*m[i].seconds);
  }
  for (int i = 1; i < 3 && good; i++) print(segments[i], &m[i], &m[0], !memcmp(g[i], g[0], sizeof g[0]));
  return good ? 0 : 1;
}
