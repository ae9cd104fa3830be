"""What the command line prints reads well, and shows what is there whatever is missing."""

from __future__ import annotations

import io
import re
from typing import Any, Final

import pytest
from rich.console import Console, RenderableType

from modelrocket import printing, reporting
from modelrocket.models import Model, Version
from modelrocket.report import read_report
from modelrocket.rollout import Candidate, Limits, read_traffic

KIND: Final = {
    "judged": True,
    "rows": 7,
    "rows_refused": 0,
    "outcome": "agrees",
    "refusal": "",
    "evidence": "",
}
REPORT: Final[dict[str, Any]] = {
    "model_id": "5b1c5f5e-0000-4000-8000-000000000001",
    "number": 3,
    "state": "ready",
    "reason": None,
    "refusal": None,
    "framework": "scikit-learn 1.7",
    "bytes": 12_345,
    "created_at": "2026-01-02T03:04:05.678+00:00",
    "signature": {
        "inputs": [{"name": "modelInput", "dtype": "float32", "shape": [None, 64]}],
        "outputs": [{"name": "modelOutput", "dtype": "int64", "shape": [None]}],
    },
    "passport": {
        "load_ms": 3.2,
        "load_cold_ms": 9.1,
        "run_ms": 0.02,
        "memory_bytes": 1_500_000,
        "batches": [
            {"rows": 1, "run_ms": 0.02, "memory_bytes": 1_000_000},
            {"rows": 8, "run_ms": 0.08, "memory_bytes": 1_000_000},
        ],
        "batch_size_best": 8,
        "batch_gain": 2.0,
        "provider": "CPUExecutionProvider",
    },
    "certificate": {"batchable": True, "evidence": "7 arrangements of 7 rows answer as rows alone"},
    "optimisation": {"reason": None, "uploaded_load_ms": 5.5, "load_ms": 1.1, "largest_difference": 1e-7},
    "findings": {
        "bytes": 12_345,
        "ir_version": 8,
        "opsets": {"ai.onnx": 20, "ai.onnx.ml": 3},
        "operators": {"ai.onnx": {"Add": 1, "Mul": 3}, "ai.onnx.ml": {"Scaler": 2}},
        "nodes": 6,
        "depth": 0,
        "weights": 2,
        "weight_bytes": 260,
    },
    "receipt": {
        "compared": True,
        "rows": 522,
        "tolerance": {"relative": 1e-3, "absolute": 1e-5},
        "outputs": [
            {"name": "modelOutput", "dtype": "int64", "rows": 522, "label_flips": 1, "ties": 2},
            {"name": "probabilities", "dtype": "float32", "rows": 522, "abs_error_max": 1.5e-7},
        ],
        "outputs_left_out": 0,
        "versions": {"python": "3.11.9", "exporter": "skl2onnx 1.19"},
        "opsets": {"ai.onnx": 20},
        "platform": "Linux x86_64",
        "sample": {"rows": 540, "sha256": "ab" * 32},
        "notes": ["The input is cast."],
        "kinds": [
            {**KIND, "kind": "sample", "rows": 540},
            {**KIND, "kind": "NaN", "judged": False, "outcome": "differs", "evidence": "1 says, 2 says"},
            {
                **KIND,
                "kind": "infinite",
                "judged": False,
                "rows": 0,
                "rows_refused": 9,
                "refusal": "Odd",
            },
        ],
    },
    "hashes": {"model": "cd" * 32},
    "prepared_by": {"onnxruntime": "1.30", "host_class": "x86_64"},
}
COUNTEREXAMPLE: Final = {
    "trial": "3 rows together",
    "output": "modelOutput",
    "rows": 3,
    "position": 1,
    "expected": ["0.1", "0.2"],
    "got": ["0.3", *"abcdefgh"],
}


def printed(shown: RenderableType, *, terminal: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=terminal, markup=False, highlight=False)
    console.print(shown)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def report(**changed: Any) -> str:
    return printed(reporting.report("digits", read_report(REPORT | changed)))


def test_a_report_shows_every_section() -> None:
    shown = report()
    assert shown.splitlines()[:2] == [
        "digits version 3: ready",
        "scikit-learn 1.7, 12.3 kB, 2026-01-02 03:04:05",
    ]
    for line in (
        "input   modelInput   float32  [*, 64]",
        "load          3.2 ms, cold 9.1 ms",
        "best batch    8 rows, gain 2.00 times as fast",
        "Requests may share a run: 7 arrangements of 7 rows answer as rows alone.",
        "Served in a prepared form that loads in 1.1 ms instead of 5.5 ms.",
        "opsets     ai.onnx 20, ai.onnx.ml 3",
        "operators  Mul 3, Scaler 2, Add 1",
        "Compared with the original on 522 rows.",
        "modelOutput    int64    522   -              -         1             2",
        "made with  python 3.11.9, exporter skl2onnx 1.19",
        f"model  {'cd' * 32}",
    ):
        assert line in shown


def test_the_longest_run_has_the_longest_bar() -> None:
    one, eight = (line for line in report().splitlines() if "1.0 MB" in line)
    assert (one.split()[:4], eight.split()[:4]) == (
        ["1", "0.02", "ms", "50,000"],
        ["8", "0.08", "ms", "100,000"],
    )
    assert (one.count("━"), eight.count("━")) == (6, 24)


def test_a_counterexample_is_shown_beside_what_was_expected() -> None:
    shown = report(
        certificate={"batchable": False, "evidence": "it changed", "counterexample": COUNTEREXAMPLE}
    )
    assert "Each request runs by itself: it changed." in shown
    assert '"modelOutput" of row 2 of 3 is [0.3, a, b, c, d, e, …], by itself [0.1, 0.2].' in shown


def test_an_uploaded_form_is_served_for_a_reason() -> None:
    shown = report(optimisation={"reason": "the prepared form answered differently"})
    assert "Served as it was uploaded: the prepared form answered differently" in shown


def test_a_receipt_tells_what_came_of_each_kind_of_row() -> None:
    shown = report()
    for line in (
        r"sample +540 +agrees +judged",
        r"NaN +7 +differs +only recorded +1 says, 2 says",
        r"infinite +0 +agrees +only recorded +the original refuses 9 rows: Odd",
        r"Note: The input is cast\.",
        rf"sample +540 rows, SHA-256 {'ab' * 32}",
    ):
        assert re.search(f"^{line}$", shown, re.MULTILINE), line
    assert "does not answer like the original" not in shown


def test_a_mismatch_that_was_allowed_is_the_first_thing_in_the_receipt() -> None:
    difference = {
        "output": "modelOutput",
        "kind": "threshold",
        "rows_differing": 3,
        "rows": 512,
        "what": "first at [17]: it says 5",
        "inputs": "x = [1.0]",
    }
    mismatch = {"accepted": True, "differences": [difference], "differences_left_out": 2}
    shown = report(receipt={"compared": True, "rows": 512, "mismatch": mismatch})
    assert (
        "receipt\nIt does not answer like the original, and its owner let that pass:\n"
        '  output "modelOutput": 3 of 512 threshold rows differ; first at [17]: it says 5. '
        "Its inputs: x = [1.0].\n"
        "  and 2 more\n"
    ) in shown


def test_a_receipt_without_comparison_says_so() -> None:
    shown = report(receipt={"compared": False, "reason": "There was no original."})
    assert "receipt\nThere was no original." in shown
    assert "Compared" not in shown


def test_what_quantisation_cost_and_brought_is_shown() -> None:
    loss = {"name": "modelOutput", "agreement": 0.955, "abs_error_max": 0.25, "rel_error_max": 0.125}
    measured = {
        "bytes": 2_000_000,
        "run_ms": {"1": 0.5, "8": 2},
        "outputs": [loss],
        "outputs_together": [loss],
    }
    quantisation = {
        "method": "dynamic int8",
        "compared_with": "PyTorch 2",
        "rows_from": "generated",
        "limits": {"rel_error": 0.1, "agreement_min": 0.99},
        "accepted_loss": ["it is bad"],
        "float": measured,
        "int8": measured | {"bytes": 500_000},
    }
    shown = report(receipt={"compared": False, "reason": "No original.", "quantisation": quantisation})
    assert "Then quantised (dynamic int8), and compared with PyTorch 2 again, on rows" in shown
    assert "Its owner accepted the loss: it is bad." in shown
    for cell in ("2.0 MB", "500.0 kB", "1 rows 0.5 ms, 8 rows 2 ms", "95.5%", "2.5e-01", "1.2e-01"):
        assert cell in shown


def test_a_failed_version_says_why_and_has_no_empty_sections() -> None:
    empty = dict.fromkeys(("signature", "passport", "certificate", "optimisation", "findings", "receipt"))
    shown = report(**empty, state="failed", reason="It is an archive.", refusal="archive", prepared_by=None)
    assert "digits version 3: failed" in shown
    assert "It is an archive. (archive)" in shown
    assert [line for line in shown.splitlines() if line in {*empty, "hashes", "prepared by"}] == ["hashes"]


@pytest.mark.parametrize(
    "receipt",
    [
        {"compared": True, "outputs": "none", "tolerance": [1]},
        {"compared": True, "rows": "many", "tolerance": {"relative": "x"}},
        {"producer": {"exporter": "torch"}},
        {"versions": ["3.11"]},
    ],
)
def test_a_receipt_of_another_shape_is_shown_all_the_same(receipt: dict[str, Any]) -> None:
    assert "\nreceipt\n" in report(receipt=receipt)
    assert "\nhashes\n" in report(receipt=receipt)


def test_names_from_files_steer_no_terminal_and_are_no_markup() -> None:
    operators = {"ai.onnx": {"\x1b]0;owned\x07": 1, "[bold]Mul[/bold]": 2}}
    file = printed(
        reporting.report("d", read_report(REPORT | {"findings": {"operators": operators}})), terminal=True
    )
    assert "\x1b]" not in file
    assert "\x07" not in file
    assert "[bold]Mul[/bold] 2" in file


def test_versions_say_what_they_are_at_and_why_they_failed() -> None:
    def version(number: int, state: str, **told: Any) -> Version:
        known: dict[str, Any] = {"stage": None, "active": False, "activating": False, "reason": None}
        known |= {"bytes": 1_200_000, "sha256": "", "framework": "ONNX"}
        return Version(number=number, state=state, created_at="2026-01-02T03:04:05+00:00", **known | told)

    shown = printed(
        printing.versions(
            [
                version(1, "ready", active=True),
                version(2, "failed", reason="It is an archive."),
                version(3, "preparing", stage="measuring"),
            ]
        )
    )
    assert shown.splitlines()[1:] == [
        "1        ready                 1.2 MB  ONNX       2026-01-02 03:04:05  answers",
        "2        failed                1.2 MB  ONNX       2026-01-02 03:04:05  It is an archive.",
        "3        preparing: measuring  1.2 MB  ONNX       2026-01-02 03:04:05  -",
    ]


def test_traffic_shows_the_trial_and_what_was_counted() -> None:
    limits = {"errors_percent_max": 2.0, "latency_ratio_max": 2.0, "drift_percent_max": 5.0}
    limits |= {"requests_min": 50, "drift_tolerance": 0.1, "of_a_newer_server": 1}
    told: dict[str, Any] = {
        "active": 1,
        "previous": None,
        "activating": None,
        "candidate": {
            "version": 2,
            "percent": 10,
            "mirror_percent": 5,
            "limits": limits,
            "counts": {
                "candidate": {"requests": 10, "errors": 2, "run_us": 4000, "mirrored": 4, "differing": 1},
                "active": {"requests": 90, "errors": 0, "run_us": 0, "mirrored": 0, "differing": 0},
            },
        },
        "history": [
            {
                "at": "2026-01-02T03:04:05+00:00",
                "by": "mr_abc",
                "why": "candidate",
                "from": {"active": 1, "candidate": None, "percent": 0, "mirror_percent": 0},
                "to": {"active": 1, "candidate": 2, "percent": 10, "mirror_percent": 5},
            }
        ],
    }
    shown = printed(printing.traffic(read_traffic(told)))
    for line in (
        "version 1 answers",
        "version 2 is on trial: it answers 10 % of callers, 5 % of requests are mirrored to it",
        "above 2 % errors, 2 times the run time or 5 % answers differing by more than 0.1, judged on 50 runs",
        "2        10    2       0.500 ms  4         1",
        "1        90    0       0.000 ms  -         -",
        "2026-01-02 03:04:05  mr_abc  candidate  1     1 + 2 (10 %, 5 % mirrored)",
    ):
        assert line in shown
    away = told | {"candidate": told["candidate"] | {"counts": None}, "history": []}
    assert "mean run" in shown
    assert "mean run" not in printed(printing.traffic(read_traffic(away)))


def test_models_say_which_version_answers_and_what_is_on_its_way() -> None:
    def model(name: str, **told: Any) -> Model:
        known: dict[str, Any] = {"active": 1, "previous": None, "activating": None, "candidate": None}
        account: Any = None
        return Model(
            id=f"id-{name}",
            name=name,
            created_at="2026-01-02T03:04:05",
            url="",
            account=account,
            **known | told,
        )

    tried = Candidate(version=2, percent=10, mirror_percent=5, limits=Limits())
    listed = [model("a"), model("b", active=None, activating=1), model("c", candidate=tried)]
    assert printed(printing.models(listed)).splitlines()[1:] == [
        "a     id-a  1       -                        2026-01-02 03:04:05",
        "b     id-b  -       1 takes over soon        2026-01-02 03:04:05",
        "c     id-c  1       10 % to 2, 5 % mirrored  2026-01-02 03:04:05",
    ]


def test_nothing_yet_says_what_to_do() -> None:
    assert "modelrocket.upload" in printed(printing.models([]))
    empty: dict[str, Any] = {
        "active": None,
        "previous": None,
        "activating": 1,
        "candidate": None,
        "history": [],
    }
    assert printed(printing.traffic(read_traffic(empty))).splitlines() == [
        "no version answers yet",
        "version 1 takes over as soon as hosts have loaded it",
    ]
