"""What a process keeps of the memory it has freed."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from host_container import environment, heap

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told what to keep")

_PAGES = 768
_PROBE = f"""
import resource, sys
from host_container import heap

def fill():
    body = bytearray({_PAGES} * 4096)
    body[::4096] = b"x" * {_PAGES}

if "keep" in sys.argv:
    heap.keep_freed_blocks()
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str, environ: dict[str, str]) -> int:
    """Pages that the kernel had to find for the second of two bodies."""
    probe = [sys.executable, "-c", _PROBE, *arguments]
    return int(subprocess.run(probe, env=environ, capture_output=True, check=True).stdout)


def test_the_memory_of_a_body_is_used_again() -> None:
    assert faults("keep", environ=environment.bare()) < _PAGES / 10


def test_a_process_to_be_may_be_told_the_same() -> None:
    assert faults(environ=environment.bare(**heap.environment())) < _PAGES / 10


def test_it_would_be_given_back_otherwise() -> None:
    assert faults(environ=environment.bare()) > _PAGES / 2
