"""Errors that several parts of the host answer with, worded once."""

from __future__ import annotations

from chalicelib.contract.errors import DeadlineExceeded, InferenceFailed, NoCapacity


def too_late() -> DeadlineExceeded:
    return DeadlineExceeded("The model did not answer in time. Send fewer rows, or allow more time.")


def crashed() -> InferenceFailed:
    return InferenceFailed("The model ended its process while it answered. Other models were not touched.")


def interrupted() -> NoCapacity:
    """Of a request that is not to blame; another host may answer it."""
    return NoCapacity("Other models of yours ended the process that was to answer. Try again.")
