// test_dual_cxx.cpp -- adit/dual.h as C++: every kind compiles and computes.
#include <adit/dual.h>
#define AD_DUAL_N 4
#include <adit/dual.h>
#define AD_DUAL_REAL float
#include <adit/dual.h>
#define AD_DUAL_ORDER 2
#include <adit/dual.h>

#include <cmath>
#include <cstdio>

static bool close(double a, double b) { return a - b < 1e-6 && b - a < 1e-6; }

int main() {
  ad_dual x = ad_dual_variable(3);
  ad_dual4 y = ad_dual4_variable(3, 2);
  ad_dualf u = ad_dualf_variable(3);
  ad_dual_dual w = ad_dual_dual_variable(3);
  bool good = close(ad_dual_mul(x, ad_dual_log(x)).d, 1 + std::log(3.0))
           && close(ad_dual4_lgamma(y).d[2], 0.9227843350984671) && close(ad_dual4_lgamma(y).d[1], 0)
           && close(static_cast<double>(ad_dualf_sqrt(u).d), 0.28867513)
           && close(ad_dual_dual_powi(w, 3).d.d, 18)
           && ad_dual_greater(x, ad_dual_of(2));
  std::puts(good ? "dual, C++: good" : "FAIL dual, C++");
  return good ? 0 : 1;
}
