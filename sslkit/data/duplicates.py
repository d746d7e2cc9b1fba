"""Images that a data set holds more than once, bit for bit or nearly, so that no split parts them.

Copies hide behind other file names, other compression, other sizes, and even other patients. A 256-bit hash of each
preprocessed photograph (the DCT hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions",
2010, with four times its bits) proposes pairs; a correlation of their fine structure, vessels above all, confirms them.
A hash alone does not do: fundus photographs share disc, vignette and the camera's reflections, and pairs that look
alike by those would chain into one group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sslkit.data.cropping import MASK_RADIUS, circular_mask
from sslkit.data.sharded_images import Images
from sslkit.errors import DataError

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Names = Sequence[str | bytes]

HASH_VERSION = 1
"""Raised with every change of what is found, so that nothing found before is reused."""

MAX_DISTANCE = 24
"""Bits of 256. On 50 photographs of fundus600, JPEG at quality 30, half the size or 20 % more light change at most 16
bits, and all three together 24; of pairs of different retinas the nearest are 36 to 40 apart, by the images' size."""

LEAST_SIMILARITY = 0.5
"""On fundus600 such copies correlate by 0.8 or more, and by 0.5 still after a crop of 2 % at every edge; of all 179,700
pairs those of different retinas reach 0.4 (0.55 where the images have 32 pixels a side, hence the hash as well), the
same eye photographed again 0.5 to 0.7."""

_HASH_SIDE = 32
_BITS = 256
_DETAIL_SIDE = 64
_DETAIL_RADIUS = 3.0
_SHIFT = 2
_PIXELS_AT_ONCE = 2**22
_PAIRS_AT_ONCE = 512
_COMPARED_FIRST = 96


@dataclass(frozen=True)
class NearPair:
    """Two images whose hashes are near.

    Attributes:
        first: the one image.
        second: the other, a higher number.
        distance: bits in which their hashes differ, of 256.
        similarity: correlation of their fine structure, at most 1.
    """

    first: int
    second: int
    distance: int
    similarity: float


@dataclass(frozen=True)
class Duplicates:
    """What a data set holds more than once.

    Attributes:
        identical: groups of two or more images of equal content, or equal once preprocessed; ascending.
        near: the near pairs that the pixels confirm. Of identical images the first stands for all.
        rejected: the near pairs that they do not.
        compared: number of pairs whose hashes were compared.
    """

    identical: tuple[tuple[int, ...], ...]
    near: tuple[NearPair, ...]
    rejected: tuple[NearPair, ...]
    compared: int

    def links(self) -> Rows:
        """Return int64 (P, 2), pairs that join all that belongs together: what `join_groups` takes."""
        same = [(group[0], other) for group in self.identical for other in group[1:]]
        return np.array(same + [(pair.first, pair.second) for pair in self.near], dtype=np.int64).reshape(-1, 2)


def find_duplicates(
    images: Images,
    digests: Names,
    rows: Rows | None = None,
    *,
    max_distance: int = MAX_DISTANCE,
    least_similarity: float = LEAST_SIMILARITY,
) -> Duplicates:
    """Find identical and near-identical images; memory grows with the hashes, never with the pixels.

    Args:
        images: uint8 (R, S, S, 3), preprocessed; may be a memory map.
        digests: a digest of each image's content before it was preprocessed.
        rows: int64 (M,), the row of each image in `images`; None: all rows.
        max_distance: bits in which the hashes of a near pair differ at most.
        least_similarity: what the pixels of a near pair reach.

    Returns:
        The duplicates; images are numbered 0..M-1, as in `digests`.

    Raises:
        DataError: if most of the data set is alike (`near_pairs`).
        ValueError: if the lengths differ, or the images are not square and of three channels.

    Example:
        >>> photographs = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
        >>> photographs[2] = photographs[0]
        >>> find_duplicates(photographs, ["a", "b", "c"]).identical
        ((0, 2),)
    """
    rows = np.arange(len(images)) if rows is None else rows
    if len(rows) != len(digests):
        raise ValueError(f"{len(digests)} digests for {len(rows)} images; give one for each")
    hashes = np.empty((len(rows), _BITS // 64), np.uint64)
    pixel_digests: list[bytes] = []
    for chunk in _chunks(len(rows), _images_at_once(images)):
        pixels = images[rows[chunk]]
        hashes[chunk] = perceptual_hash(pixels)
        pixel_digests += [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in pixels]

    everything = np.arange(len(rows))
    same = np.array([*_links_to_first(digests), *_links_to_first(pixel_digests)], dtype=np.int64).reshape(-1, 2)
    group_of = join_groups(everything, same)
    groups = np.split(np.argsort(group_of, kind="stable"), np.cumsum(np.bincount(group_of))[:-1]) if len(rows) else []
    first = np.array([group[0] for group in groups], dtype=np.int64)
    pairs, compared = near_pairs(hashes[first], max_distance)
    pairs = first[pairs]
    similarity = similarities(images, rows[pairs])
    distance = _distances(hashes, pairs)
    found = [
        NearPair(int(a), int(b), int(bits), float(value))
        for (a, b), bits, value in zip(pairs, distance, similarity, strict=True)
    ]
    return Duplicates(
        identical=tuple(tuple(group.tolist()) for group in groups if len(group) > 1),
        near=tuple(pair for pair in found if pair.similarity >= least_similarity),
        rejected=tuple(pair for pair in found if pair.similarity < least_similarity),
        compared=compared,
    )


def perceptual_hash(images: Images) -> npt.NDArray[np.uint64]:
    """Return a hash of each photograph that survives compression, resizing and changes of light.

    The luma inside the circle that the crop "fundus" leaves is averaged over the cells of a 32 x 32 grid; its mean is
    taken off and all outside set to 0, so that the circle's edge, which all images share, is no step and has no say. Of
    the two-dimensional DCT-II the 256 coefficients of lowest frequency (u^2 + v^2, ties by u), without the constant,
    give a bit each: 1 where the coefficient is above their median. Half of the bits are 1.

    Args:
        images: uint8 (M, S, S, 3), preprocessed; may be a memory map.

    Returns:
        uint64 (M, 4), the bit of lowest frequency in the lowest place of the first word.

    Raises:
        ValueError: if the images are not square and of three channels.

    Example:
        >>> photograph = np.random.default_rng(0).integers(0, 200, (1, 64, 64, 3), dtype=np.uint8)
        >>> bool((perceptual_hash(photograph) == perceptual_hash(photograph + 9)).all())
        True
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images of {images.dtype} {images.shape}; accepted: uint8 of shape (M, S, S, 3)")
    place = np.arange(_HASH_SIDE)
    cosines = np.cos(np.pi / _HASH_SIDE * place[:, None] * (place + 0.5))
    cosines[0] /= np.sqrt(2)
    lowest = np.argsort(place[:, None] ** 2 + place**2, axis=None, kind="stable")[1 : _BITS + 1]
    hashes = np.empty((len(images), _BITS // 64), np.uint64)
    for chunk in _chunks(len(images), _images_at_once(images)):
        luma, inside = _reduced_luma(images[chunk], _HASH_SIDE)
        # In double precision, so that the order of the sums, which differs between machines, hardly ever turns a bit.
        light = luma.astype(np.float64)
        light = np.where(inside, light - light[:, inside].mean(axis=1)[:, None, None], 0)
        coefficients = (cosines @ light @ cosines.T).reshape(len(light), -1)[:, lowest]
        bits = coefficients > np.median(coefficients, axis=1, keepdims=True)
        hashes[chunk] = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view("<u8")
    return hashes


def near_pairs(
    hashes: npt.NDArray[np.uint64], max_distance: int = MAX_DISTANCE, *, limit: int = 10_000_000
) -> tuple[Rows, int]:
    """Return all pairs of hashes that differ in few bits.

    Every pair is compared, by matrix products: with bits as -1 and 1, the product of two vectors is their length less
    twice their distance, exact in float32. The products run over the last 96 bits, those of the highest frequencies, in
    which images differ most; a near pair is near in those, and the few pairs that are so are counted out in full.

    Args:
        hashes: uint64 (M, 4).
        max_distance: bits in which a pair differs at most.
        limit: number of pairs beyond which the search is given up, lest they fill the memory.

    Returns:
        int64 (P, 2), the pairs, the smaller number first, ascending; and how many pairs were compared.

    Raises:
        DataError: if there are more near pairs than the limit.

    Example:
        >>> near_pairs(np.array([[0, 0, 0, 0], [1, 0, 0, 0], [2**30 - 1] * 4], dtype=np.uint64))
        (array([[0, 1]]), 3)
    """
    import torch

    count = len(hashes)
    compared = count * (count - 1) // 2
    octets = np.ascontiguousarray(hashes, dtype="<u8").view(np.uint8)[:, -_COMPARED_FIRST // 8 :]
    signs = torch.from_numpy(np.unpackbits(octets, axis=1)).float().mul_(2).sub_(1)
    height, width = 512, 2048  # a block of products stays in the processor's cache
    block = torch.empty(height * width)
    found: list[Rows] = []
    total = 0
    for down in range(0, count, height):
        left = signs[down : down + height]
        for along in range(down, count, width):
            right = signs[along : along + width]
            products = block[: len(left) * len(right)].view(len(left), len(right))
            torch.mm(left, right.T, out=products)
            hits = np.flatnonzero(products.numpy() >= _COMPARED_FIRST - 2 * max_distance)
            pairs = np.stack([down + hits // len(right), along + hits % len(right)], axis=1)
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            pairs = pairs[_distances(hashes, pairs) <= max_distance]
            found.append(pairs)
            total += len(pairs)
            if total > limit:
                raise DataError(
                    f"more than {limit:,} pairs among {count:,} images look alike, so that no split could part them; "
                    "either most are copies of a few, or they show hardly anything: look at some, and at images.crop"
                )
    pairs = np.concatenate([np.empty((0, 2), dtype=np.int64), *found])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], compared


def similarities(images: Images, pairs: Rows) -> Floats:
    """Return how alike the fine structure of two images is.

    Luma at 64 x 64, less its surroundings' mean and over their standard deviation (a Gaussian of 3 pixels inside the
    circle): this leaves vessels and lesions, and takes away vignette, light and large reflections. Then the normalised
    correlation inside the circle, the highest over shifts of up to two pixels.

    Args:
        images: uint8 (R, S, S, 3), preprocessed; may be a memory map.
        pairs: int64 (P, 2), rows of `images`.

    Returns:
        float32 (P,), at most 1; 0 where an image is of one colour.
    """
    result = np.zeros(len(pairs), np.float32)
    window = np.stack(np.nonzero(circular_mask(_DETAIL_SIDE)))
    centre = (_DETAIL_SIDE - 1) / 2
    # Every shift of the window stays within the circle.
    window = window[:, np.hypot(*(window - centre)) <= MASK_RADIUS * _DETAIL_SIDE - np.hypot(_SHIFT, _SHIFT)]
    steps = range(-_SHIFT, _SHIFT + 1)
    for chunk in _chunks(len(pairs), _PAIRS_AT_ONCE):
        rows, places = np.unique(pairs[chunk], return_inverse=True)
        first, second = places.reshape(-1, 2).T
        parts = [_fine_structure(images[rows[part]]) for part in _chunks(len(rows), _images_at_once(images))]
        structure = np.concatenate(parts)
        fixed = _unit(structure[:, window[0], window[1]])[first]
        best = np.full(len(first), -1, np.float32)
        for down in steps:
            for along in steps:
                moved = _unit(structure[:, window[0] + down, window[1] + along])[second]
                np.maximum(best, np.einsum("pn,pn->p", fixed, moved), out=best)
        structured = np.abs(structure).max(axis=(1, 2)) > 0
        result[chunk] = np.where(structured[first] & structured[second], np.minimum(best, 1), 0)
    return result


def confirm_pairs(images: Images, pairs: Rows, least_similarity: float = LEAST_SIMILARITY) -> npt.NDArray[np.bool_]:
    """Return bool (P,), true where the pixels of a pair of rows show the same; see `similarities`."""
    confirmed: npt.NDArray[np.bool_] = similarities(images, pairs) >= least_similarity
    return confirmed


def join_groups(groups: Rows, pairs: Rows) -> Rows:
    """Merge groups that a pair of images links, one after another.

    Args:
        groups: int64 (M,), equal where images belong together already.
        pairs: int64 (P, 2), images that belong together.

    Returns:
        int64 (M,), numbered from 0 in the order of appearance.

    Example:
        >>> join_groups(np.array([7, 7, 5, 3, 9]), np.array([[1, 3], [3, 2]]))
        array([0, 0, 0, 0, 1])
    """
    names, group_of = np.unique(groups, return_inverse=True)
    parent = np.arange(len(names))
    links = group_of[pairs.reshape(-1, 2)]
    # Every link hangs the later of its two roots under the earlier; halving the paths makes all point at roots again.
    while len(links := np.sort(parent[links], axis=1)) and (apart := links[:, 0] < links[:, 1]).any():
        links = links[apart]
        np.minimum.at(parent, links[:, 1], links[:, 0])
        while ((above := parent[parent]) != parent).any():
            parent = above
    _, appeared, joined = np.unique(parent[group_of], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(appeared))[joined]


def _reduced_luma(pixels: npt.NDArray[np.uint8], side: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return float32 (N, side, side), means over cells of what the circle holds, and where that is half a cell."""
    size = pixels.shape[1]
    edges, places = np.arange(side + 1) * (size / side), np.arange(size)
    overlap = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    weights = np.clip(overlap * (side / size), 0, None).astype(np.float32)
    mask = circular_mask(size).astype(np.float32)
    covered = weights @ mask @ weights.T
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    inside = covered >= 0.5
    return np.where(inside, weights @ (luma * mask) @ weights.T / np.maximum(covered, 0.5), 0), inside


def _fine_structure(pixels: npt.NDArray[np.uint8]) -> Floats:
    """Return float32 (N, 64, 64), luma less its surroundings' mean, over their standard deviation; 0 outside."""
    luma, inside = _reduced_luma(pixels, _DETAIL_SIDE)
    place = np.arange(_DETAIL_SIDE)
    kernel = np.exp(-((place[:, None] - place) ** 2) / (2 * _DETAIL_RADIUS**2)).astype(np.float32)
    weight = np.where(inside, kernel @ inside.astype(np.float32) @ kernel, 1)
    detail = np.where(inside, luma - kernel @ luma @ kernel / weight, 0)
    detail[np.abs(detail) < 1e-3] = 0  # rounding, where an image is of one colour
    # The grey level of 255 that is added: what deviates by less is noise, and must not be blown up.
    return np.where(inside, detail / np.sqrt(kernel @ detail**2 @ kernel / weight + 1), 0)


def _unit(vectors: Floats) -> Floats:
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    lengths: Floats = np.linalg.norm(centred, axis=1, keepdims=True).astype(np.float32)
    unit: Floats = centred / np.maximum(lengths, np.float32(1e-6))
    return unit


def _distances(hashes: npt.NDArray[np.uint64], pairs: Rows) -> Rows:
    differing = np.ascontiguousarray(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]).view(np.uint16)
    distances: Rows = _POPULATION[differing].sum(axis=1, dtype=np.int64)
    return distances


# numpy counts bits itself from 2.0 on only.
_POPULATION = (
    np.unpackbits(np.arange(2**16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16).sum(axis=1, dtype=np.uint8)
)


def _links_to_first(names: Names) -> Iterator[tuple[int, int]]:
    first: dict[str | bytes, int] = {}
    for place, name in enumerate(names):
        if first.setdefault(name, place) != place:
            yield first[name], place


def _images_at_once(images: Images) -> int:
    height, width = images.shape[1:3]
    return int(max(1, _PIXELS_AT_ONCE // (height * width)))


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
