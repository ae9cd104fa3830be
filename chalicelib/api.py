"""Routes as plain functions: what one takes and answers is what its signature says.

    @route("GET", "/v1/models/{model_id}/versions", scope=Scope.MODELS_READ)
    def list_versions(principal: Principal, model_id: str, after: int = 0) -> views.VersionsPage:
        \"\"\"The versions of a model, oldest first.\"\"\"

An argument is given by its annotation: `Principal` is who calls and has the scope, `Asked` the request
itself, a msgspec Struct the JSON body; names in the path are read from it, and names with a default from
the query (`from_` reads `from`). The return annotation is the answer's schema, None is 204, and a Response
goes out as it is. The docstring is what the API's description says.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from chalicelib.auth import Principal
from chalicelib.contract import limits
from chalicelib.contract.errors import InvalidRequest, PayloadTooLarge
from chalicelib.contract.inference import read_number
from chalicelib.contract.messages import Scope

Function = TypeVar("Function", bound=Callable[..., Any])
_IN_PATH: Final = re.compile(r"\{(\w+)\}")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it came. Header names are in lower case.

    Attributes:
        path: with what stands in it.
        find_address: of the caller. Few routes ask for it, and it may have to be worked out.
        seed: the same for the same request under the same Idempotency-Key of the same tenant, and known to
            nobody else; what is made can be made from it, so that making it again finds it. None without
            such a key.
        reply_headers: what a route adds to its answer.
    """

    request_id: str
    method: str
    path: str
    find_address: Callable[[], str]
    headers: Mapping[str, str]
    query: Mapping[str, str]
    raw: bytes
    seed: bytes | None = None
    reply_headers: dict[str, str] = {}

    @property
    def writes(self) -> bool:
        return self.method not in ("GET", "HEAD")

    @property
    def address(self) -> str:
        return self.find_address()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One that comes in the path or, with a default, in the query."""

    name: str
    argument: str
    kind: Any
    default: Any = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    def read(self, given: Mapping[str, str]) -> Any:
        """Raises InvalidRequest."""
        text = given.get(self.name, "")
        if not text and not self.required:
            return self.default
        value = read_number(text, name=self.name) if _plain(self.kind) is int else text
        try:
            return msgspec.convert(value, self.kind, strict=False)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"{self.name}: {error}") from error


def _plain(kind: Any) -> Any:
    """A type without its bounds."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    Attributes:
        scope: what the caller's credential must allow; None where any one will do for a function that takes
            the Principal, and where the route looks at credentials itself or asks for none.
        audit: what the audit log calls it; None for what is not written down.
        secret: the answer holds a credential or a grant, which is kept nowhere: repeated, it is made again.
        open_inference: errors look as Open Inference Protocol v2 has them.
        accepts, answer: types of the bodies; None for none. Also where the function reads or writes them
            itself.
    """

    method: str
    path: str
    function: Callable[..., Any]
    status: int
    scope: Scope | None
    audit: str | None
    secret: bool
    open_inference: bool
    accepts: Any
    answer: Any
    body_argument: str | None
    asked_argument: str | None
    principal_argument: str | None
    in_path: tuple[Parameter, ...]
    in_query: tuple[Parameter, ...]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def authenticates(self) -> bool:
        return self.principal_argument is not None

    @property
    def summary(self) -> str:
        return inspect.getdoc(self.function) or ""

    def arguments(self, asked: Asked, principal: Principal | None, path: Mapping[str, str]) -> dict[str, Any]:
        """What the function is called with. Raises InvalidRequest, PayloadTooLarge."""
        given = {parameter.argument: parameter.read(path) for parameter in self.in_path}
        given |= {parameter.argument: parameter.read(asked.query) for parameter in self.in_query}
        if self.body_argument is not None:
            given[self.body_argument] = read_body(asked.raw, self.accepts)
        if self.asked_argument is not None:
            given[self.asked_argument] = asked
        if self.principal_argument is not None:
            given[self.principal_argument] = principal
        return given


def declared(  # noqa: PLR0913 - a route is declared by keywords
    method: str,
    path: str,
    function: Callable[..., Any],
    *,
    status: int | None = None,
    scope: Scope | None = None,
    audit: str | None = None,
    secret: bool = False,
    open_inference: bool = False,
    accepts: Any = None,
    answers: Any = None,
    elsewhere: frozenset[str] = frozenset(),
) -> Route:
    """The route that a function's signature makes. TypeError where it makes none.

    `elsewhere`: names in other paths of the same function; here they have their defaults.
    """
    hints = get_type_hints(function, include_extras=True)
    answer = answers or hints.pop("return")
    names = names_in(path)
    roles: dict[str, str] = {}
    in_path, in_query = [], []
    for argument, parameter in inspect.signature(function).parameters.items():
        kind = hints[argument]
        name = argument.rstrip("_")
        if kind is Asked or kind is Principal:
            roles["asked" if kind is Asked else "principal"] = argument
        elif name in names:
            in_path.append(Parameter(name, argument, kind))
        elif inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
            roles["body"], accepts = argument, kind
        elif parameter.default is not inspect.Parameter.empty and name in elsewhere:
            continue
        elif parameter.default is not inspect.Parameter.empty:
            in_query.append(Parameter(name, argument, kind, parameter.default))
        else:
            raise TypeError(f"{function.__name__}: nothing says where {argument} comes from")
    if names != {parameter.name for parameter in in_path} or (scope is not None and "principal" not in roles):
        raise TypeError(f"{function.__name__}: {method} {path} and its arguments do not fit together")
    return Route(
        method=method,
        path=path,
        function=function,
        status=status or (HTTPStatus.NO_CONTENT if answer is type(None) else HTTPStatus.OK),
        scope=scope,
        audit=audit,
        secret=secret,
        open_inference=open_inference,
        accepts=accepts,
        answer=None if answer is type(None) else answer,
        body_argument=roles.get("body"),
        asked_argument=roles.get("asked"),
        principal_argument=roles.get("principal"),
        in_path=tuple(in_path),
        in_query=tuple(in_query),
    )


class Routes:
    """Those of one subject. As a decorator it declares one; see `declared` for the keywords."""

    def __init__(self) -> None:
        self.declared: list[Route] = []

    def __call__(self, method: str, *paths: str, **declaration: Any) -> Callable[[Function], Function]:
        names = frozenset[str]().union(*map(names_in, paths))

        def declare(function: Function) -> Function:
            self.declared += [
                declared(method, path, function, elsewhere=names, **declaration) for path in paths
            ]
            return function

        return declare


def names_in(path: str) -> frozenset[str]:
    """`/v1/models/{model_id}` → model_id."""
    return frozenset(_IN_PATH.findall(path))


def read_body(raw: bytes, kind: Any) -> Any:
    """The JSON body as its schema, or InvalidRequest naming the field. Raises PayloadTooLarge."""
    if len(raw) > limits.BODY_BYTES_MAX:
        raise PayloadTooLarge(f"The body has {len(raw)} bytes, {limits.BODY_BYTES_MAX} are allowed.")
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}") from error
