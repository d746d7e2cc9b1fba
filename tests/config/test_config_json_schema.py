from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sslkit.config import parse_config, to_toml
from sslkit.experiment.schema import json_schema
from sslkit.registry import build_registry

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.toml"))


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(json.dumps(json_schema(build_registry())))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def tables(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "image-folder", "path": "images", "group_pattern": "^(\\d+)_"},
        "backbone": {"name": "timm", "model": "resnet18"},
        "pretext": {"name": "rotation"},
        "head": {"name": "dr-grade", "encoding": "ordinal"},
        "compute": {"workers": 2, "executor": "local"},
        **changes,
    }


def test_it_says_which_draft_it_is(validator: jsonschema.Draft202012Validator) -> None:
    assert validator.schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_option_is_described_for_those_who_point_at_it(validator: jsonschema.Draft202012Validator) -> None:
    definitions = validator.schema["$defs"]
    assert {"dataset.csv", "backbone.timm", "pretext-task.rotation", "head.dr-grade"} <= definitions.keys()
    bare = [
        (name, key)
        for name, definition in definitions.items()
        for key, option in definition.get("properties", {}).items()
        if option is not True and not option.get("description")
    ]
    assert bare == []


def test_defaults_and_meanings_are_those_of_the_code(validator: jsonschema.Draft202012Validator) -> None:
    options = validator.schema["$defs"]["dataset.csv"]["properties"]
    assert options["image_column"]["default"] == "image"
    assert options["image_column"]["description"] == "the column of the images' paths, which also are their ids."
    choice = validator.schema["properties"]["dataset"]["properties"]["name"]
    assert f"'csv': {build_registry().find('dataset', 'csv').summary}" in choice["description"]


def test_null_is_nowhere_since_toml_has_none(validator: jsonschema.Draft202012Validator) -> None:
    assert "null" not in json.dumps(validator.schema)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pretext": [{"name": "rotation"}]},
        {"compute": {"workers": "auto"}},
        {"evaluation": {"label_fractions": [0.1, 1], "arms": ["scratch"]}},
    ],
)
def test_a_good_configuration_is_accepted(validator: jsonschema.Draft202012Validator, changes: dict[str, Any]) -> None:
    validator.validate(tables(**changes))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_accepted(validator: jsonschema.Draft202012Validator, path: Path) -> None:
    validator.validate(tomllib.loads(path.read_text(encoding="utf-8")))


def test_a_resolved_configuration_is_accepted(validator: jsonschema.Draft202012Validator) -> None:
    config = parse_config(tables(), root=Path("/data"))
    validator.validate(tomllib.loads(to_toml(config.model_dump(mode="json", exclude_none=True))))


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        (
            {"dataset": {"name": "image-folder", "path": "images", "grup_pattern": "x"}},
            "$.dataset",
            "Additional properties are not allowed ('grup_pattern' was unexpected)",
        ),
        ({"dataset": {"name": "image-folder", "path": 3}}, "$.dataset.path", "3 is not of type 'string'"),
        ({"dataset": {"name": "image-folder", "path": ""}}, "$.dataset.path", "'' should be non-empty"),
        ({"dataset": {"name": "image-folder"}}, "$.dataset", "'path' is a required property"),
        ({"dataset": {"path": "images"}}, "$.dataset", "'name' is a required property"),
        ({"dataset": "image-folder"}, "$.dataset", "'image-folder' is not of type 'object'"),
        (
            {"dataset": {"name": "synthetic-fundus", "patients": 0}},
            "$.dataset.patients",
            "0 is less than the minimum of 1",
        ),
        (
            {"dataset": {"name": "csv", "table": "a.csv", "group_column": 3}},
            "$.dataset.group_column",
            "3 is not of type 'string'",
        ),
        (
            {"dataset": {"name": "npz", "path": "a.npz", "splits": ["train", "tset"]}},
            "$.dataset.splits[1]",
            "'tset' is not one of ['train', 'val', 'test']",
        ),
        ({"backbone": {"name": "densnet121"}}, "$.backbone.name", "'densnet121' is not one of ['densenet121', "),
        (
            {"backbone": {"name": "densenet121", "model": "resnet18"}},
            "$.backbone",
            "Additional properties are not allowed ('model' was unexpected)",
        ),
        ({"backbone": {"name": "timm", "model": "x", "options": 3}}, "$.backbone.options", "3 is not of type 'object'"),
        ({"pretext": {"name": "rotation", "turns": "two"}}, "$.pretext.turns", "'two' is not one of ['all', 'one']"),
        (
            {"pretext": [{"name": "rotation"}, {"name": "rotatoin"}]},
            "$.pretext[1].name",
            "'rotatoin' is not one of ['",
        ),
        (
            {"pretext": [{"name": "rotation", "trns": "one"}]},
            "$.pretext[0]",
            "Additional properties are not allowed ('trns' was unexpected)",
        ),
        ({"pretext": []}, "$.pretext", "[] should be non-empty"),
        ({"pretext": "rotation"}, "$.pretext", "'rotation' is not of type 'object', 'array'"),
        ({"pretext": ["rotation"]}, "$.pretext[0]", "'rotation' is not of type 'object'"),
        (
            {"head": {"name": "dr-grade", "encoding": "ordnal"}},
            "$.head.encoding",
            "'ordnal' is not one of ['ordinal', 'softmax', 'regression']",
        ),
        ({"compute": {"executor": "lokal"}}, "$.compute.executor", "'lokal' is not one of ['local'"),
        ({"compute": {"workers": 0}}, "$.compute.workers", "0 is not valid under any of the given schemas"),
        ({"evaluation": {"folds": 1}}, "$.evaluation.folds", "1 is less than the minimum of 2"),
        (
            {"evaluation": {"arms": ["scratch", "scratch"]}},
            "$.evaluation.arms",
            "['scratch', 'scratch'] has non-unique elements",
        ),
        ({"images": {"sise": 3}}, "$.images", "Additional properties are not allowed ('sise' was unexpected)"),
        ({"card": {"contact": 3}}, "$.card.contact", "3 is not of type 'string'"),
        ({"imags": {}}, "$", "Additional properties are not allowed ('imags' was unexpected)"),
    ],
)
def test_a_mistake_is_told_once_where_it_is(
    validator: jsonschema.Draft202012Validator, changes: dict[str, Any], where: str, message: str
) -> None:
    (error,) = validator.iter_errors(tables(**changes))
    assert error.json_path == where
    assert error.message.startswith(message)


@pytest.mark.parametrize("key", ["dataset", "backbone", "pretext", "head"])
def test_a_missing_table_is_refused(validator: jsonschema.Draft202012Validator, key: str) -> None:
    lacking = tables()
    del lacking[key]
    with pytest.raises(jsonschema.ValidationError, match=f"'{key}' is a required property"):
        validator.validate(lacking)


def test_the_options_of_an_executor_are_a_table_of_their_own(validator: jsonschema.Draft202012Validator) -> None:
    (error,) = validator.iter_errors(tables(executor={"partition": "gpu"}))
    assert error.json_path == "$.executor"
    (error,) = validator.iter_errors(tables(compute={}, executor={"partition": "gpu"}))  # the default is as strict
    assert error.message.startswith("Additional properties are not allowed ('partition' was unexpected)")
    assert validator.is_valid(tables(executor={}))
