"""`invoke lint` on a real command line: discovery, output formats, exit codes, hadolint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Bench, service

FIXTURES = Path(__file__).parents[1] / "fixtures/lint"
CLEAN = (FIXTURES / "clean-sync/Dockerfile").read_text()
IGNORE = "*\n!Cargo.toml\n!Cargo.lock\n!src\n"


@pytest.fixture(autouse=True)
def _only_the_fakes(bench: Bench) -> None:
    """Remove this Python environment's hadolint from PATH; tests add their own."""
    bench.env["PATH"] = f"{bench.place}/bin:/usr/bin:/bin"


def arrange(bench: Bench, dockerfile: str = CLEAN, ignore: str = IGNORE) -> None:
    (bench.root / "docker" / "Dockerfile").write_text(dockerfile)
    (bench.root / ".dockerignore").write_text(ignore)


def hadolint(bench: Bench, answer: str) -> None:
    program = bench.place / "bin" / "hadolint"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {bench.place}/hadolint.argv\npwd >> {bench.place}/hadolint.argv\n{answer}'
    )
    program.chmod(0o755)


def test_without_findings_the_exit_code_is_0_and_no_engine_is_asked(bench: Bench) -> None:
    arrange(bench)
    done = bench.invoke("lint")
    assert (done.code, done.out) == (0, "")
    assert done.err == ("docker/Dockerfile: nothing found; without hadolint (only the BT rules were checked)\n")
    # compose finds its files itself; extensions, which only its YAML would include, do not occur
    assert [c["argv"] for c in bench.calls] == [["compose", "config", "--format", "json"]]


def test_a_finding_is_told_with_reason_remedy_and_heading_and_the_problem_comes_last(bench: Bench) -> None:
    arrange(bench, CLEAN.replace(",sharing=locked", ""))
    done = bench.invoke("lint")
    assert done.code == 30
    lines = done.out.splitlines()
    assert lines[0].startswith("docker/Dockerfile:7: error BT003: The target mount /app/target is shared (the default)")
    assert [line[:11] for line in lines[1:]] == ["    why:   ", "    fix:   ", "    more:  "]
    assert lines[3].endswith("docs/reference/lint.md#bt003-shared-target")
    assert done.err.splitlines()[1] == "error[lint-failed]: 1 error in 1 Dockerfile."


def test_json_is_one_document_also_where_it_fails(bench: Bench) -> None:
    text = CLEAN.replace(",sharing=locked", "").replace("id=shop-registry,", "")
    arrange(bench, text.replace("RUN --mount", "# buildkit-tasks: ignore=BT003 one builder\nRUN --mount"))
    done = bench.invoke("lint", "--json")
    assert (done.code, done.err) == (30, "")
    document = json.loads(done.out)
    assert (document["schema"], document["files"], document["hadolint"]) == (1, ["docker/Dockerfile"], False)
    assert [(f["code"], f["severity"], f["line"]) for f in document["findings"]] == [("BT001", "warning", 7)]
    assert set(document["findings"][0]) == {
        *("code", "severity", "file", "line", "message", "why", "sources", "remedy", "docs")
    }
    assert [(f["code"], f["reason"]) for f in document["suppressed"]] == [("BT003", "one builder")]
    assert document["error"]["code"] == "lint-failed"


def test_sarif_is_all_of_stdout(bench: Bench) -> None:
    arrange(bench, CLEAN.replace(",sharing=locked", ""))
    done = bench.invoke("lint", "--sarif")
    assert done.code == 30
    run = json.loads(done.out)["runs"][0]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "docker/Dockerfile"}, "region": {"startLine": 7}}
    assert bench.invoke("lint", "--sarif", "--json").code == 33


def test_the_services_arguments_and_platforms_come_from_the_compose_file(bench: Bench) -> None:
    arrange(bench, CLEAN.replace("ARG TARGETARCH", "ARG TARGETARCH BIN=x"))
    assert "BIN differs between the services" in bench.invoke("lint").out
    entry = service(bench.root, "api")
    entry["build"]["platforms"] = ["linux/amd64", "linux/arm64"]
    bench.reply("config --format json", stdout=json.dumps({"services": {"api": entry}}))
    done = bench.invoke("lint")  # the document has no `name:`: missing cache scopes do not prevent linting
    assert "BT007" not in done.out
    assert "BT014: This step and the same step for another platform can write to the mount" in done.out


def test_scripts_are_read_in_the_context_and_never_outside(bench: Bench) -> None:
    script = "#!/bin/sh\nrsync -rc /context/ /app/\ncargo build\n"
    text = CLEAN.replace("rsync -rlpc --delete --exclude=/target /context/ /app/", "sh /context/src/sync.sh")
    arrange(bench, text)
    assert "BT008" in bench.invoke("lint").out
    (bench.root / "src").mkdir()
    (bench.place / "sync.sh").write_text(script)
    (bench.root / "src" / "sync.sh").symlink_to(bench.place / "sync.sh")
    assert "BT008" in bench.invoke("lint").out
    (bench.root / "src" / "sync.sh").unlink()
    (bench.root / "src" / "sync.sh").write_text(script)
    assert bench.invoke("lint").code == 0


def test_the_dockerignore_beside_the_dockerfile_comes_first(bench: Bench) -> None:
    arrange(bench, ignore="")
    assert {line.split()[2] for line in bench.invoke("lint").out.splitlines() if line[0] != " "} == {"BT010:", "BT011:"}
    (bench.root / "docker" / "Dockerfile.dockerignore").write_text(IGNORE)
    assert bench.invoke("lint").code == 0


def test_any_dockerfile_can_be_named_without_project_or_docker(bench: Bench) -> None:
    other = bench.place / "other"
    other.mkdir()
    (other / "tasks.py").write_text("from buildkit_tasks import namespace\n")
    (other / "Dockerfile").write_text(CLEAN)
    (other / "Dockerfile.dev").write_text((FIXTURES / "classic/Dockerfile").read_text())
    (other / ".dockerignore").write_text(IGNORE)
    (bench.place / "bin" / "docker").unlink()
    bench.root = other
    assert bench.invoke("lint", "--file", "Dockerfile").code == 0
    both = bench.invoke("lint", "--file", "Dockerfile", "--file", "Dockerfile.dev", "--json")
    found = json.loads(both.out)
    assert found["files"] == ["Dockerfile", "Dockerfile.dev"]
    assert {f["file"] for f in found["findings"]} == {"Dockerfile.dev"}
    assert bench.invoke("lint", "--file", "Dockerfile", "--context", "..").code == 30
    assert bench.invoke("lint").code == 3
    missing = bench.invoke("lint", "--file", "nowhere")
    assert missing.code == 33
    assert f"{other}/nowhere cannot be read" in missing.err


def test_hadolint_takes_part_where_it_is_installed(bench: Bench) -> None:
    arrange(bench, CLEAN.replace("RUN --mount", "# buildkit-tasks: ignore=DL3059 wanted\nRUN --mount"))
    listed = [
        {"code": "DL3059", "column": 1, "file": "docker/Dockerfile", "level": "info", "line": 6, "message": "Runs."},
        {
            "code": "SC2086",
            "column": 1,
            "file": "docker/Dockerfile",
            "level": "warning",
            "line": 7,
            "message": "Quote.",
        },
        {"code": "DL3006", "column": 1, "file": "docker/Dockerfile", "level": "ignore", "line": 2, "message": "Tag."},
    ]
    hadolint(bench, f"cat <<'X'\n{json.dumps(listed)}\nX\n")
    done = bench.invoke("lint", "--json")
    assert done.code == 30
    found = json.loads(done.out)
    assert found["hadolint"] is True
    assert [(f["code"], f["severity"], f["docs"]) for f in found["findings"]] == [
        ("SC2086", "warning", "https://www.shellcheck.net/wiki/SC2086")
    ]
    assert [f["code"] for f in found["suppressed"]] == ["DL3059"]
    argv = (bench.place / "hadolint.argv").read_text().splitlines()
    assert argv == ["--no-fail --format json docker/Dockerfile", str(bench.root)]


def test_a_hadolint_that_breaks_is_a_warning_and_our_rules_still_count(bench: Bench) -> None:
    arrange(bench, CLEAN.replace(",sharing=locked", ""))
    for answer in ("echo 'no such option' >&2; exit 1\n", "echo '{\"a\": 1}'\n", 'echo \'[{"level": "error"}]\'\n'):
        hadolint(bench, answer)
        done = bench.invoke("lint")
        assert done.code == 30
        assert "warning: hadolint failed" in done.err
        assert "BT003" in done.out


def test_what_cannot_be_looked_at_is_said(bench: Bench) -> None:
    arrange(bench)
    inline = {"build": {"context": str(bench.root), "dockerfile_inline": "FROM rust\n"}}
    remote = {"build": {"context": "https://github.com/example/shop.git#main"}}
    services = {"api": service(bench.root, "api"), "extra": inline, "far": remote}
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": services}))
    done = bench.invoke("lint")
    assert done.code == 0
    assert "warning: skipping the service extra: its Dockerfile is inline in the compose file" in done.err
    assert (
        "warning: skipping the service far: its build context is remote (https://github.com/example/shop.git#main)"
        in done.err
    )
    bench.reply("config --format json", stdout=json.dumps({"name": "shop", "services": {}}))
    assert bench.invoke("lint").code == 7
