"""TLS in front of a server that speaks none, with a certificate of an authority that is made for it."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HERE: Final = "127.0.0.1"
_READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Signed:
    """`authority`: its certificate in PEM. `chain`: the file with what it has signed, and the key of that."""

    authority: str
    chain: Path


def signed(folder: Path, name: str) -> Signed:
    """An authority of this name, and what it signs for this machine's own address."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate(name, name, key=authority_key, by=authority_key, is_authority=True)
    certificate = _certificate(_HERE, name, key=key, by=authority_key, is_authority=False)
    chain = folder / "chain.pem"
    held = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain.write_bytes(held + certificate.public_bytes(serialization.Encoding.PEM))
    return Signed(authority.public_bytes(serialization.Encoding.PEM).decode(), chain)


@contextmanager
def tls_front(chain: Path, port: int) -> Iterator[int]:
    """Passes what comes on the port that it yields, over TLS, to this one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    with socket.create_server((_HERE, 0)) as listening:
        serving = threading.Thread(target=_serve, args=(listening, context, port), daemon=True)
        serving.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()


def _certificate(
    subject: str,
    issuer: str,
    *,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(_HERE))]), critical=False)
    )
    return builder.sign(by, hashes.SHA256())


def _serve(listening: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with suppress(OSError):  # it was closed
        while True:
            arrived, _ = listening.accept()
            threading.Thread(target=_pass_on, args=(arrived, context, port), daemon=True).start()


def _pass_on(arrived: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with (
        suppress(OSError),
        context.wrap_socket(arrived, server_side=True) as outside,
        socket.create_connection((_HERE, port)) as inside,
    ):
        back = threading.Thread(target=_copy, args=(inside, outside), daemon=True)
        back.start()
        _copy(outside, inside)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(_READ_BYTES):
            target.sendall(part)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
