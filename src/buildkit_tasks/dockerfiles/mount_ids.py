"""Parses a cache mount's id: its kind and, if our Dockerfiles created it, its project and platform. Pure."""

from __future__ import annotations

import re

#: The kinds of cache mounts, in display order. The first three belong to Rust builds.
KINDS = ("target", "cargo-registry", "cargo-git", "apt", "npm", "pip", "go", "ccache", "other")

_OURS = re.compile(r"(?P<project>.+)-(?P<kind>cargo-registry|cargo-git|target(?:-(?P<platform>[a-z0-9_.]+))?)")
_FOREIGN = (
    ("cargo-registry", r"cargo/registry(/|$)|^cargo-registry$"),
    ("cargo-git", r"cargo/git(/|$)|^cargo-git$"),
    ("apt", r"/(cache|lib)/apt(/|$)|(^|[-/_])apt([-/_]|$)"),
    ("npm", r"\.npm|node_modules|yarn|pnpm|(^|[-/_])npm([-/_]|$)"),
    ("pip", r"\.cache/(pip|uv|pypoetry)(/|$)|(^|[-/_])(pip|uv|poetry)([-/_]|$)"),
    ("go", r"/go/pkg(/|$)|go-build|(^|[-/_])(go|gomod|golang)([-/_]|$)"),
    ("ccache", r"(^|[-/_.])s?ccache([-/_]|$)"),
    ("target", r"(^|[-/_])target([-/_]|$)"),
)


def attribute(identity: str, target: str = "") -> tuple[str, str, str]:
    """Return the (kind, project, platform) of a mount id. The project is empty if the id is not ours."""
    if found := _OURS.fullmatch(identity):
        kind = found["kind"]
        if not kind.startswith("target"):
            return kind, found["project"], ""
        if found["platform"]:
            return "target", found["project"], f"linux/{found['platform']}"
    for kind, pattern in _FOREIGN:
        if re.search(pattern, identity) or re.search(pattern, target):
            return kind, "", ""
    return "other", "", ""
