from __future__ import annotations

import pytest
from broken.executors import Endless, Serial

from sslkit.testing import check_plugin, make_subject, trials


def test_an_executor_that_dies_with_a_job_does_not_take_the_checks_with_it() -> None:
    failed = {record.check: record.message for record in check_plugin(Serial) if record.outcome == "failed"}

    assert failed.keys() == {"check_deaths_are_survived"}
    assert failed["check_deaths_are_survived"].startswith(
        "the process that runs the executor died, with status -9. Run"
    )


def test_an_executor_that_does_not_return_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_PATIENCE", 1.0)

    assert make_subject(Endless).deadly.fate == "run() has not returned within 1 seconds; what does it wait for?"
