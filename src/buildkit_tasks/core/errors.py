"""The only error type shown to users: what is wrong, why, and how to fix it."""

from __future__ import annotations

from collections.abc import Sequence

#: The exit code of each problem code. Codes are stable, so scripts can rely on them. See docs/reference/errors.md.
EXIT_CODES: dict[str, int] = {
    "no-project": 3,
    "settings-invalid": 4,
    "dotenv-invalid": 5,
    "dotenv-unreadable": 5,
    "dotenv-incomplete": 5,
    "compose-invalid": 6,
    "unknown-service": 7,
    "duplicate-service": 7,
    "no-built-service": 7,
    "compose-key-unsupported": 8,
    "dockerfile-unreadable": 9,
    "context-unreadable": 9,
    "engine-missing": 10,
    "engine-stopped": 11,
    "engine-denied": 12,
    "engine-too-old": 13,
    "engine-start-failed": 14,
    "engine-install-unsupported": 15,
    "engine-install-failed": 15,
    "buildx-missing": 16,
    "compose-missing": 17,
    "consent-missing": 18,
    "image-unavailable": 19,
    "compile-failed": 20,
    "build-failed": 21,
    "build-killed": 22,
    "disk-full": 23,
    "port-in-use": 24,
    "unhealthy": 25,
    "smoke-failed": 26,
    "not-running": 27,
    "verify-failed": 28,
    "bench-failed": 29,
    "lint-failed": 30,
    "audit-failed": 99,
    "command-failed": 31,
    "command-missing": 32,
    "bad-argument": 33,
    "cache-missing": 34,
    "shell-unsupported": 38,
    "rc-unwritable": 39,
    "unhealthy-setup": 37,
    "root-needed": 35,
    "engine-not-ours": 36,
    "registry-unreachable": 40,
    "registry-denied": 41,
    "registry-malformed": 52,
    "pack-missing": 42,
    "pack-refused": 43,
    "pack-empty": 59,
    "push-refused": 44,
    "timed-out": 45,
    "platform-unsupported": 46,
    "emulation-refused": 47,
    "platform-wrong": 48,
    "builder-missing": 49,
    "builder-refused": 50,
    "builder-unreachable": 51,
    "cache-unlistable": 53,
    "not-rust": 60,
    "manifest-invalid": 61,
    "adopt-conflict": 62,
    "adopt-missing": 63,
    "adopt-incomplete": 66,
    "build-lacks": 67,
    "tree-unreadable": 64,
    "tree-unwritable": 65,
    "cargo-no-toolchain": 72,
    "cargo-tool-missing": 73,
    "cargo-sync-failed": 74,
    "cargo-not-started": 76,
    "cargo-lock-outdated": 77,
    "cargo-no-services": 78,
    "database-unknown": 81,
    "database-unsupported": 82,
    "database-refused": 83,
    "migrations-unknown": 84,
    "migration-changed": 85,
    "sql-failed": 86,
    "dump-invalid": 87,
    "hook-conflict": 88,
    "output-failed": 68,
    "system-refused": 69,
    "base-missing": 91,
    "history-missing": 95,
    "ci-conflict": 92,
    "ci-failed": 93,
    "ci-nothing-ran": 94,
    "makefile-missing": 97,
    "makefile-invalid": 98,
    "answer-invalid": 110,
    "interrupted": 130,
    "hung-up": 129,
    "terminated": 143,
}


class Problem(Exception):
    """An expected failure, reported as a small document.

    `code`: a key of `EXIT_CODES`; `message`: one sentence; `causes`: known or likely causes, most useful first; `hint`:
    the command or edit that fixes it; `details`: verbatim output of another program, printed before the message.
    """

    def __init__(
        self, code: str, message: str, *, causes: Sequence[str] = (), hint: str = "", details: str = ""
    ) -> None:
        if code not in EXIT_CODES:
            raise ValueError(f"unknown problem code {code!r}: add it to EXIT_CODES and to docs/reference/errors.md")
        super().__init__(message)
        self.code = code
        self.message = message
        self.causes = tuple(causes)
        self.hint = hint
        self.details = details

    @property
    def exit_code(self) -> int:
        """The process exit code for this problem."""
        return EXIT_CODES[self.code]

    def text(self) -> str:
        """Return the document as plain text. Verbatim details come first, to keep the hint visible at the end."""
        lines = [self.details.rstrip("\n")] if self.details else []
        lines.append(f"error[{self.code}]: {self.message}")
        lines += [f"  because: {cause}" for cause in self.causes]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)
