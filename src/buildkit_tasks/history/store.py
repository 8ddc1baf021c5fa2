"""The SQLite file of the history: builds, the directory listings they refer to, and the state of files when read.

Builds never depend on it: callers treat every `sqlite3.Error` and `OSError` as "no history".
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from buildkit_tasks.core import shapes
from buildkit_tasks.core.model import Past

from .model import Build, Sizes, dump, load
from .trees import Known, Listing, Tree, missing

NAME = "history.db"
#: Builds kept per checkout, and the size in bytes above which fewer are kept.
KEPT, LARGEST = 200, 64_000_000
#: Seconds to wait for another process that is writing.
PATIENCE = 1.0
#: Maximum unpacked size of a blob. We never write larger blobs.
_LARGEST_BLOB = 50_000_000

_SCHEMA = """
create table if not exists meta (name text primary key, value blob not null) without rowid;
create table if not exists builds (id integer primary key autoincrement, began real not null, data blob not null);
create table if not exists blobs (digest text primary key, data blob not null) without rowid;
create table if not exists files (tree text, path blob, device integer, inode integer, ctime integer, size integer,
  digest text not null, primary key (tree, path)) without rowid;
"""
_FORMAT = 1
#: How long builds took, by kind. Created on the first write: older files do not contain it.
_PAST = """
create table if not exists past (id integer primary key, kind text not null, seconds real not null,
  crates text not null, empty integer not null)
"""
#: Sizes of the caches over time. Also created on the first write.
_SIZES = """
create table if not exists sizes (id integer primary key autoincrement, taken real not null, engine text not null,
  builder text not null, total integer not null, parts text not null)
"""
#: Number of cache listings to keep. Of all listings in the same period (in seconds), only the last is kept.
SIZES_KEPT, PERIOD = 1000, 60.0
#: Number of past builds used for an estimate, and maximum number of crate names kept for each.
COMPARED, CRATES = 20, 2000


class Store:
    """An open history. `key`: the key of digests, which prevents guessing values from other machines' digests."""

    def __init__(
        self, path: Path, *, write: bool = True, create: bool | None = None, patience: float = PATIENCE
    ) -> None:
        """Open the file; with `create` (default: `write`), create or replace it if necessary.

        `patience`: seconds to wait for another process. Raises `sqlite3.Error`, `OSError`.
        """
        create = write if create is None else create
        if create and not path.exists():
            path.touch(mode=0o600)
        self._db = sqlite3.connect(f"{path.as_uri()}?mode={'rw' if write else 'ro'}", uri=True, timeout=patience)
        self._db.isolation_level = None
        self._listings: dict[str, Listing | None] = {}
        try:
            self._db.execute("pragma synchronous = off")  # a crash can only lose history
            (format_,) = self._db.execute("pragma user_version").fetchone()
            if create and format_ != _FORMAT:
                self._create()
            elif format_ != _FORMAT:
                raise sqlite3.DatabaseError("written by a different version")
            (self.key,) = self._db.execute("select value from meta where name = 'key'").fetchone()
        except BaseException:
            self._db.close()
            raise

    def _create(self) -> None:
        with self._transaction():
            (format_,) = self._db.execute("pragma user_version").fetchone()
            if format_ == _FORMAT:
                return  # another process was faster
            for (table,) in self._db.execute("select name from sqlite_master where type = 'table'").fetchall():
                if table in ("meta", "builds", "blobs", "files", "past", "sizes"):
                    self._db.execute(f"drop table {table}")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)
            self._db.execute("insert into meta values ('key', ?)", (secrets.token_bytes(32),))
            self._db.execute(f"pragma user_version = {_FORMAT}")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    # ---- reading

    def builds(self, newest: int = KEPT) -> list[Build]:
        """Return the newest builds, newest first. Unreadable builds are skipped."""
        rows = self._db.execute("select id, data from builds order by id desc limit ?", (newest,))
        found = (load(text, number) for number, data in rows if (text := _unpack(data)) is not None)
        return [build for build in found if build is not None]

    def build(self, number: int) -> Build | None:
        """Return one build by its number."""
        row = self._db.execute("select data from builds where id = ?", (number,)).fetchone()
        text = _unpack(row[0]) if row else None
        return load(text, number) if text is not None else None

    def listing(self, digest: str) -> Listing | None:
        """Return the listing of a directory, or None if it is missing."""
        if digest not in self._listings:
            text = self.text(digest)
            try:
                value = shapes.loads(text, dict) if text is not None else None
            except ValueError:
                value = None
            self._listings[digest] = value
        return self._listings[digest]

    def text(self, digest: str) -> str | None:
        """Return a small file that was kept, by the digest of its content."""
        row = self._db.execute("select data from blobs where digest = ?", (digest,)).fetchone()
        return _unpack(row[0]) if row else None

    def has(self, digest: str) -> bool:
        """Return whether a listing or a file is kept."""
        return self._db.execute("select 1 from blobs where digest = ?", (digest,)).fetchone() is not None

    def files(self, tree: str) -> dict[str, Known]:
        """Return the state of a tree's files when they were last read."""
        rows = self._db.execute("select path, device, inode, ctime, size, digest from files where tree = ?", (tree,))
        return {os.fsdecode(path): Known(*facts) for path, *facts in rows}

    def past(self, case: str) -> tuple[Past, ...]:
        """Return the newest successful builds of a kind, newest first. One query, because the build waits for it."""
        try:
            rows = self._db.execute(
                "select seconds, crates, empty from past where kind = ? order by id desc limit ?", (case, COMPARED)
            )
            return tuple(Past(float(s), tuple(filter(None, crates.split(" "))), bool(e)) for s, crates, e in rows)
        except (sqlite3.OperationalError, TypeError, ValueError, AttributeError):
            return ()  # written before kinds existed

    def sizes(self) -> tuple[Sizes, ...]:
        """Return the sizes of the caches, oldest first."""
        try:
            rows = self._db.execute("select taken, engine, builder, parts, total from sizes order by id")
            return tuple(
                Sizes(
                    float(taken),
                    engine,
                    builder,
                    {str(k): int(v) for k, v in shapes.loads(parts, dict).items()},
                    int(total),
                )
                for taken, engine, builder, parts, total in rows
            )
        except (sqlite3.OperationalError, TypeError, ValueError, AttributeError):
            return ()  # written before sizes were kept

    # ---- writing

    def add(self, build: Build, trees: Mapping[str, Tree], texts: Mapping[str, str], case: str = "") -> int:
        """Add a build and everything it refers to, and drop the oldest. Returns its number. Raises `sqlite3.Error`.

        With a `case`, `past` finds the build if it was successful.
        """
        with self._transaction():
            self._db.execute(_PAST)  # missing in files created by earlier versions
            for name, tree in trees.items():
                for digest in missing(tree, self.has):
                    self._put(digest, json.dumps(tree.listings[digest], separators=(",", ":")))
                gone = ((name, os.fsencode(path)) for path in tree.gone)
                self._db.executemany("delete from files where tree = ? and path = ?", gone)
                rows = (
                    (name, os.fsencode(path), known.device, known.inode, known.ctime, known.size, known.digest)
                    for path, known in tree.fresh.items()
                )
                self._db.executemany("insert or replace into files values (?, ?, ?, ?, ?, ?, ?)", rows)
            for digest, text in texts.items():
                self._put(digest, text)
            cursor = self._db.execute(
                "insert into builds (began, data) values (?, ?)", (build.began, _pack(dump(build)))
            )
            number = int(cursor.lastrowid or 0)
            if case and build.outcome == "built":
                self._add_past(number, case, build)
            self._shrink()
        return number

    def add_sizes(self, sizes: Sizes) -> None:
        """Add the sizes of the caches. For each builder, only the last sizes of each minute are kept."""
        place = (sizes.engine, sizes.builder)
        with self._transaction():
            self._db.execute(_SIZES)
            last = "select id, taken from sizes where engine = ? and builder = ? order by id desc limit 1"
            for number, taken in self._db.execute(last, place).fetchall():
                if taken // PERIOD == sizes.taken // PERIOD:
                    self._db.execute("delete from sizes where id = ?", (number,))
            row = (sizes.taken, *place, sizes.total, json.dumps(dict(sizes.parts)))
            self._db.execute("insert into sizes (taken, engine, builder, total, parts) values (?, ?, ?, ?, ?)", row)
            self._db.execute(
                "delete from sizes where id not in (select id from sizes order by id desc limit ?)", (SIZES_KEPT,)
            )

    def _add_past(self, number: int, case: str, build: Build) -> None:
        empty = build.cargo.total is not None
        names = dict.fromkeys(crate.name for crate in build.cargo.crates if not empty)
        row = (number, case, build.seconds, " ".join(list(names)[:CRATES]), empty)
        self._db.execute("insert or replace into past values (?, ?, ?, ?, ?)", row)

    def _put(self, digest: str, text: str) -> None:
        self._db.execute("insert or ignore into blobs values (?, ?)", (digest, _pack(text)))

    def _shrink(self) -> None:
        """Drop the oldest builds beyond the limits, and everything that only they refer to."""
        (count,) = self._db.execute("select count(*) from builds").fetchone()
        over = count > KEPT + KEPT // 10  # not after every build
        while self._size() > LARGEST and count > 1:
            over, count = True, max(1, count // 2)
            self._drop(count)
        if over:
            self._drop(min(count, KEPT))

    def _size(self) -> int:
        one = (
            self._db.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        pages, free, size = one
        return int((pages - free) * size)

    def _drop(self, keep: int) -> None:
        self._db.execute("delete from builds where id not in (select id from builds order by id desc limit ?)", (keep,))
        self._db.execute("delete from past where id not in (select id from builds)")
        kept = [tree for build in self.builds() for tree in build.inputs.trees.values()]
        roots, names = {digest for tree in kept for digest in (tree.root, tree.ignore)}, {tree.name for tree in kept}
        used = set(self._below(roots))
        lost = [(digest,) for (digest,) in self._db.execute("select digest from blobs") if digest not in used]
        self._db.executemany("delete from blobs where digest = ?", lost)
        stale = [(tree,) for (tree,) in self._db.execute("select distinct tree from files") if tree not in names]
        self._db.executemany("delete from files where tree = ?", stale)

    def _below(self, roots: Iterable[str]) -> Iterator[str]:
        """Yield the digests of listings, and of the small files in them."""
        todo, seen = list(roots), set()
        while todo:
            digest = todo.pop()
            if digest in seen:
                continue
            seen.add(digest)
            yield digest
            for entry in (self.listing(digest) or {}).values():
                if entry[0] == "d":
                    todo.append(entry[2])
                elif entry[0] == "f":
                    yield entry[3]


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "surrogateescape"), 1)


def _unpack(data: bytes) -> str | None:
    """Return the text of a blob, or None if it is corrupt."""
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(data, _LARGEST_BLOB)
        return text.decode("utf-8", "surrogateescape") if unpacking.eof else None
    except (zlib.error, TypeError):
        return None
