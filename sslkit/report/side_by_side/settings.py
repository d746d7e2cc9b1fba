"""What differs between the configurations of runs, and between the machines and the software that they ran on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sslkit.report.side_by_side.named import NamedRun

ABSENT = "not set"


def differing_settings(runs: Sequence[NamedRun]) -> dict[str, list[str]]:
    """Return the dotted keys of config.toml whose values differ, each with the value of every run.

    The run's name is no setting. Tables in lists are counted from 0: ``pretext.0.name``.
    """
    return _differing([dict(_flat(run.run.tables)) for run in runs], without=("name",))


def differing_surroundings(runs: Sequence[NamedRun]) -> dict[str, list[str]]:
    """Return versions, hardware and commits that differ, each with the value of every run."""
    keys = ("versions", "hardware", "git")
    return _differing([dict(_flat({key: run.run.info.get(key) or {} for key in keys})) for run in runs])


def _differing(flat: Sequence[Mapping[str, str]], without: Sequence[str] = ()) -> dict[str, list[str]]:
    keys = dict.fromkeys(key for values in flat for key in values)
    found = {key: [values.get(key, ABSENT) for values in flat] for key in keys if key not in without}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of tables with their dotted keys."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for place, item in enumerate(value):
            yield from _flat(item, f"{key}.{place}")
    else:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
