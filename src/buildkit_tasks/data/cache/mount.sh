#!/bin/sh
# mount.sh: packs the cache mount of any tool (npm, pip, apt, go, ccache …), or unpacks one into it.
#
#   mount.sh pack                   the mount as mount.tar.FORM, and facts about it
#   mount.sh unpack WHEN LIMIT ID   a pack into the mount; WHEN: empty or replace; LIMIT in bytes
#
# Packing needs GNU tar. FORM is zst if the image has zstd, otherwise gz. unpack.rs decides what may be in a pack, both
# ways. An unpack writes to a directory inside the mount, and renames what it has checked into place.
set -eu
OUT=/buildkit-tasks-travel
PACK=/run/buildkit-tasks-pack
MOUNT=/run/buildkit-tasks-mount
UNPACKER=/buildkit-tasks-unpack   # unpack.rs, compiled
RECORD=65536

say() { printf 'buildkit-tasks: %s\n' "$*" >&2; }

# Whether the mount contains anything but empty directories and leftovers of a killed unpack.
filled() { [ -n "$(find $MOUNT -mindepth 1 -path "$MOUNT/.incoming-*" -prune -o ! -type d -print | head -n 1)" ]; }

# The same files always give the same bytes, as in travel.sh.
compress() { case $form in zst) zstd -q -c -2 -T1 --long=25 ;; gz) gzip -1 -n -c ;; esac; }

pack() {
    tar --version 2>/dev/null | grep -q GNU || { say 'error: packing requires GNU tar, which this image does not have'; exit 2; }
    mkdir -p $OUT
    rm -f /tmp/said /tmp/failed
    if command -v zstd > /dev/null; then form=zst; else form=gz; fi
    $UNPACKER list $MOUNT > /tmp/names
    files=0
    if filled; then
        {
            tar --create --record-size=$RECORD --directory $MOUNT --format=posix --no-recursion --numeric-owner --totals \
                --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --null --verbatim-files-from --files-from /tmp/names \
                2> /tmp/said || : > /tmp/failed   # a pipe hides it
        } | compress > $OUT/mount.tar.$form
        if [ -e /tmp/failed ]; then
            cat /tmp/said >&2
            say 'error: the mount could not be read: another build may have been writing to it'
            exit 2
        fi
        files=$(tr -dc '\0' < /tmp/names | wc -c)
    fi
    size=$(sed -n 's/^Total bytes written: \([0-9]*\).*/\1/p' /tmp/said 2> /dev/null || :)
    printf 'form=%s\nentries=%s\nbytes=%s\n' "$form" "$files" "${size:-0}" > $OUT/facts
}

unpack() {
    new=$MOUNT/.incoming-$id
    rm -rf "$MOUNT"/.incoming-*   # leftovers of a killed unpack
    if [ "$when" = empty ] && filled; then
        say 'kept: the mount already has content'
        exit 0
    fi
    trap 'rm -rf "$new"' EXIT
    if ! command -v zstd > /dev/null && [ -e $PACK/mount.tar.zst ]; then
        say 'error: the pack is compressed with zstd, which this image does not have'
        exit 2
    fi
    mkdir -m 700 "$new" "$new/tree" "$new/old"
    free=$(df -Pk $MOUNT | awk 'NR == 2 { print $4 }')
    all=$($UNPACKER mount "$limit" $((free * 1024)) $PACK "$new/tree")
    find $MOUNT -mindepth 1 -maxdepth 1 ! -name '.incoming-*' -exec sh -c 'mv -- "$@" "$0"' "$new/old" {} +
    find "$new/tree" -mindepth 1 -maxdepth 1 -exec sh -c 'mv -- "$@" "$0"' $MOUNT {} +
    say "unpacked $all"
}

case ${1:-} in
    pack) pack ;;
    unpack) when=$2 limit=$3 id=$4; unpack ;;
    *) echo 'usage: mount.sh pack|unpack …' >&2; exit 2 ;;
esac
