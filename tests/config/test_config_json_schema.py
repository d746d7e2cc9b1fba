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
    ("changes", "where"),
    [
        ({"dataset": {"name": "image-folder", "path": "images", "grup_pattern": "x"}}, "dataset"),
        ({"dataset": {"name": "image-folder", "path": 3}}, "dataset"),
        ({"dataset": {"name": "image-folder"}}, "dataset"),
        ({"dataset": {"path": "images"}}, "dataset"),
        ({"backbone": {"name": "densnet121"}}, "backbone"),
        ({"pretext": [{"name": "rotation"}, {"name": "rotatoin"}]}, "pretext"),
        ({"pretext": []}, "pretext"),
        ({"head": {"name": "dr-grade", "encoding": "ordnal"}}, "head"),
        ({"compute": {"executor": "lokal"}}, "compute"),
        ({"compute": {"workers": 0}}, "compute"),
        ({"evaluation": {"folds": 1}}, "evaluation"),
        ({"images": {"sise": 3}}, "images"),
        ({"imags": {}}, None),
    ],
)
def test_a_mistake_is_refused_where_it_is(
    validator: jsonschema.Draft202012Validator, changes: dict[str, Any], where: str | None
) -> None:
    errors = list(validator.iter_errors(tables(**changes)))
    assert [error.path[0] if error.path else None for error in errors] == [where]


@pytest.mark.parametrize("key", ["dataset", "backbone", "pretext", "head"])
def test_a_missing_table_is_refused(validator: jsonschema.Draft202012Validator, key: str) -> None:
    lacking = tables()
    del lacking[key]
    with pytest.raises(jsonschema.ValidationError, match=f"'{key}' is a required property"):
        validator.validate(lacking)
