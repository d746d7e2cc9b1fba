"""The page in a real browser."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import open_page
from serving import PASSWORD, FakeGrader, Site, photograph, site

from sslkit.errors import PluginError
from sslkit.serve.page import script, style_sheet
from sslkit.serve.secret import Secret

DISCLAIMER = "Not a medical device. For research only: nobody may be diagnosed or treated by these answers."


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    with site(max_bytes=50_000) as running:
        yield running


class OtherPage(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>Other</title>")

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def other_site() -> Iterator[str]:
    """Serve a page of another origin; yield its address."""
    with http.server.HTTPServer(("127.0.0.1", 0), OtherPage) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def png(red: int = 200, name: str = "eye.png", content: bytes | None = None) -> dict[str, object]:
    return {"name": name, "mimeType": "image/png", "buffer": photograph(red) if content is None else content}


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_a_photograph_is_dropped_and_its_answer_seen(served: Site, width: int, dark: bool) -> None:
    with open_page(served.address, width=width, dark=dark) as look:
        page = look.page
        assert (look.serious(), look.cut_off()) == ([], [])
        assert page.locator("h1").inner_text() == "Grade a photograph"
        page.set_input_files("#file", png())
        page.wait_for_selector(".answer")
        text = page.locator("#answer").inner_text()
        for said in ("eye.png", "Severe", "Grade 2 of 0 to 2", "Referable", "probability 63 %, threshold 50 %"):
            assert said in text
        assert "by runs <i>dr</i>: the mean of 2 models (pretrained on rotation)." in text
        rows = page.locator(".bars tbody tr").all_inner_texts()
        assert [row.split("\t")[0].splitlines()[0].strip() for row in rows] == ["None", "Mild <b>", "Severe"]
        assert [row.split()[-2:] for row in rows] == [["25", "%"], ["13", "%"], ["63", "%"]]
        assert "grade given" in rows[2]
        widths = page.locator(".bars td.bar span").evaluate_all("bars => bars.map(bar => bar.style.width)")
        assert widths == ["25%", "12.5%", "62.5%"]
        loaded = page.locator(".pictures img").evaluate_all("all => all.map(image => image.naturalWidth)")
        assert loaded == [448, 448, 448]
        assert page.locator("#status").inner_text() == "eye.png: grade 2, Severe (63 %), referable."
        assert page.locator("#status").get_attribute("aria-live") == "polite"
        assert page.locator(".disclaimer").inner_text() == DISCLAIMER
        page.mouse.wheel(0, 5000)
        assert page.locator(".disclaimer").bounding_box()["y"] == 0  # in sight wherever one reads
        assert (look.said, look.serious(), look.cut_off()) == ([], [], [])
        assert all(asked.startswith((served.address, "data:")) for asked in look.asked)


def test_the_heat_is_more_or_less_opaque(served: Site) -> None:
    with open_page(served.address) as look:
        look.page.set_input_files("#file", png())
        slider = look.page.get_by_label("Heat", exact=True)
        slider.fill("25")
        heat = look.page.locator(".stack img").nth(1)
        assert heat.evaluate("image => image.style.opacity") == "0.25"
        assert look.page.locator("output").inner_text() == "25 %"
        look.page.set_input_files("#file", png(10, "other.png"))
        look.page.wait_for_selector("text=other.png: grade 0")
        assert look.page.get_by_label("Heat", exact=True).input_value() == "25"  # as it was left


def test_photographs_of_a_visit_are_listed_and_one_of_them_shown_again(served: Site) -> None:
    with open_page(served.address) as look:
        page = look.page
        names = ["<img src=x onerror=alert(1)>.png", "second.png"]
        page.set_input_files("#file", [png(200, names[0]), png(10, names[1]), png(0, "bad.png", b"no image")])
        page.wait_for_selector(".visit li:nth-child(3)")
        buttons = page.locator(".visit button")
        assert "This visit: 3" in page.locator("#visit").inner_text()
        assert page.locator("#answer").inner_text().split("\n\n")[:2] == ["bad.png", "No answer"]
        buttons.nth(2).focus()
        page.keyboard.press("Enter")
        assert page.locator("#answer h2").inner_text() == "Severe"
        assert page.locator("#answer .file-name").inner_text() == names[0]
        assert page.evaluate("() => document.activeElement.id") == "answer"
        assert buttons.nth(2).get_attribute("aria-current") == "true"
        assert page.locator('img[src="x"]').count() == 0
        page.get_by_role("button", name="Clear").click()
        assert page.locator("#answer").is_hidden()
        assert page.locator(".visit").count() == 0
        assert all("422" in said for said in look.said)  # a browser's own word on the third


def test_what_is_turned_away_is_told(served: Site) -> None:
    with open_page(served.address, width=400) as look:
        look.page.set_input_files("#file", png(0, "large.png", bytes(50_001)))
        look.page.wait_for_selector("text=large.png: The photograph is too large: up to 0.05 MB are accepted.")
        assert look.said == []  # it was not even sent
        look.page.set_input_files("#file", png(0, "text.png", b"hello"))
        look.page.wait_for_selector("text=text.png: The photograph cannot be read: not an image")
        assert (look.serious(), look.cut_off()) == ([], [])


def test_a_file_is_dropped_and_the_keyboard_reaches_the_dialogue(served: Site) -> None:
    drop = """() => {
      const data = new DataTransfer();
      const bytes = Uint8Array.from(atob("%s"), letter => letter.charCodeAt(0));
      data.items.add(new File([bytes], "dropped.png"));
      document.body.dispatchEvent(new DragEvent("dragenter", {dataTransfer: data, bubbles: true, cancelable: true}));
      const dragging = document.body.classList.contains("dragging");
      document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
      return dragging && !document.body.classList.contains("dragging");
    }"""
    choosers: list[Any] = []
    with open_page(served.address) as look:
        assert look.page.evaluate(drop % base64.b64encode(photograph()).decode())
        look.page.wait_for_selector("text=dropped.png: grade 2")
        look.page.on("filechooser", lambda chooser: choosers.append(chooser))  # before it may open
        look.page.reload()
        look.page.keyboard.press("Tab")
        assert look.page.evaluate("() => document.activeElement.id") == "file"
        look.page.keyboard.press("Space")
        for _ in range(100):
            if choosers:
                break
            look.page.wait_for_timeout(50)
        assert [chooser.is_multiple() for chooser in choosers] == [True]


def test_a_photograph_that_is_chosen_before_the_script_has_come_is_graded(served: Site) -> None:
    held: list[Any] = []
    with open_page(served.address) as look:
        look.page.route("**/page.js", lambda route: held.append(route))
        look.page.reload(wait_until="commit")
        look.page.set_input_files("#file", png())
        held[0].continue_()
        look.page.wait_for_selector("text=eye.png: grade 2")


def test_a_server_that_ended_is_told() -> None:
    with site() as running, open_page(running.address) as look:
        look.page.route("**/api/grade*", lambda route: route.abort())
        look.page.set_input_files("#file", png())
        look.page.wait_for_selector("text=eye.png: The server did not answer; is it still running?")


def test_models_without_heat_or_threshold_are_shown_as_such() -> None:
    names = ("None", "2", "1")  # of these an object in a browser has the numbers first
    grader = FakeGrader(threshold=None, no_heat=PluginError("this backbone has no map"), class_names=names)
    with site(grader) as running, open_page(running.address) as look:
        look.page.set_input_files("#file", png())
        text = look.page.locator(".answer").inner_text()
        assert "Probability of referable: 63 %" in text
        assert "No threshold was fitted." in text
        assert "this backbone has no map" in text
        rows = look.page.locator(".bars tbody tr").all_inner_texts()
        assert [row.split() for row in rows] == [
            ["None", "25", "%"],
            ["2", "13", "%"],
            ["1", "grade", "given", "63", "%"],
        ]
        assert (look.said, look.serious()) == ([], [])


def test_one_signs_in_and_out(tmp_path: Path) -> None:
    with site(secret=Secret(PASSWORD), keep=tmp_path) as running, open_page(running.address, width=400) as look:
        page = look.page
        assert page.url == f"{running.address}sign-in"
        assert (look.said, look.serious(), look.cut_off()) == ([], [], [])
        page.get_by_label("Password").fill("a wrong password")
        page.get_by_role("button", name="Sign in").click()
        assert page.get_by_role("alert").inner_text() == "That is not the password."
        assert (look.serious(), look.cut_off()) == ([], [])
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("#file", state="attached")
        assert page.url == running.address
        assert "Photographs and answers are kept there" in page.locator("header").inner_text()
        page.set_input_files("#file", png())
        page.wait_for_selector("text=Kept on the server as")
        page.get_by_role("button", name="Sign out").click()
        assert page.url == f"{running.address}sign-in"
        assert page.evaluate("() => document.cookie") == ""
        page.goto(running.address)
        assert page.url == f"{running.address}sign-in"


def test_another_page_cannot_use_the_server() -> None:
    attack = """async address => {
      try { return (await fetch(address + "api/grade", {method: "POST", body: "x", mode: "no-cors"})).type; }
      catch (error) { return String(error); }
    }"""
    lines: list[str] = []
    with other_site() as other, site(log=lines.append) as running, open_page(other) as look:
        assert look.page.evaluate(attack, running.address) == "TypeError: Failed to fetch"
        assert [line.rsplit(" ", 2)[0] for line in lines] == ["127.0.0.1 POST /api/grade 403"]
        assert running.grader.names == []


def test_the_page_needs_nothing_of_others() -> None:
    for text in (script(), style_sheet()):
        assert "http" not in text.replace("http://www.w3.org", "")
        assert "innerHTML" not in text
