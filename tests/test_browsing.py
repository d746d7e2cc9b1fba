"""The looking itself: what must be found in a page is found."""

from __future__ import annotations

from pathlib import Path

from browsing import open_page


def test_a_sound_page_has_nothing_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<html lang="en"><title>t</title><main><h1>Sound</h1><p>Text.</p></main></html>', encoding="utf-8")
    with open_page(page, width=400) as look:
        assert (look.said, look.cut_off(), look.serious()) == ([], [], [])
        assert look.asked == [page.as_uri()]


def test_what_is_wrong_with_a_page_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<html><title>t</title><main><h1>Unsound</h1><img src="data:image/gif;base64,AAAA">'
        '<p style="width: 600px">wide</p><div style="overflow: auto"><p style="width: 900px">scrolls</p></div></main>'
        "<script>throw new Error('thrown')</script></html>",
        encoding="utf-8",
    )
    with open_page(page, width=400) as look:
        assert look.said == ["thrown"]
        assert look.cut_off() == ["p wide"]
        assert {finding.split(":")[0] for finding in look.serious()} == {"html-has-lang", "image-alt"}
