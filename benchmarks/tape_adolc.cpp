/* tape_adolc.cpp -- adit's scalar tape and ADOL-C's side by side in one run, part by part.
 *
 *     tape_adolc [largest]
 *
 * ADOL-C gets buffers in which the whole trace fits, so that it never goes to a file, and keeps the values
 * while recording, so that its reverse sweep needs no replay before it. Replay: the same operations again for
 * other inputs. Each size runs in fresh processes: one for each library's first time and memory, one in which
 * both take turns.
 */
#include "measure.h"
#include "workloads_by_hand.h"

#include <adit/derive.h>
#include <adit/elementwise.h>
#include <adolc/adolc.h>

#define VAR ad_var
#define ADD ad_add
#define SUB ad_sub
#define MUL ad_mul
#define TANH ad_tanh
#define FN(name) name##_in_adit
#include "workloads.inc"
#undef VAR
#undef ADD
#undef SUB
#undef MUL
#undef TANH
#undef FN
#define VAR adouble
#define ADD(x, y) ((x) + (y))
#define SUB(x, y) ((x) - (y))
#define MUL(x, y) ((x)*(y))
#define TANH(x) tanh(x)
#define FN(name) name##_in_adolc
#include "workloads.inc"

struct job { int workload; long n; };
enum { RECORD, REVERSE, REPLAY, PARTS };
enum { FIRST = PARTS, BYTES, RESULTS };

/* The same three steps in either library. */
class adit_side {
  ad_tape *t = ad_tape_new();
  ad_var in[MOST_INPUTS], y{};
  ad_mark start = ad_tape_mark(t);
  job j;

 public:
  explicit adit_side(job what) : j(what) {}
  ~adit_side() { ad_tape_free(t); }
  void record(const double x[]) {
    ad_tape_rewind(t, start);
    for (int i = 0; i < workload_inputs[j.workload]; i++) in[i] = ad_scalar(t, x[i]);
    y = j.workload == CHAIN ? chain_in_adit(j.n, in)
      : j.workload == POLYNOMIALS ? polynomials_in_adit(j.n, in)
      : j.workload == DENSE ? dense_in_adit(j.n, in) : j.workload == TANH_CHAIN ? tanh_chain_in_adit(j.n, in)
      : tanh_wide_in_adit(j.n, in);
  }
  void reverse(double grad[]) {
    ad_backward(y);
    for (int i = 0; i < workload_inputs[j.workload]; i++) grad[i] = ad_adjoint(in[i]);
  }
  double replay(const double x[]) {
    for (int i = 0; i < workload_inputs[j.workload]; i++) ad_set_value(in[i], x[i]);
    return ad_value(y);
  }
  double operations() const { return double(ad_tape_size(t)); }
};

class adolc_side {
  job j;
  adouble *in = new adouble[MOST_INPUTS];
  double *input_grad = grad_room();
  static double *grad_room() { return doubles(MOST_INPUTS); }

 public:
  explicit adolc_side(job what) : j(what) {}
  ~adolc_side() { delete[] in; free(input_grad); }
  void record(const double x[]) {
    const unsigned room = unsigned(2*j.n + 100000);
    double value;
    trace_on(1, 1, room, 4*room, room, room);
    for (int i = 0; i < workload_inputs[j.workload]; i++) in[i] <<= x[i];
    {
      adouble y = j.workload == CHAIN ? chain_in_adolc(j.n, in)
        : j.workload == POLYNOMIALS ? polynomials_in_adolc(j.n, in)
        : j.workload == DENSE ? dense_in_adolc(j.n, in)
        : j.workload == TANH_CHAIN ? tanh_chain_in_adolc(j.n, in) : tanh_wide_in_adolc(j.n, in);
      y >>= value;
    }
    trace_off();
  }
  void reverse(double grad[]) {
    double one = 1;
    ::reverse(1, 1, workload_inputs[j.workload], 0, &one, grad);
  }
  double replay(const double x[]) {
    double value;
    zos_forward(1, 1, workload_inputs[j.workload], 1, x, &value);
    return value;
  }
};

template <class side> static void first_time(const void *data, double result[]) {
  const job j = *static_cast<const job *>(data);
  static double x[MOST_INPUTS], grad[MOST_INPUTS];
  workload_fill(j.workload, x);
  {
    side small({ j.workload, 16 });       /* the code is in memory, the memory for the trace is not */
    small.record(x);
    small.reverse(grad);
  }
  side s(j);
  const double before = peak_bytes(), start = cpu_seconds();
  s.record(x);
  s.reverse(grad);
  result[FIRST] = cpu_seconds() - start;
  result[BYTES] = peak_bytes() - before;
}

template <class side> static void turn(side &s, int r, const double x[], const double other[], double grad[],
                                       double part[][MOST_ROUNDS]) {
  const double t0 = cpu_seconds();
  s.record(x);
  const double t1 = cpu_seconds();
  s.reverse(grad);
  const double t2 = cpu_seconds();
  part[REPLAY][r] = s.replay(other) > 1e300;
  const double t3 = cpu_seconds();
  part[RECORD][r] = t1 - t0, part[REVERSE][r] = t2 - t1, part[REPLAY][r] += t3 - t2;
}

/* result: adit's parts, ADOL-C's parts, operations. */
static void both(const void *data, double result[]) {
  const job j = *static_cast<const job *>(data);
  static double x[MOST_INPUTS], other[MOST_INPUTS], grad[2][MOST_INPUTS], part[2][PARTS][MOST_ROUNDS];
  workload_fill(j.workload, x);
  for (int i = 0; i < MOST_INPUTS; i++) other[i] = x[i]*(1 - 1e-12);
  adit_side a(j);
  adolc_side b(j);
  const int rounds = j.n > 1000000 ? 3 : j.n > 100000 ? 7 : 31;
  for (int r = -1; r < rounds; r++) {
    turn(a, r < 0 ? 0 : r, x, other, grad[0], part[0]);
    turn(b, r < 0 ? 0 : r, x, other, grad[1], part[1]);
  }
  for (int i = 0; i < workload_inputs[j.workload]; i++)
    expect(workload_names[j.workload], grad[0][i], grad[1][i], 1e-7);
  expect("replay", a.replay(x), b.replay(x), 1e-9);
  for (int k = 0; k < PARTS; k++) {
    result[k] = median(rounds, part[0][k]);
    result[PARTS + k] = median(rounds, part[1][k]);
  }
  result[2*PARTS] = a.operations();
}

int main(int argc, char **argv) {
  const long largest = argc > 1 ? atol(argv[1]) : 10000000;
  if (chdir(own_folder())) return 1;                 /* ADOL-C leaves its tapes there */
  printf("adit / ADOL-C, ns an operation, one thread.\n\n"
         "| workload | operations | first time | bytes | record | reverse | replay |\n"
         "| --- | --- | --- | --- | --- | --- | --- |\n");
  for (int w = 0; w < WORKLOADS; w++)
    for (long n = 10000; n <= largest; n *= 10) {
      const job j = { w, n };
      double one[RESULTS], two[RESULTS], r[2*PARTS + 1];
      in_child(first_time<adit_side>, &j, RESULTS, one);
      in_child(first_time<adolc_side>, &j, RESULTS, two);
      in_child(both, &j, 2*PARTS + 1, r);
      const double m = r[2*PARTS], ns = 1e9/m;
      printf("| %s | %.0f | **%.1f** / %.1f | **%.0f** / %.0f | **%.2f** / %.2f | **%.2f** / %.2f "
             "| **%.2f** / %.2f |\n", workload_names[w], m, ns*one[FIRST], ns*two[FIRST], one[BYTES]/m,
             two[BYTES]/m, ns*r[RECORD], ns*r[PARTS + RECORD], ns*r[REVERSE], ns*r[PARTS + REVERSE],
             ns*r[REPLAY], ns*r[PARTS + REPLAY]);
      fflush(stdout);
    }
  return 0;
}
