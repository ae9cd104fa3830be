"""The command that asks a deployed model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from modelrocket import config
from modelrocket.commands.interface import MODEL, Command, Outcome
from modelrocket.commands.terminal import first_line
from modelrocket.errors import ConfigurationError

_STDIN = "-"


def _predict(parsed: argparse.Namespace) -> Iterator[Outcome]:
    from modelrocket import printing
    from modelrocket.client import Client

    inputs, token = _inputs(parsed), _token(parsed)
    with Client() as client:
        answer = client.predict(parsed.model, inputs, token=token)
    yield Outcome(_content(answer), lambda: printing.answer(answer), dense=True)


def _inputs(parsed: argparse.Namespace) -> Any:
    from modelrocket.rows import parsed_rows, read_rows

    if parsed.input is not None:
        return parsed_rows(parsed.input, what="--input")
    return read_rows(parsed.file)


def _token(parsed: argparse.Namespace) -> str | None:
    """None leaves it to the API key."""
    if not parsed.token_stdin:
        return config.model_token()
    token = first_line()
    if not token:
        raise ConfigurationError("No token was given on standard input.")
    return token


def _content(answer: Any) -> Any:
    """As the endpoint writes tensors in JSON: null stands for what is no number."""
    import orjson

    from modelrocket.tensors import encode

    named = answer if isinstance(answer, dict) else {"": answer}
    plain = {
        name: orjson.loads(orjson.dumps(encode(array), option=orjson.OPT_SERIALIZE_NUMPY))
        for name, array in named.items()
    }
    return plain if isinstance(answer, dict) else plain[""]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=f"{MODEL}; without an API key the id")
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--input", metavar="JSON", help="rows, or an object of rows by input name")
    told = "rows in a .json, .csv, .npy or .npz file; - reads JSON from standard input"
    rows.add_argument("--file", metavar="FILE", help=told)
    told = f"read the model's token from standard input; else {config.TOKEN_VARIABLE} or the API key asks"
    parser.add_argument("--token-stdin", action="store_true", help=told)


def _wrong(parsed: argparse.Namespace) -> str | None:
    both = parsed.token_stdin and parsed.file == _STDIN
    return "standard input holds either the rows or the token" if both else None


COMMANDS = (
    Command(
        "predict",
        "ask a deployed model",
        "Sends rows to a model and shows what it answers. Your API key asks, or the model's own token (the "
        f"one that `upload` showed) where {config.TOKEN_VARIABLE} or --token-stdin gives it.",
        (
            "modelrocket predict iris --input '[[5.1, 3.5, 1.4, 0.2]]'",
            "modelrocket predict iris --file rows.csv --json",
            "modelrocket predict iris --file rows.npy --token-stdin < token.txt",
            "echo '[[5.1, 3.5, 1.4, 0.2]]' | modelrocket predict iris --file -",
        ),
        _arguments,
        _predict,
        _wrong,
    ),
)
