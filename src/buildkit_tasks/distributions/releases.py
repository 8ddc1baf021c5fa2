"""Packages of other Debian and Ubuntu releases and their names in Debian 12, checked against Debian's index."""

from __future__ import annotations

import re

_RENAMED = """
docker-cli = docker.io
libavcodec* = libavcodec59
libavdevice* = libavdevice59
libavfilter* = libavfilter8
libavformat* = libavformat59
libavutil* = libavutil57
libffi* = libffi8
libgit2-1.* = libgit2-1.5
libicu* = libicu72
libjpeg8 = libjpeg62-turbo
libjpeg-turbo8 = libjpeg62-turbo
libmysqlclient-dev = default-libmysqlclient-dev
libmysqlclient* = libmariadb3
libprotobuf* = libprotobuf32
libprotobuf-lite* = libprotobuf-lite32
libpython3.* = libpython3.11
libpython3.*-dev = libpython3.11-dev
libssl1.* = libssl3
libswresample* = libswresample4
libswscale* = libswscale6
libtiff5 = libtiff6
libwebp6 = libwebp7
libzip* = libzip4
mysql-client = default-mysql-client
netcat = netcat-openbsd
openjdk-*-jdk = openjdk-17-jdk
openjdk-*-jdk-headless = openjdk-17-jdk-headless
openjdk-*-jre = openjdk-17-jre
openjdk-*-jre-headless = openjdk-17-jre-headless
python3.* = python3.11
python3.*-dev = python3.11-dev
python3.*-venv = python3.11-venv
ttf-dejavu = fonts-dejavu
"""

#: `*` matches a version number.
_TABLE = tuple(
    (re.compile(re.escape(name).replace(r"\*", r"\d[\d.]*")), other)
    for name, _, other in (line.partition(" = ") for line in _RENAMED.strip().splitlines())
)


def debian_12(name: str) -> str:
    """Return the Debian 12 name of a package from another release; the same name if unknown."""
    name = re.sub(r"^(lib[a-z0-9.+-]+?)t64$", r"\1", name)
    return next((other for pattern, other in _TABLE if pattern.fullmatch(name)), name)
