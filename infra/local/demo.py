"""What `make demo` shows: a trained model becomes an API, and the API answers like the model.

Every figure printed is computed in this run.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import modelrocket
from infra.local.account import log_in_command
from infra.local.site import BUILT
from modelrocket.config import find_api_key
from modelrocket.errors import ModelRocketError

ROWS_PER_REQUEST: Final = 60
TIMED_REQUESTS: Final = 200


def main() -> int:
    console = Console(highlight=False)
    try:
        demonstrate(console)
    except (ModelRocketError, OSError) as error:
        console.print(f"[red]The demo failed:[/red] {error}")
        return 1
    return 0


def demonstrate(console: Console) -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    digits = load_digits()
    pixels = digits.data.astype(np.float32) / 16
    train_x, test_x, train_y, test_y = train_test_split(pixels, digits.target, test_size=0.3, random_state=0)

    console.rule("[bold]1. Train")
    started = time.perf_counter()
    model = MLPClassifier((64,), max_iter=1000, random_state=0).fit(train_x, train_y)
    console.print(
        f"A classifier of handwritten digits: {len(train_x)} images of 8 x 8 pixels, "
        f"{time.perf_counter() - started:.1f} s"
    )

    console.rule("[bold]2. Deploy: one line")
    console.print('[dim]>>>[/dim] modelrocket.upload(model, "digits", np.float32, (None, 64))')
    deployment = modelrocket.upload(model, "digits", np.float32, (None, 64))
    token = deployment.token or _another_token(deployment)

    console.rule("[bold]3. Call it over HTTP")
    call = Caller(deployment.url, model_id=deployment.model_id, token=token)
    answered = call.labels(test_x)
    in_process = model.predict(test_x)
    console.print(f"{len(test_x)} held-out images through POST {deployment.url}")
    console.print(f"  accuracy through the API  [bold]{np.mean(answered == test_y):.2%}[/bold]")
    console.print(f"  accuracy in process       [bold]{np.mean(in_process == test_y):.2%}[/bold]")
    console.print(f"  labels that differ        [bold]{int(np.sum(answered != in_process))}[/bold]")
    console.print(f"  one image, one connection [bold]{call.median_ms(test_x[:1]):.1f} ms[/bold] (median)")

    publish(deployment)

    console.rule("[bold]4. Your turn")
    console.print(f"model    {deployment.model_id}  (version {deployment.version})")
    console.print("\nCall it from any language; this is the first held-out image:\n")
    print(call.curl(np.round(test_x[:1], 4)))
    console.print(f"\n{where_to_look(deployment.endpoint, BUILT)}")
    console.print("To log in there and see this model, choose a password in another terminal:\n")
    print(log_in_command(os.environ))  # noqa: TID251 - for the person who set them
    console.print()


def where_to_look(endpoint: str, built: Path) -> str:
    """An address is worth opening once there is something to see. `built`: the folder of the web UI."""
    if (built / "index.html").is_file():
        return f"Or look: draw a digit at  [bold]{endpoint}/[/bold]"
    return f"Or look: make site  (Node 20.19 or newer), then draw a digit at  [bold]{endpoint}/[/bold]"


def publish(deployment: modelrocket.Deployment) -> None:
    """Let whoever opens the site try the model without a key. Repeated, it stays as it is."""
    key = find_api_key(deployment.endpoint)
    request = urllib.request.Request(
        f"{deployment.endpoint}/v1/operator/demo",
        data=json.dumps({"model_id": deployment.model_id}).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=30):
        pass


class Caller:
    """Plain HTTP, as any language would do it."""

    def __init__(self, url: str, *, model_id: str, token: str) -> None:
        self._url = url
        self._model_id = model_id
        self._token = token

    def labels(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        """What the API says of each row."""
        answers: list[Any] = []
        for start in range(0, len(rows), ROWS_PER_REQUEST):
            answers += self._post(rows[start : start + ROWS_PER_REQUEST])["result"]["modelOutput"]
        return np.array(answers)

    def median_ms(self, row: NDArray[np.float32]) -> float:
        elapsed = []
        for _ in range(TIMED_REQUESTS):
            started = time.perf_counter()
            self._post(row)
            elapsed.append(time.perf_counter() - started)
        return float(np.median(elapsed)) * 1000

    def curl(self, row: NDArray[np.float32]) -> str:
        body = json.dumps(self._body(row), separators=(",", ":"))
        return f"curl -s {self._url} -H 'Content-Type: application/json' -d '{body}'"

    def _body(self, rows: NDArray[np.float32]) -> dict[str, Any]:
        values = [[round(float(value), 4) for value in row] for row in rows]
        return {"token": self._token, "model": self._model_id, "inputs": {"modelInput": values}}

    def _post(self, rows: NDArray[np.float32]) -> Any:
        request = urllib.request.Request(
            self._url,
            data=json.dumps(self._body(rows)).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)


def _another_token(deployment: modelrocket.Deployment) -> str:
    """On a home that has seen the demo before, the first token is known to its owner only."""
    return modelrocket.Client().create_token(deployment.model_id)


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251 - this is an entry point
    sys.exit(main())
