"""A table of the Debian packages that crates need, to compile and at run time, and its lookup.

The names are from Debian 12; newer releases also provide them. Libraries that a crate bundles are not listed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .cargo import Locked


@dataclass(frozen=True)
class Need:
    """Packages for the toolchain stage and for the runtime stage.

    `unless`: packages in the lock file that make the crate bundle its own copy. `bundled`: a direct dependency of the
    crate that indicates the same (cargo only locks a build script's `cc` if it compiles C). `optional`: without the
    packages, the crate compiles its own copy and links it statically.
    """

    build: str = ""
    run: str = ""
    unless: str = ""
    bundled: str = ""
    optional: bool = False


_PROTOC = Need("protobuf-compiler libprotobuf-dev", unless="protoc-bin-vendored protobuf-src")
_CLANG = Need("clang libclang-dev")

#: Maps crates to what they need.
TABLE: Mapping[str, Need] = {
    "openssl-sys": Need("pkg-config libssl-dev", "libssl3", unless="openssl-src"),
    "pq-sys": Need("libpq-dev", "libpq5", unless="pq-src"),
    "mysqlclient-sys": Need("pkg-config default-libmysqlclient-dev", "libmariadb3", unless="mysqlclient-src"),
    "libsqlite3-sys": Need("pkg-config libsqlite3-dev", "libsqlite3-0", bundled="cc"),
    "rdkafka-sys": Need("pkg-config g++ make python3 zlib1g-dev", "zlib1g"),
    "sasl2-sys": Need("libsasl2-dev", "libsasl2-2", bundled="krb5-src"),
    "libgssapi-sys": Need("libkrb5-dev clang libclang-dev", "libgssapi-krb5-2"),
    "prost-build": _PROTOC,
    "tonic-build": _PROTOC,
    "tonic-prost-build": _PROTOC,
    "protobuf-codegen-pure": Need(),
    "protoc-rust": _PROTOC,
    "protoc-grpcio": _PROTOC,
    "clang-sys": _CLANG,
    "cmake": Need("cmake"),
    "nasm-rs": Need("nasm"),
    "autotools": Need("autoconf automake libtool make"),
    "meson": Need("meson ninja-build"),
    "curl-sys": Need("pkg-config libcurl4-openssl-dev", "libcurl4", optional=True),
    "libssh2-sys": Need("pkg-config libssh2-1-dev", "libssh2-1"),
    "libudev-sys": Need("pkg-config libudev-dev", "libudev1"),
    "libusb1-sys": Need("pkg-config libusb-1.0-0-dev", "libusb-1.0-0", optional=True),
    "hidapi": Need("pkg-config libudev-dev libusb-1.0-0-dev", "libudev1 libusb-1.0-0"),
    "alsa-sys": Need("pkg-config libasound2-dev", "libasound2"),
    "libdbus-sys": Need("pkg-config libdbus-1-dev", "libdbus-1-3"),
    "libsystemd-sys": Need("pkg-config libsystemd-dev", "libsystemd0"),
    "libsodium-sys": Need("pkg-config libsodium-dev", "libsodium23"),
    "zmq-sys": Need("pkg-config libzmq3-dev", "libzmq5", unless="zeromq-src"),
    "pcap": Need("libpcap-dev", "libpcap0.8"),
    "libxml": Need("pkg-config libxml2-dev clang libclang-dev", "libxml2"),
    "yeslogic-fontconfig-sys": Need("pkg-config libfontconfig1-dev", "libfontconfig1"),
    "fontconfig-sys": Need("pkg-config libfontconfig1-dev", "libfontconfig1"),
    "servo-fontconfig-sys": Need("pkg-config libfontconfig1-dev", "libfontconfig1"),
    "freetype-sys": Need("pkg-config libfreetype6-dev", "libfreetype6", bundled="cc", optional=True),
    "magic-sys": Need("pkg-config libmagic-dev", "libmagic1"),
    "nettle-sys": Need("pkg-config nettle-dev clang libclang-dev", "libnettle8 libhogweed6"),
    "pam-sys": Need("libpam0g-dev clang libclang-dev", "libpam0g"),
    "libseccomp-sys": Need("libseccomp-dev", "libseccomp2"),
    "libseccomp": Need("libseccomp-dev", "libseccomp2"),
    "odbc-sys": Need("unixodbc-dev", "libodbc2"),
    "dav1d-sys": Need("pkg-config libdav1d-dev", "libdav1d6"),
    "libheif-sys": Need("pkg-config libheif-dev", "libheif1"),
    "leptonica-sys": Need("pkg-config libleptonica-dev clang libclang-dev", "liblept5"),
    "tesseract-sys": Need("pkg-config libtesseract-dev clang libclang-dev", "libtesseract5"),
    "magick_rust": Need("pkg-config libmagickwand-dev clang libclang-dev", "libmagickwand-6.q16-6"),
    "opencv": Need("libopencv-dev clang libclang-dev", "libopencv-contrib406"),
    "ffmpeg-sys-next": Need(
        "pkg-config clang libclang-dev libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libavdevice-dev"
        " libswscale-dev libswresample-dev",
        "libavcodec59 libavformat59 libavutil57 libavfilter8 libavdevice59 libswscale6 libswresample4",
    ),
    "gstreamer-sys": Need("pkg-config libgstreamer1.0-dev", "libgstreamer1.0-0"),
    "glib-sys": Need("pkg-config libglib2.0-dev", "libglib2.0-0"),
    "cairo-sys-rs": Need("pkg-config libcairo2-dev", "libcairo2"),
    "pango-sys": Need("pkg-config libpango1.0-dev", "libpango-1.0-0"),
    "gtk-sys": Need("pkg-config libgtk-3-dev", "libgtk-3-0"),
    "gdal-sys": Need("pkg-config libgdal-dev clang libclang-dev", "libgdal32"),
    "geos-sys": Need("libgeos-dev", "libgeos-c1v5"),
    "proj-sys": Need("pkg-config libproj-dev cmake clang libclang-dev", "libproj25"),
    "librocksdb-sys": Need("clang libclang-dev g++ make"),
    "v8": Need("curl python3 pkg-config libglib2.0-dev"),
    "vergen-git2": Need(),
    "git-version": Need("git"),
    "git-version-macro": Need("git"),
    # a client that trusts the system's CA certificates
    "openssl-probe": Need("", "ca-certificates"),
    "rustls-native-certs": Need("", "ca-certificates"),
    "rustls-platform-verifier": Need("", "ca-certificates"),
    "native-tls": Need("", "ca-certificates"),
}


@dataclass(frozen=True)
class Packages:
    """Debian packages for both stages, sorted, and the crate or cargo configuration file that needs each.

    `optional`: packages in `build` for crates that can fall back to a bundled copy.
    """

    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    why: tuple[tuple[str, str], ...] = ()
    optional: frozenset[str] = frozenset()


def needs(locked: Sequence[Locked], linkers: Mapping[str, str] | None = None) -> Packages:
    """Look up the packages needed by the crates in a lock file. `linkers`: more packages, and the source of each."""
    names = {package.name for package in locked}
    build: dict[str, str] = dict(linkers or {})
    run: dict[str, str] = {}
    required = set(build)
    optional: set[str] = set()
    for package in locked:
        need = TABLE.get(package.name)
        if need is None or _brings_its_own(need, package, names):
            continue
        (optional if need.optional else required).update(need.build.split())
        build |= {word: package.name for word in need.build.split() if word not in build}
        run |= {word: package.name for word in need.run.split() if word not in run}
    why = {**build, **run}
    return Packages(
        tuple(sorted(build)), tuple(sorted(run)), tuple(sorted(why.items())), frozenset(optional - required)
    )


def reached(locked: Sequence[Locked], roots: Collection[str]) -> tuple[Locked, ...]:
    """Return the locked packages that the packages `roots` depend on; all if a root is not locked.

    Includes the dependencies of tests, and every version of a name.
    """
    by_name: dict[str, list[Locked]] = {}
    for package in locked:
        by_name.setdefault(package.name, []).append(package)
    if not roots or any(name not in by_name for name in roots):
        return tuple(locked)
    found: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [other for package in by_name.get(name, ()) for other in package.dependencies]
    return tuple(package for package in locked if package.name in found)


def _brings_its_own(need: Need, package: Locked, names: Collection[str]) -> bool:
    if need.bundled and need.bundled in package.dependencies:
        return True
    return any(name in names for name in need.unless.split())
