"""Checks for the machine: disk, kernel, shell, network."""

from __future__ import annotations

import re

from buildkit_tasks.engine.facts import MINIMUM

from .facts import Facts
from .rules import Rule, Verdict, fail, ok, unknown, warn

#: Below these values, programs that watch files (an editor, cargo watch) fail with "no space left on device".
INOTIFY_LEAST = {"max_user_watches": 8192, "max_user_instances": 128}


def disk(facts: Facts) -> Verdict:
    if facts.disk_free is None:
        return unknown("the engine's data is not on this machine")
    found = f"{facts.disk_free / 1e9:.1f} GB free on {facts.disk_path}"
    if facts.disk_free < 1_000_000_000:
        return fail(found, "invoke prune    (lists what it deletes first)")
    if facts.disk_free < facts.min_disk:
        return warn(found, "invoke prune    (lists what it deletes first)")
    return ok(found)


def binfmt(facts: Facts) -> Verdict:
    for name, text in facts.binfmt.items():
        flags = re.search(r"^flags:\s*(\S*)", text, re.MULTILINE)
        if not text.startswith("enabled"):
            return warn(f"{name} is registered but disabled", f"echo 1 | sudo tee /proc/sys/fs/binfmt_misc/{name}")
        if not flags or "F" not in flags[1]:
            return warn(
                f"{name} is registered without the F flag, so containers cannot see the emulator",
                "reinstall qemu-user-static, or run: docker run --privileged --rm tonistiigi/binfmt --install all",
            )
    return ok(", ".join(facts.binfmt) or "none (not needed: arm64 is cross-compiled)")


def inotify(facts: Facts) -> Verdict:
    for name, least in INOTIFY_LEAST.items():
        value = facts.inotify.get(name)
        if value is not None and value < least:
            return warn(
                f"fs.inotify.{name} = {value}",
                f"echo fs.inotify.{name}={least * 4} | sudo tee /etc/sysctl.d/90-inotify.conf && sudo sysctl --system",
            )
    return ok("high enough") if facts.inotify else unknown("this is not Linux")


def wsl(facts: Facts) -> Verdict:
    if "microsoft" in facts.kernel.lower():
        if re.match(r"/mnt/[a-z](/|$)", facts.root):
            return warn(
                f"{facts.root} is on the Windows disk",
                "clone into the Linux file system: git clone … ~/src/…    (reads are about ten times faster)",
            )
        return ok("WSL2, on the Linux file system")
    return ok("not WSL2")


def shell_rc(facts: Facts) -> Verdict:
    if facts.rc_broken:
        return warn(
            f"{facts.rc_broken} loads a file that enable-buildkit wrote, but the file is missing",
            "invoke enable-buildkit    (add --undo to remove the line)",
            "enable",
        )
    if facts.rc_off:
        return warn(f"BuildKit is disabled at {facts.rc_off[0]}", "remove that line, or run `invoke enable-buildkit`")
    old = facts.engine and facts.engine.version and facts.engine.version < MINIMUM["engine"]
    if old and not facts.rc_set and not facts.podman_engine:
        return warn(
            "the BuildKit variables are not set, and this engine does not use BuildKit by default",
            "invoke enable-buildkit",
            "enable",
        )
    if not facts.rc_set and not (facts.engine and facts.engine.version):
        return unknown("no engine responds")
    return ok("set up" if facts.rc_set else "not set up and not needed with this engine")


def completion(facts: Facts) -> Verdict:
    if facts.completion == "stale":
        return warn("from a different version", "invoke completion --install $(basename $SHELL)", "completion")
    if not facts.completion:
        return unknown("the login shell is not bash, zsh or fish")
    return ok("installed" if facts.completion == "current" else "not installed (invoke completion --install bash)")


def proxy(facts: Facts) -> Verdict:
    env = facts.env
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        upper, lower = env.get(name, ""), env.get(name.lower(), "")
        if upper and lower and upper != lower:
            return warn(
                f"{name} and {name.lower()} differ",
                f"export {name.lower()}=${name}    (some programs read only one of the two)",
            )
        value = upper or lower
        if re.search(r"//(?:[^@/]*@)?(?:localhost|127\.|\[::1\])", value):
            return warn(
                f"{name} points to localhost, which build steps cannot reach",
                f"export {name}=http://<this machine's address>:<port>, and make the proxy listen there",
            )
    set_ = [n for n in ("HTTP_PROXY", "HTTPS_PROXY") if env.get(n) or env.get(n.lower())]
    bypass = env.get("NO_PROXY") or env.get("no_proxy") or ""
    if set_ and not re.search(r"localhost|127\.0\.0\.1|\*", bypass):
        return warn(
            f"{set_[0]} is set, and NO_PROXY contains neither localhost nor 127.0.0.1",
            "export NO_PROXY=localhost,127.0.0.1${NO_PROXY:+,$NO_PROXY}",
        )
    return ok(f"{', '.join(set_)} passed to builds" if set_ else "none")


def registry(facts: Facts) -> Verdict:
    if facts.silent:
        return unknown("no engine responds")
    if not facts.registry_state and facts.compose_unseen:
        return unknown(facts.compose_unseen)
    if facts.registry_state == "unasked":
        return unknown("docker did not list the local images")
    if not facts.registry_state:
        return ok("every base image exists locally")
    if facts.registry_state == "closed" and facts.registry_lost:
        return fail(
            f"{facts.registry} is unreachable, and {', '.join(facts.registry_lost)} cannot be built from packages:"
            f" {facts.registry_words}",
            "set images.registry to your mirror, or load the images with `docker load`",
        )
    if facts.registry_state == "closed":
        return fail(
            f"{facts.registry} is unreachable and base images are missing: {facts.registry_words}",
            "invoke images.build    (builds them from Debian packages), or set images.registry to your mirror",
            "images",
        )
    return ok(f"{facts.registry} responds")


def ca(facts: Facts) -> Verdict:
    if facts.registry_state == "untrusted":
        return fail(
            f"{facts.registry} has a certificate that this machine does not trust: {facts.registry_words}",
            "set build.ca_bundle (or BUILDKIT_TASKS_BUILD_CA_BUNDLE) to your company's CA bundle (PEM)",
        )
    words = {
        "missing": "does not exist",
        "broken": "is not a PEM bundle",
        "expired": "contains only expired certificates",
    }.get(facts.ca_state)
    if words:
        return fail(
            f"{facts.ca_bundle} {words}", "fix the build.ca_bundle setting (`invoke settings` shows where it is set)"
        )
    return ok(f"{facts.ca_bundle}, passed to each build as a secret" if facts.ca_bundle else "not set")


RULES: tuple[Rule, ...] = (
    Rule("disk", "free space on the engine's disk", "a build fails partway through if the disk is full", disk),
    Rule(
        "binfmt",
        "emulators that work inside containers",
        "arm64 images need an emulator to run, but not to build",
        binfmt,
    ),
    Rule(
        "inotify",
        "high enough limits for file watchers",
        "editors and watchers fail with a misleading `no space left` error",
        inotify,
    ),
    Rule("wsl", "the project on the Linux file system", "each build reads the whole source tree", wsl),
    Rule(
        "shell",
        "startup files that do not disable BuildKit",
        "plain docker commands inherit the variables that these files set",
        shell_rc,
    ),
    Rule(
        "completion",
        "a completion script from this version",
        "Tab completes services, profiles and platforms",
        completion,
    ),
    Rule("proxy", "proxy settings that work inside builds", "cargo and apt use the proxy inside builds", proxy),
    Rule("registry", "base images, or a registry to pull them from", "the first build needs the base images", registry),
    Rule("ca", "a CA bundle that builds can use", "without your company's CA, TLS fails inside builds", ca),
)
