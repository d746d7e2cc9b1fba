"""What stands at the end of a run: a table that fits, what it shows, and commands that can be copied."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hostile import NAMES

from sslkit.cli.display import show_result
from sslkit.cli.display.shell import next_commands, shell_word
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.run_result import RunResult
from sslkit.experiment.table import Table

EVERY_COMMAND = ["report", "predict", "export", "embed", "serve", "run"]


def row(pretext: str, arm: str, fraction: float, mean: float | None, **more: Any) -> dict[str, Any]:
    spread = {"qwk_min": None if mean is None else mean - 0.5, "qwk_max": None if mean is None else mean + 0.1}
    return {
        "pretext": pretext,
        "arm": arm,
        "fraction": fraction,
        "labels": 100 * fraction,
        "qwk_mean": mean,
        **spread,
        **more,
    }


def result(*rows: dict[str, Any], **changes: Any) -> RunResult:
    given = {"directory": RunDirectory(Path("/runs/dr")), "conclusions": [], "notices": [], "failures": [], **changes}
    return RunResult(summary=Table(rows), **given)


def printed(shown: RunResult, capsys: pytest.CaptureFixture[str], width: int = 80, **options: Any) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        show_result(shown, **options)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_arms_are_compared_at_each_share(capsys: pytest.CaptureFixture[str]) -> None:
    no = {"delta": 0.01234, "verdict": "no difference shown"}
    lines = printed(
        result(
            row("rotation", "pretrained", 0.05, 0.6, delta=0.05, verdict="benefit"),
            row("rotation", "pretrained", 1.0, 0.7, **no),
            row("", "scratch", 0.05, 0.55, delta=None, verdict=None),
            row("", "scratch", 1.0, None, delta=None, verdict=None),
            row("rotation", "frozen", 0.05, 0.2, delta=-0.35, verdict="harm"),
        ),
        capsys,
    )
    assert [line.split() for line in lines if line][:10] == [
        ["Quadratic", "weighted", "kappa", "on", "test", "folds"],
        ["mean", "min..max", "difference", "to", "scratch"],
        [lines[2].strip()],
        ["5", "%,", "5", "labels"],
        ["rotation", "pretrained", "0.600", "0.100..0.700", "+0.050", "benefit"],
        ["rotation", "frozen", "0.200", "-0.300..0.300", "-0.350", "harm"],
        ["scratch", "0.550", "0.050..0.650"],
        ["100", "%,", "100", "labels"],
        ["rotation", "pretrained", "0.700", "0.200..0.800", "+0.012", "no", "difference", "shown"],
        ["scratch", "undefined"],
    ]


def test_a_run_without_a_comparison_has_no_column_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(printed(result(row("", "scratch", 1.0, 0.5)), capsys))
    assert "0.500" in text
    assert "difference" not in text


def test_a_wide_tournament_stays_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["rotation-invariant", "relative-patch", "a-task-with-a-name-that-goes-on-and-on", *"abcdefghijklmno"]
    rows = [
        row(name, arm, share, -0.123, delta=-0.123, verdict="no difference shown")
        for name in names
        for arm in ("pretrained", "frozen")
        for share in (0.05, 0.1, 0.25, 0.5, 1.0)
    ]
    lines = printed(result(*rows), capsys)
    assert max(map(len, lines)) <= 80
    numbers = [line for line in lines if "no difference shown" in line]
    assert len(numbers) == len(rows)
    assert {line[-49:] for line in numbers} == {"-0.123 -0.623..-0.023     -0.123 no difference shown"[-49:]}


def test_what_was_found_and_what_may_be_done_next(capsys: pytest.CaptureFixture[str]) -> None:
    found = result(conclusions=["It helps."], notices=["Synthetic."], directory=RunDirectory(Path("/runs/my run")))
    assert printed(found, capsys, commands=EVERY_COMMAND) == [
        "It helps.",
        "",
        "Synthetic.",
        "",
        "Report: /runs/my run/report/index.html",
        "Next:   sslkit predict '/runs/my run' PHOTOGRAPH.jpg",
        "        sslkit serve '/runs/my run'",
        "        sslkit export '/runs/my run' '/runs/my run-weights'",
        "        sslkit embed '/runs/my run' --output '/runs/my run-features.npz'",
        "        sslkit report '/runs/my run'",
    ]


def test_of_a_run_that_failed_nothing_is_to_be_done_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(result(failures=[("a", "b")]), capsys, commands=EVERY_COMMAND) == [
        "Report: /runs/dr/report/index.html"
    ]


def test_only_commands_that_there_are_are_named() -> None:
    assert next_commands(Path("/runs/dr"), ["run", "report"]) == ["sslkit report /runs/dr"]
    assert next_commands(Path("/runs/dr"), []) == []


@pytest.mark.parametrize("name", [*NAMES, "it's", "tab\tand\\back", "$HOME `id`", "é\x1b", "\udcff\udc80x"])
def test_a_shell_reads_a_word_back_as_it_was(name: str) -> None:
    word = shell_word(name)
    assert word.isprintable()
    if name.isprintable():
        assert shlex.split(word) == [name]
    if shutil.which("bash"):
        done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
        assert done.stdout.decode(errors="surrogateescape") == name
