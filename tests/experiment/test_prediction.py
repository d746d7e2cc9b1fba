from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from studies import tiny_config

import sslkit
from sslkit.errors import RunDirectoryError
from sslkit.experiment import prediction
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve


def results(run: RunResult) -> list[dict[str, str]]:
    with run.directory.results.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The images of the tiny run as lossless files, by id."""
    folder = tmp_path_factory.mktemp("photographs")
    dataset = resolve(tiny_config(), sslkit.build_registry()).make_dataset()
    paths = {}
    for record in dataset.records():
        paths[record.id] = folder / f"{record.id}.png"
        Image.fromarray(dataset.read(record)).save(paths[record.id])  # type: ignore[arg-type]
    return paths


def test_one_fold_grades_as_its_cell_did(tiny_run: RunResult, photographs: dict[str, Path]) -> None:
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    predictor.models = predictor.models[:1]
    cell = next(
        row for row in results(tiny_run) if (row["arm"], row["fraction"], row["fold"]) == ("pretrained", "1.0", "0")
    )
    with (tiny_run.directory.cell(cell["cell"]) / "predictions.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))

    graded = list(predictor.predict([photographs[row["image"]] for row in expected]))

    assert [image.grade for image in graded] == [int(row["predicted"]) for row in expected]
    for image, row in zip(graded, expected, strict=True):
        shares = list((image.probabilities or {}).values())
        assert shares == pytest.approx([float(row[f"p_{k}"]) for k in range(5)], abs=1e-5)


def test_folds_are_averaged_over_their_logits(tiny_run: RunResult, photographs: dict[str, Path]) -> None:
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    path = next(iter(photographs.values()))
    pixels = torch.from_numpy(predictor.preprocessing.apply(path.read_bytes()))[None].permute(0, 3, 1, 2)

    (answer,) = predictor.predict([path])

    with torch.inference_mode():
        logits = [head.eval()(encoder.eval()(pixels)) for encoder, head in predictor.models]
    expected = predictor.head.predict(torch.stack(logits).mean(0))
    assert len(predictor.models) == 2
    assert answer.grade == expected.classes.item()
    assert list((answer.probabilities or {}).values()) == pytest.approx(expected.probabilities[0].tolist(), abs=1e-6)


def test_an_unreadable_image_is_answered_in_its_place(
    tiny_run: RunResult, photographs: dict[str, Path], tmp_path: Path
) -> None:
    good = next(iter(photographs.values()))
    (tmp_path / "text.jpg").write_text("hello")

    answers = list(sslkit.predict(tiny_run.directory.root, [tmp_path / "text.jpg", good, tmp_path / "absent.png"]))

    assert [answer.grade is None for answer in answers] == [True, False, True]
    assert "not an image" in (answers[0].error or "")
    assert "No such file" in (answers[2].error or "")
    assert answers[1].grade_name in (answers[1].probabilities or {})


def test_files_are_read_a_few_batches_ahead_and_answered_in_order(
    tiny_run: RunResult, photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "available_cores", lambda: 3)
    monkeypatch.setattr(Predictor, "batch_size", 2)
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    paths = [path for path in photographs.values() for _ in range(2)]
    taken = []

    def give() -> Iterator[Path]:
        for path in paths:
            taken.append(path)
            yield path

    threads = torch.get_num_threads()
    answers = predictor.predict(give())
    first = next(answers)
    assert len(taken) == 2 * (3 + 1)
    assert [first.image, *(answer.image for answer in answers)] == [str(path) for path in paths]
    assert torch.get_num_threads() == threads
    assert not torch.is_inference_mode_enabled()


def test_grades_do_not_depend_on_the_number_of_cores(
    tiny_run: RunResult, photographs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    one, many = [], []
    for cores, found in ((1, one), (40, many)):
        monkeypatch.setattr(prediction, "available_cores", lambda cores=cores: cores)
        found += [answer.probabilities for answer in predictor.predict(photographs.values())]
    assert len(one) == len(photographs)
    for first, second in zip(one, many, strict=True):
        assert first == pytest.approx(second, abs=1e-5)


def test_the_arm_can_be_chosen(tiny_run: RunResult, photographs: dict[str, Path]) -> None:
    path = next(iter(photographs.values()))

    (pretrained,) = sslkit.predict(tiny_run.directory.root, [path])
    (scratch,) = sslkit.predict(tiny_run.directory.root, [path], arm="scratch")

    assert pretrained.probabilities != scratch.probabilities


def test_wrong_runs_and_arms_are_refused(tiny_run: RunResult, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"holds no run \(no config\.toml\)"):
        list(sslkit.predict(tmp_path, ["x.png"]))
    with pytest.raises(
        RunDirectoryError, match=r"no model of arm 'scrach'; did you mean 'scratch'\? It has: pretrained, "
    ):
        list(sslkit.predict(tiny_run.directory.root, ["x.png"], arm="scrach"))
    (tmp_path / "config.toml").write_bytes(tiny_run.directory.config.read_bytes())
    with pytest.raises(RunDirectoryError, match=r"keeps no model; run it to its end first"):
        list(sslkit.predict(tmp_path, ["x.png"]))


def test_models_of_older_plans_are_left_alone(
    tiny_run: RunResult, photographs: dict[str, Path], tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(tiny_run.directory.root, root)
    kept = next(row for row in results(tiny_run) if (row["arm"], row["fraction"]) == ("scratch", "1.0"))
    for name in ("of-an-older-plan", ".left-by-a-kill"):
        shutil.copytree(root / "cells" / kept["cell"], root / "cells" / name)
    path = next(iter(photographs.values()))

    (before,) = sslkit.predict(tiny_run.directory.root, [path], arm="scratch")
    (after,) = sslkit.predict(root, [path], arm="scratch")

    assert after.probabilities == before.probabilities


def test_a_missing_fold_is_not_passed_over(tiny_run: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(tiny_run.directory.root, root)
    row = next(r for r in results(tiny_run) if (r["arm"], r["fraction"], r["fold"]) == ("pretrained", "1.0", "1"))
    (root / "cells" / row["cell"] / "model.safetensors").unlink()

    with pytest.raises(RunDirectoryError, match="lacks the models of folds 1; run the same command again"):
        list(sslkit.predict(root, ["x.png"]))


def test_a_damaged_model_is_named(tiny_run: RunResult, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(tiny_run.directory.root, root)
    for path in root.glob("cells/*/model.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(RunDirectoryError, match=r"model\.safetensors does not fit its checksum"):
        list(sslkit.predict(root, ["x.png"]))
