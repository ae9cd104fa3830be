"""The tests over other stores than the embedded ones, chosen as a person chooses them: by the environment.

Each is a run of its own over the tests of S3.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pymongo
import pytest
import redis

from infra.local.connections import S3Access
from infra.local.embedded import embedded_servers
from infra.local.probes import s3_client
from infra.local.servers import MONGO, REDIS
from infra.redisroles import RIGHTS
from tests.support import stores
from tests.support.emulator import running_emulator
from tests.support.localstack import running_localstack

pytestmark = pytest.mark.stack

ROOT: Final = Path(__file__).parents[2]
OF_S3: Final = "tests/contract/test_objects.py"
WITH_A_HOST: Final = "tests/integration/test_payloads.py"
KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def passes(folder: Path, environment: Mapping[str, str], *tests: str) -> str:
    """What the run said. Emulators let anybody in, so that one test of S3 is skipped, and no other."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(folder / "run"), *tests],
        cwd=ROOT,
        env={**bare, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\d+ passed, 1 skipped in ", ran.stdout), ran.stdout
    return str(ran.stdout)


def test_the_tests_of_s3_pass_over_localstack(tmp_path: Path) -> None:
    with running_localstack(tmp_path / "localstack") as place:
        said = passes(tmp_path, {stores.S3: "localstack", "LOCALSTACK_HOST": place}, OF_S3)
        assert f"stores: S3 http://{place}, MongoDB embedded, Redis embedded" in said
        s3 = s3_client(S3Access(f"http://{place}", "test", "test", region="us-east-1", bucket=""))
        assert s3.list_buckets()["Buckets"] == []


def test_the_tests_of_s3_pass_over_three_servers_of_somebody_elses(tmp_path: Path) -> None:
    """They leave them as they were."""
    with (
        running_emulator(tmp_path / "emulator") as emulator,
        embedded_servers(tmp_path / "servers", REDIS, MONGO) as servers,
    ):
        redis_url = servers.connections.redis_urls["stack"]
        mongo_url = servers.connections.mongo_stack_url
        raw: Any = redis.Redis.from_url(redis_url)
        users = raw.acl_users()
        said = passes(
            tmp_path,
            {
                **{name: emulator.environment[name] for name in KEYS},
                **{stores.S3: emulator.url, stores.MONGO: mongo_url, stores.REDIS: redis_url},
            },
            OF_S3,
            WITH_A_HOST,
        )
        embedded = "embedded" in said
        assert (embedded, emulator.client("s3").list_buckets()["Buckets"]) == (False, [])
        assert (raw.dbsize(), raw.acl_users()) == (0, users)
        with pymongo.MongoClient[dict[str, Any]](mongo_url) as mongo:
            assert not [name for name in mongo.list_database_names() if name.startswith("test_")]


def test_a_redis_that_holds_something_is_not_emptied(tmp_path: Path) -> None:
    with embedded_servers(tmp_path / "servers", REDIS) as servers:
        url = servers.connections.redis_urls["stack"]
        raw: Any = redis.Redis.from_url(url.removesuffix("/0") + "/3")
        raw.set("mine", "kept")
        over = stores.running_stores(stores.Stores.from_env({stores.REDIS: url}), tmp_path / "run")
        with pytest.raises(pytest.exit.Exception, match="it holds keys"):
            over.__enter__()
        assert raw.get("mine") == b"kept"


def test_without_the_right_to_make_users_every_role_is_the_one_that_is_named(tmp_path: Path) -> None:
    with embedded_servers(tmp_path / "servers", REDIS) as servers:
        owner: Any = redis.Redis.from_url(servers.connections.redis_urls["stack"])
        owner.execute_command("ACL", "SETUSER", "some", "on", ">secret", "~*", "&*", "+@all", "-acl")
        url = f"redis://some:secret@127.0.0.1:{servers.layout.ports[REDIS]}/0"
        with (
            pytest.warns(UserWarning, match="may not make users"),
            stores.running_redis(url) as urls,
        ):
            assert urls == dict.fromkeys(("stack", *RIGHTS), url)


@pytest.mark.parametrize(
    ("environment", "workers", "refused"),
    [
        pytest.param({}, 3, False, id="embedded servers are each process's own"),
        pytest.param({stores.MONGO: "mongodb://h", stores.S3: "localstack"}, 3, False, id="so are its names"),
        pytest.param({stores.REDIS: "redis://h"}, 1, False, id="one process empties it for itself"),
        pytest.param({stores.REDIS: "redis://h"}, 2, True, id="two would empty it under each other"),
    ],
)
def test_only_one_process_tests_over_one_redis(
    environment: dict[str, str], workers: int, refused: bool
) -> None:
    assert (stores.Stores.from_env(environment).refusal(workers) is not None) == refused


def test_no_password_is_shown() -> None:
    urls = {stores.REDIS: "redis://u:secret@h:1/0", stores.MONGO: "mongodb://u:secret@h,g/?x=secret"}
    chosen = stores.Stores.from_env(urls)
    assert str(chosen) == "S3 embedded, MongoDB mongodb://h,g, Redis redis://h:1"
    assert "secret" not in repr(chosen)


def test_an_s3_needs_its_keys() -> None:
    with pytest.raises(ValueError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        stores.Stores.from_env({stores.S3: "https://s3.example.com"})
