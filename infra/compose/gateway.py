"""`python -m infra.compose.gateway`: the gateway in its container, where all interfaces are its own."""

from __future__ import annotations

from typing import Final

from infra.local.gateway import serve

PORT: Final = 8080

if __name__ == "__main__":
    serve(PORT, address="0.0.0.0")
