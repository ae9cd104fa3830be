"""BentoML around onnxruntime: `BENCH_MODEL=… bentoml serve bentoml_service:Plain`, or `:Batched`.

BentoML batches lists: a request brings a list of one `{input name: rows}` and
gets a list of one `{output name: rows}`; several make one longer list.
"""
# mypy: disable-error-code="import-not-found, misc, untyped-decorator"

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime

DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class Model:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        (node,) = self.session.get_inputs()
        self.input, self.dtype = node.name, DTYPES[node.type]
        self.outputs = [output.name for output in self.session.get_outputs()]

    def run(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = np.concatenate([np.asarray(one[self.input], self.dtype) for one in inputs])
        arrays = self.session.run(self.outputs, {self.input: rows})
        return [
            {name: array[i : i + 1].tolist() for name, array in zip(self.outputs, arrays, strict=True)}
            for i in range(len(rows))
        ]


@bentoml.service(workers=1)
class Plain:
    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api
    def predict(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.model.run(inputs)


@bentoml.service(workers=1)
class Batched:
    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.model.run(inputs)
