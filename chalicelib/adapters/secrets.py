"""Settings that say where their value is kept: the ARN of a secret stands for what is in it.

A function's environment is shown to whoever may list functions; its secrets are read when it starts, by its
own role. Nothing is read where no variable names a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import DependencyFailed

_ARN: Final = re.compile(r"arn:[a-z-]+:secretsmanager:([a-z0-9-]+):\d{12}:secret:[A-Za-z0-9/_+=.@-]+")


def revealed(environ: Mapping[str, str]) -> dict[str, str]:
    """The same environment with the secrets themselves. Raises DependencyFailed.

    Credentials come from botocore's own chain, the region from each ARN.
    """
    named = {name: found for name, text in environ.items() if (found := _ARN.fullmatch(text))}
    clients = {region: _client(region) for region in {found[1] for found in named.values()}}
    try:
        secrets = {name: _value(clients[found[1]], found[0]) for name, found in named.items()}
    except (BotoCoreError, ClientError) as error:
        raise DependencyFailed("The platform cannot read its own settings. Try again shortly.") from error
    return {**environ, **secrets}


def _client(region: str) -> Any:
    config = Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 3, "mode": "standard"})
    return botocore.session.Session().create_client("secretsmanager", region_name=region, config=config)


def _value(client: Any, arn: str) -> str:
    return str(client.get_secret_value(SecretId=arn)["SecretString"])
