from __future__ import annotations

import csv
import itertools
import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from studies import tiny_config

import sslkit
from sslkit.checksums import seal
from sslkit.data.cropping import circular_mask
from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.grad_cam import class_direction, grad_cam, spread_heat
from sslkit.errors import DataError, PluginError, RunDirectoryError
from sslkit.experiment import prediction
from sslkit.experiment.graded_files import write_answers
from sslkit.experiment.heat import picture_name
from sslkit.experiment.kept_models import average_decoding, average_threshold, load_run_config, model_folders
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.running import RunResult
from sslkit.experiment.study import resolve
from sslkit.files import write_json

Photographs = dict[str, Path]


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
    with pytest.raises(RunDirectoryError, match=r"neither a run \(no config\.toml\) nor exported weights"):
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


def predictions(run: RunResult, fold: int) -> list[dict[str, str]]:
    coordinates = ("pretrained", "1.0", str(fold))
    row = next(row for row in results(run) if (row["arm"], row["fraction"], row["fold"]) == coordinates)
    with (run.directory.cell(row["cell"]) / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run on files of every kind, cropped to the retina, whose decoding is fitted across folds."""
    root = tmp_path_factory.mktemp("odd")
    dataset = resolve(tiny_config(), sslkit.build_registry()).make_dataset()
    lines = ["image,grade,patient"]
    for number, record in enumerate(dataset.records()):
        image = Image.fromarray(dataset.read(record)).resize((96, 96))  # type: ignore[arg-type]
        name, options = ODD[number % len(ODD)]
        image = ImageOps.expand(image, (12 * (number % 3), 5))  # the retina is to be found first
        if name.startswith("turned"):
            options = {**options, "exif": turned()}
            image = image.transpose(Image.Transpose.ROTATE_90)
        if "mode" in options:
            image = image.convert(options["mode"])
        path = f"{number}.{name}"
        image.save(root / path, **{key: value for key, value in options.items() if key != "mode"})
        lines.append(f"{path},{'' if record.label is None else record.label},{record.group}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    config = tiny_config(
        dataset={"name": "csv", "table": str(root / "labels.csv"), "label_column": "grade", "group_column": "patient"},
        head={"name": "dr-grade", "cut_points": "cross-fitted", "temperature": "cross-fitted"},
        evaluation={"label_fractions": [1.0], "arms": ["pretrained"]},
    )
    return sslkit.run(config, root / "run")


ODD: list[tuple[str, dict[str, Any]]] = [
    ("png", {}),
    ("jpg", {"quality": 80}),
    ("grey.png", {"mode": "L"}),
    ("palette.png", {"mode": "P"}),
    ("alpha.webp", {"mode": "RGBA", "lossless": True}),
    ("inks.jpg", {"mode": "CMYK"}),
    ("turned.jpg", {}),
    ("lzw.tif", {"compression": "tiff_lzw"}),
    ("bmp", {}),
    ("gif", {"mode": "P"}),
]


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("fold", [0, 1])
def test_predict_and_training_see_the_same_in_files_of_every_kind(odd_run: RunResult, fold: int) -> None:
    """One fold's model gives for the images that tested it what predictions.csv of that cell holds."""
    root = odd_run.directory.root
    predictor = Predictor.open(root, sslkit.build_registry())
    registry = sslkit.build_registry()
    study = resolve(load_run_config(odd_run.directory), registry)
    folder = model_folders(odd_run.directory, 2, None, None)[fold]
    encoder, head = predictor.models[fold]
    fitted = average_decoding([head], [folder])
    single = Predictor(study.preprocessing, [(encoder, head)], fitted, predictor.compute)
    expected = predictions(odd_run, fold)
    kinds = [{row["image"].partition(".")[2] for row in predictions(odd_run, number)} for number in (0, 1)]
    assert kinds[0] | kinds[1] == {name for name, _ in ODD}
    assert len(kinds[fold]) > 5
    assert study.preprocessing.crop == "fundus"
    assert float(fitted.temperature) != 1  # type: ignore[arg-type]

    graded = list(single.predict([root.parent / row["image"] for row in expected]))

    assert [image.grade for image in graded] == [int(row["predicted"]) for row in expected]
    for image, row in zip(graded, expected, strict=True):
        shares = list((image.probabilities or {}).values())
        assert shares == pytest.approx([float(row[f"p_{k}"]) for k in range(5)], abs=1e-5)
    # And from memory, as a server has it.
    one = single.grade((root.parent / expected[0]["image"]).read_bytes(), "from memory")
    assert one.answer.image == "from memory"
    assert list((one.answer.probabilities or {}).values()) == pytest.approx(
        [float(expected[0][f"p_{k}"]) for k in range(5)], abs=1e-5
    )


def test_referable_is_what_reaches_the_mean_threshold_of_the_folds(
    tiny_run: RunResult, photographs: Photographs
) -> None:
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    rows = [r for r in results(tiny_run) if (r["arm"], r["fraction"]) == ("pretrained", "1.0")]
    thresholds = [float(row["referable_threshold"]) for row in rows]
    assert len(thresholds) == 2
    assert predictor.threshold == pytest.approx(sum(thresholds) / 2, abs=1e-12)
    assert predictor.referable_name == "referable"

    probabilities = []
    for image in predictor.predict(photographs.values()):
        probability = sum(list((image.probabilities or {}).values())[2:])
        assert image.referable_probability == pytest.approx(probability, abs=1e-12)
        assert image.referable is (probability >= predictor.threshold)
        probabilities.append(image.referable_probability or 0)

    predictor.threshold = sorted(probabilities)[20]
    called = [image.referable for image in predictor.predict(photographs.values())]
    assert called == [probability >= predictor.threshold for probability in probabilities]
    assert called.count(False) == 20


def test_no_call_is_made_without_a_threshold_or_a_question(tiny_run: RunResult, photographs: Photographs) -> None:
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    path = next(iter(photographs.values()))
    predictor.threshold = None
    (undecided,) = predictor.predict([path])
    predictor.head.positive_from = None  # type: ignore[misc]
    (unasked,) = predictor.predict([path])

    assert (undecided.referable, undecided.referable_probability is None) == (None, False)
    assert (unasked.referable, unasked.referable_probability) == (None, None)
    assert predictor.referable_name is None


def test_a_fold_without_a_threshold_does_not_count(tiny_run: RunResult, tmp_path: Path) -> None:
    folders = []
    for number, value in enumerate((0.25, None, 0.5)):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_json(folder / "result.json", {"referable_threshold": value})
        seal(folder, ["result.json"])
        folders.append(folder)
    assert average_threshold(folders) == 0.375
    assert average_threshold(folders[1:2]) is None
    (tmp_path / "0" / "result.json").write_text("{}")
    with pytest.raises(RunDirectoryError, match=r"result\.json does not fit its checksum"):
        average_threshold(folders)


def test_an_exported_model_grades_as_the_fold_that_it_came_from(
    tiny_run: RunResult, photographs: Photographs, tmp_path: Path
) -> None:
    registry = sslkit.build_registry()
    sslkit.export(tiny_run.directory.root, tmp_path / "exported", fold=1, weights="finetuned")
    expected = predictions(tiny_run, 1)

    predictor = Predictor.open(tmp_path / "exported", registry)
    graded = list(predictor.predict([photographs[row["image"]] for row in expected]))

    assert predictor.class_names == tuple(Predictor.open(tiny_run.directory.root, registry).class_names)
    for image, row in zip(graded, expected, strict=True):
        shares = list((image.probabilities or {}).values())
        assert shares == pytest.approx([float(row[f"p_{k}"]) for k in range(5)], abs=1e-5)
    cell = next(r for r in results(tiny_run) if (r["arm"], r["fraction"], r["fold"]) == ("pretrained", "1.0", "1"))
    assert predictor.threshold == float(cell["referable_threshold"])
    with pytest.raises(RunDirectoryError, match="holds one model; leave out --arm and --pretext"):
        Predictor.open(tmp_path / "exported", registry, arm="scratch", pretext="rotation")
    sslkit.export(tiny_run.directory.root, tmp_path / "headless")
    with pytest.raises(RunDirectoryError, match=r"nothing that grades; .* sslkit export RUN DIR --weights finetuned"):
        list(sslkit.predict(tmp_path / "headless", [photographs[expected[0]["image"]]]))


def test_folders_patterns_and_tables_are_taken_for_what_is_in_them(
    tiny_run: RunResult, photographs: Photographs
) -> None:
    root, folder = tiny_run.directory.root, next(iter(photographs.values())).parent
    whole = [str(path) for path in sorted(folder.iterdir())]
    assert [image.image for image in sslkit.predict(root, folder)] == whole
    assert [image.image for image in sslkit.predict(root, f"{folder}/*.png")] == whole
    assert [image.image for image in sslkit.predict(root, iter([folder]))] == whole
    with pytest.raises(DataError, match="no file fits the pattern"):
        sslkit.predict(root, [f"{folder}/*.jpg"])


def test_nothing_is_loaded_for_a_folder_without_an_image(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictor, "open", None)
    with pytest.raises(DataError, match="no image in the folder"):
        sslkit.predict(tiny_run.directory.root, [tmp_path])


def test_heat_is_the_mean_of_the_folds_within_the_circle(tiny_run: RunResult, photographs: Photographs) -> None:
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    contents = [path.read_bytes() for path in photographs.values()]
    graded = [predictor.grade(content, "x", cam=True) for content in contents[:12]]
    models = predictor.models
    circle = circular_mask(32)

    assert any(one.heat is not None and one.heat.any() for one in graded)
    assert predictor.mask is not None
    for content, one in zip(contents, graded, strict=False):
        assert one.heat is not None
        assert one.square is not None
        assert one.heat.dtype == np.float32
        assert one.heat.shape == (32, 32)
        assert one.square.tobytes() == predictor.preprocessing.apply(content).tobytes()
        assert not one.heat[~circle].any()
        pixels = torch.from_numpy(one.square)[None].permute(0, 3, 1, 2)
        with torch.no_grad():
            logits = torch.stack([head(encoder(pixels)) for encoder, head in models]).mean(0)
        direction = class_direction(predictor.head, logits, torch.tensor([one.answer.grade]))
        alone = [spread_heat(grad_cam(encoder, head, pixels, direction), 32, circle)[0] for encoder, head in models]
        assert {float(heat.max()) for heat in alone} <= {0.0, 1.0}
        np.testing.assert_allclose(one.heat, (alone[0] + alone[1]) / 2, atol=0.02)
    unreadable = predictor.grade(b"no image", "x", cam=True)
    assert (unreadable.square, unreadable.heat) == (None, None)
    assert "not an image" in (unreadable.answer.error or "")


def test_pictures_are_written_beside_the_answers(tiny_run: RunResult, photographs: Photographs, tmp_path: Path) -> None:
    paths = [*list(photographs.values())[:3], tmp_path / "absent.png"]
    plain = list(sslkit.predict(tiny_run.directory.root, paths))

    pictured = list(sslkit.predict(tiny_run.directory.root, paths, cam=tmp_path / "heat" / "new"))

    assert pictured == plain
    assert sorted(path.name for path in (tmp_path / "heat" / "new").iterdir()) == sorted(map(picture_name, paths[:3]))


def test_a_backbone_without_heat_is_refused_before_anything_is_graded(
    tiny_run: RunResult, photographs: Photographs, tmp_path: Path
) -> None:
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    for encoder, _ in predictor.models:
        encoder.backbone.forward_features = lambda x: [x]
    with pytest.raises(PluginError, match="no feature map can be had"):
        predictor.predict(photographs.values(), cam=tmp_path / "heat")
    assert not (tmp_path / "heat").exists()


def test_memory_does_not_grow_with_the_number_of_images(
    tiny_run: RunResult, photographs: Photographs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files there are, only the images of the batches that are under way are alive."""
    predictor = Predictor.open(tiny_run.directory.root, sslkit.build_registry())
    monkeypatch.setattr(Predictor, "batch_size", 8)
    monkeypatch.setattr(prediction, "available_cores", lambda: 2)
    alive, most, lock = set[int](), 0, Lock()
    apply = Preprocessing.apply

    def counted(self: Preprocessing, content: bytes) -> np.ndarray:
        nonlocal most
        square = apply(self, content)
        with lock:
            alive.add(key := id(square))
            most = max(most, len(alive))
        weakref.finalize(square, alive.discard, key)
        return square

    monkeypatch.setattr(Preprocessing, "apply", counted)
    path = next(iter(photographs.values()))
    answered = 0

    def write() -> Iterator[sslkit.GradedImage]:
        nonlocal answered
        for answer in predictor.predict(itertools.repeat(path, 2000)):
            answered += 1
            yield answer

    write_answers(tmp_path / "grades.csv", write(), predictor.class_names)

    assert answered == 2000
    assert 8 <= most <= 8 * 3


@pytest.mark.slow
def test_thousands_of_files_take_no_more_memory_than_hundreds(tiny_run: RunResult, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for number in range(3000):
        pixels = generator.integers(60, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((300, 300)).save(tmp_path / f"{number:04}.jpg")
    peaks = []
    for pattern in ("00*.jpg", "0[0-4]*.jpg", "*.jpg"):
        command = [sys.executable, "-c", MEASURE, str(tiny_run.directory.root), str(tmp_path / pattern)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        count, peak = map(int, done.stdout.split())
        peaks.append((count, peak))
    assert [count for count, _ in peaks] == [100, 500, 3000]
    # KiB; an image of 300 pixels takes 264 of them decoded, so 2,500 would take 640 MiB.
    assert peaks[2][1] - peaks[1][1] < 40 * 1024, peaks


MEASURE = """
import resource, sys
import sslkit
from sslkit.engine.precision import keep_freed_memory
keep_freed_memory()
count = sum(1 for _ in sslkit.predict(sys.argv[1], [sys.argv[2]]))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_pretraining_is_not_taken_for_an_export(tiny_run: RunResult) -> None:
    folder = next((tiny_run.directory.root / "pretraining").glob("*/0"))

    with pytest.raises(RunDirectoryError, match="was not written by 'sslkit export'"):
        Predictor.open(folder, sslkit.build_registry())


def test_a_damaged_export_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunDirectoryError, match=r"config\.json cannot be read: .*; export it again"):
        Predictor.open(tmp_path, sslkit.build_registry())
