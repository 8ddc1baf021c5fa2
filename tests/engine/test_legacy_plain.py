"""Services that compile nothing, built without BuildKit: the same images as from compose with BuildKit."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import built_images, process

pytestmark = [pytest.mark.engine]

FILES = {
    "tasks.py": "from buildkit_tasks import namespace\n__all__ = ['namespace']\n",
    "compose.yaml": """\
name: @P@
services:
  above: {depends_on: [below], build: {context: ctx, dockerfile: Above, args: {OF: "@P@/below:dev"}}}
  below: {image: "@P@/below:dev", build: {context: ctx, args: {A: "x $$y"}, labels: {l: "a b"}, tags: ["@P@/more"]}}
  escaped: {build: {context: ctx, dockerfile: Escaped, target: LAST, network: none, ulimits: {nofile: 99}}}
""",
    "ctx/Dockerfile": "FROM @B@\nARG A=none\nARG TARGETARCH\nRUN echo $A $TARGETARCH > /a\nCOPY . /all/\n",
    "ctx/Above": 'ARG OF\nFROM ${OF}\nUSER 7\nENTRYPOINT ["/x"]\nCOPY --from=@P@/below:dev /a /again\n',
    "ctx/Escaped": (
        "# escape=`\r\nFROM @B@ `\r\n  AS last\r\nRUN echo a\\b > /e; ls /sys/class/net >> /e; ulimit -n >> /e\r\n"
    ),
    "ctx/.dockerignore": "no\n",
    "ctx/no": "",
    "ctx/yes": "1",
}


def test_images_without_buildkit_are_those_of_compose(tmp_path: Path, base_images: Mapping[str, str]) -> None:
    project = f"legacy{secrets.token_hex(3)}"
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.replace("@P@", project).replace("@B@", base).encode())
    images = [f"{project}-above", f"{project}/below:dev", f"{project}/more", f"{project}-escaped"]
    env: dict[str, str | None] = {"CI": None, "XDG_STATE_HOME": str(tmp_path / "state")}
    try:
        process.ok(["docker", "compose", "build"], tmp_path, env)
        theirs = built_images.facts(images, tmp_path)
        process.run(["docker", "image", "rm", "-f", *images], tmp_path)
        process.ok([process.BIN / "invoke", "build"], tmp_path, {**env, "BUILDKIT_TASKS_BUILDERS_NAME": "legacy"})
        ours = built_images.facts(images, tmp_path)
    finally:
        process.run(["docker", "image", "rm", "-f", *images], tmp_path)
    assert sorted(ours) == sorted(theirs) == sorted(images)
    for image in images:
        found = built_images.difference(ours[image], theirs[image])
        # BuildKit always sets ArgsEscaped, which only Windows reads
        assert [line for line in found if "config ArgsEscaped" not in line] == [], image
