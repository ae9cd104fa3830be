"""The control plane's environment."""

from __future__ import annotations

import pytest

from chalicelib.settings import InvalidSettings, Settings

ENVIRON = {
    "MODELROCKET_MONGO_URL": "mongodb://127.0.0.1:1/",
    "MODELROCKET_REDIS_URL": "redis://127.0.0.1:2/0",
    "MODELROCKET_S3_BUCKET": "models",
    "MODELROCKET_DISPATCH_KEY": "00ff",
    "MODELROCKET_PUBLIC_URL": "http://127.0.0.1:5000/",
    "MODELROCKET_HOST_NETWORK": "10.0.0.0/16",
}


def test_a_complete_environment_is_read() -> None:
    settings = Settings.from_env(ENVIRON)
    assert settings.dispatch_key == b"\x00\xff"
    assert settings.public_url == "http://127.0.0.1:5000"
    assert settings.s3_endpoint_url is None
    assert settings.tick_seconds == 10


@pytest.mark.parametrize("given", ["5242879", "0", "-5242880", "many"])
def test_parts_smaller_than_s3_takes_are_refused(given: str) -> None:
    with pytest.raises(InvalidSettings, match="MODELROCKET_UPLOAD_PART_BYTES"):
        Settings.from_env({**ENVIRON, "MODELROCKET_UPLOAD_PART_BYTES": given})
    assert Settings.from_env({**ENVIRON, "MODELROCKET_UPLOAD_PART_BYTES": "5242880"})


def test_every_problem_is_reported_at_once() -> None:
    broken = {**ENVIRON, "MODELROCKET_DISPATCH_KEY": "xyz", "MODELROCKET_TICK_SECONDS": "soon"}
    del broken["MODELROCKET_MONGO_URL"]
    with pytest.raises(InvalidSettings) as raised:
        Settings.from_env(broken)
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "MODELROCKET_MONGO_URL",
        "MODELROCKET_DISPATCH_KEY",
        "MODELROCKET_TICK_SECONDS",
    ]
