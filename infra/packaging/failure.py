"""What ends packaging early."""

from __future__ import annotations


class CannotPackage(Exception):
    """The message says what to do."""
