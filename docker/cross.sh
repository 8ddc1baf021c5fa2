#!/bin/sh
# cross.sh: install the toolchain required by the repository's rust-toolchain file and, when building for another
# platform, a cross compiler. If you need neither, this file, the COPY line and the call in the RUN may be deleted.
#
# rustup installs the toolchain from rust-toolchain.toml (or rust-toolchain) into a layer here, so compile steps do not
# download it. /choice has the file from the workspace's directory, else the one from the top of the context.
#
# The C cross compiler comes from Debian packages, Rust's standard library from rustup, or from Debian if the image uses
# Debian's rustc. Only missing components are downloaded. CROSS_PACKAGES lists development packages to install for the
# target platform. Variables for cargo are written to /cross.env; variables that are already set take precedence.
set -euf

die() { printf 'buildkit-tasks: error: %s\n' "$*" >&2; exit 2; }

# Print the Debian package with the target's standard library that matches the installed rustc.
standard_library() {
    owner=$(dpkg -S "$(readlink -f "$(command -v rustc)")" 2> /dev/null) || owner=
    case ${owner%%:*} in
        rustc) echo "libstd-rust-dev:$TARGETARCH" ;;
        rustc-web) echo "libstd-rust-web-dev:$TARGETARCH" ;;
        *) die "no standard library for $triple, and no rustup or Debian rustc to install it: copy it to $library" ;;
    esac
}

add_packages() {
    command -v apt-get > /dev/null ||
        die "compiling for $TARGETARCH requires $*: use a Debian-based toolchain image, or one with a cross compiler"
    dpkg --add-architecture "$TARGETARCH"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" > /dev/null
    find /var/lib/apt/lists /var/log -type f -delete
}

# a Dockerfile from an earlier version has the workspace's file in /choice/source
for folder in /choice /choice/source; do if [ -d "$folder" ]; then cd "$folder"; fi; done
if command -v rustup > /dev/null; then
    for file in rust-toolchain rust-toolchain.toml ../rust-toolchain ../rust-toolchain.toml; do
        [ -f "$file" ] || continue
        # rustup before 1.28 requires a toolchain name here; running rustc installs the file's toolchain
        rustup toolchain install 2> /dev/null || rustc --version
        break
    done
fi
# builders without BuildKit set neither variable
[ "${TARGETARCH:-}" != "${BUILDARCH:-}" ] || exit 0
case $TARGETARCH in
    amd64) triple=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu compiler=g++-x86-64-linux-gnu ;;
    arm64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu compiler=g++-aarch64-linux-gnu ;;
    *) die "cross.sh supports the architectures amd64 and arm64, not $TARGETARCH" ;;
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
# shellcheck disable=SC2086  # split on purpose
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
