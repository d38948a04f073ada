#!/bin/sh
# install.sh BUILD PREFIX -- installs into an empty prefix and looks for what must be there.
set -eu
rm -rf "$2"
cmake --install "$1" --prefix "$2" >/dev/null
for path in include/adit.h include/adit/dual.h bin/adit; do
  [ -e "$2/$path" ] || { echo "not installed: $path"; exit 1; }
done
