"""Finds secrets in bytes and in text: values of .env, private keys, tokens, and files with credentials. Pure."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote, urlsplit

#: Minimum length of values to search for in files: shorter values also occur by chance.
SHORTEST = 8

#: Names of variables that contain secrets, if they have a value.
NAMES = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|(?<![A-Za-z])PASS(?![A-Za-z])|SECRET|TOKENS?(?![A-Za-z])|API_?KEY|PRIVATE_?KEY"
    r"|ACCESS_?KEY|CREDENTIAL",
    re.IGNORECASE,
)
#: Variables that configure compose and docker. Compose itself writes the project's name into labels.
_SETTINGS = re.compile(r"(?:COMPOSE|DOCKER|BUILDKIT|BUILDX)_")
_NOT_VALUES = re.compile(r"(?:_FILE|_PATH|_DIR|_ID|_NAME|_URL|_TTL|_HEADER)$", re.I)

#: The prefixes, the full pattern and the description of each token. Prefixes are searched for first, which is fast.
_TOKENS: tuple[tuple[Sequence[bytes], bytes, str], ...] = (
    (
        (b"PRIVATE KEY-----",),
        rb"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----(?:\s|\\[rn])+(?:[A-Za-z-]+: [^\n]*\n)*\s*"
        rb"[A-Za-z0-9+/=]{40,}",
        "a private key",
    ),
    ((b"AKIA",), rb"(?<![A-Za-z0-9+/])AKIA(?![A-Z2-7]{9}EXAMPLE)[A-Z2-7]{16}(?![A-Za-z0-9+/=])", "an AWS access key"),
    (
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"),
        rb"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36}(?![A-Za-z0-9])",
        "a GitHub token",
    ),
    ((b"github_pat_",), rb"github_pat_[A-Za-z0-9_]{60,}", "a GitHub token"),
    ((b"glpat-",), rb"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{20}", "a GitLab token"),
    ((b"xoxb-", b"xoxp-", b"xoxa-"), rb"xox[abp]-[0-9]{8,}-[0-9A-Za-z-]{20,}", "a Slack token"),
    ((b"AIza",), rb"(?<![A-Za-z0-9+/])AIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_+/=-])", "a Google API key"),
    ((b"sk_live_",), rb"sk_live_[0-9a-zA-Z]{24,}", "a Stripe key"),
    ((b"npm_",), rb"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9_])", "an npm token"),
    ((b"dckr_pat_",), rb"dckr_pat_[A-Za-z0-9_-]{27}", "a Docker Hub token"),
)
_COMPILED = tuple((prefixes, re.compile(whole), what) for prefixes, whole, what in _TOKENS)

#: How far before and after a prefix a token can reach.
_BEFORE, _AFTER = 64, 512

#: Files with credentials: path pattern, content pattern, description.
_FILES: tuple[tuple[str, bytes, str], ...] = (
    ("*/.env", rb"^[ \t]*(?:export[ \t]+)?\w+[ \t]*[=:][ \t]*\S", "a .env file"),
    ("*/.env.*", rb"^[ \t]*(?:export[ \t]+)?\w+[ \t]*[=:][ \t]*\S", "a .env file"),
    ("*/.git-credentials", rb"://", "passwords stored by git"),
    ("*/.netrc", rb"password", "passwords for curl and git"),
    ("*/.pgpass", rb":", "PostgreSQL passwords"),
    ("*/.cargo/credentials", rb"token", "cargo registry tokens"),
    ("*/.cargo/credentials.toml", rb"token", "cargo registry tokens"),
    ("/usr/local/cargo/credentials*", rb"token", "cargo registry tokens"),
    ("*/.npmrc", rb"_(?:authToken|auth|password)\s*=\s*[^\s$]", "npm's tokens"),
    ("*/.pypirc", rb"password", "PyPI passwords"),
    ("*/.ssh/id_*", rb"PRIVATE KEY", "an SSH key"),
    ("*/.docker/config.json", rb'"(?:auth|identitytoken|password)"\s*:\s*"[^"]', "docker registry logins"),
    ("*/.dockercfg", rb'"auth"\s*:\s*"[^"]', "docker registry logins"),
    ("*/.aws/credentials", rb"aws_secret_access_key", "AWS keys"),
    ("*/.kube/config", rb"(?:token|client-key-data|password):", "Kubernetes credentials"),
)
_EXAMPLES = re.compile(r"\.(?:example|sample|template|dist|defaults?)$")

#: An assignment to such a variable in a step: the value must not be printed.
_ASSIGNED = re.compile(
    rf"((?<![\w-])[\w-]*(?:{NAMES.pattern})[\w-]{{0,100}}[=: ]\s*)(?!-)(?:\"[^\"]*\"|'[^']*'|[^\s;&|]+)", re.I
)


class Search:
    """What to search for: the values of these variables, and tokens. `overlap`: bytes to keep between chunks."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = {n: v for n, v in secrets.items() if NAMES.search(n) or not _SETTINGS.match(n)}
        self._needles = {name: needle for name, value in self.secrets.items() if (needle := _needle(value))}
        longest = max((len(needle) for needle in self._needles.values()), default=0)
        self.overlap = max(_BEFORE + _AFTER, longest)

    @property
    def short(self) -> tuple[str, ...]:
        """Variables with secrets that are too short to search for in files."""
        return tuple(name for name in self.secrets if name not in self._needles and self.sure(name))

    def sure(self, name: str) -> bool:
        """Return whether a variable certainly contains a secret, by its name or its form."""
        return bool(NAMES.search(name)) or _password(self.secrets.get(name, "")) != ""

    def values(self, data: bytes) -> Iterator[str]:
        """Return the variables with values that occur in the data."""
        return (name for name, needle in self._needles.items() if needle in data)

    def values_in_text(self, text: str) -> Iterator[str]:
        """Like `values`, but for a short text: also finds certain secrets with short values, as whole words."""
        for name, value in self.secrets.items():
            if len(value) < SHORTEST and not self.sure(name):
                continue
            edge = r"(?![A-Za-z0-9_])" if len(value) < SHORTEST else ""
            if re.search(f"{edge.replace('!', '<!')}{re.escape(value)}{edge}", text):
                yield name

    def redacted(self, text: str) -> str:
        """Return a step's text without values of .env, tokens, and values assigned to secret variables."""
        for value in sorted({*self.secrets.values(), *map(_password, self.secrets.values())} - {""}, key=len)[::-1]:
            text = text.replace(value, "***")
        raw = text.encode("utf-8", "surrogateescape")
        for _, whole, _ in _COMPILED:
            raw = whole.sub(b"***", raw)
        text = re.sub(r"(://[^\s/@:]*:)[^\s/@]+@", r"\1***@", raw.decode("utf-8", "replace"))
        return _ASSIGNED.sub(r"\1***", text)


def _needle(value: str) -> bytes:
    """Return what to search for in files: the longest line of the value, or the password in an address."""
    password = _password(value)
    text = password if len(password) >= SHORTEST else value
    lines = [line.strip() for line in text.splitlines() if "-----" not in line]
    longest = max(lines, key=len, default="")
    return longest.encode("utf-8", "surrogateescape") if len(longest) >= SHORTEST else b""


def _password(value: str) -> str:
    try:
        return unquote(urlsplit(value).password or "") if "://" in value else ""
    except ValueError:
        return ""


def tokens(data: bytes) -> Iterator[str]:
    """Yield the kinds of keys and tokens that occur."""
    for prefixes, whole, what in _COMPILED:
        if any(_at(data, prefix, whole) for prefix in prefixes):
            yield what


def _at(data: bytes, prefix: bytes, whole: re.Pattern[bytes]) -> bool:
    at = data.find(prefix)
    while at >= 0:
        if whole.search(data, max(0, at - _BEFORE), at + _AFTER):
            return True
        at = data.find(prefix, at + len(prefix))
    return False


def file(path: str, head: bytes) -> str:
    """Return what credentials a file contains, by its path and its first bytes; "" for other files."""
    if "/." not in path and "credentials" not in path:
        return ""
    name = posixpath.basename(path)
    for pattern, content, what in _FILES:
        if fnmatch.fnmatchcase(path, pattern):
            if _EXAMPLES.search(name) or name.endswith(".pub"):
                return ""
            return what if re.search(content, head, re.MULTILINE) else ""
    return ""


def holds_secret(name: str, value: str) -> bool:
    """Return whether a variable of an image looks like a secret: by its name, and a value that is not a reference."""
    return bool(value and NAMES.search(name) and not _NOT_VALUES.search(name)) and not value.startswith(("$", "/run/"))
