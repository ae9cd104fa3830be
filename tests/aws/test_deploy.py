"""One command makes the platform, another takes it away: CDK's own does it, in an emulated account.

Tests are in the order of one deployment's life, and each stands on those before it.
"""

from __future__ import annotations

import io
import os
import re
import sysconfig
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import botocore.session
import pytest
from pymongo import MongoClient

from chalicelib.contract.tokens import TOKEN_PATTERN, is_well_formed, token_sha256
from chalicelib.founding import OPERATOR
from chalicelib.records import named_account_id
from chalicelib.settings import RecordSettings
from infra.aws import __main__ as command_line
from infra.aws import linked, names
from infra.aws.built import Built
from infra.aws.cloud import CannotGoOn, Clock, Cloud, StackState
from infra.aws.command import CDK, Cdk
from infra.aws.deploy import BOOTSTRAP, Tools, deploy, remembered
from infra.aws.destroy import Destroying, _clusters, destroy, standing
from infra.aws.owner import Owner
from infra.local.embedded import EmbeddedServers, embedded_servers
from tests.support.assembly import MACHINE_IMAGE, Here, adapt
from tests.support.emulator import ACCOUNT, REGION, Emulator, running_emulator

ROOT: Final = Path(__file__).resolve().parents[2]
ID: Final = named_account_id(OPERATOR)
MODEL: Final = "models/tenant/model/version/sha.onnx"
PASSWORD: Final = "a tram to the harbour"
ASSETS: Final = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"


class PowerCut(Exception):
    """What deploys dies."""


@dataclass(frozen=True)
class EmulatedCdk(Cdk):
    """CDK's command. `dies_before`: a stack that is not deployed any more; "" for all of the rest."""

    emulator: Emulator = field(kw_only=True)
    dies_before: str | None = field(default=None, kw_only=True)

    def bootstrap(self, account: str) -> None:
        """The bucket for assets refuses who speaks no TLS, as everybody does here."""
        super().bootstrap(account)
        self.emulator.client("s3").delete_bucket_policy(Bucket=ASSETS)
        self.emulator.client("ssm").put_parameter(Name=MACHINE_IMAGE, Value="ami-0abc", Type="String")

    def deploy(self, templates: Path, stack: str | None = None) -> None:
        if self.dies_before == (stack or ""):
            raise PowerCut
        super().deploy(templates, stack)


@dataclass(frozen=True)
class Place:
    """An account, and what is beside it. `said`: lines of progress. `keys`: those that were told."""

    emulator: Emulator
    servers: EmbeddedServers
    folder: Path
    said: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return Cloud(botocore.session.Session(), REGION)

    @property
    def owner(self) -> Owner:
        return Owner(self.cloud, CLOCK)

    @property
    def records(self) -> Any:
        """The database that functions have."""
        settings = RecordSettings.from_env(
            {"MODELROCKET_MONGO_URL": self.servers.connections.mongo_stack_url}
        )
        return MongoClient[Any](settings.mongo_url)[settings.mongo_database]

    @property
    def environ(self) -> Mapping[str, str]:
        """CDK keeps what it remembers below the folder. `true` stands for Docker: nothing is built."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CDK_HOME": str(self.folder),
            "CDK_DOCKER": "true",
            **self.emulator.environment,
        }

    @property
    def built(self) -> Built:
        return Built(self.folder / "package.zip", self.folder / "site")

    def cdk(self, dies_before: str | None = None) -> Cdk:
        return EmulatedCdk(self.environ, REGION, emulator=self.emulator, dies_before=dies_before)

    def deploy(self, *, dies_before: str | None = None, **context: str) -> None:
        tools = Tools(
            cdk=self.cdk(dies_before),
            clock=CLOCK,
            owner=self.owner,
            synthesize=self.synthesize,
            say=self.said.append,
        )
        deploy(self.cloud, tools, context, told_key=self.keys.append)

    def synthesize(self, context: Mapping[str, str]) -> Path:
        from infra.aws.app import build, new_app
        from infra.aws.deployment import Deployment

        out = self.folder / "cdk.out"
        app = new_app(str(out))
        for name, value in context.items():
            app.node.set_context(name, value)
        build(app, Deployment.from_context(context.get), self.built)
        app.synth()
        adapt(out, Here(variables={}, secrets={"MongoUri": self.servers.connections.mongo_url}))
        return out

    def destroying(self, cloud: Cloud | None = None, *, everything: bool = False) -> Destroying:
        return Destroying(cloud=cloud or self.cloud, clock=CLOCK, say=self.said.append, everything=everything)

    def bucket(self) -> str:
        return next(one for one in self.cloud.resources(names.STORAGE, "AWS::S3::Bucket") if "models" in one)


class Cut(Cloud):
    """The power goes when machines are to go."""

    def resources(self, stack: str, kind: str) -> list[str]:
        if kind == "AWS::AutoScaling::AutoScalingGroup":
            raise PowerCut
        return super().resources(stack, kind)


def cut_before(name: str) -> Callable[[str], None]:
    """The power goes when this stack is to go."""

    def say(line: str) -> None:
        if line == name:
            raise PowerCut

    return say


CLOCK: Final = Clock(time.monotonic, lambda _seconds: time.sleep(0.05))
"""The emulator does at once what AWS takes minutes for."""


@pytest.fixture(scope="module")
def place(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Functions have this checkout's sources, and what this interpreter has installed."""
    del node  # CDK finds it by itself
    folder = tmp_path_factory.mktemp("account")
    installed = f"\nimport sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
    with zipfile.ZipFile(folder / "package.zip", "w") as package:
        for path in sorted((ROOT / "chalicelib").rglob("*.py")):
            source = path.read_text() + (installed if path == ROOT / "chalicelib" / "__init__.py" else "")
            package.writestr(str(path.relative_to(ROOT)), source)
    (folder / "site").mkdir()
    (folder / "site" / "index.html").touch()
    with (
        embedded_servers(folder / "servers", "mongodb") as servers,
        running_emulator(folder / "emulator") as emulator,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in emulator.environment.items():
            patch.setenv(name, value)
        yield Place(emulator, servers, folder)


def test_what_dies_halfway_has_told_the_key_and_let_nobody_in(place: Place) -> None:
    assert CDK.exists(), "`make infra/aws/cdk/node_modules/.installed` installs CDK's command"
    with pytest.raises(PowerCut):
        place.deploy(dies_before="", sign_up="open")
    (key,) = place.keys
    assert is_well_formed(key)
    assert place.records["tokens"].find_one({"sha256": token_sha256(key)})["tenant"] == ID
    assert "email_once" in place.records["accounts"].index_information()
    assert standing(place.cloud) == (names.SETUP, names.DATA, names.NETWORK, names.STORAGE)


def test_called_again_it_goes_on_and_makes_no_other_key(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outs: list[Path] = []

    def synthesize(context: Mapping[str, str], _environ: Mapping[str, str], out: Path) -> Path:
        assert out.parent.is_dir() and not out.exists()
        outs.append(out)
        return place.synthesize(context)

    monkeypatch.setattr(command_line, "synthesize", synthesize)
    monkeypatch.setattr(command_line, "Built", lambda: place.built)
    assert command_line.main(["deploy"], place.environ) == 0
    said = capfd.readouterr().out
    assert re.findall(TOKEN_PATTERN, said) == []
    assert [out.parent.exists() for out in outs] == [False]  # nobody else's, and gone with it
    for command in ("modelrocket login https://", "modelrocket upload", "infra.aws account", "infra.aws key"):
        assert command in said
    assert place.records["tokens"].count_documents({}) == 1
    site = place.cloud.stack(names.SITE)
    assert site is not None and f"ModelRocket is at {site.outputs[names.SITE_URL]}" in said
    assert set(standing(place.cloud)) == set(names.ALL)


def test_what_is_not_said_again_stays_as_it_was(place: Place) -> None:
    assert remembered(place.cloud) == {"sign_up": "open"}
    functions = place.cloud.resources(names.CONTROL_PLANE, "AWS::Lambda::Function")
    client = place.emulator.client("lambda")
    for name in functions:
        told = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        assert told["MODELROCKET_SIGN_UP"] == "open"


def test_it_was_bootstrapped_once(place: Place) -> None:
    said = [line for line in place.said if "CDK needs" in line]
    version = place.emulator.client("ssm").get_parameter(Name=BOOTSTRAP)["Parameter"]["Value"]
    assert (len(said), int(version) >= 6) == (1, True)


def test_services_of_aws_have_their_roles_in_an_account_where_nothing_was(place: Place) -> None:
    roles = place.emulator.client("iam").list_roles()["Roles"]
    wanted = {f"/aws-service-role/{service}/" for service in linked.SERVICES}
    assert wanted <= {role["Path"] for role in roles}


class NeverStood(Cloud):
    """Where the first hosts did not start: no emulator goes back as AWS does."""

    def stack(self, name: str) -> StackState | None:
        if name != names.HOSTS:
            return super().stack(name)
        return StackState(name, "ROLLBACK_FAILED", "", {}, datetime.now(UTC))

    def resources(self, stack: str, kind: str) -> list[str]:
        return [] if stack == names.HOSTS else super().resources(stack, kind)


def test_hosts_that_never_stood_go_before_anything_is_made(place: Place) -> None:
    said: list[str] = []
    tools = Tools(
        cdk=place.cdk(dies_before=names.SETUP),
        clock=CLOCK,
        owner=place.owner,
        synthesize=lambda _: place.folder,
        say=said.append,
    )
    with pytest.raises(PowerCut):
        deploy(NeverStood(botocore.session.Session(), REGION), tools, {}, told_key=place.keys.append)
    assert [line for line in said if "did not start before" in line]


def test_whoever_lost_the_key_gets_another(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["key"], place.environ) == 0
    (key,) = re.findall(TOKEN_PATTERN, capsys.readouterr().out)
    assert place.records["tokens"].find_one({"sha256": token_sha256(key)})["tenant"] == ID
    assert place.records["tokens"].count_documents({}) == 2


def test_the_operator_gets_a_log_in_and_nobody_hears_the_password(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert command_line.main(["account", "--email", "ada@example.org"], place.environ) == 0
    account = place.records["accounts"].find_one({"_id": ID})
    assert account["email"] == "ada@example.org"
    assert account["password_hash"].startswith("$argon2id$")
    assert PASSWORD not in place.emulator.log.read_text()


def test_a_password_that_is_guessed_first_is_refused_here(place: Place) -> None:
    with pytest.raises(CannotGoOn):
        place.owner.set_log_in("ada@example.org", "password123")


def test_nothing_is_destroyed_that_nobody_has_confirmed(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert command_line.main(["destroy", "--models", "delete"], place.environ) == 2
    said = capsys.readouterr().out
    assert all(name in said for name in (*names.ALL, "--yes", "Nothing was touched"))
    assert len(standing(place.cloud)) == len(names.ALL)


def test_destroyed_halfway_it_goes_on_and_models_stay(place: Place) -> None:
    bucket, s3 = place.bucket(), place.emulator.client("s3")
    s3.delete_bucket_policy(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=MODEL, Body=b"model")

    with pytest.raises(PowerCut):
        destroy(place.destroying(Cut(botocore.session.Session(), REGION)))
    assert standing(place.cloud) == (names.HOSTS, names.SETUP, names.DATA, names.NETWORK, names.STORAGE)
    clusters = _clusters(place.cloud)
    assert clusters == place.cloud.resources(names.DATA, "AWS::DocDB::DBCluster") != []
    with pytest.raises(PowerCut):
        destroy(replace(place.destroying(), say=cut_before(names.STORAGE)))
    assert standing(place.cloud) == (names.STORAGE,)
    assert _clusters(place.cloud) == clusters  # their last backup goes or is named, all the same
    stays = destroy(place.destroying())
    assert f"bucket {bucket}" in stays and {one.split()[0] for one in stays} == {"bucket", "key"}
    assert standing(place.cloud) == ()
    assert s3.get_object(Bucket=bucket, Key=MODEL)["Body"].read() == b"model"
    with pytest.raises(CannotGoOn, match="make deploy"):
        place.owner.new_key()


def test_whoever_wants_nothing_kept_keeps_nothing(place: Place) -> None:
    place.cdk().deploy(place.folder / "cdk.out", names.STORAGE)
    bucket, s3 = place.bucket(), place.emulator.client("s3")
    s3.delete_bucket_policy(Bucket=bucket)
    for body in (b"old", b"new"):
        s3.put_object(Bucket=bucket, Key=MODEL, Body=body)
    s3.delete_object(Bucket=bucket, Key=MODEL)
    (key,) = place.cloud.resources(names.STORAGE, "AWS::KMS::Key")
    assert destroy(place.destroying(everything=True)) == []
    assert bucket not in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    state = place.emulator.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    assert state == "PendingDeletion"
