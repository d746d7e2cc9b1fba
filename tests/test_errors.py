from __future__ import annotations

import re

import pytest

from sslkit import errors
from sslkit.errors import RunError, SslkitError, UsageError, did_you_mean

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SslkitError)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_exit_status_tells_wrong_use_from_a_failed_run(cls: type[SslkitError]) -> None:
    assert cls.exit_status == (2 if issubclass(cls, UsageError) else 1)
    assert cls in (SslkitError, UsageError, RunError) or cls.__base__ in (UsageError, RunError)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"^ {4}([│ ├└─]*)(\w+Error)\b", errors.__doc__, re.MULTILINE)
    above: list[str] = []
    parents = {}
    for branches, name in drawn:
        depth = len(branches) // 4
        parents[name] = above[depth - 1] if depth else "Exception"
        above = [*above[:depth], name]
    assert parents == {cls.__name__: cls.__base__.__name__ for cls in CLASSES}


@pytest.mark.parametrize(
    ("given", "accepted", "expected"),
    [
        ("rotatoin", ["jigsaw", "rotation"], "; did you mean 'rotation'?"),
        ("bathc_size", iter(["batch_size", "epochs"]), "; did you mean 'batch_size'?"),
        ("xyz", ["jigsaw", "rotation"], ""),
        ("rotation", [], ""),
        ("", ["rotation"], ""),
        ("image", ["image\x1b"], r"; did you mean 'image\x1b'?"),
    ],
)
def test_the_nearest_word(given: str, accepted: list[str], expected: str) -> None:
    assert did_you_mean(given, accepted) == expected
