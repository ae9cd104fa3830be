"""Builds what Lambda runs: the control plane and what it imports, for one version of Python on Linux."""
