"""A small client for the OCI distribution API. Docker cannot list tags, read or delete a manifest, or upload missing
blobs without an engine.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md. Does not trust the registry: `http` sets
limits, `reader` validates responses, and `login` decides which hosts get a password.
"""

from __future__ import annotations

import re
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.world import World

from . import reader
from .login import Challenge, Credentials, challenge, credentials, without_scopes
from .names import (
    Blob,
    Config,
    Denied,
    Descriptor,
    Digest,
    Malformed,
    Manifest,
    Reference,
    RegistryError,
    Tag,
    Unreachable,
    is_loopback,
    printable,
)

if TYPE_CHECKING:
    from .http import Answer, Wire

#: Timeout in seconds for one query, including retries, redirects and logins. Uploads of blobs have their own limit.
QUESTION = 30.0

#: Limits of a tag list: pages, and tags and seconds for all pages together.
PAGES, TAGS, LISTING = 100, 100_000, 120.0

#: The target of the `next` link in a Link header. Each character is examined once, whatever the header contains.
_NEXT = re.compile(r'<([^<>]*)>[ \t]*;[ \t]*rel="?next"?')


@dataclass
class Client:
    """One repository of a registry. Raises only `RegistryError`s; returns None for anything that does not exist.

    `seconds`: limit for the whole exchange, from its first query to its last upload; None = only a limit per query.
    """

    world: World
    ref: Reference
    ca_bundle: str = ""
    sleep: Callable[[float], None] = time.sleep
    seconds: float | None = None
    _authorization: str = field(default="", repr=False)
    _base: str = ""
    _end: float | None = None
    _wire: Wire = field(init=False, repr=False)

    def __post_init__(self) -> None:
        from buildkit_tasks.registry.patience import Patience

        from .http import Wire  # late: TLS takes 50 ms to import

        self._wire = Wire(self.world.env, self.ca_bundle, Patience(self.world.clock), self.sleep)

    def tags(self) -> tuple[Tag, ...]:
        """Return all tags of the repository, empty if it does not exist."""
        with self._within(LISTING):
            return tuple(self._tags())

    def _tags(self) -> list[Tag]:
        found: list[Tag] = []
        start = f"{self.ref.repository}/tags/list"
        path, seen = f"{start}?n=1000", set[str]()
        while path:
            if path in seen or len(seen) >= PAGES:
                raise Malformed("the tag list has too many pages")
            seen.add(path)
            answer = self._ask("GET", path)
            if answer is None:
                break
            found += reader.tags(answer.body)
            if len(found) > TAGS:
                raise Malformed(f"the tag list has more than {TAGS} tags")
            after = _NEXT.search(answer.headers.get("link", "")[:4096])
            path = after[1].partition("/v2/")[2] if after else ""
            if after and not (path.startswith(f"{start}?") and re.fullmatch(r"[\x21-\x7e]+", path)):
                raise Malformed(f"the next page of the tag list has a different path: {printable(path)}")
        return found

    def manifest(self, name: str) -> Manifest | None:
        """Return the manifest of a tag or digest, None if it does not exist. For an index: its first image's."""
        found = self._manifest(Digest(name) if ":" in name else Tag(name))
        if not isinstance(found, Descriptor):
            return found
        image = self._manifest(found.digest, found.size)
        if isinstance(image, Descriptor):
            raise Malformed("index: the entry is a nested index, not an image manifest")
        return image

    def config(self, manifest: Manifest) -> Config:
        """Return an image's configuration. Raises `Malformed` if its bytes do not match the manifest."""
        wanted = manifest.config
        if wanted.size > reader.LIMIT:
            raise Malformed(f"the manifest lists a configuration of {wanted.size} bytes; the limit is {reader.LIMIT}")
        answer = self._ask("GET", f"{self.ref.repository}/blobs/{wanted.digest}")
        if answer is None:
            raise Malformed("the configuration listed in the manifest does not exist")
        if len(answer.body) != wanted.size or Digest.of(answer.body) != wanted.digest:
            raise Malformed("the configuration does not match the manifest")
        return reader.config(answer.body)

    def labels(self, manifest: Manifest) -> Mapping[str, str]:
        """Return the labels in an image's configuration."""
        return self.config(manifest).labels

    def send(self, blob: Blob) -> bool:
        """Upload a blob unless the registry has it; True if it was uploaded. The registry checks its digest."""
        path = f"{self.ref.repository}/blobs"
        if self._ask("HEAD", f"{path}/{blob.digest}") is not None:
            return False
        with self._within(None):
            self._tried("PUT", lambda: self._upload(path, blob))
        return True

    def tag(self, tag: Tag, manifest: Blob, media_type: str) -> None:
        """Tag a manifest whose blobs are already uploaded."""
        path = f"{self.ref.repository}/manifests/{tag}"
        with self._within(QUESTION):
            self._tried("PUT", lambda: self._once("PUT", path, {"Content-Type": media_type}, manifest))

    def delete(self, digest: Digest) -> bool:
        """Delete a manifest and all its tags; False if the registry does not support that."""
        try:
            return self._ask("DELETE", f"{self.ref.repository}/manifests/{digest}") is not None
        except Denied:
            return False

    def problem(self, error: RegistryError) -> Problem:
        """Convert the error of an exchange to a problem: registry-denied, -malformed or -unreachable."""
        host, causes = self.ref.host, [printable(error)]
        if isinstance(error, Denied):
            return Problem("registry-denied", f"{host} denied access.", causes=causes, hint=f"docker login {host}")
        look = (
            f"curl -sS https://{self.ref.api_host}/v2/   (check the name, the network, the proxy and build.ca_bundle)"
        )
        if isinstance(error, Malformed):
            return Problem("registry-malformed", f"{host} sent an invalid response.", causes=causes, hint=look)
        return Problem("registry-unreachable", f"The registry {host} is unreachable.", causes=causes, hint=look)

    # ---- queries

    def _manifest(self, name: Tag | Digest, size: int | None = None) -> Manifest | Descriptor | None:
        accept = ", ".join((*reader.MANIFESTS, *reader.INDEXES))
        answer = self._ask("GET", f"{self.ref.repository}/manifests/{name}", {"Accept": accept})
        if answer is None:
            return None
        if isinstance(name, Digest) and Digest.of(answer.body) != name:
            raise Malformed("the manifest does not match the requested digest")
        if size is not None and len(answer.body) != size:
            raise Malformed("the manifest's size does not match the index")
        return reader.manifest(answer.body, answer.headers.get("content-type", ""))

    def _ask(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer | None:
        """Send a request; return the response, None for 404."""
        with self._within(QUESTION):
            answer = self._tried(method, lambda: self._once(method, path, headers or {}))
        return None if answer.status == 404 else answer

    def _tried(self, method: str, work: Callable[[], Answer]) -> Answer:
        answer = self._wire.tried(method, self.ref.host, work)
        if answer.status == 401:
            raise Denied(f"{self.ref.host} returned 401 for {method}")
        if answer.status == 404 and method == "PUT":
            raise Unreachable(f"{self.ref.host} returned 404 for {method}")
        return answer

    @contextmanager
    def _within(self, seconds: float | None) -> Iterator[None]:
        now = self.world.clock()
        if self._end is None:
            self._end = float("inf") if self.seconds is None else now + self.seconds
        end = self._end if seconds is None else min(self._end, now + seconds)
        with self._wire.patience.until(end):
            yield

    def _upload(self, path: str, blob: Blob) -> Answer:
        """Request an upload location (POST), then send everything in a single request (PUT)."""
        with self._within(QUESTION):
            begun = self._once("POST", f"{path}/uploads/", {}, Blob("", 0, lambda: ()))
        if begun.status >= 400:
            return begun
        here = f"{self._base}://{self.ref.api_host}/v2/"
        try:
            place = urllib.parse.urljoin(here, begun.headers.get("location", ""))
        except ValueError:
            place = ""
        place = self._wire.checked(place, here)
        address = f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"
        headers = {"Content-Type": "application/octet-stream"}
        if self._authorization and address.startswith(here):
            headers["Authorization"] = self._authorization
        return self._wire.request("PUT", address, headers, blob)

    def _once(self, method: str, path: str, headers: Mapping[str, str], body: Blob | None = None) -> Answer:
        """Send one request, and log in if the registry requires it."""
        before = self._authorization  # the value that this request sends: another thread may log in meanwhile
        answer = self._request(method, path, headers, body)
        # a token for reading may not be valid for writing, so answer the current challenge
        if answer.status == 401:
            trouble = self._log_in(answer.headers.get("www-authenticate", ""), method)
            if trouble:
                return trouble
            if self._authorization != before:
                return self._request(method, path, headers, body)
        return answer

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: Blob | None) -> Answer:
        from urllib3.exceptions import HTTPError

        both = ("https", "http") if is_loopback(self.ref.host) else ("https",)
        schemes = (self._base,) if self._base else both
        sent = {**headers, **({"Authorization": self._authorization} if self._authorization else {})}
        for scheme in schemes:
            try:
                answer = self._wire.request(method, f"{scheme}://{self.ref.api_host}/v2/{path}", sent, body)
            except (HTTPError, OSError):
                if scheme == schemes[-1]:
                    raise
                continue
            self._base = scheme
            return answer
        raise AssertionError

    # ---- login

    def _log_in(self, header: str, method: str) -> Answer | None:
        """Answer the registry's challenge; returns the response of a failing token server, for a retry."""
        wanted = challenge(header, self.ref.repository, method)
        given = credentials(self.world, self.ref.host)
        if wanted is None:
            return None
        if wanted.kind == "basic":
            self._authorization = given.basic if given else ""
        elif given and given.token:
            self._authorization = f"Bearer {given.token}"
        else:
            answer = self._token(wanted, given)
            if answer.status in (400, 401, 403):
                raise Denied(f"the token server for {self.ref.host} returned {answer.status}")
            if answer.status >= 300:
                return answer
            self._authorization = f"Bearer {reader.token(answer.body)}"
        return None

    def _token(self, wanted: Challenge, given: Credentials | None) -> Answer:
        """Get a token from the realm, only over https; credentials do not follow redirects."""
        realm = without_scopes(self._wire.checked(wanted.realm, f"{self._base}://{self.ref.api_host}/"))
        query = {name: value for name, value in (("service", wanted.service), ("scope", wanted.scope)) if value}
        if given and given.identity:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": given.identity,
                "client_id": "buildkit-tasks",
                **query,
            }
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._wire.request("POST", realm, kind, urllib.parse.urlencode(form).encode())
        headers = {"Authorization": given.basic} if given and given.basic else {}
        joint = "&" if "?" in realm else "?"
        return self._wire.request("GET", f"{realm}{joint}{urllib.parse.urlencode(query)}", headers)
