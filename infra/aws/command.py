"""The CDK command, in the version of `cdk/package-lock.json`, and the app that it deploys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.aws.built import ROOT
from infra.aws.cloud import CannotGoOn

FOLDER: Final = ROOT / "infra" / "aws" / "cdk"
CDK: Final = FOLDER / "node_modules" / ".bin" / "cdk"
_QUIET: Final = {
    "CDK_DISABLE_CLI_TELEMETRY": "true",
    "NODE_NO_WARNINGS": "1",
    "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20",  # it works, and people have it
}
_WITHOUT_ASKING: Final = ("--require-approval", "never", "--concurrency", "4")
_AGAIN: Final = "What it has said is above. Calling the same command again goes on where it stopped."


@dataclass(frozen=True, slots=True)
class Cdk:
    """`environ`: this process's, with the credentials."""

    environ: Mapping[str, str]
    region: str
    program: Path = CDK

    def bootstrap(self, account: str) -> None:
        """What CDK needs in an account and region before it can deploy there. Raises CannotGoOn."""
        self._run("bootstrap", f"aws://{account}/{self.region}")

    def deploy(self, templates: Path, stack: str | None = None) -> None:
        """One stack and those that it stands on, or all. Raises CannotGoOn."""
        which = stack or "--all"
        self._run("deploy", which, "--app", str(templates), *_WITHOUT_ASKING)

    def _run(self, *arguments: str) -> None:
        told = {**_QUIET, **self.environ, "AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        _check([str(self.program), *arguments, "--no-notices"], told, f"cdk {arguments[0]}", FOLDER)


def synthesize(context: Mapping[str, str], environ: Mapping[str, str], out: Path) -> Path:
    """`out`, with the templates. A folder for this alone: CDK reads it for as long as it deploys.

    Raises CannotGoOn.
    """
    told = {**_QUIET, **environ, "CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": str(out)}
    _check([sys.executable, "-m", "infra.aws.app"], told, "Writing the templates", ROOT)
    return out


def _check(command: Sequence[str], environ: Mapping[str, str], what: str, folder: Path) -> None:
    """`folder`: where there is a cdk.json, CDK's command runs the app that it names, needed or not."""
    ended = subprocess.run(command, env=dict(environ), cwd=folder, check=False).returncode
    if ended:
        raise CannotGoOn(f"{what} ended with exit code {ended}. {_AGAIN}")
