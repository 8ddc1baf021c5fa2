"""Package sources: both formats are read, one is written, and the resulting mirror of a machine."""

from __future__ import annotations

from buildkit_tasks.engine import apt

DEB822 = """\
# the distribution
Types: deb deb-src
# a comment inside
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/company.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://off.example
Suites: bookworm
Components: main

Types: deb-src
URIs: http://src.example
Suites: bookworm
Components: main
"""

ONE_LINE = """\
# deb http://off.example bookworm main
deb [arch=amd64 signed-by=/k.gpg] https://u:p%40ss@mirror.example:8443/debian bookworm main non-free # why
deb-src http://mirror.example/debian bookworm main
deb cdrom:[Debian]/ bookworm main
"""


def test_deb822_gives_the_entries_that_are_on_and_binary() -> None:
    first, second = apt.parse_sources(DEB822)
    assert (first.uri, first.suites) == ("http://mirror.example/debian", ("bookworm", "bookworm-updates"))
    assert first.components == ("main", "contrib")
    assert first.options == {"Signed-By": "/usr/share/keyrings/company.gpg"}
    assert second.options["Signed-By"].splitlines()[1:4] == ["-----BEGIN PGP PUBLIC KEY BLOCK-----", ".", "mQINBF"]


def test_what_is_written_is_read_back() -> None:
    sources = apt.parse_sources(DEB822)
    assert apt.parse_sources(apt.render(sources)) == sources


def test_one_line_options_become_fields() -> None:
    (source, _cdrom) = apt.parse_list(ONE_LINE)
    assert source.options == {"Arch": "amd64", "Signed-By": "/k.gpg"}
    assert source.components == ("main", "non-free")


def test_another_suite_comes_from_the_machines_own_mirrors() -> None:
    base, security = apt.for_suite(apt.parse_sources(DEB822), "bookworm", "bookworm")
    assert (base.uri, base.suites) == ("http://mirror.example/debian", ("bookworm", "bookworm-updates"))
    assert (security.uri, security.suites) == ("http://mirror.example/security", ("bookworm-security",))


def test_a_machine_without_debian_uses_the_public_mirror() -> None:
    ubuntu = apt.Source(("http://archive.ubuntu.com/ubuntu",), ("noble",), ("main",))
    base, security = apt.for_suite([ubuntu], "noble-is-no-debian", "bookworm")
    assert base.uri == "http://deb.debian.org/debian"
    assert security.uri == "http://deb.debian.org/debian-security"
    assert base.options == {"Signed-By": apt.KEYRING}


def test_credentials_leave_the_address_and_go_to_auth_conf() -> None:
    (source, _) = apt.parse_list(ONE_LINE)
    bare, auth = apt.without_credentials(source)
    assert bare.uri == "https://mirror.example:8443/debian"
    assert auth == ("machine https://mirror.example:8443 login u password p@ss",)
    assert apt.without_credentials(bare) == (bare, ())


def test_a_pin_lets_only_the_named_packages_in() -> None:
    text = apt.pin("trixie", ("docker.io", "docker-cli"))
    everything, ours = [p for p in apt.fields(text) if "Package" in p]
    assert (everything["Package"], everything["Pin-Priority"]) == ("*", "-10")
    assert (ours["Package"], ours["Pin-Priority"]) == ("docker.io docker-cli", "990")


def test_a_mirrors_login_as_wget_reads_it() -> None:
    source = apt.Source(("https://ci:s3cr%40t@mirror.example:8443/debian", "http://plain.example/debian"), ("sid",))
    bare, login = apt.without_credentials(source)
    assert bare.uris == ("https://mirror.example:8443/debian", "http://plain.example/debian")
    assert apt.netrc(login) == "machine mirror.example login ci password s3cr@t\n"
    assert apt.netrc(()) == ""
