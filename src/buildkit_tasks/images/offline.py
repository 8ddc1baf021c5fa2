"""Builds base images from Debian packages: a minimal Debian (debootstrap), then all images in one solve."""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import files, run, shapes
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command, Engine
from buildkit_tasks.core.progress import Decoder, Progress
from buildkit_tasks.dockercli import buildx, docker
from buildkit_tasks.engine import apt, host
from buildkit_tasks.engine import facts as engine_facts
from buildkit_tasks.engine import install as engine_install

from . import names as image_names
from .choice import local
from .names import Recipe
from .package_log import news, remedy

SUITE = "bookworm"

#: Maximum age in seconds of a reusable minimal Debian left behind by a killed run.
ROOTFS_AGE = 6 * 3600

#: Packages from a newer Debian, because this one's are too old; everything else in an image is from `SUITE`.
FROM_SECOND = ("golang-1.24-go", "golang-1.24-src")

#: Variables for the Go module proxy and checksum database, passed on if set. See `go help environment`.
_GO = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE")

#: Printed at the start of a solve that only installs packages.
PACKAGES = "installing packages for all images (one to two minutes)"

_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def build(session: Session, facts: Engine, recipes: Sequence[Recipe], *, force: bool = False) -> None:
    """Build these images into the engine, under our own names. Asks before installing debootstrap or using sudo.

    Problems: image-unavailable (the packages are not available), consent-missing, root-needed.
    """
    began = session.world.clock()
    with _workplace(session) as place:
        base = "" if force or any(r.stage == "debian" for r in recipes) else _own_base(session, facts)
        main, security = apt.for_suite(host.apt_sources(), host.release().codename, SUITE)
        secrets = _lay_out(session, place, (main, security))
        if not base:
            _rootfs(session, facts, place, main)
        made = image_names.definition(
            {recipe: recipe_hash(recipe) for recipe in recipes},
            secrets,
            {name: session.world.env[name] for name in _PROXIES if session.world.env.get(name)},
            zstd=facts.containerd_store,
            base=base,
        )
        usual = "compiling BuildKit (two to four minutes)" if any(r.asked for r in recipes) else PACKAGES
        _solve(session, facts, place, made, usual)
        (place / "rootfs.tar").unlink(missing_ok=True)
    session.report.say(
        f"  {len(recipes)} base image{'s' if len(recipes) > 1 else ''} built in {session.world.clock() - began:.0f} s"
    )


def build_foreign(session: Session, facts: Engine, recipe: Recipe, platform: str) -> None:
    """Build a minimal Debian for another platform: unpacks packages, runs nothing. Same problems as `build`."""
    with _workplace(session) as place:
        main, security = apt.for_suite(host.apt_sources(), host.release().codename, SUITE)
        _lay_out(session, place, (main, security))
        arch = platform.split("/")[1]
        _rootfs(session, facts, place, main, arch)
        made = image_names.foreign_definition(recipe, platform, recipe_hash(recipe))
        _solve(session, facts, place, made, PACKAGES)
        (place / f"rootfs-{arch}.tar").unlink(missing_ok=True)


def recipe_hash(recipe: Recipe) -> str:
    """Return a hash that changes when any file of the recipe changes; stored as a label of the image.

    A directory counts only for the recipe of the same name: a newer BuildKit must not make a toolchain image outdated.
    """
    digest = sha256()
    for name, content in sorted(_data().items()):
        if "/" not in name or name.startswith(f"{recipe.stage}/"):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _data() -> dict[str, bytes]:
    """Return the recipes' files from the installed package, including one level of subdirectories."""
    found = {}
    for item in (resources.files("buildkit_tasks") / "data" / "images").iterdir():
        inside = [(f"{item.name}/{i.name}", i) for i in item.iterdir()] if item.is_dir() else [(item.name, item)]
        found.update({name: file.read_bytes() for name, file in inside})
    return found


@contextlib.contextmanager
def _workplace(session: Session) -> Iterator[Path]:
    """Yield the build context, which the user's projects share, to one build at a time. Removes secrets afterwards."""
    place = session.world.state_home / "images"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    waiting = "  waiting: another run is building base images"
    with files.locked(place / "lock", lambda: session.report.say(waiting)):
        try:
            yield place
        finally:
            shutil.rmtree(place / "secrets", ignore_errors=True)


def _own_base(session: Session, facts: Engine) -> str:
    name = image_names.RECIPES[0].image
    return name if local(session, facts, [name]) else ""


def _lay_out(session: Session, place: Path, sources: Sequence[apt.Source]) -> list[str]:
    """Write the context: recipes, this machine's mirror, and the secrets; returns the ids of the secrets."""
    for name, content in _data().items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content)
    bare, auth = zip(*(apt.without_credentials(s) for s in sources), strict=True)
    for folder in ("overlay", "second"):
        shutil.rmtree(place / folder, ignore_errors=True)
    newer = engine_install.SECOND[SUITE]
    # Only the main suite: the pin does not cover the updates and security suites, and their libc would be installed.
    second = replace(bare[0], suites=(newer,))
    for name, text in {
        "overlay/etc/apt/sources.list.d/debian.sources": apt.render(bare),
        "second/etc/apt/sources.list.d/second.sources": apt.render([second]),
        "second/etc/apt/preferences.d/second.pref": apt.pin(newer, FROM_SECOND),
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, "utf-8")
    for source in bare:
        key = Path(source.options.get("Signed-By", ""))
        if key.is_absolute() and key.is_file() and str(key) != apt.KEYRING:
            copy = place / "overlay" / str(key).lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(key, copy)
    secrets = place / "secrets"
    secrets.mkdir(mode=0o700, exist_ok=True)
    settings = _apt_settings(session)
    if session.settings.build.ca_bundle:
        shutil.copy(session.settings.build.ca_bundle, secrets / "ca")
        settings += 'Acquire::https::CAInfo "/run/secrets/ca";\n'
    (secrets / "aptconf").write_text(settings, "utf-8")
    (secrets / "aptauth").write_text("".join(f"{line}\n" for lines in auth for line in lines), "utf-8")
    goenv = {name: session.world.env[name] for name in _GO if session.world.env.get(name)}
    (secrets / "goenv").write_text("".join(f"{name}={value}\n" for name, value in goenv.items()), "utf-8")
    return [name for name in ("ca", "aptconf", "aptauth", "goenv") if (secrets / name).exists()]


def _apt_settings(session: Session) -> str:
    """Return the host's apt settings that its mirror may need: proxies, and whether to accept outdated indexes."""
    if not host.which(session.world, "apt-config"):
        return ""
    dump = run.capture(session.world, Command(("apt-config", "dump", "Acquire"), session.root)).stdout
    wanted = re.compile(r"^Acquire::(https?::Proxy(::\S+)?|Check-Valid-Until|Check-Date|Retries) ", re.IGNORECASE)
    return "".join(f"{line}\n" for line in dump.splitlines() if wanted.match(line))


def _rootfs(session: Session, facts: Engine, place: Path, main: apt.Source, arch: str = "") -> None:
    """Build rootfs.tar (with `arch`, for another machine: rootfs-ARCH.tar), unless a killed run left one."""
    world, report = session.world, session.report
    tar = place / (f"rootfs-{arch}.tar" if arch else "rootfs.tar")
    with contextlib.suppress(OSError):
        if time.time() - tar.stat().st_mtime < ROOTFS_AGE:
            report.say("  Debian 12: reusing the root filesystem from an interrupted run")
            return
    here = engine_facts.parse({"Architecture": platform.machine()}).arch
    if facts.arch and facts.arch != here and not arch:
        raise Problem(
            "image-unavailable",
            f"Base images for {facts.arch} cannot be built on this {here} machine.",
            hint="build the images on a machine with that architecture, then copy them with `docker save … | "
            "docker load`",
        )
    signed = main.options.get("Signed-By", "")
    keyring = signed if signed.startswith("/") and "\n" not in signed else apt.KEYRING
    if main.options.get("Trusted", "").lower() == "yes":
        keyring = "-"
    _debootstrap(session, keyring)
    if not host.is_root() and not report.consent("run debootstrap with sudo to build a minimal Debian system"):
        raise Problem("consent-missing", "Base images cannot be built without debootstrap.", hint="rerun the command")
    host.rights(world, "run debootstrap")
    report.say(f"  Debian 12 from {apt.without_credentials(main)[0].uri} (debootstrap, usually under a minute)")
    began, current, kept = world.clock(), "", b""

    def hear(chunk: bytes) -> None:
        nonlocal current, kept
        kept = (kept + chunk)[-4000:]
        for verb in ("Retrieving", "Extracting", "Unpacking", "Configuring"):
            if f"I: {verb} ".encode() in chunk and verb != current:
                current = verb
                report.say(f"    {verb.lower()} packages ({world.clock() - began:.0f} s)")

    bare, login = apt.without_credentials(main)
    with tempfile.TemporaryDirectory(prefix="buildkit-tasks-") as netrc:
        # debootstrap downloads with wget, which reads the password from here; command lines are public
        files.replace(Path(netrc, ".netrc"), apt.netrc(login), mode=0o600)
        own = ("env", f"HOME={netrc}") if login else ()
        words = (*own, "sh", str(place / "rootfs.sh"), SUITE, bare.uri, keyring, str(tar), *((arch,) if arch else ()))
        result = run.stream(world, host.as_root(words, cwd=place), hear)
    if result.code != 0:
        raise Problem(
            "image-unavailable",
            "debootstrap could not build a minimal Debian system.",
            causes=[f"exit code {result.code}; mirror {apt.without_credentials(main)[0].uri}"],
            details="\n".join(kept.decode(errors="replace").splitlines()[-12:]),
            hint="check that apt works on this machine (apt-get update)",
        )
    report.say(f"  Debian 12: done in {world.clock() - began:.0f} s")


def _debootstrap(session: Session, keyring: str) -> None:
    """Make sure that debootstrap and Debian's archive keys exist; installs them through apt with consent."""
    wanted = [] if host.which(session.world, "debootstrap") else ["debootstrap"]
    if keyring == apt.KEYRING and not Path(keyring).exists():
        wanted.append("debian-archive-keyring")
    if not wanted:
        return
    if not host.release().apt:
        raise Problem(
            "image-unavailable",
            f"Building base images requires {' and '.join(wanted)}, which this machine does not have.",
            hint=f"install {' '.join(wanted)}, or set a mirror: BUILDKIT_TASKS_IMAGES_REGISTRY=mirror.example",
        )
    if not session.report.consent(f"apt-get install {' '.join(wanted)} to build base images from packages"):
        raise Problem("consent-missing", "Base images cannot be built without debootstrap.", hint="rerun the command")
    host.rights(session.world, f"install {' '.join(wanted)}")
    host.apt_install(session.world, wanted, "image-unavailable")


def _solve(session: Session, facts: Engine, place: Path, definition: Mapping[str, Any], usual: str) -> None:
    progress, decoder = Progress(), Decoder()
    printed: set[str] = set()
    began = session.world.clock()

    def hear(chunk: bytes) -> None:
        for status in decoder.feed(chunk):
            progress.update(status)
            for line in news(progress, printed):
                session.report.say(f"  {line} ({session.world.clock() - began:.0f} s)")

    bake = buildx.bake(place, definition, place / "metadata.json")
    # Use the engine's own builder: an image built by another builder would have to be loaded first.
    own = Command(bake.argv, bake.cwd, (*bake.env, ("BUILDX_BUILDER", facts.context)), bake.stdin)
    session.report.say(f"  {usual}")
    result = run.stream(session.world, own, hear)
    if result.code != 0:
        broken = progress.failed()
        raise Problem(
            "image-unavailable",
            "The base images could not be built.",
            causes=[broken.error.splitlines()[-1]] if broken and broken.error else [],
            details="\n".join(broken.log[-15:]) if broken else decoder.close()[-2000:],
            hint=remedy(broken.log if broken else ()),
        )


def details(session: Session, names: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return the id, bytes and recipe of the images that the engine has, by the requested name."""
    result = run.capture(session.world, docker.image_details(session.root, names))
    found: dict[str, dict[str, object]] = {}
    for line in result.stdout.splitlines():
        with contextlib.suppress(ValueError):
            tags, identity, size, labels = shapes.loads(line, list)
            shapes.check([tags, labels], [(list, dict)])
            for tag in tags or ():
                full = image_names.parse(tag)
                entry = {"id": identity, "bytes": size, "recipe": (labels or {}).get(image_names.LABEL, "")}
                found.update({name: entry for name in names if image_names.parse(name) == full})
    return found


def renew(session: Session, facts: Engine, recipes: Sequence[Recipe], *, force: bool = False) -> None:
    """Build the images that are missing or from an older recipe; with `force`, all of them."""
    have = details(session, [r.image for r in recipes])
    right = local(session, facts, have)
    due = [r for r in recipes if force or r.image not in right or have[r.image].get("recipe") != recipe_hash(r)]
    for recipe in recipes:
        if recipe not in due:
            session.report.say(f"  {recipe.image}: up to date")
    if due:
        build(session, facts, due, force=force)
