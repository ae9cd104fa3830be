"""Where the endpoint and the API key come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelrocket.config import config_path, find_api_key, find_endpoint, read, remember
from modelrocket.errors import ConfigurationError


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"MODELROCKET_CONFIG": str(tmp_path / "folder" / "config.json")}


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"MODELROCKET_CONFIG": "/a/b.json", "XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/a/b.json"),
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/modelrocket/config.json"),
        ({"HOME": "/h"}, "/h/.config/modelrocket/config.json"),
    ],
)
def test_the_file_is_where_the_environment_says(environ: dict[str, str], path: str) -> None:
    assert config_path(environ) == Path(path)


def test_an_argument_beats_the_environment_and_that_beats_the_file(environ: dict[str, str]) -> None:
    remember("http://file", "key of file", environ=environ)
    assert find_endpoint(environ=environ) == "http://file"
    assert find_api_key("http://file", environ=environ) == "key of file"

    environ |= {"MODELROCKET_ENDPOINT": "http://variable/", "MODELROCKET_API_KEY": "key of variable"}
    assert find_endpoint(environ=environ) == "http://variable"
    assert find_api_key("http://file", environ=environ) == "key of variable"

    assert find_endpoint("https://argument", environ=environ) == "https://argument"
    assert find_api_key("http://file", "key of argument", environ=environ) == "key of argument"


def test_remembering_keeps_what_was_there(environ: dict[str, str]) -> None:
    path = remember("http://one/", "key 1", environ=environ)
    path.write_text(json.dumps({**json.loads(path.read_text()), "other": [1]}))
    remember("http://two", "key 2", environ=environ)
    assert json.loads(path.read_text()) == {
        "default_endpoint": "http://one",
        "api_keys": {"http://one": "key 1", "http://two": "key 2"},
        "other": [1],
    }


def test_only_the_owner_can_read_the_file_and_no_draft_stays(environ: dict[str, str]) -> None:
    path = remember("http://one", "key", environ=environ)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [child.name for child in path.parent.iterdir()] == ["config.json"]


def test_the_keys_do_not_show(environ: dict[str, str]) -> None:
    assert "secret" not in repr(read(remember("http://one", "secret", environ=environ)))


def test_what_is_missing_is_said_with_the_way_to_set_it(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"make up.*MODELROCKET_ENDPOINT"):
        find_endpoint(environ=environ)
    with pytest.raises(ConfigurationError, match=r"http://one.*MODELROCKET_API_KEY.*remember"):
        find_api_key("http://one", environ=environ)


def test_an_endpoint_without_a_scheme_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"http:// or https://, got 'localhost:5000'"):
        find_endpoint("localhost:5000", environ=environ)


@pytest.mark.parametrize("endpoint", ["http://", "https://[::1", "http://host:port", "https://two words"])
def test_an_endpoint_that_names_no_host_is_refused(endpoint: str, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="must be an address"):
        find_endpoint(endpoint, environ=environ)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"api_keys": []}',
        '{"api_keys": null}',
        '{"api_keys": {"http://one": 5}}',
        '{"default_endpoint": 5}',
    ],
)
def test_a_damaged_file_is_named_and_left_alone(environ: dict[str, str], content: str) -> None:
    path = config_path(environ)
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        remember("http://one", "key", environ=environ)
    assert path.read_text() == content
