"""A model's pages: an upload seen arriving, its report, who answers, and deleting."""

from __future__ import annotations

import hashlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import onnx
import pytest
from playwright.sync_api import Locator, Page, expect

from modelrocket import ApiError, Client
from tests.support import graphs, onnx_models
from tests.support.stack import RunningStack
from tests.web.conftest import Member

PREPARED_MS = 60_000
ROWS = np.ones((2, 1), np.float32)


class Held(httpx.BaseTransport):
    """The network, but for files: they are sent on once `released`."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self._network = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            assert self.released.wait(PREPARED_MS / 1000)
        return self._network.handle_request(request)

    def close(self) -> None:
        self._network.close()


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def upload(member: Member, name: str, graph: onnx.ModelProto, *, activate: bool = True) -> str:
    """The model's id. Fast: there is nothing to convert."""
    return member.client.upload(graph, name, activate=activate, progress=False).model_id


@pytest.fixture
def held() -> Held:
    return Held()


def test_a_first_upload_is_seen_arriving(member: Member, stack: RunningStack, held: Held) -> None:
    page = member.page("/models")
    expect(page.get_by_role("heading", name="Upload your first model")).to_be_visible()
    expect(page.get_by_label("the upload", exact=True)).to_contain_text(f'Client("{stack.base_url}"')
    with ThreadPoolExecutor(1) as threads, Client(stack.base_url, member.key, transport=held) as client:
        arriving = threads.submit(client.upload, graphs.marked(1), "first", progress=False)
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name="first"))
        expect(row).to_contain_text("Version 1: uploading")
        row.get_by_role("link", name="first").click()
        steps = section(page, "Version 1 is on its way").get_by_role("listitem")
        expect(steps.first).to_have_attribute("aria-current", "step")
        expect(steps.first).to_contain_text("Uploading: under way")
        held.released.set()
        expect(page.get_by_text("active", exact=True).first).to_be_visible(timeout=PREPARED_MS)
        expect(section(page, "Version 1 is on its way")).to_have_count(0)
        expect(page.get_by_role("row").filter(has_text="modelOutput")).to_contain_text("Output")
        assert arriving.result().version == 1


def test_a_failed_version_says_why_and_the_one_before_goes_on(member: Member, stack: RunningStack) -> None:
    model_id = upload(member, "broken", graphs.marked(1))
    page = member.page(f"/models/{model_id}")
    _upload_no_model(stack, member, "broken")
    failed = page.get_by_role("alert").filter(has_text="Version 2 cannot be served")
    expect(failed).to_contain_text("ONNX", timeout=PREPARED_MS)
    expect(failed).to_contain_text("Version 1 goes on answering")
    failed.get_by_role("link", name="Its report").click()
    expect(page.get_by_role("heading", level=2, name="Version 2")).to_be_visible()
    expect(page.get_by_role("alert").get_by_role("code")).to_have_text("not_onnx")


def test_a_report_shows_the_row_that_speaks_against_batching(member: Member) -> None:
    model_id = upload(member, "centred", onnx.load_from_string(onnx_models.centred()))
    page = member.page(f"/models/{model_id}/versions/1")
    expect(section(page, "Certificate")).to_contain_text("Each request runs by itself.")
    found = section(page, "Counterexample")
    rows = (found.get_by_role("row").filter(has_text=name) for name in ("By itself", "In company"))
    alone, together = rows
    expect(alone).to_be_visible()
    assert alone.get_by_role("cell").all_inner_texts() != together.get_by_role("cell").all_inner_texts()
    expect(section(page, "Receipt")).to_contain_text("Nothing was compared")
    expect(section(page, "Firewall findings")).to_contain_text(re.compile("ReduceMax . 1"))


def test_a_canary_is_started_watched_ended_and_a_takeover_rolled_back(member: Member) -> None:
    upload(member, "digits", graphs.marked(1))
    model_id = upload(member, "digits", graphs.marked(2), activate=False)
    page = member.page(f"/models/{model_id}/traffic")
    answers, change = section(page, "Who answers"), section(page, "Change who answers")
    change.get_by_role("radio", name=re.compile("Canary")).click()
    change.get_by_label("Share of callers").fill("40")
    change.get_by_label("Compared requests").fill("100")
    change.get_by_role("button", name="Start with 40 % of callers").click()
    expect(answers).to_contain_text("Version 1 answers 60 % of callers, version 2 40 %.")
    for _ in range(5):
        member.client.predict("digits", ROWS)
    differing = page.get_by_role("row").filter(has_text="Compared answers that differ")
    expect(differing).to_contain_text(re.compile(r"100 %.*[1-5] of 50 compared.*still counting"))

    answers.get_by_role("button", name="End the trial").click()
    _confirm(page, "End the trial")
    expect(answers).to_contain_text("Version 1 answers all callers.")
    expect(section(page, "History")).to_contain_text("Trial of version 2 ended")

    change.get_by_role("radio", name=re.compile("All traffic")).click()
    change.get_by_role("button", name="Give version 2 all traffic").click()
    _confirm(page, "Activate version 2")
    expect(answers).to_contain_text("Version 2 answers all callers.", timeout=PREPARED_MS)
    answers.get_by_role("button", name="Roll back to version 1").click()
    _confirm(page, "Roll back to version 1")
    expect(answers).to_contain_text("Version 1 answers all callers.")
    expect(section(page, "History")).to_contain_text("Version 1 took over from version 2")
    assert member.client.model("digits").traffic().active == 1


def test_a_token_made_here_lasts_until_the_model_is_deleted_by_name(
    member: Member, stack: RunningStack
) -> None:
    model_id = upload(member, "unloved", graphs.marked(1))
    page = member.page(f"/models/{model_id}/settings")
    tokens = section(page, "Tokens")
    tokens.get_by_label("Name of a new token").fill("website")
    tokens.get_by_role("button", name="Make a token").click()
    secret = tokens.get_by_role("status").get_by_role("code").inner_text()
    tokens.get_by_role("button", name="I have kept it").click()
    expect(page.get_by_text(secret)).to_have_count(0)
    expect(tokens.get_by_role("row").filter(has_text="website")).to_contain_text("live")
    tokens.get_by_label("Name of a new token").fill("website")
    tokens.get_by_role("button", name="Make a token").click()
    expect(tokens.get_by_role("status").get_by_role("code")).not_to_have_text(secret)
    tokens.get_by_role("button", name="I have kept it").click()
    expect(tokens.get_by_role("row").filter(has_text="website")).to_have_count(2)
    with Client(stack.base_url) as caller:
        caller.predict(model_id, ROWS, token=secret)
        page.get_by_role("button", name="Delete unloved").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("kept for 7 days")
        delete = dialog.get_by_role("button", name="Delete this model")
        dialog.get_by_label("Type unloved to confirm").fill("unlove")
        expect(delete).to_be_disabled()
        dialog.get_by_label("Type unloved to confirm").fill("unloved")
        delete.click()
        expect(page).to_have_url(re.compile("/models$"))
        expect(page.get_by_role("heading", name="Upload your first model")).to_be_visible()
        assert member.client.models() == ()
        with pytest.raises(ApiError, match="no such model"):
            caller.predict(model_id, ROWS, token=secret)


def _confirm(page: Page, action: str) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=action, exact=True).click()
    expect(dialog).to_have_count(0)


def _upload_no_model(stack: RunningStack, member: Member, name: str) -> None:
    """The Python client would not have sent it."""
    data = b"This is not a model."
    announced = {
        "name": name,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "framework": "none",
    }
    headers = {"Authorization": f"Bearer {member.key}"}
    with httpx.Client(base_url=stack.base_url, headers=headers) as api:
        begun = api.post("/v1/models", json=announced).raise_for_status().json()
        for part in begun["upload"]["parts"]:
            httpx.put(part["url"], content=data, headers=part["headers"]).raise_for_status()
        path = f"/v1/models/{begun['model']['id']}/versions/{begun['version']['number']}"
        api.post(f"{path}/complete").raise_for_status()
