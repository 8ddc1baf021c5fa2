"""Plain services on builders without bake or BuildKit: built unchanged, or refused with an error that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.builds import own_images
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Service
from buildkit_tasks.dockerfiles.document import Dockerfile, Needs
from buildkit_tasks.legacy import plain_service

VALUES = {"TARGETOS": "linux", "TARGETARCH": "arm64"}


def service(place: Path, name: str = "a", **more: Any) -> Service:
    return Service(name, f"shop-{name}", place, place / "Dockerfile", name, key=name, **more)


def legacy(place: Path, text: str, **target: Any) -> tuple[str | Path, dict[str, str]]:
    replaced = target.pop("replaced", {})
    return plain_service.without_buildkit(
        service(place), Dockerfile.read(text), {"dockerfile": "/link/Dockerfile", **target}, replaced, VALUES
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("FROM a\nRUN --mount=type=cache,target=/c x\n", "line 2, RUN, uses --mount"),
        ("FROM a\nRUN --network=none x\n", "line 2, RUN, uses --network"),
        ("FROM a\nCOPY --chmod=1 a b\n", "line 2, COPY, uses --chmod"),
        ("FROM a\nCOPY --from=x --link a b\n", "line 2, COPY, uses --link"),
        ("FROM a\nADD --checksum=x a b\n", "line 2, ADD, uses --checksum"),
        ("FROM a\n\nRUN <<EOF\nCOPY x /y\nEOF\n", "line 3, RUN, uses a here-document"),
        ("FROM a\nCOPY <<EOF /x\nb\nEOF\n", "line 2, COPY, uses a here-document"),
    ],
)
def test_what_only_buildkit_can_do_is_refused_with_its_service_and_line(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(Problem) as caught:
        legacy(tmp_path, text)
    assert caught.value.message.startswith("The Dockerfile of the service 'a' needs BuildKit")
    assert caught.value.causes == (what,)


def test_a_dockerfile_s_own_ignore_file_is_refused_where_it_would_not_count(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.dockerignore").touch()
    with pytest.raises(Problem, match="needs BuildKit"):
        legacy(tmp_path, "FROM a\n")


def test_the_file_itself_is_built_where_nothing_has_to_change(tmp_path: Path) -> None:
    assert legacy(tmp_path, "FROM a\nCOPY --chown=1 x y\n") == (Path("/link/Dockerfile"), {})


def test_the_arguments_of_buildkit_are_given_where_they_are_declared(tmp_path: Path) -> None:
    text = "FROM --platform=$BUILDPLATFORM a\nARG TARGETARCH\nARG BUILDPLATFORM\nARG OTHER\n"
    found, args = legacy(tmp_path, text, args={"OTHER": "1"})
    assert str(found).startswith("FROM a\n")
    assert args == {"TARGETARCH": "arm64", "BUILDPLATFORM": "linux/arm64", "OTHER": "1"}


def test_other_images_stand_in_from_and_copy(tmp_path: Path) -> None:
    text = "# escape=`\nFROM library/base:latest AS x\nCOPY --from=tool /a /b\nFROM x\nCOPY --from=x c `\n  /d\n"
    found, _ = legacy(tmp_path, text, replaced={"base": "mine/base", "tool": "mine/tool"})
    expected = "# escape=`\nFROM mine/base AS x\nCOPY --from=mine/tool /a /b\nFROM x\nCOPY --from=x c `\n  /d\n"
    assert found == expected


def test_what_stands_on_another_is_built_after_it(tmp_path: Path) -> None:
    every = [service(tmp_path, name) for name in ("top", "middle", "low")]
    targets: dict[str, dict[str, Any]] = {
        "top": {"contexts": {"m": "target:middle"}, "tags": ["t"]},
        "middle": {"contexts": {"l": "target:low", "x": "docker-image://y"}, "tags": ["shop-middle"]},
        "low": {"tags": ["shop-low"]},
    }
    assert [s.name for s in plain_service.in_order(every, targets)] == ["low", "middle", "top"]
    assert plain_service.images(targets["middle"], targets) == {"l": "shop-low", "x": "y"}


def test_images_of_other_services_are_found_by_any_of_their_names_and_circles_are_left_alone(tmp_path: Path) -> None:
    base = service(tmp_path, "base", build={"tags": ["docker.io/shop/other:latest"]})
    app, self_made = service(tmp_path, "app"), service(tmp_path, "self")
    needs = {
        "base": Needs(images=("debian",)),
        "app": Needs(images=("shop-base:latest", "shop/other", "debian")),
        "self": Needs(images=("shop-self",)),
    }
    found = own_images.find([app, base, self_made], needs)
    assert {ref: s.name for ref, s in found["app"].items()} == {"shop-base:latest": "base", "shop/other": "base"}
    assert found["base"] == found["self"] == {}
    assert own_images.find([app, base], {**needs, "base": Needs(images=("shop-app",))}) == {"app": {}, "base": {}}


def test_one_name_of_several_different_builds_is_said(tmp_path: Path) -> None:
    one, other = (Service(n, "shop/x", tmp_path, tmp_path, n, build={"target": n}) for n in "ab")
    assert own_images.shared_names([one, other]) == (
        "a, b build the same image shop/x: the last build to finish gets the tag",
    )
    assert own_images.shared_names([one, one]) == ()
