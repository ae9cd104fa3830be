"""The line that deploys a model, and the calls around it.

upload   convert → verify → POST /v1/models → PUT parts to the store → complete → wait until ready → token
predict  arrays by the model's signature → POST /v2/models/{id}/infer → arrays; with asyncio or without
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import httpx

from modelrocket import config, display
from modelrocket.account import CALL_SECONDS, Account
from modelrocket.api import Api, Budget, Call, Clock
from modelrocket.errors import (
    ConfigurationError,
    ConversionError,
    NotFound,
    PermissionDenied,
    PreparationFailed,
    Timeout,
)
from modelrocket.fleet import Fleet
from modelrocket.keys import OVERLAP_SECONDS, Keys
from modelrocket.models import ACTIVATE_SECONDS, Model, all_models, find_model, finding, is_id
from modelrocket.predicting import Answer, Predictor
from modelrocket.receipt import receipt
from modelrocket.rollout import Traffic
from modelrocket.steps import Flow
from modelrocket.tensors import TensorSpec
from modelrocket.transfer import put_parts
from modelrocket.usage import (
    ENTRIES_MAX,
    AuditEntry,
    Costs,
    Grain,
    UsageLine,
    Verified,
    audit,
    costs,
    usage,
    verify_audit,
)

if TYPE_CHECKING:
    from modelrocket.convert import Converted

CONVERT_SECONDS = 600.0
WAIT_SECONDS = 300.0
PREDICT_SECONDS = 60.0
BYTES_PER_SECOND_MIN = 1e6
"""What a slow connection sends: a large model has so much more time than `wait_seconds`."""
POLL_SECONDS = 0.2
POLL_SECONDS_MAX = 2.0

InputShape: TypeAlias = tuple[int | None, ...]

_STAGES = {
    None: "Preparing",
    "queued": "Waiting for a host to prepare it",
    "downloading": "Preparing: the host fetches it",
    "validating": "Preparing: the host validates it",
    "optimising": "Preparing: the host optimises it",
    "measuring": "Preparing: the host measures it",
    "warming": "Loading it where it will serve",
}


@dataclass(frozen=True)
class Deployment:
    """A version that is ready. `token` is there only when this upload created it; it is shown once.

    `active`: it has the traffic. One that was uploaded with `activate=False` gets it by `activate()`, or a
    part of it by `modelrocket.Client().model(name).set_traffic(version, percent=…)`.
    `inputs`, `outputs`: what this version takes and gives: name, dtype, and shape with None for any size.
    """

    model_id: str
    name: str
    version: int
    token: str | None
    url: str
    endpoint: str
    active: bool = True
    inputs: tuple[TensorSpec, ...] = field(default=(), repr=False)
    outputs: tuple[TensorSpec, ...] = field(default=(), repr=False)
    client: Client | None = field(default=None, repr=False, compare=False)

    def predict(
        self, inputs: Any, *, token: str | None = None, timeout_seconds: float = PREDICT_SECONDS
    ) -> Answer:
        """Ask the deployed model; see `Client.predict`. Whichever version has the traffic answers.

        By default with this deployment's own token, else with the API key.
        """
        client = self.client or Client(self.endpoint)
        return client.predict(
            self.model_id, inputs, token=token or self.token, timeout_seconds=timeout_seconds
        )

    async def predict_async(
        self, inputs: Any, *, token: str | None = None, timeout_seconds: float = PREDICT_SECONDS
    ) -> Answer:
        """`predict` for asyncio; see `Client.predict_async`."""
        client = self.client or Client(self.endpoint)
        return await client.predict_async(
            self.model_id, inputs, token=token or self.token, timeout_seconds=timeout_seconds
        )

    def activate(self, *, wait_seconds: float = ACTIVATE_SECONDS) -> Traffic:
        """Give this version all the traffic, and wait until it has it; see `Model.activate`."""
        client = self.client or Client(self.endpoint)
        return client.model(self.model_id).activate(self.version, wait_seconds=wait_seconds)

    def rotate_token(self, *, overlap_seconds: int = OVERLAP_SECONDS) -> Deployment:
        """The same deployment with a new token. The old one works beside it for the overlap: a week at most.

        Raises `ConfigurationError` where this deployment does not know its token.
        """
        if self.token is None:
            raise ConfigurationError(
                "This deployment does not know its token, which was shown when it was made. "
                f'`client.keys.list(model="{self.name}")` lists those there are, for `client.keys.rotate`.'
            )
        client = self.client or Client(self.endpoint)
        return replace(self, token=client.keys.rotate(self.token, overlap_seconds=overlap_seconds).secret)

    def __repr__(self) -> str:
        token = None if self.token is None else f"{self.token[:6]}…"
        waiting = "" if self.active else ", active=False: activate() gives it the traffic"
        return (
            f"Deployment(name={self.name!r}, model_id={self.model_id!r}, version={self.version}, "
            f"token={token!r}, url={self.url!r}{waiting})"
        )


class Client:
    """One ModelRocket endpoint. Threads and event loops may share it.

    Endpoint and API key come from the arguments, else MODELROCKET_ENDPOINT and MODELROCKET_API_KEY, else the
    user's configuration file. `predict` with a model's token and id needs no API key. `transport`,
    `async_transport` (for `predict_async`) and `clock` are for tests.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        api_key: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        async_transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.endpoint = config.find_endpoint(endpoint)
        self._api_key = api_key
        self._clock = clock or Clock()
        self._api = Api(
            self.endpoint, transport=transport, async_transport=async_transport, clock=self._clock
        )
        self._account = Account(self._api, api_key)
        self.keys = Keys(self._account)
        self.fleet = Fleet(self._account)
        self._predictor = Predictor(self._api)
        self._ids: dict[str, str] = {}
        self._manage = self._account.ask

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back. Those of an event loop go when it ends."""
        self._api.http.close()

    def upload(  # noqa: PLR0913 - the one line's own options
        self,
        model: object,
        model_name: str,
        input_type: object = None,
        input_shape: InputShape | Mapping[str, InputShape] | None = None,
        *,
        sample: Any = None,
        activate: bool = True,
        quantize: Literal["int8"] | None = None,
        accept_loss: bool = False,
        allow_mismatch: bool = False,
        example_values: bool = True,
        convert_seconds: float = CONVERT_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
        progress: bool = True,
    ) -> Deployment:
        """Deploy a trained model and wait until it answers.

        `model` is what was trained with scikit-learn, XGBoost, LightGBM, CatBoost, PyTorch, Keras,
        TensorFlow, JAX or Transformers, an onnx.ModelProto, or an .onnx file's path.
        `input_type` and `input_shape` describe a batch, e.g. `np.float32, (None, 64)`, or that of each of
        several inputs by name; an ONNX model knows its own. `sample` is rows as callers will send them, like
        X_test[:100]: type and shape are taken from it, and the converted model is compared on it too.
        The same name again deploys a new version of the same model: address and tokens stay.
        With `activate=False` it becomes ready but takes no traffic; what comes back says how to give it some.
        `quantize="int8"` uploads it with int8 weights and shows what that costs and brings, measured here on
        `sample` or on made-up rows. A loss beyond the limits is refused unless `accept_loss=True`. Such a
        model is not batched: one scale is found for all rows of a run, so callers' rows would round each
        other.
        A model that answers otherwise than the original is refused, with the rows that show it;
        `allow_mismatch=True` uploads it all the same, and its receipt says so for ever.
        A few example rows go along in the model, for the platform to try it with: their words and whole
        numbers are drawn from what it was trained on or from `sample`. With `example_values=False` they are
        made up from the inputs' types and shapes alone; where the model does not run on them, none go along.
        The model is converted in a process of its own, for at most `convert_seconds`.
        `wait_seconds` bounds all that follows conversion, with a second more for every megabyte to send; an
        upload that broke off goes on where it was when it is called again. `progress=False` prints nothing.

        Raises `ConversionError` (`QuantisationLoss`), `ApiError`, `UploadFailed`, `PreparationFailed`,
        `Timeout`, `ConnectionFailed` or `ConfigurationError`.
        """
        from modelrocket.convert import Limits, Target, convert

        config.find_api_key(self.endpoint, self._api_key)
        with display.shown_display() if progress else display.silent_display() as shown:
            converted = convert(
                model,
                input_type,
                input_shape,
                sample=sample,
                target=Target.within(self.limits()["model_file"]["opsets"]),
                limits=Limits(convert_seconds),
                allow_mismatch=allow_mismatch,
                example_values=example_values,
                show=shown.step,
            )
            if quantize is not None:
                shown.step("Quantising the model and measuring what that costs and brings")
                converted = _quantising(quantize)(
                    converted, show=shown.quantisation, sample=sample, accept_loss=accept_loss
                )
            announced = _announcement(converted, model_name, activate=activate)
            deployment, created = self._deploy(converted, announced, shown, wait_seconds)
            shown.result(_result(deployment, converted, created=created))
        return deployment

    def models(self) -> tuple[Model, ...]:
        """Every model of this account."""
        return tuple(all_models(self._account))

    def model(self, model: str) -> Model:
        """One model, by id or name. Raises `NotFound`."""
        return find_model(self._account, model)

    def limits(self) -> Mapping[str, Any]:
        """What the endpoint takes: sizes, times, and what a model file may be."""
        call = Call("GET", "/v1/limits")
        published: Mapping[str, Any] = self._api.ask(call, Budget(CALL_SECONDS, self._clock))
        return published

    def create_token(self, model_id: str) -> str:
        """A further token for a model; the ones before keep working. The server shows it only now."""
        return str(self._manage("POST", f"/v1/models/{model_id}/tokens", {})["token"])

    def usage(
        self,
        *,
        by: Grain = "day",
        since: str | None = None,
        until: str | None = None,
        model: str | None = None,
        key: str | None = None,
    ) -> tuple[UsageLine, ...]:
        """What was used, oldest first: a line for each key, version and minute, hour or day.

        `since` and `until` are days or times (ISO 8601, UTC where they do not say); by default the last 30
        days, 24 hours or 60 minutes. `model`: by id or name; `key`: a key's id.
        """
        return usage(self._account, by=by, since=since, until=until, model=model, key=key)

    def costs(self, *, since: str | None = None, until: str | None = None) -> Costs:
        """What each model is estimated to cost, the dearest first; by default of the last 30 days."""
        return costs(self._account, since=since, until=until)

    def audit(
        self, *, action: str | None = None, object_id: str | None = None, entries: int = ENTRIES_MAX
    ) -> tuple[AuditEntry, ...]:
        """Who did what in this account, newest first: so many entries at most."""
        return audit(self._account, action=action, object_id=object_id, entries=entries)

    def verify_audit(self) -> Verified:
        """Whether any entry of the audit log was changed or taken out."""
        return verify_audit(self._account)

    def predict(
        self,
        model: str,
        inputs: Any,
        *,
        token: str | None = None,
        timeout_seconds: float = PREDICT_SECONDS,
    ) -> Answer:
        """Ask a deployed model, by its id or, with an API key, by its name too.

        `inputs`: a batch for each input, rows first, e.g. [rows, 64]: a numpy array, nested lists, a pandas
        table or series, a sparse matrix, a tensor of torch, JAX or TensorFlow. For several inputs a dict of
        these by name, or a table with a column for each. Numbers are cast to what the model takes, float64 to
        float32 for example; what would not fit is refused before anything is sent.
        `token`: the model's token; by default the API key asks. `timeout_seconds` bounds all of it: tries,
        pauses, waiting for a model to be loaded, and several requests where the rows are too many for one and
        the model's certificate says that each is answered by itself; else they go by way of the store.

        Gives the only output as a numpy array of the model's own dtype, several as a dict of arrays by name;
        strings are Python objects.

        Raises `InvalidTensor` (with input, expected and got), `ApiError`, `ConnectionFailed`, `Timeout` or
        `ConfigurationError`.
        """
        return self._api.run(self._predicting(model, inputs, token, timeout_seconds))

    async def predict_async(
        self,
        model: str,
        inputs: Any,
        *,
        token: str | None = None,
        timeout_seconds: float = PREDICT_SECONDS,
    ) -> Answer:
        """`predict` for asyncio: as many at once as you like, no thread for any, 100 connections at most.

        The connections belong to the running event loop and are closed when it ends. A task that is cancelled
        gives its connection up, and the server drops what it has not begun.
        """
        return await self._api.run_async(self._predicting(model, inputs, token, timeout_seconds))

    def _predicting(self, model: str, inputs: Any, token: str | None, seconds: float) -> Flow[Answer]:
        bearer = token or self._account.key
        known = model if is_id(model) else self._ids.get(model)
        if known is not None:
            try:
                return (yield from self._predictor.predicting(known, inputs, bearer=bearer, seconds=seconds))
            except NotFound:
                if known == model:
                    raise
        found = yield from finding(self._account, model)  # again: a name can go to another model
        self._ids[model] = found.id
        return (yield from self._predictor.predicting(found.id, inputs, bearer=bearer, seconds=seconds))

    def _deploy(
        self, converted: Converted, announced: Mapping[str, Any], shown: display.Display, wait_seconds: float
    ) -> tuple[Deployment, bool]:
        payload, name = converted.payload, announced["name"]
        budget = Budget(wait_seconds + payload.size / BYTES_PER_SECOND_MIN, self._clock)
        begun = self._manage("POST", "/v1/models", announced, budget=budget)
        model_id, number = begun["model"]["id"], begun["version"]["number"]
        version_path = f"/v1/models/{model_id}/versions/{number}"

        shown.step(f"Uploading {_size(payload.size)}")
        put_parts(
            self._api,
            payload,
            begun["upload"],
            again=lambda: self._manage("GET", f"{version_path}/upload", budget=budget),
            budget=budget,
            sent=lambda done: shown.bytes_sent(done, total=payload.size),
        )
        self._manage("POST", f"{version_path}/complete", {}, budget=budget, repeatable=True)
        version = self._wait_until_active(version_path, name, shown, budget)
        deployment = Deployment(
            model_id=model_id,
            name=name,
            version=number,
            token=None if begun["model"]["tokens"] else self._first_token(model_id),
            url=self.model(model_id).url,
            endpoint=self.endpoint,
            active=version["active"],
            inputs=_specs(version, "inputs"),
            outputs=_specs(version, "outputs"),
            client=self,
        )
        return deployment, bool(begun["model"]["created"])

    def _first_token(self, model_id: str) -> str | None:
        """None where the API key may make none: it deploys, and somebody else gives tokens out."""
        try:
            return self.create_token(model_id)
        except PermissionDenied:
            return None

    def _wait_until_active(
        self, path: str, name: str, shown: display.Display, budget: Budget
    ) -> Mapping[str, Any]:
        pause = POLL_SECONDS
        while True:
            version: Mapping[str, Any] = self._manage("GET", path, budget=budget)
            state, stage = version["state"], version["stage"]
            if state == "failed":
                reason = version["reason"] or "the server gave no reason"
                raise PreparationFailed(
                    f"{name} version {version['number']} is not deployed: {reason}\n"
                    f"More: modelrocket report {quote(name)} {version['number']}",
                    reason=reason,
                )
            if state == "ready" and not version["activating"]:
                return version  # it answers, or a newer version of the same model does already
            shown.step(_STAGES.get(stage, f"Preparing: {stage}"))
            if not budget.wait(pause):
                raise Timeout(
                    f"{name} version {version['number']} is still {state}{f' ({stage})' if stage else ''} "
                    f"after {budget.seconds:.0f} s. The server goes on; wait longer with wait_seconds=…"
                )
            pause = min(pause * 1.5, POLL_SECONDS_MAX)


def upload(  # noqa: PLR0913 - the one line's own options
    model: object,
    model_name: str,
    input_type: object = None,
    input_shape: InputShape | Mapping[str, InputShape] | None = None,
    *,
    sample: Any = None,
    activate: bool = True,
    quantize: Literal["int8"] | None = None,
    accept_loss: bool = False,
    allow_mismatch: bool = False,
    example_values: bool = True,
    convert_seconds: float = CONVERT_SECONDS,
    wait_seconds: float = WAIT_SECONDS,
    progress: bool = True,
) -> Deployment:
    """Deploy a trained model and wait until it answers; see `Client.upload`."""
    return Client().upload(
        model,
        model_name,
        input_type,
        input_shape,
        sample=sample,
        activate=activate,
        quantize=quantize,
        accept_loss=accept_loss,
        allow_mismatch=allow_mismatch,
        example_values=example_values,
        convert_seconds=convert_seconds,
        wait_seconds=wait_seconds,
        progress=progress,
    )


def _quantising(method: str) -> Callable[..., Converted]:
    from modelrocket.quantisation import quantised

    if method != "int8":
        raise ConversionError(f"quantize={method!r} is not known.", hint='Only quantize="int8" is.')
    return quantised


def _announcement(converted: Converted, name: str, *, activate: bool) -> dict[str, Any]:
    files = converted.payload.announcement()
    return {
        "name": name,
        **files,
        "framework": converted.framework,
        "receipt": receipt(converted, model_sha256=str(files["sha256"])),
        "activate": activate,
    }


def _result(deployment: Deployment, converted: Converted, *, created: bool) -> display.Shown:
    return display.Shown(
        name=deployment.name,
        version=deployment.version,
        created=created,
        model_id=deployment.model_id,
        token=deployment.token,
        url=deployment.url,
        checked=display.checked(converted),
        active=deployment.active,
        notes=display.notes(converted),
    )


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} kB"  # noqa: PLR2004


def _specs(version: Mapping[str, Any], side: str) -> tuple[TensorSpec, ...]:
    signature = version.get("signature") or {side: []}
    return tuple(TensorSpec(one["name"], one["dtype"], tuple(one["shape"])) for one in signature[side])
