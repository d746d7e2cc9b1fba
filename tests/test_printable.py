from __future__ import annotations

import doctest
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sslkit.printable
from sslkit.printable import abbreviate, listed, printable, shown

STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
JOINERS = "\u200c\u200d"


@given(st.text(st.characters()))
def test_nothing_that_steers_is_left_and_everything_else_stays(text: str) -> None:
    safe = printable(text)
    assert all(unicodedata.category(letter) not in STEERING or letter in "\n\t" + JOINERS for letter in safe)
    plain = "".join(letter for letter in text if unicodedata.category(letter) not in STEERING)
    assert printable(plain) == plain
    safe.encode()  # no lone surrogate is left


@pytest.mark.parametrize(
    ("given_", "spelt"),
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
def test_what_is_spelt_out(given_: str, spelt: str) -> None:
    assert printable(given_) == spelt


def test_a_name_breaks_no_line() -> None:
    assert printable("a\nError: b\t", keep="") == r"a\nError: b\t"


def test_what_is_long_is_told_by_its_ends() -> None:
    assert abbreviate("a" * 120) == "a" * 120
    assert abbreviate("a" * 100 + "b" * 100) == f"{'a' * 80} ... {'b' * 40}"
    assert shown(["\x1b[2J\n"]) == r"['\x1b[2J\n']"
    assert listed(["a", "b\n", "c" * 99]) == rf"a, b\n, {'c' * 40} ... {'c' * 20}"
    assert listed(["c" * 100] * 100) == ", ".join([f"{'c' * 40} ... {'c' * 20}"] * 15) + ", ... (100 in all)"
    assert listed("abc", most=3) == "a, b, c"
    assert listed("abcd", most=3) == "a, b, c, ... (4 in all)"


def test_the_examples_run() -> None:
    results = doctest.testmod(sslkit.printable)
    assert (results.attempted, results.failed) == (4, 0)
