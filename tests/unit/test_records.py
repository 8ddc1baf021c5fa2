"""Cache records: parsed from buildx's text, claimed only if provably ours."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from buildkit_tasks.caches import selection as cache_selection
from buildkit_tasks.caches import view as cache_view
from buildkit_tasks.core import shapes, units
from buildkit_tasks.core.model import Command, Result
from buildkit_tasks.engine import cache_records

TEXT = """\
ID:\t\tmount1
Created at:\t2026-11-22 22:44:16.511433132 +0000 UTC
Mutable:\ttrue
Reclaimable:\ttrue
Shared:\t\tfalse
Size:\t\t1.879GB
Description:\tcached mount /target from exec /bin/sh -c a &&
\tb with id "shop-target-amd64"
Usage count:\t2
Last used:\t20 days ago
Type:\t\texec.cachemount

ID:\t\tmount2
Reclaimable:\ttrue
Shared:\t\tfalse
Size:\t\t54.38kB
Description:\tcached mount /target from exec /bin/sh -c a with id "shop-admin-target-amd64"
Last used:\tAbout an hour ago

ID:\t\tlayer1
Reclaimable:\ttrue
Shared:\t\tfalse
Size:\t\t0B
Description:\t[compile 2/4] WORKDIR /out/shop
Last used:\t6 minutes ago

ID:\t\tlayer2
Parent:\t\tlayer1
Reclaimable:\ttrue
Shared:\t\tfalse
Size:\t\t30.03MB
Description:\tmount / from exec /bin/sh -c make
Last used:\t3 weeks ago

ID:\t\tbase
Reclaimable:\ttrue
Shared:\t\ttrue
Size:\t\t54.38MB
Last used:\t2 months ago

Shared:\t\t1GB
Total:\t\t2GB
"""


def test_records_are_read_with_size_age_and_mount() -> None:
    records = {r.id: r for r in cache_records.parse(TEXT)}
    assert list(records) == ["mount1", "mount2", "layer1", "layer2", "base"]
    assert (records["mount1"].mount_id, records["mount1"].mount_target) == ("shop-target-amd64", "/target")
    assert records["mount1"].size == 1_879_000_000
    assert records["mount1"].idle == 20 * 86400
    assert records["mount2"].idle == 3600


def test_only_what_is_provably_ours_is_claimed() -> None:
    ours = cache_selection.belonging(cache_records.parse(TEXT), "shop")
    assert [r.id for r in ours] == ["mount1", "layer1", "layer2"]


def test_pruning_by_age_then_by_size_with_mounts_last() -> None:
    ours = cache_selection.belonging(cache_records.parse(TEXT), "shop")
    assert [r.id for r in cache_selection.prunable(ours, older=14 * 86400, keep=0)] == ["mount1", "layer2"]
    assert [r.id for r in cache_selection.prunable(ours, older=1e9, keep=1_890_000_000)] == ["layer2"]


def test_units() -> None:
    assert units.duration("14d") == 14 * 86400
    assert units.human(1_879_000_000) == "1.9 GB"


def mount(identity: str, number: int = 0, idle: str = "2 days", size: str = "10MB", **more: str) -> str:
    """Return a cache mount in the text form of `du`."""
    free = more.get("reclaimable", "true")
    return (
        f"ID:\t\tm{identity.strip('/').replace('/', '-')}{number}\n"
        f"Reclaimable:\t{free}\nShared:\t\tfalse\nSize:\t\t{size}\n"
        f'Description:\tcached mount {more.get("target", "/x")} from exec /bin/sh -c a with id "{identity}"\n'
        f"Usage count:\t3\nLast used:\t{idle} ago\nType:\t\texec.cachemount\n\n"
    )


LISTED = (
    mount("/shop-target-amd64", size="300MB")
    + mount("/shop-target-arm64", idle="30 days", size="200MB")
    + mount("/shop-cargo-registry", target="/usr/local/cargo/registry")
    + mount("/shop-cargo-git")
    + mount("/shop-admin-target-amd64")
    + mount("branch/shop-target-amd64", size="50MB")
    + mount("//var/cache/apt", target="/var/cache/apt")
    + mount("/npm-store", target="/root/.npm")
)


def chosen(*wanted: str, text: str = LISTED, **more: object) -> list[str]:
    """Return the names of the selected mounts."""
    selection = cache_selection.Selection(wanted=wanted, project="shop", **more)  # type: ignore[arg-type]
    return sorted(
        m.name for m in cache_records.mounts(cache_selection.choose(cache_records.parse(text), selection).records)
    )


def test_buildkit_joins_namespace_and_id_with_a_slash() -> None:
    found = {m.name: m for m in cache_records.mounts(cache_records.parse(LISTED))}
    assert found["branch/shop-target-amd64"].namespace == "branch"
    assert found["shop-target-amd64"].namespace == ""
    assert found["/var/cache/apt"].id == "/var/cache/apt"


def test_json_lines_tell_the_same_as_text() -> None:
    line = (
        '{"CreatedAt":"2026-11-22 23:20:08 +0000 UTC","Description":"cached mount /t from exec /bin/sh -c a \\u003e b '
        'with id \\"/shop-target-amd64\\"","ID":"x1","LastUsedAt":"2 days ago","Mutable":true,"Parents":null,'
        '"Reclaimable":true,"Shared":false,"Size":"300MB","Type":"exec.cachemount","UsageCount":3}\n'
    )
    (record,) = cache_records.parse(line + line.replace("x1", "x2").replace('"Parents":null', '"Parents":["x1"]'))[:1]
    (text,) = cache_records.parse(mount("/shop-target-amd64", size="300MB"))
    for name in ("size", "idle", "usage", "mount_id", "mount_namespace", "mount_target", "reclaimable", "shared"):
        expected = "/t" if name == "mount_target" else getattr(text, name)
        assert getattr(record, name) == expected, name


def test_a_description_of_many_lines_ends_where_the_record_does() -> None:
    text = mount("/shop-target-amd64").replace("-c a with", "-c a\n\nSize: no\n\nmore with")
    (record,) = cache_records.parse(text)
    assert record.mount_id == "shop-target-amd64"
    assert record.size == 10_000_000
    assert record.usage == 3


def test_kinds_and_owners() -> None:
    found = {m.name: (m.kind, m.project, m.platform) for m in cache_records.mounts(cache_records.parse(LISTED))}
    assert found["shop-target-arm64"] == ("target", "shop", "linux/arm64")
    assert found["shop-admin-target-amd64"] == ("target", "shop-admin", "linux/amd64")
    assert found["shop-cargo-registry"] == ("cargo-registry", "shop", "")
    assert found["/var/cache/apt"] == ("apt", "", "")
    assert found["npm-store"] == ("npm", "", "")


def test_a_kind_means_this_project_only_and_an_id_exactly_that_mount() -> None:
    assert chosen("target") == ["branch/shop-target-amd64", "shop-target-amd64", "shop-target-arm64"]
    assert chosen("target", platform="linux/arm64") == ["shop-target-arm64"]
    assert chosen("target", older=14 * 86400) == ["shop-target-arm64"]
    assert chosen("apt") == []
    assert chosen("/var/cache/apt") == ["/var/cache/apt"]
    assert chosen("shop-admin-target-amd64") == ["shop-admin-target-amd64"]
    assert chosen(ids=("shop-cargo-registry", "shop-target-*")) == [
        "branch/shop-target-amd64",
        "shop-cargo-registry",
        "shop-target-amd64",
        "shop-target-arm64",
    ]
    assert "npm-store" in chosen(everything=True)


def test_what_a_build_holds_is_never_chosen() -> None:
    text = LISTED.replace("Reclaimable:\ttrue", "Reclaimable:\tfalse")
    found = cache_selection.choose(cache_records.parse(text), cache_selection.Selection(everything=True))
    assert found.records == ()
    assert len(found.held) == 8


def test_a_word_that_is_no_mount_and_no_kind_is_told() -> None:
    found = cache_selection.choose(
        cache_records.parse(LISTED), cache_selection.Selection(wanted=("shop-target",), project="shop")
    )
    assert found.unknown == ("shop-target",)
    assert found.records == ()


def test_flags() -> None:
    text = LISTED + mount("/shop-target-amd64", 1) + mount("/shop-old-cache-target-x", idle="3 weeks", size="0B")
    found = {m.name: cache_selection.flags(m, "shop", lambda i: "arm64" not in i, 14 * 86400) for m in _mounts(text)}
    assert found["shop-target-amd64"] == ("duplicate",)
    assert found["shop-target-arm64"] == ("orphan", "not used for 30 d")
    assert found["shop-admin-target-amd64"] == ("other project",)
    assert found["branch/shop-target-amd64"] == ("namespace branch",)
    assert "size unknown" in found["shop-old-cache-target-x"]


def _mounts(text: str) -> tuple[cache_records.Mount, ...]:
    return cache_records.mounts(cache_records.parse(text))


def view_seconds(count: int) -> float:
    """Return the CPU seconds to read and judge a listing of `count` records in long chains; best of three tries."""
    layers = "".join(
        f"ID:\t\tl{n}\nParent:\t\tl{n - 1}\nReclaimable:\ttrue\nShared:\t\tfalse\nSize:\t\t1MB\n"
        f"Description:\t[compile {n}] RUN x /out/shop/y\nLast used:\t{n % 60} minutes ago\n\n"
        for n in range(count - count // 10)
    )
    text = layers + "".join(mount(f"/p{n}-target-amd64") for n in range(count // 10))
    spent = []
    for _ in range(3):
        began = time.process_time()
        records = cache_records.parse(text)
        cache = cache_view.Cache(records, "shop", ("shop-*",), datetime.now(timezone.utc))
        assert len(cache_view.document(cache)["mounts"]) == count // 10
        cache_view.rows(cache, bars=True)
        spent.append(time.process_time() - began)
    return min(spent)


def test_a_view_of_a_thousand_records_is_quick_and_grows_linearly() -> None:
    thousand, eight = view_seconds(1000), view_seconds(8000)
    assert thousand < 0.5
    assert eight < 8 * thousand * 2


def _text(identity: str, description: str, **more: str) -> str:
    values = {"ID": identity, "Reclaimable": "true", "Size": "1GB", "Description": description, **more}
    return (
        "".join(f"{key}:\t{value}\n" for key, value in values.items()) + "Usage count:\t1\nLast used:\t2 days ago\n\n"
    )


@pytest.mark.parametrize("first", [True, False])
def test_a_description_cannot_give_a_record_to_another_project(first: bool) -> None:
    """The text of another project's here-document looks like a record with the id of a third project's mount."""
    mount = 'cached mount /t from exec /bin/sh -c make with id "/{}-target-amd64"'
    theirs = _text("theirs", mount.format("theirs"))
    here = f"mount / from exec /bin/sh -c <<EOF\n\n{_text('theirs', mount.format('shop'))}EOF"
    parts = (theirs, _text("attacker", here)) if first else (_text("attacker", here), theirs)
    found = cache_records.parse("".join(parts))
    assert sorted(record.id for record in found) == ["attacker", "theirs"]
    assert cache_selection.belonging(found, "shop") == ()
    assert cache_records.mounts(found) == ()


@pytest.mark.parametrize("value", ["1.2.3MB", "9" * 5000 + "B", "\u00b2B", ".B", "x", "9" * 5000 + " days ago"])
def test_a_description_cannot_make_the_listing_of_the_engine_fail(value: str) -> None:
    lie = f"ID:\tx\nSize:\t{value}\nUsage count:\t{value}\nLast used:\t{value}"
    found = cache_records.parse(_text("other", f"mount / from exec /bin/sh -c <<EOF\n\n{lie}\n\n") + _text("real", "x"))
    assert "real" in {record.id for record in found}


@pytest.mark.parametrize("key", ["Parents:", "Usage count:\t3", "Last used:\tx", "Type:\tx"])
def test_lines_of_a_description_are_no_keys(key: str) -> None:
    mount = 'cached mount /build/target from exec /bin/sh -c x with id "/shop-target-amd64"'
    lies = f"mount / from exec /bin/sh -c <<EOF\n{key}\nDescription:\t{mount}\nSize:\t3\nReclaimable:\tfalse"
    (found,) = cache_records.parse(_text("attacker", lies))
    assert (found.mount_id, found.size, found.reclaimable) == ("", 10**9, True)


def test_a_next_line_character_in_a_text_separates_no_documents() -> None:
    text = '{"ID": "a", "Description": "mount / from exec printf a\u0085b"}\n{"ID": "b"}\n'
    assert [record.id for record in cache_records.parse(text)] == ["a", "b"]
    done = Result(Command(("docker",), Path("/")), 0, '["a\u0085b"]\n["c"]\n', "", 0)
    assert shapes.rows(done, 1) == [["a\u0085b"], ["c"]]
