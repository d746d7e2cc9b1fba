"""Carries out the commands that the manual shows, page by page, in a folder where what they are about stands ready.

Data are computed photographs; budgets are made small by options behind those that are shown. The tutorial has a test of
its own, and so has serving, which does not end.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import sslkit as call
from manual import BLOCKS, FOLLOWED, ROOT, Block, commands_in, install
from PIL import Image
from studies import tiny_tables

import sslkit
from sslkit.config import to_toml
from sslkit.experiment.running import RunResult

SMALL = {
    "images.size": "32",
    "images.crop": "none",
    "backbone.name": "timm",
    "backbone.model": "test_resnet",
    "pretraining.epochs": "1",
    "pretraining.batch_size": "8",
    "finetuning.updates": "2",
    "finetuning.head_updates": "1",
    "finetuning.batch_size": "4",
    "finetuning.evaluations": "1",
    "evaluation.label_fractions": "[0.5, 1.0]",
    "evaluation.folds": "2",
    "compute.workers": "1",
}
FEWER = {
    "examples/dr_rotation.toml": {"dataset.patients": "16"},
    "examples/tournament.toml": {"dataset.patients": "16", "pretext": '[{name = "rotation"}, {name = "byol"}]'},
}
LEFT_OUT = {"serve": "does not end", "plugins check": "takes half a minute, and has tests of its own"}
FIRST = {ROOT / "README.md", ROOT / "docs" / "index.md"}
"""The pages that every test run follows; the others take minutes."""
NUM_IMAGES = 32


def pages() -> list[Any]:
    shown = [block for block in BLOCKS if block.language == "sh" and block.page not in FOLLOWED and to_carry_out(block)]
    return [
        pytest.param(list(blocks), id=str(page.relative_to(ROOT)), marks=[] if page in FIRST else [pytest.mark.slow])
        for page, blocks in groupby(shown, key=lambda block: block.page)
    ]


def to_carry_out(block: Block) -> list[list[str]]:
    return [
        shown for shown in commands_in(block) if not any(" ".join(shown).startswith(left_out) for left_out in LEFT_OUT)
    ]


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    plugin = sslkit.build_registry().find("dataset", "synthetic-fundus")
    dataset = plugin.cls(plugin.cls.Config(patients=NUM_IMAGES // 2, size=48))
    return [Image.fromarray(np.asarray(dataset.read(record))) for record in dataset.records()]


@pytest.fixture
def desk(tmp_path: Path, photographs: list[Image.Image], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with everything that the pages speak of."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    names = [f"{number // 2}_{'left' if number % 2 == 0 else 'right'}" for number in range(len(photographs))]
    grades = [number // 2 % 5 for number in range(len(photographs))]
    tables = {
        "examples/labels.csv": ("image,grade,patient", "."),
        "fundus600/labels.csv": ("image,grade,patient", "."),
        "labels.csv": ("image,grade,patient", "photographs"),
        "aptos2019/train.csv": ("id_code,diagnosis", "train_images"),
        "eyepacs/trainLabels.csv": ("image,level", "train"),
    }
    for table, (header, folder) in tables.items():
        for root in (tmp_path, tmp_path / "examples", tmp_path / "data"):
            path = root / table
            (path.parent / folder).mkdir(parents=True, exist_ok=True)
            with_patient = header.count(",") == 2
            inside = f"{folder}/" if folder == "photographs" else ""
            rows = [
                f"{inside}{name},{grade}" + (f",{name.partition('_')[0]}" if with_patient else "")
                for name, grade in zip(names, grades, strict=True)
            ]
            path.write_text("\n".join([header, *rows]) + "\n")
            for name, photograph in zip(names, photographs, strict=True):
                photograph.save(path.parent / folder / f"{name}.png")
    (tmp_path / "data" / "medmnist").mkdir()
    pixels = np.stack([np.asarray(photograph.resize((28, 28))) for photograph in photographs])
    arrays = {"images": pixels, "labels": np.array(grades)[:, None]}
    parts = {f"{split}_{key}": value for split in ("train", "val", "test") for key, value in arrays.items()}
    parts |= {
        f"{split}_images": parts[f"{split}_images"] + shift for shift, split in enumerate(("train", "val", "test"))
    }
    for name in ("retinamnist_64", "pathmnist_64"):
        np.savez(tmp_path / "data" / "medmnist" / f"{name}.npz", **parts)
    for name in ("photograph.jpg", "another.png"):
        photographs[0].save(tmp_path / name)
    (tmp_path / "scans" / "left").mkdir(parents=True)
    photographs[0].save(tmp_path / "scans" / "left" / "scan.jpg")
    shutil.copytree(tmp_path / "aptos2019" / "train_images", tmp_path / "test_images")
    (tmp_path / "test.csv").write_text("id_code\n" + "\n".join(names[:3]) + "\n")
    shutil.copy(ROOT / "examples" / "dr_rotation_csv.toml", tmp_path / "study.toml")
    (tmp_path / "dr.toml").write_text(to_toml(tiny_tables()))  # of the run that runs/dr is a copy of
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:  # two pages may show modules of one name
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def made_small(arguments: list[str]) -> list[str]:
    """Return a command with small budgets behind its own options; of what it sets itself, the data sets stay."""
    command = arguments[0]
    if command not in ("run", "doctor", "bench") or "dr.toml" in arguments:
        return arguments
    sizes = {**SMALL, **next((fewer for path, fewer in FEWER.items() if path in arguments), {})}
    if any(argument.startswith("dataset=") for argument in arguments):
        sizes.pop("dataset.patients", None)
    more = ["--seconds", "0.1"] if command == "bench" else []
    return [*arguments, *more, *(part for key, value in sizes.items() for part in ("--set", f"{key}={value}"))]


def made_ready(arguments: list[str], desk: Path, run: Path) -> list[str]:
    """Return a command about what is on the desk, where a run that it reads stands."""
    arguments = [argument.replace("=/data/", f"={desk}/data/") for argument in arguments]
    arguments = [argument.replace("$SLURM_CPUS_PER_TASK", "1").replace("$PWD", str(desk)) for argument in arguments]
    if arguments[0] != "run":
        for argument in arguments:
            if re.fullmatch(r"runs/[\w-]+", argument) and not (desk / argument).exists():
                shutil.copytree(run, desk / argument)
    return made_small(arguments)


@pytest.mark.parametrize("blocks", pages())
def test_the_commands_of_a_page_do_what_they_say(blocks: list[Block], desk: Path, tiny_run: RunResult) -> None:
    install(blocks[0].page, desk)
    for block in blocks:
        for shown in to_carry_out(block):
            outcome = call(*made_ready(shown, desk, tiny_run.directory.root))
            assert outcome.status == 0, f"{block}: sslkit {' '.join(shown)}\n{outcome.err}"
