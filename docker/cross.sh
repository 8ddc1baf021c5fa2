#!/bin/sh
# cross.sh: makes the toolchain able to compile for another platform. Only builds for another platform need it: where there
# are none, this file and its RUN in the Dockerfile may go.
#
# The C cross compiler comes from Debian's packages, Rust's standard library from rustup where the image has it, from Debian
# where rustc does. Nothing already present is downloaded. CROSS_PACKAGES: development packages to have for the target as
# well. What cargo has to know is left in /cross.env; where a variable is set already, that value wins.
set -euf

die() { printf 'buildkit-tasks: error: %s\n' "$*" >&2; exit 2; }

# The package with the target's standard library, from the same source as the compiler's own.
standard_library() {
    owner=$(dpkg -S "$(readlink -f "$(command -v rustc)")" 2> /dev/null) || owner=
    case ${owner%%:*} in
        rustc) echo "libstd-rust-dev:$TARGETARCH" ;;
        rustc-web) echo "libstd-rust-web-dev:$TARGETARCH" ;;
        *) die "the standard library for $triple is missing, and neither rustup nor Debian's rustc is here: put it into $library" ;;
    esac
}

add_packages() {
    command -v apt-get > /dev/null ||
        die "compiling for $TARGETARCH needs $*: use a toolchain image of Debian's family, or one that has a cross compiler"
    dpkg --add-architecture "$TARGETARCH"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" > /dev/null
    find /var/lib/apt/lists /var/log -type f -delete
}

# a builder without BuildKit sets neither
[ "${TARGETARCH:-}" != "${BUILDARCH:-}" ] || exit 0
case $TARGETARCH in
    amd64) triple=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu compiler=g++-x86-64-linux-gnu ;;
    arm64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu compiler=g++-aarch64-linux-gnu ;;
    *) die "cross.sh makes compilers for amd64 and arm64, not for $TARGETARCH" ;;
esac
wanted=
for name in ${CROSS_PACKAGES:-}; do wanted="$wanted $name:$TARGETARCH"; done
command -v "$gnu-g++" > /dev/null || wanted="$wanted $compiler libc6-dev-$TARGETARCH-cross"
library=$(rustc --print target-libdir --target "$triple")
if [ -z "$(find "$library" -name 'libstd-*.rlib' 2> /dev/null)" ]; then
    if command -v rustup > /dev/null; then
        rustup target add "$triple"
    else
        package=$(standard_library)
        wanted="$wanted $package"
    fi
fi
# shellcheck disable=SC2086  # a word each
if [ -n "$wanted" ]; then add_packages $wanted; fi
small=$(printf %s "$triple" | tr - _)
large=$(printf %s "$small" | tr '[:lower:]' '[:upper:]')
cat > /cross.env << END
CARGO_BUILD_TARGET=$triple
CARGO_TARGET_${large}_LINKER=$gnu-gcc
CC_$small=$gnu-gcc
CXX_$small=$gnu-g++
AR_$small=$gnu-ar
RANLIB_$small=$gnu-ranlib
PKG_CONFIG_ALLOW_CROSS_$small=1
PKG_CONFIG_LIBDIR_$small=/usr/lib/$gnu/pkgconfig:/usr/share/pkgconfig
END
