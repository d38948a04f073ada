#!/bin/sh
# variant.sh SOURCE BUILD TARGETS SELECTION CMAKE_OPTION... -- builds TARGETS of the project in another way, then runs
# the tests that SELECTION, arguments of ctest, picks. None picked is a failure.
set -eu
source=$1 build=$2 targets=$3 selection=$4
shift 4
jobs=$(nproc)
unset MAKEFLAGS MAKELEVEL MFLAGS
export UBSAN_OPTIONS=print_stacktrace=1

# ThreadSanitizer wants its addresses where they are without randomisation; not every container allows to say so.
fixed=
if setarch "$(uname -m)" -R true 2>/dev/null; then fixed="setarch $(uname -m) -R"; fi

mkdir -p "$build"
log=$build/build.log
# shellcheck disable=SC2086 # words on purpose
{ cmake -S "$source" -B "$build" "$@" && cmake --build "$build" -j "$jobs" --target $targets; } >"$log" 2>&1 \
  || { cat "$log"; exit 1; }
# shellcheck disable=SC2086
exec $fixed ctest --test-dir "$build" -j "$jobs" --output-on-failure --no-tests=error $selection
