"""The pages that a browser is shown, in the style of the report; their script and style are files beside this one."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.theme import STYLE_SHEET
from sslkit.serve.answer import DISCLAIMER
from sslkit.serve.model import ServedModel
from sslkit.serve.settings import MEGABYTE, Settings

_TYPES = "image/*,.tif,.tiff,.dcm,.dicom"
"""What the browser's dialogue offers first; the server decides by the bytes."""

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='8' "
    "fill='%230072b2'/%3E%3Ccircle cx='10.5' cy='7' r='2.5' fill='%23fff'/%3E%3C/svg%3E"
)
"""An eye's ground, in the colour of the report's links."""


def grading_page(model: ServedModel, settings: Settings) -> str:
    """Return the page on which photographs are dropped."""
    photograph = "fundus photograph" if model.grader.preprocessing.crop == "fundus" else "photograph"
    sign_out = NOTHING
    if settings.secret is not None:
        button = element("button", "Sign out", class_="quiet-button", type="submit")
        sign_out = element("form", button, method="post", action="/sign-out", class_="sign-out")
    header = [
        element("div", element("p", f"sslkit · {model.name}", class_="eyebrow"), sign_out, class_="top"),
        element("h1", f"Grade a {photograph}"),
        element("p", f"Graded on this server by {model.described}. {_kept(settings)}", class_="lead"),
    ]
    chooser = element(
        "label",
        element("span", f"Choose a {photograph}", class_="button", id="choose"),
        element("span", " or drop it anywhere on this page", class_="drop-hint"),
        element(
            "span", f"Up to {settings.max_bytes / MEGABYTE:g} MB; several at once are graded in turn", class_="note"
        ),
        element("input", id="file", type="file", accept=_TYPES, multiple="multiple"),
        class_="drop",
        id="drop",
        for_="file",
    )
    main = [
        chooser,
        element("p", role="status", aria_live="polite", id="status", class_="status"),
        element("section", id="answer", aria_label="Answer", hidden="hidden", tabindex="-1"),
        element("section", id="visit", aria_label="Photographs of this visit", hidden="hidden"),
        _about(model),
        element("noscript", element("p", "This page needs JavaScript; the API does not: POST /api/grade.")),
    ]
    footer = join(
        [
            "Answers stand in this page's memory alone, and are gone when it is closed. For programs: ",
            element("code", "POST /api/grade"),
            ".",
        ]
    )
    limits = {"data-most-bytes": str(settings.max_bytes), "data-classes": json.dumps(model.grader.class_names)}
    return _page(f"{model.name} · sslkit", join(header), join(main), footer, script="/page.js", limits=limits)


def sign_in_page(error: str | None = None) -> str:
    """Return the page that asks for the secret, and tells nothing of the models to whoever lacks it."""
    told = NOTHING
    if error is not None:
        told = element("p", error, class_="banner alarm", role="alert", id="error")
    described = None if error is None else "error"
    field = element(
        "input",
        id="password",
        name_="password",
        type="password",
        autocomplete="current-password",
        required="required",
        autofocus="autofocus",
        aria_describedby=described,
    )
    form = element(
        "form",
        element("label", "Password", for_="password"),
        field,
        element("button", "Sign in", type="submit", class_="button"),
        method="post",
        action="/sign-in",
        class_="sign-in",
    )
    header = [element("p", "sslkit", class_="eyebrow"), element("h1", "Sign in")]
    return _page("Sign in · sslkit", join(header), join([told, form]), NOTHING)


@cache
def style_sheet() -> str:
    """Return the style of the report, and what these pages add to it."""
    return STYLE_SHEET + _file("page.css")


@cache
def script() -> str:
    """Return the script of the grading page."""
    return _file("page.js")


def _about(model: ServedModel) -> Markup:
    """Return what one should know of the models before trusting them with anything."""
    grader, size = model.grader, model.grader.preprocessing.size
    facts = [
        ("Run", model.name),
        ("Grades", " · ".join(grader.class_names)),
        ("What the models see", f"{size} by {size} pixels"),
    ]
    if grader.referable_name is not None and grader.threshold is not None:
        facts.append((f"Called {grader.referable_name}", f"from {100 * grader.threshold:.0f} % on"))
    rows = (element("div", element("dt", name), element("dd", value)) for name, value in facts)
    heading = element("h2", "About the models", class_="hidden-text")
    return element("section", heading, element("dl", *rows, class_="facts about"), aria_label="About the models")


def _kept(settings: Settings) -> str:
    if settings.keep is None:
        return "Nothing is kept, and nothing is sent on."
    return "Photographs and answers are kept there, without the names of their files."


def _page(
    title: str,
    header: Markup,
    main: Markup,
    footer: Markup,
    *,
    script: str | None = None,
    limits: dict[str, str] | None = None,
) -> str:
    head = [
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name_="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href=_ICON),
        element("link", rel="stylesheet", href="/page.css"),
        NOTHING if script is None else element("script", src=script, defer="defer"),
    ]
    body = [
        element("p", DISCLAIMER, class_="disclaimer", role="note"),
        element("header", header),
        element("main", main, **(limits or {})),
        element("footer", footer),
    ]
    html = element("html", element("head", join(head, "\n")), "\n", element("body", join(body, "\n")), lang="en")
    return f"<!DOCTYPE html>\n{html}\n"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
