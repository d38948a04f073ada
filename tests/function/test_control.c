/* test_control.c -- calls, branches, maps and loops against the same mathematics as plain formulas: values,
 * every chain of jvp and vjp to third order, Taylor series and their adjoints, on tapes, mapped, with every
 * policy of memory. control_scenarios.h has the programs.
 */
#include "function/control_scenarios.h"

/* --- functions ------------------------------------------------------------------------------------------ */

static void check_scenario(const scenario *c, const setting *s, const char *how, int order,
                           double tolerance) {
  char name[120];
  snprintf(name, sizeof name, "%s%s", c->name, how);
  ad_function *f = made_of(c, true, s), *g = made_of(c, false, s);
  compare_chains(name, f, g, c->d, c->n_in, tolerance, order);
  if (f && g) compare_series(name, f, g, c->d, c->n_in, tolerance, order > 2 ? 5 : 3);
  ad_function_free(f);
  ad_function_free(g);
}

static void test_modes(void) {
  const setting wide = { .dtype = AD_F64 }, narrow = { .dtype = AD_F32 };
  for (int i = 0; i < SCENARIOS; i++) {
    check_scenario(&scenarios()[i], &wide, "", 3, 1e-12);
    check_scenario(&scenarios()[i], &narrow, ", f32", 2, 1e-4);
  }
}

static void test_backwards(void) {
  const setting s = { .dtype = AD_F64, .loop.backwards = true };
  for (int i = 0; i < SCENARIOS; i++)
    if (scenarios()[i].loops) check_scenario(&scenarios()[i], &s, ", backwards", 2, 1e-12);
}

/* --- policies ------------------------------------------------------------------------------------------- */

typedef struct policy { const char *name; ad_loop loop; } policy;

static const policy policies[] = {
  { ", every 1", { .keep = AD_KEEP_EVERY, .k = 1 } }, { ", every 2", { .keep = AD_KEEP_EVERY, .k = 2 } },
  { ", every 100", { .keep = AD_KEEP_EVERY, .k = 100 } },
      { ", binomial 1", { .keep = AD_KEEP_BINOMIAL, .k = 1 } },
  { ", binomial 2", { .keep = AD_KEEP_BINOMIAL, .k = 2 } },
      { ", binomial 9", { .keep = AD_KEEP_BINOMIAL, .k = 9 } },
  { ", binomial in bytes", { .keep = AD_KEEP_BINOMIAL, .bytes = 40 } }, { ", all", { .keep = AD_KEEP_ALL } },
};

/* The steps backwards are the same plan on the same states, whatever is kept: the same bits. AD_KEEP_ALL cuts
 * the plan in two, which may put an operation into another kernel. */
static void test_policies(void) {
  const setting plain = { .dtype = AD_F64 };
  for (int i = 0; i < SCENARIOS; i++) {
    const scenario *c = &scenarios()[i];
    if (!c->loops) continue;
    for (size_t k = 0; k < sizeof policies/sizeof *policies; k++) {
      char name[120];
      const setting s = { .dtype = AD_F64, .loop = policies[k].loop };
      ad_function *f = made_of(c, true, &s), *g = made_of(c, true, &plain), *vf = ad_function_vjp(f),
                  *vg = ad_function_vjp(g), *vvf = ad_function_vjp(vf), *vvg = ad_function_vjp(vg),
                  *jvf = ad_function_jvp(vf), *jvg = ad_function_jvp(vg);
      const double tolerance = policies[k].loop.keep == AD_KEEP_ALL ? 1e-13 : 0;
      snprintf(name, sizeof name, "%s%s", c->name, policies[k].name);
      compare_values(name, vf, vg, c->d, c->n_in, tolerance);
      compare_values(name, vvf, vvg, c->d, c->n_in, tolerance);
      compare_values(name, jvf, jvg, c->d, c->n_in, tolerance);
      ad_function *const all[] = { f, g, vf, vg, vvf, vvg, jvf, jvg };
      for (int j = 0; j < 8; j++) ad_function_free(all[j]);
    }
  }
}

/* --- on tapes ------------------------------------------------------------------------------------------- */

/* y = sum_j sum(out[j])/(j + 1) of the floats. */
static ad_var number_of(int n, const ad_var out[]) {
  ad_var y = ad_real(0);
  for (int j = 0; j < n; j++)
    if (is_float(ad_type_of(out[j]))) y = ad_add(y, ad_mul(1.0/(j + 1), total(out[j])));
  return y;
}

/* The number, its gradient by ad_grad and by ad_backward, the gradient of the gradient's number. */
static void read_sweep(const char *what, const scenario *c, bool carried, const setting *s, const arrays *x,
                       arrays *z) {
  ad_tape *t = ad_tape_new();
  ad_var in[4], wrt[4], out[MOST_PORTS], dx[4], ddx[4], y;
  int n = 0;
  for (int k = 0; k < c->n_in; k++) {
    in[k] = ad_array(t, x->type[k], x->data[k]);
    if (is_float(x->type[k])) wrt[n++] = in[k];
  }
  (carried ? c->carried : c->plain)(t, in, out, (void *)(uintptr_t)s);
  y = number_of(c->n_out, out);
  CHECK_STATUS(ad_grad(y, n, wrt, dx), AD_OK);
  CHECK_STATUS(ad_grad(number_of(n, dx), n, wrt, ddx), AD_OK);
  CHECK_STATUS(ad_backward(y), AD_OK);
  z->n = 0;
  for (int k = 0; k < n; k++) {
    for (int i = 0; i < 3; i++) z->type[z->n + i] = ad_type_of(wrt[k]);
    ad_read_adjoint(wrt[k], z->data[z->n++]);
    ad_read(dx[k], z->data[z->n++]);
    ad_read(ddx[k], z->data[z->n++]);
  }
  z->type[z->n] = ad_type_of(y);
  ad_read(y, z->data[z->n++]);
  CHECK_THAT(ad_tape_status(t) == AD_OK, "%s: %s", what, ad_tape_message(t));
  ad_tape_free(t);
}

static void test_tapes(void) {
  const setting s = { .dtype = AD_F64 };
  for (int i = 0; i < SCENARIOS; i++) {
    const scenario *c = &scenarios()[i];
    uint64_t state = 5;
    char name[120];
    snprintf(name, sizeof name, "%s on a tape", c->name);
    input.n = c->n_in;
    memcpy(input.type, c->in, sizeof c->in);
    fill_arrays(&input, 0, c->d, &state);
    read_sweep(name, c, true, &s, &input, &output);
    read_sweep(name, c, false, &s, &input, &wanted);
    same_arrays(name, &output, &wanted, 1e-12);
  }
}

/* --- mapped --------------------------------------------------------------------------------------------- */

/* ad_function_map of each scenario, by the vjp, against calls one by one. */
static void check_mapped(const scenario *c, const setting *s, const bool mapped[4]) {
  enum { N = 3 };
  static arrays one, bars;
  char name[120];
  uint64_t state = 3;
  ad_function *f = made_of(c, true, s), *m = ad_function_map(f, N, mapped), *v = ad_function_vjp(m),
              *w = ad_function_vjp(f);
  snprintf(name, sizeof name, "%s, mapped", c->name);
  if (!CHECK_THAT(v && w, "%s: could not be made", name)) return;
  set_arrays(&input, v, c->n_in, c->d, &state);
  if (call_arrays(v, &input, &output, NULL) != AD_OK) return;
  wanted = output;
  memset(wanted.data, 0, sizeof wanted.data);
  set_arrays(&one, w, c->n_in, c->d, &state);
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < one.n; k++) {
      const size_t bytes = ad_type_bytes(one.type[k]), from = k >= c->n_in || mapped[k] ? (size_t)i*bytes : 0;
      memcpy(one.data[k], (char *)input.data[k] + from, bytes);
    }
    call_arrays(w, &one, &bars, NULL);
    for (int j = 0; j < bars.n; j++) {
      const int64_t n = ad_type_count(bars.type[j]), first = j < c->n_out || mapped[j - c->n_out] ? i*n : 0;
      for (int64_t e = 0; e < n; e++) {
        const double had = check_element(bars.type[j].dtype, wanted.data[j], first + e);
        check_set_element(bars.type[j].dtype, wanted.data[j], first + e,
                          had + check_element(bars.type[j].dtype, bars.data[j], e));
      }
    }
  }
  same_arrays(name, &output, &wanted, 1e-12);
  ad_function *const all[] = { f, m, v, w };
  for (int j = 0; j < 4; j++) ad_function_free(all[j]);
}

/* All inputs mapped, each alone, and all but one. */
static void test_mapped(void) {
  const setting all[] = { { .dtype = AD_F64 }, { .dtype = AD_F64, .loop.keep = AD_KEEP_ALL },
                          { .dtype = AD_F64, .loop = { .keep = AD_KEEP_BINOMIAL, .k = 2 } } };
  for (int i = 0; i < SCENARIOS; i++) {
    const scenario *c = &scenarios()[i];
    if (c->in[0].rank == AD_MAX_RANK) continue;       /* its outputs have no room for an axis */
    for (int k = 0; k < (c->loops ? 3 : 1); k++)
      for (int which = -1; which < c->n_in; which++)
        for (int others = 0; others < 2; others++) {
          bool mapped[4] = { false };
          for (int j = 0; j < c->n_in; j++) mapped[j] = which < 0 || (j == which) != others;
          if (which >= 0 || !others) check_mapped(c, &all[k], mapped);
        }
  }
}

int main(void) {
  test_modes();
  test_backwards();
  test_policies();
  test_tapes();
  test_mapped();
  return check_summary();
}
