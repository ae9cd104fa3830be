"""What one kind of host has prepared, another kind that takes over its disk does not use."""

from __future__ import annotations

from pathlib import Path

import pytest

from host_container.artifacts import Artifacts, connect
from host_container.prepared import GRAPH, WEIGHTS, Built, form, seal
from host_container.providers import Provider


@pytest.mark.parametrize(
    ("provider", "kept"),
    [
        pytest.param(Provider.CPU, True, id="a host like it"),
        pytest.param(Provider.CUDA, False, id="a host with a GPU"),
    ],
)
def test_a_form_made_for_the_cpu_is_taken_over_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider, kept: bool
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    folder = tmp_path / "versions" / "tenant" / "version" / f"{'0' * 64}.{form(Provider.CPU)}"
    folder.mkdir(parents=True)
    for name in (GRAPH, WEIGHTS):
        (folder / name).write_bytes(b"bytes")
    seal(folder, Built())
    artifacts = Artifacts(
        connect("http://127.0.0.1:1"),
        bucket="none",
        folder=tmp_path,
        bytes_max=1_000_000,
        clock=lambda: 0.0,
        provider=provider,
    )
    artifacts.open()
    assert folder.exists() == kept
    assert bool(artifacts.bytes_used) == kept
