from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from studies import tiny_tables

import sslkit_tensorboard
from sslkit.cli import main
from sslkit.cli.display import show_plan
from sslkit.config import to_toml
from sslkit.engine.precision import Compute
from sslkit.experiment.dry_run import DryRun
from sslkit.experiment.forecast import Forecast
from sslkit.experiment.running import RunResult
from sslkit.interfaces import FAMILIES


def call(*arguments: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["sslkit", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(to_toml(tiny_tables()))
    return path


def imported_by(statement: str) -> set[str]:
    command = [sys.executable, "-c", f"import sys; {statement}; print('\\n', *sys.modules)"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(said.splitlines()[-1].split())  # what the statement says itself stands above


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not imported_by("import sslkit") & {"torch", "numpy", "pydantic", "timm", "rich", "click"}


def test_help_loads_nothing_heavy() -> None:
    loaded = imported_by("import sslkit.cli; sslkit.cli.cli(['--help'], standalone_mode=False)")

    assert "click" in loaded
    assert not loaded & {"torch", "numpy", "pydantic", "timm", "rich", "matplotlib"}


def test_the_doctor_tells_of_missing_groups_and_estimates_only_if_asked(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = call("doctor", config, "--no-estimate", monkeypatch=monkeypatch)
    output = capsys.readouterr()
    assert status == 0
    assert "Global statistics alone grade" in output.out
    assert "every image is a group of its own" not in output.out  # both eyes of a patient are one
    assert "pretrainings" not in output.out
    assert "Measuring" not in output.err

    assert call("doctor", config, "--no-estimate", "--json", monkeypatch=monkeypatch) == 0
    assert "estimate" not in json.loads(capsys.readouterr().out)


NOTHING_MISSING = Forecast("cost", "thousand images", (), (), (), 0.0, 1, 0.0)


def test_images_that_are_each_a_group_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    plan = DryRun(
        output=Path("runs/x"),
        num_images=4,
        num_groups=4,
        num_unlabelled=0,
        class_counts={},
        labels={},
        missing_classes=[],
        num_pretrainings=1,
        num_cells=1,
        workers=1,
        compute=Compute("cpu", "fp32"),
        bench=None,
        unknown="",
        too_large="",
        forecast=NOTHING_MISSING,
    )
    show_plan(plan)
    assert "note: every image is a group of its own" in capsys.readouterr().out
    show_plan(replace(plan, num_groups=2))
    assert "note" not in capsys.readouterr().out


def test_a_whole_run_by_command(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = call(
        *("run", config, "--output", tmp_path / "run", "--set", "evaluation.arms=['scratch']"),
        *("--set", "evaluation.label_fractions=[1.0]"),
        monkeypatch=monkeypatch,
    )

    output = capsys.readouterr()
    assert status == 0
    assert "Quadratic weighted kappa" in output.out
    assert "say nothing about patients" in " ".join(output.out.split())
    assert "scratch" in output.out
    assert "index.html" in output.out
    assert "Decoding images: 48 images" in output.err
    assert (tmp_path / "run" / "report" / "index.html").exists()


def test_a_dry_run_by_command(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", config, "--output", tmp_path / "run", "--dry-run", monkeypatch=monkeypatch) == 0
    assert "2 pretrainings, 16 cells" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "finetuning.updatess=3"], "finetuning.updatess: unknown key; did you mean 'updates'?"),
        (["--set", "pretext.name=rotatoin"], "unknown pretext task 'rotatoin'; did you mean 'rotation'?"),
        (["--set", "seed"], "is not KEY=VALUE"),
        (["--set", "evaluation.folds=50"], "fewer than the 50 folds"),
        (["--set", "dataset.name=csv", "--set", "dataset.table=no.csv"], "unknown key"),
    ],
)
def test_a_users_mistake_is_one_message_and_status_2(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    status = call("run", config, "--output", tmp_path / "run", *arguments, monkeypatch=monkeypatch)

    output = capsys.readouterr()
    assert status == 2
    assert output.out == ""
    assert output.err.startswith("Error: ")
    assert message in output.err
    assert "Traceback" not in output.err
    assert not (tmp_path / "run").exists()


def test_a_missing_configuration_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", tmp_path / "no.toml", monkeypatch=monkeypatch) == 2
    assert "no configuration at" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["config", "check", "{config}", "--set", "\x1b[2J=1"],
        ["config", "check", "{config}", "--set", "seed=\x1b[2J"],
        ["config", "check", "\x1b[2J.toml"],
        ["run", "{config}", "--output", "\x1b[2J/\x1b" + "a" * 300],
        ["run", "{folder}/\x1b[2J"],
        ["predict", "\x1b[2J", "a.png"],
        ["report", "\x1b[2J"],
        ["\x1b[2J"],
    ],
)
def test_no_message_commands_the_terminal(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    (tmp_path / "\x1b[2J").mkdir()
    given = [argument.format(config=config, folder=tmp_path) for argument in arguments]
    assert call(*given, monkeypatch=monkeypatch) == 2
    output = capsys.readouterr()
    assert r"\x1b[2J" in output.err
    assert "\x1b" not in output.out + output.err


def test_a_file_of_any_name_may_be_valid(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config.rename(tmp_path / "\x1b[2J\udcff.toml")
    assert call("config", "check", path, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.endswith("\\x1b[2J\\udcff.toml is a valid configuration.\n")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("a" * 300, "a name has up to 255 bytes"),
        ("b/" + "a" * 300, "a name has up to 255 bytes"),
        ("a/" * 3000, "a path fewer than 4096"),
        ("loop", "Symlink loop"),
    ],
)
def test_a_directory_that_cannot_be_is_refused_by_status_2(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    output: str,
    reason: str,
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for options in ([], ["--dry-run"]):
        assert call("run", config, "--output", tmp_path / output, *options, monkeypatch=monkeypatch) == 2
        message = capsys.readouterr().err
        assert message.startswith("Error: no run can be at '")
        assert reason in message


def test_another_configuration_is_refused_by_status_2(
    config: Path, tiny_run: RunResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = call("run", config, "--output", tiny_run.directory.root, "--set", "seed=9", monkeypatch=monkeypatch)

    assert status == 2
    assert "seed: 0 there, 9 here" in capsys.readouterr().err


def test_failed_jobs_give_status_1(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["finetuning.weight_decay=1e30", "finetuning.learning_rate=10", "evaluation.arms=['scratch']"]
    options = [part for change in changes for part in ("--set", change)]

    status = call("run", config, "--output", tmp_path / "run", *options, monkeypatch=monkeypatch)

    output = capsys.readouterr()
    assert status == 1
    assert "4 jobs failed" in output.err
    assert "Traceback" not in output.err


def test_predict_prints_json_alone(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("no picture")

    status = call("predict", tiny_run.directory.root, tmp_path / "text.png", "--json", monkeypatch=monkeypatch)

    output = capsys.readouterr()
    (answer,) = json.loads(output.out)
    assert status == 1
    assert answer["grade"] is None
    assert "cannot be read" in output.err


def test_plugins_are_listed_with_their_distribution(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plugins", "list", "--json", monkeypatch=monkeypatch) == 0

    listed = json.loads(capsys.readouterr().out)
    names = {(plugin["kind"], plugin["name"]) for plugin in listed["plugins"] if plugin["distribution"] == "sslkit"}
    assert names == {
        ("pretext-task", "barlow-twins"),
        ("pretext-task", "byol"),
        ("pretext-task", "colorization"),
        ("pretext-task", "combine"),
        ("pretext-task", "cpc"),
        ("pretext-task", "dino"),
        ("pretext-task", "exemplar"),
        ("pretext-task", "inpainting"),
        ("pretext-task", "jigsaw"),
        ("pretext-task", "mae"),
        ("pretext-task", "moco"),
        ("pretext-task", "relative-patch"),
        ("pretext-task", "rotation"),
        ("pretext-task", "rotation-invariant"),
        ("pretext-task", "saliency"),
        ("pretext-task", "simclr"),
        ("pretext-task", "simsiam"),
        ("pretext-task", "vicreg"),
        ("backbone", "densenet121"),
        ("backbone", "timm"),
        ("head", "dr-grade"),
        ("dataset", "csv"),
        ("dataset", "dicom"),
        ("dataset", "image-folder"),
        ("dataset", "npz"),
        ("dataset", "synthetic-fundus"),
        ("executor", "local"),
        ("executor", "ray"),
        ("executor", "slurm"),
        ("observer", "mlflow"),
        ("observer", "tensorboard"),
    }
    assert listed["broken"] == []
    assert call("plugins", "list", monkeypatch=monkeypatch) == 0
    assert "synthetic-fundus" in capsys.readouterr().out


def test_pretext_tasks_are_grouped_by_family_with_their_papers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("plugins", "list", "--json", monkeypatch=monkeypatch) == 0
    tasks = [one for one in json.loads(capsys.readouterr().out)["plugins"] if one["kind"] == "pretext-task"]
    assert all(re.search(r"\b(19|20)\d\d\b", task["paper"]) for task in tasks)
    assert {task["family"] for task in tasks} == set(FAMILIES) - {"other"}
    monkeypatch.setenv("COLUMNS", "200")
    assert call("plugins", "list", monkeypatch=monkeypatch) == 0
    family = ""
    found = {}
    for line in capsys.readouterr().out.splitlines():
        if heading := re.match(r"  (\w[\w -]+): ", line):
            family = heading[1]
        elif row := re.match(r"      ([\w-]+)  ", line):
            found.setdefault(row[1], family)
    assert {task["name"]: task["family"] for task in tasks}.items() <= found.items()


def test_observers_are_listed_with_what_they_hear_and_lack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sslkit_tensorboard, "find_spec", lambda name: None)
    assert call("plugins", "list", "--json", monkeypatch=monkeypatch) == 0
    listed = json.loads(capsys.readouterr().out)["plugins"]
    (told,) = [plugin for plugin in listed if (plugin["kind"], plugin["name"]) == ("observer", "tensorboard")]
    assert told["summary"].startswith("TensorBoard: curves of pretrainings")
    assert told["hears"][0] == "sslkit_run_started"
    assert (told["on_request"], told["lacks"]) == (True, "pip install 'sslkit[tensorboard]'")
    assert "module" not in told
    assert call("plugins", "list", monkeypatch=monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "The observer tensorboard cannot work yet: pip install 'sslkit[tensorboard]'" in shown
    assert "The observer mlflow" not in shown


def test_configurations_are_checked_without_their_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
    assert len(examples) >= 3
    for example in examples:
        assert call("config", "check", example, monkeypatch=monkeypatch) == 0
        assert "is a valid configuration" in capsys.readouterr().out


def test_the_schema_is_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("config", "schema", monkeypatch=monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["properties"].keys() >= {"dataset", "pretext", "evaluation"}


def test_the_report_is_written_anew(
    tiny_run: RunResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tiny_run.directory.root / "report" / "index.html"
    before = report.read_bytes()

    assert call("report", tiny_run.directory.root, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.strip() == str(report)
    assert report.read_bytes() == before


def test_unknown_commands_and_options_give_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("rnu", monkeypatch=monkeypatch) == 2
    assert call("run", monkeypatch=monkeypatch) == 2
    assert "Missing argument" in capsys.readouterr().err
