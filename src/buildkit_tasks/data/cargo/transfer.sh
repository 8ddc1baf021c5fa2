#!/bin/sh
# transfer.sh: packs the volumes of cargo tasks, or fills them from a pack, in a container that has them mounted.
#
#   transfer.sh probe|pack|unpack /compile …   the arguments of travel.sh (data/cache), which does the work
#
# Like entry.sh, it exports the variables in BT_GIVEN and waits for other tasks of the project.
set -eu
for name in $BT_GIVEN; do
    eval "export $name=\"\$BT_V_$name\"; unset BT_V_$name"
done
unset BT_GIVEN
scripts=/run/buildkit-tasks-travel
if command -v flock > /dev/null; then
    exec 9> /build/.cargo-task
    flock 9
fi
[ "$1" = probe ] || rustc --edition 2021 -o /buildkit-tasks-unpack $scripts/unpack.rs
exec sh $scripts/travel.sh "$@"
