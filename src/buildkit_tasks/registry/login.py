"""Credentials for a registry: reads those stored by docker, and answers the registry's challenge.

The files and their helpers: https://docs.docker.com/reference/cli/docker/login/; the token protocol:
https://distribution.github.io/distribution/spec/auth/token/ and oauth/.
"""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildkit_tasks.core import readfile, run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World

from . import reader
from .names import HUB, HUB_LOGIN, HUB_NAMES, Denied, Malformed, printable

#: Timeout of a credential helper in seconds.
HELPER_SECONDS = 10.0

#: Text that may be part of a header.
_HEADER = r"[\x21-\x7e]*"

#: The user name in a helper's response if it has only an identity token.
_TOKEN_USER = "<token>"  # noqa: S105  # a name, not a token


@dataclass(frozen=True)
class Credentials:
    """A user and password, an identity token for the token server, or a token for the registry itself."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The header for user and password; empty if there are none."""
        if not self.user:
            return ""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Challenge:
    """A registry's challenge: kind (basic or bearer); for bearer, where to get tokens, for which service and scope."""

    kind: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def challenge(header: str, repository: str, method: str) -> Challenge | None:
    """Parse WWW-Authenticate; None if we cannot answer the challenge.

    Only accepts a scope for our repository: a challenge must not request a token for another one.
    """
    header = header[:4096]
    bearer = re.search(r"\bbearer\s+(.*)", header, re.IGNORECASE)
    if not bearer:
        return Challenge("basic") if re.match(r"\s*basic\b", header, re.IGNORECASE) else None
    wanted = dict(re.findall(r'(?<!\w)(\w+)="([^"]*)"', bearer[1]))
    usual = f"repository:{repository}:{'pull' if method in ('GET', 'HEAD') else 'pull,push'}"
    ours = re.fullmatch(
        rf"repository:{re.escape(repository)}:(pull|push|delete|\*)(,(pull|push|delete|\*))*", wanted.get("scope", "")
    )
    return Challenge("bearer", wanted.get("realm", ""), wanted.get("service", ""), wanted["scope"] if ours else usual)


def without_scopes(realm: str) -> str:
    """Return the URL of a token server without the scopes and services in its query: we add ours."""
    parts = urllib.parse.urlsplit(realm)
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in query if name not in ("scope", "service")]
    if len(kept) == len(query):
        return realm
    return urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(kept)))


def credentials(world: World, host: str) -> Credentials | None:
    """Return docker's credentials for a registry, from a credential helper if one is configured.

    None if there are none. Raises `Denied` if a helper fails: a logged-in user should not silently become anonymous.
    """
    try:
        config = reader.document(readfile.content(world.docker_config / "config.json"), "docker's config.json")
        helpers = reader.mapping(config.get("credHelpers") or {}, "credHelpers")
        auths = reader.mapping(config.get("auths") or {}, "auths")
    except (OSError, Malformed):
        return None
    names = HUB_NAMES | {HUB_LOGIN} if host in HUB_NAMES else frozenset({host})
    for name, helper in [
        *helpers.items(),
        *([(_asked(host), config["credsStore"])] if config.get("credsStore") else []),
    ]:
        if name in names and not helper:
            break  # docker stores this one in config.json itself
        if name in names:
            return _helped(world, world.docker_config, helper, name)
    for name, entry in auths.items():
        if _host(name) in names and isinstance(entry, dict):
            return _stored(entry)
    return None


def _asked(host: str) -> str:
    """Return the name that docker uses for a registry in a credential store."""
    return HUB_LOGIN if host == HUB or host in HUB_NAMES else host


def _host(name: str) -> str:
    """Return the host of an entry, which may be a URL: https://host/v1/."""
    return re.sub(r"^https?://", "", name).partition("/")[0]


def _stored(entry: dict[str, Any]) -> Credentials | None:
    words = {name: entry.get(name) for name in ("auth", "username", "password", "identitytoken", "registrytoken")}
    known = {name: value for name, value in words.items() if isinstance(value, str)}
    user, password = known.get("username", ""), known.get("password", "")
    if known.get("auth"):
        try:
            user, _, password = base64.b64decode(known["auth"], validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
    found = Credentials(user, password.rstrip("\0"), known.get("identitytoken", ""), known.get("registrytoken", ""))
    return _usable(found, "docker's config.json") if found != Credentials() else None


def _usable(found: Credentials, source: str) -> Credentials:
    """Return the credentials, if they fit into a request: the error of an HTTP library would print them."""
    texts = (found.user, found.password, found.identity)
    if any("\ud800" <= char <= "\udfff" for text in texts for char in text) or not re.fullmatch(_HEADER, found.token):
        raise Denied(f"{source} contains credentials with invalid characters")
    return found


def _helped(world: World, folder: Path, helper: object, name: str) -> Credentials | None:
    if not (isinstance(helper, str) and re.fullmatch(r"[A-Za-z0-9][\w.-]*", helper)):
        raise Denied(f"docker's config.json contains an invalid credential helper: {printable(helper, 40)!r}")
    program = f"docker-credential-{helper}"
    try:
        result = run.capture(world, Command((program, "get"), folder, stdin=name), timeout=HELPER_SECONDS)
    except Problem as problem:
        raise Denied(f"{program}: {problem.message}") from problem
    if result.code == run.TIMED_OUT:
        raise Denied(f"{program} did not finish within {HELPER_SECONDS:.0f} s")
    if result.code != 0:
        if "not found" in result.stdout.lower():  # the protocol's text for "not logged in"
            return None
        said = result.stdout.strip() or result.stderr.strip()
        shown = "it printed credentials" if "{" in said else printable(said, 80)
        raise Denied(f"{program} failed with exit code {result.code}: {shown}")
    try:
        said_all = reader.document(result.stdout.encode(), "its output")
        user = reader.text(said_all.get("Username"), "Username")
        secret = reader.text(said_all.get("Secret"), "Secret")
    except Malformed as error:
        raise Denied(f"{program} does not follow docker's protocol: {error}") from None
    return Credentials(identity=secret) if user == _TOKEN_USER else Credentials(user, secret)
