"""Rings the bell or shows a desktop notification, depending on the watch.notify setting."""

from __future__ import annotations

import sys

from buildkit_tasks.config.session import Session
from buildkit_tasks.core import run
from buildkit_tasks.core.errors import Problem
from buildkit_tasks.core.model import Command

#: The text is an argument, never part of the script.
_SCRIPT = ("on run argv", 'display notification (item 1 of argv) with title "buildkit-tasks"', "end run")

#: Timeout of a notification in seconds.
_PATIENCE = 5.0


def notify(session: Session, text: str) -> None:
    """Notify the user as configured. If a desktop notification fails, print a warning and use the bell from then on."""
    how = session.flags.get("watch.notify") or session.settings.watch.notify
    if how == "off":
        return
    if how == "desktop":
        mac = sys.platform == "darwin"
        script = tuple(word for line in _SCRIPT for word in ("-e", line))
        argv = ("osascript", *script, text) if mac else ("notify-send", "buildkit-tasks", text)
        try:
            if run.capture(session.world, Command(argv, session.root), timeout=_PATIENCE).code == 0:
                return
        except Problem:
            pass
        session.report.warn(f"{argv[0]} could not show a notification; using the terminal bell instead")
        session.flags["watch.notify"] = "bell"
    session.report.bell()
