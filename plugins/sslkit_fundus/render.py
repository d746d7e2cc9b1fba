"""One photograph from its traits: reflectance, blood, lesions, light, lens and sensor, in that order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from sslkit_fundus.anatomy import Eye, Optics, sample_eye, sample_frame, sample_optics
from sslkit_fundus.drawing import Floats, Frame, smooth_noise
from sslkit_fundus.lesions import SEVERITIES, draw_lesions
from sslkit_fundus.vessels import draw_vessels, vessel_tree

RENDERER_VERSION = 1
"""Raised with every change that moves a pixel: it is part of each image's fingerprint."""

_BOTH_EYES, _EYES = 0, {"L": 1, "R": 2}
_ANATOMY, _VESSELS, _TEXTURE, _OPTICS, _LESIONS, _GRAIN = range(6)

_VEIN_ABSORBS = (0.48, 1.05, 1.05)
_ARTERY_ABSORBS = (0.2, 0.85, 0.85)
_BLOOD_ABSORBS = (0.62, 1.6, 1.5)
_POOL_ABSORBS = (0.85, 2.3, 2.2)


def render(seed: int, patient: int, eye: str, grade: int, size: int) -> npt.NDArray[np.uint8]:
    """Render one photograph: a pure function of its arguments.

    Anatomy, camera and place of every vessel depend on (seed, patient, eye) alone; the grade adds lesions.

    Args:
        seed: of the data set.
        patient: number of the patient.
        eye: ``"L"`` or ``"R"``.
        grade: 0..4 on the ICDR scale.
        size: side of the photograph in pixels.

    Returns:
        uint8 (H, W, 3), RGB; black outside the field of view.

    Example:
        >>> render(seed=0, patient=1, eye="L", grade=2, size=64).shape
        (64, 64, 3)
    """

    def stream(kind: int, whose: int = _EYES[eye]) -> np.random.Generator:
        return np.random.default_rng((seed, patient, whose, kind))

    anatomy = sample_eye(stream(_ANATOMY, _BOTH_EYES), stream(_ANATOMY))
    optics_rng = stream(_OPTICS)
    optics = sample_optics(stream(_OPTICS, _BOTH_EYES), optics_rng)
    frame = sample_frame(optics_rng, size=size, mirrored=eye == "L")

    x, y = frame.retinal_grid()
    colour = _retina(stream(_TEXTURE), anatomy, x, y)
    severity = SEVERITIES[grade]
    tree = vessel_tree(stream(_VESSELS), anatomy)
    veins = draw_vessels(frame, tree, vein=True, beading=severity.beading) * anatomy.vessel_depth
    arteries = draw_vessels(frame, tree, vein=False) * anatomy.vessel_depth
    _absorb(colour, ((veins, _VEIN_ABSORBS), (arteries, _ARTERY_ABSORBS)))
    if grade:
        _add_lesions(colour, stream(_LESIONS), frame, anatomy, grade)
    return _photograph(colour, stream(_GRAIN), frame, optics)


def _bell(distance: Floats, width: float) -> Floats:
    """Return a Gaussian bell of height one."""
    return np.asarray(np.exp(-0.5 * np.square(distance / np.float32(width))), dtype=np.float32)


def _step(distance: Floats, steepness: float) -> Floats:
    """Return a smooth step from one, where the distance is negative, to zero."""
    return np.asarray(0.5 - 0.5 * np.tanh(distance * np.float32(steepness / 2)), dtype=np.float32)


def _absorb(colour: Floats, layers: Sequence[tuple[Floats, tuple[float, float, float]]]) -> None:
    """Take light away as layers of blood do, each with its absorption of red, green and blue (Beer-Lambert)."""
    for channel in range(3):
        colour[channel] *= np.exp(-sum(layer * np.float32(absorbs[channel]) for layer, absorbs in layers))


def _cover(colour: Floats, layer: Floats, paint: Sequence[float]) -> None:
    """Cover the retina with an opaque colour wherever ``layer`` (H, W) says so."""
    for channel in range(3):
        colour[channel] += layer * (np.float32(paint[channel]) - colour[channel])


def _soften(layer: Floats, radius: float) -> Floats:
    if not layer.any():
        return layer
    image = Image.fromarray((layer * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / np.float32(255)


def _retina(rng: np.random.Generator, eye: Eye, x: Floats, y: Floats) -> Floats:
    """Return the reflectance of the retina without its vessels: float32 (3, H, W)."""
    size = len(x)
    patches, fine = smooth_noise(rng, 7, size), smooth_noise(rng, 56, size)
    choroid = np.abs(smooth_noise(rng, 26, size)) - 0.6
    to_fovea = np.hypot(x - np.float32(eye.fovea[0]), y - np.float32(eye.fovea[1]))
    to_disc = np.hypot(x - np.float32(eye.disc[0]), (y - np.float32(eye.disc[1])) / np.float32(eye.disc_height))
    macula = eye.macula_depth * (0.38 * _bell(to_fovea, 0.19) + 0.42 * _bell(to_fovea, 0.055))
    choroid *= np.float32(0.09 * eye.choroid) * (1 - _bell(to_fovea, 0.25))
    glow = _bell(to_disc, 0.33)
    colour = np.empty((3, size, size), dtype=np.float32)
    for channel, (patchy, grainy, shows, dark, bright) in enumerate(
        ((0.035, 0.012, 0.5, 0.6, 0.06), (0.06, 0.028, 1.0, 1.0, 0.2), (0.08, 0.03, 0.6, 0.8, 0.2))
    ):
        texture = 1 + patchy * patches + grainy * fine + shows * choroid + bright * glow
        colour[channel] = np.float32(eye.colour[channel]) * texture * np.exp(-dark * macula)
    _add_disc(colour, eye, x, to_disc)
    return colour


def _add_disc(colour: Floats, eye: Eye, x: Floats, to_disc: Floats) -> None:
    """Paint the optic disc: a pale crescent beside it, a pink rim, a paler cup."""
    across = (x - np.float32(eye.disc[0])) / np.float32(eye.disc_radius)
    distance = to_disc / np.float32(eye.disc_radius)
    if eye.crescent:
        beside = _step(np.hypot(across + 0.22, distance * 0.98) - 1.15, 14)
        _cover(colour, np.float32(0.45 * eye.crescent) * beside * (across < 0.6), (0.92, 0.68, 0.4))
    red, green, blue = eye.colour
    pale = np.clip(0.5 - 0.3 * across, 0, 1)
    rim = _step(distance - 1, 16)
    cup = _step(distance - np.float32(eye.cup), 9)
    ring = _bell(distance - np.float32(1.08), 0.07) * np.float32(0.12)
    for channel, (pink, white, bright) in enumerate(
        ((red * 0.3 + 0.76, 1.06, 1.1), (green * 0.5 + 0.4, 0.86, 1.0), (blue * 0.5 + 0.14, 0.5, 0.7))
    ):
        paint = np.float32(pink) + np.float32(white - pink) * (0.35 + 0.5 * pale)
        paint = paint + cup * (np.float32(bright) - paint) * np.float32(0.85)
        colour[channel] *= 1 - ring
        colour[channel] += rim * (paint - colour[channel])


def _add_lesions(colour: Floats, rng: np.random.Generator, frame: Frame, eye: Eye, grade: int) -> None:
    lesions = draw_lesions(rng, frame, eye, SEVERITIES[grade])
    scale = frame.size / 256
    wool, fibre = _soften(lesions.wool, 3 * scale), _soften(lesions.fibre, 1.6 * scale)
    red, green, blue = eye.colour
    _cover(colour, wool * 0.8, (min(1.0, red + 0.22), green + 0.38, blue + 0.33))
    _absorb(colour, ((_soften(lesions.blood, 0.9 * scale), _BLOOD_ABSORBS),))
    _cover(colour, lesions.exudate * 0.9, (min(1.0, red + 0.25), green + 0.4, blue + 0.14))
    _cover(colour, fibre * 0.75, (red + 0.08, green + 0.32, blue + 0.24))
    _absorb(colour, ((_soften(lesions.pools, 1.8 * scale), _POOL_ABSORBS),))


def _photograph(colour: Floats, rng: np.random.Generator, frame: Frame, optics: Optics) -> npt.NDArray[np.uint8]:
    """Light the retina, look at it through the lens, and expose the sensor: uint8 (H, W, 3)."""
    u, v = frame.view_grid()
    radius = np.hypot(u, v)
    border = radius * radius * radius
    light = optics.exposure * (1 - optics.falloff * border) * (1 + optics.lamp[0] * u + optics.lamp[1] * v)
    veil = 0.22 * optics.haze * border + optics.ghost * _bell(np.hypot(u - 0.06, v * 0.8), 0.1)
    light *= 255 * (1 - veil)
    exposed = np.empty((frame.size, frame.size, 3), dtype=np.uint8)
    for channel, tone in enumerate((0.62, 0.6, 0.52)):
        exposed[..., channel] = np.clip(colour[channel] * light + np.float32(255 * tone) * veil, 0, 255)
    blurred = Image.fromarray(exposed).filter(ImageFilter.GaussianBlur(optics.blur * frame.size))
    pixels = np.array(blurred, dtype=np.float32)
    pixels += np.float32(255 * optics.grain) * rng.standard_normal((frame.size, frame.size, 1), dtype=np.float32)
    unit = np.float32(frame.radius * frame.size)
    inside = np.clip((1 - radius) * unit + 0.5, 0, 1) * np.clip((optics.shutter - np.abs(v)) * unit + 0.5, 0, 1)
    pixels *= inside[..., None]
    return np.clip(pixels + 0.5, 0, 255, out=pixels).astype(np.uint8)
