"""The environment file: secrets that are made once, and are for nobody else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chalicelib.contract.tokens import is_well_formed
from infra.compose import variables
from infra.compose.__main__ import main
from infra.compose.variables import Store, made
from modelrocket.config import find_api_key
from tests.compose.composed import ROOT

SECRETS = ("PASSWORD", "KEY")


def environ(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}


def write(path: Path, told: dict[str, str]) -> None:
    path.write_text("".join(f"{name}={value}\n" for name, value in told.items()))


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
    write(path, made() | {"ROCKET_PORT": "5001"})
    before = variables.read(path)
    del before["ROCKET_MONGO_PASSWORD"]
    write(path, before)
    assert main(["env"], environ(tmp_path), folder=tmp_path) == 0
    after = variables.read(path)
    assert after.keys() - before.keys() == {"ROCKET_MONGO_PASSWORD"}
    assert before.items() <= after.items()
    text = path.read_text()
    assert main(["env"], environ(tmp_path), folder=tmp_path) == 0
    assert path.read_text() == text


def test_what_is_in_it_for_others_stays_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    theirs = "# mine\nexport DEBUG=1\n\nROCKET_NETWORK=10.83.58\nLINES='a\nb'\nNAME = \"a # b\"  # said"
    path.write_text(theirs)
    path.chmod(0o644)
    assert main(["env", "--store", "localstack"], environ(tmp_path), folder=tmp_path) == 0
    assert path.read_text().startswith(f"{theirs}\n# Secrets of")
    assert path.stat().st_mode & 0o777 == 0o600
    told = variables.read(path)
    assert told.keys() >= made().keys()
    assert (told["DEBUG"], told["NAME"], told["COMPOSE_PROFILES"]) == ("1", "a # b", "localstack")


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_it_is_read_as_compose_reads_it(tmp_path: Path, ends: str) -> None:
    """Whatever an editor or a person made of it: no secret is made anew, and what is empty is not one."""
    path = tmp_path / ".env"
    before = made(port=5001)
    written = {**before, "ROCKET_PORT": "'5001' # mine", "ROCKET_MONGO_PASSWORD": ""}
    lines = [f"export {name} = {value}" for name, value in written.items()]
    path.write_bytes(f"\ufeff{ends.join(lines)}".encode())
    assert main(["env"], environ(tmp_path), folder=tmp_path) == 0
    after = variables.read(path)
    assert after.keys() == before.keys() and all(after.values())
    assert {name for name in after if after[name] != before[name]} == {"ROCKET_MONGO_PASSWORD"}


def test_other_secrets_have_other_volumes_and_the_same_ones_keep_theirs(tmp_path: Path) -> None:
    assert made()["COMPOSE_PROJECT_NAME"] != made()["COMPOSE_PROJECT_NAME"]
    path = tmp_path / ".env"
    before = made()
    del before["COMPOSE_PROJECT_NAME"]  # what was started without has that of localstack-compose.yml
    write(path, before)
    assert main(["env"], environ(tmp_path), folder=tmp_path) == 0
    assert variables.read(path) == before


@pytest.mark.parametrize("profiles, store", [("dev", []), ("dev,minio", ["--store", "localstack"])])
def test_where_compose_would_start_another_store_or_none_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], profiles: str, store: list[str]
) -> None:
    path = tmp_path / ".env"
    path.write_text(f"COMPOSE_PROFILES={profiles}\n")
    assert main(["env", *store], environ(tmp_path), folder=tmp_path) == 2
    assert "COMPOSE_PROFILES" in capsys.readouterr().err
    path.write_text("COMPOSE_PROFILES=dev,localstack\n")
    assert main(["env"], environ(tmp_path), folder=tmp_path) == 0
    assert variables.read(path)["ROCKET_S3_ENDPOINT_URL"].startswith("http://localstack:")


def test_a_choice_is_not_taken_where_there_is_data_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".env"
    write(path, made())
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
    assert "make compose-env" in capsys.readouterr().err


def test_the_guide_runs_it_by_the_python_that_make_installed() -> None:
    """Another one has not what it imports."""
    guide = (ROOT / "docs" / "guides" / "compose.md").read_text()
    assert set(re.findall(r"[\w./]*python -m infra\.compose \w+", guide)) == {
        ".venv/bin/python -m infra.compose key"
    }


@pytest.mark.parametrize("store", list(Store))
def test_the_store_that_is_chosen_is_the_one_that_is_started_and_asked(store: Store) -> None:
    told = made(store)
    assert told["COMPOSE_PROFILES"] == store
    assert told["ROCKET_S3_ENDPOINT_URL"].startswith(f"http://{store}:")
