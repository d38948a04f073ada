#!/bin/sh
# symbols.sh LIBDIR INCLUDEDIR -- every name that the libraries define for others starts with ad_.
set -eu
shared=$(nm -D --defined-only "$1/libadit.so")
static=$(nm -g --defined-only "$1/libadit.a")
echo "$shared" | grep -q ' T ad_' || { echo "libadit.so exports nothing"; exit 1; }
echo "$static" | grep -q ' T ad_' || { echo "libadit.a exports nothing"; exit 1; }
if printf '%s\n%s\n' "$shared" "$static" | awk 'NF == 3 && $3 !~ /^ad_/ { print; bad = 1 } END { exit !bad }'; then
  echo "these names do not start with ad_"
  exit 1
fi

# And every function that a header declares is there.
for name in $(sed -n 's/^AD_API [^(]*[ *]\(ad_[a-z0-9_]*\)(.*/\1/p' "$2"/adit/*.h); do
  echo "$shared" | grep -q " T $name\$" || { echo "$name is declared, but libadit.so does not export it"; exit 1; }
done
