"""A few made-up rows that a model takes, in the model itself: the platform tries it with them.

A model that knows three words and nothing else cannot be tried with any word. The rows are those that it was
compared on: of words and whole numbers from what it was trained on or, where that is not known, from the
owner's sample; other numbers are random. Where the owner wants none of these values to go along, all are made
up from the types and shapes of the inputs.
"""

from collections.abc import Mapping
from typing import Final

import orjson

from modelrocket.inputs import Feeds, Inputs
from modelrocket.runtime import Session
from modelrocket.tensors import encode

KEY: Final = "modelrocket.example"
"""Of the metadata: `{"inputs": {name: nested lists}}`, as a request has them; with `"made_up": true` where
none of the values are the owner's."""
_ROWS: Final = (16, 4, 1)
_BYTES_MAX: Final = 16 * 1024


def with_example(model: bytes, session: Session, inputs: Inputs) -> bytes:
    """The same model, with as many rows as fit; as it is where none do, or it does not run on them."""
    return _with(model, session, inputs, {})


def with_made_up_example(model: bytes, session: Session, inputs: Inputs) -> bytes:
    """As `with_example`, with values of the inputs' types and shapes alone."""
    return _with(model, session, inputs.declared(), {"made_up": True})


def _with(model: bytes, session: Session, inputs: Inputs, said: Mapping[str, bool]) -> bytes:
    from onnx import ModelProto, helper

    for count in _ROWS:
        feeds = inputs.rows(count)
        told = orjson.dumps(
            {"inputs": {name: encode(rows) for name, rows in feeds.items()}, **said},
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        if len(told) <= _BYTES_MAX and _runs(session, feeds):
            added = ModelProto()
            helper.set_model_props(added, {KEY: told.decode()})
            return model + bytes(added.SerializeToString())  # protobuf: two messages in a row are one
    return model


def _runs(session: Session, feeds: Feeds) -> bool:
    try:
        session.run(feeds)
    except Exception:  # onnxruntime raises a dozen unrelated types
        return False
    return True
