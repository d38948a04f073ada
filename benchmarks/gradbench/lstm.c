/* lstm.c -- how badly a stack of memory cells with diagonal weights predicts the next row of a sequence. */
#include "job.h"

enum { OBJECTIVE, JACOBIAN };
enum { MAIN, EXTRA, STATE, SEQUENCE, INPUTS };

typedef struct sizes { int64_t layers, rows, width; } sizes;

static ad_var row(ad_var x, int64_t i) { return ad_at(x, 1, &i); }
/* Gates stand side by side: forget, in, out, change. */
static ad_var gate(ad_var x, int64_t layer, int64_t which, int64_t width) {
  return ad_slice(row(x, layer), 0, which*width, width, 1);
}

/* One layer: weights and biases are rows 2 layer and 2 layer + 1 of main. */
static void cell(ad_var main_parameters, int64_t layer, int64_t width, ad_var input, ad_var *hidden,
                 ad_var *memory) {
  ad_var affine[4];
  for (int64_t k = 0; k < 4; k++)
    affine[k] = ad_add(ad_mul(k == 0 || k == 2 ? input : *hidden, gate(main_parameters, 2*layer, k, width)),
                       gate(main_parameters, 2*layer + 1, k, width));
  *memory = ad_add(ad_mul(*memory, ad_sigmoid(affine[0])), ad_mul(ad_sigmoid(affine[1]), ad_tanh(affine[3])));
  *hidden = ad_mul(ad_sigmoid(affine[2]), ad_tanh(*memory));
}

/* (state, total, row, next row, main, extra) -> (state, total). The state has rows hidden, memory for each
 * layer. */
static void predict(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const sizes *s = context;
  const ad_var extra = in[5];
  ad_var rows[64], output = ad_mul(in[2], row(extra, 0));
  (void)t;
  for (int64_t i = 0; i < s->layers; i++) {
    ad_var *hidden = &rows[2*i], *memory = &rows[2*i + 1];
    *hidden = row(in[0], 2*i), *memory = row(in[0], 2*i + 1);
    cell(in[4], i, s->width, output, hidden, memory);
    output = *hidden;
  }
  output = ad_add(ad_mul(output, row(extra, 1)), row(extra, 2));
  const ad_var normaliser = ad_log(ad_add(2, ad_sum(ad_exp(output), AD_ALL_AXES, false)));
  out[0] = ad_stack((int)(2*s->layers), rows, 0);
  out[1] = ad_add(in[1], ad_sum(ad_mul(in[3], ad_sub(output, normaliser)), AD_ALL_AXES, false));
}

static void objective(ad_tape *t, const ad_var in[], ad_var out[], void *context) {
  const sizes *s = context;
  const int64_t steps = s->rows - 1;
  const ad_type types[6] = { AD_F64(2*s->layers, s->width), AD_F64(), AD_F64(s->width), AD_F64(s->width),
                             AD_F64(2*s->layers, 4*s->width), AD_F64(3, s->width) };
  ad_function *f = ad_function_trace("predict", predict, context, 6, types, 2);
  const ad_var start[6] = { in[STATE], ad_scalar(t, 0), ad_slice(in[SEQUENCE], 0, 0, steps, 1),
                            ad_slice(in[SEQUENCE], 0, 1, steps, 1), in[MAIN], in[EXTRA] };
  ad_var end[2] = { ad_none(), ad_none() };
  ad_scan(f, 2, &(ad_loop){ .keep = AD_KEEP_ALL }, start, end);
  ad_function_free(f);
  out[0] = ad_div(ad_neg(end[1]), (double)(steps*s->width));
}

static bool prepare(job *j, const json_t *input) {
  static const char *const names[INPUTS] = { "main_params", "extra_params", "state", "sequence" };
  int64_t dim[INPUTS][2];
  ad_type types[INPUTS];
  for (int i = 0; i < INPUTS; i++)
    if (!read_array(j, input, names[i], 2, dim[i])) return false;
  sizes s = { dim[MAIN][0]/2, dim[SEQUENCE][0], dim[MAIN][1]/4 };
  if (s.layers < 1 || s.layers > 32 || s.rows < 2 || s.width < 1)
    return job_refuse(j, "lstm: from 1 to 32 layers, two rows of a sequence and a width of 1 are the least");
  const int64_t want[INPUTS][2] = { { 2*s.layers, 4*s.width }, { 3, s.width }, { 2*s.layers, s.width },
                                    { s.rows, s.width } };
  for (int i = 0; i < INPUTS; i++) {
    if (dim[i][0] != want[i][0] || dim[i][1] != want[i][1])
      return job_refuse(j, "%s has other sizes than the rest", names[i]);
    types[i] = ad_type_make(AD_F64, 2, want[i]);
  }
  ad_function *f = ad_function_trace("lstm", objective, &s, INPUTS, types, 1);
  return j->function == OBJECTIVE ? job_take(j, f) : job_take_gradient(j, f, 2, (const int[]){ MAIN, EXTRA });
}

/* The gradients of both, one after the other. */
static json_t *answer(const job *j) {
  if (j->function == OBJECTIVE) return answer_number(j, 0);
  json_t *all = json_array();
  for (int i = MAIN; i <= EXTRA; i++) {
    const int64_t count = ad_type_count(ad_function_input_type(j->f, i));
    json_t *part = answer_array(j->out[i], 1, &count);
    const bool taken = part && !json_array_extend(all, part);
    json_decref(part);
    if (taken) continue;
    json_decref(all);
    return NULL;
  }
  return all;
}

const evaluation evaluation_lstm = { "lstm", { "objective", "jacobian" }, prepare, answer };
