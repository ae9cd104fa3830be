"""What a request costs beside plain onnxruntime and other servers, and what a host withstands.

    python -m benchmarks --help

CPU time per request is the figure to compare: of the whole process tree of the
server, without the load generator. Absolute figures belong to one machine; ratios
within a run carry over: to `session.run`, or to the same load in company or alone.
Nothing here asserts a time.
"""
