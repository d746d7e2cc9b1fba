from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from forking import warm_context
from jobs import Fail, Note
from studies import tiny_config, tiny_tables

import sslkit
from sslkit import PluginConfig
from sslkit.cli import cli
from sslkit.config import to_toml
from sslkit.errors import RunError
from sslkit.experiment.bench import Bench
from sslkit.experiment.stopwatch import time_updates
from sslkit_local import Local


@pytest.fixture(scope="module")
def measured() -> Bench:
    return sslkit.bench(tiny_config(), seconds=0.3)


def test_every_stage_is_measured(measured: Bench) -> None:
    assert measured.ingest["images_per_s"] > 0
    assert measured.pretraining["views_per_image"] == 4
    assert measured.pretraining["views_per_s"] > 0
    assert 0 < measured.pretraining["data_time_share"] < 1
    assert measured.cells["per_hour"] > 0
    assert measured.predict["images_per_s"] > 0


def test_the_estimate_counts_every_job(measured: Bench) -> None:
    # Two pretrainings, their features, and two shares in two folds of four arms.
    assert measured.estimate["jobs"] == 2 + 2 + 16
    assert measured.estimate["hours"] == pytest.approx(
        measured.estimate["ingest_hours"] + measured.estimate["jobs_hours"]
    )
    assert measured.estimate["hours"] < 0.1
    assert measured.estimate["disk_gib"] > 0


def test_a_dry_run_tells_what_was_measured_of_the_same_configuration(measured: Bench, tmp_path: Path) -> None:
    assert sslkit.plan(tiny_config(), tmp_path / "run").bench == measured
    longer = tiny_config(finetuning={"updates": 7})
    assert sslkit.plan(longer, tmp_path / "run").bench is None


def test_without_a_pretrained_arm_no_pretraining_is_timed() -> None:
    found = sslkit.bench(tiny_config(evaluation={"arms": ["scratch"]}), seconds=0.1)
    assert found.pretraining == {}
    assert found.estimate["jobs"] == 4


def test_the_command_prints_json_alone(tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(to_toml(tiny_tables()))
    result = CliRunner().invoke(cli, ["bench", str(config), "--json", "--seconds", "0.1"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    for stage, name in (
        ("ingest", "images_per_s"),
        ("pretraining", "views_per_s"),
        ("pretraining", "data_time_share"),
        ("cells", "per_hour"),
        ("predict", "images_per_s"),
        ("estimate", "hours"),
    ):
        assert found[stage][name] > 0


@pytest.mark.parametrize(
    ("jobs", "message"), [([Fail("bad", "raise")], "bad failed while it was timed"), ([], "there was no job")]
)
def test_jobs_that_cannot_be_timed_are_told(jobs: list[Fail], message: str) -> None:
    warm_context()
    with pytest.raises(RunError, match=message):
        time_updates(Local(PluginConfig()), jobs, 1, 0.1)


def test_a_job_that_ends_too_early_is_told(tmp_path: Path) -> None:
    warm_context()
    with pytest.raises(RunError, match="a ended before it could be timed"):
        time_updates(Local(PluginConfig()), [Note("a", tmp_path / "log")], 1, 0.1)


@pytest.mark.slow
def test_pretraining_is_timed_under_compile_where_that_is_asked_for() -> None:
    found = sslkit.bench(tiny_config(), seconds=0.3, compiled=True)
    assert found.compiled["views_per_s"] > 0
    assert found.compiled["startup_s"] > found.pretraining["startup_s"]
    assert found.compiled["hours"] > found.estimate["hours"], "a tiny run is over before anything is compiled"
