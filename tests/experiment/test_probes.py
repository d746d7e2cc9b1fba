"""Planted clues are found, noise is not, and no group is ever on both sides."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sslkit import PluginConfig, PretextTask, StepOutput, TaskContext, Views
from sslkit.data.image_statistics import STATISTICS, global_statistics, silhouette
from sslkit.data.preprocessing import Preprocessing
from sslkit.data.reading import read_image
from sslkit.data.retina import retina_box
from sslkit.errors import DataError, PluginError
from sslkit.experiment import probes
from sslkit.experiment.probes import PretextProbe, clustered_interval, probe_pretext, region_features
from sslkit.experiment.statistics_probe import probe_global_statistics
from sslkit_fundus import SyntheticFundus, SyntheticFundusConfig
from sslkit_rotation import Rotation, RotationConfig


def rotation(size: int = 32) -> Rotation:
    context = TaskContext(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Rotation(RotationConfig(), timm.create_model("test_resnet", num_classes=0), context)


class Flip:
    """Which of two ways up? Two views an image."""

    def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
        return {"images": torch.cat([images, images.flip(2)])}

    def probe_labels(self, views: Views) -> torch.Tensor | None:
        return torch.arange(2).repeat_interleave(len(views["images"]) // 2)


def noise(num_images: int, size: int = 32, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (num_images, size, size, 3), dtype=np.uint8)


def by_region(found: tuple[PretextProbe, ...]) -> dict[str, PretextProbe]:
    return {probe.region: probe for probe in found}


class TestPlantedClues:
    def test_a_pixel_in_a_corner_is_found_in_the_corners_and_not_in_the_silhouette(self) -> None:
        images = noise(80) // 2
        images[:, 1, 1] = 255

        found = by_region(probe_pretext(rotation(), images, np.arange(80)))

        assert found["corners"].leak
        assert found["corners"].low > 0.95
        assert not found["silhouette"].leak

    def test_a_stripe_at_the_edge_is_found_in_the_border(self) -> None:
        images = noise(80) // 2
        images[:, 0, 12:20] = 255

        found = by_region(probe_pretext(rotation(), images, np.arange(80)))

        assert found["border"].leak
        assert found["border"].low > 0.9
        assert not found["corners"].leak

    def test_a_shutter_is_found_in_the_silhouette_and_tells_half_of_the_turns(self) -> None:
        images = np.maximum(noise(80), 60)
        images[:, :5] = images[:, -5:] = 0

        found = by_region(probe_pretext(rotation(), images, np.arange(80)))

        assert found["silhouette"].leak
        assert found["silhouette"].accuracy == pytest.approx(0.5, abs=0.1)

    def test_a_clue_between_two_labels_is_found(self) -> None:
        images = noise(60) // 2
        images[:, 1, 1] = 255

        assert by_region(probe_pretext(Flip(), images, np.arange(60)))["corners"].leak

    @pytest.mark.parametrize("task", [rotation(16), Flip()])
    def test_noise_is_hardly_ever_flagged(self, task: Any) -> None:
        flagged = [
            (seed, probe.region)
            for seed in range(40)
            for probe in probe_pretext(task, noise(24, 16, seed), np.arange(24) // 2, seed=seed)
            if probe.leak
        ]

        assert len(flagged) <= 3, flagged  # of 120


class TestProbes:
    @pytest.mark.parametrize(("task", "chance"), [(rotation(), 0.25), (Flip(), 0.5)])
    def test_chance_is_what_a_constant_answer_scores(self, task: Any, chance: float) -> None:
        found = probe_pretext(task, noise(20), np.arange(20))

        assert [probe.region for probe in found] == ["silhouette", "border", "corners"]
        assert {probe.chance for probe in found} == {chance}
        assert all(0 <= probe.low < probe.accuracy < probe.high <= 1 for probe in found)

    def test_blank_views_score_exactly_chance(self) -> None:
        found = probe_pretext(rotation(), np.zeros((20, 32, 32, 3), np.uint8), np.arange(20))

        assert {probe.accuracy for probe in found} == {0.25}
        assert not any(probe.leak for probe in found)

    def test_the_same_seed_gives_the_same_probes_and_leaves_the_global_generators_alone(self) -> None:
        images, groups = noise(30), np.arange(30) // 2

        first = probe_pretext(rotation(), images, groups, seed=3)

        assert first == probe_pretext(rotation(), images, groups, seed=3)
        assert first != probe_pretext(rotation(), images, groups, seed=4)
        task = rotation()
        before = torch.get_rng_state()
        probe_pretext(task, images, groups)
        assert torch.equal(before, torch.get_rng_state())

    def test_no_more_images_are_looked_at_than_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(probes, "MAX_IMAGES", 12)

        assert {probe.images for probe in probe_pretext(rotation(), noise(20), np.arange(20))} == {12}

    def test_memory_mapped_images_are_read_and_not_changed(self, tmp_path: Path) -> None:
        np.save(tmp_path / "images.npy", noise(10))
        images = np.load(tmp_path / "images.npy", mmap_mode="r")

        assert probe_pretext(rotation(), images, np.arange(10)) == probe_pretext(rotation(), noise(10), np.arange(10))

    def test_a_task_without_probe_labels_gives_no_probe(self) -> None:
        class Silent(PretextTask[PluginConfig]):
            def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
                return {"images": images}

            def forward(self, views: Views) -> StepOutput:
                raise AssertionError("a probe trains nothing of the task's")

        task = Silent(PluginConfig(), torch.nn.Identity(), TaskContext(32, (0.5,) * 3, (0.5,) * 3))

        assert probe_pretext(task, noise(4), np.arange(4)) == ()

    def test_labels_that_do_not_fit_the_views_are_refused(self) -> None:
        class Short(Flip):
            def probe_labels(self, views: Views) -> torch.Tensor | None:
                return torch.zeros(3, dtype=torch.int64)

        class Nameless(Flip):
            def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
                return {"tiles": images}

            def probe_labels(self, views: Views) -> torch.Tensor | None:
                return torch.zeros(1, dtype=torch.int64)

        with pytest.raises(PluginError, match=r"Short\.probe_labels returned a tensor \(3,\) .*one label a row"):
            probe_pretext(Short(), noise(4), np.arange(4))
        with pytest.raises(PluginError, match="Nameless has probe labels but no view named 'images', only tiles"):
            probe_pretext(Nameless(), noise(4), np.arange(4))

    def test_one_group_cannot_be_probed(self) -> None:
        with pytest.raises(DataError, match="at least two groups; the 6 given are all of one"):
            probe_pretext(rotation(), noise(6), np.zeros(6, dtype=np.int64))

    @given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.integers(0, 99))
    @settings(deadline=None, max_examples=50)
    def test_groups_are_never_divided(self, groups: list[int], seed: int) -> None:
        clusters = np.unique(groups, return_inverse=True)[1]

        fold_of = probes._deal(clusters, np.random.default_rng(seed))

        assert all(len(set(fold_of[clusters == cluster])) == 1 for cluster in clusters)
        assert len(set(fold_of.tolist())) == min(5, clusters.max() + 1)

    def test_a_clue_that_only_a_patient_shares_is_worth_nothing(self) -> None:
        # Each patient's own corner pattern, with a label of its own: a divided group would give it away.
        class ByPatient(Flip):
            def make_views(self, images: torch.Tensor, generator: torch.Generator) -> Views:
                return {"images": images, "label": images[:, 0, 16, 16].long() % 2}

            def probe_labels(self, views: Views) -> torch.Tensor | None:
                return views["label"]

        images, patients = noise(40, seed=5)[np.arange(160) // 4], np.arange(160) // 4

        apart = by_region(probe_pretext(ByPatient(), images, patients))["border"]
        divided = by_region(probe_pretext(ByPatient(), images, np.arange(160)))["border"]

        assert not apart.leak
        assert divided.leak
        assert divided.accuracy > 0.8


class TestInterval:
    def test_clusters_that_agree_widen_it(self) -> None:
        credit = (np.random.default_rng(0).random(400) < 0.5) * 1.0
        alone = clustered_interval(credit, np.arange(400))
        together = clustered_interval(np.repeat(credit[:100], 4), np.arange(400) // 4)

        assert together[2] - together[1] > 1.7 * (alone[2] - alone[1])

    def test_a_few_groups_that_agree_do_not_make_it_narrow(self) -> None:
        accuracy, low, high = clustered_interval(np.array([1.0, 1.0, 0.0, 0.0] * 2), np.arange(8) // 4)

        assert (accuracy, low, high) == (0.5, 0, 1)

    def test_it_covers_the_truth(self) -> None:
        rng = np.random.default_rng(1)
        clusters = np.arange(120) // 4
        covered = 0
        for _ in range(300):
            share = rng.beta(1, 3, 30)[clusters]  # rows of one cluster depend on each other; the mean is 0.25
            _, low, high = clustered_interval((rng.random(120) < share) * 1.0, clusters)
            covered += low <= 0.25 <= high

        assert 0.92 <= covered / 300 <= 0.99


class TestRegions:
    @given(st.integers(0, 3), st.integers(8, 40), st.integers(0, 9))
    @settings(deadline=None, max_examples=25)
    def test_the_silhouette_turns_with_the_image(self, k: int, size: int, seed: int) -> None:
        views = noise(2, size, seed).transpose(0, 3, 1, 2)
        views[:, :, :3] = 0

        assert np.array_equal(np.rot90(silhouette(views), k, (1, 2)), silhouette(np.rot90(views, k, (2, 3))))

    def test_a_dark_spot_inside_is_anatomy(self) -> None:
        view = np.zeros((1, 3, 20, 20), np.uint8)
        view[:, :, 4:16, 4:16] = 200
        view[:, :, 8:10, 8:10] = 0

        assert silhouette(view).sum() == 12 * 12

    def test_border_and_corners_see_nothing_within_the_circle_of_the_crop(self) -> None:
        for size in (32, 64, 96, 128, 224, 256):
            inside = Preprocessing(size, "fundus").apply(np.full((99, 99, 3), 200, np.uint8) - noise(1, 99)[0] // 4)
            features = region_features(inside.transpose(2, 0, 1)[None])
            assert inside.max() > 0
            assert not features["border"].any()
            assert not features["corners"].any()

    def test_views_need_be_neither_square_nor_large(self) -> None:
        features = region_features(noise(2)[:, :7, :20].transpose(0, 3, 1, 2))

        assert {name: len(values) for name, values in features.items()} == {"silhouette": 2, "border": 2, "corners": 2}


class TestGlobalStatistics:
    def test_a_drawn_image_against_its_closed_form(self) -> None:
        # A bright square of 100 x 100 pixels on a black frame of 200 x 160.
        pixels = np.zeros((160, 200, 3), np.uint8)
        pixels[30:130, 50:150] = (200, 100, 0)

        found = global_statistics(read_image(pixels), retina=retina_box(pixels))

        share = 100 * 100 / (160 * 200)
        assert found["bright_share"] == pytest.approx(share)
        assert found["mean_red"] == pytest.approx(200 * share)
        assert found["sd_red"] == pytest.approx(200 * math.sqrt(share * (1 - share)))
        assert found["mean_green"] == pytest.approx(100 * share)
        assert (found["mean_blue"], found["sd_blue"], found["border_brightness"]) == (0, 0, 0)
        assert (found["width"], found["height"]) == (200, 160)
        assert math.isnan(found["bytes"])
        box = [found[f"box_{side}"] for side in ("left", "top", "right", "bottom")]
        assert box == pytest.approx([50 / 200, 30 / 160, 150 / 200, 130 / 160], abs=0.02)
        # Along each of four sides of 100 pixels the Laplacian is 100 (grey) outside and -100 inside, and twice that at
        # the four inner corners; its mean is 0 but for the interior's being 158 x 198.
        squares = 4 * (100 * 100**2 + 98 * 100**2 + 200**2)
        assert found["sharpness"] == pytest.approx(squares / (158 * 198))

    def test_a_bright_frame_raises_the_brightness_of_the_border(self) -> None:
        pixels = np.zeros((100, 100, 3), np.uint8)
        pixels[:2] = pixels[-2:] = pixels[:, :2] = pixels[:, -2:] = 90

        assert global_statistics(read_image(pixels))["border_brightness"] == 90

    def test_sizes_are_those_of_the_file_and_blur_lowers_the_sharpness(self) -> None:
        sharp = Image.fromarray(noise(1, 900)[0]).resize((900, 600))
        files = []
        for image in (sharp, sharp.reduce(20).resize(sharp.size)):
            file = io.BytesIO()
            image.save(file, "JPEG")
            files.append(file.getvalue())

        first, second = (global_statistics(read_image(data), len(data)) for data in files)

        assert (first["width"], first["height"], first["bytes"]) == (900, 600, len(files[0]))
        assert second["sharpness"] < first["sharpness"] / 2

    @pytest.mark.parametrize("shape", [(1, 1), (2, 5), (9, 9, 3), (9, 9, 4)])
    def test_every_image_has_every_statistic(self, shape: tuple[int, ...]) -> None:
        found = global_statistics(read_image(np.full(shape, 128, np.uint8)))

        assert all(math.isfinite(value) for name, value in found.items() if name != "bytes")


class TestGradesFromStatistics:
    def study(self, seed: int = 0, num_images: int = 300, num_classes: int = 5) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        groups = np.arange(num_images) // 2
        return {
            "grades": rng.choice(num_classes, num_images, p=[0.5, 0.2, 0.15, 0.1, 0.05][:num_classes]),
            "groups": groups,
            "fold_of": groups % 5,
            "num_classes": num_classes,
            "positive_from": 2,
        }

    def statistics(self, num_images: int = 300, seed: int = 1) -> list[dict[str, float]]:
        rows = np.random.default_rng(seed).normal(size=(num_images, 6))
        return [dict(zip(("a", "b", "c", "d", "e", "bytes"), row.tolist(), strict=True)) for row in rows]

    def test_a_file_size_that_tells_the_grade_is_found(self) -> None:
        study, statistics = self.study(), self.statistics()
        for row, grade in zip(statistics, study["grades"], strict=True):
            row["bytes"] = 40_000 + 5_000 * grade + 500 * row["a"]

        found = probe_global_statistics(statistics, **study)

        assert found.qwk is not None
        assert found.auroc is not None
        assert found.qwk > 0.9
        assert found.auroc > 0.98
        assert "bytes" in found.statistics

    def test_labels_that_nothing_tells_give_a_kappa_near_zero(self) -> None:
        found = [probe_global_statistics(self.statistics(seed=s), **self.study(seed=50 + s)) for s in range(10)]

        kappas = [probe.qwk for probe in found if probe.qwk is not None]
        assert len(kappas) == 10
        assert abs(np.mean(kappas)) < 0.05
        assert max(map(abs, kappas)) < 0.2

    def test_a_weak_clue_is_not_lost_in_the_decoding(self) -> None:
        study, statistics = self.study(num_images=1000), self.statistics(1000)
        rng = np.random.default_rng(9)
        for row, grade in zip(statistics, study["grades"], strict=True):
            row["bytes"] = grade + 2.0 * rng.normal()
        correlation = np.corrcoef([row["bytes"] for row in statistics], study["grades"])[0, 1]

        found = probe_global_statistics(statistics, **study)

        assert found.qwk == pytest.approx(correlation, abs=0.12)

    def test_it_is_deterministic_and_averages_its_folds(self) -> None:
        first = probe_global_statistics(self.statistics(), **self.study())

        assert first == probe_global_statistics(self.statistics(), **self.study())
        assert len(first.qwk_by_fold) == len(first.auroc_by_fold) == 5
        assert first.qwk == pytest.approx(np.mean([value for value in first.qwk_by_fold if value is not None]))
        assert first.images == 300

    def test_folds_may_lack_classes(self) -> None:
        study = self.study()
        study["grades"] = np.where(study["fold_of"] == 0, 4, np.arange(300) // 2 % 2)  # fold 0 alone has grade 4

        found = probe_global_statistics(self.statistics(), **study)

        assert found.qwk_by_fold[0] == 0  # constant targets, other predictions
        assert found.auroc_by_fold == (None,) * 5
        assert found.auroc is None

    def test_a_study_of_one_grade_has_no_kappa(self) -> None:
        found = probe_global_statistics(self.statistics(), **self.study() | {"grades": np.zeros(300, dtype=np.int64)})

        assert found.qwk is None
        assert found.qwk_by_fold == (None,) * 5

    def test_there_need_be_no_binary_question(self) -> None:
        found = probe_global_statistics(self.statistics(), **self.study() | {"positive_from": None})

        assert found.auroc is None
        assert found.qwk is not None

    def test_unlabelled_images_and_unknown_statistics_are_left_out(self) -> None:
        study, statistics = self.study(), self.statistics()
        study["grades"][:10] = -1
        study["fold_of"][10:14] = -1
        statistics[20]["bytes"] = math.nan
        statistics[0]["a"] = math.nan  # of an image without a label

        found = probe_global_statistics(statistics, **study)

        assert found.images == 286
        assert found.statistics == ("a", "b", "c", "d", "e")

    def test_folds_that_divide_a_group_are_refused(self) -> None:
        with pytest.raises(DataError, match="the folds divide a group"):
            probe_global_statistics(self.statistics(), **self.study() | {"fold_of": np.arange(300) % 5})

    def test_one_fold_is_refused(self) -> None:
        with pytest.raises(DataError, match="labelled images in at least two folds, not in 1"):
            probe_global_statistics(self.statistics(), **self.study() | {"fold_of": np.zeros(300, dtype=np.int64)})

    def test_nothing_known_is_refused(self) -> None:
        with pytest.raises(DataError, match="no global statistic is known for every image"):
            probe_global_statistics([{"bytes": math.nan}] * 300, **self.study())


class TestSyntheticFundus:
    def test_the_shutter_of_some_patients_is_found_and_the_crop_removes_it(self) -> None:
        dataset = SyntheticFundus(SyntheticFundusConfig(patients=200, size=64))
        photographs = [dataset.read(record) for record in dataset.records()[::2]]
        groups = np.arange(len(photographs))

        leaks = {}
        for crop in ("center", "fundus"):
            images = np.stack([Preprocessing(48, crop).apply(pixels) for pixels in photographs])
            leaks[crop] = {probe.region for probe in probe_pretext(rotation(), images, groups) if probe.leak}

        assert "silhouette" in leaks["center"]
        assert leaks["fundus"] == set()


class TestFundus600:
    def test_the_shutter_is_found_and_the_crop_removes_it(self, fundus600: Path) -> None:
        with (fundus600 / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))[::3]
        groups = np.unique([row["patient"] for row in rows], return_inverse=True)[1]
        contents = [(fundus600 / row["image"]).read_bytes() for row in rows]

        leaks = {}
        for crop in ("center", "fundus"):
            images = np.stack([Preprocessing(64, crop).apply(data) for data in contents])
            leaks[crop] = {probe.region for probe in probe_pretext(rotation(), images, groups) if probe.leak}

        assert "silhouette" in leaks["center"]
        assert leaks["fundus"] == set()


def test_the_statistics_have_the_names_and_the_order_that_the_cache_keeps() -> None:
    assert tuple(global_statistics(read_image(np.zeros((20, 30, 3), np.uint8)))) == STATISTICS
