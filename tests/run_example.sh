#!/bin/sh
# run_example.sh PROGRAM STEM -- runs an example and compares what it prints with STEM.expected. Arguments come from
# STEM.args, if there is one. The program runs in a folder of its own next to itself, where it may leave files.
set -eu
program=$1 stem=$2
[ -f "$stem.expected" ] || { echo "no $stem.expected beside the example"; exit 1; }
folder=$program.output
mkdir -p "$folder"
cd "$folder"
if [ -f "$stem.args" ]; then
  eval "set -- $(cat "$stem.args")"
else
  set --
fi
status=0
"$program" "$@" >stdout || status=$?
diff -u "$stem.expected" stdout && exit "$status"
