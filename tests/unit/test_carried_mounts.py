"""Cache mounts of other tools: which can be shared, what determines their key, what registries may report."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine, Service, Workspace
from buildkit_tasks.dockerfiles import compile_step, mount_ids
from buildkit_tasks.packs import keys, mounts, steps
from buildkit_tasks.packs.mounts import Carried, Packed
from buildkit_tasks.project.discover import Project
from buildkit_tasks.registry.names import Malformed

ENGINE = Engine("id", (26, 1, 5), (0, 13, 1), (2, 26, 1), "linux", "amd64", containerd_store=True)

WEB = """\
ARG FLAVOR=alpine
FROM node AS unused
RUN --mount=type=cache,id=never,target=/x true
FROM node
ARG CACHE=npm
COPY package*.json ./
COPY backend/requirements.txt backend/go.sum /
RUN --mount=type=cache,id=$CACHE-$TARGETARCH,target=/root/.npm,uid=1000 npm ci
RUN --mount=type=cache,target=/var/cache/apt/,sharing=locked apt-get install -y curl
RUN --mount=type=cache,dst=/root/.cache/pip --mount=type=secret,id=token pip install -r requirements.txt
RUN --mount=type=cache,target=/go/pkg/mod go mod download
RUN --mount=type=cache,target=/ccache,from=node cc
RUN --mount=type=cache,id=$UNKNOWN-x,target=/y true
RUN --mount=type=cache,id=shop-target-amd64,target=/build,sharing=locked cargo build
"""


def service(folder: Path, text: str = WEB, **more: object) -> Service:
    return Service("web", "shop/web", folder, folder / "Dockerfile", "", inline=text, **more)  # type: ignore[arg-type]


def project(*services: Service) -> Project:
    return Project(ENGINE, Workspace(Path("/"), "shop", "shop", (), services, {}, ()))


def declared(folder: Path) -> dict[str, Carried]:
    return {one.id: one for one in mounts.declared(project(service(folder)), "linux/amd64")}


def test_every_mount_that_the_target_needs_is_found_except_those_of_the_compile_step(tmp_path: Path) -> None:
    found = declared(tmp_path)
    assert {one.id: (one.kind, one.flag) for one in found.values()} == {
        "npm-amd64": ("npm", "id=npm-amd64,uid=1000"),
        "/var/cache/apt": ("apt", "id=/var/cache/apt,sharing=locked"),
        "/root/.cache/pip": ("pip", "id=/root/.cache/pip"),
        "/go/pkg/mod": ("go", "id=/go/pkg/mod"),
        "/ccache": ("ccache", "id=/ccache,from=node"),
        "${UNKNOWN}-x": ("other", "id=${UNKNOWN}-x"),
    }


def test_arguments_and_platform_decide_the_id(tmp_path: Path) -> None:
    given = service(tmp_path, args={"CACHE": "yarn"})
    found = mounts.declared(project(given), "linux/arm64")
    assert "yarn-arm64" in [one.id for one in found]


def test_one_mount_of_two_services_is_one(tmp_path: Path) -> None:
    both = mounts.declared(project(service(tmp_path), replace(service(tmp_path), name="other")), "linux/amd64")
    assert [one.services for one in both if one.kind == "npm"] == [("web", "other")]


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        ("/root/.npm", "npm"),
        ("/usr/local/share/.cache/yarn", "npm"),
        ("/root/.cache/pip", "pip"),
        ("/root/.cache/uv", "pip"),
        ("/go/pkg/mod", "go"),
        ("/root/.cache/go-build", "go"),
        ("/root/.ccache", "ccache"),
        ("sccache", "ccache"),
        ("/var/lib/apt", "apt"),
        ("/usr/local/cargo/registry", "cargo-registry"),
        ("/app/target", "target"),
        ("django", "other"),
        ("pipeline", "other"),
    ],
)
def test_kinds(identity: str, kind: str) -> None:
    assert mount_ids.attribute(identity, identity)[0] == kind


def test_mounts_are_chosen_by_kind_or_id(tmp_path: Path) -> None:
    found = tuple(declared(tmp_path).values())
    chosen = mounts.choose(found, ("pip", "/var/cache/apt", "pip"), "linux/amd64")
    assert [one.id for one in chosen] == ["/root/.cache/pip", "/var/cache/apt"]


@pytest.mark.parametrize(
    ("word", "code", "why"),
    [
        ("maven", "cache-missing", "npm-amd64 (npm)"),
        ("/ccache", "bad-argument", "from="),
        ("other", "bad-argument", "known only during the build"),
    ],
)
def test_mounts_that_cannot_travel_are_refused_by_name(tmp_path: Path, word: str, code: str, why: str) -> None:
    with pytest.raises(Problem) as problem:
        mounts.choose(tuple(declared(tmp_path).values()), (word,), "linux/amd64")
    assert problem.value.code == code
    assert why in problem.value.causes[0]


@pytest.mark.parametrize(
    "options",
    [
        "id=a b,target=/x",
        'id=x"y,target=/x',
        "id=é,target=/x",
        "id=x,target=/x,sharing=loud",
        "id=x,target=/x,uid=-1",
        "id=x,target=/x,mode=8",
        "id=x,target=/x,gid=99999999999",
    ],
)
def test_no_strange_option_gets_into_a_dockerfile(options: str, tmp_path: Path) -> None:
    text = f"FROM node\nRUN --mount=type=cache,{options} true\n"
    found = mounts.declared(project(service(tmp_path, text)), "linux/amd64")
    for one in found:
        if " " not in options:
            with pytest.raises(Problem):
                mounts.choose(found, (one.id,), "linux/amd64")


def test_lock_files_that_the_dockerfile_copies_are_the_key(tmp_path: Path) -> None:
    for name in ("package-lock.json", "package.json", "backend/requirements.txt", "backend/go.sum", "other/yarn.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = declared(tmp_path)

    def key(identity: str) -> tuple[str, tuple[str, ...]]:
        return keys.mount_key(found[identity], tmp_path, ())

    assert key("npm-amd64")[1] == ("package-lock.json",)
    assert key("/root/.cache/pip")[1] == ("requirements.txt",)
    assert key("/go/pkg/mod")[1] == ("go.sum",)
    assert key("/var/cache/apt")[1] == ()

    before = {identity: key(identity)[0] for identity in found}
    (tmp_path / "package-lock.json").write_text("another")
    assert {identity for identity in found if key(identity)[0] != before[identity]} == {"npm-amd64"}
    edited = {
        one.id: one for one in mounts.declared(project(service(tmp_path, WEB.replace("curl", "jq"))), "linux/amd64")
    }
    assert keys.mount_key(edited["/var/cache/apt"], tmp_path, ())[0] != before["/var/cache/apt"]
    assert keys.mount_key(edited["/root/.cache/pip"], tmp_path, ())[0] == before["/root/.cache/pip"]
    own = keys.mount_key(found["npm-amd64"], tmp_path, ("other/yarn.lock",))
    assert own[1] == ("yarn.lock",)
    assert own[0] != key("npm-amd64")[0]


@pytest.mark.parametrize("path", ["missing", "../x", "/etc/passwd", "."])
def test_a_key_file_is_a_file_of_the_repository(tmp_path: Path, path: str) -> None:
    with pytest.raises(Problem) as problem:
        keys.mount_key(declared(tmp_path)["npm-amd64"], tmp_path, (path,))
    assert problem.value.code == "bad-argument"


def test_a_lock_file_that_is_a_fifo_or_outside_is_not_read(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    os.mkfifo(context / "package-lock.json")
    (tmp_path / "yarn.lock").write_text("")
    text = "FROM node\nCOPY ../yarn.lock /\nRUN --mount=type=cache,target=/root/.npm npm ci\n"
    found = mounts.declared(project(service(context, text)), "linux/amd64")
    assert keys.mount_key(found[0], tmp_path, ())[1] == ()


def label(one: Carried, **other: object) -> dict[str, str]:
    made = json.loads(mounts.label(one, Packed("zst", 12, 3_000), "amd64", "k" * 16, "2026-11-01T00:00:00+00:00"))
    return {mounts.LABEL: json.dumps({**made, **other})}


def test_a_label_comes_back_and_fits_only_its_own_mount(tmp_path: Path) -> None:
    found = declared(tmp_path)
    said = mounts.read_label(label(found["npm-amd64"]))
    assert said is not None
    assert (said["scope"], said["entries"], said["parts"]) == ("mount", 12, {"mount.tar.zst": 3_000})
    assert mounts.objections(said, found["npm-amd64"], 3_000) == []
    assert "a different mount" in mounts.objections(said, found["/go/pkg/mod"], 3_000)[0]
    assert "packs.limit" in mounts.objections(said, found["npm-amd64"], 2_999)[0]


@pytest.mark.parametrize(
    "other",
    [
        {"parts": {"rest.tar.zst": 1}},
        {"parts": {}},
        {"parts": {"mount.tar.zst": 1, "mount.tar.gz": 1}},
        {"parts": {"mount.tar.zst": -1}},
        {"parts": []},
        {"entries": "many"},
        {"id": None},
        {"flag": ["x"]},
        {"created": {}},
    ],
)
def test_a_label_of_another_shape_is_malformed(tmp_path: Path, other: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        mounts.read_label(label(declared(tmp_path)["npm-amd64"], **other))


def test_a_label_of_another_format_or_without_ours_is_no_pack(tmp_path: Path) -> None:
    assert mounts.read_label({}) is None
    assert mounts.read_label(label(declared(tmp_path)["npm-amd64"], format=2)) is None
    said = mounts.read_label(label(declared(tmp_path)["npm-amd64"], id="\x1b[31mred"))
    assert said is not None
    assert "\x1b" not in said["id"]


def test_tags_differ_by_mount_platform_and_key_and_are_valid(tmp_path: Path) -> None:
    found = declared(tmp_path)
    tags = {
        keys.mount_exact(one, arch, key) for one in found.values() for arch in ("amd64", "arm/v7") for key in ("a", "b")
    }
    assert len(tags) == len(found) * 4


def test_the_step_opens_only_that_mount_with_its_own_options() -> None:
    text = "FROM rust AS compile\nRUN --mount=type=cache,id=s-target-amd64,target=/b /usr/bin/compile build\nRUN x\n"
    step = compile_step.find(text, {})
    made = steps.mount_dockerfile(text, step, flag="id=npm,uid=1000", words=("pack",), nonce="abc")
    assert "--mount=type=cache,target=/run/buildkit-tasks-mount,id=npm,uid=1000" in made
    assert "s-target-amd64" not in made
    with pytest.raises(ValueError, match="not words"):
        steps.mount_dockerfile(text, step, flag="id=npm", words=("pack; rm",), nonce="abc")
