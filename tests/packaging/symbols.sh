#!/bin/sh
# symbols.sh LIBDIR -- every name that the libraries define for others starts with ad_.
set -eu
shared=$(nm -D --defined-only "$1/libadit.so")
static=$(nm -g --defined-only "$1/libadit.a")
echo "$shared" | grep -q ' T ad_' || { echo "libadit.so exports nothing"; exit 1; }
echo "$static" | grep -q ' T ad_' || { echo "libadit.a exports nothing"; exit 1; }
if printf '%s\n%s\n' "$shared" "$static" | awk 'NF == 3 && $3 !~ /^ad_/ { print; bad = 1 } END { exit !bad }'; then
  echo "these names do not start with ad_"
  exit 1
fi
