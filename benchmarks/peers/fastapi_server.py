"""FastAPI and uvicorn around onnxruntime: `python fastapi_server.py MODEL PORT`."""
# mypy: disable-error-code="import-not-found, misc, untyped-decorator"

import sys
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class Request(BaseModel):
    inputs: dict[str, Any]


def make_app(model: str) -> FastAPI:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    dtypes = {node.name: DTYPES[node.type] for node in session.get_inputs()}
    names = [node.name for node in session.get_outputs()]
    app = FastAPI()

    @app.post("/predict")
    def predict(request: Request) -> dict[str, Any]:
        feeds = {name: np.asarray(value, dtypes[name]) for name, value in request.inputs.items()}
        outputs = session.run(names, feeds)
        return {"outputs": {name: array.tolist() for name, array in zip(names, outputs, strict=True)}}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
