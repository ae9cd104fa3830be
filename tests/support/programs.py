"""Programs that tests run and the project does not install: Chromium, Node, compilers, shells."""

from __future__ import annotations

import os
import shutil

import pytest


def needed(*names: str) -> str:
    """Where the first of them is that is here. Skips what asks; in CI, which installs them all, it fails."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is not None:
        return found
    missing = f"needs {' or '.join(names)}, which is not here"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)
