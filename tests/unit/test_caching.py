"""Cache records: parsed from buildx's text, claimed only where provably ours."""

from __future__ import annotations

from buildkit_tasks import caching

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
    records = {r.id: r for r in caching.parse(TEXT)}
    assert list(records) == ["mount1", "mount2", "layer1", "layer2", "base"]
    assert (records["mount1"].mount_id, records["mount1"].mount_target) == ("shop-target-amd64", "/target")
    assert records["mount1"].size == 1_879_000_000
    assert records["mount1"].idle == 20 * 86400
    assert records["mount2"].idle == 3600


def test_only_what_is_provably_ours_is_claimed() -> None:
    ours = caching.belonging(caching.parse(TEXT), "shop")
    assert [r.id for r in ours] == ["mount1", "layer1", "layer2"]


def test_pruning_by_age_then_by_size_with_mounts_last() -> None:
    ours = caching.belonging(caching.parse(TEXT), "shop")
    assert [r.id for r in caching.prunable(ours, older=14 * 86400, keep=0)] == ["mount1", "layer2"]
    assert [r.id for r in caching.prunable(ours, older=1e9, keep=1_890_000_000)] == ["layer2"]


def test_units() -> None:
    assert caching.duration("14d") == 14 * 86400
    assert caching.human(1_879_000_000) == "1.9 GB"
