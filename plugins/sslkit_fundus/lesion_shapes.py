"""Where lesions lie and what each kind looks like: one function a kind, each draws one lesion on a layer."""

from __future__ import annotations

import numpy as np

from sslkit_fundus.anatomy import Eye
from sslkit_fundus.drawing import Layer, Points, blob, ribbon

_STRAND_STEP = 0.008


def anywhere(rng: np.random.Generator, eye: Eye, quadrant: int, least: float, most: float) -> Points:
    """Draw a place in a quadrant away from disc and fovea, between two distances from the centre: (2,)."""
    while True:
        angle, distance = (quadrant + rng.random()) * np.pi / 2, np.sqrt(rng.uniform(least**2, most**2))
        place: Points = distance * _unit(angle)
        if np.hypot(*(place - eye.disc)) > 1.5 * eye.disc_radius and np.hypot(*(place - eye.fovea)) > 0.08:
            return place


def near_macula(rng: np.random.Generator, eye: Eye, most: float) -> Points:
    """Draw a place around the fovea, off the disc and no further from the fovea than ``most``: (2,)."""
    while True:
        place = eye.fovea + rng.uniform(0.1, most) * _unit(rng.uniform(0, 2 * np.pi))
        if np.hypot(*place) < 0.9 and np.hypot(*(place - eye.disc)) > 1.4 * eye.disc_radius:
            return place


def draw_aneurysm(rng: np.random.Generator, layer: Layer, eye: Eye) -> None:
    """Draw a microaneurysm: a small red dot."""
    outline = blob(rng, near_macula(rng, eye, 0.75), rng.uniform(0.011, 0.018), roughness=0.1)
    layer.polygon(outline, rng.uniform(0.65, 0.9))


def draw_haemorrhage(rng: np.random.Generator, layer: Layer, eye: Eye, quadrant: int) -> None:
    """Draw a dot or blot, or a flame along the nerve fibres, which run to the disc."""
    place = anywhere(rng, eye, quadrant, 0.15, 0.88)
    radius = float(np.clip(rng.lognormal(np.log(0.026), 0.4), 0.015, 0.065))
    dx, dy = place - eye.disc
    stretch = rng.uniform(1.7, 2.4) if rng.random() < 0.3 else rng.uniform(1, 1.3)
    outline = blob(rng, place, radius, roughness=0.28, stretch=stretch, angle=float(np.arctan2(dy, dx)))
    layer.polygon(outline, rng.uniform(0.6, 1.0))


def draw_exudates(rng: np.random.Generator, layer: Layer, eye: Eye) -> None:
    """Draw a cluster: part of a ring, as exudates lie around a leak, and a few inside it."""
    centre, ring = near_macula(rng, eye, 0.5), rng.uniform(0.07, 0.16)
    first, sweep = rng.uniform(0, 2 * np.pi), rng.uniform(2.0, 6.0)
    for _ in range(int(rng.integers(18, 38))):
        distance = ring * (rng.normal(1, 0.13) if rng.random() < 0.75 else rng.random())
        place = centre + distance * _unit(first + sweep * rng.random())
        radius = float(np.clip(rng.lognormal(np.log(0.011), 0.45), 0.005, 0.028))
        if np.hypot(*(place - eye.disc)) > 1.3 * eye.disc_radius:
            layer.polygon(blob(rng, place, radius, stretch=1.2), rng.uniform(0.75, 1.0))


def draw_wool(rng: np.random.Generator, layer: Layer, eye: Eye) -> None:
    """Draw a cotton-wool spot: a few flakes that overlap."""
    place = anywhere(rng, eye, int(rng.integers(4)), 0.25, 0.75)
    for _ in range(3):
        flake, radius = place + rng.normal(0, 0.02, 2), rng.uniform(0.035, 0.06)
        layer.polygon(blob(rng, flake, radius, stretch=rng.uniform(1, 1.5), angle=rng.uniform(0, np.pi)), 0.9)


def draw_shunt(rng: np.random.Generator, layer: Layer, eye: Eye) -> None:
    """Draw an intraretinal microvascular abnormality: a few short vessels that wind."""
    place = anywhere(rng, eye, int(rng.integers(4)), 0.3, 0.8)
    for _ in range(3):
        _strand(rng, layer, place + rng.normal(0, 0.03, 2), rng.uniform(0.1, 0.2), rng.uniform(0.006, 0.009), 0.7)


def draw_tangle(rng: np.random.Generator, layer: Layer, eye: Eye, *, at_disc: bool) -> None:
    """Draw a knot of fine new vessels, on the disc or elsewhere."""
    if at_disc:
        place = eye.disc + eye.disc_radius * rng.uniform(-0.6, 0.6, 2)
    else:
        place = anywhere(rng, eye, int(rng.integers(4)), 0.35, 0.8)
    for _ in range(int(rng.integers(14, 24))):
        start, length = place + rng.normal(0, 0.045, 2), rng.uniform(0.12, 0.28)
        _strand(rng, layer, start, length, rng.uniform(0.005, 0.008), rng.uniform(0.6, 0.9))


def draw_pool(rng: np.random.Generator, layer: Layer, eye: Eye) -> None:
    """Draw blood that has settled before the retina: a level top, a round bottom."""
    place, width = anywhere(rng, eye, int(rng.integers(4)), 0.35, 0.75), rng.uniform(0.12, 0.22)
    outline = blob(rng, place, width, roughness=0.18, stretch=rng.uniform(1.0, 1.4))
    level = place[1] - width * rng.uniform(0.05, 0.5)
    outline[:, 1] = np.maximum(outline[:, 1], level + rng.normal(0, 0.008, len(outline)))
    layer.polygon(outline, rng.uniform(0.85, 1.0))


def draw_band(rng: np.random.Generator, layer: Layer, eye: Eye) -> None:
    """Draw a bundle of fibrous strands that runs from the disc along an arcade."""
    height = eye.arcade_height * (1 if rng.random() < 0.5 else -1)
    middle = np.add(eye.disc, (-0.1, height * 0.8))
    end = np.add(eye.fovea, (rng.uniform(-0.5, 0.2), height * rng.uniform(0.7, 1.2)))
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(int(rng.integers(5, 9))):
        a, b, c = eye.disc + rng.normal(0, 0.04, 2), middle + rng.normal(0, 0.07, 2), end + rng.normal(0, 0.09, 2)
        widths = rng.uniform(0.02, 0.05) * np.sin(np.pi * (0.08 + 0.9 * t[:, 0])) ** 0.6
        layer.polygon(ribbon((1 - t) ** 2 * a + 2 * (1 - t) * t * b + t**2 * c, widths), rng.uniform(0.4, 0.8))


def _unit(angle: float) -> Points:
    return np.array([np.cos(angle), np.sin(angle)])


def _strand(rng: np.random.Generator, layer: Layer, start: Points, length: float, width: float, depth: float) -> None:
    count = max(6, int(length / _STRAND_STEP))
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.45, count))
    points = start + np.cumsum(_STRAND_STEP * np.stack([np.cos(angle), np.sin(angle)], axis=1), axis=0)
    layer.polygon(ribbon(points, np.full(count, width)), depth)
