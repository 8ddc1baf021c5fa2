"""One bounded question: does an image registry answer from here?"""

from __future__ import annotations

import queue
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from buildkit_tasks.core.world import World

#: Seconds the question may take in all, however many registries are asked.
PATIENCE = 2.0
HUB = "registry-1.docker.io"


def reachable(world: World, hosts: Sequence[str], ca_bundle: str) -> tuple[bool, str]:
    """Whether any of the registries answers, and the reason where none does.

    Any HTTP answer counts, also "log in first"; a gateway's error (5xx, 407) does not. Asked in threads that nobody
    waits for: a name lookup has no time-out of its own.
    """
    answers: queue.Queue[tuple[bool, str]] = queue.Queue()
    began = world.clock()
    for host in hosts:
        threading.Thread(target=lambda h=host: answers.put(_ask(world, h, ca_bundle)), daemon=True).start()
    reasons: list[str] = []
    while len(reasons) < len(hosts):
        try:
            fine, reason = answers.get(timeout=max(0.0, PATIENCE - (world.clock() - began)))
        except queue.Empty:
            reasons.append(f"no answer within {PATIENCE:.0f} s")
            break
        if fine:
            return True, ""
        reasons.append(reason)
    return False, "; ".join(reasons)


def _ask(world: World, host: str, ca_bundle: str) -> tuple[bool, str]:
    proxies = {
        scheme: world.env.get(f"{scheme}_proxy") or world.env.get(f"{scheme.upper()}_PROXY", "")
        for scheme in ("http", "https")
    }
    no_proxy = world.env.get("no_proxy") or world.env.get("NO_PROXY", "")
    name = host.partition(":")[0]
    if any(
        name == n.strip().lstrip(".") or name.endswith("." + n.strip().lstrip(".")) for n in no_proxy.split(",") if n
    ):
        proxies = {}
    local = name in ("localhost", "127.0.0.1")
    reason = ""
    for scheme in ("https", "http") if local else ("https",):
        try:
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({k: v for k, v in proxies.items() if v and not local}),
                urllib.request.HTTPSHandler(context=_trust(ca_bundle)),
            )
            with opener.open(f"{scheme}://{host}/v2/", timeout=PATIENCE):
                return True, ""
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 407:
                return True, ""
            reason = f"{host}: HTTP {error.code}"
        except (OSError, ValueError) as error:
            reason = f"{host}: {_words(error)}"
    return False, reason


def _trust(ca_bundle: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_bundle or None)


def _words(error: Exception) -> str:
    inner: Any = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner)
