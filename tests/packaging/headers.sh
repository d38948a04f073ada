#!/bin/sh
# headers.sh INCLUDE -- every public header alone, under strict flags: as C17 by gcc and clang, as C++17 by g++ and clang++.
set -u
c="-std=c17 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wundef -Werror"
cxx="-std=c++17 -Wall -Wextra -pedantic -Werror"
failed=0

# alone COMPILER LANGUAGE FLAGS HEADER
alone() {
  # shellcheck disable=SC2086 # words on purpose
  printf '#include <%s>\ntypedef int unit;\n' "$4" | "$1" -x "$2" $3 -I "$include" -fsyntax-only - \
    || { echo "FAIL $1: $4"; failed=1; }
}

include=$1
cd "$include" || exit 1
headers=$(find . -name '*.h' | sed 's|^\./||' | sort)
[ -n "$headers" ] || { echo "no headers in $include"; exit 1; }
for header in $headers; do
  alone gcc c "$c" "$header"
  alone clang c "$c" "$header"
  alone g++ c++ "$cxx" "$header"
  alone clang++ c++ "$cxx" "$header"
done
exit $failed
