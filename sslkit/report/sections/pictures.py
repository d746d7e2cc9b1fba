"""Photographs: what the pretext tasks see of some, and which were graded worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sslkit.errors import RunDirectoryError
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.pictures import folder_of, read_pictures, show
from sslkit.report.tables import Line, Run
from sslkit.report.text import plural, share

_MOST_OPEN = 3
"""Pretext tasks whose views are all in sight; of more, all but the first are folded up."""

_COLUMNS = (4, 8)
_SIDE = (144, 200)
"""Pixels on the page that a picture has at least and at most, whatever it has itself."""


def views_section(run: Run) -> Markup:
    """Return what each pretext task sees of some training images; nothing where the run has no pictures of it."""
    pictures = read_pictures(run)
    images, tasks = pictures.get("images", []), pictures.get("tasks", [])
    if not (images and tasks):
        return NOTHING
    seen = f"{plural(len(images), 'training image')}, and what {'the' if len(tasks) == 1 else 'each'} pretext task"
    note = (
        f"{seen} was shown of {'it' if len(images) == 1 else 'them'} in the first epoch: the views themselves, as they "
        "were drawn. The task never learns a grade."
    )
    if any(view["labels"] for task in tasks for view in task["views"]):
        note += " Labels are the answers that it is to find, as numbers."
    parts = [element("p", note, class_="note"), _privacy(pictures)]
    said = [_grade(run, image["grade"]) for image in images]
    row = _strip(run, "Image", "", [image["picture"] for image in images], said, [f"Image, {text}" for text in said])
    blocks = [(task["pretext"], _task(run, task, said)) for task in tasks]
    if len(tasks) > _MOST_OPEN:
        shown = [
            element("details", element("summary", name), block, open_="" if number == 0 else None)
            for number, (name, block) in enumerate(blocks)
        ]
    else:
        shown = [join([element("h3", name), block]) for name, block in blocks]
    columns = min(max(len(images), _COLUMNS[0]), _COLUMNS[1])
    widest = max((picture["width"] for picture in _pictures(images, tasks)), default=0)
    side = min(max(widest, _SIDE[0]), _SIDE[1])
    return join([*parts, element("div", row, *shown, class_="sheet", style=f"--columns: {columns}; --side: {side}px")])


def mistakes_section(run: Run) -> Markup:
    """Return the test images that were graded worst; nothing where the run has no pictures of them."""
    pictures = read_pictures(run)
    found = pictures.get("mistakes")
    if not found:
        return NOTHING
    line = Line(found["pretext"], found["arm"]).label
    graded = (
        f"{line}, {share(found['fraction'])} of the labels, {plural(found['folds'], 'fold')}, first repetition: "
        f"{found['wrong']:,} of {plural(found['tested'], 'test image')} graded wrongly."
    )
    if found["tasks"] > 1 and found["pretext"]:
        graded += (
            f" Of {found['tasks']} pretext tasks it is the first in the configuration: none is chosen by its score."
        )
    how = (
        "These are the furthest from their grade; of several as far, those that the network was surest of come first. "
        "They are the worst that happened, not what to expect."
    )
    parts = [element("p", f"{graded} {how}" if found["images"] else graded, class_="note")]
    if not (pictures["images"] and pictures["tasks"]):  # else it was said of the views
        parts.append(_privacy(pictures))
    return join([*parts, element("ul", *(_mistake(run, item) for item in found["images"]), class_="mistakes")])


def _task(run: Run, task: Mapping[str, Any], grades: Sequence[str]) -> Markup:
    strips = []
    for view in task["views"]:
        number = "" if view["number"] is None else f", view {view['number']}"
        parts = f"{view['parts']} views an image" if view["parts"] > 1 else ""
        labels = view["labels"] or [""] * len(view["pictures"])
        _same_length(run, view["pictures"], labels, grades)
        says = [
            f"{task['pretext']}: {view['name']}{number} of an image, {grade}{'; ' if label else ''}{label}"
            for grade, label in zip(grades, labels, strict=True)
        ]
        strips.append(_strip(run, f"{view['name']}{number}", parts, view["pictures"], labels, says))
    notes = []
    if task["unchanged"]:
        notes.append(f"Given unchanged: {', '.join(task['unchanged'])}.")
    if task["unseen"]:
        notes.append(f"Not pictures: {', '.join(task['unseen'])}.")
    return join([*strips, element("p", " ".join(notes), class_="note")] if notes else strips)


def _strip(
    run: Run,
    name: str,
    more: str,
    pictures: Sequence[Mapping[str, Any]],
    captions: Sequence[str],
    says: Sequence[str],
) -> Markup:
    """Return one row of pictures, with its name beside or above it."""
    items = (
        element("li", show(run, picture, text), caption)
        for picture, caption, text in zip(pictures, captions, says, strict=True)
    )
    title = element("figcaption", name, *([" ", element("span", more)] if more else []))
    return element("figure", title, element("ul", *items), class_="strip")


def _mistake(run: Run, item: Mapping[str, Any]) -> Markup:
    true, predicted = _grade(run, item["target"]), _grade(run, item["predicted"])
    sure, of_truth = (_unbroken(share(round(item[key], 2))) for key in ("probability", "of_truth"))
    lines = [f"graded {predicted}: {sure}", f"true grade: {of_truth}"]
    if item["scratch"] is not None:
        lines.append(f"from scratch: {_grade(run, item['scratch'])}")
    return element(
        "li",
        show(run, item["picture"], f"Test image {item['image']}: {true}, graded {predicted}"),
        element("strong", true),
        *(element("span", text) for text in lines),
        element("span", f"fold {item['fold']}"),
        element("span", element("code", item["image"])),
    )


def _privacy(pictures: Mapping[str, Any]) -> Markup:
    """Return what whoever passes the page on should know."""
    found = pictures["mistakes"] or {"images": []}
    names = {item["image"] for item in (*pictures["images"], *found["images"])}
    command = element("code", "sslkit run CONFIG --output RUN --set report.pictures=false")
    said = f"This page holds photographs: {plural(len(names), 'image')} of the study, with ids. To make it without: "
    return element("p", said, command, ".", class_="note")


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _grade(run: Run, grade: int | None) -> str:
    if grade is None:
        return "no label"
    if grade >= len(run.class_names):
        index = folder_of(run) / "pictures.json"
        raise RunDirectoryError(f"{index}: grade {grade} must be in 0..{len(run.class_names) - 1}")
    return run.class_names[grade]


def _same_length(run: Run, *lists: Sequence[Any]) -> None:
    if len({len(items) for items in lists}) > 1:
        index = folder_of(run) / "pictures.json"
        raise RunDirectoryError(f"{index}: a view has one picture, and one label or none, for each of the images")


def _pictures(images: Sequence[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    of_views = [picture for task in tasks for view in task["views"] for picture in view["pictures"]]
    return [*(image["picture"] for image in images), *of_views]
