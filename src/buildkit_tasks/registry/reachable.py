"""Checks within a few seconds whether an image registry is reachable."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any

from buildkit_tasks.core.world import World

from .names import is_loopback, printable, proxy_for

#: Timeout in seconds for the whole check, regardless of the number of registries.
PATIENCE = 2.0


def reachable(world: World, hosts: Sequence[str], ca_bundle: str) -> tuple[bool, str]:
    """Return whether any of the registries responds, and the reason if none does.

    Any HTTP response counts, including "log in first" and a redirect, which is not followed, but not a gateway's error
    (5xx, 407). Runs in threads that are never joined, because name lookups have no timeout.
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
            reasons.append(f"no response within {PATIENCE:.0f} s")
            break
        if fine:
            return True, ""
        reasons.append(reason)
    return False, "; ".join(reasons)


def _ask(world: World, host: str, ca_bundle: str) -> tuple[bool, str]:
    import ssl  # late: TLS takes 50 ms to import, and most builds do not need it
    import urllib.error
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        """Does not follow redirects: urllib would follow them to any host, and read a body of any size."""

        def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> None:  # noqa: ARG002
            return None  # not handled here: an error like any other

        http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    reason = ""
    for scheme in ("https", "http") if is_loopback(host) else ("https",):
        try:
            proxy = proxy_for(world.env, scheme, host)
            opener = urllib.request.build_opener(
                Stay(),
                urllib.request.ProxyHandler({scheme: proxy} if proxy else {}),
                urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_bundle or None)),
            )
            with opener.open(f"{scheme}://{host}/v2/", timeout=PATIENCE):
                return True, ""
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 407:
                return True, ""
            reason = f"{host}: HTTP {error.code}"
        except Exception as error:  # untrusted: an invalid response counts as no response
            reason = f"{host}: {_words(error)}"
            if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
                break  # the host uses TLS: falling back to plain HTTP would only hide why it is not trusted
    return False, reason


def _words(error: Exception) -> str:
    inner: Any = getattr(error, "reason", error)
    return printable(getattr(inner, "strerror", None) or inner)
