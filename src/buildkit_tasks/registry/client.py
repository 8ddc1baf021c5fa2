"""A small client of the OCI distribution API, for what no docker command does: list tags, look at a manifest, delete,
and send blobs that the registry does not have without an engine in between.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md; the token dialogue:
https://distribution.github.io/distribution/spec/auth/token/. Credentials are docker's own: config.json or its helpers.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import random
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command
from buildkit_tasks.core.world import World

#: Seconds for one request, and how often one is tried where the registry, not the request, is at fault.
TIMEOUT = 5.0
TRIES = 3

#: Seconds without a byte while a blob is sent; large registries think for a while about what they were sent.
UPLOAD_TIMEOUT = 60.0

_TYPES = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_LOCAL = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$")


class Unreachable(Exception):
    """No answer, or one that says that the registry itself is in trouble."""


class Denied(Exception):
    """The registry knows who we are, or wants to, and does not let us."""


@dataclass(frozen=True)
class Manifest:
    """An image's manifest. `layers` are (digest, bytes) in order; `config` the digest of its configuration."""

    digest: str
    layers: tuple[tuple[str, int], ...]
    config: str


@dataclass(frozen=True)
class Blob:
    """What is sent: its digest, its size in bytes, and its content, read anew for each try."""

    digest: str
    size: int
    read: Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Reference:
    """`host/repository`; `host` with its port."""

    host: str
    repository: str

    @property
    def name(self) -> str:
        """As docker spells it."""
        return f"{self.host}/{self.repository}"


def reference(text: str) -> Reference:
    """Read `host[:port]/path`. Raises `Problem` bad-argument for a tag, a digest or a name without a host."""
    host, _, path = text.partition("/")
    hostlike = "." in host or ":" in host or host == "localhost"
    if not (hostlike and re.fullmatch(r"[a-z0-9]+([._/-]+[a-z0-9]+)*", path)):
        raise Problem(
            "bad-argument",
            f"{text!r} does not name a repository of a registry.",
            causes=["wanted: host/path, in small letters, without tag or digest"],
            hint="for example --ref ghcr.io/OWNER/PROJECT-cache",
        )
    return Reference(host, path)


@dataclass
class Client:
    """One repository of a registry. Raises `Unreachable` and `Denied`; what is not there is None."""

    world: World
    ref: Reference
    ca_bundle: str = ""
    sleep: Callable[[float], None] = time.sleep
    _token: str = field(default="", repr=False)
    _base: str = ""

    def tags(self) -> tuple[str, ...]:
        """All tags of the repository, none where it does not exist."""
        found: list[str] = []
        path = f"{self.ref.repository}/tags/list?n=1000"
        while path:
            answer = self._ask("GET", path)
            if answer is None:
                break
            found += json.loads(answer.body).get("tags") or ()
            after = re.search(r'<[^>]*/v2/([^>]+)>;\s*rel="next"', answer.headers.get("link", ""))
            path = after[1] if after else ""
        return tuple(found)

    def manifest(self, tag: str) -> Manifest | None:
        """The manifest behind a tag or digest, None where there is none. An index counts as its first image."""
        answer = self._ask("GET", f"{self.ref.repository}/manifests/{tag}", {"Accept": _TYPES})
        if answer is None:
            return None
        content = json.loads(answer.body)
        if "manifests" in content:
            return self.manifest(content["manifests"][0]["digest"])
        return Manifest(
            answer.headers.get("docker-content-digest", tag),
            tuple((layer["digest"], int(layer["size"])) for layer in content["layers"]),
            content["config"]["digest"],
        )

    def labels(self, manifest: Manifest) -> Mapping[str, str]:
        """The labels in an image's configuration."""
        answer = self._ask("GET", f"{self.ref.repository}/blobs/{manifest.config}")
        found = (json.loads(answer.body).get("config") or {}).get("Labels") if answer else None
        return dict(found or {})

    def send(self, blob: Blob) -> bool:
        """Put a blob where it is not yet; True when it had to be sent. The registry checks its digest."""
        path = f"{self.ref.repository}/blobs"
        if self._ask("HEAD", f"{path}/{blob.digest}") is not None:
            return False
        self._tried("PUT", lambda: self._upload(path, blob))
        return True

    def tag(self, tag: str, manifest: Blob, media_type: str) -> None:
        """Name a manifest, whose blobs are there, by a tag."""
        path = f"{self.ref.repository}/manifests/{tag}"
        self._tried("PUT", lambda: self._once("PUT", path, {"Content-Type": media_type}, manifest))

    def delete(self, digest: str) -> bool:
        """Delete a manifest with all its tags; False where the registry does not offer that."""
        try:
            return self._ask("DELETE", f"{self.ref.repository}/manifests/{digest}") is not None
        except Denied:
            return False

    def problem(self, error: Exception) -> Problem:
        """The registry's trouble as a problem: registry-denied or registry-unreachable."""
        host = self.ref.host
        if isinstance(error, Denied):
            return Problem(
                "registry-denied", f"{host} does not let us in.", causes=[str(error)], hint=f"docker login {host}"
            )
        return Problem(
            "registry-unreachable",
            f"The registry {host} does not answer.",
            causes=[str(error)],
            hint=f"curl -sS https://{host}/v2/   (name, network, proxy, certificate: the setting build.ca_bundle)",
        )

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> _Answer | None:
        return self._tried(method, lambda: self._once(method, path, headers or {}))

    def _tried(self, method: str, work: Callable[[], _Answer]) -> _Answer | None:
        """Work of requests, tried again with growing pauses where that can help; None for what is not there."""
        last = "no answer"
        for attempt in range(TRIES):
            if attempt:
                self.sleep(random.uniform(0.5, 1.5) * 0.4 * 2**attempt)  # noqa: S311  # spreads a farm's retries
            try:
                return work()
            except urllib.error.HTTPError as error:
                if error.code == 404 and method != "PUT":
                    return None
                if error.code in (401, 403, 405):
                    raise Denied(f"{self.ref.host} answered {error.code} to {method}") from error
                last = f"{self.ref.host} answered {error.code}"
            except (OSError, ValueError, http.client.HTTPException) as error:
                last = f"{self.ref.host}: {getattr(error, 'reason', error)}"
        raise Unreachable(last)

    def _upload(self, path: str, blob: Blob) -> _Answer:
        """Ask where to, then send all in one request, as the specification calls it: POST then PUT."""
        begun = self._once("POST", f"{path}/uploads/", {}, Blob("", 0, lambda: ()))
        here = f"{self._base}://{self.ref.host}/v2/"
        place = urllib.parse.urljoin(here, begun.headers.get("location", ""))
        address = f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"
        kind = {"Content-Type": "application/octet-stream"}
        return self._request("PUT", address, kind, blob, log_in=address.startswith(here))

    def _once(self, method: str, path: str, headers: Mapping[str, str], body: Blob | None = None) -> _Answer:
        schemes = (self._base,) if self._base else ("https", "http") if _LOCAL.match(self.ref.host) else ("https",)
        for scheme in schemes:
            address = f"{scheme}://{self.ref.host}/v2/{path}"
            before = self._token
            try:
                answer = self._request(method, address, headers, body)
            except urllib.error.HTTPError as error:
                self._base = scheme
                # who may read need not be let in to write with the same token: what is asked for now counts
                if error.code != 401 or not self._log_in(error.headers.get("www-authenticate", "")):
                    raise
                if self._token == before:
                    raise
                answer = self._request(method, address, headers, body)
            except (urllib.error.URLError, OSError):
                if scheme == schemes[-1]:
                    raise
                continue
            self._base = scheme
            return answer
        raise AssertionError

    def _request(
        self, method: str, address: str, headers: Mapping[str, str], body: Blob | None = None, *, log_in: bool = True
    ) -> _Answer:
        more = {"Content-Length": str(body.size)} if body else {}
        request = urllib.request.Request(  # noqa: S310  # http(s) only
            address, data=body.read() if body else None, method=method, headers={**headers, **more}
        )
        if self._token and log_in:
            # not sent on to where a registry redirects a download
            request.add_unredirected_header("Authorization", self._token)
        with self._opener.open(request, timeout=UPLOAD_TIMEOUT if body and body.size else TIMEOUT) as reply:
            return _Answer(reply.read(), {k.lower(): v for k, v in reply.headers.items()})

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        trust = ssl.create_default_context(cafile=self.ca_bundle or None)
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=trust)]
        if _LOCAL.match(self.ref.host):
            handlers.append(urllib.request.ProxyHandler({}))
        return urllib.request.build_opener(*handlers)

    def _log_in(self, challenge: str) -> bool:
        kind, _, rest = challenge.partition(" ")
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        given = credentials(self.world, self.ref.host)
        if kind.lower() == "basic" and given:
            self._token = "Basic " + base64.b64encode(":".join(given).encode()).decode()
        elif kind.lower() == "bearer" and urllib.parse.urlsplit(wanted.get("realm", "")).scheme in ("https", "http"):
            self._token = self._bearer(wanted, given)
        return bool(self._token)

    def _bearer(self, wanted: Mapping[str, str], given: tuple[str, str] | None) -> str:
        query = {k: wanted[k] for k in ("service", "scope") if k in wanted}
        headers = {}
        if given:
            headers["Authorization"] = "Basic " + base64.b64encode(":".join(given).encode()).decode()
        address = f"{wanted['realm']}?{urllib.parse.urlencode(query)}"
        answer = self._request("GET", address, headers, log_in=False)
        content = json.loads(answer.body)
        return f"Bearer {content.get('token') or content.get('access_token')}"


@dataclass(frozen=True)
class _Answer:
    body: bytes
    headers: Mapping[str, str]


def credentials(world: World, host: str) -> tuple[str, str] | None:
    """User and password for a registry from docker's configuration; its helpers are asked where it names one."""
    folder = Path(world.env.get("DOCKER_CONFIG") or world.home / ".docker")
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    helper = (config.get("credHelpers") or {}).get(host) or config.get("credsStore")
    if helper:
        asked = Command((f"docker-credential-{helper}", "get"), folder, stdin=host)
        try:
            said = json.loads(run.capture(world, asked, timeout=10).stdout)
            return str(said["Username"]), str(said["Secret"])
        except (Problem, ValueError, KeyError):
            return None
    for name, entry in (config.get("auths") or {}).items():
        if name in (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/"):
            try:
                user, _, password = base64.b64decode(entry.get("auth", ""), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
            return (user, password) if user else None
    return None
