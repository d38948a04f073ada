#!/bin/sh
# run.sh -- compiles and runs every program of a manual page and compares what it prints.
#
#   run.sh PAGE FOLDER COMPILER [ARGUMENT...]      the arguments follow the source: -I..., libraries, -lm
#
# FOLDER is emptied of earlier snippets. The exit status is the number of programs that failed (at most 99).
set -u
here=$(cd "$(dirname "$0")" && pwd)
page=$1 folder=$2 compiler=$3
shift 3
mkdir -p "$folder" || exit 99
rm -f "$folder"/snippet_*
count=$(awk -v folder="$folder" -f "$here/extract.awk" "$page") || exit 99
failed=0
number=1
while [ "$number" -le "$count" ]; do
  program=$folder/snippet_$number
  if ! "$compiler" -std=c17 -O1 -o "$program" "$program.c" "$@"; then
    echo "FAIL $page: program $number does not compile"
    failed=$((failed + 1))
  elif ! "$program" > "$program.output"; then
    echo "FAIL $page: program $number ends with an error"
    failed=$((failed + 1))
  elif ! diff -u "$program.expected" "$program.output"; then
    echo "FAIL $page: program $number prints something else"
    failed=$((failed + 1))
  fi
  number=$((number + 1))
done
echo "$page: $count programs, $failed failures"
[ "$failed" -le 99 ] || failed=99
exit "$failed"
