"""The control plane: accounts, uploads, versions, routing and the coordinator.

Everything here runs in AWS Lambda behind API Gateway; locally the same code
runs in one process. numpy, onnx and onnxruntime never enter it.
"""

__version__ = "0.1.0"
