"""Every code sample that a page shows, run as it stands by the real interpreter, gets the model's answer."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import ModelProto, helper
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from modelrocket import Client
from tests.support import onnx_models
from tests.support.browser import person
from tests.support.programs import needed
from tests.support.stack import RunningStack
from tests.web.conftest import PASSWORD, posted

RUN_SECONDS = 60
NASTY = (
    "quotes ' \" ` and \"\"\" and '''",
    "back\\slash \\n \\u0041 at the end \\",
    "lines\nof\r\ntext\tand tabs",
    "$HOME ${process.exit(1)} $(exit 1) `exit 1` %s #{1} {0}",
    "ends like a raw text )",
    "and like a longer one )-",
    "END\nEND\nJSON",
    "München 日本 🚀 👩\u200d👧 \u202e\u2028\ufeff",
    "",
)
BEYOND_FLOATS = (2**53 + 1, -(2**63), 2**63 - 1, 0)


@dataclass(frozen=True)
class Language:
    """`tab`: what the page calls it. `command`: what runs `file`."""

    tab: str
    file: str
    command: tuple[str, ...]
    packages: tuple[str, ...] = ()


LANGUAGES = (
    Language("curl", "sample.sh", ("bash",), ("curl",)),
    Language("Python", "sample.py", ("python3",)),
    Language("Python client", "sample_client.py", (sys.executable,)),
    Language("JavaScript", "sample.js", ("node",)),
    Language("Go", "sample.go", ("go", "run")),
    Language("R", "sample.R", ("Rscript",), ("R",)),
)


@dataclass(frozen=True)
class Shown:
    """What the page of one model shows.

    `code`: by language. `folder`: with the file that long inputs are read from. `answer`: the model's own.
    """

    code: Mapping[str, str]
    folder: Path
    model_id: str
    token: str
    answer: Mapping[str, Any]


def pictures() -> ModelProto:
    """`x: float32 [n, 3, 16, 16] → y: float32 [n, 3]`, the mean of each colour."""
    return onnx_models.model(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)],
        [onnx_models.value("x", ("n", 3, 16, 16))],
        [onnx_models.value("y", ("n", 3))],
    )


def given_back(**kinds: tuple[str, int]) -> ModelProto:
    """Each input `name: dtype [n, columns]` as `same_name`."""
    return onnx_models.model(
        [helper.make_node("Identity", [name], [f"same_{name}"]) for name in kinds],
        [onnx_models.value(name, ("n", columns), dtype) for name, (dtype, columns) in kinds.items()],
        [
            onnx_models.value(f"same_{name}", ("n", columns), dtype)
            for name, (dtype, columns) in kinds.items()
        ],
    )


def digits() -> LogisticRegression:
    rows, labels = load_digits(return_X_y=True)
    return LogisticRegression(max_iter=200).fit(rows[:300].astype(np.float32), labels[:300])


TEXT = ("string", len(NASTY))
NUMBER = ("int64", len(BEYOND_FLOATS))
SAMPLE = {"text": np.array([NASTY], object), "number": np.array([BEYOND_FLOATS], np.int64)}
PICTURE = np.random.default_rng(5).random((1, 3, 16, 16), np.float32)
MODELS: Mapping[str, tuple[Callable[[], object], Mapping[str, Any]]] = {
    "digits": (digits, {"input_type": np.float32, "input_shape": (None, 64)}),
    "texts": (partial(given_back, text=TEXT), {"sample": SAMPLE["text"]}),
    "texts and numbers": (partial(given_back, text=TEXT, number=NUMBER), {"sample": SAMPLE}),
    "pictures": (pictures, {"sample": PICTURE}),
}


@pytest.fixture(scope="module")
def page(browser: Browser, stack: RunningStack) -> Iterator[Page]:
    with person(browser, stack.base_url) as member:
        posted(member, "/v1/accounts", {"email": "samples@example.org", "password": PASSWORD})
        yield member.page("/models")


@pytest.fixture(scope="module")
def key(page: Page) -> str:
    scopes = ["infer", "models:read", "models:write", "keys"]
    headers = {"X-Rocket-Request": "1", "Sec-Fetch-Site": "same-origin"}
    made = page.request.post("/v1/keys", data={"scopes": scopes}, headers=headers)
    return str(made.json()["secret"])


@pytest.fixture(scope="module")
def shown(
    page: Page, key: str, stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Shown]:
    found = {}
    with Client(stack.base_url, key) as client:
        for name, (make, told) in MODELS.items():
            deployed = client.upload(make(), name, **told, progress=False)
            assert deployed.token is not None
            report = httpx.get(
                f"{stack.base_url}/v1/models/{deployed.model_id}/versions/1/report",
                headers={"Authorization": f"Bearer {key}"},
            )
            answer = client.predict(deployed.model_id, report.json()["example"]["inputs"])
            named = answer if isinstance(answer, dict) else {deployed.outputs[0].name: answer}
            folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
            code = read_page(page, deployed.model_id, folder)
            found[name] = Shown(code, folder, deployed.model_id, deployed.token, named)
    return found


def read_page(page: Page, model_id: str, folder: Path) -> dict[str, str]:
    """The samples by language; the file that they read, where there is one, is downloaded into the folder."""
    page.goto(f"/models/{model_id}/code")
    code = {}
    for language in LANGUAGES:
        page.get_by_role("tab", name=language.tab, exact=True).click()
        sample = page.get_by_label(f"the {language.tab} sample", exact=True)
        expect(page.get_by_text(language.file, exact=True)).to_be_visible()
        code[language.tab] = sample.text_content() or ""
    if "request.json" in code["curl"]:
        with page.expect_download() as download:
            page.get_by_role("button", name="Download request.json").click()
        download.value.save_as(folder / download.value.suggested_filename)
    return code


@pytest.fixture(scope="session")
def go_folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Where Go keeps what it compiled, so that it does so once."""
    folder = tmp_path_factory.mktemp("go")
    return {"GOCACHE": str(folder / "cache"), "GOPATH": str(folder / "path"), "GO111MODULE": "off"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.tab)
def test_a_sample_as_shown_gets_the_models_own_answer(
    language: Language, model: str, shown: dict[str, Shown], go_folders: Mapping[str, str]
) -> None:
    need(language)
    seen = shown[model]
    ran = run(language, seen.code[language.tab], seen.folder, {**go_folders, "MODELROCKET_TOKEN": seen.token})
    assert ran.returncode == 0, ran.stderr
    assert_same(printed(ran.stdout, tuple(seen.answer)), seen.answer)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.tab)
def test_a_sample_says_why_it_was_refused(
    language: Language, shown: dict[str, Shown], go_folders: Mapping[str, str]
) -> None:
    need(language)
    seen = shown["digits"]
    wrong = seen.token[:-1] + ("a" if seen.token[-1] != "a" else "b")
    ran = run(language, seen.code[language.tab], seen.folder, {**go_folders, "MODELROCKET_TOKEN": wrong})
    assert ran.returncode != 0
    assert "token" in (ran.stdout + ran.stderr).replace("MODELROCKET_TOKEN", "").lower()


def test_a_token_made_on_the_page_is_shown_once_and_runs_that_model(
    page: Page, shown: dict[str, Shown], stack: RunningStack
) -> None:
    seen = shown["pictures"]
    page.goto(f"/models/{seen.model_id}/code")
    page.get_by_role("button", name="Make a token for this model").click()
    line = page.get_by_label("the line that sets the token", exact=True)
    expect(line).to_contain_text("mr_")
    expect(page.get_by_text("Copy it now")).to_be_visible()
    token = (line.text_content() or "").removeprefix("export MODELROCKET_TOKEN=").strip()
    request = (seen.folder / "request.json").read_bytes()
    answers = httpx.post(
        f"{stack.base_url}/inference", content=request, headers={"Authorization": f"Bearer {token}"}
    )
    assert answers.status_code == httpx.codes.OK, answers.text
    page.reload()
    expect(line).to_have_text("export MODELROCKET_TOKEN=mr_…")


def need(language: Language) -> None:
    """The interpreter, and R's packages: Debian has them in packages of their own."""
    for name in (language.command[0], *(name for name in language.packages if name != "R")):
        needed(name)
    if "R" in language.packages:
        asked = ["Rscript", "-e", "library(httr); library(jsonlite)"]
        if subprocess.run(asked, capture_output=True, check=False).returncode:
            needed("httr and jsonlite for R")


def run(
    language: Language, code: str, folder: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    (folder / language.file).write_text(code, encoding="utf-8")
    return subprocess.run(
        [*language.command, language.file],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=RUN_SECONDS,
        check=False,
    )


def printed(text: str, outputs: tuple[str, ...]) -> dict[str, Any]:
    """What a sample printed, by output: JSON, or what numpy's arrays are as lists."""
    try:
        found = json.loads(text)
    except ValueError:
        found = ast.literal_eval(text)
    if not isinstance(found, dict):
        return {outputs[0]: found}
    return dict(found.get("result", found))


def assert_same(found: dict[str, Any], answer: Mapping[str, Any]) -> None:
    assert found.keys() == answer.keys()
    for name, expected in answer.items():
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(np.array(found[name], float), expected, rtol=1e-5, atol=1e-6)
        else:
            assert found[name] == expected.tolist()
