from __future__ import annotations

from pydantic import Field

from sslkit import PluginConfig
from sslkit.config.descriptions import documented


class Base(PluginConfig):
    """Options.

    Attributes:
        size: side in
            pixels: an even number.
        seed: of the draws.

    Raises:
        ValueError: never.
    """

    size: int = 2
    seed: int = 0


class Inner(PluginConfig):
    """A table within.

    Attributes:
        depth: how deep.
    """

    depth: int


class Derived(Base):
    """More options.

    Attributes:
        seed: of other draws.
        alpha: under another name.
        share: told of by the field.
        inner: a table.
    """

    alpha: float = Field(0.5, alias="a-l-p-h-a")
    share: float = Field(0.5, description="The field's own words.")
    inner: Inner
    bare: int = 0


class Silent(PluginConfig):
    size: int = 1


def test_attributes_are_taken_from_the_docstring_one_line_each() -> None:
    assert documented(Base) == {"size": "side in pixels: an even number.", "seed": "of the draws."}


def test_what_is_inherited_is_described_where_it_was_declared_unless_described_anew() -> None:
    assert documented(Derived)["size"] == "side in pixels: an even number."
    assert documented(Derived)["seed"] == "of other draws."


def test_a_class_without_a_docstring_describes_nothing() -> None:
    assert documented(Silent) == {}


def test_the_schema_of_a_model_has_the_descriptions() -> None:
    schema = Derived.model_json_schema()
    assert {key: option.get("description") for key, option in schema["properties"].items()} == {
        "size": "side in pixels: an even number.",
        "seed": "of other draws.",
        "a-l-p-h-a": "under another name.",
        "share": "The field's own words.",
        "inner": "a table.",
        "bare": None,
    }
    assert schema["$defs"]["Inner"]["properties"]["depth"]["description"] == "how deep."
