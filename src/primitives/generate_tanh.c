/* generate_tanh.c -- writes the rows of tanh_series.c: Taylor coefficients of tanh at multiples of 1/16.
 *
 * From z' = 1 - z^2: (n + 1) c[n+1] = [n = 0] - sum of c[i] c[n-i]. */
#include "primitives/tanh_series.h"

#include <math.h>
#include <stdio.h>

int main(void) {
  for (int row = 0; row < TANH_ROWS; row++) {
    long double c[TANH_TERMS] = { tanhl((long double)(TANH_FIRST + row)/TANH_STEPS) };
    for (int n = 0; n + 1 < TANH_TERMS; n++) {
      long double sum = n == 0;
      for (int i = 0; i <= n; i++) sum -= c[i]*c[n - i];
      c[n + 1] = sum/(n + 1);
    }
    printf("{");
    for (int n = 0; n < TANH_TERMS; n++) printf(" %a%s", (double)c[n], n + 1 < TANH_TERMS ? "," : " },\n");
  }
  return ferror(stdout) || fclose(stdout);
}
