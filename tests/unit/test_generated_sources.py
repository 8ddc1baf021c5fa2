"""Source files that stages generate for a compile step, read from a Dockerfile as written by `init`."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.core.model import Service
from buildkit_tasks.project import sources

COMPILE = "FROM rust:1 AS compile\nRUN --mount=type=bind,from=sources,target=/context /compile build\n"


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM scratch AS sources\nCOPY . /\nCOPY --from=web /web/dist /backend/dist\n" + COMPILE, ("backend/dist",)),
        ("FROM scratch AS Sources\nCOPY --from=a /x /x/\nCOPY --from=b /y /y\n" + COMPILE, ("x", "y")),
        # files from another stage belong to the image, not to cargo
        ("FROM scratch AS sources\nCOPY . /\n" + COMPILE + "FROM debian\nCOPY --from=compile /out /bin\n", ()),
        ("FROM rust:1 AS compile\nRUN --mount=type=bind,target=/context /compile build\n", ()),
        (
            "FROM toolchain AS sources\nWORKDIR /app\nCOPY . .\nCOPY --from=a /x gen/x\nCOPY --from=b /y /app/y\n"
            + COMPILE.replace("from=sources", "from=sources,source=/app"),
            ("gen/x", "y"),
        ),
    ],
)
def test_what_other_stages_make(tmp_path: Path, dockerfile: str, expected: tuple[str, ...]) -> None:
    (tmp_path / "Dockerfile").write_text(dockerfile)
    service = Service("api", "api", tmp_path, tmp_path / "Dockerfile", "api")
    assert sources.generated(service) == expected


def test_commands_of_the_stage_may_make_any_file(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM toolchain AS sources\nCOPY . /app\nRUN make\n" + COMPILE)
    service = Service("api", "api", tmp_path, tmp_path / "Dockerfile", "api")
    assert sources.prepared(service)
    (tmp_path / "Other").write_text("FROM a AS web\nRUN make\nFROM scratch AS sources\nCOPY . /\n" + COMPILE)
    assert not sources.prepared(Service("api", "api", tmp_path, tmp_path / "Other", "api"))


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        ("docker/c.toml .cargo/config.toml", {".cargo/config.toml": "docker/c.toml"}),
        ("docker/c.toml /app/x/", {"x/c.toml": "docker/c.toml"}),
        ("docker/c.toml Cargo.toml x/", {"x/c.toml": "docker/c.toml", "x/Cargo.toml": "Cargo.toml"}),
        ('["docker/c.toml", "c.toml"]', {"c.toml": "docker/c.toml"}),
        ("docker/c.toml docker/c.toml", {}),
        ("docker/c.toml docker/", {}),
        ("docker/c.toml /etc/c.toml", {}),
        ("docker/none.toml c.toml", {}),
        ("--from=web docker/c.toml c.toml", {}),
    ],
)
def test_what_is_copied_to_another_path(tmp_path: Path, copy: str, expected: dict[str, str]) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/c.toml").touch()
    (tmp_path / "Cargo.toml").touch()
    mounted = COMPILE.replace("from=sources", "from=sources,source=/app")
    text = f"FROM toolchain AS sources\nWORKDIR /app\nCOPY . .\nCOPY {copy}\n{mounted}COPY docker/c.toml /else\n"
    (tmp_path / "Dockerfile").write_text(text)
    assert sources.moved(Service("api", "api", tmp_path, tmp_path / "Dockerfile", "api")) == expected
