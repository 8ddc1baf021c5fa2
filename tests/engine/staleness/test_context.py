"""Compare what BuildKit really sends with what we expect it to send."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.builds import transfer
from buildkit_tasks.dockerfiles.ignore import Ignore, walk
from tests.engine.staleness.site import docker

pytestmark = pytest.mark.engine

TREE = (
    "Dockerfile",
    "README.md",
    "a.rs",
    "docker/compile.rs",
    "docker/README.md",
    "services/Cargo.toml",
    "services/README.md",
    "services/api/README.md",
    "services/api/src/main.rs",
    "services/api/src/target/mod.rs",
    "services/target/debug/api",
    "services/target/keep",
    "services/[x]/a b",
    "services/.cargo/config.toml",
    "x/services/deep/file",
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*\n!services\n!docker/compile.rs\nservices/target\n**/*.md\n",
        "*.md\n",
        "**/*.md\n!services/README.md\n",
        "**/target\n",
        "services/target\n!services/target/keep\n",
        "services/*/src\n",
        "*\n!**/*.rs\n",
        "**/services\n!services/api\n",
        "/docker/\n  services/api  \n#a.rs\n",
        "services/\\[x\\]\n",
        "serv?ces/[.]cargo\n",
        "**\n!services/api/**\n",
        ".*\n**/.*\n",
        "*/*\n",
        "!services\n*\n!a.rs\n",
    ],
)
def test_buildkit_sends_the_expected_context(text: str, tmp_path: Path) -> None:
    context = tmp_path / "context"
    for name in TREE:
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(name)
    (context / "services/link").symlink_to("target")
    (context / ".dockerignore").write_text(text)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    out = tmp_path / "out"
    link = transfer.guard(context, tmp_path / "state")
    docker("buildx", "build", "-q", f"--file={tmp_path}/Dockerfile", f"--output=type=local,dest={out}", link)
    ours = {path for path, _ in walk(context, Ignore.of(context))}
    sent = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_symlink() or p.is_file()}
    assert sent == ours
