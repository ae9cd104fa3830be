"""Which endpoint, and with which API key: explicit argument, then environment, then the user's file.

The file is `$MODELROCKET_CONFIG`, else `$XDG_CONFIG_HOME/modelrocket/config.json`, else
`~/.config/modelrocket/config.json`, readable by its owner alone:
`{"default_endpoint": url, "api_keys": {url: key}}`. The environment is read here and nowhere else.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelrocket.errors import ConfigurationError

ENDPOINT_VARIABLE = "MODELROCKET_ENDPOINT"
API_KEY_VARIABLE = "MODELROCKET_API_KEY"
TOKEN_VARIABLE = "MODELROCKET_TOKEN"
FILE_VARIABLE = "MODELROCKET_CONFIG"


@dataclass(frozen=True)
class Config:
    """What the file says; a file that is not there says nothing."""

    default_endpoint: str | None = None
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)


def find_endpoint(explicit: str | None = None, *, environ: Mapping[str, str] | None = None) -> str:
    """The endpoint to use, without a trailing slash. Raises `ConfigurationError` that says how to set one."""
    environ = _environ(environ)
    endpoint = explicit or environ.get(ENDPOINT_VARIABLE) or read(config_path(environ)).default_endpoint
    if not endpoint:
        raise ConfigurationError(
            "No endpoint is known. Start a local ModelRocket with `make up`, or run `modelrocket login`, or "
            f'set {ENDPOINT_VARIABLE}, or pass endpoint="https://…".'
        )
    if not _is_address(endpoint):
        raise ConfigurationError(
            f"The endpoint must be an address that starts with http:// or https://, got {endpoint!r}."
        )
    return _normalised(endpoint)


def find_api_key(
    endpoint: str, explicit: str | None = None, *, environ: Mapping[str, str] | None = None
) -> str:
    """The API key for an endpoint. Raises `ConfigurationError` that says how to set one."""
    environ = _environ(environ)
    path = config_path(environ)
    key = explicit or environ.get(API_KEY_VARIABLE) or read(path).api_keys.get(_normalised(endpoint))
    if not key:
        raise ConfigurationError(
            f'No API key for {endpoint}. Set {API_KEY_VARIABLE}, pass api_key="mr_…", or keep it in {path}: '
            f'`modelrocket login {endpoint}`, or modelrocket.remember("{endpoint}", "mr_…")'
        )
    return key


def remember(endpoint: str, api_key: str, *, environ: Mapping[str, str] | None = None) -> Path:
    """Keep an API key in the user's file, beside those already there, and return the file's path.

    The endpoint becomes the default one only where there is none yet. Raises `ConfigurationError`.
    """
    path = config_path(_environ(environ))
    content = _content(path)
    return _keep(path, content, endpoint, api_key, default=content.get("default_endpoint") or endpoint)


def log_in(endpoint: str, api_key: str, *, environ: Mapping[str, str] | None = None) -> Path:
    """`remember`, and the endpoint becomes the default one."""
    path = config_path(_environ(environ))
    return _keep(path, _content(path), endpoint, api_key, default=endpoint)


def forget(endpoint: str, *, environ: Mapping[str, str] | None = None) -> Path | None:
    """Take an endpoint's API key out of the user's file, and return its path; None where it had none.

    Raises `ConfigurationError`.
    """
    path = config_path(_environ(environ))
    content = _content(path)
    keys = content.get("api_keys", {})
    kept = {each: key for each, key in keys.items() if _normalised(each) != _normalised(endpoint)}
    if len(kept) == len(keys):
        return None
    _write(path, content | {"api_keys": kept})
    return path


def model_token(*, environ: Mapping[str, str] | None = None) -> str | None:
    """The token that the environment names for calling a model."""
    return _environ(environ).get(TOKEN_VARIABLE) or None


def is_set(variable: str, *, environ: Mapping[str, str] | None = None) -> bool:
    """The environment says it, and so goes before the user's file."""
    return bool(_environ(environ).get(variable))


def read(path: Path) -> Config:
    """Raises `ConfigurationError` where the file is there but is not ours to understand."""
    content = _content(path)
    keys = {_normalised(endpoint): key for endpoint, key in content.get("api_keys", {}).items()}
    return Config(default_endpoint=content.get("default_endpoint"), api_keys=keys)


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """Where the file is, or would be."""
    environ = _environ(environ)
    if environ.get(FILE_VARIABLE):
        return Path(environ[FILE_VARIABLE])
    folder = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    return Path(folder) / "modelrocket" / "config.json"


def _environ(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ  # noqa: TID251 - the environment's one home


def _is_address(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none
        return False
    return named and parts.scheme in ("http", "https") and endpoint.isprintable() and " " not in endpoint


def _normalised(endpoint: str) -> str:
    return endpoint.rstrip("/")


def _keep(path: Path, content: Mapping[str, Any], endpoint: str, api_key: str, *, default: str) -> Path:
    keys = {**content.get("api_keys", {}), _normalised(endpoint): api_key}
    _write(path, {**content, "default_endpoint": _normalised(default), "api_keys": keys})
    return path


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Repair it or delete it.") from error
    if not isinstance(content, dict) or not _is_ours(content):
        raise ConfigurationError(f"{path} is not a ModelRocket configuration. Repair it or delete it.")
    return content


def _is_ours(content: Mapping[str, Any]) -> bool:
    keys = content.get("api_keys", {})
    texts = (content.get("default_endpoint") or "", *(keys.values() if isinstance(keys, dict) else (None,)))
    return all(isinstance(text, str) for text in texts)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all, and never readable by others: mkstemp makes the file 0600."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error}.") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=2) + "\n")
        os.replace(draft, path)
    except OSError as error:
        Path(draft).unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error}.") from error
