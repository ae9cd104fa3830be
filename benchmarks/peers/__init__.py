"""Other servers for the same ONNX file, each as its own documentation would write it.

One program per peer, run with the Python of the peer's own environment: nothing
here is imported by us. All load the model with one intra-op thread, as ours does,
so that requests are the unit of parallelism.
"""
