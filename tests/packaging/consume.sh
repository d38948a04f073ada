#!/bin/sh
# consume.sh pkgconfig|cmake shared|static PREFIX LIBDIR FOLDER CC -- builds a program against the installed library the way a
# user would, checks which library it is bound to, and runs it.
set -eu
way=$1 kind=$2 prefix=$3 lib=$4 folder=$5 cc=$6
here=$(cd "$(dirname "$0")" && pwd)/consumer
unset MAKEFLAGS MAKELEVEL MFLAGS
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"

build_pkgconfig() {
  export PKG_CONFIG_PATH="$lib/pkgconfig"
  if [ "$kind" = shared ]; then
    flags=$(pkg-config --cflags --libs adit)
  else
    flags=$(pkg-config --static --cflags --libs adit | sed 's/-ladit/-l:libadit.a/')
  fi
  # shellcheck disable=SC2086 # words on purpose
  "$cc" -std=c17 -o consumer "$here/consumer.c" $flags
}

build_cmake() {
  { cmake -S "$here" -B . -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix" -DKIND="$kind" && cmake --build .; } \
    >build.log 2>&1 || { cat build.log; exit 1; }
}

build_"$way"
bound=static
if readelf -d consumer | grep -q 'NEEDED.*libadit'; then bound=shared; fi
[ "$bound" = "$kind" ] || { echo "the program is $bound, not $kind"; exit 1; }
if [ "$kind" = shared ]; then export LD_LIBRARY_PATH="$lib"; fi
./consumer | diff -u "$here/consumer.expected" -
