"""Handwritten digits, 1,797 of 8 x 8 pixels, in the shapes that neural networks take."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

_PIXELS, DIGITS = load_digits(return_X_y=True)
FLAT = (_PIXELS / 16).astype(np.float32)
"""64 numbers, from 0 to 1."""
IMAGES = FLAT.reshape(-1, 8, 8, 1)
STEPS = FLAT.reshape(-1, 8, 8)
"""Eight lines, one after the other."""
TOKENS = _PIXELS.astype(np.int32)
"""64 integers, from 0 to 16."""
