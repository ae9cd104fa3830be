"""Asking the person at the terminal; secrets are never shown and never taken from the command line."""

from __future__ import annotations

import sys


def attended() -> bool:
    """Somebody can be asked."""
    return sys.stdin.isatty()


def asked(question: str) -> str:
    print(question, end="", file=sys.stderr, flush=True)
    return first_line()


def confirmed(question: str) -> bool:
    return asked(f"{question} [y/N] ").lower() in ("y", "yes")


def first_line() -> str:
    """Of standard input, where a secret comes that nobody types."""
    return sys.stdin.readline().strip()


def secret(question: str) -> str:
    """Typed without being shown."""
    from getpass import getpass

    return getpass(question, stream=sys.stderr).strip()
