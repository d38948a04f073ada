#!/bin/sh
# test_takeaway.sh -- what examples/cart_pole.c writes compiles strictly, allocates nothing, and runs alone with the
# numbers that the example shows.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
example=$(dirname "$ADIT")/examples/cart_pole
cd "$folder"
"$example" >shown
cat >main.c <<'END'
#include "cart_pole.h"
#include <stdio.h>
int main(void) {
  double x[4] = { 0, 0.1, 0, 0 }, force = 1, y[4], j[16], b[4], w[cart_pole_WORK + cart_pole_jacobian_WORK + 1];
  int failed = cart_pole(x, &force, y, w) + cart_pole_jacobian(x, &force, j, b, w);
  printf("a step later: %.6f %.6f %.6f %.6f\n", y[0], y[1], y[2], y[3]);
  for (int i = 0; i < 4; i++)
    printf("%9.6f %9.6f %9.6f %9.6f   %9.6f\n", j[4*i], j[4*i + 1], j[4*i + 2], j[4*i + 3], b[i]);
  return failed;
}
END
for compiler in gcc clang; do
  for level in -O0 -O3; do
    $compiler -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror -fno-builtin-malloc $level -c cart_pole.c
    if nm cart_pole.o | grep -E ' U .*(alloc|free|printf|abort|exit)'; then echo "it calls that"; exit 1; fi
    if nm cart_pole.o | grep -E ' [bBdDC] '; then echo "it has memory of its own"; exit 1; fi
    $compiler -std=c11 $level main.c cart_pole.o -o alone -lm
    ./alone >printed
    tail -n +2 shown | diff - printed
  done
done
gcc -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Werror -Dcart_pole_FLOAT -c cart_pole.c
echo "cart_pole.c: $(wc -l <cart_pole.c) lines"
