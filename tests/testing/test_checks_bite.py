"""Each check catches a plugin that is broken in its way, and no other check catches that one."""

from __future__ import annotations

from typing import Any

import pytest
from broken import backbones, datasets, executors, heads, pretext_tasks

from sslkit.testing import CHECKS, check_plugin, make_subject
from sslkit.testing.checks.catalogue import Check
from sslkit.testing.running import carry_out

KINDS: dict[str, Any] = {
    "pretext-task": pretext_tasks,
    "backbone": backbones,
    "head": heads,
    "dataset": datasets,
    "executor": executors,
}
COSTLY = {
    "check_views_are_the_same_elsewhere",
    "check_compiles",
    "check_images_are_the_same_elsewhere",
    "check_deaths_are_survived",
}
"""Left out of the quick test, but for the plugins that are broken in their way."""


BROKEN = [
    pytest.param(kind, name, cls, id=f"{kind}-{name}")
    for kind, module in KINDS.items()
    for name, cls in module.BROKEN.items()
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_plugin_passes_every_check(kind: str) -> None:
    records = check_plugin(KINDS[kind].SOUND, options(kind))

    assert [record for record in records if record.outcome != "passed"] == []
    assert [record.check for record in records] == [check.name for check in CHECKS[kind]]


@pytest.mark.parametrize(("kind", "name", "cls"), BROKEN)
def test_a_broken_plugin_is_caught_by_its_check_alone(kind: str, name: str, cls: Any) -> None:
    caught = failing(kind, cls, [check for check in CHECKS[kind] if check.name == name or check.name not in COSTLY])

    assert list(caught) == [name], caught


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "cls"), BROKEN)
def test_no_costly_check_catches_another_ones_plugin(kind: str, name: str, cls: Any) -> None:
    caught = failing(kind, cls, [check for check in CHECKS[kind] if check.name in COSTLY - {name}])

    assert caught == {}


def options(kind: str) -> Any:
    """Return the options of the plugins of a kind; most have defaults for all of theirs."""
    return getattr(KINDS[kind], "OPTIONS", None)


def failing(kind: str, cls: Any, checks: list[Check]) -> dict[str, str]:
    subject = make_subject(cls, options(kind))
    records = [carry_out(check, subject) for check in checks]
    return {record.check: record.message + record.traceback for record in records if record.outcome == "failed"}


def test_every_check_has_a_broken_plugin() -> None:
    without = {
        f"{kind}: {check.name}" for kind, checks in CHECKS.items() for check in checks if not is_shown(kind, check.name)
    }
    assert without == set()


def is_shown(kind: str, name: str) -> bool:
    """Return whether there is a plugin for the check; one of any kind, where the check is of every kind."""
    everywhere = all(name in {check.name for check in checks} for checks in CHECKS.values())
    return any(name in module.BROKEN for own, module in KINDS.items() if own == kind or everywhere)
