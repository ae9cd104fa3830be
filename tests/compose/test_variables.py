"""The environment file: secrets that are made once, and are for nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.contract.tokens import is_well_formed
from infra.compose import variables
from infra.compose.__main__ import main
from infra.compose.variables import Store, made
from modelrocket.config import find_api_key

SECRETS = ("PASSWORD", "KEY")


def environ(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}


def test_the_file_is_made_with_secrets_that_nobody_else_may_read(tmp_path: Path) -> None:
    assert main(["env"], environ(tmp_path), folder=tmp_path) == 0
    path = tmp_path / ".env"
    assert path.stat().st_mode & 0o777 == 0o600
    told = variables.read(path)
    assert told.keys() == made().keys()
    secret = [value for name, value in told.items() if name.endswith(SECRETS)]
    assert len(set(secret)) == len(secret) and all(len(value) >= 20 for value in secret)
    assert is_well_formed(told["ROCKET_API_KEY"])


def test_what_is_in_it_stays_and_what_is_missing_comes(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    variables.write(path, made() | {"ROCKET_PORT": "5001"})
    before = variables.read(path)
    del before["ROCKET_MONGO_PASSWORD"]
    variables.write(path, before)
    assert main(["env"], environ(tmp_path), folder=tmp_path) == 0
    after = variables.read(path)
    assert after.keys() - before.keys() == {"ROCKET_MONGO_PASSWORD"}
    assert before.items() <= after.items()


def test_a_choice_is_not_taken_where_there_is_data_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".env"
    variables.write(path, made())
    before = path.read_text()
    assert main(["env", "--store", "localstack"], environ(tmp_path), folder=tmp_path) == 2
    assert "down --volumes" in capsys.readouterr().err
    assert path.read_text() == before


def test_the_key_is_printed_and_the_client_knows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["env", "--port", "5005"], environ(tmp_path), folder=tmp_path) == 0
    capsys.readouterr()
    assert main(["key"], {}, folder=tmp_path) == 0
    key = capsys.readouterr().out.strip()
    for name, value in environ(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MODELROCKET_API_KEY", raising=False)
    assert find_api_key("http://127.0.0.1:5005") == key


def test_without_a_file_it_says_how_to_make_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key"], {}, folder=tmp_path) == 2
    assert "python -m infra.compose env" in capsys.readouterr().err


@pytest.mark.parametrize("store", list(Store))
def test_the_store_that_is_chosen_is_the_one_that_is_started_and_asked(store: Store) -> None:
    told = made(store)
    assert told["COMPOSE_PROFILES"] == store
    assert told["ROCKET_S3_ENDPOINT_URL"].startswith(f"http://{store}:")
