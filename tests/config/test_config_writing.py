from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sslkit.config import to_toml

TEXT = st.text(st.characters(codec="utf-8"))
SCALARS = TEXT | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
TABLES = st.dictionaries(TEXT, VALUES, max_size=6)


def same(read: Any, written: Any) -> bool:
    """Equal, and 1, 1.0 and true told apart."""
    if type(read) is not type(written):
        return False
    if isinstance(read, dict):
        return read.keys() == written.keys() and all(same(read[key], written[key]) for key in read)
    if isinstance(read, list):
        return len(read) == len(written) and all(map(same, read, written))
    return bool(read == written)


@given(TABLES)
@example({"text": "\\u007f and \x7f", "escape": "\\", "face": "😀", "😀": {"\x00": 1}})
@example({"quote": '"\'"""', "lines": "a\r\nb\u2028c\u0085", "": {"a.b": {"c d": 1}}})
@example({"a": [{}, {"b": [{"c": [{"d": [[{"e": []}], {"f": 1}]}]}]}], "z": 1})
@example({"float": -0.0, "large": 1e22, "small": 5e-324, "integer": 10**30})
@settings(deadline=None, max_examples=300)
def test_tomllib_reads_back_what_was_written(tables: dict[str, Any]) -> None:
    assert same(tomllib.loads(to_toml(tables)), tables)


def test_none_is_left_out_wherever_a_key_has_it() -> None:
    tables = {"a": None, "b": {"c": None, "d": 1}, "e": [{"f": None, "g": 2}], "h": [[{"i": None, "j": 3}]]}
    read = tomllib.loads(to_toml(tables))
    assert read == {"b": {"d": 1}, "e": [{"g": 2}], "h": [[{"j": 3}]]}


def test_a_tuple_is_written_as_an_array() -> None:
    assert to_toml({"arms": ("pretrained", "scratch"), "none": ()}) == 'arms = ["pretrained", "scratch"]\nnone = []\n'


def test_tables_are_written_as_people_write_them() -> None:
    tables = {
        "dataset": {"name": "csv", "nested": {"a": 1}},
        "seed": 0,
        "pretext": [{"name": "rotation"}, {"name": "jigsaw", "tiles": 9}],
    }
    assert to_toml(tables) == (
        'seed = 0\n\n[dataset]\nname = "csv"\n\n[dataset.nested]\na = 1\n'
        '\n[[pretext]]\nname = "rotation"\n\n[[pretext]]\nname = "jigsaw"\ntiles = 9\n'
    )


def test_a_value_that_toml_does_not_know() -> None:
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        to_toml({"a": object()})
