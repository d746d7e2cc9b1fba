"""The vessel tree: four arcades, each an artery and a vein, that leave the disc, arch, taper and branch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sslkit_fundus.anatomy import Eye
from sslkit_fundus.drawing import Floats, Frame, Layer, Points, ribbon

_VEIN_WIDTH, _ARTERY_WIDTH, _THINNEST = 0.032, 0.023, 0.0045
_STEP = 0.02
_AVASCULAR = 0.12


@dataclass(frozen=True)
class Vessel:
    """A stretch of vessel between its origin and its end.

    Attributes:
        points: (n, 2) retinal coordinates.
        widths: (n,) its calibre along the way.
        vein: true for a vein, which is darker and wider.
    """

    points: Points
    widths: npt.NDArray[np.float64]
    vein: bool


def vessel_tree(rng: np.random.Generator, eye: Eye) -> list[Vessel]:
    """Grow the whole tree of one eye."""
    tree: list[Vessel] = []
    for vein in (True, False):
        for side in (-1, 1):
            for trunk in (_temporal(rng, eye, side, vein), _nasal(rng, eye, side, vein)):
                _branch(rng, eye, trunk, tree, level=0)
        for heading in (np.pi + rng.uniform(0.25, 0.6), np.pi - rng.uniform(0.25, 0.6), rng.uniform(-0.35, 0.35)):
            twig = _wander(
                rng, eye, _origin(rng, eye), heading, rng.uniform(0.45, 0.75), 0.4 * _calibre(eye, vein), vein
            )
            _branch(rng, eye, twig, tree, level=1)
    return tree


def draw_vessels(frame: Frame, tree: list[Vessel], *, vein: bool, beading: float = 0.0) -> Floats:
    """Draw the arteries or the veins: float32 (H, W), the depth of blood in 0..1.

    Args:
        frame: the photograph.
        tree: all vessels.
        vein: which of the two.
        beading: how much the calibre of the larger veins swings, 0 for not at all.
    """
    layer = Layer(frame)
    chosen = sorted((v for v in tree if v.vein == vein), key=lambda v: float(v.widths[0]))
    reflexes = []
    for vessel in chosen:
        widths = vessel.widths
        if beading and widths[0] > 0.6 * _VEIN_WIDTH:
            widths = widths * (1 + beading * np.sin(np.arange(len(widths)) * _STEP * 2 * np.pi / 0.1))
        depth = float(np.clip(0.22 + widths[0] / 0.032, 0, 1))
        layer.polygon(ribbon(vessel.points, np.maximum(widths, _THINNEST)), depth)
        if widths[0] > 0.014:
            reflexes.append((ribbon(vessel.points, widths * 0.3), depth * (0.8 if vein else 0.55)))
    for outline, depth in reflexes:
        layer.polygon(outline, depth)
    return layer.pixels()


def _calibre(eye: Eye, vein: bool) -> float:
    return eye.vessel_width * (_VEIN_WIDTH if vein else _ARTERY_WIDTH)


def _origin(rng: np.random.Generator, eye: Eye) -> Points:
    return np.array(eye.disc) + eye.disc_radius * np.array([rng.uniform(-0.05, 0.3), rng.uniform(-0.25, 0.25)])


def _temporal(rng: np.random.Generator, eye: Eye, side: int, vein: bool) -> Vessel:
    height = eye.arcade_height * (rng.uniform(0.86, 0.98) if vein else rng.uniform(1.0, 1.16))
    lean = rng.uniform(-0.02, 0.1)
    controls = [
        _origin(rng, eye),
        np.add(eye.disc, (lean, side * height * rng.uniform(0.9, 1.1))),
        np.add(eye.fovea, (rng.uniform(0.25, 0.45), side * height * rng.uniform(1.3, 1.45))),
        np.add(eye.fovea, (-rng.uniform(1.0, 1.2), side * height * rng.uniform(0.3, 1.0))),
    ]
    return _trunk(rng, eye, controls, vein)


def _nasal(rng: np.random.Generator, eye: Eye, side: int, vein: bool) -> Vessel:
    spread = rng.uniform(0.1, 0.45)
    controls = [
        _origin(rng, eye),
        np.add(eye.disc, (0.02, side * 0.3)),
        np.add(eye.disc, (spread * 0.5, side * 0.5)),
        np.add(eye.disc, (spread, side * rng.uniform(0.75, 1.0))),
    ]
    return _trunk(rng, eye, controls, vein, calibre=0.7)


def _trunk(rng: np.random.Generator, eye: Eye, controls: list[Points], vein: bool, calibre: float = 1.0) -> Vessel:
    """Follow a cubic Bezier curve, winding a little about it."""
    length = sum(float(np.hypot(*(b - a))) for a, b in pairwise(controls))
    t = np.linspace(0, 1, max(8, int(length / _STEP)))[:, None]
    a, b, c, d = controls
    curve = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    tangent = np.gradient(curve, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.hypot(tangent[:, 0], tangent[:, 1])[:, None]
    winding = sum(
        rng.normal(0, 0.011 / k**0.7) * np.sin(2 * np.pi * (k * 1.3 * t[:, 0] + rng.random())) for k in range(1, 7)
    )
    points = curve + normal * (winding * eye.tortuosity * np.minimum(1, 4 * t[:, 0]))[:, None]
    return Vessel(points, calibre * _calibre(eye, vein) * (1 - 0.6 * t[:, 0]), vein)


def _wander(
    rng: np.random.Generator,
    eye: Eye,
    start: Points,
    heading: float,
    length: float,
    width: float,
    vein: bool,
    bend: float = 0.0,
) -> Vessel:
    """Leave ``start`` along ``heading`` and wind on, stopping short of the fovea and beyond the border."""
    count = max(5, int(length / _STEP))
    t = np.arange(count) / count
    waves = np.sin(2 * np.pi * (np.array([[1.6], [3.2], [6.4]]) * length * t + rng.random((3, 1))))
    turning = bend * t + eye.tortuosity * (rng.normal(0, 0.2, 3) @ waves)
    angle = heading + turning - turning[0]
    points = np.empty((count, 2))
    points[0] = start
    points[1:, 0] = start[0] + _STEP * np.cumsum(np.cos(angle[:-1]))
    points[1:, 1] = start[1] + _STEP * np.cumsum(np.sin(angle[:-1]))
    outside = (np.hypot(*(points - eye.fovea).T) < _AVASCULAR) | (np.hypot(*points.T) > 1.1)
    end = max(4, int(outside.argmax()) if outside.any() else count)
    return Vessel(points[:end], (width * (1 - 0.55 * t))[:end], vein)


def _branch(rng: np.random.Generator, eye: Eye, parent: Vessel, tree: list[Vessel], level: int) -> None:
    """Add a vessel and, recursively, the branches that leave it on alternate sides."""
    tree.append(parent)
    if level == 2:
        return
    index, side = int(rng.uniform(0.18, 0.4) / _STEP), 1 if rng.random() < 0.5 else -1
    while index < len(parent.points) - 3:
        width = parent.widths[index] * rng.uniform(0.42, 0.78)
        if width > _THINNEST * 0.9:
            dx, dy = parent.points[index + 1] - parent.points[index - 1]
            opening = side * rng.uniform(0.5, 1.15)
            length = rng.uniform(0.25, 0.7) * (1.15 - 0.3 * level)
            child = _wander(
                rng,
                eye,
                parent.points[index],
                np.arctan2(dy, dx) + opening,
                length,
                width,
                parent.vein,
                bend=-opening * rng.uniform(0, 0.6),
            )
            _branch(rng, eye, child, tree, level + 1)
        index += int(rng.uniform(0.12, 0.28) * (1 + 0.2 * level) / _STEP)
        side = -side if rng.random() < 0.8 else side
