from __future__ import annotations

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sslkit.printable
from sslkit.printable import printable

STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"


@given(st.text(st.characters()))
def test_nothing_that_steers_is_left_and_everything_else_stays(text: str) -> None:
    shown = printable(text)
    assert all(unicodedata.category(letter) not in STEERING or letter in "\n\t" + JOINERS for letter in shown)
    plain = "".join(letter for letter in text if unicodedata.category(letter) not in STEERING)
    assert printable(plain) == plain
    shown.encode()  # no lone surrogate is left


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("\x1b]0;pwned\x07", r"\x1b]0;pwned\x07"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("safe\rdangerous", r"safe\rdangerous"),
        ("gpj.\u202ednp", r"gpj.\u202ednp"),
        ("a\u2028b", r"a\u2028b"),
        ("bad\udcff.png", r"bad\udcff.png"),
        ("two\nlines\tof ours", "two\nlines\tof ours"),
        ("Größe, 網膜, 👩\u200d⚕️, क्\u200cष", "Größe, 網膜, 👩\u200d⚕️, क्\u200cष"),
    ],
)
def test_what_is_spelt_out(given_: str, shown: str) -> None:
    assert printable(given_) == shown


def test_a_name_breaks_no_line() -> None:
    assert printable("a\nError: b\t", keep="") == r"a\nError: b\t"


def test_the_example_runs() -> None:
    results = doctest.testmod(sslkit.printable)
    assert (results.attempted, results.failed) == (1, 0)
