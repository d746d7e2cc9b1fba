from __future__ import annotations

import numpy as np
import pytest

from sslkit.experiment.representation_probe import evenly_drawn, probe_representation


def draw(signal: float, num_images: int = 300, width: int = 64) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    grades = rng.integers(0, 5, num_images)
    features = rng.normal(size=(num_images, width)).astype(np.float32)
    features[:, 0] += signal * grades
    return features, grades, [str(image) for image in range(num_images)]


def test_finds_what_is_there_and_nothing_where_nothing_is() -> None:
    strong, weak, none = (probe_representation(*draw(signal)) for signal in (5.0, 0.5, 0.0))
    assert strong > 0.9
    assert 0.1 < weak < strong
    assert abs(none) < 0.1


def test_the_scale_of_a_feature_does_not_matter() -> None:
    features, grades, groups = draw(1.0)
    scaled = features * np.logspace(-2, 2, features.shape[1], dtype=np.float32)
    assert probe_representation(scaled, grades, groups) == pytest.approx(
        probe_representation(features, grades, groups), abs=0.01
    )


def test_images_of_one_group_are_not_told_by_one_another() -> None:
    # Each group has a feature of its own, which tells the grade of its second image only to who has seen the first.
    rng = np.random.default_rng(1)
    grades = np.repeat(rng.integers(0, 5, 60), 2)
    features = np.repeat(np.eye(60, dtype=np.float32), 2, axis=0)
    apart = probe_representation(features, grades, [str(image) for image in range(120)])
    together = probe_representation(features, grades, [str(image // 2) for image in range(120)])
    assert apart > 0.5 > together


def test_few_images_and_a_constant_feature_do() -> None:
    features = np.array([[1, 0], [1, 1], [1, 0], [1, 1]], dtype=np.float32)
    assert probe_representation(features, np.array([0, 1, 0, 1]), list("abcd")) is not None


@pytest.mark.parametrize(("grades", "groups"), [([1, 1, 1], "abc"), ([0, 1, 2], "aaa")])
def test_is_undefined_with_one_grade_or_one_group(grades: list[int], groups: str) -> None:
    assert probe_representation(np.eye(3, dtype=np.float32), np.array(grades), list(groups)) is None


@pytest.mark.parametrize(("count", "most"), [(0, 3), (1, 3), (3, 3), (10, 3), (7, 2)])
def test_draws_evenly_and_no_more_than_asked(count: int, most: int) -> None:
    drawn = evenly_drawn(np.arange(count), most)
    assert len(drawn) <= most
    assert len(drawn) >= min(count, (most + 1) // 2)
    assert len(set(np.diff(drawn).tolist())) <= 1
