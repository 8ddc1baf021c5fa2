"""Reads untrusted tar archives from a stream: forward only, in bounded memory, compressed or not.

Python's tarfile parses the headers, but it reads a header of any size into memory, and keeps every member. `Forward`
limits the former, and `members` the latter.
"""

from __future__ import annotations

import importlib
import io
import sys
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

#: Bytes read at once.
CHUNK = 1 << 20

#: Maximum bytes of headers for one member, including long names and PAX records.
HEADERS = 1 << 20

#: Maximum number of PAX records that apply to the rest of an archive.
GLOBALS = 1000

#: Maximum length of a path in bytes, as in Linux.
LONGEST_PATH = 4096

#: A layer may always unpack to `FREE` bytes; a larger one only to `RATIO` times its compressed size.
FREE, RATIO = 1 << 30, 100


class Refused(ValueError):
    """An archive that cannot be read, or that exceeds the limits."""


class Source(Protocol):
    """Something to read bytes from."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end."""


class Forward(io.RawIOBase):
    """A stream as a forward-only file for tarfile. `headers`: how many bytes of headers may still be read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0
        self.headers = HEADERS
        self.last = b""

    def seek(self, position: int, whence: int = 0, /) -> int:
        """Skip to a later position. Stops at the end of the stream, as in a file."""
        if whence == io.SEEK_CUR:  # tarfile reads the position, through io
            position += self._at
        if position < self._at:
            raise Refused("its headers point backwards")
        while self._at < position and (data := self.take(min(CHUNK, position - self._at))):
            del data
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Read a part of a header."""
        self.headers -= size
        if size < 0 or self.headers < 0:
            raise Refused(f"a header is larger than {HEADERS >> 20} MiB")
        parts = []
        while size and (data := self.take(size)):
            parts.append(data)
            size -= len(data)
        self.last = b"".join(parts)
        return self.last

    def take(self, size: int) -> bytes:
        """Read content: at most `size` bytes; none at the end."""
        data = self._source.read(size)
        self._at += len(data)
        return data


class Part:
    """The content of one member, to read once. `left`: the number of unread bytes."""

    def __init__(self, forward: Forward, size: int) -> None:
        self._forward = forward
        self.left = size

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes. Raises Refused if the archive ends within the member."""
        size = min(size, self.left)
        data = self._forward.take(size) if size else b""
        if size and not data:
            raise Refused("it is truncated")
        self.left -= len(data)
        return data


class Ahead:
    """A stream that exposes its first bytes before they are read."""

    def __init__(self, source: Source, size: int = 512) -> None:
        self._source = source
        self.head = b""
        while len(self.head) < size and (data := source.read(size - len(self.head))):
            self.head += data
        self._waiting = self.head

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end."""
        if self._waiting:
            data, self._waiting = self._waiting[:size], self._waiting[size:]
            return data
        return self._source.read(size)


class _Counted:
    """A stream that counts its bytes."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.count = 0

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self.count += len(data)
        return data


class _Bounded:
    """An uncompressed stream. Refuses implausible compression ratios."""

    def __init__(self, source: Source, packed: _Counted) -> None:
        self._source = _Counted(source)
        self._packed = packed

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        if self._source.count > max(FREE, RATIO * self._packed.count):
            raise Refused(f"it expands to more than {RATIO} times its size")
        return data


class _Unzipped:
    """The content of concatenated gzip streams."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._zip = zlib.decompressobj(31)
        self._waiting = b""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end. Raises Refused for corrupt data."""
        while size > 0:  # to zlib, 0 means no limit
            self._waiting = self._waiting or self._source.read(CHUNK >> 4)
            if self._zip.eof:
                self._waiting = self._waiting.lstrip(b"\0")  # padding
                if self._waiting:
                    self._zip = zlib.decompressobj(31)
                elif not (more := self._source.read(CHUNK >> 4)):
                    return b""
                else:
                    self._waiting = more
                    continue
            ended = not self._waiting
            try:
                data = self._zip.decompress(self._waiting, size)
            except zlib.error as error:
                raise Refused(f"its compressed data is corrupt ({error})") from None
            self._waiting = self._zip.unconsumed_tail or self._zip.unused_data
            if data:
                return data
            if ended and not self._zip.eof:
                raise Refused("its compressed data is truncated")
        return b""


def opened(source: Source) -> Source:
    """Return a layer's tar stream, uncompressed. Raises Refused for a compression that this Python does not support."""
    packed = _Counted(source)
    ahead = Ahead(packed)
    if ahead.head.startswith(b"\x1f\x8b"):
        return _Bounded(_Unzipped(ahead), packed)
    if ahead.head.startswith(b"\x28\xb5\x2f\xfd"):
        return _Bounded(_Unzstd(ahead), packed)
    if ahead.head[257:262] != b"ustar" and ahead.head.strip(b"\0"):
        raise Refused("it is not a tar archive")
    return ahead


class _Unzstd:
    """The content of zstd frames. The library is imported late: few images need it."""

    def __init__(self, source: Source) -> None:
        try:  # in the standard library since 3.14
            module = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        except ImportError:
            raise Refused("it is compressed with zstd, and the package backports.zstd is not installed") from None
        self._errors: tuple[type[Exception], ...] = (module.ZstdError, EOFError)
        self._decompressor = module.ZstdDecompressor
        self._source = source
        self._zstd = self._decompressor()
        self._waiting = b""
        self._between = False

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes; none at the end. Raises Refused for corrupt data."""
        while size > 0:
            if self._zstd.eof:
                self._waiting, self._zstd, self._between = self._zstd.unused_data, self._decompressor(), True
            if self._zstd.needs_input and not self._waiting:
                self._waiting = self._source.read(CHUNK >> 4)
                if not self._waiting and self._between:
                    return b""
                if not self._waiting:
                    raise Refused("its compressed data is truncated")
            given, self._waiting = self._waiting, b""
            self._between = False
            try:
                data: bytes = self._zstd.decompress(given, size)
            except self._errors as error:
                raise Refused(f"its compressed data is corrupt ({error})") from None
            if data:
                return data
        return b""


def members(forward: Forward, most: int) -> Iterator[tuple[tarfile.TarInfo, Part]]:
    """Yield the members of an archive in order, with their content. Raises Refused for more than `most` or bad data.

    The content must be read before the next member, or not at all.
    """
    try:
        archive = tarfile.TarFile(fileobj=forward, mode="r", encoding="utf-8", errors="surrogateescape")
        for _ in range(most):
            forward.headers = HEADERS
            member = archive.next()
            if member is None:
                if forward.last.strip(b"\0"):  # for tarfile, a corrupt header is the end
                    raise Refused("one of its headers is corrupt")
                return
            held: Any = archive
            held.members = []  # tarfile keeps them all
            if len(archive.pax_headers) > GLOBALS:
                raise Refused(f"it contains more than {GLOBALS} global PAX records")
            if len(member.name) > LONGEST_PATH:
                raise Refused(f"it contains a path that is {len(member.name)} characters long")
            if member.issparse():
                raise Refused(f"{member.name} is stored as a sparse file")
            if member.size < 0:
                raise Refused("it contains a file with a negative size")
            forward.seek(member.offset_data)
            yield member, Part(forward, member.size if member.isreg() else 0)
    except tarfile.ReadError as error:
        if str(error) == "empty file":
            return
        raise Refused(f"it is corrupt or truncated ({error})") from None
    except (tarfile.TarError, EOFError, RecursionError, OverflowError) as error:
        raise Refused(f"it is corrupt ({type(error).__name__})") from None
    raise Refused(f"it contains more than {most} files")
