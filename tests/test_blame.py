from __future__ import annotations

import doctest
import logging
import sys
import time
from collections.abc import Callable

import pytest
import torch
from strangers import StrangeConfig, fail

import sslkit.blame
from sslkit.blame import Provenance, blame, watched
from sslkit.errors import DataError, PluginError

ACME = Provenance("the head 'strange' of acme 1.2", "strangers")


def test_an_error_names_the_plugin_the_call_and_the_plugins_own_frames() -> None:
    with pytest.raises(PluginError) as failure, blame(ACME, "loss()"):
        fail(StrangeConfig(how="loss"), "loss")
    first, *frames = str(failure.value).splitlines()
    assert first == "the head 'strange' of acme 1.2 failed in loss(): ZeroDivisionError: a stranger's mistake in loss"
    assert "strangers.py" in frames[0]
    assert "raise ZeroDivisionError" in frames[1]
    assert "test_blame" not in str(failure.value)
    assert isinstance(failure.value.__cause__, ZeroDivisionError)


def test_an_error_without_frames_of_the_plugin_is_named_all_the_same() -> None:
    with (
        pytest.raises(
            PluginError, match=r"^the head 'strange' of acme 1\.2 failed in loss\(\): TypeError: 'NoneType.*$"
        ),
        blame(ACME, "loss()"),
    ):
        list(None)  # type: ignore[call-overload]


def test_errors_that_speak_for_themselves_pass() -> None:
    with pytest.raises(DataError, match=r"^mine$"), blame(ACME, "records()"):
        raise DataError("mine")
    with pytest.raises(ValueError, match=r"^no class$"), blame(ACME, "grade()", contract=(ValueError,)):
        raise ValueError("no class")
    with pytest.raises(KeyboardInterrupt), blame(ACME, "records()"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_want_of_memory_stays_what_it_is_with_a_note(error: type[Exception]) -> None:
    with pytest.raises(error) as failure, blame(ACME, "forward()"):
        raise error
    assert failure.value.__notes__ == ["in forward() of the head 'strange' of acme 1.2"]


def test_an_exit_of_the_plugin_is_its_failure_and_that_of_a_signal_is_not() -> None:
    with (
        pytest.raises(PluginError, match=r"failed in loss\(\): SystemExit: no licence for loss"),
        blame(ACME, "loss()"),
    ):
        fail(StrangeConfig(how="exit in loss"), "loss")
    with pytest.raises(SystemExit), blame(ACME, "loss()"):
        sys.exit(143)


@pytest.mark.parametrize(("pause", "said"), [(0.0, []), (0.3, ["the head 'strange' of acme 1.2 has been in loss()"])])
def test_who_takes_long_is_told(
    pause: float, said: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sslkit.blame, "PATIENCE", 0.1)
    with caplog.at_level(logging.WARNING, "sslkit"), watched(ACME, "loss()"):
        time.sleep(pause)
    time.sleep(0.15)
    assert [record.message.partition(" for ")[0] for record in caplog.records] == said


@pytest.mark.parametrize("function", [blame, sslkit.blame.refuse])
def test_the_examples_run(function: Callable[..., object]) -> None:
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    for example in finder.find(function, globs=vars(sslkit.blame)):
        assert runner.run(example).failed == 0
