"""The task namespace. Thin: arguments to flow; flows are imported by the bodies, so that `--list` stays fast."""

from __future__ import annotations

from invoke.collection import Collection

from . import project

namespace = Collection()
namespace.add_task(project.settings)
