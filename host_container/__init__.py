"""The inference host: holds many models and runs them. Start it with `python -m host_container`."""

import os

# Importing sets this one variable, against the house rule, because it must stand before onnxruntime is
# imported by whatever module comes first: from 1.29 on it sends telemetry on Linux unless told not to.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # noqa: TID251
