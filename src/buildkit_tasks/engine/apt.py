"""Debian's package sources as text: parses both formats, writes one, and finds this machine's mirror. Pure.

Formats: sources.list(5) (one-line), deb822(5) (.sources files).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote, urlsplit, urlunsplit

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Source:
    """One entry. `options` are deb822 field names (`Signed-By`, `Trusted`, …) to values."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...] = ("main",)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The first URL, without a trailing slash."""
        return self.uris[0].rstrip("/")


def fields(text: str) -> Iterator[dict[str, str]]:
    """Yield the paragraphs of a deb822 text, with continuation lines joined by newlines and without comments."""
    paragraph: dict[str, str] = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if paragraph:
                yield paragraph
            paragraph, last = {}, ""
        elif line[0] in " \t" and last:
            paragraph[last] += "\n" + line.strip()
        elif ":" in line:
            last, _, value = line.partition(":")
            last = last.strip()
            paragraph[last] = value.strip()


def parse_sources(text: str) -> tuple[Source, ...]:
    """Return the enabled entries of a .sources file that provide binary packages."""
    found = []
    for raw in fields(text):
        entry = {k.lower(): (k, v) for k, v in raw.items()}
        value = {k: v for k, (_, v) in entry.items()}
        if value.get("enabled", "yes").lower() in ("no", "false", "0") or "deb" not in value.get("types", "").split():
            continue
        if not value.get("uris") or not value.get("suites"):
            continue
        known = {"types", "uris", "suites", "components", "enabled", "x-repolib-name"}
        options = {name: v for k, (name, v) in entry.items() if k not in known}
        found.append(
            Source(
                tuple(value["uris"].split()),
                tuple(value["suites"].split()),
                tuple(value.get("components", "").split()),
                options,
            )
        )
    return tuple(found)


_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<components>[^#]*)")


def parse_list(text: str) -> tuple[Source, ...]:
    """Return the entries of a one-line style .list file that provide binary packages."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.strip())
        if not match:
            continue
        options = {}
        for word in shlex.split(match["options"] or ""):
            name, _, value = word.partition("=")
            options["-".join(part.capitalize() for part in name.split("-"))] = value
        found.append(Source((match["uri"],), (match["suite"],), tuple(match["components"].split()), options))
    return tuple(found)


def render(sources: Sequence[Source]) -> str:
    """Format the entries as a .sources file."""
    blocks = []
    for source in sources:
        lines = ["Types: deb", f"URIs: {' '.join(source.uris)}", f"Suites: {' '.join(source.suites)}"]
        if source.components:
            lines.append(f"Components: {' '.join(source.components)}")
        for name, value in source.options.items():
            # An inline key is a separate paragraph: continuation lines start with a space, empty ones with a dot.
            lines.append(f"{name}: " + "\n ".join(value.split("\n")))
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def debian_main(sources: Sequence[Source], codename: str = "") -> Source | None:
    """Return the entry for Debian itself, with the machine's release as its suite and the component main."""
    for source in sources:
        if "main" not in source.components or not source.uri.startswith(("http://", "https://", "file:", "mirror+")):
            continue
        if codename in source.suites if codename else any(s in RELEASES for s in source.suites):
            return replace(source, suites=(codename,) if codename else source.suites[:1])
    return None


#: Releases on mirrors that also have the other releases.
RELEASES = ("bookworm", "trixie", "forky", "bullseye", "sid", "stable", "testing", "unstable", "oldstable")


def for_suite(sources: Sequence[Source], codename: str, suite: str) -> tuple[Source, ...]:
    """Return entries for another Debian `suite` from the mirrors that a machine of release `codename` uses.

    Main and updates come from the machine's own mirror, security from its security mirror. If the machine has none (not
    Debian, or no security entry), Debian's public mirror is used.
    """
    main = debian_main(sources, codename) or Source(("http://deb.debian.org/debian",), ("",), ("main",))
    options = main.options or {"Signed-By": KEYRING}
    base = Source(main.uris, (suite, f"{suite}-updates"), ("main",), options)
    own = next((s for s in sources for name in s.suites if codename and name == f"{codename}-security"), None)
    uris = own.uris if own else ("http://deb.debian.org/debian-security",)
    return base, Source(uris, (f"{suite}-security",), ("main",), (own.options if own else None) or options)


def without_credentials(source: Source) -> tuple[Source, tuple[str, ...]]:
    """Return the entry without user and password in its URLs, and the auth.conf(5) lines with these credentials."""
    bare, auth = [], []
    for uri in source.uris:
        parts = urlsplit(uri)
        if parts.username is None:
            bare.append(uri)
            continue
        host = parts.hostname or ""
        place = host + (f":{parts.port}" if parts.port else "")
        bare.append(urlunsplit((parts.scheme, place, parts.path, parts.query, parts.fragment)))
        auth.append(
            f"machine {parts.scheme}://{place} login {unquote(parts.username)} password {unquote(parts.password or '')}"
        )
    return replace(source, uris=tuple(bare)), tuple(auth)


def netrc(lines: Sequence[str]) -> str:
    """Convert auth.conf(5) lines to netrc, which supports only hosts: no scheme, no port."""
    return "".join(re.sub(r"^machine \w+://([^\s:/]+)(?::\d+)?", r"machine \1", line) + "\n" for line in lines)


def pin(release: str, packages: Sequence[str]) -> str:
    """Return preferences that allow only these packages from a release. See apt_preferences(5)."""
    return (
        f"# Install nothing from {release} ...\n"
        f"Package: *\nPin: release n={release}\nPin-Priority: -10\n\n"
        f"# ... except these packages, which are too old in this machine's release.\n"
        f"Package: {' '.join(packages)}\nPin: release n={release}\nPin-Priority: 990\n"
    )
