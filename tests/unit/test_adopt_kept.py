"""What `init` must leave as the user wrote it, because the converted line would not do the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from buildkit_tasks.adopt import files as adopted
from buildkit_tasks.distributions import users
from buildkit_tasks.dockerfiles import syntax
from buildkit_tasks.existing import install, shell_values
from buildkit_tasks.survey import composed
from buildkit_tasks.workspaces import cargo, tree
from tests.support.repositories import Files, locked, manifest
from tests.unit.test_adopt_lost import IMAGE, LEPTOS, SOURCES, START, finding_of, stage
from tests.unit.test_adopt_recipes import derived, understand
from tests.unit.test_adopt_stages import crate, found


@pytest.mark.parametrize(
    "text",
    [
        "RUN <<EOF\napt-get update # lists\napt-get install -y libpq-dev # x\ncurl x | sh\nEOF\n",
        "RUN <<EOF\nset -e\nprintf '[net]\nretry = 5\n' > /x\nEOF\n",
        "RUN <<EOF\n#!/bin/bash\nset -eo pipefail\ncurl x | sh\nEOF\n",
        "RUN bash -e <<'EOF'\nsource /env\nmake\nEOF\n",
        "RUN bash -e <<'EOF'\nmkdir -p /opt/{a,b}\nmake\nEOF\n",
        "RUN <<EOF\n./may-fail\nmake\nEOF\n",
        "RUN <<EOF\nset -e\n[ -f x ] && rm x\nmake\nEOF\n",
        "RUN <<EOF\nset -e\nmake\n./x || true\n./y\nEOF\n",
        "RUN <<EOF\nset -e\n! grep x y\nmake\nEOF\n",
        "RUN <<EOF\nset -e\n./x &\nmake\nEOF\n",
        "RUN <<EOF\nset -e\nset +e\n./x\nmake\nEOF\n",
        "RUN sh -e <<EOF\nx=1\necho $x\nEOF\n",
        "RUN <<EOF\nset -e\nmake \\\n# a comment ends the command\nall\nEOF\n",
    ],
)
def test_a_here_document_that_may_differ_from_a_chain_stays(text: str) -> None:
    item = next(syntax.instructions(text))
    assert install.flat(item) == item


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("RUN <<EOF\nset -e\n# all of it \\\n./a\n./b\nEOF\n", "set -e && ./a && ./b"),
        ("RUN bash -ex <<'EOF'\n./a 'x # y'\n./b\nEOF\n", "./a 'x # y' && ./b"),
        ("RUN <<EOF\n#!/bin/sh -e\n./a\n./b\nEOF\n", "./a && ./b"),
        ("RUN <<EOF\nset -e\n./a && ./b\nEOF\n", "set -e && ./a && ./b"),
        ("RUN <<EOF\napt-get update\napt-get install -y x\ncargo fetch\n./a\nEOF\n", None),
    ],
)
def test_a_here_document_that_is_a_chain_becomes_one(text: str, chain: str | None) -> None:
    flat = install.flat(next(syntax.instructions(text)))
    assert flat.body == ""
    assert flat.rest == (chain or "apt-get update && apt-get install -y x && cargo fetch && ./a")


@pytest.mark.parametrize(
    "debian",
    [
        "addgroup --system --gid 1001 app && adduser --system --uid 1001 --gid 1001 app",
        "addgroup --gid 7 app",
        "adduser --disabled-password --gecos '' app && adduser app sudo",
        'adduser -D -g "a > b" app',
    ],
)
def test_users_of_debian_s_own_tools_stay(debian: str) -> None:
    assert users.convert(debian) == debian


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("adduser -D app 2>/dev/null", "useradd -m app 2>/dev/null"),
        ("addgroup -S app 2>/dev/null || true", "groupadd -r app 2>/dev/null || true"),
        ("adduser -D app > /dev/null 2>&1 && ls", "useradd -m app > /dev/null 2>&1 && ls"),
        ("adduser -Du1000 app && addgroup -g7 b", "useradd -u 1000 -m app && groupadd -g 7 b"),
        ("adduser -D app && adduser app sudo", "useradd -m app && usermod -aG sudo app"),
        ("addgroup -S --gid 5 app", "groupadd -r -g 5 app"),
        (
            "addgroup -S b && adduser --system --ingroup b app",
            "groupadd -r b && adduser --system --ingroup b app",
        ),
    ],
)
def test_redirections_and_attached_values_are_not_names(given: str, expected: str) -> None:
    assert users.convert(given) == expected


def test_a_long_run_of_spaces_is_read_quickly() -> None:
    started = time.monotonic()
    text = f"A=$([ {' ' * 4000}; x && echo {' ' * 4000}"
    assert shell_values.chosen(text, lambda _: True) == text
    assert time.monotonic() - started < 1


def test_a_toolchain_without_a_version_is_not_another_version(tmp_path: Path) -> None:
    option = "--default-toolchain stable-x86_64-unknown-linux-gnu"
    dockerfile = f"FROM debian:12 AS build\nRUN curl https://sh.rustup.rs -sSf | sh -s -- -y {option}\n"
    _, notes = derived(tmp_path, f"{dockerfile}WORKDIR /app\n{SOURCES}{IMAGE}", images="bookworm")
    assert not [note for note in notes if "another version" in note]


@pytest.mark.parametrize(
    ("image", "older"),
    [
        ("almalinux:10", False),
        ("rockylinux/rockylinux:10-minimal", False),
        ("quay.io/centos/centos:stream10", False),
        ("almalinux:9", True),
        ("centos:stream9", True),
        ("amazonlinux:2023", True),
    ],
)
def test_only_an_image_with_an_older_c_library_is_named(tmp_path: Path, image: str, older: bool) -> None:
    _, notes = derived(tmp_path, f"FROM {image}\nCOPY target/release/app /bin/app\n")
    assert any("may have an older C library" in note for note in notes) == older


def test_git_in_a_repository_that_the_command_cloned_prepares_the_sources(tmp_path: Path) -> None:
    clone = "RUN git clone https://x.org/p.git vendor/p && cd vendor/p && git checkout abc\n"
    text, notes = derived(tmp_path, f"{START}COPY . .\n{clone}RUN cargo build --release\n{IMAGE}")
    assert "vendor/p && git checkout abc" in stage(text, "sources")
    assert not [note for note in notes if "not converted" in note]


def test_a_script_s_call_of_cargo_in_an_image_without_cargo_does_not_count(tmp_path: Path) -> None:
    script = '#!/bin/sh\nif [ -n "$DEV" ]; then exec cargo run; fi\nexec /bin/app\n'
    dockerfile = f"{START}{SOURCES}{IMAGE}COPY run.sh /run.sh\nCMD /run.sh\n"
    assert finding_of(tmp_path, dockerfile, {"run.sh": script}).services


def test_the_manifest_of_another_program_does_not_count(tmp_path: Path) -> None:
    dockerfile = "FROM debian:bookworm-slim\nCOPY target/release/app /bin/app\n"
    more = {"examples/web/Cargo.toml": manifest("web", LEPTOS), "examples/web/src/main.rs": "fn main() {}\n"}
    assert finding_of(tmp_path / "other", dockerfile, more).services
    root = "\n[workspace]\n[[workspace.metadata.leptos]]\nname = 'x'\nbin-package = '{}'\n"
    for name, services in (("web", 1), ("app", 0)):
        finding = finding_of(tmp_path / name, dockerfile, {"Cargo.toml": manifest("app", root.format(name))})
        assert len(finding.services) == services


@pytest.mark.parametrize(("path", "programs"), [("web/Dockerfile", ["api"]), ("Dockerfile", [])])
def test_a_dockerfile_with_another_tool_concerns_its_own_program(
    tmp_path: Path, path: str, programs: list[str]
) -> None:
    files: Files = {
        "Cargo.toml": '[workspace]\nresolver = "2"\nmembers = ["api", "web"]\n',
        "Cargo.lock": locked("api", "web"),
        path: "FROM rust:1\nWORKDIR /app\nCOPY . .\nRUN cargo leptos build --release\n",
    }
    for name in ("api", "web"):
        files |= {f"{name}/Cargo.toml": manifest(name), f"{name}/src/main.rs": "fn main() {}\n"}
    _, finding = found(tmp_path, files)
    assert [s.binary for s in finding.services] == programs


def test_programs_are_read_once_for_all_compose_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, _ = found(tmp_path, {**crate("app"), "a.yaml": "services:\n  a:\n    image: x/app:1\n"})
    calls: list[tree.Tree] = []
    real = cargo.workspaces

    def counted(files: tree.Tree) -> tuple[cargo.CargoWorkspace, ...]:
        calls.append(files)
        return tuple(real(files))

    monkeypatch.setattr(cargo, "workspaces", counted)
    starts_ours = composed.starting_ours(read)
    assert [starts_ours("a.yaml"), starts_ours("a.yaml")] == [True, True]
    assert len(calls) == 1


INFO = f"{IMAGE}COPY --from=build /etc/info /etc/info\n"


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        ("cat /etc/debian_version > /etc/info", True),
        ("echo built > /etc/info && cat /etc/info", True),
        ("grep VERSION /etc/os-release > /etc/info", True),
        ("echo x | sed s/x/y/ > /etc/info", True),
        ("cat VERSION > /etc/info", False),
        ("cat /app/VERSION > /etc/info", False),
        ("echo $(cat VERSION) > /etc/info", False),
        ("grep -r x > /etc/info", False),
        ("grep version Cargo.toml > /etc/info", False),
        ("sed -f /etc/x VERSION > /etc/info", False),
        ("git rev-parse HEAD > /etc/info", False),
    ],
)
def test_a_command_that_does_not_read_the_sources_still_writes_for_the_image(
    tmp_path: Path, command: str, kept: bool
) -> None:
    text, notes = derived(tmp_path, f"{START}{SOURCES}RUN {command}\n{INFO}", {"VERSION": "1\n"})
    assert (f"RUN {command}" in stage(text, "toolchain")) == kept
    assert any("not converted" in note for note in notes) == (not kept)


ROOT = "FROM rust:1-bookworm\nWORKDIR /app\nCOPY . .\nRUN cargo build --release\n"
CMD = "CMD target/release/app\n"


def lines_of(place: Path, dockerfile: str, more: Files | None = None) -> tuple[list[str], list[str]]:
    text, notes = derived(place, dockerfile, more)
    return [line for line in stage(text, "runtime").split("\n") if not line.startswith(" ")], notes


def test_sources_in_a_parent_of_cargo_s_directory_are_not_in_the_image(tmp_path: Path) -> None:
    dockerfile = "FROM rust:1-bookworm\nWORKDIR /app\nCOPY . .\nWORKDIR /app/src\nRUN cargo build --release\nCMD x\n"
    lines, notes = lines_of(tmp_path, dockerfile)
    assert not [line for line in lines if line.startswith("COPY . ")]
    assert not [note for note in notes if " with ." in note]


def test_a_relative_destination_of_a_single_stage_is_absolute(tmp_path: Path) -> None:
    more = 'WORKDIR /etc/x\nCOPY static/a.css ./\nCOPY ["static/a.css", "b.css"]\nCOPY static y\nWORKDIR /srv\n'
    lines, _ = lines_of(tmp_path, f"{ROOT}{more}{CMD}", {"static/a.css": "a\n"})
    copies = [line for line in lines if line.startswith("COPY ") and "--from" not in line]
    assert sorted(copies, key=copies.index)[:3] + sorted(copies[3:]) == [
        "COPY static/a.css /etc/x/",
        'COPY ["static/a.css", "/etc/x/b.css"]',
        "COPY static /etc/x/y",
        "COPY migrations /srv/migrations",
        "COPY static /srv/static",
    ]


def test_users_of_an_alpine_toolchain_become_debian_s(tmp_path: Path) -> None:
    dockerfile = ROOT.replace("rust:1-bookworm", "rust:alpine").replace("COPY", "RUN adduser -D -u 5 app2\nCOPY")
    text, _ = derived(tmp_path, f"{dockerfile}{CMD}")
    there = stage(text, "runtime")
    assert ("RUN useradd -u 5 -m app2" in there) == ("apk" not in there and "AS runtime" in text)
    assert "adduser" not in there


def test_the_user_of_a_command_that_also_installs_packages_stays(tmp_path: Path) -> None:
    user = "RUN apt-get update && apt-get install -y libpq5 && useradd -m app\n"
    chown = "COPY --chown=app:app static /srv/static\n"
    lines, notes = lines_of(tmp_path, f"{ROOT}{user}{chown}{CMD}", {"static/a.css": "a\n"})
    assert lines.index("RUN useradd -m app") < lines.index(chown.strip())
    assert not [note for note in notes if "useradd" in note]


def test_only_commands_on_copied_paths_are_in_the_image(tmp_path: Path) -> None:
    more = "COPY static /\nRUN chmod 700 /root\nCOPY start.sh /opt/start/\nRUN chmod +x /opt/start/start.sh\n"
    lines, notes = lines_of(tmp_path, f"{ROOT}{more}{CMD}", {"static/a.css": "a\n", "start.sh": "#!/bin/sh\n"})
    assert "COPY static /" in lines
    assert "RUN chmod 700 /root" not in lines
    assert any("RUN chmod 700 /root" in note for note in notes)
    assert "RUN chmod +x /opt/start/start.sh" in lines
    assert not [note for note in notes if "chmod +x" in note]


def test_a_repository_is_not_a_path_of_the_context(tmp_path: Path) -> None:
    read, finding = understand(tmp_path, f"{ROOT}ADD git@github.com:x/y.git /srv/y\n{CMD}")
    texts = adopted.write(read, finding).texts
    assert "ADD git@github.com:x/y.git /srv/y" in texts["docker/Dockerfile"]
    assert not [path for path, text in texts.items() if path.endswith("ignore") and "github" in text]


def test_values_of_env_are_as_written(tmp_path: Path) -> None:
    env = """ENV CARGO_TERM_COLOR=never A='a "$x" b' B="c\\\\d" C=e\\ f"""
    lines, _ = lines_of(tmp_path, f"{ROOT}{env}\n{CMD}")
    assert """ENV A='a "$x" b' B="c\\\\d" C=e\\ f""" in lines


@pytest.mark.parametrize(
    "copies", ["COPY rootfs/ /\nCOPY Cargo.* ./\nCOPY src ./src\n", "COPY static /opt\nCOPY . /opt/app\n"]
)
def test_a_copy_into_a_directory_without_sources_is_not_displaced(tmp_path: Path, copies: str) -> None:
    files: Files = {"rootfs/etc/x": "x\n", "static/a.css": "a\n"}
    start = START.replace("/app", "/opt/app")
    image = IMAGE.replace("/app/target", "/opt/app/target")
    _, notes = derived(tmp_path, f"{start}{copies}RUN cargo build --release\n{image}", files)
    assert not [note for note in notes if "at their paths in the repository" in note]
