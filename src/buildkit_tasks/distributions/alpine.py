"""Alpine packages and their names in Debian 12. Every Debian name was checked against Debian's package index."""

from __future__ import annotations

#: Alpine and Debian names, one pair per line. Multiple packages are separated by spaces.
_RENAMED = """
alsa-lib = libasound2
alsa-lib-dev = libasound2-dev
bind-tools = dnsutils
brotli-dev = libbrotli-dev
bzip2-dev = libbz2-dev
ca-certificates-bundle = ca-certificates
capnproto-dev = libcapnp-dev
clang-dev = clang libclang-dev
curl-dev = libcurl4-openssl-dev
cyrus-sasl-dev = libsasl2-dev
dbus-dev = libdbus-1-dev
docker-cli = docker.io
docker-cli-compose = docker-compose
elfutils-dev = libelf-dev
eudev-dev = libudev-dev
ffmpeg-dev = libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libavdevice-dev libswscale-dev
file-dev = libmagic-dev
flatbuffers = flatbuffers-compiler
font-dejavu = fonts-dejavu
font-noto = fonts-noto-core
fontconfig-dev = libfontconfig1-dev
freetype = libfreetype6
freetype-dev = libfreetype6-dev
gdal = gdal-bin
geos = libgeos-c1v5
geos-dev = libgeos-dev
gmp-dev = libgmp-dev
icu-dev = libicu-dev
imagemagick-dev = libmagickwand-dev
iputils = iputils-ping
jemalloc = libjemalloc2
jemalloc-dev = libjemalloc-dev
krb5-dev = libkrb5-dev
leptonica-dev = libleptonica-dev
leveldb-dev = libleveldb-dev
libcap = libcap2
libcap-utils = libcap2-bin
libcurl = libcurl4
libelf = libelf1
libffi = libffi8
libheif = libheif1
libjpeg-turbo = libjpeg62-turbo
libjpeg-turbo-dev = libjpeg62-turbo-dev
libmagic = libmagic1
libpcap = libpcap0.8
libpng = libpng16-16
libpq = libpq5
librdkafka = librdkafka1
libressl-dev = libssl-dev
libsecret = libsecret-1-0
libsecret-dev = libsecret-1-dev
libsodium = libsodium23
libssh2-dev = libssh2-1-dev
libssl1.1 = libssl3
libstdc++ = libstdc++6
libudev-zero-dev = libudev-dev
libunwind = libunwind8
libusb-dev = libusb-1.0-0-dev
libuv = libuv1
libuv-dev = libuv1-dev
libwebp = libwebp7
libxcb-dev = libxcb1-dev
libxkbcommon = libxkbcommon0
libxslt-dev = libxslt1-dev
luajit-dev = libluajit-5.1-dev
lz4-dev = liblz4-dev
lz4-libs = liblz4-1
mariadb-connector-c = libmariadb3
mariadb-connector-c-dev = libmariadb-dev
mariadb-dev = libmariadb-dev
mimalloc = libmimalloc2.0
mimalloc-dev = libmimalloc-dev
mimalloc2 = libmimalloc2.0
mysql-client = default-mysql-client
ncurses-dev = libncurses-dev
ncurses-libs = libncurses6
ninja = ninja-build
openblas-dev = libopenblas-dev
openssh = openssh-client openssh-server
openssl-dev = libssl-dev
openssl-libs = libssl3
openssl3 = openssl
opus = libopus0
opus-dev = libopus-dev
pcre2 = libpcre2-8-0
pcre2-dev = libpcre2-dev
pkgconf = pkg-config
pkgconfig = pkg-config
poppler = libpoppler126
postgresql-dev = libpq-dev
postgresql-libs = libpq5
postgresql15-client = postgresql-client
postgresql16-client = postgresql-client
postgresql17-client = postgresql-client
proj = libproj25
proj-dev = libproj-dev
protobuf = protobuf-compiler
protobuf-dev = protobuf-compiler libprotobuf-dev
protoc = protobuf-compiler
py3-pip = python3-pip
samurai = ninja-build
shadow = passwd
snappy = libsnappy1v5
snappy-dev = libsnappy-dev
sqlite = sqlite3
sqlite-dev = libsqlite3-dev
sqlite-libs = libsqlite3-0
su-exec = gosu
tesseract-ocr-data-eng = tesseract-ocr-eng
tiff-dev = libtiff-dev
ttf-dejavu = fonts-dejavu
vips = libvips42
vips-dev = libvips-dev
xz = xz-utils
xz-dev = liblzma-dev
xz-libs = liblzma5
yaml-dev = libyaml-dev
zeromq = libzmq5
zeromq-dev = libzmq3-dev
zlib = zlib1g
zlib-dev = zlib1g-dev
zstd-dev = libzstd-dev
zstd-libs = libzstd1
"""

#: Included in Debian's images or in the toolchain image, or needed only on Alpine.
_NOT_NEEDED = """
binutils bsd-compat-headers build-base bzip2-static cargo clang-static coreutils curl-static g++ gcc gcompat
libc-dev libc-utils libc6-compat libcrypto3 libgcc linux-headers make musl musl-dev musl-utils ncurses-static
openssl-libs-static rust rustup sqlite-static xz-static zlib-static zstd-static
"""

_SAME = """
acl at attr autoconf automake bash bc bison busybox bzip2 ca-certificates capnproto ccache chromium clang cmake cron
curl dbus diffutils dpkg dumb-init e2fsprogs ethtool ffmpeg file findutils fish flex fontconfig fuse3 gawk gdal-bin
gdb gettext ghostscript git gnupg gosu graphviz grep gzip haproxy htop imagemagick iperf3 iproute2 iptables jq less
libffi-dev libgit2-dev libheif-dev libpcap-dev libpng-dev libpq-dev librdkafka-dev libsodium-dev libssl3 libtool
libunwind-dev libwebp-dev libx11-dev libxkbcommon-dev libxml2 libxml2-dev libxml2-utils lld llvm llvm-dev logrotate
lsof lua5.4 m4 mariadb-client memcached meson mold mosquitto mtr nano nasm net-tools netcat-openbsd nftables nginx
nodejs npm openssh-client openssl openvpn pandoc patch perl php poppler-utils postgresql-client procps python3
python3-dev redis rsync ruby screen sed socat sqlite3 strace sudo supervisor swig tar tcpdump tesseract-ocr tini
tmux tzdata unbound unzip util-linux valgrind vim wget whois wireguard-tools yq zip zsh zstd
"""

_TABLE: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in _SAME.split()},
    **dict.fromkeys(_NOT_NEEDED.split(), ()),
    **{
        name: tuple(others.split())
        for name, _, others in (line.partition(" = ") for line in _RENAMED.strip().splitlines())
    },
}


#: Alpine packages to install for Debian names that map to several Alpine packages, or to none.
_CHOSEN = """
build-essential = build-base
clang = clang
libc6-dev = musl-dev
libclang-dev = clang-dev
libmariadb-dev = mariadb-dev
libpq5 = libpq
libprotobuf-dev = protobuf-dev
libssl-dev = openssl-dev
libssl3 = libssl3
libudev-dev = eudev-dev
musl-tools = musl-dev
openssl = openssl
pkg-config = pkgconf
postgresql-client = postgresql-client
protobuf-compiler = protoc
xz-utils = xz
"""
_BACK = {
    **{others[0]: name for name, others in reversed(_TABLE.items()) if len(others) == 1},
    **dict(zip(_SAME.split(), _SAME.split(), strict=True)),
    **{name: name for name in ("g++", "gcc", "make", "binutils", "coreutils")},
    **dict(line.split(" = ") for line in _CHOSEN.strip().splitlines()),
}


def alpine(name: str) -> str | None:
    """Return Alpine's name for a Debian package; None if unknown."""
    return _BACK.get(name)


def debian(name: str) -> tuple[str, ...] | None:
    """Return Debian's packages for an Alpine package; None if unknown."""
    return _TABLE.get(name)
