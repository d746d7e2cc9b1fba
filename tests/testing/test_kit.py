"""The kit itself: what it takes, what it leaves out, and what it says."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from broken.pretext_tasks import BROKEN, Sound, SoundConfig
from pydantic import Field

from sslkit import ConfigPath, PretextTask
from sslkit.errors import ConfigError
from sslkit.testing import CHECKS, CheckFailed, check_plugin, make_subject, parametrize_with_checks
from sslkit.testing.checks.catalogue import Check
from sslkit.testing.elsewhere import call_elsewhere
from sslkit.testing.outcome import expect
from sslkit.testing.running import carry_out


class Modest(Sound):
    """Claims little, leaves one check out, and has no probe labels."""

    tags = frozenset({"bf16"})
    opt_outs: ClassVar[dict[str, str]] = {"check_loss_falls": "its loss is drawn by lot for a test"}
    probe_labels = PretextTask.probe_labels


def outcomes(cls: Any, names: set[str]) -> dict[str, tuple[str, str]]:
    subject = make_subject(cls)
    records = [carry_out(check, subject) for check in CHECKS[subject.kind] if check.name in names]
    return {record.check: (record.outcome, record.message) for record in records}


def test_what_does_not_apply_and_what_is_left_out_is_told_with_its_reason() -> None:
    assert outcomes(Modest, {"check_compiles", "check_loss_falls", "check_probe_labels", "check_metrics"}) == {
        "check_probe_labels": ("not applicable", "it has no probe_labels() of its own"),
        "check_metrics": ("passed", ""),
        "check_compiles": ("not applicable", "it does not claim 'compile' in its tags"),
        "check_loss_falls": ("opted out", "its loss is drawn by lot for a test"),
    }


def test_an_opt_out_of_no_check_is_a_failure_and_tells_the_nearest() -> None:
    class Mistaken(Sound):
        """Leaves out what there is not."""

        opt_outs: ClassVar[dict[str, str]] = {"check_los_falls": "its loss is drawn by lot"}

    outcome, message = outcomes(Mistaken, {"check_opt_outs_have_reasons"})["check_opt_outs_have_reasons"]
    assert outcome == "failed"
    assert (
        message == "opt_outs names 'check_los_falls', which is no check of its kind; did you mean 'check_loss_falls'?"
    )


def test_another_error_of_the_plugin_is_a_failure_with_its_traceback() -> None:
    class Raising(Sound):
        """Fails in its constructor."""

        def __init__(self, *arguments: Any) -> None:
            raise ZeroDivisionError("a stranger's mistake")

    subject = make_subject(Raising)
    (check,) = (check for check in CHECKS["pretext-task"] if check.name == "check_metrics")
    record = carry_out(check, subject)

    assert (record.outcome, record.message) == ("failed", "ZeroDivisionError: a stranger's mistake")
    assert "in __init__" in record.traceback
    assert record.as_dict()["traceback"] == record.traceback


@pytest.mark.parametrize("draw", [lambda: torch.rand(1), lambda: np.random.rand(), lambda: random.random()])
def test_a_single_number_drawn_from_any_global_generator_is_noticed(draw: Any) -> None:
    class Drawing(Sound):
        """Draws a number that it does not use."""

        def make_views(self, images: Any, generator: Any) -> Any:
            draw()
            return super().make_views(images, generator)

    name = "check_global_generators_are_left_alone"
    outcome, message = outcomes(Drawing, {name})[name]
    assert outcome == "failed"
    assert message.startswith("make_views() has drawn from the global generator of ")


def test_records_are_told_as_they_come() -> None:
    told: list[Any] = []

    records = check_plugin(BROKEN["check_is_documented"], on_record=told.append)

    assert told == records
    assert [record.check for record in records if record.outcome == "failed"] == ["check_is_documented"]
    assert sum(record.seconds for record in records) > 0


class NeedyConfig(SoundConfig):
    """Options of a task that cannot do without one."""

    table: ConfigPath = Field(description="A file.")


class Needy(Sound):
    """Needs a file."""

    Config = NeedyConfig


def test_options_that_are_missing_or_wrong_are_the_callers_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^table: is required and missing\.$"):
        check_plugin(Needy)
    with pytest.raises(ConfigError, match=r"^share: input should be less than 1; given: 2\.0\.$"):
        check_plugin(Sound, {"share": 2.0})


def test_options_may_be_written_into_a_folder_that_goes_away() -> None:
    def write(folder: Path) -> dict[str, str]:
        (folder / "table.csv").write_text("image")
        return {"table": "table.csv"}

    subject = make_subject(Needy, write)
    table: Path = subject.config.table  # type: ignore[attr-defined]

    assert table.read_text() == "image"
    del subject
    assert not table.exists()


@pytest.mark.parametrize("given", [Sound.__init__, int, "Sound"])
def test_what_is_no_plugin_class_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"is no plugin class; a plugin class inherits from one of sslkit\.Pre"):
        check_plugin(given)


def test_tests_are_named_by_class_and_check_and_those_left_out_are_skipped_with_the_reason() -> None:
    mark = parametrize_with_checks(Modest, Sound)
    parameters = {parameter.id: parameter for parameter in mark.args[1]}

    assert mark.args[0] == "check"
    assert {name for name in parameters if name.startswith("Sound-")} == {
        f"Sound-{check.name}" for check in CHECKS["pretext-task"]
    }
    assert not {"Modest-check_compiles", "Modest-check_probe_labels"} & parameters.keys()
    (skip,) = parameters["Modest-check_loss_falls"].marks
    assert skip.kwargs == {"reason": "opted out: its loss is drawn by lot for a test"}
    assert parameters["Modest-check_metrics"].marks == ()
    parameters["Modest-check_metrics"].values[0]()


def test_a_failing_check_fails_its_test() -> None:
    parameters = {parameter.id: parameter for parameter in parametrize_with_checks(BROKEN["check_metrics"]).args[1]}

    with pytest.raises(CheckFailed, match=r"^the metric 'doubled' is not detached"):
        parameters["Attached-check_metrics"].values[0]()


def test_a_promise_that_is_kept_is_no_failure() -> None:
    expect(True, "kept")
    with pytest.raises(CheckFailed, match=r"^broken$"):
        expect(False, "broken")


def test_a_call_elsewhere_gives_what_is_returned_and_says_what_is_raised() -> None:
    assert call_elsewhere(divmod, 7, 2) == (3, 1)
    assert call_elsewhere(hash, "sslkit") != hash("sslkit")
    with pytest.raises(CheckFailed, match=r"^it fails in another process: ZeroDivisionError: "):
        call_elsewhere(divmod, 7, 0)
    with pytest.raises(CheckFailed, match=r"^nothing can be sent to another process: .*; define classes in a module$"):
        call_elsewhere(lambda: None)


def test_the_kit_says_how_to_install_what_it_needs() -> None:
    code = "import sys; sys.modules['hypothesis'] = None; from sslkit.testing import check_plugin"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "the checks of plugins need hypothesis; install it by: pip install 'sslkit[testing]'" in done.stderr


@pytest.mark.parametrize(
    "check", [check for checks in CHECKS.values() for check in checks], ids=lambda check: check.name
)
def test_a_check_says_what_is_promised_in_a_line(check: Check) -> None:
    assert check.name.startswith("check_")
    assert 10 < len(check.summary) < 120
    assert check.summary.endswith((".", ":"))
