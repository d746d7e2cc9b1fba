from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from observed import expected
from studies import observed_config, tiny_config

import sslkit
import sslkit_mlflow
from sslkit.checksums import flaws
from sslkit.config import RunConfig
from sslkit.errors import PluginError, StorageError
from sslkit.experiment.running import RunResult, execute_run

CONFIG = {"name": "tiny", "pretext": [{"name": "rotation"}], "compute": {"workers": 2}}
ABOUT: dict[str, Any] = {"notices": ["Mind the gap."], "conclusions": [{"sentence": "Benefit."}], "failed_jobs": []}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of all tests of this module: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/shared.db"


@pytest.fixture
def shared(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "fundus")
    yield MlflowClient(uri)
    sslkit_mlflow._break_off()


def runs_in(client: MlflowClient, experiment: str, folder: Path) -> list[Run]:
    """Return the runs of a run directory, the latest first."""
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    return [run for run in runs if run.data.tags["sslkit.run_directory"] == str(folder)]


def history_of(client: MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    return {
        key: sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
    }


def figures(root: Path) -> dict[str, list[tuple[int, float]]]:
    return {key: sorted(steps.items()) for key, steps in expected(root).items()}


def again(config: RunConfig, root: Path) -> RunResult:
    """Call a run again, without its report, which takes most of the time then."""
    return execute_run(config, root, sslkit.build_registry())


def final(history: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    return {key: points for key, points in history.items() if not key.startswith("preliminary/")}


def test_every_figure_of_the_run_is_logged_once_and_nothing_else(observed_run: RunResult) -> None:
    root = observed_run.directory.root
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    (run,) = runs_in(client, "sslkit", root)
    history = history_of(client, run)
    assert final(history) == figures(root)
    assert {"pretraining/rotation/0/loss", "qwk_mean/scratch", "delta/rotation-pretrained"} <= history.keys()
    assert len(history["preliminary/scratch/qwk/fold-0-repetition-0"]) == 2


def test_the_run_says_what_it_is_and_what_it_has_come_to(observed_run: RunResult) -> None:
    root = observed_run.directory.root
    (run,) = runs_in(MlflowClient(f"sqlite:///{root}/mlflow.db"), "sslkit", root)
    assert (run.info.run_name, run.info.status) == ("tiny", "FINISHED")
    assert run.data.tags["sslkit.version"] == sslkit.__version__
    said = [f"- {sentence}" for sentence in (*observed_run.notices, *observed_run.conclusions)]
    assert run.data.tags["mlflow.note.content"] == "\n".join(said)
    wanted = {"pretext.name": "rotation", "pretraining.epochs": "2", "evaluation.label_fractions": "[0.3, 1.0]"}
    assert wanted.items() <= run.data.params.items()
    assert not {"observers", "compute.workers"} & run.data.params.keys()


def test_calling_the_command_again_goes_on_with_the_run_and_an_extension_is_another(
    observed_run: RunResult, tmp_path: Path, shared: MlflowClient
) -> None:
    root = tmp_path / "run"
    shutil.copytree(observed_run.directory.root, root)
    again(observed_config(), root)  # nothing of it is in this store
    (first,) = runs_in(shared, "fundus", root)
    before = history_of(shared, first)
    assert final(before) == figures(root)
    again(observed_config(compute={"workers": 1}), root)
    (second,) = runs_in(shared, "fundus", root)
    assert (second.info.run_id, second.info.status) == (first.info.run_id, "FINISHED")
    assert history_of(shared, second) == before
    again(observed_config(evaluation={"label_fractions": [0.3, 0.6, 1.0]}), root)
    extended, earlier = runs_in(shared, "fundus", root)
    assert final(history_of(shared, extended)) == figures(root)
    assert history_of(shared, earlier) == before


def test_a_store_that_is_taken_away_is_no_damage(observed_run: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(observed_run.directory.root, root)
    (root / "mlflow.db").unlink()
    assert flaws(root) == []
    result = again(observed_config(observers=[]), root)
    assert result.failures == []
    assert not (root / "mlflow.db").exists()


@pytest.mark.parametrize(("failed", "status"), [([], "FINISHED"), ([{"job": "cells/0", "reason": "broke"}], "FAILED")])
def test_failed_jobs_make_a_failed_run(
    failed: list[dict[str, str]], status: str, tmp_path: Path, shared: MlflowClient
) -> None:
    sslkit_mlflow.sslkit_run_started(tmp_path, CONFIG, [], [])
    (running,) = runs_in(shared, "fundus", tmp_path)
    sslkit_mlflow.sslkit_run_finished([], [], {**ABOUT, "failed_jobs": failed})
    (run,) = runs_in(shared, "fundus", tmp_path)
    assert (running.info.status, run.info.status) == ("RUNNING", status)
    assert run.data.tags["mlflow.note.content"] == "- Mind the gap.\n- Benefit." + "\n- failed: cells/0" * len(failed)


def test_a_run_that_never_ends_was_killed_and_goes_on(tmp_path: Path, shared: MlflowClient) -> None:
    epochs = [{"job": "pretraining/rotation/0", "epoch": 1, "metrics": {"loss": 1.0}}]
    sslkit_mlflow.sslkit_run_started(tmp_path, CONFIG, [], [])
    sslkit_mlflow.sslkit_epoch_finished("pretraining/rotation/0", 1, {"loss": 1.0})
    (run,) = runs_in(shared, "fundus", tmp_path)
    assert run.data.metrics == {"pretraining/rotation/0/loss": 1.0}  # at once
    sslkit_mlflow._break_off()  # as the process ends
    (run,) = runs_in(shared, "fundus", tmp_path)
    assert run.info.status == "KILLED"
    sslkit_mlflow.sslkit_run_started(tmp_path, CONFIG, epochs, [])
    sslkit_mlflow.sslkit_epoch_finished("pretraining/rotation/0", 2, {"loss": 0.5})
    (run,) = runs_in(shared, "fundus", tmp_path)
    assert run.info.status == "RUNNING"
    assert history_of(shared, run) == {"pretraining/rotation/0/loss": [(1, 1.0), (2, 0.5)]}


def test_preliminary_scores_stay_what_they_were(tmp_path: Path, shared: MlflowClient) -> None:
    came = {"pretext": "", "arm": "scratch", "fold": 0, "repetition": 0, "labels": 9, "qwk": 0.25, "threshold": None}
    fitted, unheard = {**came, "qwk": 0.5, "threshold": 0.75}, {**came, "fold": 1}
    sslkit_mlflow.sslkit_run_started(tmp_path, CONFIG, [], [])
    sslkit_mlflow.sslkit_cell_finished(came)
    sslkit_mlflow.sslkit_run_started(tmp_path, CONFIG, [], [fitted, unheard])
    (run,) = runs_in(shared, "fundus", tmp_path)
    series = {f"preliminary/scratch/qwk/fold-{fold}-repetition-0": [(9, 0.25)] for fold in (0, 1)}
    assert history_of(shared, run) == series
    sslkit_mlflow.sslkit_run_finished([], [fitted], ABOUT)
    (run,) = runs_in(shared, "fundus", tmp_path)
    ended = {
        "cells/scratch/qwk/fold-0-repetition-0": [(9, 0.5)],
        "cells/scratch/threshold/fold-0-repetition-0": [(9, 0.75)],
    }
    assert history_of(shared, run) == {**series, **ended}


def test_names_and_values_are_brought_to_what_mlflow_takes(tmp_path: Path, shared: MlflowClient) -> None:
    config = {**CONFIG, "card": {"intended_use": "x" * 9000}, "pretext": [{"name": "a"}, {"name": "b"}]}
    sslkit_mlflow.sslkit_run_started(tmp_path, config, [], [])
    sslkit_mlflow.sslkit_epoch_finished("pretraining/a/0", 1, {"top-1/5 (%)": 1.0})
    (run,) = runs_in(shared, "fundus", tmp_path)
    assert run.data.metrics == {"pretraining/a/0/top-1_5 ___": 1.0}
    assert (run.data.params["pretext.0.name"], run.data.params["pretext.1.name"]) == ("a", "b")
    assert len(run.data.params["card.intended_use"]) == 500


def test_a_store_that_fails_is_given_up_until_the_next_call(
    tmp_path: Path, shared: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    sslkit_mlflow.sslkit_run_started(tmp_path, CONFIG, [], [])
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", fail)
        with pytest.raises(ConnectionError, match="no route"):
            sslkit_mlflow.sslkit_epoch_finished("a", 1, {"loss": 1.0})
        sslkit_mlflow.sslkit_epoch_finished("a", 2, {"loss": 1.0})
    sslkit_mlflow.sslkit_run_started(tmp_path, CONFIG, [{"job": "a", "epoch": 1, "metrics": {"loss": 1.0}}], [])
    (run,) = runs_in(shared, "fundus", tmp_path)
    assert history_of(shared, run) == {"a/loss": [(1, 1.0)]}


def test_a_store_whose_directory_was_taken_away_is_not_made_anew(
    observed_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "run"
    shutil.copytree(observed_run.directory.root, root)
    sslkit_mlflow.sslkit_run_started(root, CONFIG, [], [])
    shutil.rmtree(root)
    sslkit_mlflow._break_off()
    assert not root.exists()


def test_a_directory_that_cannot_stand_in_a_uri_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(StorageError, match=r"cannot keep its store at .*what\?/mlflow.db: .*set \$MLFLOW_TRACKING_URI"):
        sslkit_mlflow.sslkit_run_started(tmp_path / "what?", CONFIG, [], [])


@pytest.mark.parametrize("missing", ["mlflow", "sqlalchemy", "alembic"])
def test_without_its_packages_it_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sslkit_mlflow.sslkit_on_request() is None
    find = sslkit_mlflow.find_spec
    monkeypatch.setattr(sslkit_mlflow, "find_spec", lambda name: None if name == missing else find(name))
    (told,) = [told for told in sslkit.build_registry().observers if told.name == "mlflow"]
    assert told.lacks == "pip install 'sslkit[mlflow]'"
    sslkit.plan(tiny_config())
    with pytest.raises(PluginError, match=r"'mlflow' of sslkit .* cannot work yet: pip install 'sslkit\[mlflow\]'"):
        sslkit.plan(tiny_config(observers=["mlflow"]))
