"""The package for Lambda has what the control plane needs, nothing else, and comes of its sources alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

import app
from chalicelib import openapi
from infra.package import BUILT, BYTES_MAX, ROOT, Package, build
from infra.packaging import bytecode, coldstart, wheels
from infra.packaging.failure import CannotPackage
from infra.packaging.project import LOCK

FUNCTION = Path(__file__).parent / "function.py"
CACHE = BUILT / "wheels"
NOBODY_LISTENS = "127.0.0.1:9"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "MODELROCKET_MONGO_URL": f"mongodb://{NOBODY_LISTENS}",
    "MODELROCKET_REDIS_URL": f"rediss://api:secret@{NOBODY_LISTENS}/0",
    "MODELROCKET_S3_BUCKET": "models",
    "MODELROCKET_DISPATCH_KEY": "5a" * 32,
    "MODELROCKET_PUBLIC_URL": "https://rocket.example",
    "MODELROCKET_HOST_NETWORK": "10.0.0.0/16",
    "MODELROCKET_CAPACITY": "ecs",
    "MODELROCKET_ECS_CLUSTER": "hosts",
    "MODELROCKET_ECS_SERVICE": "hosts",
}

TALKATIVE = '''
"""A module."""
from __future__ import annotations

class Checked:
    """A class."""

    def __init__(self, number: int) -> None:
        """A function."""
        assert number > 0, "kept"
'''

runs_here = pytest.mark.skipif(not coldstart.runs_here(), reason="runs Lambda's wheels: Linux on x86-64 only")


class Answered(msgspec.Struct):
    """By `function.py`. `compiled`: paths in the package."""

    answers: list[Any]
    compiled: list[str]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return build(ROOT, tmp_path_factory.mktemp("package"), cache=CACHE)


@pytest.fixture(scope="session")
def unpacked(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(package.zip) as packed:
        packed.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def template(package: Package) -> dict[str, Any]:
    """What `chalice package` writes, with the zip beside it."""
    subprocess.run(
        [
            Path(sys.executable).parent / "chalice",
            "package",
            "--stage",
            "prod",
            package.project.parent / "out",
        ],
        cwd=package.project,
        env={"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "eu-west-1"},
        check=True,
        capture_output=True,
    )
    read: dict[str, Any] = json.loads((package.project.parent / "out" / "sam.json").read_text())
    return read


@pytest.fixture
def private_files() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_the_same_sources_give_the_same_bytes(package: Package, private_files: None, tmp_path: Path) -> None:
    """Also elsewhere, later, by somebody who shows files to nobody, and where something was built before."""
    sources = _copied_to(tmp_path / "else where")
    (sources / "chalicelib" / "left_over.pyc").touch()
    stale = tmp_path / "project" / "chalicelib" / "gone.pyc"
    stale.parent.mkdir(parents=True)
    stale.touch()

    again = build(sources, tmp_path, cache=CACHE)

    assert again.zip.read_bytes() == package.zip.read_bytes()
    with zipfile.ZipFile(again.zip) as packed:
        assert {entry.external_attr >> 16 & 0o777 for entry in packed.infolist()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in again.project.rglob("*") if path.is_file()} == {0o644}


def _copied_to(folder: Path) -> Path:
    """The sources alone, with times of their own."""
    for path in (ROOT / "app.py", ROOT / LOCK, *(ROOT / "chalicelib").rglob("*.py")):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return folder


def test_it_holds_the_application_what_it_imports_and_nothing_else(package: Package) -> None:
    names = _contents(package.zip).keys()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "chalicelib").rglob("*.py")}
    beside = {name.partition("/")[0] for name in names if not name.startswith("chalicelib/")}

    assert {name for name in names if name.startswith("chalicelib/")} == {f"{name}c" for name in modules}
    assert {name for name in names if name.endswith(".py")} == {
        "app.py",
        "chalice/__init__.py",
        "chalice/app.py",
    }
    assert {name for name in beside if not name.endswith(".dist-info")} == {
        "_argon2_cffi_bindings",
        f"_cffi_backend.cpython-{sys.version_info[0]}{sys.version_info[1]}-x86_64-linux-gnu.so",
        "app.py",
        "argon2",
        "botocore",
        "bson",
        "chalice",
        "dateutil",
        "dns",
        "hiredis",
        "jmespath",
        "msgspec",
        "pymongo",
        "rds-global-bundle.pem",
        "redis",
        "six.pyc",
        "urllib3",
    }
    assert {
        name.split("/")[2] for name in names if name.startswith("botocore/data/") and name.count("/") > 2
    } == {
        "ecs",
        "s3",
        "secretsmanager",
    }


def test_it_is_no_larger_than_is_meant(package: Package) -> None:
    assert 1_000_000 < package.bytes <= BYTES_MAX


def test_versions_are_those_that_everything_else_is_tested_with() -> None:
    packaged, tested = (_pins(ROOT / f"requirements/{name}.txt") for name in ("lambda", "platform"))

    assert packaged.items() <= tested.items()


def _pins(lock: Path) -> Mapping[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(), re.MULTILINE))


def test_a_wheel_that_is_not_locked_is_refused(package: Package, tmp_path: Path) -> None:
    """Whoever can write to the folder that keeps them cannot put a line into functions."""
    kept = wheels.fetched(ROOT / LOCK, CACHE)[0]
    copy = tmp_path / kept.parent.name / kept.name
    copy.parent.mkdir()
    copy.write_bytes(kept.read_bytes() + b"\0")

    with pytest.raises(CannotPackage, match="not what is locked"):
        wheels.fetched(ROOT / LOCK, tmp_path)


def test_docstrings_are_left_out_and_assertions_stay() -> None:
    names: dict[str, Any] = {}
    exec(bytecode.terse(TALKATIVE.encode(), "/var/task/talkative.py"), names)
    checked = names["Checked"]

    assert (names["__doc__"], checked.__doc__, checked.__init__.__doc__) == ("", "", "")
    with pytest.raises(AssertionError, match="kept"):
        checked(-1)


@runs_here
def test_a_function_answers_with_its_own_files_alone_and_no_store(unpacked: Path) -> None:
    told = _run(unpacked, [_get("/healthz"), _get("/v1/openapi.json"), _get("/v1/models")])
    healthy, described, refused = told.answers

    assert (healthy["statusCode"], json.loads(healthy["body"])["status"]) == (200, "ok")
    assert json.loads(described["body"]) == json.loads(openapi.text(app.boundary.routes))
    assert (refused["statusCode"], json.loads(refused["body"])["error"]["code"]) == (401, "unauthenticated")


@runs_here
def test_what_is_only_imported_when_it_is_used_is_there_too(unpacked: Path) -> None:
    """Also what is written in C: without it pymongo and redis would go on, several times as slow."""
    told = _run(
        unpacked,
        [
            {"expression": "plane.objects.presign_get('models/a', seconds=60)"},
            {"expression": "[bson.has_c(), pymongo.has_c()]", "imports": ["bson", "pymongo"]},
            {"expression": "redis.utils.HIREDIS_AVAILABLE", "imports": ["redis"]},
            {
                "expression": "argon2.PasswordHasher().verify(argon2.PasswordHasher().hash('word'), 'word')",
                "imports": ["argon2"],
            },
            {"expression": "dns.resolver.Resolver.__name__", "imports": ["dns", "dns.resolver"]},
            {
                "expression": "botocore.session.get_session().create_client('secretsmanager')._endpoint.host",
                "imports": ["botocore", "botocore.session"],
            },
        ],
    )
    presigned, in_c, hiredis, verified, resolver, secrets = told.answers

    assert presigned.startswith("https://models.s3.eu-west-1.amazonaws.com/models/a?")
    assert secrets == "https://secretsmanager.eu-west-1.amazonaws.com"
    assert (in_c, hiredis, verified, resolver) == ([True, True], True, True, "Resolver")


@runs_here
def test_tracebacks_name_files_as_they_are_in_the_repository(unpacked: Path) -> None:
    where = [f"{name}.__code__.co_filename" for name in ("plane.site.tell", "redis.client.Redis.ping")]
    told = _run(unpacked, [{"expression": name, "imports": ["redis"]} for name in where])

    assert told.answers == ["/var/task/chalicelib/site.py", "/var/task/redis/commands/core.py"]


@runs_here
def test_starting_compiles_nothing_but_the_table_of_contents(unpacked: Path) -> None:
    assert _run(unpacked, []).compiled == ["app.py"]


def _run(unpacked: Path, calls: Sequence[Mapping[str, Any]]) -> Answered:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", FUNCTION, unpacked],
        input=json.dumps(calls),
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=Answered)


def _get(path: str) -> dict[str, Any]:
    """As API Gateway hands a request to a function."""
    return {
        "event": {
            "resource": path,
            "path": path,
            "httpMethod": "GET",
            "headers": {"Host": "abcdefghij.execute-api.eu-west-1.amazonaws.com"},
            "multiValueHeaders": {"Host": ["abcdefghij.execute-api.eu-west-1.amazonaws.com"]},
            "queryStringParameters": None,
            "multiValueQueryStringParameters": None,
            "pathParameters": None,
            "stageVariables": None,
            "requestContext": {
                "resourcePath": path,
                "httpMethod": "GET",
                "path": f"/api{path}",
                "stage": "api",
                "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
                "identity": {"sourceIp": "203.0.113.7", "userAgent": "curl"},
            },
            "body": None,
            "isBase64Encoded": False,
        }
    }


def test_chalice_describes_every_route(template: dict[str, Any]) -> None:
    paths = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    described = {
        (path, method.upper()) for path, methods in paths.items() for method in methods if method != "options"
    }

    assert described == {(path, method) for path, methods in app.app.routes.items() for method in methods}


def test_each_function_has_a_role_of_its_own(template: dict[str, Any]) -> None:
    functions = [one for one in template["Resources"].values() if one["Type"] == "AWS::Serverless::Function"]
    roles = {function["Properties"]["Role"]["Fn::GetAtt"][0] for function in functions}

    assert len(functions) == len(roles) == 2
    assert {function["Properties"]["Tracing"] for function in functions} == {"PassThrough"}
    assert template["Resources"]["RestAPI"]["Properties"]["EndpointConfiguration"] == "REGIONAL"


def test_chalice_packs_the_same_files(template: dict[str, Any], package: Package) -> None:
    assert _contents(package.project.parent / "out" / "deployment.zip") == _contents(package.zip)


def _contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as packed:
        return {entry.filename: packed.read(entry) for entry in packed.infolist()}
