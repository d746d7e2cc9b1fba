"""The options of plugins that others wrote are in the schema: those that a test makes, and one that is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from types import SimpleNamespace
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import ConfigDict, Field

from sslkit import Backbone, ConfigPath, Dataset, DownstreamHead, PluginConfig, PretextTask, hookimpl
from sslkit.errors import PluginError
from sslkit.experiment.schema import json_schema
from sslkit.registry import Registry, build_registry

KINDS = {"dataset": Dataset, "backbone": Backbone, "pretext": PretextTask, "head": DownstreamHead}
HOOKS = {"dataset": "datasets", "backbone": "backbones", "pretext": "pretext_tasks", "head": "heads"}


class Crop(PluginConfig):
    """A part of an image.

    Attributes:
        side: in pixels.
    """

    side: int = Field(ge=8, le=64)


class AcmeConfig(PluginConfig):
    """Options of acme's plugins.

    Attributes:
        path: a folder.
        strength: how much.
        mode: how.
        crops: where.
        note: anything.
    """

    path: ConfigPath
    strength: float = Field(0.5, gt=0, lt=1)
    mode: Literal["soft", "hard"] = "soft"
    crops: tuple[Crop, ...] = ()
    note: str | None = None


def registry_of(**attributes: Any) -> Registry:
    """Return the installed plugins and, of each kind, one more that is called acme."""
    hooks = {}
    for key, base in KINDS.items():
        cls = type("Acme", (base,), {"name": "acme", "Config": AcmeConfig, **attributes})
        cls.__abstractmethods__ = frozenset()
        hooks[f"sslkit_{HOOKS[key]}"] = hookimpl(lambda cls=cls: [cls])
    plugin = SimpleNamespace(
        name="acme",
        value="acme",
        dist=SimpleNamespace(name="acme", version="1.2"),
        load=lambda: SimpleNamespace(**hooks),
    )
    return build_registry([*metadata.entry_points(group="sslkit"), plugin])


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(json.dumps(json_schema(registry_of())))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def study(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "synthetic-fundus"},
        "backbone": {"name": "densenet121"},
        "pretext": {"name": "rotation"},
        "head": {"name": "dr-grade"},
        **changes,
    }


RIGHT: list[dict[str, Any]] = [
    {"path": "a"},
    {"path": "a", "strength": 0.9, "mode": "hard", "note": "x"},
    {"path": "a", "crops": [{"side": 8}, {"side": 64}]},
]
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "'path' is a required property"),
    ({"path": 3}, ".path", "3 is not of type 'string'"),
    ({"path": "a", "strenght": 0.9}, "", "Additional properties are not allowed ('strenght' was unexpected)"),
    ({"path": "a", "strength": "big"}, ".strength", "'big' is not of type 'number'"),
    ({"path": "a", "strength": 1}, ".strength", "1 is greater than or equal to the maximum of 1"),
    ({"path": "a", "mode": "sfot"}, ".mode", "'sfot' is not one of ['soft', 'hard']"),
    ({"path": "a", "note": 3}, ".note", "3 is not of type 'string'"),
    ({"path": "a", "crops": {}}, ".crops", "{} is not of type 'array'"),
    ({"path": "a", "crops": [{"side": 8}, {"side": 4}]}, ".crops[1].side", "4 is less than the minimum of 8"),
    (
        {"path": "a", "crops": [{"side": 8, "sied": 8}]},
        ".crops[0]",
        "Additional properties are not allowed ('sied' was unexpected)",
    ),
]


def tables_of(options: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place of acme's table and a study, for each kind of plugin and for one of several pretext tasks."""
    table = {"name": "acme", **options}
    yield from ((f"$.{key}", study(**{key: table})) for key in KINDS)
    yield "$.pretext[1]", study(pretext=[{"name": "rotation"}, table])


@pytest.mark.parametrize("options", RIGHT)
def test_right_options_of_every_kind_are_accepted(
    validator: jsonschema.Draft202012Validator, options: dict[str, Any]
) -> None:
    for _, tables in tables_of(options):
        validator.validate(tables)


@pytest.mark.parametrize(("options", "where", "message"), WRONG)
def test_a_wrong_option_of_every_kind_is_told_once_where_it_is(
    validator: jsonschema.Draft202012Validator, options: dict[str, Any], where: str, message: str
) -> None:
    for table, tables in tables_of(options):
        (error,) = validator.iter_errors(tables)
        assert (error.json_path, error.message) == (f"{table}{where}", message)


def test_options_within_options_are_described_too(validator: jsonschema.Draft202012Validator) -> None:
    definitions = validator.schema["$defs"]
    assert definitions["head.acme"]["properties"]["strength"]["description"] == "how much."
    assert definitions["head.acme:Crop"]["properties"]["side"]["description"] == "in pixels."


def test_options_of_one_plugin_are_none_of_another() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(registry_of()))
    assert not validator.is_valid(study(pretext={"name": "rotation", "path": "a"}))
    assert not validator.is_valid(study(pretext={"name": "acme", "path": "a", "turns": "one"}))


def offered(schema: dict[str, Any], root: dict[str, Any]) -> set[str]:
    """Return the keys that an editor finds which looks into every branch, but not at conditions, as taplo does."""
    if "$ref" in schema:
        return offered(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    branches = [branch for word in ("oneOf", "anyOf", "allOf") for branch in schema.get(word, [])]
    return {*schema.get("properties", {})}.union(*(offered(branch, root) for branch in branches))


@pytest.mark.parametrize("key", KINDS)
def test_options_are_found_by_editors_that_do_not_look_at_conditions(
    validator: jsonschema.Draft202012Validator, key: str
) -> None:
    keys = {"name", *AcmeConfig.model_fields}
    table = validator.schema["properties"][key]
    assert offered(table, validator.schema) >= keys
    if key == "pretext":
        assert offered(table["items"], validator.schema) >= keys


class Node(PluginConfig):
    """Options that hold others of their kind."""

    size: int = 1
    children: tuple[Node, ...] = ()


def test_options_may_hold_options_of_their_own_kind() -> None:
    validator = jsonschema.Draft202012Validator(json_schema(registry_of(Config=Node)))
    validator.validate(study(head={"name": "acme", "children": [{"size": 2, "children": [{"size": 3}]}]}))
    (error,) = validator.iter_errors(study(head={"name": "acme", "children": [{"children": [{"size": "3"}]}]}))
    assert (error.json_path, error.message) == ("$.head.children[0].children[0].size", "'3' is not of type 'integer'")
    (error,) = validator.iter_errors(study(head={"name": "acme", "children": [{"name": "acme"}]}))
    assert error.json_path == "$.head.children[0]"


def test_options_may_be_called_as_the_words_of_a_schema_are() -> None:
    class Words(PluginConfig):
        """Options with odd names.

        Attributes:
            default: of what.
            hidden: under the name "shown".
        """

        anyOf: int | None = None
        default: int | str | None = None
        hidden: int = Field(1, validation_alias="shown")

    validator = jsonschema.Draft202012Validator(json_schema(registry_of(Config=Words)))
    validator.validate(study(head={"name": "acme", "anyOf": 1, "default": "a", "shown": 2}))
    assert validator.schema["$defs"]["head.acme"]["properties"]["default"]["description"] == "of what."
    wrong = study(head={"name": "acme", "anyOf": "1", "default": 0.5, "hidden": 2})
    assert sorted(error.json_path for error in validator.iter_errors(wrong)) == [
        *("$.head", "$.head.anyOf", "$.head.default"),
    ]


def test_two_plugins_of_one_name_have_no_schema() -> None:
    with pytest.raises(PluginError, match=r"^two plugins are called dataset 'csv': "):
        json_schema(registry_of(name="csv"))


def test_a_plugin_whose_options_have_no_schema_is_named() -> None:
    class Odd(PluginConfig):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        made: SimpleNamespace

    with pytest.raises(PluginError, match=r"^the dataset 'acme' of acme 1\.2 failed in the schema of its options: "):
        json_schema(registry_of(Config=Odd))


PLUGIN = '''
from typing import ClassVar, Literal

from pydantic import Field

from sslkit import Dataset, PluginConfig, hookimpl


class ScansConfig(PluginConfig):
    """Options of scans.

    Attributes:
        slices: of each scan.
        plane: through the body.
    """

    slices: int = Field(3, ge=1, le=9)
    plane: Literal["axial", "coronal"] = "axial"


class Scans(Dataset[ScansConfig]):
    """Scans of acme."""

    name = "acme-scans"
    api_version = 1
    Config: ClassVar[type[PluginConfig]] = ScansConfig

    def records(self):
        return []


@hookimpl
def sslkit_datasets():
    return [Scans]
'''


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> jsonschema.Draft202012Validator:
    """What the command prints in an environment where a distribution of acme's is installed."""
    site = tmp_path_factory.mktemp("site")
    info = site / "acme_scans-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-scans\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[sslkit]\nscans = acme_scans\n")
    (site / "acme_scans.py").write_text(PLUGIN)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", "from sslkit.cli import main; main()", "config", "schema"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    return jsonschema.Draft202012Validator(json.loads(done.stdout))


@pytest.mark.parametrize("options", [{}, {"slices": 9, "plane": "coronal"}])
def test_right_options_of_an_installed_plugin_are_accepted(
    printed: jsonschema.Draft202012Validator, options: dict[str, Any]
) -> None:
    printed.validate(study(dataset={"name": "acme-scans", **options}))


@pytest.mark.parametrize(
    ("options", "where", "message"),
    [
        ({"slics": 3}, "$.dataset", "Additional properties are not allowed ('slics' was unexpected)"),
        ({"slices": "3"}, "$.dataset.slices", "'3' is not of type 'integer'"),
        ({"slices": 10}, "$.dataset.slices", "10 is greater than the maximum of 9"),
        ({"plane": "axail"}, "$.dataset.plane", "'axail' is not one of ['axial', 'coronal']"),
    ],
)
def test_a_wrong_option_of_an_installed_plugin_is_told_where_it_is(
    printed: jsonschema.Draft202012Validator, options: dict[str, Any], where: str, message: str
) -> None:
    (error,) = printed.iter_errors(study(dataset={"name": "acme-scans", **options}))
    assert (error.json_path, error.message) == (where, message)


def test_options_of_an_installed_plugin_are_described(printed: jsonschema.Draft202012Validator) -> None:
    slices = printed.schema["$defs"]["dataset.acme-scans"]["properties"]["slices"]
    assert (slices["description"], slices["default"]) == ("of each scan.", 3)


def test_without_the_distribution_its_name_is_refused(validator: jsonschema.Draft202012Validator) -> None:
    (error,) = validator.iter_errors(study(dataset={"name": "acme-scans"}))
    assert (error.json_path, error.message.partition(" is ")[0]) == ("$.dataset.name", "'acme-scans'")
