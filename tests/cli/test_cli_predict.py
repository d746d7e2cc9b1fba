from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import sslkit as call
from PIL import Image
from studies import tiny_config

import sslkit
from sslkit import GradedImage
from sslkit.cli import display, grading
from sslkit.cli.grading import GradingProgress, print_json
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve

NOTICE = "Not a medical device: for research only."


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of three scans each."""
    root = tmp_path_factory.mktemp("scans")
    dataset = resolve(tiny_config(), sslkit.build_registry()).make_dataset()
    for number, record in enumerate(dataset.records()[:6]):
        path = root / ("left", "right")[number % 2] / f"{number // 2}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(dataset.read(record)).save(path)  # type: ignore[arg-type]
    return root


def test_a_table_of_answers_is_shown(tiny_run: RunResult, scans: Path) -> None:
    outcome = call("predict", tiny_run.directory.root, scans)

    assert outcome.status == 0
    assert outcome.err == ""
    assert "referable" in outcome.out
    assert outcome.out.endswith(f"{NOTICE}\n")
    assert len(re.findall(r"(?:yes|no) [01]\.\d\d", outcome.out)) == 6


def test_a_pattern_is_graded_into_a_table_with_pictures(tiny_run: RunResult, scans: Path, tmp_path: Path) -> None:
    outcome = call(
        *("predict", tiny_run.directory.root, scans / "**" / "*.png"),
        *("--output", tmp_path / "grades.csv", "--cam", tmp_path / "heat"),
    )

    with (tmp_path / "grades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = list(sslkit.predict(tiny_run.directory.root, [scans]))
    assert [row["image"] for row in rows] == [image.image for image in expected]
    for row, image in zip(rows, expected, strict=True):
        shares = list((image.probabilities or {}).values())
        assert [float(row[f"p_{k}"]) for k in range(5)] == pytest.approx(shares, abs=1e-5)
        assert row["referable"] == str(image.referable).lower()
    assert outcome.status == 0
    assert outcome.out == ""
    assert outcome.err == f"Answers: {tmp_path}/grades.csv\nPictures: {tmp_path}/heat\n{NOTICE}\n"
    assert len(list((tmp_path / "heat").iterdir())) == 6


def test_a_listed_image_that_cannot_be_read_is_reported_and_the_rest_are_graded(
    tiny_run: RunResult, scans: Path, tmp_path: Path
) -> None:
    table = tmp_path / "list.tsv"
    table.write_text("file\teye\nleft/0.png\tL\nabsent.png\tL\nright/2.png\tR\n")
    run = tiny_run.directory.root
    options = ("--image-column", "file", "--root", scans, "--arm", "scratch")

    outcome = call("predict", run, table, *options, "--json", "--output", tmp_path / "grades.json")

    answers = json.loads(outcome.out)
    assert outcome.status == 1
    assert [answer["grade"] is None for answer in answers] == [False, True, False]
    assert json.loads((tmp_path / "grades.json").read_text()) == answers
    assert f"Error: {scans}/absent.png cannot be read: No such file or directory\n" in outcome.err
    assert outcome.err.endswith(f"1 of 3 images could not be read.\n{NOTICE}\n")
    plain = call("predict", run, table, *options)
    assert plain.out.count("scans") == 2
    assert plain.status == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{scans}/*.jpg"], "no file fits the pattern"),
        (["{empty}"], "no image in the folder"),
        (["{scans}", "--output", "grades.xlsx"], "ends in .csv or .json"),
        (["{scans}", "--output", "{empty}/no/grades.csv"], "there is no folder"),
        (["{scans}", "--cam", "{empty}/file"], "/file is a file; give a folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_a_model_is_loaded(
    tiny_run: RunResult,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(Predictor, "open", None)
    (tmp_path / "file").touch()
    given = [argument.format(scans=scans, empty=tmp_path) for argument in arguments]
    outcome = call("predict", tiny_run.directory.root, *given)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err


def answers(count: int, error: str | None = None) -> Iterator[GradedImage]:
    for number in range(count):
        if error is None:
            yield GradedImage(f"{number}.png", 0, "No", {"No": 0.75, "Yes": 0.25}, False, 0.25)
        else:
            yield GradedImage(f"{number}.png", error=error)


def test_json_is_printed_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    printed = print_json(answers(3))
    next(printed)
    next(printed)
    begun = capsys.readouterr().out
    assert begun.startswith("[\n  {")
    assert '"1.png"' in begun
    assert len(list(printed)) == 1
    assert [answer["image"] for answer in json.loads(begun + capsys.readouterr().out)] == ["0.png", "1.png", "2.png"]


def test_a_long_table_is_printed_in_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    taken = 0

    def counted() -> Iterator[GradedImage]:
        nonlocal taken
        for answer in answers(250):
            if taken in (100, 200):
                assert f"{taken - 1}.png" in capsys.readouterr().out
            taken += 1
            yield answer

    with GradingProgress(250) as progress:
        progress.show(progress.follow(counted()))

    assert (progress.done, progress.unread, taken) == (250, 0, 250)
    assert "249.png" in capsys.readouterr().out


def test_elsewhere_than_in_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = itertools.count(step=2)
    monkeypatch.setattr(grading.time, "monotonic", lambda: float(next(clock)))
    with GradingProgress(20) as progress:
        list(progress.follow(answers(20)))
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 7
    assert all(re.fullmatch(r"Graded \d+ of 20 images \(\d\.\d images/s\)", line) for line in lines)


def test_in_a_terminal_there_is_a_bar_where_there_is_something_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = display.make_console
    monkeypatch.setenv("TERM", "xterm")

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown_of(total: int, screen: io.StringIO | None = None) -> str:
        screen = Screen() if screen is None else screen

        def make_console(**options: Any) -> Any:
            console = made(**options)
            console.file, console._force_terminal, console.width, console.is_interactive = screen, True, 100, True
            return console

        monkeypatch.setattr(grading, "make_console", make_console)
        with GradingProgress(total) as progress:
            list(progress.follow(answers(total)))
        return screen.getvalue()

    assert shown_of(3) == ""
    bar = shown_of(30)
    assert "Grading" in bar
    assert "30/30" in bar
    assert "images/s" in bar
    assert shown_of(30, io.StringIO()) == ""  # a file, which FORCE_COLOR makes no screen


def test_names_of_what_cannot_be_read_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    with GradingProgress(1) as progress:
        list(progress.follow([GradedImage("\x1b[2J.png", error="two\nlines")]))
    assert capsys.readouterr().err == "Error: \\x1b[2J.png cannot be read: two\\nlines\n"
    assert progress.unread == 1
