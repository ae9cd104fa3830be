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
RESPONSE_BYTES_MAX: Final = 64 * MIB

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

# Hosts.
HEARTBEAT_SECONDS: Final = 2.0
HOST_SUSPECT_SECONDS: Final = 5.0
HOST_DEAD_SECONDS: Final = 15.0
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
DRAIN_SECONDS_MAX: Final = 30.0
DRAIN_PROPAGATION_SECONDS: Final = 2.0
"""How long a draining host still takes work from gateways that have not heard."""
HOST_STOPPED_SECONDS: Final = 10.0
"""A process that did not run for this long comes back under a new boot id."""
TICKET_SKEW_SECONDS: Final = 120.0
CHURN_GUARD_LOADS: Final = 10
"""A version used within this many times its own load time is not evicted for another."""

# The control plane.
TOKEN_CACHE_SECONDS: Final = 5.0
"""How long a decision about a token may be reused: the promise on revocation."""
OUTAGE_CACHE_SECONDS: Final = 60.0
PERMISSIONS_MAX: Final = 16_384
"""Decisions about pairs of token and model that a host remembers."""
LOOKUPS_MAX: Final = 256
"""Pairs of token and model that a host asks the hot state about at once."""
CALLER_LOOKUPS_MAX: Final = LOOKUPS_MAX // 4
TOKEN_READ_THROUGH_PER_SECOND: Final = 50
PROJECTION_PAGE: Final = 500
REPLICAS_PER_MODEL: Final = 2
