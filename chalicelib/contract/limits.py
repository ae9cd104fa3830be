"""Every limit there is, in one place; `GET /v1/limits` publishes the caller's part.

Units are in the names. Changing a number here changes it for every part.
"""

from __future__ import annotations

from typing import Final

MIB: Final = 1024 * 1024

# Requests.
BODY_BYTES_MAX: Final = 4_400_000
"""Raw bytes of one request body. Lambda takes 6 MB and base64 inflates by 4/3."""
REQUEST_ID_LENGTH_MAX: Final = 64
STICKY_KEY_LENGTH_MAX: Final = 128
DEADLINE_SECONDS_DEFAULT: Final = 25.0
"""Budget of one inference; callers may lower it with X-Deadline-Ms. API Gateway cuts at 29 s."""
TRIES_MAX: Final = 2
CONNECT_SECONDS_MAX: Final = 0.25
RETRY_SHARE_MAX: Final = 0.1
"""Of the requests of the last `RETRY_WINDOW_SECONDS`, so many may have been tried again."""
RETRY_WINDOW_SECONDS: Final = 10
RETRIES_PER_SECOND_MIN: Final = 3
"""Always allowed."""
EJECTION_CONNECT_ERRORS: Final = 2
"""A host that did not answer so often in a row is left alone for a while."""
EJECTION_HOST_ERRORS: Final = 5
"""The same for answers of 500 and above that are its own fault and not a model's."""
EJECTION_SECONDS: Final = 5.0
"""The first time; then twice as long every time."""
EJECTION_SECONDS_MAX: Final = 60.0
EJECTION_SHARE_MAX: Final = 0.5
"""When more of the candidates are left alone than this, all are asked: then it is not they who fail."""
SLOW_START_SECONDS: Final = 10.0
"""How long a host that comes back gets less than its share."""
RESPONSE_BYTES_MAX: Final = 64 * MIB
RESPONSE_BYTES_LAMBDA_MAX: Final = 4_400_000
"""Raw bytes of an answer that surely pass Lambda's 6 MB in base64; a larger one goes by way of the store."""

# How often a caller may ask, and how much at once.
ACCOUNT_REQUESTS_PER_SECOND: Final = 1_000.0
ACCOUNT_BURST_SECONDS: Final = 2.0
"""An account or key that was quiet may send what it is allowed in so many seconds at once."""
ACCOUNT_CONCURRENCY_MAX: Final = 256
"""Requests of an account under way at the same time."""
COST_BYTES: Final = 256 * 1024
"""A request counts once, and once more for every so many bytes of its body."""
DEMO_REQUESTS_PER_SECOND: Final = 30.0
"""Of all who try the public demo together."""
OUTAGE_RATE_SHARE: Final = 0.1
"""What each gateway process lets through of a rate while it cannot be counted together."""

# Uploads.
MODEL_BYTES_MAX: Final = 2 * 1024 * MIB
"""Of a graph, with whatever weights are in it: a protobuf message cannot be larger."""
WEIGHTS_BYTES_MAX: Final = 16 * 1024 * MIB
"""Of the file of weights that a graph may have beside it."""
WEIGHTS_ALIGNMENT_BYTES: Final = 64
"""Each weight in it begins at a multiple of this: a line of the CPU's cache."""
UPLOAD_PART_BYTES: Final = 64 * MIB
"""Larger files arrive in parts of this size, so that an upload that broke off goes on where it was."""
UPLOAD_PARTS_MAX: Final = 10_000
"""S3 takes no more of one file."""
UPLOAD_PART_BYTES_MIN: Final = 5 * MIB
"""S3 takes no smaller one, but the last."""
MODEL_NAME_LENGTH_MAX: Final = 100
RECEIPT_BYTES_MAX: Final = 64 * 1024
"""What a client may say of its conversion, as JSON."""
UPLOAD_URL_SECONDS: Final = 900
UPLOAD_ABANDONED_SECONDS: Final = 24 * 3600
PAGE_SIZE_MAX: Final = 100

# What an account may keep.
ACCOUNT_MODELS_MAX: Final = 1_000
MODEL_VERSIONS_MAX: Final = 1_000
"""Of one model. Failed ones do not count."""
ACCOUNT_BYTES_MAX: Final = 500 * 1024 * MIB
"""Of all versions that have not failed; an upload under way counts from its beginning."""
ACCOUNT_PINNED_MAX: Final = 10
"""Models that stay loaded, used or not."""

# Versions and rollout.
TRAFFIC_HISTORY_MAX: Final = 100
ROLLOUT_WARM_SECONDS_MAX: Final = 30.0
"""How long a new version waits to be loaded on all hosts that serve the old one; then one is enough."""
ROLLOUT_COLD_SECONDS_MAX: Final = 120.0
"""Then it takes over though no host has room for it: requests make the room."""
ROLLOUT_COUNTS_SECONDS: Final = 7 * 24 * 3600
"""What a trial counted is forgotten this long after the last request of it."""
RETENTION_SECONDS: Final = 7 * 24 * 3600.0
"""How long the bytes of what was deleted are kept in S3."""
REAPED_PER_TICK_MAX: Final = 50

# Preparing a version.
PREPARE_SECONDS_MAX: Final = 120.0
PREPARE_CPU_SECONDS_MAX: Final = 60
PREPARE_MEMORY_BYTES_MAX: Final = 4 * 1024 * MIB
PREPARE_ATTEMPTS_MAX: Final = 3
PREPARE_CLAIM_SECONDS: Final = 10.0
"""A job whose worker has not said anything for this long belongs to whoever asks next."""

# What a model file may be (published, so that converters can aim at it).
IR_VERSION_MIN: Final = 3
"""Before it a file did not say which opsets it needs."""
IR_VERSION_MAX: Final = 14
OPSET_MIN: Final = 7
OPSET_MAX: Final = 28
ML_OPSET_MAX: Final = 5
"""onnxruntime 1.32 refuses what is beyond."""
OPSETS: Final = {
    "ai.onnx": (OPSET_MIN, OPSET_MAX),
    "ai.onnx.ml": (1, ML_OPSET_MAX),
    "com.microsoft": (1, 1),
}
"""The domains whose operators are run, each with its lowest and highest opset."""
_MICROSOFT: Final = """
    Attention BiasGelu BiasSoftmax BiasSplitGelu CDist ConvTransposeWithDynamicPads CropAndResize
    DequantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul EmbedLayerNormalization ExpandDims FastGelu
    FusedConv FusedGemm FusedMatMul FusedMatMulActivation GatedRelativePositionBias GatherBlockQuantized
    GatherND Gelu GridSample GroupNorm GroupQueryAttention Inverse Irfft LongformerAttention
    MatMulInteger16 MatMulIntegerToFloat MatMulNBits MaxpoolWithMask MultiHeadAttention MurmurHash3
    NGramRepeatBlock NhwcMaxPool PackedAttention PackedMultiHeadAttention Pad QAttention
    QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax
    QLinearWhere QMoE QuantizeLinear QuickGelu Range RelativePositionBias RemovePadding RestorePadding
    Rfft RotaryEmbedding SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization
    SparseAttention SparseToDenseMatMul Tokenizer TransposeMatMul Trilu UnfoldTensor Unique
    WordConvEmbedding
"""
MICROSOFT_OPERATORS: Final = frozenset(_MICROSOFT.split())
"""Of com.microsoft only these: arithmetic on tensors, without files, programs or a device's own code."""
EMBEDDED_CONTEXT_OPERATORS: Final = frozenset({"EPContext"})
"""They carry code that was compiled for one kind of device, which nobody can look into."""
GRAPH_NODES_MAX: Final = 20_000
WEIGHTS_MAX: Final = 40_000
"""Tensors in the file: weights and constants."""
TENSORS_MAX: Final = 1_000
"""Inputs and outputs together."""
RANK_MAX: Final = 32
SUBGRAPH_DEPTH_MAX: Final = 32
NAME_LENGTH_MAX: Final = 1_000
"""Of everything in the file that has a name."""
METADATA_BYTES_MAX: Final = 64 * 1024
EXAMPLE_BYTES_MAX: Final = 16 * 1024
"""Of the inputs that a version's report shows, as JSON."""
OPSET_IMPORTS_MAX: Final = 100
REASON_LENGTH_MAX: Final = 400
"""Of what an owner is told about a file that is not served."""

# Connections to a host.
HEADER_BYTES_MAX: Final = 16 * 1024
HEADER_SECONDS_MAX: Final = 5.0
BODY_SECONDS_MAX: Final = 10.0
WRITE_SECONDS_MAX: Final = 10.0
IDLE_SECONDS_MAX: Final = 75.0
CONNECTIONS_MAX: Final = 16_384
PIPELINE_MAX: Final = 16
"""Requests of one connection that wait behind the one being answered."""
LARGE_BODY_BYTES_MIN: Final = 64 * 1024
CALLER_BODY_BYTES_MAX: Final = 128 * MIB
HOST_BODY_BYTES_MAX: Final = 1024 * MIB
"""What large bodies may take of a host's memory, from their first byte to their answer."""

# Inputs and answers by way of the store.
PAYLOAD_BYTES_MAX: Final = CALLER_BODY_BYTES_MAX
"""Of inputs that go through the store: what one caller may hold of a host's memory."""
PAYLOAD_SECONDS: Final = 24 * 3600
"""How long the bytes are kept."""
PAYLOAD_URL_SECONDS: Final = 900
PAYLOAD_SWEEP_SECONDS: Final = 600
PAYLOADS_SWEPT_MAX: Final = 5_000
STORE_TRANSFERS_MAX: Final = 8
"""Inputs and answers that a host fetches or stores at once."""
STORE_CONNECT_SECONDS_MAX: Final = 2.0
STORE_SILENCE_SECONDS_MAX: Final = 10.0
ANSWER_HELD_SECONDS: Final = 10.0
"""How long a host holds an answer that is too large for the gateway until it is told where to store it."""
HELD_BYTES_MAX: Final = 256 * MIB
"""Of a host's memory for such answers."""

# Answers that are fetched later.
ANSWER_SECONDS_MAX: Final = 900.0
"""Budget of one inference that nobody waits for on a connection."""
ANSWER_KEPT_SECONDS: Final = 3600
ANSWER_BYTES_HOT_MAX: Final = 256 * 1024
"""A larger one is kept in the store."""
ANSWER_POLL_SECONDS: Final = 1.0
"""What is asked for again sooner than this will hardly be there."""
ANSWER_DISPATCHES_MAX: Final = 2
"""A request whose host died is given to another one so often in all."""
ANSWER_ACCEPT_SECONDS_MAX: Final = 10.0
"""A request that no host has taken after this long is given to another one."""
ANSWERS_WAITING_MAX: Final = 256
ANSWERS_WAITING_SECONDS: Final = 60
"""Where there is no host yet, so many of an account's requests are accepted within so long."""
HOST_ANSWERS_MAX: Final = 64
TENANT_ANSWERS_MAX: Final = 16
"""That one host works at for one account."""

# Hosts.
HEARTBEAT_SECONDS: Final = 2.0
OVERLOAD_SECONDS: Final = 0.25
"""A host whose slots need so long for what waits wakes the coordinator with its heartbeat."""
HOST_SUSPECT_SECONDS: Final = 5.0
HOST_DEAD_SECONDS: Final = 15.0
BOOT_SECONDS_DEFAULT: Final = 20.0
"""How long a host takes to come is taken to be this until one has."""
BOOT_SECONDS_MAX: Final = 3600.0
HOST_SLOTS_MIN: Final = 0.01
HOST_SLOTS_MAX: Final = 100_000.0
TOLD_SECONDS_MIN: Final = 0.001
TOLD_SECONDS_MAX: Final = 1e9
"""What a host says of its load beyond these is not believed: it is divided by, and summed up."""
LOOP_LAG_SECONDS_MAX: Final = 1.0
"""A host whose event loop takes longer than this to come round says that it is not ready."""
LOAD_SECONDS_MAX: Final = 30.0
LOAD_BYTES_PER_SECOND_MIN: Final = 200e6
"""Weights beside a graph have so much more time to load."""
LOAD_SLOTS: Final = 2
COLD_WAIT_SECONDS_MAX: Final = 20.0
HOST_QUEUE_MAX: Final = 1_024
MODEL_QUEUE_MAX: Final = 128
LOAD_FAILURE_SECONDS_MAX: Final = 60.0
"""A version that failed to load is not tried again for 1, 2, 4, … up to this many seconds."""
TENANT_QUEUE_MAX: Final = HOST_QUEUE_MAX // 4
KILL_GRACE_SECONDS: Final = 0.2
"""A run that goes on for this long after its deadline takes its worker with it."""
UNANSWERED_SECONDS_MAX: Final = 30.0
"""A worker that has not even dropped a request this long after its deadline is killed."""
CRASHES_MAX: Final = 2
CRASH_WINDOW_SECONDS: Final = 600.0
QUARANTINE_SECONDS: Final = 900.0
"""A version that ended its worker `CRASHES_MAX` times within the window is not served for this long."""
QUARANTINES_SHOWN_MAX: Final = 100
"""Of the whole fleet, those that end last."""
DRAIN_SECONDS_MAX: Final = 30.0
DRAIN_PROPAGATION_SECONDS: Final = 2.0
"""How long a draining host still takes work from gateways that have not heard."""
HOST_STOPPED_SECONDS: Final = 10.0
"""A process that did not run for this long comes back under a new boot id."""
TICKET_SKEW_SECONDS: Final = 120.0
CHURN_GUARD_LOADS: Final = 5
"""A version used within this many times its own load time is not evicted for another."""

# API keys and model tokens.
KEYS_MAX: Final = 100
"""API keys of an account that work."""
MODEL_TOKENS_MAX: Final = 100
"""Tokens of a model that work."""
KEY_NAME_LENGTH_MAX: Final = 100
KEY_DAYS_DEFAULT: Final = 90
"""After which an API key expires, unless its maker says otherwise. Model tokens do not by themselves."""
KEY_DAYS_MAX: Final = 3_650
KEY_SECONDS_MIN: Final = 60
KEY_SECONDS_MAX: Final = 24 * 3600
"""Of one whose end is given in seconds."""
KEY_EXPIRING_SECONDS: Final = 7 * 24 * 3600.0
"""A key that stops sooner than this is shown as expiring."""
KEY_OVERLAP_SECONDS_DEFAULT: Final = 24 * 3600
"""How long a rotated key still works beside the one in its place."""
KEY_OVERLAP_SECONDS_MAX: Final = 7 * 24 * 3600
KEY_USED_SECONDS: Final = 60.0
"""When a key was last used is told to the minute, and written down no more often."""
KEY_RETENTION_SECONDS: Final = 90 * 24 * 3600.0
"""How long one that was revoked or has expired is still listed."""
KEYS_KNOWN_MAX: Final = 4_096
"""Decisions about API keys that a process remembers."""

# Usage and the audit log.
USAGE_ID_SECONDS: Final = 600
"""A request that comes again under the same id within this time is counted once."""
USAGE_HOT_SECONDS: Final = 24 * 3600
"""What was counted is kept for the coordinator so long."""
USAGE_TOLD_MAX: Final = 500
"""Requests, or sums, that a host tells of at once."""
USAGE_KEPT_MAX: Final = 100_000
"""Requests that a host remembers one by one while the hot state is away. The others are summed up."""
USAGE_SUMS_MAX: Final = 20_000
USAGE_COUNTERS_MAX: Final = 2_000
"""Of how long requests took, in one sum: as many different times as a host tells apart at once."""
MEMORY_COUNTED_SECONDS: Final = 30.0
"""How often a host says how much memory each version has."""
USAGE_UNDER_WAY_MAX: Final = 120
"""Minutes that are not written down yet, of those that are shown."""
USAGE_MINUTES_SECONDS: Final = 2 * 24 * 3600
"""How long usage is kept by the minute, by the hour and by the day."""
USAGE_HOURS_SECONDS: Final = 60 * 24 * 3600
USAGE_DAYS_SECONDS: Final = 2 * 365 * 24 * 3600
USAGE_PAGE: Final = 1_000
"""Lines of usage in one answer."""
METRICS_PERIODS_MAX: Final = 5_000
"""Hours, or days, of a key and version that one answer adds up."""
METRICS_PARTS_AT_ONCE: Final = 20
"""So many minutes of such an hour, or hours of such a day, are as much work as another one."""
METRICS_LINES_MAX: Final = 200
"""Models, and keys, that one answer lists."""
AUDIT_SECONDS: Final = 365 * 24 * 3600
AUDIT_TRIES_MAX: Final = 64
"""Entries of one account are written one after the other: how often one steps back for others."""
AUDIT_LATE_MAX: Final = 10_000
"""Entries that wait for the truth to take them."""
AUDIT_REFUSALS_PER_SECOND: Final = 20
"""Refusals beyond are not written down, so that nobody fills the log."""
AUDIT_VERIFIED_MAX: Final = 10_000
"""Entries of which one call says whether they are as they were written."""
USER_AGENT_LENGTH_MAX: Final = 200

# The control plane.
MANAGEMENT_REQUESTS_PER_SECOND: Final = 200.0
"""Of an account, by each process of the gateway for itself; a burst is of two seconds."""
MANAGEMENT_ACCOUNTS_MAX: Final = 16_384
IDEMPOTENCY_SECONDS: Final = 24 * 3600
"""How long an Idempotency-Key stands for its first request."""
IDEMPOTENCY_RUNNING_SECONDS: Final = 30.0
"""A request under one that has not ended after this long has died."""
TOKEN_CACHE_SECONDS: Final = 5.0
"""How long a decision about a token may be reused: the promise on revocation."""
FORWARDS_MAX: Final = 512
"""Requests at a host's own door that are under way at other hosts."""
CHECKED_AGAIN_SECONDS: Final = 1.0
"""A request that waited for longer than this is answered if its token is still good then."""
OUTAGE_CACHE_SECONDS: Final = 60.0
PERMISSIONS_MAX: Final = 16_384
"""Decisions about pairs of token and model that a host remembers."""
LOOKUPS_MAX: Final = 256
"""Pairs of token and model that a host asks the hot state about at once."""
CALLER_LOOKUPS_MAX: Final = LOOKUPS_MAX // 4
TOKEN_READ_THROUGH_PER_SECOND: Final = 50
SITE_SECONDS: Final = 5.0
"""How long what the site says of itself may be old, while the truth answers."""
TRUTH_SECONDS_MAX: Final = 1.0
"""A request that has waited so long for the truth in all asks it nothing more."""
OUTAGE_VIEWS_MAX: Final = 4096
"""Pairs of token and model that a gateway remembers for when the hot state is away."""
HOT_COMMAND_SECONDS_MAX: Final = 0.1
"""How long an inference request waits for the hot state, before what is remembered has to do."""
HOT_MISSES_MAX: Final = 5
"""After so many in a row the hot state is only asked once every `HOT_PROBE_SECONDS`."""
HOT_PROBE_SECONDS: Final = 1.0
HOT_CONNECTIONS_MAX: Final = 128
PROJECTION_PAGE: Final = 500
PROJECTION_OVERLAP_SECONDS: Final = 60.0
"""What changed so long before the latest projection is projected again: writes take time."""
REPLICAS_PER_MODEL: Final = 2
COORDINATOR_LEASE_SECONDS: Final = 15.0
MODEL_NEW_SECONDS: Final = 600.0
"""How long a model that was just deployed is taken to be about to be used."""
DECISIONS_KEPT_SECONDS: Final = 8 * 24 * 3600
JOURNAL_WHOLE_EVERY: Final = 360
"""Ticks after which a decision's inputs are written whole again, not as what changed."""

# Accounts and log-ins.
EMAIL_LENGTH_MAX: Final = 254
ACCOUNT_NAME_LENGTH_MAX: Final = 100
PASSWORD_LENGTH_MIN: Final = 10
PASSWORD_LENGTH_MAX: Final = 256
HASHES_WAITING_MAX: Final = 8
"""Log-ins, and whatever else needs a password hashed, that one process has under way."""
SESSION_IDLE_SECONDS: Final = 7 * 24 * 3600
SESSION_SECONDS_MAX: Final = 30 * 24 * 3600
ACCOUNT_SESSIONS_MAX: Final = 100
"""Of an account. The oldest ends when another one begins."""
SESSIONS_KNOWN_MAX: Final = 4_096
"""That a process remembers."""
LOG_INS_PER_MINUTE: Final = 5
"""Failed ones, of an account from one address, after `LOG_INS_AT_ONCE`. The other two are for the same."""
LOG_INS_AT_ONCE: Final = 10
ADDRESS_LOG_INS_PER_MINUTE: Final = 30
"""Of all accounts from one address."""
STRANGER_LOG_INS_PER_MINUTE: Final = 20
"""Of an account from all addresses that nobody has logged in to it from."""
LOG_IN_KNOWN_SECONDS: Final = 30 * 24 * 3600
"""How long an address is known after a log-in."""
SIGN_UPS_PER_MINUTE: Final = 1
"""From one address, after `SIGN_UPS_AT_ONCE`."""
SIGN_UPS_AT_ONCE: Final = 10
LOG_IN_RATES_MAX: Final = 10_000
"""That a process counts by itself while the hot state is away."""
