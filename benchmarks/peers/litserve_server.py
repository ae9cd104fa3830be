"""LitServe around onnxruntime: `python litserve_server.py MODEL PORT BATCH_SIZE_MAX`. 1 is no batching."""
# mypy: disable-error-code="import-not-found, misc"

import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime

DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
BATCH_SECONDS = 0.002


class Plain(litserve.LitAPI):
    model: str

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        (node,) = self.session.get_inputs()
        self.input, self.dtype = node.name, DTYPES[node.type]
        self.outputs = [output.name for output in self.session.get_outputs()]

    def decode_request(self, request: dict[str, Any]) -> Any:
        return np.asarray(request["inputs"][self.input], self.dtype)

    def predict(self, rows: Any) -> list[Any]:
        outputs: list[Any] = self.session.run(self.outputs, {self.input: rows})
        return outputs

    def encode_response(self, output: list[Any]) -> dict[str, Any]:
        named = zip(self.outputs, output, strict=True)
        return {"outputs": {name: array.tolist() for name, array in named}}


class Batched(Plain):
    def batch(self, inputs: list[Any]) -> Any:
        return np.concatenate(inputs)

    def unbatch(self, output: list[Any]) -> list[list[Any]]:
        """One row for each caller."""
        return [[array[i : i + 1] for array in output] for i in range(len(output[0]))]


def make_api(model: str, batch_size_max: int) -> Plain:
    """The workers are processes: they get the model's path with the object."""
    batching = {"max_batch_size": batch_size_max, "batch_timeout": BATCH_SECONDS}
    api = Batched(**batching) if batch_size_max > 1 else Plain()
    api.model = model
    return api


if __name__ == "__main__":
    server = litserve.LitServer(make_api(sys.argv[1], int(sys.argv[3])), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
