"""The rules as data: code, severity, reason, fix. docs/reference/audit.md has a section for each. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One rule. `name`: the second half of its heading."""

    code: str
    name: str
    severity: str
    why: str
    remedy: str

    @property
    def heading(self) -> str:
        """Its heading in docs/reference/audit.md."""
        return f"{self.code} {self.name}"

    @property
    def docs(self) -> str:
        """Where it is documented."""
        return f"docs/reference/audit.md#{self.heading.lower().replace(' ', '-')}"


@dataclass(frozen=True)
class Place:
    """A layer of an image: its number from 1, the number of layers, its digest, and the step that created it."""

    number: int
    of: int
    digest: str
    step: str


@dataclass(frozen=True)
class Finding:
    """One finding. `subject`: the path, variable or vulnerability. `reason` is set if a setting suppresses it."""

    code: str
    image: str
    message: str
    severity: str = ""
    subject: str = ""
    layer: Place | None = None
    remedy: str = ""
    reason: str | None = None

    @property
    def failing(self) -> bool:
        """True if it makes `invoke audit` fail."""
        return self.severity == "error" and self.reason is None


_DELETING = "Deleting the file in a later layer does not help, because each layer is stored and pushed as a whole."

_ALL = (
    Rule(
        "BA000",
        "suppression",
        "note",
        "A suppression without a reason or a matching finding may hide a future finding.",
        'write "CODE:SUBJECT reason" in the audit.ignore setting, or remove the entry',
    ),
    Rule(
        "BA001",
        "secret-value",
        "error",
        f"Anyone who can pull the image can read the value. {_DELETING}",
        "add the file to .dockerignore, and use RUN --mount=type=secret or pass the value when the container starts; "
        "if the image was pushed, change the value",
    ),
    Rule(
        "BA002",
        "secret-key",
        "error",
        f"Anyone who can pull the image can read the key. {_DELETING}",
        "add the file to .dockerignore, and use RUN --mount=type=secret or pass the key when the container starts; "
        "if the image was pushed, revoke the key",
    ),
    Rule(
        "BA003",
        "secret-file",
        "error",
        f"Programs store passwords and tokens in this file. {_DELETING}",
        "add the file to .dockerignore, and use RUN --mount=type=secret for steps that need it",
    ),
    Rule(
        "BA004",
        "secret-variable",
        "warning",
        "ENV and ARG values are stored in the image's configuration, which `docker history` and `docker inspect` "
        "print.",
        "use RUN --mount=type=secret for a build step, and the service's `environment:` or `secrets:` "
        "for the container",
    ),
    Rule(
        "BA005",
        "root-user",
        "warning",
        "A process that breaks out of the container as root is root on the host, unless the engine is rootless.",
        "add USER 65532:65532 to the last stage, or `user:` to the service",
    ),
    Rule(
        "BA006",
        "setuid-file",
        "warning",
        "A setuid program runs as its owner, so a bug in it can give any user in the container the owner's privileges.",
        "remove the package, or run `chmod a-s FILE` in the step that creates the file; to disable privilege "
        "escalation in the container, add `no-new-privileges:true` to the service's `security_opt:`",
    ),
    Rule(
        "BA007",
        "world-writable",
        "warning",
        "Any process in the container can change the file or directory.",
        "use COPY --chmod=755, or run `chmod o-w` in the step that creates the file; `read_only: true` on the service "
        "also helps",
    ),
    Rule(
        "BA008",
        "no-healthcheck",
        "warning",
        "Without a health check, docker reports a hung service as running, and services that depend on it start too "
        "early.",
        "add `healthcheck:` to the service (with `disable: true` if it needs none), or HEALTHCHECK to the Dockerfile",
    ),
    Rule(
        "BA009",
        "layer-unread",
        "error",
        "The layer could not be read completely, so some of its files were not checked.",
        "rebuild the image, or use a base image with uncompressed or gzip-compressed layers",
    ),
    Rule(
        "BA010",
        "vulnerability",
        "warning",
        "The scanner's database lists the installed version as vulnerable.",
        "update the package or the base image; if the program does not use the vulnerable code, add the id to "
        "audit.ignore",
    ),
)

RULES = {rule.code: rule for rule in _ALL}
