from __future__ import annotations

import csv
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from studies import tiny_config

import sslkit
from sslkit.errors import ConfigError, DataError, JobError, RunDirectoryError
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve
from sslkit.metrics import quadratic_weighted_kappa


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob(pattern))}


def test_there_is_one_row_a_cell_in_plan_order(tiny_run: RunResult) -> None:
    rows = rows_of(tiny_run.directory.results)

    keys = [(row["pretext"], row["arm"], row["fraction"], row["fold"], row["repetition"]) for row in rows]
    assert keys == [
        (pretext, arm, fraction, fold, "0")
        for pretext, arm in (
            *(("rotation", "pretrained"), ("", "scratch")),
            *(("rotation", "frozen"), ("rotation", "knn")),
        )
        for fraction in ("0.3", "1.0")
        for fold in ("0", "1")
    ]


def test_scores_are_those_of_the_predictions(tiny_run: RunResult) -> None:
    for row in rows_of(tiny_run.directory.results):
        predictions = rows_of(tiny_run.directory.cell(row["cell"]) / "predictions.csv")
        targets = np.array([int(p["target"]) for p in predictions])
        predicted = np.array([int(p["predicted"]) for p in predictions])
        shares = np.array([[float(p[f"p_{k}"]) for k in range(5)] for p in predictions])

        kappa = quadratic_weighted_kappa(targets, predicted, 5)
        assert row["qwk"] == ("" if kappa is None else str(kappa))
        assert float(row["accuracy"]) == pytest.approx((targets == predicted).mean())
        assert shares.sum(1) == pytest.approx(np.ones(len(shares)), abs=1e-5)
        assert len(predictions) == int(row["test_images"])


def test_the_summary_is_taken_over_folds(tiny_run: RunResult) -> None:
    rows = rows_of(tiny_run.directory.results)
    for line in rows_of(tiny_run.directory.summary):
        cells = [row for row in rows if all(row[key] == line[key] for key in ("pretext", "arm", "fraction"))]
        kappas = [float(cell["qwk"]) for cell in cells if cell["qwk"]]
        assert int(line["n"]) == len(kappas)
        assert int(line["undefined"]) == len(cells) - len(kappas)
        if kappas:
            assert float(line["qwk_mean"]) == pytest.approx(statistics.fmean(kappas))
            assert float(line["qwk_min"]) == min(kappas)
            assert float(line["qwk_max"]) == max(kappas)
        assert float(line["accuracy_mean"]) == pytest.approx(
            statistics.fmean(float(cell["accuracy"]) for cell in cells)
        )


def test_each_curve_ends_at_the_last_update(tiny_run: RunResult) -> None:
    for path in tiny_run.directory.root.glob("cells/*/metrics.jsonl"):
        curve = [json.loads(line) for line in path.read_text().splitlines()]
        result = json.loads((path.parent / "result.json").read_text())
        if result["arm"] == "knn":
            assert curve == []
            continue
        assert [point["update"] for point in curve] == [2, 4, 6]
        assert curve[-1]["qwk"] == result["qwk"]


def test_the_directory_holds_what_is_promised(tiny_run: RunResult) -> None:
    root = tiny_run.directory.root
    about = json.loads((root / "run.json").read_text())

    for name in ("config.toml", "splits.json", "results.csv", "summary.csv", "report/index.html"):
        assert (root / name).stat().st_size > 0
    for fold in ("0", "1"):
        folder = root / "pretraining" / "rotation" / fold
        assert {path.name for path in folder.iterdir()} == {
            "metrics.jsonl",
            "last.ckpt",
            "backbone.safetensors",
            "config.json",
            "features.npy",
            "features.json",
            "SHA256SUMS",
        }
    models = {path.parent.name for path in root.glob("cells/*/model.safetensors")}
    assert models == {
        row["cell"] for row in rows_of(root / "results.csv") if (row["fraction"] == "1.0") & (row["arm"] != "knn")
    }
    assert about["notices"] == [about["notices"][0]]
    assert "say nothing about patients" in about["notices"][0]
    assert about["transductive"] is False
    assert about["failed_jobs"] == []
    assert {plugin["name"] for plugin in about["plugins"]} == {
        "synthetic-fundus",
        "timm",
        "rotation",
        "dr-grade",
        "local",
    }


def test_test_patients_are_in_no_training_of_their_fold(tiny_run: RunResult) -> None:
    splits = json.loads(tiny_run.directory.splits.read_text())
    patient = {name: name.rpartition("_")[0] for name in splits["fold_of"]}

    for order in splits["labelled"]:
        tested = {patient[name] for name, fold in splits["fold_of"].items() if fold == order["fold"]}
        assert tested
        assert tested.isdisjoint(patient[name] for name in order["order"])


def test_the_same_command_does_nothing_twice(tiny_run: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(tiny_run.directory.root, root)
    before = contents(root, "cells/*/*") | contents(root, "*.csv")
    times = {path: path.stat().st_mtime_ns for path in root.glob("cells/*/*")}

    # A copied run reads its pretrained weights at their new place, but finds every cell done already.
    sslkit.run(tiny_config(), root)

    assert contents(root, "cells/*/*") | contents(root, "*.csv") == before
    assert {path: path.stat().st_mtime_ns for path in root.glob("cells/*/*")} == times


def test_a_run_is_extended_by_what_is_missing(tiny_run: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "extended"
    shutil.copytree(tiny_run.directory.root, root)
    before = contents(root, "cells/*/*")

    more = {"label_fractions": [0.3, 0.6, 1.0], "folds": 2, "repetitions": 2, "arms": ["pretrained", "scratch"]}
    sslkit.run(tiny_config(evaluation=more), root)

    after = contents(root, "cells/*/*")
    assert {name: after[name] for name in before} == before
    assert len(rows_of(root / "results.csv")) == 2 * 3 * 2 * 2


def test_another_configuration_is_refused_with_the_difference(tiny_run: RunResult) -> None:
    root = tiny_run.directory.root
    before = contents(root, "*.*")

    with pytest.raises(RunDirectoryError, match=r"(?s)another configuration.*finetuning\.updates: 6 there, 7 here"):
        sslkit.run(tiny_config(finetuning={"updates": 7}), root)
    assert contents(root, "*.*") == before


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(RunDirectoryError, match=r"is not empty and holds no run \(no config\.toml\)"):
        sslkit.run(tiny_config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_loss_that_diverges_fails_its_cells_and_keeps_the_others(tmp_path: Path) -> None:
    config = tiny_config(
        pretraining={"learning_rate": 10, "weight_decay": 1e30, "epochs": 3},
        evaluation={"arms": ["pretrained", "scratch"], "folds": 2},
    )

    with pytest.raises(
        JobError, match=r"(?s)6 jobs failed; the others are kept.*loss is (nan|inf) at update .* try a lower"
    ):
        sslkit.run(config, tmp_path / "run")

    rows = rows_of(tmp_path / "run" / "results.csv")
    assert {row["arm"] for row in rows} == {"scratch"}
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert len(about["failed_jobs"]) == 6
    assert "not run: it needs pretraining/rotation/0, which failed" in str(about["failed_jobs"])


def photographs(folder: Path, count: int) -> dict[str, Any]:
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        grade = folder / str(number % 5)
        grade.mkdir(exist_ok=True, parents=True)
        Image.fromarray(pixels).save(grade / f"{number:02}.png")
    return {
        "dataset": {"name": "image-folder", "path": str(folder)},
        "images": {"size": 32, "crop": "center"},
        "evaluation": {"folds": 2, "arms": ["scratch"], "label_fractions": [1.0]},
    }


def test_an_unreadable_image_is_named_and_nothing_begun(tmp_path: Path) -> None:
    changes = photographs(tmp_path / "images", 20)
    (tmp_path / "images" / "2" / "07.png").write_bytes(b"no picture")

    with pytest.raises(DataError, match=r'(?s)1 of 20 images cannot be read.*on_unreadable = "skip".*2/07\.png: '):
        sslkit.run(tiny_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_without_unreadable_images_if_told_to(tmp_path: Path) -> None:
    changes = photographs(tmp_path / "images", 20)
    (tmp_path / "images" / "2" / "07.png").write_bytes(b"no picture")
    changes["images"]["on_unreadable"] = "skip"

    root = sslkit.run(tiny_config(**changes), tmp_path / "run").directory.root

    assert [item["id"] for item in json.loads((root / "run.json").read_text())["data"]["unreadable"]] == ["2/07.png"]
    assert "2/07.png" not in json.loads((root / "splits.json").read_text())["fold_of"]
    assert sum(int(row["test_images"]) for row in rows_of(root / "results.csv")) == 19


def test_the_imagenet_arm_starts_from_the_weights_of_a_file(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(3)
    weights = tmp_path / "published.pth"
    torch.save(timm.create_model("test_resnet").state_dict(), weights)
    changes = {
        "backbone": {"weights": str(weights)},
        "evaluation": {"folds": 2, "arms": ["scratch", "imagenet"], "label_fractions": [1.0]},
        "finetuning": {"updates": 1, "head_updates": 1, "evaluations": 1},
    }

    root = sslkit.run(tiny_config(**changes), tmp_path / "run").directory.root

    rows = rows_of(root / "results.csv")
    published = torch.load(weights, weights_only=True)
    for row in rows:
        model = load_file(root / "cells" / row["cell"] / "model.safetensors")
        same = torch.equal(model["encoder.conv1.0.weight"], published["conv1.0.weight"])
        assert same == (row["arm"] == "imagenet")


def test_cut_points_are_fitted_by_cells_that_did_not_learn_the_image(tmp_path: Path) -> None:
    changes = {
        "head": {"name": "dr-grade", "encoding": "regression", "cut_points": "cross-fitted"},
        "evaluation": {"folds": 2, "arms": ["scratch"], "label_fractions": [1.0]},
    }
    fixed = {**changes, "head": {**changes["head"], "cut_points": "fixed"}}

    fitted_root = sslkit.run(tiny_config(**changes), tmp_path / "fitted").directory.root
    fixed_root = sslkit.run(tiny_config(**fixed), tmp_path / "fixed").directory.root

    rows = rows_of(fitted_root / "results.csv")
    for row, plain in zip(rows, rows_of(fixed_root / "results.csv"), strict=True):
        here = rows_of(fitted_root / "cells" / row["cell"] / "predictions.csv")
        there = rows_of(fixed_root / "cells" / plain["cell"] / "predictions.csv")
        assert [p["logit_0"] for p in here] == [p["logit_0"] for p in there]
        other = next(r["cell"] for r in rows if r["fold"] != row["fold"])
        scored = rows_of(fitted_root / "cells" / other / "predictions.csv")
        head = resolve(tiny_config(**changes), sslkit.build_registry()).make_head()
        head.fit(
            torch.tensor([[float(p["logit_0"])] for p in scored]), torch.tensor([int(p["target"]) for p in scored])
        )
        expected = head.predict(torch.tensor([[float(p["logit_0"])] for p in here])).classes
        assert [int(p["predicted"]) for p in here] == expected.tolist()
    before = contents(fitted_root, "results.csv")
    sslkit.run(tiny_config(**changes), fitted_root)
    assert contents(fitted_root, "results.csv") == before


def test_a_cell_whose_result_was_taken_away_is_done_again(tiny_run: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(tiny_run.directory.root, root)
    rows = rows_of(root / "results.csv")
    (root / "cells" / rows[0]["cell"] / "result.json").unlink()
    kept = next(row for row in rows if (row["arm"], row["fraction"]) == ("scratch", "1.0"))
    (root / "cells" / kept["cell"] / "model.safetensors").unlink()

    sslkit.run(tiny_config(), root)

    assert contents(root, "cells/*/*") == contents(tiny_run.directory.root, "cells/*/*")
    assert rows_of(root / "results.csv") == rows


def test_what_earlier_calls_took_is_kept(tiny_run: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(tiny_run.directory.root, root)
    before = json.loads((root / "run.json").read_text())

    sslkit.run(tiny_config(), root)

    after = json.loads((root / "run.json").read_text())
    assert after["started"] == before["started"]
    assert [session["jobs"] for session in after["sessions"]] == [2 + 2 + 16, 0]
    assert after["timings"]["total"] > before["timings"]["total"]


def test_results_of_an_older_version_are_not_mixed_in(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(evaluation={"arms": ["scratch"], "folds": 2, "label_fractions": [1.0]})
    root = sslkit.run(config, tmp_path / "run").directory.root
    before = {row["cell"] for row in rows_of(root / "results.csv")}
    monkeypatch.setattr("sslkit.experiment.recipe.RESULTS_VERSION", -1)

    sslkit.run(config, root)

    assert before.isdisjoint(row["cell"] for row in rows_of(root / "results.csv"))


def test_an_output_that_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("mine")

    with pytest.raises(RunDirectoryError, match=r"run cannot be written to; give another --output"):
        sslkit.run(tiny_config(), tmp_path / "file.txt" / "run")


def test_weights_that_are_not_there_are_refused_at_planning(tmp_path: Path) -> None:
    config = tiny_config(backbone={"weights": str(tmp_path / "no.pth")}, evaluation={"arms": ["imagenet"], "folds": 2})

    with pytest.raises(ConfigError, match=r"backbone\.weights: there is no .*no\.pth, which the arm 'imagenet' needs"):
        sslkit.plan(config)
