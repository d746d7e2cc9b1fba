from __future__ import annotations

import copy
import csv
import pickle
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sslkit import Table

ROWS = [
    {"arm": "pretrained", "fraction": 0.1, "n": 3, "qwk_mean": 0.5},
    {"arm": "pretrained", "fraction": 1.0, "n": 3, "qwk_mean": 0.75},
    {"arm": "scratch", "fraction": 0.1, "n": 0, "qwk_mean": None},
]


def test_it_is_as_a_list_of_rows() -> None:
    table = Table(ROWS)
    assert table == ROWS
    assert table == ROWS
    assert table == Table(ROWS)
    assert table != ROWS[:2]
    assert table != "pretrained"
    assert [row["n"] for row in table] == [3, 3, 0]
    assert (len(table), table[0], table[-1]["arm"]) == (3, ROWS[0], "scratch")
    assert isinstance(table[1:], Table)
    assert table[1:] == ROWS[1:]
    assert ROWS[1] in table
    assert table.index(ROWS[2]) == 2
    assert not Table()
    assert pickle.loads(pickle.dumps(table)) == copy.deepcopy(table) == ROWS


def test_it_does_not_change_with_what_it_was_made_of() -> None:
    rows = copy.deepcopy(ROWS)
    table = Table(rows)
    rows[0]["arm"] = "other"
    rows.pop()
    assert table == ROWS


def test_columns_are_those_of_all_rows() -> None:
    table = Table([{"a": 1}, {"b": 2, "a": 3}])
    assert table.columns == ("a", "b")
    assert table.column("b") == [None, 2]
    assert Table([], ["a"]).column("a") == []


def test_rows_are_chosen_by_what_they_hold() -> None:
    table = Table(ROWS)
    assert table.where(arm="pretrained").column("fraction") == [0.1, 1.0]
    assert table.where(arm="pretrained", fraction=0.1) == ROWS[:1]
    assert table.where(qwk_mean=None) == ROWS[2:]
    nothing = table.where(arm="frozen")
    assert (len(nothing), nothing.columns) == (0, table.columns)


def test_columns_are_chosen_in_the_order_asked_for() -> None:
    narrow = Table(ROWS).select("qwk_mean", "arm")
    assert narrow.columns == ("qwk_mean", "arm")
    assert narrow[0] == {"qwk_mean": 0.5, "arm": "pretrained"}


@pytest.mark.parametrize("ask", [lambda table: table.column("qwk_maen"), lambda table: table.select("arm", "qwk_maen")])
def test_a_column_that_there_is_not_is_answered_by_the_nearest(ask: Any) -> None:
    message = "there is no column 'qwk_maen'; did you mean 'qwk_mean'? There are: arm, fraction, n, qwk_mean"
    with pytest.raises(ValueError, match=re.escape(message)):
        ask(Table(ROWS))
    with pytest.raises(ValueError, match=r"there is no column 'xyz'\. There are: arm"):
        Table(ROWS).where(xyz=1)


def test_its_text_is_aligned() -> None:
    assert str(Table(ROWS)).splitlines() == [
        "arm         fraction  n  qwk_mean",
        "pretrained     0.100  3     0.500",
        "pretrained     1.000  3     0.750",
        "scratch        0.100  0",
    ]
    assert repr(Table(ROWS)) == "<Table of 3 rows: arm, fraction, n, qwk_mean>"
    assert str(Table()) == ""
    assert str(Table([{"name": "\x1b[2J\nx"}])) == "name\n\\x1b[2J\\nx"


def test_a_notebook_is_shown_text_and_no_markup() -> None:
    shown = Table([{"<b>arm": "<script>alert(1)</script>", "qwk": 0.5}])._repr_html_()
    assert shown == (
        '<table>\n<thead><tr><th style="text-align: left">&lt;b&gt;arm</th><th style="text-align: right">qwk</th></tr>'
        '</thead>\n<tbody>\n<tr><td style="text-align: left">&lt;script&gt;alert(1)&lt;/script&gt;</td>'
        '<td style="text-align: right">0.500</td></tr>\n</tbody>\n</table>'
    )


def test_as_csv_it_keeps_all_digits(tmp_path: Path) -> None:
    third = 1 / 3
    Table([{"arm": "a,b", "qwk": third}, {"arm": "c", "qwk": None}]).to_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"arm": "a,b", "qwk": repr(third)}, {"arm": "c", "qwk": ""}]


def test_pandas_gets_rows_and_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = ModuleType("pandas")
    pandas.DataFrame = lambda rows, columns: (rows, columns)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert Table(ROWS).to_pandas() == (ROWS, ["arm", "fraction", "n", "qwk_mean"])


def test_without_pandas_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"to_pandas\(\) needs pandas, which is not installed: pip install pandas"):
        Table(ROWS).to_pandas()
