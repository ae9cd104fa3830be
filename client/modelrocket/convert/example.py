"""A few made-up rows that a model takes, in the model itself: the platform tries it with them.

A model that knows three words and nothing else cannot be tried with any word. The rows are those that it was
compared on: of words and whole numbers from what it was trained on or, where that is not known, from the
owner's sample; other numbers are random. Where the owner wants none of these values to go along, all are made
up from the types and shapes of the inputs.
"""

from typing import Final

import orjson

from modelrocket.inputs import Feeds, Inputs
from modelrocket.runtime import Session
from modelrocket.tensors import encode

KEY: Final = "modelrocket.example"
"""Of the metadata: `{"inputs": {name: nested lists}}`, as a request has them."""
_ROWS: Final = (16, 4, 1)
_BYTES_MAX: Final = 16 * 1024


def with_example(model: bytes, session: Session, inputs: Inputs) -> bytes:
    """The same model, with as many rows as fit; as it is where none do, or it does not run on them."""
    from onnx import ModelProto, helper

    for count in _ROWS:
        feeds = inputs.rows(count)
        told = orjson.dumps(
            {"inputs": {name: encode(rows) for name, rows in feeds.items()}},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        if len(told) <= _BYTES_MAX and _runs(session, feeds):
            said = ModelProto()
            helper.set_model_props(said, {KEY: told.decode()})
            return model + bytes(said.SerializeToString())  # protobuf: two messages in a row are one
    return model


def _runs(session: Session, feeds: Feeds) -> bool:
    try:
        session.run(feeds)
    except Exception:  # onnxruntime raises a dozen unrelated types
        return False
    return True
