from __future__ import annotations

from broken.executors import Serial

from sslkit.testing import check_plugin


def test_an_executor_that_dies_with_a_job_does_not_take_the_checks_with_it() -> None:
    failed = {record.check: record.message for record in check_plugin(Serial) if record.outcome == "failed"}

    assert failed.keys() == {"check_deaths_are_survived"}
    assert failed["check_deaths_are_survived"].startswith(
        "the process that runs the executor died, with status -9. Run"
    )
