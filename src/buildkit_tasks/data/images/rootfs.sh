#!/bin/sh
# rootfs.sh SUITE MIRROR KEYRING OUT [ARCH] creates a minimal Debian as the tar file OUT. It needs root and debootstrap.
# If ARCH is given, it differs from this machine's architecture: the packages are only unpacked, and this script creates
# what their scripts would create. KEYRING is the file with the mirror's signing keys; "-" disables the check for
# mirrors that are trusted anyway (apt's [trusted=yes]).
set -eu
# debootstrap mounts /proc and /sys inside the tree. In our own mount namespace these mounts disappear when the script
# ends, however it ends.
if [ "${OWN_MOUNTS:-}" != 1 ] && unshare --mount true 2>/dev/null; then OWN_MOUNTS=1 exec unshare --mount sh "$0" "$@"; fi
suite=$1 mirror=$2 keyring=$3 out=$4 arch=${5:-}
tree=$out.tree
# Leftovers of a killed run. Its mounts disappeared with its namespace; --one-file-system protects any that did not.
rm -rf --one-file-system "$tree"
trap 'rm -rf --one-file-system "$tree" "$out.part"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$tree"
trust=--keyring=$keyring
[ "$keyring" != - ] || trust=--no-check-gpg
# If this fails, the tree is deleted, so there is no point in syncing every file to disk.
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
# /dev and /run belong to the container; nothing needs the lists, packages and logs.
tar -C "$tree" --one-file-system --numeric-owner -cf "$out.part" \
  --exclude='./dev/*' --exclude='./run/*' --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' \
  --exclude='./usr/share/locale/*' --exclude='./usr/share/man/*' --exclude='./usr/share/info/*' --exclude='./usr/share/lintian/*' \
  --exclude='./etc/hostname' --exclude='./etc/resolv.conf' --exclude='./etc/apt/sources.list' .
# The user who started this must be able to read the tar file, even if the script ran through sudo.
[ -z "${SUDO_UID:-}" ] || chown "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$out.part"
mv "$out.part" "$out"
