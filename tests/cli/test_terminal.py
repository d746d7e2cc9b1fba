"""What others wrote is text in a terminal: it sets no title, clears no screen, and is no markup."""

from __future__ import annotations

import ast
import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hostile import NAMES, STEERING
from rich.console import Console

import sslkit.cli
from sslkit.cli import display, main
from sslkit.cli.display import audit, console, grades, plan, plugins, progress, result
from sslkit.cli.display.live_progress import LiveProgress
from sslkit.cli.display.plain_progress import PlainProgress
from sslkit.engine.precision import Compute
from sslkit.errors import DataError, JobError
from sslkit.experiment.dry_run import DryRun
from sslkit.experiment.forecast import Forecast, OnWorkers, Wave
from sslkit.experiment.prediction import GradedImage
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.run_result import RunResult
from sslkit.experiment.table import Table
from sslkit.printable import printable
from sslkit.registry import BrokenPlugin, PluginInfo, Registry


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the consoles print into a wide terminal without colours."""
    screen = io.StringIO()
    made = display.make_console

    def make_console(**options: Any) -> Console:
        wide = made(**options)
        wide.file, wide.width = screen, 5000
        return wide

    for module in (audit, grades, plan, plugins, progress, result):
        monkeypatch.setattr(module, "make_console", make_console)
    return screen


def holds_every_name_as_text(screen: str) -> None:
    assert not STEERING.intersection(screen)
    for name in NAMES:
        assert printable(name, keep="") in screen


def summary_row(name: str) -> dict[str, Any]:
    return {"pretext": name, "arm": name, "labels": 1, "fraction": 0.1, "qwk_min": 0.1, "qwk_mean": None, "qwk_max": 1}


def test_a_run_of_strangers_names(shown: io.StringIO) -> None:
    directory, rows = RunDirectory(Path(NAMES[0])), Table(summary_row(name) for name in NAMES)
    display.show_result(RunResult(directory, rows, list(NAMES), list(NAMES), []))
    holds_every_name_as_text(shown.getvalue())


def test_a_plan_of_strangers_names(shown: io.StringIO) -> None:
    counts = dict.fromkeys(NAMES, 1)
    waves = tuple(Wave("cells", name, name, 2, 1, "", 1.0) for name in NAMES[:12])
    ends = (OnWorkers(1, True, 1.0, 1.0),)
    strange = Forecast("cost", "thousand images", waves, ends, tuple(NAMES), 1.0, 1, 1.0)
    found = DryRun(
        Path(NAMES[9]),
        1,
        counts,
        1,
        1,
        1,
        1,
        {0.1: 1},
        Compute("cpu", "fp32"),
        1,
        list(NAMES),
        None,
        NAMES[0],
        NAMES[1],
        strange,
    )
    display.show_plan(found)
    holds_every_name_as_text(shown.getvalue())


def test_an_audit_of_strangers_names(shown: io.StringIO) -> None:
    counts = dict.fromkeys(NAMES, 1)
    probe = {"region": "border", "accuracy": 0.9, "low": 0.8, "high": 1.0, "chance": 0.5, "leak": True}
    found = SimpleNamespace(
        images={
            **{"formats": counts, "modes": counts, "bit_depths": counts},
            **{"width": {"min": 1, "max": 2}, "height": {"min": 1, "max": 2}},
            **{"tiny": [], "constant": [], "truncated": [], "unlisted_count": 0},
        },
        duplicates={
            **{"identical": [], "near": [], "compared": 1, "rejected": 0},
            "conflicts": [{"images": list(NAMES), "grades": [0, 1]}],
        },
        groups={"given": 1, "joined": 1, "largest": 1, "with_several_grades": 0},
        classes={"missing": list(NAMES)},
        unreadable=[{"id": name, "reason": name} for name in NAMES],
        pretext_probes={name: [probe] for name in NAMES},
        label_probe=None,
    )
    display.show_audit(found)  # type: ignore[arg-type]
    holds_every_name_as_text(shown.getvalue())


def test_strangers_plugins(shown: io.StringIO) -> None:
    older = type("Older", (), {"api_version": 0})
    found = [PluginInfo("head", name, older, name, name) for name in NAMES]
    broken = [BrokenPlugin(name, name, name, name, name) for name in NAMES]
    display.show_plugins(Registry(found, broken, None, {}))
    screen = shown.getvalue()
    assert not STEERING.intersection(screen)
    for name in NAMES:
        assert screen.count(printable(name, keep="")) >= 2
    assert screen.count("warning: the head") == len(NAMES)


def test_strangers_photographs(shown: io.StringIO) -> None:
    shares = dict.fromkeys(NAMES, 0.1)
    display.show_grades([GradedImage(name, 0, name, shares) for name in NAMES])
    holds_every_name_as_text(shown.getvalue())


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_of_strangers_jobs(terminal: bool) -> None:
    screen = io.StringIO()
    screen_console = Console(
        file=screen, force_terminal=terminal, width=5000, markup=False, emoji=False, highlight=False
    )
    with (LiveProgress if terminal else PlainProgress)(screen_console) as told:
        told.stage("jobs", len(NAMES))
        for name in NAMES:
            job: Any = SimpleNamespace(id=name)
            told.cell_scored({"pretext": name, "arm": name, "fraction": 0.1, "qwk": 0.5})
            told.job_started(job)
            told.job_progressed(job, {"done": 1, "total": 2})
            if terminal:
                told._live.refresh()  # type: ignore[union-attr]
            told.job_failed(job, f"{name}\nmore")
    said = screen.getvalue()
    assert "\x1b]0" not in said  # of a terminal, rich's own colours and moves are there
    assert "\x1b[2J" not in said
    assert not {"\x07", "\x9b", "\u202e", "\udcff"}.intersection(said)
    if not terminal:
        assert all(said.count(line(name)) == 1 for name in ("<script>alert(1)</script>", "${7*7}"))
        assert not STEERING.intersection(said)


def line(name: str) -> str:
    return f"failed: {name}: {name}\n"


def test_a_failure_is_told_by_the_line_that_says_the_most(shown: io.StringIO) -> None:
    told = display.follow_run()
    job: Any = SimpleNamespace(id="a")
    told.job_failed(job, "the loss is nan\nand more")
    told.job_failed(job, "Traceback (most recent call last):\n  File\nValueError: no\n")
    told.job_failed(job, "")
    assert shown.getvalue() == "failed: a: the loss is nan\nfailed: a: ValueError: no\nfailed: a: \n"


@pytest.mark.parametrize("error", [DataError, JobError, OSError])
def test_an_error_keeps_its_lines_and_steers_nothing(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error("\n".join(NAMES))

    monkeypatch.setattr(sslkit.cli, "cli", fail)
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert not STEERING.intersection(said)
    assert said.startswith('Error: <script>alert(1)</script>\n"><img')


def test_an_option_that_a_shell_made_of_a_files_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sslkit", "predict", "run", "--\x1b[2J\x1b]0;x\x07.png"])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert r"--\x1b[2J\x1b]0;x\x07.png" in said
    assert not STEERING.intersection(said)


def test_the_log_steers_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def warn(**_: object) -> None:
        logging.getLogger("sslkit").warning("the plugin %s is slow", "\x1b[2Jx")

    monkeypatch.setattr(sslkit.cli, "cli", warn)
    for _ in range(2):
        with pytest.raises(SystemExit):
            main()
    assert capsys.readouterr().err == "the plugin \\x1b[2Jx is slow\n" * 2


def test_commands_print_by_what_makes_text_safe_alone() -> None:
    found = []
    for path in sorted(Path(sslkit.cli.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                argument = ast.unparse(node.args[0]) if node.args else ""
                if called in ("print", "click.secho", "click.style") or (
                    called == "Console" and path.name != "console.py"
                ):
                    found.append((path.name, called, argument))
                if called == "click.echo" and not argument.startswith(("json.dumps(", "json_part", "f'{stage} ...'")):
                    found.append((path.name, called, argument))
    # The one of 'say'; what it is given by main alone is words of ours.
    assert [item for item in found if item[0] != "terminal.py" and "Interrupted" not in item[2]] == []
    assert [item[0] for item in found if item[0] == "terminal.py"] == ["terminal.py"]
    consoles = [node for node in ast.walk(ast.parse(Path(console.__file__).read_text())) if isinstance(node, ast.Call)]
    assert [ast.unparse(node) for node in consoles if ast.unparse(node.func) == "Console"] == [
        "Console(stderr=stderr, markup=False, emoji=False, highlight=False)"
    ]
