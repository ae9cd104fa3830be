"""Who is believed to sign DocumentDB's certificates, and that whoever else does is not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from infra.local.embedded import EmbeddedServers
from infra.packaging import certificates
from infra.packaging.certificates import BUNDLE, NoBundle, authorities, main, normalised, regions
from tests.aws.templates import World, text
from tests.support.tlsfront import signed, tls_front

LATER = datetime(2060, 1, 1, tzinfo=UTC)
# fmt: off
REGIONS = (
    "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3",
    "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4",
    "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1",
    "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
    "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2",
    "us-west-1", "us-west-2",
)
# fmt: on
KEYS = ("RSA2048", "RSA4096", "ECC384")
"""The kinds of key that one may choose for an instance."""


def test_each_is_an_authority_that_signs_itself_for_decades() -> None:
    found = x509.load_pem_x509_certificates(BUNDLE.read_bytes())
    for one in found:
        one.verify_directly_issued_by(one)
        assert one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert one.not_valid_before_utc < datetime.now(UTC) < LATER < one.not_valid_after_utc
        key = one.public_key()
        assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        assert key.key_size >= (2048 if isinstance(key, rsa.RSAPublicKey) else 384)
    assert len(found) == len(set(found)) == len(REGIONS) * len(KEYS)


@pytest.mark.parametrize("region", REGIONS)
def test_every_region_has_one_for_each_kind_of_key(region: str) -> None:
    found = [one.key for one in authorities(BUNDLE.read_text()) if one.region == region]
    assert sorted(found) == sorted(KEYS)


def test_what_is_there_is_as_it_would_be_written_again(tmp_path: Path) -> None:
    shuffled = tmp_path / "global-bundle.pem"
    blocks = BUNDLE.read_text().split("-----END CERTIFICATE-----\n")
    shuffled.write_text("-----END CERTIFICATE-----\r\n".join([blocks[1], *reversed(blocks[:-1]), ""]))
    main(shuffled, tmp_path / "written.pem")
    assert (tmp_path / "written.pem").read_bytes() == BUNDLE.read_bytes()


def test_what_has_expired_and_what_is_no_regions_is_left_out(tmp_path: Path) -> None:
    trial = signed(tmp_path, "Amazon RDS Beta us-east-1 Root CA RSA2048 G1").authority
    region = signed(tmp_path, "Amazon RDS us-east-1 Root CA RSA2048 G1").authority
    assert normalised(trial + region, now=0) == region
    with pytest.raises(NoBundle, match="still valid"):
        normalised(region, now=LATER.timestamp())


@pytest.mark.parametrize(
    "given", ["", "<html>", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_bundle_or_forgets_a_region_changes_nothing(tmp_path: Path, given: str) -> None:
    wrong, there = tmp_path / "wrong.pem", tmp_path / "there.pem"
    there.write_text(BUNDLE.read_text())
    for content in (
        given,
        "".join(one.pem for one in authorities(BUNDLE.read_text()) if one.region != "eu-west-1"),
    ):
        wrong.write_text(content)
        with pytest.raises(SystemExit, match=r"wrong\.pem: "):
            main(wrong, there)
    assert there.read_bytes() == BUNDLE.read_bytes()


@pytest.fixture
def options(worlds: Mapping[str, World]) -> str:
    """As the functions get them."""
    secret = worlds["small"].named("AWS::SecretsManager::Secret", "MongoUri")
    return text(secret["Properties"]["SecretString"]).partition("/?")[2]


def test_only_who_one_of_them_has_signed_is_documentdb(
    servers: EmbeddedServers, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is looked for where the function's process is: in the folder of its code.

    The embedded server gives its set of replicas another name, and names only its own port.
    """
    own, others = (tmp_path / name for name in ("own", "others"))
    own.mkdir()
    others.mkdir()
    believed, stranger = signed(own, "Amazon RDS here Root CA"), signed(others, "Amazon RDS here Root CA")
    (tmp_path / certificates.NAME).write_text(BUNDLE.read_text() + believed.authority)
    monkeypatch.chdir(tmp_path)
    login, port = servers.connections.mongo_stack_url.partition("@")[0], servers.layout.ports["mongodb"]
    of_this_one = options.replace("replicaSet=rs0", "replicaSet=secantus&directConnection=true")
    with tls_front(believed.chain, port) as right, tls_front(stranger.chain, port) as wrong:
        with client(f"{login}@127.0.0.1:{right}/?{of_this_one}&authSource=admin") as one:
            assert one.admin.command("ping")["ok"] == 1
        with (
            client(f"{login}@127.0.0.1:{wrong}/?{options}&authSource=admin", wait_ms=300) as one,
            pytest.raises(ServerSelectionTimeoutError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            one.admin.command("ping")


def test_the_driver_takes_all_of_them(options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"mongodb://127.0.0.1:1/?{options}"
    monkeypatch.chdir(BUNDLE.parent)
    with client(uri, connect=False) as one:
        context: Any = one.options.pool_options._ssl_context
        assert context.check_hostname
        assert context.cert_store_stats()["x509_ca"] >= len(REGIONS) * len(KEYS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=certificates.NAME):
        client(uri, connect=False)


def test_regions_are_read_from_names() -> None:
    assert regions(BUNDLE.read_text()) == set(REGIONS)


def client(uri: str, *, connect: bool = True, wait_ms: int = 20_000) -> MongoClient[dict[str, Any]]:
    return MongoClient(uri, connect=connect, serverSelectionTimeoutMS=wait_ms)
