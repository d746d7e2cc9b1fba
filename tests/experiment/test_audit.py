from __future__ import annotations

import io
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forking import warm_context
from PIL import Image
from studies import tiny_config

import sslkit
from sslkit.checksums import flaws
from sslkit.config import RunConfig
from sslkit.data.duplicates import Duplicates, find_duplicates
from sslkit.errors import DataError
from sslkit.experiment.audit import Audit, duplicates_of
from sslkit.experiment.observation import Silent
from sslkit.experiment.plan import make_manifest
from sslkit.experiment.preparation import decode_images
from sslkit.experiment.study import resolve
from sslkit.registry import build_registry
from sslkit_fundus import render

NOISE = 24
IDENTICAL = ["0/p00_a.png", "3/p01_copy.png"]
NEAR = ["1/p13_a.png", "1/p14_again.jpg"]


def folder_of(root: Path, count: int, patient: Any = lambda number: number // 2) -> Path:
    """Write images of noise, two a patient, spread over five grades."""
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        grade = root / str(number % 5)
        grade.mkdir(exist_ok=True, parents=True)
        Image.fromarray(pixels).save(grade / f"p{patient(number):02}_{'ab'[number % 2]}.png")
    return root


def study_of(folder: Path, **evaluation: Any) -> RunConfig:
    return tiny_config(
        dataset={"name": "image-folder", "path": str(folder), "group_pattern": r"^(p\d+)"},
        images={"size": 32, "crop": "center"},
        finetuning={"updates": 1, "head_updates": 0, "evaluations": 1},
        evaluation={"folds": 2, "arms": ["scratch"], "label_fractions": [1.0], **evaluation},
        compute={"precision": "fp32", "workers": 1},
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A study of images among which one is copied into another class and one compressed again for another patient."""
    folder = folder_of(tmp_path_factory.mktemp("copied") / "images", NOISE)
    shutil.copy(folder / IDENTICAL[0], folder / IDENTICAL[1])
    for patient, name in ((1, NEAR[0]), (2, "2/p15_a.png")):
        Image.fromarray(render(0, patient, "L", 2, 96)).save(folder / name)
    content = io.BytesIO()
    Image.open(folder / NEAR[0]).save(content, "JPEG", quality=60)
    (folder / NEAR[1]).write_bytes(content.getvalue())
    return study_of(folder)


@pytest.fixture(scope="module")
def audited(copied: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of that study's run."""
    return sslkit.run(copied, tmp_path_factory.mktemp("runs") / "copied").directory.root


def plain(audit: Audit) -> Any:
    return json.loads(json.dumps(asdict(audit)))


def test_copies_are_listed_with_what_their_labels_disagree_on(audited: Path) -> None:
    found = json.loads((audited / "audit.json").read_text())["duplicates"]

    assert found["identical"] == [IDENTICAL]
    assert [pair["images"] for pair in found["near"]] == [NEAR]
    assert 0 <= found["near"][0]["distance"] <= 24
    assert 0.5 <= found["near"][0]["similarity"] < 1
    assert found["conflicts"] == [{"images": IDENTICAL, "grades": [0, 3]}]
    # Of the two identical images one stands for both.
    assert found["compared"] == (NOISE + 3) * (NOISE + 2) // 2


def test_copies_are_tested_in_one_fold_with_all_their_patients_images(audited: Path) -> None:
    splits = json.loads((audited / "splits.json").read_text())
    audit = json.loads((audited / "audit.json").read_text())

    folds_of: dict[str, set[int]] = {}
    same = {"p01": "p00", "p14": "p13"}
    for image, fold in splits["fold_of"].items():
        patient = image.partition("/")[2].partition("_")[0]
        folds_of.setdefault(same.get(patient, patient), set()).add(fold)
    assert all(len(folds) == 1 for folds in folds_of.values())
    assert len(folds_of) == audit["groups"]["joined"] == audit["groups"]["given"] - 2
    for order in splits["labelled"]:
        assert set(order["order"]).isdisjoint(
            image for image, fold in splits["fold_of"].items() if fold == order["fold"]
        )


def test_groups_and_classes_are_counted(audited: Path) -> None:
    audit = json.loads((audited / "audit.json").read_text())

    # Two of p00, two of p01 and a copy; every patient of noise has two grades, and so has p00 with p01.
    assert audit["groups"] == {
        "given": NOISE // 2 + 3,
        "joined": NOISE // 2 + 1,
        "largest": 5,
        "largest_share": 5 / (NOISE + 4),
        "with_several_grades": NOISE // 2 - 1,
    }
    assert np.sum(audit["classes"]["tested_by_fold"], axis=0).tolist() == [5, 7, 6, 6, 4]
    assert np.sum(audit["classes"]["labelled_by_share"]["1.0"], axis=0).tolist() == [5, 7, 6, 6, 4]
    assert audit["unreadable"] == []


def test_what_gives_answers_away_is_probed(audited: Path) -> None:
    audit = json.loads((audited / "audit.json").read_text())

    probes = {probe["region"]: probe for probe in audit["pretext_probes"]["rotation"]}
    assert set(probes) == {"silhouette", "border", "corners"}
    assert all(probe["chance"] == 0.25 and probe["images"] == NOISE + 4 for probe in probes.values())
    assert audit["label_probe"]["images"] == NOISE + 4
    assert len(audit["label_probe"]["qwk_by_fold"]) == 2


def test_the_doctor_says_what_the_run_writes_and_leaves_nothing_behind(
    copied: RunConfig, audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    found = sslkit.doctor(copied)

    assert plain(found) == json.loads((audited / "audit.json").read_text())
    assert list(tmp_path.iterdir()) == []


def test_duplicates_are_searched_once_for_each_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "images", 21)
    shutil.copy(folder / "0/p00_a.png", folder / "1/p01_copy.png")
    first = sslkit.doctor(study_of(folder))
    assert first.duplicates["identical"] == [["0/p00_a.png", "1/p01_copy.png"]]

    def refuse(*_: Any) -> None:
        raise AssertionError("the duplicates were searched again")

    monkeypatch.setattr("sslkit.experiment.audit.find_duplicates", refuse)
    assert plain(sslkit.doctor(study_of(folder))) == plain(first)

    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(folder / "2/p20_a.png")
    with pytest.raises(AssertionError, match="searched again"):
        sslkit.doctor(study_of(folder))


def with_one_large_group(folder: Path, size: int) -> Path:
    folder_of(folder, 40)
    for number, image in enumerate(sorted(folder.glob("*/*.png"))[:size]):
        image.rename(image.with_name(f"p99_{number}.png"))
    return folder


def test_two_runs_that_begin_together_search_for_duplicates_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "cache"
    study = resolve(tiny_config(images={"size": 32, "crop": "fundus", "cache": str(cached)}), build_registry())
    manifest = make_manifest(study)
    cache, _ = decode_images(study, manifest, 1, warm_context(), Silent(), pytest.fail)
    searched: list[int] = []

    def search(*arguments: Any) -> Duplicates:
        searched.append(1)
        time.sleep(0.5)
        return find_duplicates(*arguments)

    monkeypatch.setattr("sslkit.experiment.audit.find_duplicates", search)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: duplicates_of(manifest, cache), range(2))
    assert (first, len(searched)) == (second, 1)
    assert flaws(cache.folder, ["duplicates.json"]) == []


def test_a_group_of_too_many_images_stops_the_run(tmp_path: Path) -> None:
    folder = with_one_large_group(tmp_path / "images", 11)

    with pytest.raises(
        DataError,
        match=r"11 of 40 images \(0/p99_0\.png, .*, \.\.\.\) are one given group: more than 5 % would stay on one side "
        r"of every split\. Is the group column right\? .* raise evaluation\.largest_group",
    ):
        sslkit.run(study_of(folder), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("size", "limit"), [(10, {}), (11, {"largest_group": 0.3})], ids=["ten", "raised"])
def test_ten_images_or_what_the_configuration_allows_may_be_a_group(
    tmp_path: Path, size: int, limit: dict[str, float]
) -> None:
    folder = with_one_large_group(tmp_path / "images", size)

    assert sslkit.doctor(study_of(folder, **limit)).groups["largest"] == size


def test_copies_of_one_image_under_many_patients_stop_the_run(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "images", 40)
    for patient in range(50, 61):
        shutil.copy(folder / "0/p00_a.png", folder / f"0/p{patient}_copy.png")

    with pytest.raises(DataError, match=r"13 of 51 images .* are one group, 12 given groups joined by duplicates"):
        sslkit.doctor(study_of(folder))


def test_the_photographs_that_fundus600_holds_twice_are_found(fundus600: Path) -> None:
    dataset = {
        "name": "csv",
        "table": str(fundus600 / "labels.csv"),
        "images": str(fundus600),
        "label_column": "grade",
        "group_column": "patient",
    }

    audit = sslkit.doctor(tiny_config(dataset=dataset, images={"size": 48}))

    names = [[Path(image).stem.removeprefix("Patient") for image in images] for images in audit.duplicates["identical"]]
    assert names == [["299_L", "300_L"], ["299_R", "300_R"]]
    assert audit.duplicates["near"] == []
    assert [conflict["grades"] for conflict in audit.duplicates["conflicts"]] == [[2, 3], [2, 3]]
    assert (audit.groups["given"], audit.groups["joined"]) == (300, 299)


def test_the_kinds_of_images_and_the_odd_ones_are_told(audited: Path, copied: RunConfig) -> None:
    images = json.loads((audited / "audit.json").read_text())["images"]
    files = list(Path(copied.dataset.options["path"]).rglob("*.*"))
    assert images["formats"] == {"PNG": sum(file.suffix == ".png" for file in files), "JPEG": 1}
    assert images["bit_depths"] == {"8": len(files)}
    assert (images["width"]["min"], images["width"]["max"]) == (40, 96)
    assert (images["tiny"], images["constant"], images["unlisted"], images["unlisted_count"]) == ([], [], [], 0)
