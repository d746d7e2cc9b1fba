from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError, field_validator, model_validator

from sslkit.config.base import ConfigPath, PluginConfig
from sslkit.config.messages import describe_validation_error


class Part(PluginConfig):
    name: str
    weight: float = 1.0


class Crop(PluginConfig):
    side: int


class Options(PluginConfig):
    parts: tuple[Part, ...] = ()
    extra: Part | None = None
    angles: Annotated[int, Field(ge=2)] | Literal["all"] = "all"
    either: Part | Crop | None = None
    by_name: dict[str, Part] = Field(default_factory=dict)
    file: ConfigPath | None = None
    temperature: float = Field(0.1, alias="tau")

    @field_validator("temperature")
    @classmethod
    def _warm(cls, value: float) -> float:
        if value == 0:
            raise ValueError("a temperature of 0 divides by it; give a larger one")
        return value

    @model_validator(mode="after")
    def _together(self) -> Options:
        if self.parts and self.extra:
            raise ValueError("parts and extra exclude each other")
        return self


class Empty(PluginConfig):
    pass


def described(json: str, model: type[PluginConfig] = Options, prefix: str = "pretext") -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate_json(json)
    return describe_validation_error(caught.value, model, prefix)


@pytest.mark.parametrize(
    ("json", "message"),
    [
        (
            '{"part": 1}',
            "pretext.part: unknown key; did you mean 'parts'? "
            "Accepted here: angles, by_name, either, extra, file, parts, tau.",
        ),
        (
            '{"parts": [{"name": "a"}, {"name": "b", "wieght": 1}]}',
            "pretext.parts.1.wieght: unknown key; did you mean 'weight'? Accepted here: name, weight.",
        ),
        ('{"parts": [{}]}', "pretext.parts.0.name: is required and missing."),
        (
            '{"extra": {"nme": "a", "name": "b"}}',
            "pretext.extra.nme: unknown key; did you mean 'name'? Accepted here: name, weight.",
        ),
        ('{"extra": [1]}', "pretext.extra: should be a table; given: [1]."),
        (
            '{"angles": 1}',
            "pretext.angles: input should be greater than or equal to 2, or input should be 'all'; given: 1.",
        ),
        ('{"tau": 0}', "pretext.tau: a temperature of 0 divides by it; give a larger one"),
        (
            '{"temperature": 1}',
            "pretext.temperature: unknown key. Accepted here: angles, by_name, either, extra, file, parts, tau.",
        ),
        (
            '{"parts": [{"name": "a"}], "extra": {"name": "a"}}',
            "pretext: parts and extra exclude each other",
        ),
        ('{"by_name": 3}', "pretext.by_name: should be a table; given: 3."),
        ('{"by_name": {"a": {}}}', "pretext.by_name.a.name: is required and missing."),
    ],
)
def test_a_line_names_the_key_and_what_is_accepted(json: str, message: str) -> None:
    assert described(json) == message


def test_the_branches_of_a_union_are_no_part_of_the_path() -> None:
    keys = [line.partition(":")[0] for line in described('{"either": {"name": 3, "side": "3"}}').split("\n")]
    assert keys == ["pretext.either.name", "pretext.either.side"]


def test_a_plugin_without_options() -> None:
    assert described('{"tiles": 9}', Empty, "backbone") == "backbone.tiles: unknown key. Accepted here: none."


def test_without_a_prefix_the_path_stands_alone() -> None:
    assert described('{"parts": [{}]}', prefix="") == "parts.0.name: is required and missing."
    assert described('{"parts": [{"name": "a"}], "extra": {"name": "a"}}', prefix="") == (
        "configuration: parts and extra exclude each other"
    )


def test_what_is_quoted_is_short_and_obeyed_by_no_terminal() -> None:
    assert described(json.dumps({"parts": "\x1b[2J" * 100})) == (
        "pretext.parts: input should be a valid array; given: '"
        + r"\x1b[2J" * 11
        + r"\x ... b[2J"
        + r"\x1b[2J" * 5
        + "'."
    )
    assert described(json.dumps({"\x1b[2J\n" * 40: 1, "": 1})) == (
        "pretext."
        + r"\x1b[2J\n" * 4
        + r"\x1b ... "
        + r"\n\x1b[2J\n\x1b[2J\n: unknown key. Accepted here: angles, by_name, either, extra, file, parts, tau."
        + '\npretext."": unknown key. Accepted here: angles, by_name, either, extra, file, parts, tau.'
    )
    table = {"\x1b": 1, **{f"key{number}": 1 for number in range(50)}}
    keys = ", ".join([r"\x1b", *(f"key{number}" for number in range(39))])
    assert described(json.dumps({"parts": [{"name": table}]})) == (
        f"pretext.parts.0.name: input should be a valid string; given: a table with {keys}, ... (51 in all)."
    )


def test_of_thousands_of_mistakes_the_first_are_told() -> None:
    lines = described(json.dumps({f"key{number}": 1 for number in range(5000)})).splitlines()
    assert len(lines) == 21
    assert lines[19].startswith("pretext.key19: unknown key")
    assert lines[20] == "And more: 5000 problems in all; mend these first."
