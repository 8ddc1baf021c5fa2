"""Every rule of the audit, on archives created in memory."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from buildkit_tasks.audit import archive, base, rules, suppress
from buildkit_tasks.audit.catalogue import RULES, Finding
from buildkit_tasks.audit.facts import Image
from buildkit_tasks.audit.secrets import Search
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.dockerfiles.document import Dockerfile
from tests.support.saved_images import File, Saved, layer, member, zipped

ROOT = Path(__file__).parents[2]
SECRETS = {
    "DB_PASSWORD": "hunter22-hunter22",
    "GREETING": "good morning",
    "PIN_TOKEN": "4711",
    "URL": "amqp://u:pass5678@mq",
}
GOOD = {"User": "65532:65532", "Healthcheck": {"Test": ["CMD", "/health"]}}
KEY = b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(bytes(range(200))) + b"-----END PRIVATE KEY-----\n"
GITHUB = "ghp_" + "a1B2" * 9


def read(saved: Saved, identity: str, *, older: bool = False, secrets: Mapping[str, str] = SECRETS) -> Image:
    search = Search(secrets)
    made = archive.read(io.BytesIO(saved.docker() if older else saved.oci()), search)
    (image,) = archive.images(made, "shop/api:dev", identity, search)
    return image


def findings(
    *layers: Mapping[str, File],
    config: Mapping[str, Any] | None = None,
    history: list[Any] | None = None,
    entry: Mapping[str, Any] | None = None,
    bases: int | None = None,
) -> list[Finding]:
    saved = Saved()
    identity = saved.image([layer(files) for files in layers], {**GOOD, **(config or {})}, history)
    image = read(saved, identity)
    if bases is not None:
        image = replace(image, base=bases)
    found = rules.check(rules.Case(image, Search(SECRETS), entry))
    for finding in found:  # values are never shown
        assert not any(value in f"{finding}" for value in (*SECRETS.values(), GITHUB, "pass5678") if len(value) > 4)
    return list(found)


def brief(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(f.severity, f.code, f.subject) for f in found]


def test_a_good_image_has_no_finding() -> None:
    assert findings({"bin/": b"", "bin/api": (b"\x7fELF", 0o755), "tmp/": (b"", 0o1777)}) == []


@pytest.mark.parametrize("older", [False, True])
def test_both_forms_of_an_archive_and_shared_layers(older: bool) -> None:
    saved = Saved()
    shared = layer({"a": b"hunter22-hunter22"})
    first = saved.image([shared], GOOD)
    second = saved.image([shared, layer({"b": b"1"})], GOOD)
    search = Search(SECRETS)
    made = archive.read(io.BytesIO(saved.docker() if older else saved.oci()), search)
    assert len(made.layers) == 2
    (one,), (two,) = (archive.images(made, "x", identity, search) for identity in (first, second))
    assert one.layers[0] is two.layers[0]
    assert [hit.what for hit in two.layers[0].hits] == ["DB_PASSWORD"]


def test_an_image_of_containerds_store_is_found_by_the_digest_of_its_manifest_or_index() -> None:
    saved = Saved()
    saved.image([layer({"a": b"1"})], GOOD)
    assert read(saved, saved.manifest).platform == "linux/amd64"
    saved.image([layer({"a": b"1"})], GOOD, arch="arm64")
    unknown = saved.image([layer({"x": b"1"})], GOOD, arch="unknown")
    index = saved.blob(json.dumps({"manifests": [*saved.manifests, {"digest": "sha256:absent"}]}).encode())
    search = Search({})
    made = archive.read(io.BytesIO(saved.oci()), search)
    assert [i.platform for i in archive.images(made, "x", index, search)] == ["linux/amd64", "linux/arm64"]
    assert unknown


def test_values_of_env_files_in_any_layer_of_any_file_and_across_chunks() -> None:
    big = bytes(1_048_570) + b"hunter22-hunter22" + bytes(5)
    found = findings(
        {"app/config.toml": b'password = "hunter22-hunter22"', "big": big},
        {"usr/bin/api": (b"\x7fELF" + bytes(300) + b"pass5678", 0o755), "hello": b"good morning, 4711"},
    )
    assert brief(found) == [
        ("error", "BA001", "/app/config.toml"),
        ("error", "BA001", "/big"),
        ("error", "BA001", "/usr/bin/api"),
        ("warning", "BA001", "/hello"),
    ]
    assert found[0].message == "/app/config.toml contains the value of DB_PASSWORD from .env"
    assert found[0].layer is not None
    assert (found[0].layer.number, found[0].layer.of, found[0].layer.step) == (1, 2, "COPY f0 /")
    assert "if the value is not secret, add it to .env.example" in found[3].message


@pytest.mark.parametrize(
    "above",
    [{"app/.wh.k": b""}, {".wh.app": b""}, {"app/.wh..wh..opq": b""}, {"app": b"a file"}, {"app/k": b"other"}],
)
def test_a_deleted_file_is_still_in_the_image(above: dict[str, File]) -> None:
    (found,) = findings({"app/k": KEY}, above)
    assert found.code == "BA002"
    assert found.message.endswith("a later layer deletes or replaces the file, but it is still in the image")
    (found,) = findings({"app/k": KEY}, {"app/.wh.other": b"", "app/k2": b""})
    assert "deletes" not in found.message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (KEY, "a private key"),
        (KEY.replace(b"PRIVATE", b"RSA PRIVATE"), "a private key"),
        (json.dumps({"private_key": KEY.decode()}).encode(), "a private key"),
        (f"x = {GITHUB}\n".encode(), "a GitHub token"),
        (b"aws_access_key_id = AKIAQWERTYUIOPASDFGH\n", "an AWS access key"),
        (b"token: glpat-" + b"x1" * 10, "a GitLab token"),
        (b"-----BEGIN PRIVATE KEY-----\0-----BEGIN RSA PRIVATE KEY-----\0unsupported", ""),
        (b"AKIAIOSFODNN7EXAMPLE", ""),
        (b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(bytes(99)), ""),
    ],
)
def test_keys_and_tokens(content: bytes, what: str) -> None:
    found = findings({"a": content})
    assert [f.message for f in found] == ([f"/a contains {what}"] if what else [])


@pytest.mark.parametrize(
    ("path", "content", "found"),
    [
        ("app/.env", b"A=1\n", True),
        ("app/.env.production", b"export A=1\n", True),
        ("app/.env.example", b"A=1\n", False),
        ("app/.env", b"# nothing\n", False),
        ("root/.git-credentials", b"https://u:p@host\n", True),
        ("root/.cargo/credentials.toml", b"[registry]\ntoken = 'x'\n", True),
        ("usr/local/cargo/credentials.toml", b"token = 'x'\n", True),
        ("root/.npmrc", b"//r/:_authToken=abc\n", True),
        ("root/.npmrc", b"//r/:_authToken=${TOKEN}\n", False),
        ("root/.ssh/id_ed25519", b"-----BEGIN OPENSSH PRIVATE KEY-----\n", True),
        ("root/.ssh/id_ed25519.pub", b"ssh-ed25519 AAAA\n", False),
        ("root/.docker/config.json", b'{"auths": {"r": {"auth": "dTpw"}}}', True),
        ("root/.docker/config.json", b'{"auths": {}}', False),
    ],
)
def test_files_that_hold_credentials(path: str, content: bytes, found: bool) -> None:
    assert [f.code for f in findings({path: content})] == (["BA003"] if found else [])


def test_secrets_in_the_configuration_are_found_and_never_shown() -> None:
    history = [
        {"created_by": "RUN |2 X=1 2 3 NPM_TOKEN=abcdefgh /bin/sh -c npm ci # buildkit"},
        {"created_by": "ENV DB=hunter22-hunter22", "empty_layer": True},
        {"created_by": f"RUN /bin/sh -c curl -H 'Authorization: {GITHUB}' https://u:pw@h/ # buildkit"},
    ]
    config = {
        "Env": [
            "PATH=/bin",
            "PIN_CODE=4711",
            "API_TOKEN=abc",
            "GPG_KEY=0123",
            "X_FILE=/run/secrets/x",
            "N=14711",
            "TOKENIZERS=false",
            "COMPASS=x",
        ],
        "Labels": {"note": "hunter22-hunter22"},
        "Cmd": ["--password=pass5678x", "amqp://u:pass5678@mq"],
    }
    found = findings({"a": b"1"}, {"b": b"1"}, config=config, history=history)
    assert [(f.severity, f.code, f.message) for f in found] == [
        ("error", "BA001", "the variable PIN_CODE contains the value of PIN_TOKEN from .env"),
        ("error", "BA001", "the label note contains the value of DB_PASSWORD from .env"),
        ("error", "BA001", "the command contains the value of URL from .env"),
        ("error", "BA001", "step 2 of the history contains the value of DB_PASSWORD from .env (ENV DB=***)"),
        (
            "error",
            "BA002",
            "step 3 of the history contains a GitHub token (RUN curl -H 'Authorization: ***' https://u:***@h/)",
        ),
        ("warning", "BA004", "the image sets the variable API_TOKEN"),
        ("warning", "BA004", "the image's history contains the build argument NPM_TOKEN and its value"),
    ]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("RUN |1 A=b /bin/sh -c make A=1 # buildkit", "RUN make A=1"),
        ("/bin/sh -c #(nop) COPY file:abc in /x ", "COPY file:abc in /x"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("|1 TOKEN=x /bin/sh -c make", "RUN make"),
        ("RUN /bin/sh -c cargo login --token abc && MY_SECRET=def make # buildkit", None),
        ("# debian.sh --arch 'amd64' out/ 'bookworm'", "# debian.sh --arch 'amd64' out/ 'bookworm'"),
    ],
)
def test_steps_are_shown_without_values(words: str, shown: str | None) -> None:
    step = archive.step(words, Search(SECRETS))
    assert step == shown if shown else ("abc" not in step and "def" not in step)


@pytest.mark.parametrize(
    ("user", "entry", "root"),
    [
        ("", None, True),
        ("0:0", None, True),
        ("root", None, True),
        ("65532", None, False),
        ("", {"user": "1000"}, False),
        ("1000", {"user": "0"}, True),
        ("app:app", {}, False),
    ],
)
def test_root(user: str, entry: dict[str, str] | None, root: bool) -> None:
    assert [f.code for f in findings({"a": b""}, config={"User": user}, entry=entry)] == (["BA005"] if root else [])


def test_permissions_count_as_they_are_in_the_finished_image() -> None:
    first: dict[str, File] = {
        "usr/bin/passwd": (b"", 0o4755),
        "usr/bin/sudo": (b"", 0o4755),
        "usr/bin/tool": (b"", 0o2755),
        "var/mail/": (b"", 0o2775),
        "app/": (b"", 0o777),
        "app/data": (b"", 0o666),
        "tmp/": (b"", 0o1777),
        "gone": (b"", 0o4777),
        "fixed": (b"", 0o666),
        "dev/x": (b"", 0o666),
        "l": member("l", b"2", 0o777, linkname="app"),
        "hard": member("hard", b"1", 0o4755, linkname="usr/bin/sudo"),
        "device": member("device", b"3", 0o666, devmajor=1, devminor=3),
        "pipe": member("pipe", b"6", 0o666),
        "ping": member("ping", mode=0o755, pax_headers={"SCHILY.xattr.security.capability": "x"}),
    }
    found = findings(first, {".wh.gone": b"", "fixed": (b"", 0o644)})
    assert brief(found) == [
        ("note", "BA006", "/usr/bin/passwd"),
        ("warning", "BA006", "/usr/bin/sudo"),
        ("warning", "BA006", "/usr/bin/tool"),
        ("warning", "BA006", "/hard"),
        ("warning", "BA006", "/ping"),
        ("warning", "BA007", "/app"),
        ("warning", "BA007", "/app/data"),
    ]
    assert {f.severity for f in findings(first, {"b": b""}, bases=1)} == {"note"}


def test_health_checks_of_the_image_or_the_service_count() -> None:
    none = {"Healthcheck": None}
    assert brief(findings({"a": b""}, config=none)) == [("note", "BA008", "")]
    assert brief(findings({"a": b""}, config=none, entry={})) == [("warning", "BA008", "")]
    for entry in ({"healthcheck": {"test": ["CMD", "x"]}}, {"healthcheck": {"disable": True}}):
        assert findings({"a": b""}, config=none, entry=entry) == []
    assert findings({"a": b""}, config={"Healthcheck": {"Test": ["NONE"]}}, entry={}) == []


def test_keys_in_files_of_packages_and_of_the_base_are_less_severe() -> None:
    lists: dict[str, File] = {"var/lib/dpkg/info/libgnutls30.list": b"/.\n/lib/x.so\n"}
    assert brief(findings({**lists, "usr/lib/x.so": KEY})) == [("note", "BA002", "/usr/lib/x.so")]
    apk: dict[str, File] = {"lib/apk/db/installed": b"P:tls\nV:1\nF:usr/lib\nR:x.so\n\n"}
    assert brief(findings({**apk, "usr/lib/x.so": KEY})) == [("note", "BA002", "/usr/lib/x.so")]
    assert brief(findings({"etc/k": KEY, "w": b"hunter22-hunter22"}, {"b": b""}, bases=1)) == [
        ("note", "BA001", "/w"),
        ("warning", "BA002", "/etc/k"),
    ]


def test_a_value_that_is_a_common_word_is_a_note_everywhere() -> None:
    word = b"hunter22-hunter22"
    lists: dict[str, File] = {"var/lib/dpkg/info/x.list": b"/usr/bin/x\n"}
    many: dict[str, File] = {f"f{n:03}": word for n in range(150)}
    config = {"Env": ["A=hunter22-hunter22"]}
    found = findings({**lists, "usr/bin/x": word}, {**many, "z": b"good morning", "k": KEY}, config=config)
    assert {(f.severity, f.code) for f in found} == {("note", "BA001"), ("warning", "BA001"), ("error", "BA002")}
    assert [f.subject for f in found if f.severity == "warning"] == ["/z"]
    assert "/f000 contains the value of DB_PASSWORD from .env, a word that also occurs in distribution files" in {
        f.message for f in found
    }
    assert [f.message for f in found if "more such" in f.message] == ["this layer has 50 more such files"]
    # the same without such a file in a package
    assert {f.severity for f in findings(many, config=config)} == {"error"}


def test_composes_own_variables_are_not_secrets() -> None:
    search = Search({"COMPOSE_PROJECT_NAME": "my-project", "DOCKER_PASSWORD": "hunter22"})
    assert list(search.values_in_text("my-project hunter22")) == ["DOCKER_PASSWORD"]


DOCKERFILE = """\
FROM rust AS compile
RUN cargo build
FROM ${BASE} AS common
RUN useradd app
FROM common AS runtime
WORKDIR /app
COPY --from=compile /x /x
USER app
FROM common AS other
COPY a a
"""


@pytest.mark.parametrize(
    ("target", "steps", "count"),
    [
        ("runtime", ["# debian.sh", "RUN useradd app", "WORKDIR /app", "COPY /x /x"], 1),
        ("", ["ADD x", "RUN y", "RUN useradd app", "COPY a a"], 2),
        ("", ["RUN y", "COPY a a", "COPY a a"], None),
        ("", ["COPY a a"], None),
        ("missing", ["COPY a a"], None),
    ],
)
def test_layers_of_the_base_image(target: str, steps: list[str], count: int | None) -> None:
    assert base.layers(Dockerfile.read(DOCKERFILE), {}, target, steps) == count
    assert base.layers(Dockerfile.read(""), {}, target, steps) is None


def test_suppression_with_a_reason_a_pattern_and_what_is_unused() -> None:
    given = ["BA006:/usr/bin/* operators need it", "BA007", "BA001:X never there"]
    found = findings({"usr/bin/sudo": (b"", 0o4755), "a": (b"", 0o666)})
    judged = suppress.apply(suppress.entries(given), found, complete=True)
    assert [(f.code, f.reason) for f in judged] == [
        ("BA006", "operators need it"),
        ("BA007", ""),
        ("BA000", None),
        ("BA000", None),
    ]
    assert "has no reason" in judged[2].message
    assert "BA001:X never there" in judged[3].message
    assert len(suppress.apply(suppress.entries(given), found, complete=False)) == 3
    with pytest.raises(Problem, match="does not start with a known code"):
        suppress.entries(["BA999 x"])


def test_every_rule_is_documented_with_its_severity() -> None:
    text = (ROOT / "docs/reference/audit.md").read_text()
    headings = {line[3:] for line in text.splitlines() if line.startswith("## BA")}
    assert headings == {rule.heading for rule in RULES.values()}
    for rule in RULES.values():
        assert re.match(rf"\nSeverity: {rule.severity}\b", text.split(f"## {rule.heading}\n", 1)[1])


def test_compressed_layers() -> None:
    saved = Saved()
    identity = saved.image([layer({"a": b"hunter22-hunter22"})], GOOD, pack=zipped)
    assert [hit.path for hit in read(saved, identity).layers[0].hits] == ["/a"]
