"""An MLServer runtime for onnxruntime; its settings are written by `benchmarks.peering`."""
# mypy: disable-error-code="import-not-found, misc"

from typing import Any

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class OnnxModel(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = self.settings.parameters.uri
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.output_names = [node.name for node in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feeds = {one.name: NumpyCodec.decode_input(one) for one in payload.inputs}
        outputs = self.session.run(self.output_names, feeds)
        encoded = [_output(name, array) for name, array in zip(self.output_names, outputs, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=encoded)


def _output(name: str, array: Any) -> ResponseOutput:
    """The codec calls a vector of n a matrix of n x 1; the shape is put right."""
    encoded = NumpyCodec.encode_output(name, array)
    encoded.shape = list(array.shape)
    return encoded
