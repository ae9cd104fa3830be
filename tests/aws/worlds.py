"""The app as it is deployed in three ways, synthesized."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.aws.app import build, new_app
from infra.aws.built import Built
from infra.aws.deployment import Deployment
from infra.aws.names import NAME
from tests.aws.templates import DOMAIN, EMAIL, FILES, World

WORLDS: Final[Mapping[str, Mapping[str, str]]] = {
    "small": {},
    "standard": {
        "profile": "standard",
        "domain": DOMAIN,
        "certificate": "arn:aws:acm:us-east-1:123456789012:certificate/0a1b2c3d-0000-1111-2222-333344445555",
        "mongo_uri_secret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:atlas-AbCdEf",
        "door_certificate": "arn:aws:acm:us-east-1:123456789012:certificate/4d5e6f70",
        "alarm_email": EMAIL,
        "budget_usd": "1000",
    },
    "gpu": {"profile": "gpu"},
}
"""By the profile's name: on its own, with everything that one may bring, and the largest on its own."""


def synthesize(context: Mapping[str, str], folder: Path) -> World:
    """Raises AssertionError where cdk-nag finds something that nobody has acknowledged."""
    files, package = folder / "files", folder / "modelrocket.zip"
    package.write_bytes(b"")
    for path in FILES:
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_text(path)
    out = folder / "cdk.out"
    app = new_app(str(out))
    deployment = Deployment.from_context(context.get)
    build(app, deployment, Built(package, files))
    try:
        app.synth()
    except RuntimeError as error:
        raise AssertionError(str(error)) from None  # pytest would read all of CDK's code to show where it was
    found = {path.name.split(".")[0].removeprefix(f"{NAME}-"): path for path in out.glob("*.template.json")}
    return World(deployment, out, {stack: json.loads(path.read_text()) for stack, path in found.items()})
