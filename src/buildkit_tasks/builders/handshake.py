"""Finds out why a node denies access: performs a TLS handshake with the builder's certificates, then only reads.

With TLS 1.3, a client only learns that it was rejected after finishing its half of the handshake. By then, buildx is
already writing; if the node closes the connection first, buildx reports a broken pipe instead of the node's reason.
This module writes nothing, so it can read that reason.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from buildkit_tasks.core import readfile


def reason(instance: Path, node: str, patience: float) -> str:
    """Return the node's reason, worded like Go's TLS errors; empty if the node accepts us or does not use TLS.

    `instance`: buildx's file for a builder with this node; `patience`: the timeout of each step, in seconds.
    """
    try:
        nodes = readfile.state(instance)["Nodes"]
        (found,) = (item for item in nodes if item["Name"] == node)
        options = {str(name): str(value) for name, value in found["DriverOpts"].items()}
        address = urlsplit(str(found["Endpoint"]))
        host, port = address.hostname, address.port
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""
    if address.scheme != "tcp" or not host or not port or not {"cacert", "cert", "key"} <= options.keys():
        return ""
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(options["cacert"])
        context.load_cert_chain(options["cert"], options["key"])
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, port), timeout=patience) as line,
            context.wrap_socket(line, server_hostname=options.get("servername") or host) as node_line,
        ):
            node_line.recv(1)
    except ssl.SSLCertVerificationError as error:
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    except ssl.SSLError as error:
        _, alert, words = (error.reason or "").partition("_ALERT_")
        return f"remote error: tls: {words.replace('_', ' ').lower()}" if alert else ""
    except OSError:
        return ""
    return ""
