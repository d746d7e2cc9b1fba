from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from broken.pretext_tasks import BROKEN, Sound
from command_line import sslkit

from sslkit import Backbone, PluginConfig, hookimpl, registry
from sslkit.cli.plugins import KINDS
from sslkit.registry import discovery
from sslkit.testing import CHECKS


@pytest.fixture
def _quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the checks that take seconds: what each finds is tested elsewhere, and here how it is told."""
    costly = {"check_compiles", "check_views_are_the_same_elsewhere", "check_loss_falls", "check_memory_does_not_grow"}
    few = tuple(check for check in CHECKS["pretext-task"] if check.name not in costly)
    monkeypatch.setitem(CHECKS, "pretext-task", few)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the registry find these pretext task classes, and an entry point that is broken."""

    def install(*classes: Any) -> None:
        module = SimpleNamespace(sslkit_pretext_tasks=hookimpl(lambda: classes))
        points = [entry_point("acme", lambda: module), entry_point("wreck", lambda: 1 / 0)]
        monkeypatch.setattr(discovery, "metadata", SimpleNamespace(entry_points=lambda group: points))

    return install


def entry_point(name: str, load: Any) -> Any:
    return SimpleNamespace(name=name, value=name, dist=SimpleNamespace(name="acme", version="1.2"), load=load)


def test_the_kinds_are_those_of_the_registry() -> None:
    assert KINDS == registry.KINDS


@pytest.mark.usefixtures("_quick_checks")
def test_a_sound_plugin_ends_with_status_0_and_a_table_of_its_checks(installed: Any) -> None:
    installed(Sound)

    outcome = sslkit("plugins", "check", "sound")

    assert outcome.status == 0, outcome.out
    assert "pretext-task sound of acme 1.2" in outcome.out
    assert outcome.out.count("✓") == len(CHECKS["pretext-task"])
    assert f"{len(CHECKS['pretext-task'])} passed, in " in outcome.out


@pytest.mark.usefixtures("_quick_checks")
def test_a_broken_plugin_ends_with_status_1_and_the_message_below_the_table(installed: Any) -> None:
    installed(BROKEN["check_metrics"])

    outcome = sslkit("plugins", "check", "sound", "--kind", "pretext-task", "--set", "share=0.25")

    assert outcome.status == 1
    assert "✗   check_metrics" in outcome.out
    assert "the metric 'doubled' is not detached, and keeps its update's graph in memory" in outcome.out
    assert "1 failed, in " in outcome.out


@pytest.mark.usefixtures("_quick_checks")
def test_json_is_alone_on_standard_output(installed: Any) -> None:
    installed(BROKEN["check_is_documented"])

    outcome = sslkit("plugins", "check", "sound", "--json")

    told = json.loads(outcome.out)
    assert outcome.status == 1
    assert {key: told[key] for key in ("kind", "name", "distribution", "version")} == {
        "kind": "pretext-task",
        "name": "sound",
        "distribution": "acme",
        "version": "1.2",
    }
    assert [check["check"] for check in told["checks"]] == [check.name for check in CHECKS["pretext-task"]]
    assert [check["check"] for check in told["checks"] if check["outcome"] == "failed"] == ["check_is_documented"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["soud"],
            "Error: no plugin is called 'soud'; did you mean 'sound'? Installed: sound. See 'sslkit",
        ),
        (["wreck"], "Error: 'wreck' of acme was set aside, so nothing can be checked:\nTraceback"),
        (["sound", "--kind", "head"], "Error: unknown head 'sound'. Installed: none (1 set aside as broken). See "),
        (
            ["sound", "--set", "share=2"],
            "Error: share: input should be less than 1; given: 2.\nOptions of a plugin are given by --set KEY=VALUE.",
        ),
        (["sound", "--set", "shar=0.2"], "Error: shar: unknown key; did you mean 'share'?"),
        (["sound", "--set", "share"], "Error: --set 'share' is not KEY=VALUE"),
    ],
)
def test_a_mistake_ends_with_status_2_and_says_so(installed: Any, arguments: list[str], message: str) -> None:
    installed(Sound)

    outcome = sslkit("plugins", "check", *arguments)

    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.out == ""


def test_a_name_of_two_kinds_asks_for_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    class Namesake(Backbone[PluginConfig]):
        """A backbone of the same name."""

        name = "sound"
        api_version = 1

        def build(self, *, pretrained: bool = False) -> Any:
            raise NotImplementedError

    module = SimpleNamespace(
        sslkit_pretext_tasks=hookimpl(lambda: [Sound]), sslkit_backbones=hookimpl(lambda: [Namesake])
    )
    monkeypatch.setattr(
        discovery, "metadata", SimpleNamespace(entry_points=lambda group: [entry_point("acme", lambda: module)])
    )

    outcome = sslkit("plugins", "check", "sound")

    assert outcome.status == 2
    assert outcome.err == "Error: there is a pretext-task and a backbone called 'sound'; say which by --kind\n"


def test_an_observer_has_no_checks() -> None:
    outcome = sslkit("plugins", "check", "mlflow")

    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == "Error: 'mlflow' is an observer of runs, for which there are no checks\n"


def test_a_data_set_that_finds_nothing_is_no_fault_of_its_class(tmp_path: Path) -> None:
    outcome = sslkit("plugins", "check", "csv", "--set", f"table={tmp_path / 'none.csv'}")

    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: no table at {tmp_path / 'none.csv'}")


def test_checks_that_fail_alike_are_told_of_together(installed: Any) -> None:
    class Failing(Sound):
        """Raises in its forward pass."""

        def forward(self, views: Any) -> Any:
            raise ZeroDivisionError("a slip of the pen")

    installed(Failing)

    outcome = sslkit("plugins", "check", "sound")

    assert outcome.status == 1
    # Once for all that fail by it alone, and once more where a check says in which circumstances it does.
    assert outcome.out.count("ZeroDivisionError: a slip of the pen") == 2
    assert "and 14 more: check_" in " ".join(outcome.out.split())
    assert "site-packages" not in outcome.out
