"""Certificates of a farm, tested with real TLS handshakes in memory."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from pathlib import Path

import pytest

from buildkit_tasks.builders import authority
from buildkit_tasks.builders.authority import Pair


def context(role: ssl._SSLMethod, place: Path, trusted: Pair, own: Pair) -> ssl.SSLContext:
    """Return the context of one side, which requires a certificate from the other side."""
    place.mkdir()
    for name, data in {"ca.pem": trusted.certificate, "cert.pem": own.certificate, "key.pem": own.key}.items():
        (place / name).write_bytes(data)
    made = ssl.SSLContext(role)
    made.load_verify_locations(place / "ca.pem")
    made.load_cert_chain(place / "cert.pem", place / "key.pem")
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def shake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """Do a handshake and send a byte each way: with TLS 1.3, the server may refuse after the client has accepted."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(up, down, server_side=True)
    here = client.wrap_bio(down, up, server_hostname=host)
    waiting = {here, there}
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.discard(side)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    here.write(b"x")
    assert there.read(1) == b"x"


@pytest.mark.parametrize("host", ["127.0.0.1", "builder.example"])
def test_both_sides_know_each_other(tmp_path: Path, host: str) -> None:
    signer = authority.authority("farm")
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path / "s", signer, authority.server(signer, [host]))
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path / "c", signer, authority.client(signer, "client"))
    shake(server, client, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, client, "other.example")


def test_strangers_are_refused_on_both_sides(tmp_path: Path) -> None:
    ours, theirs = authority.authority("farm"), authority.authority("farm")
    server = context(ssl.PROTOCOL_TLS_SERVER, tmp_path / "s", ours, authority.server(ours, ["127.0.0.1"]))
    stranger = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path / "c", ours, authority.client(theirs, "client"))
    with pytest.raises(ssl.SSLError):
        shake(server, stranger, "127.0.0.1")
    misled = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path / "m", theirs, authority.client(ours, "client"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, misled, "127.0.0.1")


def test_a_client_cannot_pass_for_a_node(tmp_path: Path) -> None:
    signer = authority.authority("farm")
    pretender = context(ssl.PROTOCOL_TLS_SERVER, tmp_path / "s", signer, authority.client(signer, "127.0.0.1"))
    client = context(ssl.PROTOCOL_TLS_CLIENT, tmp_path / "c", signer, authority.client(signer, "client"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(pretender, client, "127.0.0.1")


def test_a_leaf_says_when_it_expires() -> None:
    signer = authority.authority("farm")
    left = authority.expiry(authority.client(signer, "client").certificate) - datetime.now(timezone.utc)
    assert 0 <= authority.LEAF_DAYS - left.days <= 1
