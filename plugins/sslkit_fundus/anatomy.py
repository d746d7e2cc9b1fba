"""What differs from eye to eye, and from one photograph to the next; none of it depends on the grade."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslkit_fundus.drawing import Frame


@dataclass(frozen=True)
class Eye:
    """The healthy anatomy of one eye, in retinal coordinates.

    Attributes:
        disc: centre of the optic disc.
        disc_radius: its horizontal radius.
        disc_height: its height over its width.
        cup: radius of the cup over the radius of the disc.
        crescent: strength of the pale crescent at the disc's temporal side, 0 for none.
        fovea: centre of the macula.
        macula_depth: how much darker the macula is.
        arcade_height: how far above and below the fovea the temporal arcades arch.
        tortuosity: how much the vessels wind.
        vessel_width: calibre of the vessels against the usual one.
        vessel_depth: how dark the vessels are.
        colour: reflectance of the retina, red, green and blue in 0..1.
        choroid: how far the choroid's vessels show through.
    """

    disc: tuple[float, float]
    disc_radius: float
    disc_height: float
    cup: float
    crescent: float
    fovea: tuple[float, float]
    macula_depth: float
    arcade_height: float
    tortuosity: float
    vessel_width: float
    vessel_depth: float
    colour: tuple[float, float, float]
    choroid: float


@dataclass(frozen=True)
class Optics:
    """How one photograph was taken.

    Attributes:
        exposure: factor on the light.
        falloff: how much darker the border is than the centre.
        lamp: direction (x, y) and strength of uneven light, as the photograph is looked at.
        haze: strength of the grey veil that grows towards the border.
        ghost: strength of the pale reflection of the lens near the centre, 0 for none.
        blur: standard deviation of the defocus, as a fraction of the side.
        grain: standard deviation of the sensor's noise, in 0..1.
        shutter: half the height of the shutter's opening in radii; above 1 it cuts nothing.
    """

    exposure: float
    falloff: float
    lamp: tuple[float, float]
    haze: float
    ghost: float
    blur: float
    grain: float
    shutter: float


def sample_eye(patient: np.random.Generator, own: np.random.Generator) -> Eye:
    """Draw an eye: the traits of its patient, then its own deviations from them."""
    red = patient.uniform(0.58, 0.86)
    green = red * patient.uniform(0.38, 0.62)
    blue = green * (patient.uniform(0.55, 0.85) if patient.random() < 0.3 else patient.uniform(0.14, 0.42))
    tint = own.normal(1.0, 0.02, 3)
    disc_radius, disc_height = patient.uniform(0.115, 0.145), patient.uniform(1.05, 1.2)
    cup = patient.uniform(0.3, 0.58)
    crescent = patient.uniform(0.3, 0.9) if patient.random() < 0.3 else 0.0
    macula_depth, height = patient.uniform(0.6, 1.15), patient.uniform(0.5, 0.7)
    tortuosity, width, depth = patient.uniform(0.5, 1.3), patient.uniform(0.9, 1.15), patient.uniform(0.62, 1.0)
    choroid = patient.uniform(0.0, 1.0) ** 2
    fovea = (own.uniform(-0.24, -0.04), own.uniform(-0.02, 0.1))
    disc = (fovea[0] + patient.uniform(0.66, 0.74), fovea[1] - own.uniform(0.03, 0.13))
    return Eye(
        disc=disc,
        disc_radius=disc_radius,
        disc_height=disc_height,
        cup=float(np.clip(cup + own.normal(0, 0.03), 0.25, 0.65)),
        crescent=crescent,
        fovea=fovea,
        macula_depth=macula_depth * own.uniform(0.9, 1.1),
        arcade_height=height * own.uniform(0.93, 1.07),
        tortuosity=tortuosity,
        vessel_width=width,
        vessel_depth=depth,
        colour=(red * tint[0], green * tint[1], blue * tint[2]),
        choroid=choroid,
    )


def sample_optics(patient: np.random.Generator, own: np.random.Generator) -> Optics:
    """Draw the camera that a patient met, then what differs between the two photographs."""
    exposure = patient.uniform(0.82, 1.14) * own.uniform(0.95, 1.05)
    falloff, haze = patient.uniform(0.15, 0.4), patient.uniform(0.0, 0.5) ** 2
    blur = patient.uniform(0.0008, 0.0028) * own.uniform(0.8, 1.25)
    grain = patient.uniform(0.004, 0.012)
    shutter = patient.uniform(0.78, 0.92) if patient.random() < 0.3 else 2.0
    ghost = patient.uniform(0.05, 0.2) if patient.random() < 0.25 else 0.0
    angle, strength = own.uniform(0, 2 * np.pi), own.uniform(0.0, 0.18)
    lamp = (float(strength * np.cos(angle)), float(strength * np.sin(angle)))
    return Optics(exposure, falloff, lamp, haze, ghost, blur, grain, shutter)


def sample_frame(own: np.random.Generator, *, size: int, mirrored: bool) -> Frame:
    """Draw where the field of view lies on the photograph and how the eye is turned."""
    centre = (0.5 + own.uniform(-0.012, 0.012), 0.5 + own.uniform(-0.012, 0.012))
    return Frame(size, centre, own.uniform(0.455, 0.487), mirrored, own.uniform(-0.09, 0.09))
