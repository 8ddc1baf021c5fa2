"""Base images: references, which recipe may stand in for what, and the decision."""

from __future__ import annotations

import pytest

from buildkit_tasks import images
from buildkit_tasks.flows import base_images
from buildkit_tasks.flows import images as flow


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rust", images.Reference("docker.io", "library/rust", "latest")),
        ("rust:1-bookworm", images.Reference("docker.io", "library/rust", "1-bookworm")),
        ("docker.io/library/rust:1", images.Reference("docker.io", "library/rust", "1")),
        ("bitnami/redis:7", images.Reference("docker.io", "bitnami/redis", "7")),
        ("ghcr.io/o/i:2", images.Reference("ghcr.io", "o/i", "2")),
        ("localhost:5000/x", images.Reference("localhost:5000", "x", "latest")),
        ("rust@sha256:aa", images.Reference("docker.io", "library/rust", "", "sha256:aa")),
        ("rust:1@sha256:aa", images.Reference("docker.io", "library/rust", "1", "sha256:aa")),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, wanted: images.Reference) -> None:
    assert images.parse(text) == wanted


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
    found = images.recipe_for(reference)
    assert (found.stage if found else None) == stage


def test_every_recipe_stands_in_for_its_own_public_name() -> None:
    for recipe in images.RECIPES:
        assert images.recipe_for(f"{recipe.path.removeprefix('library/')}:{recipe.tag}") == recipe
        assert images.named(recipe.stage) == recipe
        assert images.named(recipe.image) == recipe


def test_only_docker_hub_is_mirrored() -> None:
    assert images.mirrored("rust:1", "mirror.example/hub/") == "mirror.example/hub/library/rust:1"
    assert images.mirrored("bitnami/redis:7@sha256:aa", "m.example") == "m.example/bitnami/redis:7@sha256:aa"
    assert images.mirrored("ghcr.io/o/i:2", "m.example") == "ghcr.io/o/i:2"
    assert images.mirrored("rust:1", "") == "rust:1"


def test_a_local_image_is_used_before_anybody_is_asked() -> None:
    found = images.without_asking("rust:1", {"rust:1"}, "auto", "mirror.example")
    assert found == images.Decision("rust:1", "rust:1", "local")
    assert not found.replaced


@pytest.mark.parametrize(
    ("mode", "base", "wanted"),
    [
        ("auto", "", None),
        ("always", "", images.Decision("rust:1", "localhost/buildkit-tasks/rust:1-bookworm", "offline")),
        ("never", "", images.Decision("rust:1", "rust:1", "registry")),
        ("never", "m.example", images.Decision("rust:1", "m.example/library/rust:1", "mirror")),
    ],
)
def test_the_setting_decides_before_the_registry(mode: str, base: str, wanted: images.Decision | None) -> None:
    assert images.without_asking("rust:1", (), mode, base) == wanted


def test_other_registries_are_not_ours_to_question() -> None:
    found = images.without_asking("ghcr.io/o/i:2", (), "auto", "m.example")
    assert found == images.Decision("ghcr.io/o/i:2", "ghcr.io/o/i:2", "registry")


def test_mirror_then_registry_then_offline_then_none() -> None:
    assert images.decide("rust:1", "m.example", answers=True).source == "mirror"
    assert images.decide("rust:1", "", answers=True) == images.Decision("rust:1", "rust:1", "registry")
    assert images.decide("rust:1", "m.example", answers=False).use == "localhost/buildkit-tasks/rust:1-bookworm"
    assert images.decide("nginx:1", "", answers=False).source == "none"


def test_the_override_names_contexts_for_builds_and_images_for_the_rest() -> None:
    use = {"rust:1": "localhost/a", "postgres:15": "localhost/b"}
    made = images.override({"api": ("rust:1", "debian:12"), "web": ()}, {"db": "postgres:15", "c": "redis:7"}, use)
    assert made == {
        "services": {
            "api": {"build": {"additional_contexts": {"rust:1": "docker-image://localhost/a"}}},
            "db": {"image": "localhost/b"},
        }
    }
    assert images.override({"api": ("rust:1",)}, {}, {}) == {}


def test_buildkit_is_made_only_where_it_is_named() -> None:
    assert "buildkit" not in [r.stage for r in flow.recipes(())]
    assert [r.image for r in flow.recipes(["buildkit"])] == ["localhost/buildkit-tasks/buildkit:buildx-stable-1"]


def test_a_folder_of_one_recipe_does_not_make_the_others_look_old(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {r.stage: base_images.recipe_hash(r) for r in images.RECIPES}
    data = base_images._data()
    assert "buildkit/go.sum" in data
    monkeypatch.setattr(base_images, "_data", lambda: {**data, "buildkit/go.mod": b"newer"})
    changed = [r.stage for r in images.RECIPES if base_images.recipe_hash(r) != before[r.stage]]
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
    assert word in base_images.remedy(log)
