"""What was found in a model file: why it was refused, or what it is made of."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Refusal(StrEnum):
    """Why a file is not served, for machines; the reason beside it says the same to its owner."""

    # The file itself.
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    ARCHIVE = "archive"
    OTHER_FORMAT = "other_format"
    NOT_ONNX = "not_onnx"

    # What it says it is.
    IR_VERSION = "ir_version"
    OPSET = "opset"
    NESTING = "nesting"
    TOO_MANY_NODES = "too_many_nodes"
    TOO_MANY_WEIGHTS = "too_many_weights"
    NAME = "name"
    METADATA = "metadata"
    TRAINING = "training"
    LOCAL_FUNCTIONS = "local_functions"
    OPERATOR_DOMAIN = "operator_domain"
    OPERATOR = "operator"
    EMBEDDED_CONTEXT = "embedded_context"
    EXTERNAL_DATA = "external_data"
    MEMORY_ADDRESS = "memory_address"
    DIMENSIONS = "dimensions"
    INTERFACE = "interface"

    # What it does.
    DOES_NOT_LOAD = "does_not_load"
    SLOW_TO_LOAD = "slow_to_load"
    DOES_NOT_RUN = "does_not_run"
    CPU_TIME = "cpu_time"
    WALL_TIME = "wall_time"
    MEMORY = "memory"
    CRASH = "crash"
    UNEXPLAINED = "unexplained"


class Findings(msgspec.Struct, frozen=True):
    """What a file that passed is made of, its subgraphs included.

    Attributes:
        opsets: version by domain.
        operators: how often each is used, by domain and type.
        depth: of subgraphs within subgraphs; 0 without any.
        weights, weight_bytes: tensors in the file, and what they hold.
        metadata_bytes: keys and values that say something of the model as a whole.
    """

    bytes: int
    ir_version: int
    opsets: dict[str, int]
    operators: dict[str, dict[str, int]]
    nodes: int
    depth: int
    weights: int
    weight_bytes: int
    inputs: int
    outputs: int
    metadata_bytes: int
