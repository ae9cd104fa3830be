"""Looks for what would keep the client from working, and says what to do about it.

here       Python, this package, each framework with what converts it, onnxruntime, room for temporary files
endpoint   reachable, its version, the clocks, the API key, what it takes
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import httpx

from modelrocket import __version__, config
from modelrocket.account import Account
from modelrocket.api import Api, Clock
from modelrocket.errors import ConfigurationError, ModelRocketError

if TYPE_CHECKING:
    from onnx import ModelProto

Now: TypeAlias = Callable[[], datetime]

PATIENCE_SECONDS = 10.0
FREE_BYTES_MIN = 2_000_000_000
"""A model is exported into a temporary folder, and may be copied there once more."""
SKEW_SECONDS_MAX = 300.0
"""Grants to upload are good for 15 minutes by the server's clock."""
_KEY_SHOWN = 6
_REQUIREMENT = re.compile(
    r"(?P<package>[\w.-]+)[^;>]*(?:>=(?P<least>[\d.]+))?[^;]*;.*extra == ['\"](?P<extra>[\w-]+)['\"]"
)


@dataclass(frozen=True)
class Check:
    """What was found. `remedy` is what to do; only what is broken must be done."""

    name: str
    state: Literal["fine", "broken", "missing"]
    told: str
    remedy: str | None = None


def checks(now: Now) -> Iterator[Check]:
    """One after the other, as they are found; `now` with a time zone. Raises nothing."""
    yield _fine("Python", f"{platform.python_version()} at {sys.executable}")
    yield _fine("modelrocket", __version__)
    yield from _frameworks()
    yield _onnxruntime()
    yield _room()
    try:
        endpoint = config.find_endpoint()
    except ConfigurationError as error:
        yield _broken("endpoint", str(error), "modelrocket login")
        return
    api = Api(endpoint, transport=None, clock=Clock())
    try:
        yield from _server(api, now)
    finally:
        api.http.close()


def _fine(name: str, told: str) -> Check:
    return Check(name, "fine", told)


def _broken(name: str, told: str, remedy: str) -> Check:
    return Check(name, "broken", told, remedy)


def _frameworks() -> Iterator[Check]:
    """One line for each extra: what of it is there, in the versions it needs."""
    for extra, packages in sorted(_extras().items()):
        versions = {package: _version(package) for package in packages}
        wanting = [
            f"{package} {least or ''}".strip()
            for package, least in packages.items()
            if not _enough(versions[package], least)
        ]
        told = ", ".join(f"{package} {version}" for package, version in versions.items() if version)
        if not wanting:
            yield _fine(extra, told)
            continue
        lacks = f"not there: {', '.join(wanting)}"
        remedy = f'for such models: pip install "modelrocket[{extra}]"'
        yield Check(extra, "missing", f"{told}; {lacks}" if told else lacks, remedy)


def _extras() -> Mapping[str, dict[str, str | None]]:
    """What each extra of this package asks for: the least version by package, as its metadata says."""
    found: dict[str, dict[str, str | None]] = {}
    for line in _requirements():
        match = _REQUIREMENT.match(line)
        if match:
            found.setdefault(match["extra"], {})[match["package"]] = match["least"]
    return found


def _requirements() -> list[str]:
    try:
        return metadata.requires("modelrocket") or []
    except metadata.PackageNotFoundError:
        return []


def _version(package: str) -> str | None:
    """None where it is not there; builds under another name (package-cpu) count too."""
    for name in (package, *_providers().get(package.replace("-", "_"), ())):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


@cache
def _providers() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _enough(version: str | None, least: str | None) -> bool:
    return version is not None and _numbers(version) >= _numbers(least or "0")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.partition("+")[0])[:3]))


def _onnxruntime() -> Check:
    """It loads a model of one node, and the model answers."""
    import numpy as np

    try:
        from modelrocket import runtime

        session = runtime.load(_one_node().SerializeToString())
        answer = session.run({"x": np.array([1.0, 2.0], np.float32)})["y"]
        if answer.tolist() != [2.0, 4.0]:
            return _broken("onnxruntime", f"1 + 1, 2 + 2 gave {answer.tolist()}", _REINSTALL)
    except Exception as error:  # a broken native library raises whatever its loader does
        return _broken("onnxruntime", f"{type(error).__name__}: {error}", _REINSTALL)
    return _fine("onnxruntime", f"{_version('onnxruntime') or ''} loads and runs a model".strip())


_REINSTALL = 'pip install --force-reinstall "modelrocket[onnx]"'


def _one_node() -> ModelProto:
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doctor", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _room() -> Check:
    remedy = "make room, or set TMPDIR to a folder on a larger disk"
    try:
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return _broken("temporary files", str(error), remedy)
    told = f"{free / 1e9:,.1f} GB free in {folder}"
    return (
        _fine("temporary files", told) if free >= FREE_BYTES_MIN else _broken("temporary files", told, remedy)
    )


def _server(api: Api, now: Now) -> Iterator[Check]:
    asked = now()
    try:
        response = api.http.get(f"{api.endpoint}/healthz", timeout=PATIENCE_SECONDS)
        told = response.raise_for_status().json()["version"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        reason = f"{api.endpoint}: {type(error).__name__}: {error}".rstrip(": ")
        yield _broken("endpoint", reason, "start it with `make up`, or name the right one: modelrocket login")
        return
    yield _fine("endpoint", f"{api.endpoint}, version {told}")
    yield _clocks(response.headers.get("date"), asked, now())
    account = Account(api, None)
    yield _key(api.endpoint, account)
    yield _limits(account)


def _clocks(date: str | None, asked: datetime, answered: datetime) -> Check:
    """The server's date has whole seconds and is somewhere between the question and the answer."""
    try:
        there = parsedate_to_datetime(date or "") + timedelta(seconds=0.5)
        skew = (there - (asked + (answered - asked) / 2)).total_seconds()
    except (TypeError, ValueError):
        return Check("clock", "missing", "the endpoint does not say its time")
    if abs(skew) <= SKEW_SECONDS_MAX:
        return _fine("clock", f"within {max(1, round(abs(skew)))} s of the endpoint's")
    way = "behind" if skew > 0 else "ahead of"
    return _broken("clock", f"{abs(skew):,.0f} s {way} the endpoint's", "set this machine's clock")


def _key(endpoint: str, account: Account) -> Check:
    try:
        key = config.find_api_key(endpoint)
        listed = account.ask("GET", "/v1/models", budget=account.budget(PATIENCE_SECONDS))["models"]
    except ModelRocketError as error:
        return _broken("API key", str(error), f"modelrocket login {endpoint}")
    home = config.API_KEY_VARIABLE if config.is_set(config.API_KEY_VARIABLE) else config.config_path()
    return _fine("API key", f"{key[:_KEY_SHOWN]}… from {home} works, {len(listed)} models listed")


def _limits(account: Account) -> Check:
    try:
        limits: Mapping[str, Any] = account.ask("GET", "/v1/limits", budget=account.budget(PATIENCE_SECONDS))
        opsets = limits["model_file"]["opsets"]["ai.onnx"]
        told = (
            f"models of {limits['model_bytes_max'] / 1e9:,.1f} GB at most, opsets {opsets['min']} to "
            f"{opsets['max']}, requests of {limits['body_bytes_max'] / 1e6:,.1f} MB at most"
        )
    except (ModelRocketError, KeyError, TypeError) as error:
        remedy = "update the client: pip install --upgrade modelrocket"
        return _broken("limits", f"{type(error).__name__}: {error}", remedy)
    return _fine("limits", told)
