"""What a request costs: ModelRocket beside plain onnxruntime and beside other servers, in one run.

    python -m benchmarks --help

CPU time per request is the figure to compare: of the whole process tree of the
server, without the load generator. Absolute figures belong to one machine; the
ratios to `session.run` in the same run carry over. Nothing here asserts a time.
"""
