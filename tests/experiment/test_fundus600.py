"""The main job on real photographs, where they are at hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from studies import tiny_config

import sslkit


def test_real_photographs_go_through_the_whole_run(fundus600: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    with (fundus600 / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:100]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    dataset = {
        "name": "csv",
        "table": str(table),
        "images": str(fundus600),
        "label_column": "grade",
        "group_column": "patient",
    }

    root = sslkit.run(tiny_config(dataset=dataset), tmp_path / "run").directory.root
    (answer,) = sslkit.predict(root, [fundus600 / rows[0]["image"]])

    with (root / "results.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 * 2 * 2
    about = json.loads((root / "run.json").read_text())
    assert about["data"]["images"] == 100
    assert about["data"]["groups"] == len({row["patient"] for row in rows})
    assert about["data"]["unreadable"] == []
    assert answer.grade in range(5)
