"""What an installation would do on different machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Engine
from buildkit_tasks.core.world import World
from buildkit_tasks.engine import apt
from buildkit_tasks.engine import install as engine_install
from buildkit_tasks.engine.host import Release, parse_release
from buildkit_tasks.engine.install import AUTH_FILE, DAEMON_FILE, PIN_FILE, SOURCE_FILE, decide

BOOKWORM = Release("debian", (), "bookworm", "Debian GNU/Linux 12 (bookworm)")
TRIXIE = Release("debian", (), "trixie", "Debian GNU/Linux 13 (trixie)")
NOBLE = Release("ubuntu", ("debian",), "noble", "Ubuntu 24.04")
MIRROR = (
    apt.Source(("http://mirror.example/debian",), ("bookworm", "bookworm-updates"), ("main",), {"Signed-By": "/k"}),
)
OLD = {"docker.io": (20, 10, 24), "docker-compose": (1, 29, 2)}
NEW = {"docker.io": (26, 1, 5), "docker-cli": (26, 1, 5), "docker-buildx": (0, 13, 1), "docker-compose": (2, 26, 1)}
CLI_ONLY = Engine("", (), (), (), "", "", False)


def test_debian_12_gets_a_second_source_from_its_own_mirror_pinned_to_docker() -> None:
    plan = decide(BOOKWORM, MIRROR, OLD, (), None, daemon_json=False)
    files = dict(plan.files)
    assert set(files) == {SOURCE_FILE, PIN_FILE, DAEMON_FILE}
    (source,) = apt.parse_sources(files[SOURCE_FILE])
    assert (source.uri, source.suites, source.options) == (
        "http://mirror.example/debian",
        ("trixie",),
        {"Signed-By": "/k"},
    )
    assert "Package: docker.io docker-cli docker-buildx docker-compose containerd\n" in files[PIN_FILE]
    assert plan.packages == ("docker.io", "docker-cli", "iptables", "docker-buildx", "docker-compose")


def test_the_mirrors_password_is_in_a_file_for_root_alone() -> None:
    login = replace(MIRROR[0], uris=("https://ci:s3cr%40t@mirror.example/debian",))
    files = dict(decide(BOOKWORM, (login,), OLD, (), None, daemon_json=False).files)
    assert "s3cr" not in files[SOURCE_FILE]
    assert apt.parse_sources(files[SOURCE_FILE])[0].uri == "https://mirror.example/debian"
    assert "machine https://mirror.example login ci password s3cr@t\n" in files[AUTH_FILE]


def test_an_installation_that_was_killed_is_known_to_undo(tmp_path: Path) -> None:
    world = World(env={"PATH": str(tmp_path)}, cwd=tmp_path, home=tmp_path / "home")  # no `install`, no apt: it fails
    plan = decide(TRIXIE, (), NEW, (), None, daemon_json=False)
    with pytest.raises(Problem):
        engine_install.apply(world, plan, set())
    place = tmp_path / "root" / DAEMON_FILE.relative_to("/")
    place.parent.mkdir(parents=True)
    place.write_text(dict(plan.files)[DAEMON_FILE])
    assert engine_install.ours(world, tmp_path / "root") == (DAEMON_FILE,)


def test_a_release_that_is_new_enough_needs_no_second_source() -> None:
    plan = decide(TRIXIE, (), NEW, (), None, daemon_json=False)
    assert [path for path, _ in plan.files] == [DAEMON_FILE]
    assert plan.packages == ("docker.io", "docker-cli", "iptables", "docker-buildx", "docker-compose")


def test_ubuntu_has_its_own_names() -> None:
    have = {"docker.io": (27, 5, 1), "docker-buildx": (0, 20), "docker-compose-v2": (2, 33)}
    assert decide(NOBLE, (), have, (), None, daemon_json=False).packages == (
        *("docker.io", "iptables", "docker-buildx", "docker-compose-v2"),
    )


def test_a_client_without_plugins_and_engine_gets_all_three() -> None:
    assert "docker.io" in decide(TRIXIE, (), NEW, (), CLI_ONLY, daemon_json=False).packages


def test_an_engine_that_is_fine_keeps_its_packages_and_only_gets_plugins() -> None:
    plan = decide(TRIXIE, (), NEW, ("docker.io",), replace(CLI_ONLY, version=(26, 1, 5)), daemon_json=True)
    assert plan == engine_install.Plan((), ("docker-buildx", "docker-compose"))


@pytest.mark.parametrize(("there", "configured"), [(("docker.io",), False), ((), True)])
def test_an_engine_that_was_there_or_is_configured_is_not_configured_by_us(
    there: tuple[str, ...], configured: bool
) -> None:
    plan = decide(TRIXIE, (), NEW, there, None, daemon_json=configured)
    assert DAEMON_FILE not in dict(plan.files)


def test_dockers_own_packages_are_completed_by_their_kin() -> None:
    have = {**NEW, "docker-ce": (28, 0), "docker-buildx-plugin": (0, 20), "docker-compose-plugin": (2, 33)}
    plan = decide(TRIXIE, (), have, ("docker-ce",), replace(CLI_ONLY, version=(28, 0)), daemon_json=True)
    assert plan.packages == ("docker-buildx-plugin", "docker-compose-plugin")


@pytest.mark.parametrize(
    ("release", "hint"),
    [
        (Release("macos", (), "", "macOS"), "colima"),
        (Release("fedora", (), "", "Fedora Linux 42"), "dnf install"),
        (Release("rocky", ("rhel", "centos", "fedora"), "", "Rocky Linux 9"), "install/rhel"),
        (Release("opensuse-leap", ("suse", "opensuse"), "", "openSUSE Leap"), "zypper"),
        (Release("debian", (), "bullseye", "Debian GNU/Linux 11"), "docs.docker.com"),
        (Release("nixos", (), "", "NixOS"), "docs.docker.com"),
    ],
)
def test_elsewhere_the_instructions_are_exact(release: Release, hint: str) -> None:
    with pytest.raises(Problem) as caught:
        decide(release, (), OLD, (), None, daemon_json=False)
    assert caught.value.code == "engine-install-unsupported"
    assert hint in caught.value.hint
    assert release.name in caught.value.message


def test_os_release_is_read_with_its_quotes() -> None:
    text = 'PRETTY_NAME="Linux Mint 22"\nID=linuxmint\nID_LIKE="ubuntu debian"\n# x=y\nVERSION_CODENAME=wilma\n'
    found = parse_release(text)
    assert found == Release("linuxmint", ("ubuntu", "debian"), "wilma", "Linux Mint 22")
    assert found.apt
    assert not parse_release("ID=fedora\n").apt


def test_only_files_with_our_mark_are_ours_to_remove(tmp_path: Path) -> None:
    world = World(env={}, cwd=tmp_path, home=tmp_path / "home")
    root = tmp_path / "root"
    assert engine_install.ours(world, root) == ()
    for path, text in decide(BOOKWORM, MIRROR, OLD, (), None, daemon_json=False).files:
        place = root / path.relative_to("/")
        place.parent.mkdir(parents=True)
        place.write_text(text)
    # daemon.json counts once our installation has been recorded
    assert engine_install.ours(world, root) == (SOURCE_FILE, PIN_FILE)
    world.state_home.mkdir(parents=True)
    (world.state_home / "engine-install.json").write_text('{"packages": ["docker.io"]}')
    assert engine_install.ours(world, root) == (SOURCE_FILE, PIN_FILE, DAEMON_FILE)
    (root / DAEMON_FILE.relative_to("/")).write_text("{}")
    (root / SOURCE_FILE.relative_to("/")).write_text("Types: deb\n")
    assert engine_install.ours(world, root) == (PIN_FILE,)
