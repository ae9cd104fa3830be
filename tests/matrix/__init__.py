"""The conformance table: every model that can be built of every framework, converted and asked the same rows.

`python -m tests.matrix [FAMILY …]`; a family is a module here with `PACKAGES` and `cases()` (case.py).
"""
