/* tape.c -- the scalar tape: record, evaluate and reverse, against value and gradient written by hand, per
 * operation.
 *
 *     tape [largest]
 *
 * Each size runs in fresh processes: the first pass on a new tape pays for its memory, later ones rewind it.
 * Bytes are the growth of the peak resident memory over the first pass. Sizes go up to `largest`, 10 million
 * unless told.
 */
#include "measure.h"
#include "workloads_by_hand.h"

#include <adit/derive.h>
#include <adit/elementwise.h>

#define VAR ad_var
#define ADD ad_add
#define SUB ad_sub
#define MUL ad_mul
#define TANH ad_tanh
#define FN(name) name##_on_tape
#include "workloads.inc"

enum { FIRST, BYTES, RECORD, REVERSE, WARM, HAND, BEST, OPERATIONS, RESULTS };

typedef struct job { int workload; long n; } job;

static ad_var record(job j, const ad_var in[]) {
  switch (j.workload) {
    case CHAIN:       return chain_on_tape(j.n, in);
    case POLYNOMIALS: return polynomials_on_tape(j.n, in);
    case DENSE:       return dense_on_tape(j.n, in);
    case TANH_CHAIN:  return tanh_chain_on_tape(j.n, in);
    default:          return tanh_wide_on_tape(j.n, in);
  }
}

/* A few operations, so that the code is in memory and only the tape's memory is fresh. */
static void touch_code(void) {
  ad_tape *t = ad_tape_new();
  ad_var x = ad_scalar(t, 0.5), y = ad_tanh(ad_sub(ad_add(ad_mul(x, x), x), x));
  ad_backward(y);
  ad_tape_free(t);
}

static void compare(job j, ad_var y, const ad_var in[], const double x[], double *save) {
  double *grad = doubles(MOST_INPUTS);
  expect(workload_names[j.workload], ad_value(y), workload_by_hand(j.workload, j.n, x, grad, save), 1e-9);
  for (int i = 0; i < workload_inputs[j.workload]; i++)
    expect(workload_names[j.workload], ad_adjoint(in[i]), grad[i], 1e-7);
  free(grad);
}

static void one_process(const void *data, double result[]) {
  const job j = *(const job *)data;
  const int inputs = workload_inputs[j.workload];
  static double x[MOST_INPUTS], grad[MOST_INPUTS];
  static ad_var in[MOST_INPUTS];
  static double part[4][MOST_ROUNDS];
  workload_fill(j.workload, x);
  for (int i = 0; i < inputs; i++) in[i] = ad_real(0);      /* the program's own memory is not the tape's */
  touch_code();
  const double before = peak_bytes(), start = cpu_seconds();
  ad_tape *t = ad_tape_new();
  for (int i = 0; i < inputs; i++) in[i] = ad_scalar(t, x[i]);
  const ad_mark mark = ad_tape_mark(t);
  ad_var y = record(j, in);
  ad_backward(y);
  const double first = cpu_seconds() - start, n = (double)ad_tape_size(t);
  result[FIRST] = first/n;
  result[BYTES] = (peak_bytes() - before)/n;
  result[OPERATIONS] = n;
  double *save = doubles(by_hand_doubles(j.workload, j.n));
  compare(j, y, in, x, save);
  const int rounds = j.n > 1000000 ? 5 : j.n > 100000 ? 15 : 51;
  for (int r = 0; r < rounds; r++) {
    ad_tape_rewind(t, mark);
    const double t0 = cpu_seconds();
    y = record(j, in);
    const double t1 = cpu_seconds();
    ad_backward(y);
    const double t2 = cpu_seconds();
    x[0] += workload_by_hand(j.workload, j.n, x, grad, save) > 1e300;
    const double t3 = cpu_seconds();
    part[0][r] = t1 - t0, part[1][r] = t2 - t1, part[2][r] = t2 - t0, part[3][r] = t3 - t2;
  }
  if (ad_tape_status(t)) exit(1);
  for (int k = 0; k < 4; k++) result[RECORD + k] = median(rounds, part[k])/n;
  result[BEST] = part[2][0]/n;            /* sorted */
}

int main(int argc, char **argv) {
  const long largest = argc > 1 ? atol(argv[1]) : 10000000;
  printf("Scalar tape, ns an operation, one thread; first time: a new tape, warm: rewound.\n\n"
         "| workload | operations | first time | bytes | record | reverse | warm, both (best) | by hand | "
         "ratio |\n"
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (int w = 0; w < WORKLOADS; w++)
    for (long n = 10000; n <= largest; n *= 10) {
      const job j = { w, n };
      enum { MOST = 7 };
      const int processes = n > 1000000 ? 3 : MOST;
      double all[RESULTS][MOST], one[RESULTS];
      for (int p = 0; p < processes; p++) {
        in_child(one_process, &j, RESULTS, one);
        for (int k = 0; k < RESULTS; k++) all[k][p] = one[k];
      }
      for (int k = 0; k < RESULTS; k++) one[k] = median(processes, all[k]);
      one[BEST] = all[BEST][0];
      printf("| %s | %.0f | %.1f | %.1f | %.2f | %.2f | **%.2f** (%.2f) | %.2f | %.1f |\n", workload_names[w],
             one[OPERATIONS], 1e9*one[FIRST], one[BYTES], 1e9*one[RECORD], 1e9*one[REVERSE], 1e9*one[WARM],
             1e9*one[BEST], 1e9*one[HAND], one[WARM]/one[HAND]);
      fflush(stdout);
    }
  return 0;
}
