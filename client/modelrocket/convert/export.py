"""One attempt, exported and checked: the files that will be uploaded, before anything is compared."""

from dataclasses import dataclass
from pathlib import Path

from modelrocket.asking import in_a_line
from modelrocket.convert.interface import Attempt, Source
from modelrocket.errors import ConversionError
from modelrocket.payload import Payload

_MESSAGE_MAX = 500


@dataclass(frozen=True)
class Exported:
    """What an exporter made of the model, and the operator sets it imports."""

    payload: Payload
    opsets: dict[str, int]


def exported(source: Source, attempt: Attempt) -> Exported:
    """Raises `ConversionError`."""
    import onnx

    from modelrocket.convert.graph import opsets, tidied
    from modelrocket.convert.two_files import graph_beside, two_files

    try:
        model = tidied(attempt.export())
        if attempt.folder is not None:
            payload = two_files(model, beside=Path(attempt.folder.name))
            attempt.folder.cleanup()
            assert payload.weights is not None
            onnx.checker.check_model(graph_beside(payload.weights))
            return Exported(payload, opsets(model))
        onnx.checker.check_model(model)
        return Exported(Payload(bytes(model.SerializeToString())), opsets(model))
    except ConversionError:
        raise
    except Exception as error:  # exporters raise anything at all
        raise ConversionError(
            f"{attempt.exporter} does not convert this model ({source.framework}): {_told(error)}",
            hint=source.hint,
        ) from error


def _told(error: Exception) -> str:
    """The root of the trouble in a line: some exporters paint it, or put whole weight matrices into it."""
    text = in_a_line(error.__cause__ or error)
    return text if len(text) <= _MESSAGE_MAX else f"{text[:_MESSAGE_MAX]} …"
