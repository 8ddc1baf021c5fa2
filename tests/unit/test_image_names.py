"""Base images: references, which recipe can replace which image, and the decision."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.images import bases as flow
from buildkit_tasks.images import names as image_names
from buildkit_tasks.images import offline as image_offline
from buildkit_tasks.images import package_log


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rust", image_names.Reference("docker.io", "library/rust", "latest")),
        ("rust:1-bookworm", image_names.Reference("docker.io", "library/rust", "1-bookworm")),
        ("docker.io/library/rust:1", image_names.Reference("docker.io", "library/rust", "1")),
        ("bitnami/redis:7", image_names.Reference("docker.io", "bitnami/redis", "7")),
        ("ghcr.io/o/i:2", image_names.Reference("ghcr.io", "o/i", "2")),
        ("localhost:5000/x", image_names.Reference("localhost:5000", "x", "latest")),
        ("rust@sha256:aa", image_names.Reference("docker.io", "library/rust", "", "sha256:aa")),
        ("rust:1@sha256:aa", image_names.Reference("docker.io", "library/rust", "1", "sha256:aa")),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, wanted: image_names.Reference) -> None:
    assert image_names.parse(text) == wanted


@pytest.mark.parametrize(
    ("reference", "stage"),
    [
        ("rust", "rust"),
        ("rust:1", "rust"),
        ("rust:1.85-slim-bookworm", "rust"),
        ("rust:bookworm", "rust"),
        ("rust:1-trixie", None),
        ("rust:1-alpine", None),
        ("rust:nightly", None),
        ("rust:1@sha256:aa", None),
        ("debian:bookworm-slim", "debian"),
        ("debian:12", "debian"),
        ("debian:12.9-slim", "debian"),
        ("debian:latest", None),
        ("debian:trixie-slim", None),
        ("postgres:15", "postgres"),
        ("postgres:15.4-bookworm", "postgres"),
        ("postgres:16", None),
        ("postgres:latest", None),
        ("postgres:15-alpine", None),
        ("rabbitmq:3.13-management", "rabbitmq-management"),
        ("rabbitmq:3-management", "rabbitmq-management"),
        ("rabbitmq:3", "rabbitmq"),
        ("rabbitmq:4", None),
        ("rabbitmq:management", None),
        ("rabbitmq", None),
        ("postgres:bookworm", None),
        ("debian:bookworm", "debian"),
        ("rust:slim", "rust"),
        ("rabbitmq:3.13-management-alpine", None),
        ("ghcr.io/library/rust:1", None),
        ("public.ecr.aws/docker/library/rust:1", "rust"),
        ("public.ecr.aws/other/rust:1", None),
        ("mirror.gcr.io/library/debian:bookworm-slim", "debian"),
        ("debian:bookworm-20260713-slim", "debian"),
        ("debian:trixie-20260713-slim", None),
        ("rust:1.80-bookworm@sha256:aa", None),
        ("nginx:1", None),
        ("moby/buildkit", "buildkit"),
        ("moby/buildkit:buildx-stable-1", "buildkit"),
        ("docker.io/moby/buildkit:v0.17.2", "buildkit"),
        ("moby/buildkit:buildx-stable-1-rootless", None),
        ("moby/buildkit:v0.26.3-rootless", None),
        ("moby/buildkit:master", None),
        ("moby/buildkit:v1.0.0", None),
        ("buildkit", None),
    ],
)
def test_a_recipe_stands_in_only_where_it_honestly_can(reference: str, stage: str | None) -> None:
    found = image_names.recipe_for(reference)
    assert (found.stage if found else None) == stage


def test_every_recipe_stands_in_for_its_own_public_name() -> None:
    for recipe in image_names.RECIPES:
        assert image_names.recipe_for(f"{recipe.path.removeprefix('library/')}:{recipe.tag}") == recipe
        assert image_names.named(recipe.stage) == recipe
        assert image_names.named(recipe.image) == recipe


def test_only_docker_hub_is_mirrored() -> None:
    assert image_names.mirrored("rust:1", "mirror.example/hub/") == "mirror.example/hub/library/rust:1"
    assert image_names.mirrored("bitnami/redis:7@sha256:aa", "m.example") == "m.example/bitnami/redis:7@sha256:aa"
    assert image_names.mirrored("ghcr.io/o/i:2", "m.example") == "ghcr.io/o/i:2"
    assert image_names.mirrored("rust:1", "") == "rust:1"


def test_a_local_image_is_used_before_anybody_is_asked() -> None:
    found = image_names.without_asking("rust:1", {"rust:1"}, "auto", "mirror.example")
    assert found == image_names.Decision("rust:1", "rust:1", "local")
    assert not found.replaced


@pytest.mark.parametrize(
    ("mode", "base", "wanted"),
    [
        ("auto", "", None),
        ("always", "", image_names.Decision("rust:1", "localhost/buildkit-tasks/rust:1-bookworm", "offline")),
        ("never", "", image_names.Decision("rust:1", "rust:1", "registry")),
        ("never", "m.example", image_names.Decision("rust:1", "m.example/library/rust:1", "mirror")),
    ],
)
def test_the_setting_decides_before_the_registry(mode: str, base: str, wanted: image_names.Decision | None) -> None:
    assert image_names.without_asking("rust:1", (), mode, base) == wanted


def test_other_registries_are_not_ours_to_question() -> None:
    found = image_names.without_asking("ghcr.io/o/i:2", (), "auto", "m.example")
    assert found == image_names.Decision("ghcr.io/o/i:2", "ghcr.io/o/i:2", "registry")


def test_mirror_then_registry_then_offline_then_none() -> None:
    assert image_names.decide("rust:1", "m.example", answers=True).source == "mirror"
    assert image_names.decide("rust:1", "", answers=True) == image_names.Decision("rust:1", "rust:1", "registry")
    assert image_names.decide("rust:1", "m.example", answers=False).use == "localhost/buildkit-tasks/rust:1-bookworm"
    assert image_names.decide("nginx:1", "", answers=False).source == "none"


def test_the_override_names_contexts_for_builds_and_images_for_the_rest() -> None:
    use = {"rust:1": "localhost/a", "postgres:15": "localhost/b"}
    made = image_names.override({"api": ("rust:1", "debian:12"), "web": ()}, {"db": "postgres:15", "c": "redis:7"}, use)
    assert made == {
        "services": {
            "api": {"build": {"additional_contexts": {"rust:1": "docker-image://localhost/a"}}},
            "db": {"image": "localhost/b"},
        }
    }
    assert image_names.override({"api": ("rust:1",)}, {}, {}) == {}


def test_buildkit_is_made_only_where_it_is_named() -> None:
    assert "buildkit" not in [r.stage for r in flow.recipes(())]
    assert [r.image for r in flow.recipes(["buildkit"])] == ["localhost/buildkit-tasks/buildkit:buildx-stable-1"]


def test_a_folder_of_one_recipe_does_not_make_the_others_look_old(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {r.stage: image_offline.recipe_hash(r) for r in image_names.RECIPES}
    data = image_offline._data()
    assert "buildkit/go.sum" in data
    monkeypatch.setattr(image_offline, "_data", lambda: {**data, "buildkit/go.mod": b"newer"})
    changed = [r.stage for r in image_names.RECIPES if image_offline.recipe_hash(r) != before[r.stage]]
    assert changed == ["buildkit"]


@pytest.mark.parametrize(
    ("log", "word"),
    [
        (['go: example.com/a@v1: Get "https://proxy/a": connection refused'], "GOPROXY"),
        (["E: Unable to fetch some archives", "go: not found"], "apt-get update"),
        ([], "apt-get update"),
    ],
)
def test_what_mends_a_broken_build_depends_on_who_could_not_fetch(log: list[str], word: str) -> None:
    assert word in package_log.remedy(log)


@pytest.mark.parametrize(
    ("record", "lost", "wanted"),
    [
        ('{"images": "keep"}', ["ubuntu:24.04"], True),
        ('{"images": "keep"}', ["node:22", "gcr.io/distroless/cc-debian12:nonroot"], True),
        ('{"images": "keep"}', ["node:22", "vaultwarden/web-vault@sha256:aa"], False),
        ('{"images": "bookworm"}', ["alpine:3"], False),
        ("[]", ["alpine:3"], False),
        ("{", ["alpine:3"], False),
        (None, ["alpine:3"], False),
    ],
)
def test_a_conversion_is_suggested_only_where_it_helps(
    tmp_path: Path, record: str | None, lost: list[str], wanted: bool
) -> None:
    if record is not None:
        (tmp_path / "record.json").write_text(record, "utf-8")
    assert flow._converts(tmp_path / "record.json", lost) is wanted
