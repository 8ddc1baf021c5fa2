#!/bin/sh
# cross.sh: installs the toolchain that the repository chooses by a file, and what it takes to compile for another platform.
# Where there is neither, this file, its RUN and the stage `choice` in the Dockerfile may go.
#
# A rust-toolchain.toml (or rust-toolchain) is rustup's to obey: installed here, it is in a layer, and compile steps download
# nothing. /choice/source stands for the workspace's directory, /choice for the top of the build context.
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

if [ -d /choice/source ]; then cd /choice/source; fi
if command -v rustup > /dev/null; then
    for file in rust-toolchain rust-toolchain.toml ../rust-toolchain ../rust-toolchain.toml; do
        [ -f "$file" ] || continue
        # before 1.28 rustup cannot be asked for what a file names: any use of rustc installs it
        rustup toolchain install 2> /dev/null || rustc --version
        break
    done
fi
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
