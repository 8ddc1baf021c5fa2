"""`invoke audit` on a real command line: selection of images, output formats, exit codes, external scanners."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Bench, service
from tests.support.saved_images import File, Saved, layer

PASSWORD = "correct-horse-battery"
GOOD = {"User": "65532", "Healthcheck": {"Test": ["CMD", "/x"]}, "Entrypoint": ["/usr/local/bin/service"]}
BASE: dict[str, File] = {"usr/bin/passwd": (b"", 0o4755), "etc/": b"", "tmp/": (b"", 0o1777)}


@pytest.fixture(autouse=True)
def _only_the_fakes(bench: Bench) -> None:
    """Remove this machine's scanners from PATH; tests add their own."""
    bench.env["PATH"] = f"{bench.place}/bin:/usr/bin:/bin"


def arrange(bench: Bench, *, api: dict[str, File] | None = None, config: dict[str, Any] | None = None) -> None:
    """Create images of both services, with the same base."""
    (bench.root / ".env").write_text(f"DB_PASSWORD={PASSWORD}\nAPI_PORT=80808080\n")
    saved = Saved()
    history = ["# debian.sh", "COPY /out/api /usr/local/bin/service # buildkit"]
    ids = [
        saved.image([layer(BASE), layer({"usr/local/bin/service": (b"\x7fELF", 0o755), **more})], values, history)
        for more, values in ((api or {}, {**GOOD, **(config or {})}), ({"w": b""}, GOOD))
    ]
    (bench.place / "saved.tar").write_bytes(saved.oci())
    bench.reply("image save", file=str(bench.place / "saved.tar"))
    bench.reply("image inspect", stdout="".join(f"{one} linux/amd64\n" for one in ids))
    for name, one in zip(("api", "worker"), ids, strict=True):
        bench.reply("{{.Id}} {{.Os}}/{{.Architecture}} shop/" + name + ":dev", stdout=f"{one} linux/amd64\n")
    both = "{{.Id}} {{.Os}}/{{.Architecture}} shop/api:dev shop/worker:dev"
    bench.reply(both, stdout="".join(f"{one} linux/amd64\n" for one in ids))


def test_good_images_need_three_calls_and_end_with_0(bench: Bench) -> None:
    arrange(bench)
    done = bench.invoke("audit")
    assert done.code == 0, done.all
    assert done.out == (
        "note BA006 setuid-file: shop/api:dev, shop/worker:dev\n"
        "    /usr/bin/passwd is setuid (4755); it is from the base image\n"
        "    layer 1: # debian.sh\n"
    )
    said = done.err.splitlines()
    assert said[0] == "reading 2 images"
    assert said[1].startswith("not checked for known vulnerabilities: install trivy or grype, then download its ")
    assert said[2].startswith("2 images, ")
    assert said[2].endswith(": 2 notes")
    images = [call["argv"] for call in bench.calls if call["argv"][0] == "image"]
    assert [argv[1] for argv in images] == ["inspect", "save"]
    assert images[1] == ["image", "save", "shop/api:dev", "shop/worker:dev"]


def test_a_secret_is_an_error_and_is_never_shown(bench: Bench) -> None:
    arrange(bench, api={"app/config": f"x={PASSWORD}".encode()}, config={"User": "", "Env": [f"A={PASSWORD}"]})
    done = bench.invoke("audit")
    assert done.code == 99
    assert PASSWORD not in done.all
    lines = done.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[:3] == [
        "error BA001 secret-value: shop/api:dev",
        "    /app/config contains the value of DB_PASSWORD from .env",
        "    layer 2: COPY /out/api /usr/local/bin/service",
    ]
    assert "    more:  docs/reference/audit.md#ba001-secret-value" in lines
    assert "warning BA005 root-user: shop/api:dev\n    runs as root, because the image does not set USER\n" in done.out
    assert "error[audit-failed]: 2 errors in 1 image." in done.err

    done = bench.invoke("audit", "api", "--json")
    assert (done.code, done.err) == (99, "")
    document = json.loads(done.out)
    assert PASSWORD not in done.out
    assert [(f["code"], f["severity"], f["subject"]) for f in document["findings"]] == [
        ("BA001", "error", "/app/config"),
        ("BA001", "error", "DB_PASSWORD"),
        ("BA005", "warning", "root"),
        ("BA006", "note", "/usr/bin/passwd"),
    ]
    found = document["findings"][0]
    assert set(found) == {*("code", "severity", "image", "subject", "message", "remedy", "layer", "why", "docs")}
    assert {k: found["layer"][k] for k in ("number", "of")} == {"number": 2, "of": 2}
    assert document["images"][0]["base_layers"] == 1
    assert document["vulnerabilities"]["scanner"] is None
    assert document["error"]["code"] == "audit-failed"


def test_the_compose_file_counts_and_findings_can_be_accepted(bench: Bench) -> None:
    arrange(
        bench, api={"usr/bin/sudo": (b"", 0o4755), "k": PASSWORD.encode()}, config={"User": "", "Healthcheck": None}
    )
    entry = service(bench.root, "api", user="1000", healthcheck={"test": ["CMD", "x"]})
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": {"api": entry}}))
    (bench.root / "pyproject.toml").write_text(
        '[tool.buildkit-tasks.audit]\nignore = ["BA006:/usr/bin/s* needed", "BA001:/k a test value", "BA007 never"]\n'
    )
    done = bench.invoke("audit", "--json")
    assert done.code == 0
    document = json.loads(done.out)
    assert [(f["code"], f["severity"]) for f in document["findings"]] == [("BA006", "note"), ("BA000", "note")]
    assert [(f["code"], f["reason"]) for f in document["suppressed"]] == [
        ("BA001", "a test value"),
        ("BA006", "needed"),
    ]
    (bench.root / "pyproject.toml").write_text('[tool.buildkit-tasks.audit]\nignore = ["sudo"]\n')
    assert bench.invoke("audit").code == 4


def test_images_that_are_not_built(bench: Bench) -> None:
    arrange(bench)
    bench.reply("image inspect", code=1, stderr="Error: No such image: shop/worker:dev\n")
    done = bench.invoke("audit")
    assert done.code == 19
    assert "error[image-unavailable]: The engine has no image shop/api:dev." in done.err
    assert "hint: invoke build --service api" in done.err
    arrange(bench)
    bench.reply("{{.Architecture}} shop/worker:dev", code=1, stderr="Error: No such image: shop/worker:dev\n")
    bench.reply("{{.Architecture}} shop/api:dev shop/worker:dev", code=1, stderr="Error: No such image\n")
    done = bench.invoke("audit")
    assert done.code == 0
    assert "warning: skipping worker: it has not been built yet" in done.err
    assert bench.invoke("audit", "worker").code == 19


def test_any_image_without_a_project(bench: Bench) -> None:
    arrange(bench, api={"a": PASSWORD.encode()})
    other = bench.place / "other"
    other.mkdir()
    (other / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    bench.root = other
    done = bench.invoke("audit", "--image", "shop/api:dev", "--json")
    assert done.code == 0, done.all  # there is no .env, so its value is unknown
    document = json.loads(done.out)
    assert [i["image"] for i in document["images"]] == ["shop/api:dev"]
    assert [f["code"] for f in document["findings"]] == ["BA006"]
    assert bench.invoke("audit").code == 3
    assert bench.invoke("audit", "--image=--output=/x").code == 33


def test_services_that_share_an_image_count_each_in_its_own_way(bench: Bench) -> None:
    arrange(bench, config={"User": "", "Healthcheck": None})
    checked = {"user": "1000", "healthcheck": {"test": ["CMD", "x"]}}
    services = {name: service(bench.root, name, **more) for name, more in {"api": checked, "jobs": {}}.items()}
    services["jobs"]["image"] = services["api"]["image"]
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": services}))
    document = json.loads(bench.invoke("audit", "--json").out)
    assert [image["services"] for image in document["images"]] == [["api", "jobs"]]
    assert [f["code"] for f in document["findings"] if f["severity"] == "warning"] == ["BA005", "BA008"]
    assert [c["argv"] for c in bench.calls if c["argv"][:2] == ["image", "save"]] == [["image", "save", "shop/api:dev"]]


def test_sboms_are_written_for_each_image(bench: Bench) -> None:
    arrange(bench)
    done = bench.invoke("audit", "--sbom", "out/sbom")
    assert done.code == 0, done.all
    folder = bench.root / "out/sbom"
    assert sorted(p.name for p in folder.iterdir()) == ["shop-api-dev.cdx.json", "shop-worker-dev.cdx.json"]
    made = json.loads((folder / "shop-api-dev.cdx.json").read_text())
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert [c["name"] for c in made["components"]] == ["/usr/local/bin/service"]
    assert f"wrote {folder / 'shop-api-dev.cdx.json'}" in done.err


def test_an_archive_that_is_corrupt_or_that_docker_does_not_finish(bench: Bench) -> None:
    arrange(bench)
    saved = bench.place / "saved.tar"
    saved.write_bytes(saved.read_bytes()[:5000])
    done = bench.invoke("audit")
    assert (done.code, "Traceback" in done.all) == (19, False)
    assert (
        "error[image-unavailable]: The archive from `docker image save` cannot be read: it is corrupt or truncated"
        in done.err
    )
    bench.reply("image save", file=str(saved), code=1, stderr="Error response from daemon: unexpected EOF\n")
    done = bench.invoke("audit")
    assert done.code == 31
    assert "unexpected EOF" in done.err


def scanner(bench: Bench, name: str, answer: str) -> Path:
    program = bench.place / "bin" / name
    program.write_text(f'#!/bin/sh\necho "$@" >> {bench.place}/{name}.argv\n{answer}')
    program.chmod(0o755)
    return bench.place / f"{name}.argv"


def test_trivy_takes_part_offline_where_it_is_installed(bench: Bench) -> None:
    arrange(bench)
    names = ("VulnerabilityID", "PkgName", "InstalledVersion", "FixedVersion", "Severity")
    rows = [
        ("CVE-1", "libx", "1", "2", "HIGH"),
        ("CVE-2", "libx", "1", "", "CRITICAL"),
        ("CVE-3", "liby", "1", "", "LOW"),
    ]
    answer = {"Results": [{"Target": "x"}, {"Vulnerabilities": [dict(zip(names, row, strict=True)) for row in rows]}]}
    argv = scanner(bench, "trivy", f"cat <<'X'\n{json.dumps(answer)}\nX\n")
    done = bench.invoke("audit", "api", "--json")
    assert done.code == 99
    document = json.loads(done.out)
    assert document["vulnerabilities"] == {"scanner": "trivy", "reason": None}
    assert [(f["severity"], f["message"]) for f in document["findings"] if f["code"] == "BA010"] == [
        ("error", "libx 1 has CVE-1 (high; fixed in 2)"),
        ("warning", "libx 1 has CVE-2 (critical; no fixed version)"),
        ("note", "liby 1 has CVE-3 (low; no fixed version)"),
    ]
    words = argv.read_text()
    assert "--skip-db-update" in words
    assert "--offline-scan" in words
    assert bench.invoke("audit", "api").err.splitlines()[1].endswith("; vulnerabilities checked with trivy")


def test_grype_and_a_scanner_without_a_database(bench: Bench) -> None:
    arrange(bench)
    match = {
        "vulnerability": {"id": "CVE-9", "severity": "High", "fix": {"versions": ["3"]}},
        "artifact": {"name": "libz", "version": "1"},
    }
    scanner(bench, "grype", f"cat <<'X'\n{json.dumps({'matches': [match]})}\nX\n")
    assert (
        "error BA010 vulnerability: shop/api:dev\n    libz 1 has CVE-9 (high; fixed in 3)"
        in bench.invoke("audit", "api").out
    )
    for answer in ("echo 'failed to load vulnerability db' >&2; exit 1\n", "echo '[]'\n", "echo '{\"matches\": 1}'\n"):
        scanner(bench, "grype", answer)
        done = bench.invoke("audit", "api")
        assert done.code == 0
        assert "not checked for known vulnerabilities: grype failed for shop/api:dev: " in done.err
        assert "run `grype db update`" in done.err


def test_a_short_value_is_not_searched_for_in_files(bench: Bench) -> None:
    arrange(bench, api={"a": b"4711x"}, config={"Env": ["A=4711x"]})
    (bench.root / ".env").write_text("PIN_TOKEN=4711x\n")
    done = bench.invoke("audit", "api")
    assert done.code == 99
    assert "the variable A contains the value of PIN_TOKEN from .env" in done.out
    assert "because they are shorter than 8 characters: PIN_TOKEN" in done.err
