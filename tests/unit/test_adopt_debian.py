"""`--images bookworm`: how Alpine images and images that compile are converted to Debian's slim image."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildkit_tasks.distributions import users
from tests.support import process
from tests.support.repositories import Files
from tests.unit.test_adopt_recipes import BUILD, CRATE, END, derived

ALPINE = BUILD.replace("debian:bookworm-slim", "alpine:3.21")


def installed(text: str) -> str:
    lines = [line for line in text.split("\n") if line.startswith("ARG RUNTIME_PACKAGES=")]
    return lines[0].partition("=")[2].strip('"') if lines else ""


@pytest.mark.parametrize(
    ("lines", "more", "packages"),
    [
        ("HEALTHCHECK --interval=1m CMD wget -q --spider http://localhost/ || exit 1\n", {}, "wget"),
        ('HEALTHCHECK CMD ["/usr/bin/wget", "-q", "http://localhost/"]\n', {}, "wget"),
        ("RUN apk add --no-cache wget\nHEALTHCHECK CMD wget http://localhost/\n", {}, "wget"),
        ("RUN set -e; for f in a b; do wget http://example.org/$f; done\n", {}, "wget"),
        ('CMD ["sh", "-c", "until nc -z db 5432; do sleep 1; done; exec /bin/app"]\n', {}, "netcat-openbsd"),
        ("CMD /bin/app --with wget\n", {}, ""),
        (
            'COPY start.sh /\nENTRYPOINT ["/start.sh"]\n',
            {"start.sh": "#!/bin/sh\nwhile ! nc -z db 1; do :; done\n"},
            "netcat-openbsd",
        ),
        ("COPY notes /\n", {"notes": "wget http://example.org\n"}, ""),
    ],
)
def test_programs_of_busybox_that_an_image_calls_are_installed(
    tmp_path: Path, lines: str, more: Files, packages: str
) -> None:
    text, notes = derived(tmp_path / "a", ALPINE + lines + END, more, images="bookworm")
    assert installed(text) == packages
    assert notes == []
    text, _ = derived(
        tmp_path / "b", ALPINE.replace("alpine:3.21", "ubuntu:24.04") + lines + END, more, images="bookworm"
    )
    assert installed(text) == ("wget" if "apk add" in lines else "")


@pytest.mark.parametrize(
    "test",
    ['["CMD", "wget", "-q", "http://localhost/"]', '["CMD-SHELL", "true && wget http://localhost/"]', "wget -q a"],
)
def test_a_health_check_of_compose_finds_its_program(tmp_path: Path, test: str) -> None:
    compose = f"{CRATE['compose.yaml']}    healthcheck:\n      test: {test}\n"
    text, _ = derived(tmp_path, ALPINE + END, {"compose.yaml": compose}, images="bookworm")
    assert installed(text) == "wget"


def test_an_image_that_was_the_toolchain_has_the_programs_that_it_calls(tmp_path: Path) -> None:
    single = "WORKDIR /app\nCOPY . .\nRUN cargo build --release\nHEALTHCHECK CMD curl -f localhost\nCMD /bin/app\n"
    assert installed(derived(tmp_path / "a", f"FROM rust:1-bookworm\n{single}")[0]) == "curl"
    assert installed(derived(tmp_path / "b", f"FROM rust:1.80\n{single}", images="bookworm")[0]) == "curl"
    assert installed(derived(tmp_path / "c", f"FROM rust:1-slim-bookworm\n{single}")[0]) == ""
    alpine = single.replace("curl -f", "wget -q")
    assert installed(derived(tmp_path / "d", f"FROM rust:1.80-alpine\n{alpine}", images="bookworm")[0]) == "wget"


SCRIPTS = {
    "a loop": "RUN set -x; apk add bash tzdata \\\n  && for f in a b; do echo $f; done \\\n  && chmod a+r /srv\n",
    "an or": "RUN set -eux; apk add -t .tmp \\\n gnupg \\\n  ; \\\n  which x && x --kill || :; \\\n  apk del .tmp\n",
    "a here-document": "RUN <<EOF\nset -e\napk add --no-cache bash\nif true; then\n  echo yes\nfi\nEOF\n",
    "a test": 'RUN if [ "$A" = b ]; then apk add --no-cache bash; else apk update; fi\n',
    "a group": "RUN (apk add bash) && { apk add gnupg; }\n",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_installs_alpine_packages_stays_a_script(tmp_path: Path, name: str) -> None:
    text, notes = derived(tmp_path, ALPINE + SCRIPTS[name] + "EXPOSE 1\n" + END, images="bookworm")
    assert "apk" not in text
    assert "apt-get update && apt-get install -y --no-install-recommends" in text
    assert notes == []
    at = text.index("AS runtime")
    script = text[text.index("RUN", at) + 3 : text.index("EXPOSE", at)]
    words = [w for w in ("for f in a b; do echo $f; done", "x --kill || :;", "else :; fi") if w in SCRIPTS[name]]
    assert all(word in script for word in words)
    if name == "a here-document":
        assert "\nset -e\napt-get update" in script
        assert script.rstrip().endswith("\nEOF")
        return
    place = tmp_path / "script.sh"
    place.write_text(script.partition("0444 \\\n")[2] or script)
    process.ok(["sh", "-n", place], tmp_path)


@pytest.mark.parametrize(
    ("given", "installed_now"),
    [
        ("docker-cli tini libssl3t64", "docker.io tini libssl3"),
        ("libicu76=76.1-4 libpython3.13 python3.13-venv", "libicu72 libpython3.11 python3.11-venv"),
        (
            "netcat mysql-client libmysqlclient-dev libmysqlclient21",
            "netcat-openbsd default-mysql-client default-libmysqlclient-dev libmariadb3",
        ),
        (
            "libffi7 libssl1.1 libprotobuf-lite32t64 openjdk-21-jre-headless",
            "libffi8 libssl3 libprotobuf-lite32 openjdk-17-jre-headless",
        ),
        ("python3 python3-pip libffi-dev libicu-dev libpq5 libzip-dev netcat-openbsd",) * 2,
    ],
)
def test_packages_of_other_releases_have_their_names_in_debian_12(
    tmp_path: Path, given: str, installed_now: str
) -> None:
    old = BUILD.replace("bookworm-slim", "trixie-slim")
    lines = f"RUN apt-get update && apt-get install -y --no-install-recommends \\\n    {given}\n"
    text, notes = derived(tmp_path / "a", old + lines + END, images="bookworm")
    assert installed(text) == installed_now
    assert notes == []
    script = f"RUN if true; then apt-get install -y {given}; fi\n"
    assert f"apt-get install -y {installed_now};" in derived(tmp_path / "b", old + script + END, images="bookworm")[0]


def test_what_compiling_a_stub_needs_is_no_note(tmp_path: Path) -> None:
    dummy = "COPY Cargo.toml .\nRUN mkdir src && cargo build\nRUN rm ./src/main.rs && rmdir ./src\n"
    build = ALPINE.replace("COPY . .\n", f"{dummy}COPY . .\n").replace("WORKDIR", "RUN apk add libc-dev\nWORKDIR")
    assert derived(tmp_path, build + END, images="bookworm")[1] == []


@pytest.mark.parametrize(
    ("suite", "named"),
    [("bullseye-pgdg", "bullseye-pgdg"), ("jammy", "jammy"), ("bookworm-pgdg", ""), ("$(lsb_release -cs)-pgdg", "")],
)
def test_a_package_source_for_another_release_is_reported_with_its_line(tmp_path: Path, suite: str, named: str) -> None:
    source = f'RUN echo "deb [trusted=yes] https://apt.postgresql.org/pub/repos/apt {suite} main" > /etc/apt/x\n'
    build = "FROM rust:1.80 AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\nFROM debian:bullseye-slim\n"
    notes = derived(tmp_path, build + source + END, images="bookworm")[1]
    wanted = f"Dockerfile:6: the package source names {named}, but the image is now Debian 12"
    assert [note.startswith(wanted) for note in notes if "package source" in note] == [True] * bool(named), notes


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("addgroup -S z && adduser -S z -G z", "groupadd -r z && useradd -r -g z -m z"),
        ("addgroup -S z && adduser -S z", "groupadd -r z && useradd -r -g nogroup -m z"),
        (
            "addgroup -g 7 z && adduser -u 7 -G z -s /bin/sh -D z",
            "groupadd -g 7 z && useradd -u 7 -g z -s /bin/sh -m z",
        ),
        ("adduser -SDH -h /srv z z", "useradd -r -g z -d /srv z"),
        ('adduser -D -g "a b" z', 'useradd -c "a b" -m z'),
        ("adduser -D z && addgroup z www-data", "useradd -m z && usermod -aG www-data z"),
        ("adduser -D --uid 7 z && chown z /x", "useradd -u 7 -m z && chown z /x"),
        ("adduser --disabled-password --gecos '' z", "adduser --disabled-password --gecos '' z"),
        ("adduser -D -x z", "adduser -D -x z"),
    ],
)
def test_users_of_busybox_are_users_of_debian(given: str, expected: str) -> None:
    """Each of these commands runs in debian:bookworm-slim, except the last one, which no version accepts."""
    assert users.convert(given) == expected
