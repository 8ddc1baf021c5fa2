"""`invoke audit` on images that the engine built: one with every problem, and one without any."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support import process

pytestmark = [pytest.mark.engine]

PASSWORD = "a-password-of-this-test"

BAD = """\
FROM @BASE@
ARG NPM_TOKEN
COPY . /app
RUN rm /app/.env && echo "$NPM_TOKEN" > /dev/null && mkdir -m 0777 /srv/open && install -m 4755 /bin/true /srv/tool
RUN rm -r /usr/bin/chfn && chmod u-s /usr/bin/chsh
ENV API_TOKEN=abc GREETING=@PASSWORD@
CMD ["/srv/tool"]
"""
GOOD = """\
FROM @BASE@
WORKDIR /srv
COPY --chmod=755 config /srv/config
USER 65532:65532
CMD ["true"]
"""
COMPOSE = """\
name: @NAME@
services:
  bad: {build: {context: ., dockerfile: Bad, args: {NPM_TOKEN: of-the-build}}}
  good:
    build: {context: ., dockerfile: Good}
    healthcheck: {test: [CMD, "true"]}
"""


@pytest.fixture(scope="module")
def project(base_images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root, name = tmp_path_factory.mktemp("audit"), f"bt-audit-{secrets.token_hex(4)}"
    base = base_images.get("debian:bookworm-slim", "debian:bookworm-slim")
    for file, text in {"Bad": BAD, "Good": GOOD, "compose.yaml": COMPOSE}.items():
        changed = text.replace("@BASE@", base).replace("@NAME@", name).replace("@PASSWORD@", PASSWORD)
        (root / file).write_text(changed)
    (root / ".env").write_text(f"DB_PASSWORD={PASSWORD}\n")
    (root / "config").write_text("x = 1\n")
    (root / "tasks.py").write_text("from buildkit_tasks import namespace\n__all__ = ['namespace']\n")
    process.ok(["docker", "compose", "build"], root, timeout=300)
    yield root
    process.run(["docker", "image", "rm", "--force", f"{name}-bad", f"{name}-good"], root)


def test_exactly_what_is_wrong_is_found(project: Path) -> None:
    done = process.run([process.BIN / "invoke", "audit", "--json", "--sbom", "sbom"], project, timeout=120)
    assert done.code == 99, done.all
    assert PASSWORD not in done.all
    assert "of-the-build" not in done.all
    document = json.loads(done.out)
    bad, good = (image["image"] for image in document["images"])
    of_bad = [f for f in document["findings"] if f["image"] == bad and f["severity"] != "note"]
    assert [(f["severity"], f["code"], f["subject"], (f["layer"] or {}).get("step", "")[:9]) for f in of_bad] == [
        ("error", "BA001", "/app/.env", "COPY . /a"),
        ("error", "BA001", "/app/Bad", "COPY . /a"),
        ("error", "BA001", "DB_PASSWORD", ""),
        ("error", "BA001", "DB_PASSWORD", ""),
        ("error", "BA003", "/app/.env", "COPY . /a"),
        ("warning", "BA004", "API_TOKEN", ""),
        ("warning", "BA004", "NPM_TOKEN", ""),
        ("warning", "BA005", "root", ""),
        ("warning", "BA006", "/srv/tool", "RUN rm /a"),
        ("warning", "BA007", "/srv/open", "RUN rm /a"),
        ("warning", "BA008", "", ""),
    ]
    assert "it is still in the image" in of_bad[0]["message"]
    assert [f["code"] for f in document["findings"] if f["image"] == good and f["severity"] != "note"] == []
    notes = {f["subject"] for f in document["findings"] if f["image"] == bad and f["code"] == "BA006"}
    assert "/usr/bin/passwd" in notes
    assert not {"/usr/bin/chfn", "/usr/bin/chsh"} & notes
    assert all(image["base_layers"] for image in document["images"])
    for image in document["images"]:
        text = Path(image["sbom"]).read_text()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
        components = json.loads(text)["components"]
        assert {"libc6", "login"} <= {c["name"] for c in components}
        assert any("licenses" in c for c in components)


def test_the_good_image_alone_ends_with_0(project: Path) -> None:
    done = process.run([process.BIN / "invoke", "audit", "good"], project, timeout=120)
    assert done.code == 0, done.all
    assert "error" not in done.out
    assert "warning" not in done.out
