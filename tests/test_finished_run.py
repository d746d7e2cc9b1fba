"""A finished run that is opened is the run that was returned."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sslkit
from sslkit.checksums import SUMS
from sslkit.errors import JobError, RunDirectoryError
from sslkit.experiment.running import RunResult


@pytest.fixture
def copied(tiny_run: RunResult, tmp_path: Path) -> Path:
    """The tables of a run, which may be changed."""
    for path in tiny_run.directory.root.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    return tmp_path


def test_it_is_what_the_run_returned(tiny_run: RunResult) -> None:
    opened = sslkit.open_run(str(tiny_run.directory.root))
    assert isinstance(opened, sslkit.RunResult)
    assert opened.summary == tiny_run.summary
    assert opened.summary.columns == tiny_run.summary.columns
    assert opened.results == tiny_run.results
    assert [list(map(type, row.values())) for row in opened.results] == [
        list(map(type, row.values())) for row in tiny_run.results
    ]
    assert (opened.conclusions, opened.notices, opened.failures) == (
        tiny_run.conclusions,
        tiny_run.notices,
        tiny_run.failures,
    )
    assert opened.report == tiny_run.report == tiny_run.directory.root / "report" / "index.html"
    assert opened.report.is_file()
    opened.raise_failures()


def test_results_are_one_row_a_cell(tiny_run: RunResult) -> None:
    frozen = tiny_run.results.where(arm="frozen", fraction=1.0)
    assert frozen.column("fold") == [0, 1]
    for row in frozen:
        kept = json.loads((tiny_run.directory.cell(row["cell"]) / "result.json").read_text())
        assert row == kept


def test_torch_is_not_needed(tiny_run: RunResult) -> None:
    program = (
        f"import sys, sslkit; run = sslkit.open_run({str(tiny_run.directory.root)!r}); print(run.summary)\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules), 'something heavy was loaded'"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == f"{tiny_run.summary}\n"


def test_failures_are_told_as_the_run_told_them(copied: Path) -> None:
    place = {"pretext": "rotation", "arm": "pretrained", "fraction": 0.3, "fold": 1, "repetition": 0}
    about = json.loads((copied / "run.json").read_text())
    about["failed_jobs"] = [
        {"job": "pretraining/rotation/1", "reason": "the loss is nan"},
        {"job": "cells/0123456789abcdef", "reason": "not run: it needs pretraining/rotation/1, which failed", **place},
    ]
    (copied / "run.json").write_text(json.dumps(about))
    (copied / SUMS).unlink()
    opened = sslkit.open_run(copied)
    name = "rotation pretrained, 0.3 of the labels, fold 1, repetition 0 (cells/0123456789abcdef)"
    assert [job for job, _ in opened.failures] == ["pretraining/rotation/1", name]
    with pytest.raises(
        JobError, match=r"2 jobs failed; .*\n  pretraining/rotation/1: the loss is nan\n  1 more were not"
    ):
        opened.raise_failures()


def test_no_folder_and_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=re.escape("no is not a run directory: there is no such folder. Give")):
        sslkit.open_run(tmp_path / "no")
    with pytest.raises(RunDirectoryError, match=re.escape("has no run.json: the run has not got that far")):
        sslkit.open_run(tmp_path)


def test_a_table_that_was_changed(copied: Path) -> None:
    results = copied / "results.csv"
    results.write_text(results.read_text().replace("scratch", "pretrained"))
    with pytest.raises(RunDirectoryError, match=re.escape("results.csv does not fit its checksum")):
        sslkit.open_run(copied)


@pytest.mark.parametrize(
    ("pattern", "given", "message"),
    [
        (r"^fraction", "fractoin", "lacks the column"),
        (r"(?<=pretrained,)0.3", "much", "column 'fraction' holds 'much', which is not a number"),
    ],
)
def test_a_table_that_makes_no_sense(copied: Path, pattern: str, given: str, message: str) -> None:
    (copied / SUMS).unlink()
    results = copied / "results.csv"
    text = results.read_text()
    results.write_text(
        text.replace("fraction", given, 1) if pattern == "^fraction" else re.sub(pattern, given, text, count=1)
    )
    with pytest.raises(RunDirectoryError, match=re.escape(message)):
        sslkit.open_run(copied)
