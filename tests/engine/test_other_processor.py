"""Images for the wrong architecture are not used as a base and not reported as built."""

from __future__ import annotations

import json
import platform
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.engine.cache_site import Site
from tests.support import process

pytestmark = pytest.mark.engine

OTHER = "arm64" if platform.machine() == "x86_64" else "amd64"


@pytest.fixture
def place(tmp_path: Path, base_images: Mapping[str, str]) -> Iterator[Site]:
    """Create a project with one service. Its base image is our own and does not exist in any registry."""
    site = Site(tmp_path / "site", f"bt-kind-{secrets.token_hex(4)}", base_images)
    site.root.mkdir()
    (site.root / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    app = {"image": f"{site.scope}/app:1", "build": "."}
    (site.root / "compose.yaml").write_text(f"name: {site.scope}\nservices: {json.dumps({'app': app})}\n")
    yield site
    process.run(["docker", "image", "rm", f"{site.scope}/app:1", f"{site.scope}/base:1"], tmp_path)


def base(site: Site, *options: str) -> str:
    """Build an image named BASE with these `docker build` options, from our Debian image or from scratch."""
    name = f"docker.io/{site.scope}/base:1"
    source = "scratch" if options else site.bases["debian:bookworm-slim"]
    folder = site.root.parent / "base"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {source}\nCOPY Dockerfile /words\n")
    output = f"--output=type=image,name={name}"
    process.ok(["docker", "buildx", "build", "-q", "--provenance=false", *options, output, str(folder)], folder)
    return f"{site.scope}/base:1"


def build(site: Site, dockerfile: str, *args: str) -> process.Done:
    (site.root / "Dockerfile").write_text(dockerfile)
    return process.run([process.BIN / "invoke", "build", *args], site.root, site.env)


def test_a_base_for_the_engines_processor_only_is_not_used_for_another(place: Site) -> None:
    done = build(place, f'FROM {base(place)}\nCMD ["/bin/sh"]\n', "--platform", OTHER)
    assert done.code == 19, done.all
    assert f", not for linux/{OTHER}, and no registry is reachable" in done.err
    assert process.run(["docker", "image", "inspect", f"{place.scope}/app:1"], place.root).code != 0


def test_a_base_for_both_is_used_for_each(place: Site) -> None:
    both = base(place, "--platform=linux/amd64,linux/arm64")
    done = build(place, f'FROM {both}\nCMD ["/words"]\n', "--platform", OTHER)
    assert done.code == 0, done.all
    assert not process.ok(
        ["docker", "ps", "-aq", "--filter", "name=buildkit-tasks-look", "--filter", f"ancestor={both}"], place.root
    ).out


@pytest.mark.parametrize("more", [(), ("--oci", "out")], ids=["engine", "archive"])
def test_a_program_of_the_wrong_processor_is_not_called_built(place: Site, more: tuple[str, ...]) -> None:
    dockerfile = (
        f"FROM --platform=$BUILDPLATFORM {place.bases['debian:bookworm-slim']} AS here\n"
        'FROM scratch\nCOPY --from=here /usr/bin/dash /service\nENTRYPOINT ["/service"]\n'
    )
    done = build(place, dockerfile, "--platform", OTHER, *more)
    assert done.code == 48, done.all
    assert "/service is for" in done.err
