"""Stands for a function's process: started with an unpacked package alone, it answers what comes on stdin.

    python -I -S -B function.py PACKAGE < CALLS

CALLS: a list in JSON; each has an `event` for the API's handler, or an `expression` about the control plane
`plane` and the modules that it `imports`. Written to stdout: what came of each, and which of the package's
files were compiled while the application started.
"""

import importlib
import json
import sys
from typing import Any

PACKAGE = sys.argv[1]
compiled: list[str] = []


def main() -> None:
    sys.path.insert(0, PACKAGE)
    sys.addaudithook(_note)
    app = importlib.import_module("app")
    at_start = list(compiled)
    answers = [_answer(call, app.app) for call in json.load(sys.stdin)]
    print(json.dumps({"answers": answers, "compiled": at_start}))


def _note(event: str, arguments: Any) -> None:
    if event == "compile" and str(arguments[1]).startswith(PACKAGE):
        compiled.append(str(arguments[1])[len(PACKAGE) + 1 :])


def _answer(call: dict[str, Any], handler: Any) -> Any:
    if "event" in call:
        return handler(call["event"], None)
    names = {name: importlib.import_module(name) for name in call.get("imports", ())}
    plane = importlib.import_module("chalicelib.wiring").control_plane()
    return eval(call["expression"], {"plane": plane, **names})


if __name__ == "__main__":
    main()
