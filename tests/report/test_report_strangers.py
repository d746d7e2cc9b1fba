"""A run directory that a stranger wrote: names that are no text to them, and files that hold something else."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hostile import NAMES, STEERING

from sslkit.errors import RunDirectoryError
from sslkit.printable import printable
from sslkit.report import write_report

MakeRun = Callable[..., Path]

SPREAD = {"min": 1.0, "median": 2.0, "max": 3.0}


def audit_of(names: list[str]) -> dict[str, Any]:
    counts = dict.fromkeys(names, 1)
    probe = {"region": "border", "accuracy": 0.9, "low": 0.8, "high": 1.0, "chance": 0.5, "leak": True}
    return {
        "images": {
            **{"formats": counts, "modes": counts, "bit_depths": counts},
            **{"width": SPREAD, "height": SPREAD, "aspect": SPREAD},
            **{"tiny": names, "constant": names, "truncated": names, "unlisted": names, "unlisted_count": len(names)},
        },
        "duplicates": {
            **{"identical": [], "near": [], "compared": 3, "method": names[0], "rejected": 0},
            "conflicts": [{"images": names, "grades": [0, 1]}],
        },
        "groups": {"given": 3, "joined": 3, "largest": 1, "with_several_grades": 0},
        "classes": {},
        "pretext_probes": {name: [probe] for name in names},
        "label_probe": {"qwk": 0.1, "auroc": None},
    }


def info_of(names: list[str]) -> dict[str, Any]:
    plugin_kinds = ("dataset", "backbone", "pretext-task", "head")
    card = ("license", "citation", "contact", "intended_use", "limitations", "ethics", "data_source", "funding")
    return {
        "name": names[0],
        "notices": names,
        "failed_jobs": [{"job": name, "reason": name} for name in names],
        "missing_classes": names,
        "conclusions": [{"sentence": name} for name in names],
        "hardware": {name: name for name in names},
        "versions": {name: name for name in names},
        "git": {"commit": names[1], "changed": True},
        "card": dict(zip(card, names, strict=False)),
        "started": names[2],
        "finished": names[3],
        "plugins": [
            {"kind": kind, "name": name, "distribution": name, "version": name}
            for kind in plugin_kinds
            for name in names
        ],
        "data": {
            **{"images": 3, "labelled": 2, "groups": 2, "hash": names[4], "splits_hash": names[5]},
            "class_counts": [1] * 5,
            "unreadable": [{"id": name, "reason": name} for name in names],
        },
        "timings": {name: 1.0 for name in names},
    }


class Page(HTMLParser):
    """Collects a page's tags with the names of their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: set[tuple[str, frozenset[str]]] = set()
        self.policies: list[str] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add((tag, frozenset(name for name, _ in attrs)))
        values = dict(attrs)
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(str(values["content"]))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_no_name_becomes_an_element_an_attribute_or_a_control_character(make_run: MakeRun, tmp_path: Path) -> None:
    options: dict[str, Any] = {"fractions": [0.05], "folds": 2}
    harmless = write_report(_write(make_run, tmp_path / "harmless", ["plain"] * len(NAMES), **options))
    evil = write_report(_write(make_run, tmp_path / "evil", list(NAMES), **options))

    for name in ("index.html", "model_card.html", "checklist.html"):
        good, bad = (Page(index.with_name(name)) for index in (harmless, evil))
        assert bad.elements == good.elements
        assert not STEERING.intersection(bad.source)
        assert {tag for tag, _ in bad.elements}.isdisjoint({"script", "img", "iframe", "object", "link", "form"})
        assert not any(attribute.startswith("on") for _, attributes in bad.elements for attribute in attributes)
    text = Page(evil).text
    for name in NAMES:
        assert printable(name) in text
    figures = list(evil.parent.glob("*.svg"))
    assert len(figures) > 5
    for figure in figures:
        root = ElementTree.parse(figure).getroot()
        assert {node.tag.rpartition("}")[2] for node in root.iter()}.isdisjoint({"script", "image", "foreignObject"})
        assert not any(key.startswith("on") for node in root.iter() for key in node.attrib)
    for card in evil.parent.glob("*.json"):
        assert not STEERING.intersection(str(json.loads(card.read_text(encoding="utf-8"))))


def _write(make_run: MakeRun, root: Path, names: list[str], **options: Any) -> Path:
    classes, others = names[:5], names[5:]
    lines = [("", "scratch"), *((f"task-{k}", name) for k, name in enumerate(others[:2]))]
    run = make_run(classes=classes, lines=lines, info=info_of(names), **options)
    (run / "audit.json").write_text(json.dumps(audit_of(names)))
    (run / "pretraining" / "\x1b[2J").mkdir(parents=True)
    shutil.copy(run / "pretraining" / "task-0" / "0" / "metrics.jsonl", run / "pretraining" / "\x1b[2J")
    (run / "config.toml").write_text(f"name = {json.dumps(names[0])}\n# {names[21]}\n", encoding="utf-8")
    return run.rename(root)


def test_a_page_may_load_and_run_nothing(small_report: Path) -> None:
    for name in ("index.html", "model_card.html", "checklist.html"):
        page = Page(small_report.with_name(name))
        assert page.policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
        assert page.source.index("Content-Security-Policy") < page.source.index("<style")


WRONG = {
    "a list": "[]",
    "a number": "3",
    "null": "null",
    "truncated": '{"class_names": ["a", "b"',
    "nothing": "",
    "a number beyond all measure": '{"class_names": ["a"], "seed": ' + "9" * 5000 + "}",
    "a number beyond floats": '{"class_names": ["a"], "seed": 1e999}',
    "a nesting beyond all measure": "[" * 100_000,
    "bytes that are no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("name", ["run.json", "audit.json"])
def test_a_file_of_something_else_is_refused_by_name(make_run: MakeRun, name: str, text: str | bytes) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RunDirectoryError, match=rf"{name} is not (JSON|as 'sslkit run' writes it)") as failure:
        write_report(run)
    assert len(str(failure.value)) < 2000


INFO = [
    *("class_names", "name", "seed", "primary_metric", "positive_from", "started", "finished", "versions", "git"),
    *("card", "plugins", "hardware", "transductive", "notices", "missing_classes", "data", "timings", "failed_jobs"),
    "conclusions",
]


@pytest.mark.parametrize("key", INFO)
def test_every_key_of_run_json_has_its_type(make_run: MakeRun, key: str) -> None:
    run = make_run(fractions=[0.05], folds=1)
    info = json.loads((run / "run.json").read_text())
    for wrong in (["x", {}], {"images": [1]}, 1e308):
        (run / "run.json").write_text(json.dumps(info | {key: wrong}))
        with pytest.raises(RunDirectoryError, match=rf"(?s)run\.json is not as 'sslkit run' writes it:\n{key}"):
            write_report(run)


def test_positive_grades_begin_at_a_class(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1, info={"positive_from": 5})
    with pytest.raises(RunDirectoryError, match=r"positive_from: 5 is none of the 5 classes"):
        write_report(run)


@pytest.mark.parametrize("key", ["images", "duplicates", "groups", "pretext_probes", "label_probe"])
def test_every_key_of_audit_json_has_its_type(make_run: MakeRun, key: str) -> None:
    run = make_run(fractions=[0.05], folds=1)
    for wrong in (["x"], {"x": [{"leak": 1}]}, 10**30, "x" * 100_000):
        (run / "audit.json").write_text(json.dumps(audit_of(["a"]) | {key: wrong}))
        with pytest.raises(RunDirectoryError, match=rf"(?s)audit\.json is not as 'sslkit run' writes it:\n{key}") as it:
            write_report(run)
        assert len(str(it.value)) < 2000


@pytest.mark.parametrize(
    "text",
    ["evaluation = 3", "[evaluation]\nfolds = 'x'", "[images]\nsize = 3", "[head]\nname = 1", "x", "a = " + "9" * 5000],
)
def test_a_configuration_of_other_types_is_refused(make_run: MakeRun, text: str) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / "config.toml").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"config\.toml is not (TOML|as 'sslkit run' writes it)"):
        write_report(run)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("cell", "../../../../etc", "column 'cell' holds '../../../../etc', which is not the 16 hex digits of a cell"),
        ("cell", "/etc/passwd", "16 hex digits"),
        ("cell", "", "16 hex digits"),
        ("fraction", "0", "is no share of the labels"),
        ("fraction", "1e9", "is no share of the labels"),
        ("fraction", "-0.5", "is no share of the labels"),
        ("fraction", "nan", "is empty, and must hold a number"),
        ("qwk", "1e300", "column 'qwk' holds '1e300', which is beyond all measure"),
        ("qwk", "evil", "is not a number"),
        ("fold", "9" * 400, "beyond all measure|must hold a number"),
    ],
)
def test_a_wrong_cell_of_results_csv_is_told_by_its_line(
    make_run: MakeRun, column: str, value: str, message: str
) -> None:
    run = make_run(fractions=[0.05], folds=1)
    _change(run / "results.csv", {column: value})
    with pytest.raises(RunDirectoryError, match=rf"results\.csv, line 2: .*({message})"):
        write_report(run)


@pytest.mark.parametrize("content", [b"\xff\xfe", b'"' + b"x" * 200_000 + b'"\n'])
@pytest.mark.parametrize("name", ["results.csv", "summary.csv"])
def test_what_is_no_table_is_refused(make_run: MakeRun, name: str, content: bytes) -> None:
    run = make_run(fractions=[0.05], folds=1)
    path = run / name
    path.write_bytes(path.read_bytes() + content)
    with pytest.raises(RunDirectoryError, match=rf"{name} is not a table in UTF-8"):
        write_report(run)


def test_no_file_outside_the_run_is_read(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(fractions=[0.05], folds=1)
    cell = _rows(run / "results.csv")[0]["cell"]
    shutil.move(run / "cells" / cell, tmp_path / "elsewhere")
    _change(run / "results.csv", {"cell": "../../elsewhere"})
    with pytest.raises(RunDirectoryError, match="16 hex digits"):
        write_report(run)


def test_no_log_outside_the_run_is_read(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(fractions=[0.05], folds=1)
    outside = tmp_path / "outside" / "0"
    outside.mkdir(parents=True)
    (outside / "metrics.jsonl").write_text("no JSON, if it is read\n")
    for name in ("results.csv", "summary.csv"):
        (run / name).write_text((run / name).read_text().replace("rotation,", "../../outside,"))
    assert "../../outside, pretrained" in Page(write_report(run)).text


def test_a_spread_that_no_axis_could_show_is_left_out(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1)
    log = run / "pretraining" / "rotation" / "0" / "metrics.jsonl"
    log.write_text(log.read_text() + '{"epoch": 41, "loss": 1, "untrained_spread": 1, "feature_spread": NaN}\n')
    assert "has collapsed" not in Page(write_report(run)).text


def test_a_failed_cell_is_named_whole(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1, info={"failed_jobs": [{"job": "a", "reason": "b", "arm": "scratch"}]})
    with pytest.raises(RunDirectoryError, match=r"failed_jobs\.0: a cell that failed has arm, pretext and fraction"):
        write_report(run)


@pytest.mark.parametrize("line", ["[]", "null", '"x"', "{" * 100_000, '{"epoch": ' + "9" * 5000 + "}"])
def test_a_log_of_something_else_is_told_by_its_line(make_run: MakeRun, line: str) -> None:
    run = make_run(fractions=[0.05], folds=1)
    log = run / "pretraining" / "rotation" / "0" / "metrics.jsonl"
    log.write_text(f"{line}\n{log.read_text()}")
    with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl, line 1: .*(not JSON|is not a JSON object)"):
        write_report(run)


def test_a_log_that_is_no_text_is_refused(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / "pretraining" / "rotation" / "0" / "metrics.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(RunDirectoryError, match=r"metrics\.jsonl is not UTF-8 text"):
        write_report(run)


def test_values_that_no_axis_could_show_are_left_out(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1)
    log = run / "pretraining" / "rotation" / "0" / "metrics.jsonl"
    huge = {"epoch": 41, "loss": 1e308, "accuracy": -1e308, "x" * 5000: 1.0, "\x1b[2J": 10**400, "note": "text"}
    log.write_text(log.read_text() + json.dumps(huge) + "\n" + '{"epoch": 42, "loss": Infinity, "other": NaN}\n')
    (run / "pretraining" / "rotation" / "0" / "config.json").write_text("{}")
    index = write_report(run)
    assert "1.4 " not in Page(index).text
    assert all(len(figure.name) < 200 for figure in index.parent.glob("*.svg"))


@pytest.mark.parametrize("text", ["[]", "{", '{"sslkit": []}', '{"sslkit": {"epoch": "x"}}'])
def test_weights_beside_another_config_json_are_told(make_run: MakeRun, text: str) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / "pretraining" / "rotation" / "0" / "config.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"0/config\.json is not (JSON|as 'sslkit run' writes it)"):
        write_report(run)


@pytest.mark.parametrize("letters", [1000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_texts_without_end_are_reported(make_run: MakeRun, letters: int) -> None:
    long = "x" * letters
    run = make_run(
        fractions=[0.05], folds=1, classes=(long, "b"), lines=[("t", long), ("", "scratch")], name=long, referable=False
    )
    assert long in Page(write_report(run)).text


def test_splits_json_is_not_read(make_run: MakeRun) -> None:
    run = make_run(fractions=[0.05], folds=1)
    (run / "splits.json").write_text("[[[")
    assert write_report(run).exists()


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _change(path: Path, changes: dict[str, str]) -> None:
    rows = _rows(path)
    rows[0] |= changes
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
