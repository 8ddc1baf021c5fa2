#!/bin/sh
# rootfs.sh SUITE MIRROR KEYRING OUT [ARCH]: a minimal Debian as the tar file OUT. Needs root and debootstrap.
# With ARCH, another than this machine's: the packages are unpacked, and what their scripts would make is made here.
# KEYRING is the file that signs the mirror; "-" leaves signatures to the mirror's own trust (apt's [trusted=yes]).
set -eu
# debootstrap mounts /proc and /sys inside the tree: in a mount namespace of our own they go with us, whatever ends us.
if [ "${OWN_MOUNTS:-}" != 1 ] && unshare --mount true 2>/dev/null; then OWN_MOUNTS=1 exec unshare --mount sh "$0" "$@"; fi
suite=$1 mirror=$2 keyring=$3 out=$4 arch=${5:-}
tree=$out.tree
# What a killed run left. The mounts inside went with its namespace; --one-file-system is for those that did not.
rm -rf --one-file-system "$tree"
trap 'rm -rf --one-file-system "$tree" "$out.part"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$tree"
trust=--keyring=$keyring
[ "$keyring" != - ] || trust=--no-check-gpg
# If this fails, the tree is deleted: waiting for the disk after every file gains nothing.
export DPKG_FORCE=unsafe-io
debootstrap ${arch:+--foreign --arch="$arch"} --variant=minbase --include=ca-certificates "$trust" "$suite" "$tree" "$mirror" >&2
if [ -n "$arch" ]; then
  dpkg-deb -x "$tree"/var/cache/apt/archives/ca-certificates_*.deb "$tree"
  cat "$tree"/usr/share/ca-certificates/mozilla/*.crt > "$tree/etc/ssl/certs/ca-certificates.crt"
  cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
  cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
  rm -rf "$tree/debootstrap" "$tree"/var/lib/apt/lists/*
fi
umount -R "$tree/proc" "$tree/sys" 2>/dev/null || :
# /dev and /run belong to the container; lists, packages and logs are of no use to anybody.
tar -C "$tree" --one-file-system --numeric-owner -cf "$out.part" \
  --exclude='./dev/*' --exclude='./run/*' --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' \
  --exclude='./usr/share/locale/*' --exclude='./usr/share/man/*' --exclude='./usr/share/info/*' --exclude='./usr/share/lintian/*' \
  --exclude='./etc/hostname' --exclude='./etc/resolv.conf' --exclude='./etc/apt/sources.list' .
# The tar is read by the user who asked, also where this script ran through sudo.
[ -z "${SUDO_UID:-}" ] || chown "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$out.part"
mv "$out.part" "$out"
