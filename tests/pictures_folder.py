"""A run's folder of pictures as ``sslkit run`` leaves it, pictures that are told apart, for tests of the report."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sslkit.checksums import seal
from sslkit.report.sections.pictures import mistakes_section, views_section
from sslkit.report.tables import read_run

Index = dict[str, Any]


class Pictures(HTMLParser):
    """Collects the pictures of a piece of HTML, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


class Drawn:
    """Writes pictures into a run's folder, each of its own colour."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "pictures"
        self.folder.mkdir()
        self.files: list[str] = []

    def draw(self, kind: str = "view", side: int = 80) -> dict[str, Any]:
        number = len(self.files) + 1
        name = f"{kind}-{number}.{'png' if side <= 64 else 'jpg'}"
        pixels = np.full((side, side, 3), (number * 37 % 256, number * 91 % 256, 99), np.uint8)
        Image.fromarray(pixels).save(self.folder / name)
        self.files.append(name)
        return {"file": name, "width": side, "height": side}

    def write(self, index: Index) -> None:
        (self.folder / "pictures.json").write_text(json.dumps(index), encoding="utf-8")
        seal(self.folder, ["pictures.json", *self.files])


def mistake(drawn: Drawn, image: str = "img7", **changes: Any) -> dict[str, Any]:
    said = {"image": image, "fold": 1, "target": 4, "predicted": 0, "probability": 0.934, "of_truth": 0.02}
    return {**said, "scratch": 3, "picture": drawn.draw("mistake"), **changes}


def index_of(
    run: Path, *, images: int = 4, tasks: tuple[str, ...] = ("rotation",), side: int = 80, name: str = "img"
) -> Index:
    """Write pictures of some tasks and three mistakes; return what pictures.json says."""
    drawn = Drawn(run)
    view = {"name": "images", "number": None, "parts": 4, "labels": [f"labels: {k}" for k in range(images)]}
    index: Index = {
        "key": "k",
        "images": [
            {"image": f"{name}{k}", "grade": (0, 1, 3, None)[k % 4], "picture": drawn.draw(side=side)}
            for k in range(images)
        ],
        "tasks": [
            {
                **{"pretext": task, "fold": 0, "unchanged": ["targets"], "unseen": ["vectors"]},
                "views": [
                    {**view, "pictures": [drawn.draw(side=side) for _ in range(images)]},
                    {
                        **{"name": "hidden", "number": 2, "parts": 1, "labels": []},
                        "pictures": [drawn.draw(side=8) for _ in range(images)],
                    },
                ],
            }
            for task in tasks
        ],
        "mistakes": {
            **{"pretext": tasks[0] if tasks else "", "arm": "pretrained", "fraction": 0.05, "folds": 2, "tasks": 1},
            **{"tested": 1200, "wrong": 7},
            "images": [mistake(drawn, f"{name}{k}") for k in range(3)],
        },
    }
    drawn.write(index)
    return index


def rewrite(run: Path, index: Index) -> None:
    (run / "pictures" / "pictures.json").write_text(json.dumps(index), encoding="utf-8")
    seal(run / "pictures", ["pictures.json"])


def sections(run: Path) -> str:
    """Return the two sections without the rest of the page, whose figures take their time."""
    return views_section(read_run(run)) + mistakes_section(read_run(run))
