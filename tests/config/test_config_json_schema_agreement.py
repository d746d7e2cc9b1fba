"""The schema and the loader agree: on every option, by values of every type and at the ends of what it accepts."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sslkit import build_registry, parse_config
from sslkit.errors import ConfigError, PluginError
from sslkit.experiment.schema import json_schema
from sslkit.experiment.study import configure
from sslkit.registry import Kind

REGISTRY = build_registry()
SCHEMA = json_schema(REGISTRY)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
KINDS: dict[str, Kind] = {"dataset": "dataset", "backbone": "backbone", "pretext": "pretext-task", "head": "head"}
OWN = [plugin for plugin in REGISTRY.plugins if plugin.distribution == "sslkit" and plugin.kind in KINDS.values()]
REQUIRED: dict[str, dict[str, Any]] = {
    **{name: {"path": "a"} for name in ("image-folder", "npz", "dicom")},
    "csv": {"table": "a.csv"},
    "timm": {"model": "resnet18"},
    "combine": {"parts": [{"name": "rotation"}, {"name": "jigsaw"}]},
}

PLAIN: list[Any] = [
    *(True, False, -1, 0, 1, 2, 3, 10**6, 10**9, -0.5, 0.25, 0.5, 1.5, 20.5),
    *("", " ", "a", "auto", "none", "1"),
    *([], [1], [0.5], [0.5, 0.5], ["a"], ["scratch"], ["scratch", "scratch"], ["train"], [[]], [{}], [True]),
    *({}, {"a": 1}, {"name": "rotation"}, [{"name": "rotation"}, {"name": "jigsaw", "gap": 0.1}]),
]
"""A value of every type that TOML has; none is a float without a fraction, which JSON takes for a whole number."""

BEYOND_A_SCHEMA = {
    "finetuning.updates": "not less than head_updates",
    "finetuning.head_updates": "not more than updates",
    "pretraining.keep": "the best epoch is found by probes",
    "evaluation.repetitions": "the cells are counted",
    "evaluation.folds": "the cells are counted",
    "dataset csv.delimiter": "one character, and not every one",
    "dataset csv.group_pattern": "a regular expression with one group, and no group_column beside it",
    "dataset dicom.key": "no effect without labels",
    "dataset dicom.id_column": "no effect without labels",
    "dataset dicom.label_column": "no effect without labels",
    "dataset image-folder.group_pattern": "a regular expression with one group",
    "dataset npz.splits": "at least one, and each once",
    "dataset synthetic-fundus.proportions": "five that sum to one",
    "pretext cpc.first_step": "not more than last_step, and within the grid",
    "pretext cpc.last_step": "not less than first_step, and within the grid",
    "pretext dino.first_teacher_temperature": "below the student's",
    "pretext dino.teacher_temperature": "below the student's",
    "pretext dino.local_min_area": "below the area that global views begin at",
    "pretext relative-patch.jitter": "leaves something of a cell beside the gap",
    "pretext simsiam.bottleneck": "narrower than the projection",
    "pretext simsiam.width": "wider than the bottleneck",
}
"""Options of which the loader knows more than a schema can say, or than theirs says."""

Study = dict[str, Any]


def study(**changes: Any) -> Study:
    return {
        "dataset": {"name": "synthetic-fundus"},
        "backbone": {"name": "densenet121"},
        "pretext": {"name": "rotation"},
        "head": {"name": "dr-grade"},
        **changes,
    }


def loads(tables: Study) -> bool:
    """Return whether a configuration and the options of its plugins are accepted, without their data."""
    try:
        config = parse_config(copy.deepcopy(tables), root=Path("/"))
        REGISTRY.configure("executor", config.compute.executor, config.executor, root=config.root, key="executor")
        for key, kind in KINDS.items():
            chosen = getattr(config, key)
            for table in chosen if key == "pretext" else [chosen]:
                configure(REGISTRY, config.root, kind, table, key)
    except (ConfigError, PluginError):
        return False
    return True


def options() -> Iterator[tuple[str, str, dict[str, Any], str, dict[str, Any]]]:
    """Yield of each option: its name here, its table, what else stands there, its key, and its schema."""
    for key, option in SCHEMA["properties"].items():
        reference = option.get("$ref", "").rpartition("/")[2]
        for inner, schema in SCHEMA["$defs"].get(reference, {}).get("properties", {}).items():
            yield f"{key}.{inner}", key, {}, inner, schema
    for plugin in OWN:
        table = next(key for key, kind in KINDS.items() if kind == plugin.kind)
        others = {"name": plugin.name, **REQUIRED.get(plugin.name, {})}
        for inner, schema in SCHEMA["$defs"][f"{plugin.kind}.{plugin.name}"]["properties"].items():
            if inner != "name":
                yield f"{table} {plugin.name}.{inner}", table, others, inner, schema


def at_the_ends(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield what an option's schema names, and what lies on, below and above its bounds."""
    for branch in schema.get("anyOf", [schema]):
        yield from branch.get("enum", [])
        yield from (branch[word] for word in ("const", "default") if word in branch)
        step = 1 if branch.get("type") == "integer" else 0.125
        for bound in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
            if bound in branch:
                yield from (branch[bound] - step, branch[bound] + step)
                if branch["type"] == "integer":
                    yield branch[bound]


OPTIONS = list(options())


def test_every_table_and_every_plugin_of_the_toolkit_is_among_the_options() -> None:
    names = {name for name, *_ in OPTIONS}
    assert {"images.size", "evaluation.arms", "card.contact", "dataset csv.table", "backbone timm.model"} <= names
    assert {"pretext rotation.turns", "head dr-grade.encoding"} <= names
    assert BEYOND_A_SCHEMA.keys() <= names


@pytest.mark.parametrize(("name", "table", "others", "key", "schema"), OPTIONS, ids=[name for name, *_ in OPTIONS])
def test_they_agree_on_an_option(
    name: str, table: str, others: dict[str, Any], key: str, schema: dict[str, Any]
) -> None:
    told_by_the_loader_alone = []
    answers = set()
    for value in [*PLAIN, *at_the_ends(schema)]:
        tables = study(**{table: {**others, key: value}})
        by_schema, by_loader = VALIDATOR.is_valid(tables), loads(tables)
        assert by_schema or not by_loader, f"the schema refuses {value!r}, which the loader accepts"
        answers.add(by_schema)
        if by_schema and not by_loader:
            told_by_the_loader_alone.append(value)
    assert answers == {True, False}
    assert bool(told_by_the_loader_alone) == (name in BEYOND_A_SCHEMA), told_by_the_loader_alone


@pytest.mark.parametrize("key", [*SCHEMA["properties"], "unknown"])
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_they_agree_on_what_stands_above_all_tables(key: str, value: Any) -> None:
    tables = study(**{key: value})
    assert VALIDATOR.is_valid(tables) == loads(tables)


@pytest.mark.parametrize("plugin", OWN, ids=lambda plugin: plugin.name)
def test_they_agree_on_tables_of_a_plugin(plugin: Any) -> None:
    table = next(key for key, kind in KINDS.items() if kind == plugin.kind)
    good = {"name": plugin.name, **REQUIRED.get(plugin.name, {})}
    lacking = [{key: value for key, value in good.items() if key != left_out} for left_out in good]
    for bad in ({**good, "unknown": 1}, {**good, "name": f"{plugin.name}s"}, *lacking):
        assert not VALIDATOR.is_valid(study(**{table: bad}))
        assert not loads(study(**{table: bad}))
    assert VALIDATOR.is_valid(study(**{table: good}))
    assert loads(study(**{table: good}))


@pytest.mark.parametrize("left_out", KINDS)
def test_they_agree_on_a_missing_table(left_out: str) -> None:
    tables = study()
    del tables[left_out]
    assert not VALIDATOR.is_valid(tables)
    assert not loads(tables)


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"name": "rotatoin"},
        {"name": 3},
        {"name": "jigsaw", "weight": 0.0},
        {"name": "jigsaw", "weight": "much"},
        {"name": "jigsaw", "gap": -1.0},
        {"name": "jigsaw", "turns": "one"},
        {"name": "combine"},
        {"name": "combine", "parts": [{"name": "rotation"}, {"name": "jigsaw", "gap": "none"}]},
    ],
    ids=repr,
)
def test_they_agree_on_the_parts_of_a_combination(part: dict[str, Any]) -> None:
    good = {"name": "jigsaw", "weight": 0.5, "gap": 0.2}
    for inner, valid in ((good, True), (part, False)):
        tables = study(pretext={"name": "combine", "parts": [{"name": "rotation", "turns": "one"}, inner]})
        assert VALIDATOR.is_valid(tables) == loads(tables) == valid


def test_what_is_wrong_with_a_part_is_told_at_its_key() -> None:
    parts = [{"name": "rotation"}, {"name": "jigsaw", "gap": "wide"}]
    errors = list(VALIDATOR.iter_errors(study(pretext={"name": "combine", "parts": parts})))
    assert {tuple(leaf.absolute_path) for leaf in leaves(errors)} == {("pretext", "parts", 1, "gap")}


def leaves(errors: list[Any]) -> list[Any]:
    return [leaf for error in errors for leaf in (leaves(error.context) if error.context else [error])]
