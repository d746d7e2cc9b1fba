"""A run directory as ``sslkit run`` leaves it, with made-up numbers that are plausible and always the same."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslkit.report import write_report

FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
CLASSES = ("No_DR", "Mild", "Moderate", "Severe", "Proliferate_DR")
LINES = (("rotation", "pretrained"), ("", "scratch"))


def _csv(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows([{key: "" if value is None else value for key, value in row.items()} for row in rows])


def _jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _cell_files(
    directory: Path, rng: np.random.Generator, quality: float, classes: Sequence[str], score: float
) -> None:
    size = len(classes)
    prior = np.array([0.49, 0.1, 0.27, 0.06, 0.08][:size])
    targets = rng.choice(size, 120, p=prior / prior.sum())
    predicted = np.where(
        rng.random(120) < 0.35 + 0.6 * quality, targets, np.clip(targets + rng.integers(-2, 3, 120), 0, size - 1)
    )
    rows = [
        {"image": f"img{i:04d}", "group": f"p{i // 2}", "target": int(t), "predicted": int(p)}
        | {f"p_{k}": round(0.8 if k == p else 0.2 / max(size - 1, 1), 4) for k in range(size)}
        for i, (t, p) in enumerate(zip(targets, predicted, strict=True))
    ]
    _csv(directory / "predictions.csv", rows, list(rows[0]))
    updates = np.arange(20, 401, 20)
    rise = 1 - np.exp(-updates / 110)
    curve = score * rise + rng.normal(0, 0.012, len(updates))
    lines = [
        {
            "update": int(u),
            "loss": float(1.5 - r),
            "learning_rate": 5e-5,
            "qwk": float(q),
            "accuracy": float(0.49 + 0.3 * q),
        }
        for u, r, q in zip(updates, rise, curve, strict=True)
    ]
    lines[0]["qwk"] = None
    _jsonl(directory / "metrics.jsonl", lines)


def write_run(
    root: Path,
    *,
    name: str = "dr-rotation",
    lines: Sequence[tuple[str, str]] = LINES,
    fractions: Sequence[float] = FRACTIONS,
    folds: int = 5,
    repetitions: int = 1,
    classes: Sequence[str] = CLASSES,
    referable: bool = True,
    undefined: Callable[[dict[str, Any]], bool] = lambda row: False,
    lost: Callable[[dict[str, Any]], bool] = lambda row: False,
    info: dict[str, Any] | None = None,
) -> Path:
    """Write a run directory and return its path."""
    rng = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for number, (pretext, arm) in enumerate(lines):
        for fraction in fractions:
            for fold in range(folds):
                for repetition in range(repetitions):
                    gain = 0.12 * (1 - number / len(lines)) * (1 - fraction)
                    score = 0.36 + 0.37 * (np.log(fraction / 0.05) / np.log(20)) + gain + rng.normal(0, 0.035)
                    row: dict[str, Any] = {"pretext": pretext, "arm": arm, "fraction": fraction, "fold": fold}
                    row |= {
                        "repetition": repetition,
                        "labels": round(2930 * fraction) + fold % 2,
                        "test_images": 732,
                    }
                    row |= {"qwk": float(score), "accuracy": float(0.5 + 0.3 * score)}
                    row |= {"ece": float(0.3 - 0.2 * score), "brier": float(0.9 - 0.5 * score)}
                    row |= {
                        f"recall_{k}": float(np.clip(score + rng.normal(0, 0.1), 0, 1)) for k in range(len(classes))
                    }
                    if referable:
                        row |= {
                            f"referable_{m}": float(0.7 + 0.2 * score)
                            for m in ("auroc", "threshold", "sensitivity", "specificity")
                        }
                    row["cell"] = f"{number:08d}c{round(1000 * fraction):05d}{fold}{repetition}"
                    if lost(row):
                        continue
                    if undefined(row):
                        row["qwk"] = None
                    rows.append(row)
                    _cell_files(root / "cells" / row["cell"], rng, float(score), classes, float(score))
    columns = list(rows[0]) if rows else ["pretext", "arm", "fraction", "fold", "repetition", "labels", "qwk", "cell"]
    _csv(root / "results.csv", rows, columns)
    _csv(root / "summary.csv", summaries := _summaries(rows), list(summaries[0]) if summaries else _SUMMARY_COLUMNS)
    for pretext in dict.fromkeys(pretext for pretext, _ in lines if pretext):
        for fold in range(folds):
            decay = np.exp(-np.arange(1, 41) / 12)
            _jsonl(
                root / "pretraining" / pretext / str(fold) / "metrics.jsonl",
                [
                    {
                        "epoch": e,
                        "update": e * 90,
                        "loss": 1.4 * d + 0.02 * rng.random(),
                        "learning_rate": 1e-5,
                        "accuracy": 1 - 0.75 * d,
                    }
                    for e, d in enumerate(decay.tolist(), start=1)
                ],
            )
    (root / "config.toml").write_text(f'name = "dr"\nseed = 0\n\n[evaluation]\nfolds = {folds}\n', encoding="utf-8")
    (root / "run.json").write_text(json.dumps(_info(name, classes, referable, lines) | (info or {})), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def write_a_run() -> Callable[..., Path]:
    """Return the function that writes a run directory into a folder."""
    return write_run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run directory and returns its path."""
    return functools.partial(write_run, tmp_path / "run")


@pytest.fixture(scope="session")
def small_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return index.html of a run of two arms, two shares and two folds; not to be changed."""
    return write_report(write_run(tmp_path_factory.mktemp("report") / "run", fractions=(0.05, 1.0), folds=2))


_SUMMARY_COLUMNS = [
    "pretext",
    "arm",
    "fraction",
    "n",
    "undefined",
    "labels",
    "qwk_min",
    "qwk_mean",
    "qwk_max",
    "qwk_sd",
]


def _summaries(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    summaries = []
    for pretext, arm, fraction in dict.fromkeys((row["pretext"], row["arm"], row["fraction"]) for row in rows):
        cells = [row for row in rows if (row["pretext"], row["arm"], row["fraction"]) == (pretext, arm, fraction)]
        scores = [row["qwk"] for row in cells if row["qwk"] is not None]
        summary = {
            "pretext": pretext,
            "arm": arm,
            "fraction": fraction,
            "n": len(cells),
            "undefined": len(cells) - len(scores),
        }
        summary |= {"labels": _mean([row["labels"] for row in cells]), "qwk_min": min(scores, default=None)}
        summary |= {"qwk_mean": _mean(scores), "qwk_max": max(scores, default=None)}
        summary["qwk_sd"] = float(np.std(scores, ddof=1)) if len(scores) > 1 else None
        means = [
            key for key in cells[0] if key in ("accuracy", "ece", "brier") or key.startswith(("recall_", "referable_"))
        ]
        summaries.append(summary | {f"{key}_mean": _mean([row[key] for row in cells]) for key in means})
    return summaries


def _info(name: str, classes: Sequence[str], referable: bool, lines: Sequence[tuple[str, str]]) -> dict[str, Any]:
    tasks = [("pretext", pretext) for pretext in dict.fromkeys(pretext for pretext, _ in lines if pretext)]
    used = [
        *tasks,
        ("backbone", "densenet121"),
        ("head", "dr-grade"),
        ("dataset", "synthetic-fundus"),
        ("executor", "local"),
    ]
    return {
        "name": name,
        "started": "2026-03-01T09:12:01+00:00",
        "finished": "2026-03-01T11:15:25+00:00",
        "versions": {"sslkit": "0.1.0", "torch": "2.14.0", "python": "3.11.9"},
        "plugins": [
            {"kind": kind, "name": plugin, "distribution": "sslkit", "version": "0.1.0"} for kind, plugin in used
        ],
        "hardware": {"device": "cpu", "processor": "x86_64", "cores": 2, "memory_gib": 7.6},
        "seed": 0,
        "class_names": list(classes),
        "primary_metric": "qwk",
        "positive_from": 2 if referable else None,
        "transductive": False,
        "notices": ["Synthetic fundus photographs: the figures say nothing about patients."],
        "data": {
            "images": 3662,
            "labelled": 3662,
            "groups": 3540,
            "class_counts": [1805, 370, 999, 193, 295][: len(classes)],
            "unreadable": [{"id": "broken_01.png", "reason": "truncated after 512 bytes"}],
            "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        },
        "missing_classes": ["Fold 3 at 5 % of the labels has no image of Severe."],
        "timings": {"ingest": 41.2, "pretraining": 4312.0, "cells": 3010.5, "total": 7384.0},
        "failed_jobs": [],
    }
