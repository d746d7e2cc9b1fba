"""Jobs travel to workers without the names of all images."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from studies import prepare_tiny

from sslkit.experiment.preparation import Prepared
from sslkit.experiment.recipe import SomeNames
from sslkit.experiment.run_directory import RunDirectory

MANY = 30_000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_tiny(tmp_path_factory.mktemp("travelling"), pretraining={"probe_every": 1, "keep": "best"})


def test_a_job_is_called_the_same_at_the_end_of_its_way(prepared: Prepared) -> None:
    jobs = prepared.jobs
    for job in (jobs.pretrainings[1], jobs.features[0], jobs.cells[5]):
        arrived = pickle.loads(pickle.dumps(job))
        again = pickle.loads(pickle.dumps(arrived))
        assert arrived.id == again.id == job.id
        assert getattr(again, "identity", None) == getattr(job, "identity", None)
        assert arrived.recipe.names == job.recipe.names


def test_it_may_be_moved_where_it_has_arrived_and_travel_on(prepared: Prepared, tmp_path: Path) -> None:
    """As a pretraining of several processes does, on a node that does not see the run directory."""
    jobs = prepared.jobs
    for job in (jobs.pretrainings[1], jobs.features[0], jobs.cells[5]):
        moved = pickle.loads(pickle.dumps(job)).moved(tmp_path / "run", tmp_path / "cache")
        again = pickle.loads(pickle.dumps(moved))
        assert again.id == job.id
        assert getattr(again, "identity", None) == getattr(job, "identity", None)
        assert again.recipe.names == job.recipe.names


def test_it_brings_the_names_that_it_writes_and_no_other(prepared: Prepared) -> None:
    cell = prepared.jobs.cells[3]
    arrived = pickle.loads(pickle.dumps(cell))
    for row in cell.test_rows:
        assert arrived.recipe.ids[row] == cell.recipe.ids[row]
        assert arrived.recipe.groups[row] == cell.recipe.groups[row]
    with pytest.raises(LookupError, match="has not travelled with the job"):
        arrived.recipe.ids[cell.training_rows[0]]

    pretraining = prepared.jobs.pretrainings[0]
    arrived = pickle.loads(pickle.dumps(pretraining))
    groups = [pretraining.recipe.groups[row] for row in pretraining.probe_rows]
    assert [arrived.recipe.groups[row] for row in pretraining.probe_rows] == groups


def test_its_size_does_not_grow_with_names_that_it_does_not_need(prepared: Prepared) -> None:
    names = tuple(f"photographs/of/patient/{number}.jpeg" for number in range(MANY))
    for job in (prepared.jobs.pretrainings[0], prepared.jobs.features[0], prepared.jobs.cells[0]):
        larger = replace(job, recipe=replace(job.recipe, ids=names, groups=names))
        assert len(pickle.dumps(larger.recipe)) > 30 * MANY
        assert len(pickle.dumps(larger)) < len(pickle.dumps(job)) + 500


def test_cells_share_the_arrays_of_their_fold(prepared: Prepared) -> None:
    cells = [cell for cell in prepared.jobs.cells if cell.fold == 0]
    assert len({id(cell.test_rows) for cell in cells}) == 1
    assert len({id(cell.training_rows.base) for cell in cells}) == 1


def test_some_names_are_a_sequence_with_gaps() -> None:
    some = SomeNames("abcdef", [1, 2, 5])
    assert len(some) == 6
    assert some[1:3] == ["b", "c"]
    assert SomeNames(some, [5])[5] == "f"
    with pytest.raises(LookupError, match="the name of image 0"):
        some[0]
    with pytest.raises(LookupError):
        list(some)


def test_a_worker_writes_what_the_run_would_write_itself(prepared: Prepared, tmp_path: Path) -> None:
    cell = next(cell for cell in prepared.jobs.cells if cell.arm == "scratch")
    (tmp_path / "other").mkdir()
    for directory, job in ((tmp_path, cell), (tmp_path / "other", pickle.loads(pickle.dumps(cell)))):
        own = replace(job, recipe=replace(job.recipe, directory=RunDirectory(directory)))
        own.__dict__["cell_id"] = job.cell_id
        own.execute(lambda values: None)
    files = {path.name: path.read_bytes() for path in tmp_path.glob("cells/*/*")}
    assert files == {path.name: path.read_bytes() for path in tmp_path.glob("other/cells/*/*")}
    assert {"predictions.csv", "result.json"} <= files.keys()
