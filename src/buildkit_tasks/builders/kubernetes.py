"""Previews what buildx's kubernetes driver will create in a cluster. Pure.

buildx creates the deployment without showing it. This module converts its documented options to a manifest:
https://docs.docker.com/build/builders/drivers/kubernetes/
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

from buildkit_tasks.builders.facts import IMAGE
from buildkit_tasks.core.errors import Problem

#: Options that do not appear in the deployment.
_ELSEWHERE = {"loadbalance", "timeout", "default-load", "buildkit-root-volume-memory"}

_KNOWN = {
    *("image", "namespace", "replicas", "serviceaccount", "schedulername", "nodeselector", "annotations", "labels"),
    *("tolerations", "rootless", "qemu.install", "qemu.image", *_ELSEWHERE),
}


def options(given: Sequence[str]) -> dict[str, str]:
    """Parse driver options `name=value`. Raises `Problem` bad-argument."""
    found = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Problem(
                "bad-argument", f"--opt {word!r} is not NAME=VALUE.", hint="pass an option such as --opt replicas=3"
            )
        found[name] = value
    return found


def deployment(node: str, given: Sequence[str], flags: Sequence[str] = ()) -> dict[str, Any]:
    """Return the deployment of one node. Raises `Problem` bad-argument for an unknown option."""
    values = options(given)
    for name in values:
        if name not in _KNOWN and not name.startswith(("requests.", "limits.")):
            raise Problem(
                "bad-argument",
                f"The kubernetes driver has no option {name!r}.",
                hint=f"use one of: {', '.join(sorted(_KNOWN))}, requests.…, limits.…",
            )
    rootless = values.get("rootless") == "true"
    security: dict[str, Any] = {"privileged": True}
    if rootless:
        security = {"seccompProfile": {"type": "Unconfined"}, "runAsUser": 1000, "runAsGroup": 1000}
    container: dict[str, Any] = {
        "name": "buildkitd",
        "image": values.get("image") or (f"{IMAGE}-rootless" if rootless else IMAGE),
        "args": list(flags),
        "securityContext": security,
        "readinessProbe": {"exec": {"command": ["buildctl", "debug", "workers"]}},
    }
    resources = {
        kind: {n.partition(".")[2]: v for n, v in values.items() if n.startswith(f"{kind}.")}
        for kind in ("requests", "limits")
    }
    if any(resources.values()):
        container["resources"] = {kind: found for kind, found in resources.items() if found}
    pod: dict[str, Any] = {"containers": [container]}
    if values.get("qemu.install") == "true":
        pod["initContainers"] = [
            {
                "name": "qemu",
                "image": values.get("qemu.image", "tonistiigi/binfmt:latest"),
                "args": ["--install", "all"],
                "securityContext": {"privileged": True},
            }
        ]
    for name, key in (("serviceaccount", "serviceAccountName"), ("schedulername", "schedulerName")):
        if name in values:
            pod[key] = values[name]
    if "nodeselector" in values:
        pod["nodeSelector"] = _pairs(values["nodeselector"])
    if "tolerations" in values:
        pod["tolerations"] = [_pairs(one) for one in values["tolerations"].split(";")]
    labels = {"app": node, **_pairs(values.get("labels", ""))}
    metadata: dict[str, Any] = {"name": node, "labels": labels}
    if "namespace" in values:
        metadata["namespace"] = values["namespace"]
    if "annotations" in values:
        metadata["annotations"] = _pairs(values["annotations"])
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": int(values.get("replicas", "1")),
            "selector": {"matchLabels": {"app": node}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _pairs(text: str) -> dict[str, str]:
    row = next(csv.reader([text]), [])
    return dict(word.split("=", 1) for word in row if "=" in word)
