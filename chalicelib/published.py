"""What `GET /v1/limits` says: everything that callers and converters need to aim at."""

from __future__ import annotations

import msgspec

from chalicelib.contract import limits
from chalicelib.contract.messages import WEIGHTS_LOCATION
from chalicelib.contract.tokens import TOKEN_PATTERN
from chalicelib.settings import Settings, SignUpMode


class Range(msgspec.Struct, frozen=True):
    """Both ends are allowed."""

    min: int
    max: int


class ExternalData(msgspec.Struct, frozen=True):
    """The one file of weights that a graph may have beside it."""

    location: str
    bytes_max: int
    alignment_bytes: int


class PreparationLimits(msgspec.Struct, frozen=True):
    """What looking at a file may take."""

    seconds_max: float
    cpu_seconds_max: int
    memory_bytes_max: int


class ModelFileLimits(msgspec.Struct, frozen=True):
    """What an ONNX file may be. Domains that are not in `opsets` are refused;
    of a domain in `operators` only those are taken.
    """

    bytes_max: int
    ir_version: Range
    opsets: dict[str, Range]
    operators: dict[str, list[str]]
    nodes_max: int
    subgraph_depth_max: int
    weights_max: int
    inputs_and_outputs_max: int
    rank_max: int
    name_length_max: int
    metadata_bytes_max: int
    external_data: ExternalData
    local_functions: bool
    load_seconds_max: float
    preparation: PreparationLimits


class KeyLimits(msgspec.Struct, frozen=True):
    """Of API keys and model tokens.

    Attributes:
        pattern: a regular expression for secret scanners. The last six characters are a checksum.
        keys_max: that work, of an account; `model_tokens_max`: of a model.
        days_default: after which an API key expires unless its maker says otherwise.
        overlap_seconds_default: how long a rotated key still works; `overlap_seconds_max`: at most.
        revoked_seconds_max: how long a revoked key may still work somewhere.
        retention_seconds: how long one that does not work any more is listed.
    """

    pattern: str
    keys_max: int
    model_tokens_max: int
    name_length_max: int
    days_default: int
    days_max: int
    overlap_seconds_default: int
    overlap_seconds_max: int
    revoked_seconds_max: float
    retention_seconds: float


class AccountLimits(msgspec.Struct, frozen=True):
    """Of accounts, log-ins and sessions.

    Attributes:
        log_ins_per_minute: failed ones, of an account from one address, after `log_ins_at_once`.
        address_log_ins_per_minute: of all accounts from one address.
        stranger_log_ins_per_minute: of an account from addresses that nobody has logged in to it from.
        sign_ups_per_minute: from one address, after `sign_ups_at_once`.
        session_idle_seconds: after which one that is not used is over; `session_seconds_max`: in any case.
        ended_seconds_max: how long one that was ended may still work somewhere.
    """

    sign_up: SignUpMode
    password_length: Range
    name_length_max: int
    log_ins_per_minute: int
    log_ins_at_once: int
    address_log_ins_per_minute: int
    stranger_log_ins_per_minute: int
    sign_ups_per_minute: int
    sign_ups_at_once: int
    sessions_max: int
    session_idle_seconds: int
    session_seconds_max: int
    ended_seconds_max: float


class InferenceLimits(msgspec.Struct, frozen=True):
    """How often inference may be asked for. Beyond it: 429, with Retry-After.

    Attributes:
        account_requests_per_second: by all keys of an account together, after `account_requests_at_once`.
        account_concurrency_max: requests of an account under way at the same time.
        key_burst_seconds: a key with a rate of its own may send so many seconds of it at once.
        cost_bytes: a request counts once, and once more for every so many bytes of its body.
    """

    account_requests_per_second: float
    account_requests_at_once: int
    account_concurrency_max: int
    key_burst_seconds: float
    cost_bytes: int


class QuotaLimits(msgspec.Struct, frozen=True):
    """What an account may keep. Beyond it: 409, until something is deleted.

    Attributes:
        model_versions_max: of one model. Failed ones do not count.
        bytes_max: of all versions that have not failed; an upload under way counts from its beginning.
        pinned_models_max: models that stay loaded, used or not.
    """

    models_max: int
    model_versions_max: int
    bytes_max: int
    pinned_models_max: int


def _inference(settings: Settings) -> InferenceLimits:
    account = settings.account_limits
    return InferenceLimits(
        account_requests_per_second=account.rate.per_second,
        account_requests_at_once=int(account.rate.burst),
        account_concurrency_max=account.concurrency_max,
        key_burst_seconds=limits.ACCOUNT_BURST_SECONDS,
        cost_bytes=limits.COST_BYTES,
    )


class Limits(msgspec.Struct, frozen=True):
    """The limits of this deployment."""

    body_bytes_max: int
    deadline_ms_max: int
    model_bytes_max: int
    weights_bytes_max: int
    upload_part_bytes: int
    model_name_length_max: int
    page_size_max: int
    sticky_key_length_max: int
    traffic_history_max: int
    retention_seconds: float
    upload_url_seconds: int
    idempotency_seconds: int
    management_requests_per_second: float
    inference: InferenceLimits
    payload_bytes_max: int
    payload_seconds: int
    response_bytes_max: int
    answer_seconds_max: float
    answer_kept_seconds: int
    keys: KeyLimits
    accounts: AccountLimits
    quotas: QuotaLimits
    model_file: ModelFileLimits


def published(settings: Settings) -> Limits:
    return Limits(
        body_bytes_max=limits.BODY_BYTES_MAX,
        deadline_ms_max=int(limits.DEADLINE_SECONDS_DEFAULT * 1000),
        model_bytes_max=limits.MODEL_BYTES_MAX,
        weights_bytes_max=limits.WEIGHTS_BYTES_MAX,
        upload_part_bytes=settings.upload_part_bytes,
        model_name_length_max=limits.MODEL_NAME_LENGTH_MAX,
        page_size_max=limits.PAGE_SIZE_MAX,
        sticky_key_length_max=limits.STICKY_KEY_LENGTH_MAX,
        traffic_history_max=limits.TRAFFIC_HISTORY_MAX,
        retention_seconds=settings.retention_seconds,
        upload_url_seconds=limits.UPLOAD_URL_SECONDS,
        idempotency_seconds=limits.IDEMPOTENCY_SECONDS,
        management_requests_per_second=limits.MANAGEMENT_REQUESTS_PER_SECOND,
        inference=_inference(settings),
        payload_bytes_max=limits.PAYLOAD_BYTES_MAX,
        payload_seconds=limits.PAYLOAD_SECONDS,
        response_bytes_max=limits.RESPONSE_BYTES_LAMBDA_MAX,
        answer_seconds_max=limits.ANSWER_SECONDS_MAX,
        answer_kept_seconds=limits.ANSWER_KEPT_SECONDS,
        keys=_keys(),
        accounts=_accounts(settings),
        quotas=_quotas(settings),
        model_file=model_file_limits(),
    )


def _keys() -> KeyLimits:
    return KeyLimits(
        pattern=TOKEN_PATTERN,
        keys_max=limits.KEYS_MAX,
        model_tokens_max=limits.MODEL_TOKENS_MAX,
        name_length_max=limits.KEY_NAME_LENGTH_MAX,
        days_default=limits.KEY_DAYS_DEFAULT,
        days_max=limits.KEY_DAYS_MAX,
        overlap_seconds_default=limits.KEY_OVERLAP_SECONDS_DEFAULT,
        overlap_seconds_max=limits.KEY_OVERLAP_SECONDS_MAX,
        revoked_seconds_max=limits.TOKEN_CACHE_SECONDS,
        retention_seconds=limits.KEY_RETENTION_SECONDS,
    )


def _accounts(settings: Settings) -> AccountLimits:
    return AccountLimits(
        sign_up=settings.sign_up,
        password_length=Range(limits.PASSWORD_LENGTH_MIN, limits.PASSWORD_LENGTH_MAX),
        name_length_max=limits.ACCOUNT_NAME_LENGTH_MAX,
        log_ins_per_minute=limits.LOG_INS_PER_MINUTE,
        log_ins_at_once=limits.LOG_INS_AT_ONCE,
        address_log_ins_per_minute=limits.ADDRESS_LOG_INS_PER_MINUTE,
        stranger_log_ins_per_minute=limits.STRANGER_LOG_INS_PER_MINUTE,
        sign_ups_per_minute=limits.SIGN_UPS_PER_MINUTE,
        sign_ups_at_once=limits.SIGN_UPS_AT_ONCE,
        sessions_max=limits.ACCOUNT_SESSIONS_MAX,
        session_idle_seconds=limits.SESSION_IDLE_SECONDS,
        session_seconds_max=limits.SESSION_SECONDS_MAX,
        ended_seconds_max=limits.TOKEN_CACHE_SECONDS,
    )


def _quotas(settings: Settings) -> QuotaLimits:
    quotas = settings.quotas
    return QuotaLimits(
        models_max=quotas.models,
        model_versions_max=quotas.model_versions,
        bytes_max=quotas.bytes,
        pinned_models_max=quotas.pinned,
    )


def model_file_limits() -> ModelFileLimits:
    return ModelFileLimits(
        bytes_max=limits.MODEL_BYTES_MAX,
        ir_version=Range(limits.IR_VERSION_MIN, limits.IR_VERSION_MAX),
        opsets={domain: Range(low, high) for domain, (low, high) in limits.OPSETS.items()},
        operators={"com.microsoft": sorted(limits.MICROSOFT_OPERATORS)},
        nodes_max=limits.GRAPH_NODES_MAX,
        subgraph_depth_max=limits.SUBGRAPH_DEPTH_MAX,
        weights_max=limits.WEIGHTS_MAX,
        inputs_and_outputs_max=limits.TENSORS_MAX,
        rank_max=limits.RANK_MAX,
        name_length_max=limits.NAME_LENGTH_MAX,
        metadata_bytes_max=limits.METADATA_BYTES_MAX,
        external_data=ExternalData(
            WEIGHTS_LOCATION, limits.WEIGHTS_BYTES_MAX, limits.WEIGHTS_ALIGNMENT_BYTES
        ),
        local_functions=False,
        load_seconds_max=limits.LOAD_SECONDS_MAX,
        preparation=PreparationLimits(
            limits.PREPARE_SECONDS_MAX, limits.PREPARE_CPU_SECONDS_MAX, limits.PREPARE_MEMORY_BYTES_MAX
        ),
    )
