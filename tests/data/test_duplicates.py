from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from sslkit.data.cropping import circular_mask
from sslkit.data.duplicates import (
    LEAST_SIMILARITY,
    MAX_DISTANCE,
    confirm_pairs,
    find_duplicates,
    join_groups,
    near_pairs,
    perceptual_hash,
    similarities,
)
from sslkit.data.preprocessing import Preprocessing
from sslkit.errors import DataError
from sslkit_fundus import SyntheticFundus, SyntheticFundusConfig

Pixels = npt.NDArray[np.uint8]
PREPROCESSING = Preprocessing(64, "fundus")


def synthetic(patients: int, size: int = 128) -> list[Pixels]:
    dataset = SyntheticFundus(SyntheticFundusConfig(patients=patients, size=size))
    return [dataset.read(record) for record in dataset.records()]


def preprocessed(photographs: list[Pixels]) -> Pixels:
    return np.stack([PREPROCESSING.apply(photograph) for photograph in photographs])


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def resized(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


def trimmed(image: Image.Image, share: float) -> Image.Image:
    return image.crop((0, round(share * image.height), image.width, image.height))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg 90": lambda image: jpeg(image, 90),
    "jpeg 30": lambda image: jpeg(image, 30),
    "half the size": lambda image: resized(image, 0.5),
    "larger": lambda image: resized(image, 1.5),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "smaller, lighter, jpeg 50": lambda image: jpeg(ImageEnhance.Brightness(resized(image, 0.6)).enhance(1.15), 50),
}


def naive_distance(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> int:
    return sum((int(a) ^ int(b)).bit_count() for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module")
def real(fundus600: Path) -> tuple[list[str], list[str], list[str], Pixels]:
    """The real photographs: names, grades and patients, and the preprocessed pixels."""
    with (fundus600 / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [Path(row["image"]).stem for row in rows]
    images = np.stack([PREPROCESSING.apply((fundus600 / row["image"]).read_bytes()) for row in rows])
    return names, [row["grade"] for row in rows], [row["patient"] for row in rows], images


@pytest.fixture(scope="module")
def photographs() -> list[Pixels]:
    return synthetic(4)


def test_a_hash_is_four_words_of_which_half_the_bits_are_set(photographs: list[Pixels]) -> None:
    hashes = perceptual_hash(preprocessed(photographs))
    assert hashes.shape == (8, 4)
    assert hashes.dtype == np.uint64
    assert [sum(int(word).bit_count() for word in row) for row in hashes] == [128] * 8


def naive_hash(image: Pixels) -> list[int]:
    """Of a 32-pixel image, whose cells are its pixels, by the definition of the DCT-II."""
    luma = (image * [0.299, 0.587, 0.114]).sum(axis=2)
    inside = circular_mask(32)
    light = np.where(inside, luma - luma[inside].mean(), 0)
    coefficients = []
    for u, v in sorted(np.ndindex(32, 32), key=lambda place: (place[0] ** 2 + place[1] ** 2, place))[1:257]:
        waves = [np.cos(np.pi * (2 * np.arange(32) + 1) * k / 64) * (0.5**0.5 if k == 0 else 1) for k in (u, v)]
        coefficients.append(float((light * waves[0][:, None] * waves[1]).sum()))
    middle = np.median(coefficients)
    bits = "".join("01"[int(value > middle)] for value in coefficients)
    return [int(bits[start : start + 64][::-1], 2) for start in range(0, 256, 64)]


def test_a_hash_is_what_its_definition_says() -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert perceptual_hash(images).tolist() == [naive_hash(image) for image in images]


def test_what_lies_outside_the_circle_has_no_say(photographs: list[Pixels]) -> None:
    images = preprocessed(photographs)
    white = np.where(circular_mask(64)[..., None], images, 255).astype(np.uint8)
    assert (perceptual_hash(images) == perceptual_hash(white)).all()
    pairs = np.array([[0, 1], [2, 3]])
    np.testing.assert_allclose(similarities(images, pairs), similarities(white, pairs), atol=1e-6)


def test_hashing_in_chunks_changes_nothing(photographs: list[Pixels], monkeypatch: pytest.MonkeyPatch) -> None:
    images = preprocessed(photographs)
    pairs = np.array(list(zip(*np.triu_indices(8, 1), strict=True)))
    hashes, values = perceptual_hash(images), similarities(images, pairs)
    monkeypatch.setattr("sslkit.data.duplicates._PIXELS_AT_ONCE", 3 * 64 * 64)
    monkeypatch.setattr("sslkit.data.duplicates._PAIRS_AT_ONCE", 5)
    assert (perceptual_hash(images) == hashes).all()
    np.testing.assert_allclose(similarities(images, pairs), values, atol=1e-5)


def copies_are_near(photographs: list[Image.Image], change: Callable[[Image.Image], Image.Image]) -> None:
    originals = preprocessed([np.asarray(image) for image in photographs])
    changed = preprocessed([np.asarray(change(image).convert("RGB")) for image in photographs])
    distances = [
        naive_distance(a, b) for a, b in zip(perceptual_hash(originals), perceptual_hash(changed), strict=True)
    ]
    assert max(distances) <= MAX_DISTANCE
    count = len(photographs)
    pairs = np.stack([np.arange(count), np.arange(count) + count], axis=1)
    assert similarities(np.concatenate([originals, changed]), pairs).min() > LEAST_SIMILARITY + 0.1


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_real_photographs_are_near(fundus600: Path, kind: str) -> None:
    paths = sorted((fundus600 / "images").iterdir())[::60]
    assert len(paths) == 10
    copies_are_near([Image.open(path).convert("RGB") for path in paths], COPIES[kind])


@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_synthetic_photographs_are_near(photographs: list[Pixels], kind: str) -> None:
    copies_are_near([Image.fromarray(photograph) for photograph in photographs], COPIES[kind])


def test_trimmed_photographs_are_still_confirmed(fundus600: Path) -> None:
    images = [Image.open(path).convert("RGB") for path in sorted((fundus600 / "images").iterdir())[::60]]
    both = preprocessed([np.asarray(image) for image in images + [trimmed(image, 0.02) for image in images]])
    assert confirm_pairs(both, np.stack([np.arange(10), np.arange(10) + 10], axis=1)).all()


def test_four_hundred_synthetic_eyes_are_never_near_each_other() -> None:
    images = preprocessed(synthetic(200, size=64))
    found = find_duplicates(images, [str(row) for row in range(len(images))], max_distance=70)
    assert found.identical == ()
    assert found.near == ()
    assert found.compared == len(images) * (len(images) - 1) // 2
    assert min((pair.distance for pair in found.rejected), default=70) > MAX_DISTANCE


def test_images_of_one_colour_are_like_nothing() -> None:
    images = np.stack([np.full((64, 64, 3), level, np.uint8) for level in (0, 0, 40, 200)])
    assert similarities(images, np.array([[0, 1], [0, 2], [2, 3]])).tolist() == [0, 0, 0]


def test_similarity_stands_a_shift_of_two_pixels(photographs: list[Pixels]) -> None:
    (image,) = preprocessed(photographs[:1])
    inside = circular_mask(64)[..., None]
    moved = np.stack([np.where(inside, np.roll(image, steps, (0, 1)), 0) for steps in ((0, 0), (2, -2), (6, 6))])
    near, far = similarities(moved.astype(np.uint8), np.array([[0, 1], [0, 2]]))
    assert near > 0.9
    assert far < LEAST_SIMILARITY


@pytest.mark.parametrize("shape", [(2, 8, 9, 3), (2, 8, 8, 1), (8, 8, 3)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"accepted: uint8 of shape \(M, S, S, 3\)"):
        perceptual_hash(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"images of float64 .* accepted: uint8"):
        perceptual_hash(np.zeros((1, 8, 8, 3)))  # type: ignore[arg-type]


@st.composite
def hash_sets(draw: st.DrawFn) -> npt.NDArray[np.uint64]:
    """A few random hashes, and copies of them with some bits turned."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bits = rng.integers(0, 2, (draw(st.integers(0, 5)), 256), dtype=np.uint8)
    copies = [bits[:0]]
    for turned in draw(st.lists(st.integers(0, 60), max_size=12)) if len(bits) else []:
        copy = bits[rng.integers(len(bits))].copy()
        copy[rng.permutation(256)[:turned]] ^= 1
        copies.append(copy[None])
    return np.packbits(np.concatenate([bits, *copies]), axis=1).view(np.uint64)


@given(hash_sets(), st.integers(0, 64))
@example(np.zeros((4, 4), np.uint64), 0)
@settings(deadline=None)
def test_near_pairs_are_those_that_a_loop_finds(hashes: npt.NDArray[np.uint64], max_distance: int) -> None:
    count = len(hashes)
    naive = [
        [a, b]
        for a in range(count)
        for b in range(a + 1, count)
        if naive_distance(hashes[a], hashes[b]) <= max_distance
    ]
    pairs, compared = near_pairs(hashes, max_distance)
    assert pairs.tolist() == naive
    assert pairs.dtype == np.int64
    assert compared == count * (count - 1) // 2


def test_near_pairs_are_found_in_every_block() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, (5000, 4), dtype=np.uint64)
    copies = [(0, 4999), (511, 512), (513, 2049), (2047, 2048), (4000, 4001)]
    for first, second in copies:
        hashes[second] = hashes[first] ^ np.array([2**12 - 1, 0, 0, 2**12 - 1], np.uint64)
    pairs, compared = near_pairs(hashes)
    assert [tuple(pair) for pair in pairs.tolist()] == copies
    assert compared == 5000 * 4999 // 2
    assert len(near_pairs(hashes, MAX_DISTANCE - 1)[0]) == 0


def test_a_data_set_of_copies_is_refused() -> None:
    with pytest.raises(DataError, match=r"more than 400 pairs among 30 images look alike.*images\.crop"):
        near_pairs(np.zeros((30, 4), np.uint64), limit=400)
    assert len(near_pairs(np.zeros((30, 4), np.uint64), limit=435)[0]) == 435


@pytest.mark.slow
def test_a_hundred_thousand_hashes_take_less_than_a_minute() -> None:
    hashes = np.random.default_rng(0).integers(0, 2**64, (100_000, 4), dtype=np.uint64)
    hashes[99_999] = hashes[7]
    start = time.perf_counter()
    pairs, compared = near_pairs(hashes)
    assert time.perf_counter() - start < 60
    assert pairs.tolist() == [[7, 99_999]]
    assert compared == 4_999_950_000


def naive_join(groups: list[int], pairs: list[tuple[int, int]]) -> list[int]:
    """Give both ends of a link the lower number, again and again, until nothing changes."""
    numbers = [groups.index(group) for group in groups]
    links = pairs + [(groups.index(group), place) for place, group in enumerate(groups)]
    while apart := [(a, b) for a, b in links if numbers[a] != numbers[b]]:
        for a, b in apart:
            numbers[a] = numbers[b] = min(numbers[a], numbers[b])
    order = list(dict.fromkeys(numbers))
    return [order.index(number) for number in numbers]


@given(st.data())
@settings(deadline=None)
def test_groups_join_as_a_naive_loop_joins_them(data: st.DataObject) -> None:
    groups = data.draw(st.lists(st.integers(-3, 12), min_size=1, max_size=30))
    place = st.integers(0, len(groups) - 1)
    pairs = data.draw(st.lists(st.tuples(place, place), max_size=25))
    joined = join_groups(np.array(groups), np.array(pairs, dtype=np.int64).reshape(-1, 2))
    assert joined.tolist() == naive_join(groups, pairs)
    assert joined.dtype == np.int64


def test_a_long_chain_joins_fast() -> None:
    chain = np.random.default_rng(0).permutation(100_000)
    start = time.perf_counter()
    joined = join_groups(np.arange(100_000), np.stack([chain[:-1], chain[1:]], axis=1))
    assert time.perf_counter() - start < 5
    assert not joined.any()


def test_no_link_joins_nothing() -> None:
    assert join_groups(np.array([4, 4, 2]), np.empty((0, 2), np.int64)).tolist() == [0, 0, 1]
    assert join_groups(np.empty(0, np.int64), np.empty((0, 2), np.int64)).tolist() == []


def test_all_kinds_of_duplicates_are_told_apart(photographs: list[Pixels]) -> None:
    again = np.asarray(jpeg(Image.fromarray(photographs[1]), 60))
    images = preprocessed([*photographs[:4], photographs[0], again, photographs[2]])
    images[6, 0, 0] = 1  # equal content, other pixels
    digests = ["a", "b", "c", "d", "e", "f", "c"]
    found = find_duplicates(images, digests)
    assert found.identical == ((0, 4), (2, 6))
    (near,) = found.near
    assert (near.first, near.second) == (1, 5)
    hashes = perceptual_hash(images)
    assert near.distance == naive_distance(hashes[1], hashes[5])
    assert near.similarity == pytest.approx(float(similarities(images, np.array([[1, 5]]))[0]))
    assert found.compared == 5 * 4 // 2
    assert found.rejected == ()
    assert found.links().tolist() == [[0, 4], [2, 6], [1, 5]]
    assert join_groups(np.arange(7), found.links()).tolist() == [0, 1, 2, 3, 0, 1, 2]

    doubted = find_duplicates(images, digests, least_similarity=1.0)
    assert doubted.near == ()
    assert doubted.rejected == (near,)


def test_rows_that_are_not_asked_for_are_left_out(photographs: list[Pixels]) -> None:
    images = preprocessed([photographs[0], photographs[1], photographs[0], photographs[2], photographs[1]])
    images[0] = 0  # could not be read
    found = find_duplicates(images, ["w", "x", "y", "z"], np.array([1, 2, 3, 4]))
    assert found.identical == ((0, 3),)
    assert found.compared == 3


def test_a_digest_for_each_image_is_asked_for(photographs: list[Pixels]) -> None:
    with pytest.raises(ValueError, match="2 digests for 8 images; give one for each"):
        find_duplicates(preprocessed(photographs), ["a", "b"])


def test_an_empty_data_set_holds_nothing_twice() -> None:
    found = find_duplicates(np.empty((0, 8, 8, 3), np.uint8), [])
    assert (found.identical, found.near, found.rejected, found.compared) == ((), (), (), 0)
    assert found.links().shape == (0, 2)


def test_what_fundus600_holds_twice(real: tuple[list[str], list[str], list[str], Pixels]) -> None:
    names, grades, patients, images = real
    found = find_duplicates(images, names)
    # Patients 299 and 300 are one: both files of each eye are the same, byte for byte, and are graded apart.
    copies = [("Patient299_L", "Patient300_L"), ("Patient299_R", "Patient300_R")]
    assert [tuple(names[row] for row in group) for group in found.identical] == copies
    assert all([grades[row] for row in group] == ["2", "3"] for group in found.identical)
    assert found.near == ()
    assert found.rejected == ()
    assert found.compared == 598 * 597 // 2
    joined = join_groups(np.unique(patients, return_inverse=True)[1], found.links())
    assert np.bincount(joined).max() == 4
    assert joined.max() + 1 == 299


def test_the_same_eye_photographed_again_is_told_from_look_alikes(
    real: tuple[list[str], list[str], list[str], Pixels],
) -> None:
    names, _, _, images = real
    found = find_duplicates(images, names, max_distance=48)
    near = {(names[pair.first][7:], names[pair.second][7:]) for pair in found.near}
    # Seen by eye to be of one patient, under two numbers.
    assert near == {("058_L", "155_L"), ("058_R", "155_R"), ("067_L", "237_L")}
    assert len(found.rejected) > 30
    assert max(pair.similarity for pair in found.rejected) < 0.4 < 0.6 < min(pair.similarity for pair in found.near)
