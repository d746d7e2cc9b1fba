"""Escaping by construction, and colours that can be read."""

from __future__ import annotations

import doctest
import html
import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import sslkit.report.comparison
import sslkit.report.figures.canvas
import sslkit.report.markup
import sslkit.report.text
from sslkit.report.figures.canvas import slug
from sslkit.report.markup import element, escape, join
from sslkit.report.theme import STYLE_SHEET

MODULES = [sslkit.report.comparison, sslkit.report.figures.canvas, sslkit.report.markup, sslkit.report.text]


@given(st.text())
@hypothesis_settings(deadline=None, max_examples=100)
def test_text_comes_back_from_an_element_and_an_attribute(text: str) -> None:
    made = element("p", text, title=text)
    match = re.fullmatch(r'<p title="([^"<>]*)">([^<>]*)</p>', made, flags=re.DOTALL)
    assert match is not None
    assert html.unescape(match[1]) == html.unescape(match[2]) == html.unescape(html.escape(text))


def test_markup_is_escaped_once() -> None:
    assert element("p", element("b", "<"), escape("&")) == "<p><b>&lt;</b>&amp;</p>"
    assert join(["a", element("i", "b")], " & ") == "a &amp; <i>b</i>"


@given(st.lists(st.text(max_size=6), min_size=2, max_size=2, unique=True))
@hypothesis_settings(deadline=None, max_examples=200)
def test_slugs_are_safe_and_tell_texts_apart(texts: list[str]) -> None:
    slugs = [slug(text) for text in texts]
    assert slugs[0] != slugs[1]
    assert all(re.fullmatch(r"[a-z0-9-]*", made) for made in slugs)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def blend(colour: str, ground: str, opacity: float) -> str:
    pairs = [(int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * front + (1 - opacity) * back):02x}" for front, back in pairs)


@pytest.fixture(params=[0, 1], ids=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE_SHEET, flags=re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[request.param]))


@pytest.mark.parametrize("ground", ["ground", "raised", "notice", "alarm"])
def test_ink_can_be_read(theme: dict[str, str], ground: str) -> None:
    assert contrast(theme["ink"], theme[ground]) >= 7


@pytest.mark.parametrize("name", ["muted", "accent"])
def test_small_text_can_be_read(theme: dict[str, str], name: str) -> None:
    assert contrast(theme[name], theme["ground"]) >= 4.5


@pytest.mark.parametrize("name", ["baseline", *(f"series-{index}" for index in range(6))])
def test_lines_can_be_seen(theme: dict[str, str], name: str) -> None:
    assert contrast(theme[name], theme["ground"]) >= 3


def test_counts_can_be_read_on_the_darkest_cell(theme: dict[str, str]) -> None:
    assert contrast(theme["ink"], blend(theme["heat"], theme["ground"], 0.8)) >= 4.5


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_run(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.attempted > 0
    assert results.failed == 0
