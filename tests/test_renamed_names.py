from __future__ import annotations

import types
from typing import Any

import pytest

import sslkit
from sslkit.errors import SslkitDeprecationWarning

MESSAGE = r"^sslkit\.fold_of is called sslkit\.longest_first; the old name goes in a later release$"


@pytest.fixture(autouse=True)
def _longest_first_had_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sslkit._RENAMED, "fold_of", "longest_first")


def test_a_name_of_before_still_works_and_warns_whoever_asks_for_it() -> None:
    with pytest.warns(SslkitDeprecationWarning, match=MESSAGE) as warned:
        found: Any = sslkit.fold_of  # type: ignore[attr-defined]
    assert found is sslkit.longest_first
    assert [warning.filename for warning in warned] == [__file__]


def test_an_import_of_a_name_of_before_warns_at_the_line_of_the_import() -> None:
    module = types.ModuleType("acme")
    with pytest.warns(SslkitDeprecationWarning, match=MESSAGE) as warned:
        exec(compile("\nfrom sslkit import fold_of", "acme.py", "exec"), vars(module))
    assert module.fold_of is sslkit.longest_first
    assert {(warning.filename, warning.lineno) for warning in warned} == {("acme.py", 2)}


def test_what_was_renamed_is_no_longer_listed() -> None:
    assert "fold_of" not in dir(sslkit)


def test_every_new_name_is_public() -> None:
    assert set(sslkit._RENAMED.values()) <= set(sslkit.__all__)
    assert not set(sslkit._RENAMED) & set(sslkit.__all__)


def test_a_name_that_never_was_is_refused_without_a_warning() -> None:
    with pytest.raises(AttributeError, match="module 'sslkit' has no attribute 'fold_if'"):
        sslkit.fold_if  # type: ignore[attr-defined]  # noqa: B018
