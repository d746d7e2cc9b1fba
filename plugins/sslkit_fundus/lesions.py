"""Lesions of diabetic retinopathy, as many and as grave as a grade of the ICDR scale has them.

The scale is that of Wilkinson et al., "Proposed international clinical diabetic retinopathy and diabetic macular edema
disease severity scales", Ophthalmology 110(9), 2003. Lesions are drawn larger than life, so that photographs of
64 pixels still show them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sslkit_fundus.anatomy import Eye
from sslkit_fundus.drawing import Floats, Frame, Layer
from sslkit_fundus.lesion_shapes import (
    draw_aneurysm,
    draw_band,
    draw_exudates,
    draw_haemorrhage,
    draw_pool,
    draw_shunt,
    draw_tangle,
    draw_wool,
)

Range = tuple[int, int]


@dataclass(frozen=True)
class Severity:
    """How many lesions of each kind one grade has: the least and the most.

    Attributes:
        aneurysms: microaneurysms, small red dots.
        haemorrhages: dot, blot and flame haemorrhages, spread evenly over the quadrants.
        exudates: clusters of hard exudates, yellow and sharp.
        wool: cotton-wool spots, white and soft.
        shunts: intraretinal microvascular abnormalities, short winding vessels.
        tangles: knots of new vessels.
        pools: pre-retinal haemorrhages, large and dark.
        bands: fibrous bands along the arcades.
        beading: how much the calibre of the veins swings.
    """

    aneurysms: Range = (0, 0)
    haemorrhages: Range = (0, 0)
    exudates: Range = (0, 0)
    wool: Range = (0, 0)
    shunts: Range = (0, 0)
    tangles: Range = (0, 0)
    pools: Range = (0, 0)
    bands: Range = (0, 0)
    beading: float = 0.0


SEVERITIES = (
    Severity(),
    Severity(aneurysms=(12, 22)),
    Severity(aneurysms=(12, 22), haemorrhages=(7, 14), exudates=(1, 3), wool=(0, 2)),
    Severity(aneurysms=(15, 30), haemorrhages=(30, 46), exudates=(2, 4), wool=(3, 6), shunts=(5, 9), beading=0.4),
    Severity((12, 24), (18, 34), (1, 3), (1, 4), (3, 6), (3, 5), (1, 3), (0, 2), beading=0.3),
)
"""By grade: none, mild, moderate, severe, proliferative."""


@dataclass(frozen=True)
class Lesions:
    """The layers of lesions, each float32 (H, W) in 0..1.

    Attributes:
        blood: depth of blood in the retina.
        pools: depth of blood before the retina, which hides what is behind.
        exudate: cover by hard exudates.
        wool: cover by cotton-wool spots; still sharp, to be softened.
        fibre: cover by fibrous tissue; still sharp, to be softened.
    """

    blood: Floats
    pools: Floats
    exudate: Floats
    wool: Floats
    fibre: Floats


def draw_lesions(rng: np.random.Generator, frame: Frame, eye: Eye, severity: Severity) -> Lesions:
    """Place and draw the lesions of one photograph."""
    blood, pools, exudate, wool, fibre = (Layer(frame) for _ in range(5))

    def times(least_most: Range) -> range:
        return range(rng.integers(least_most[0], least_most[1] + 1))

    for _ in times(severity.aneurysms):
        draw_aneurysm(rng, blood, eye)
    for index in times(severity.haemorrhages):
        draw_haemorrhage(rng, blood, eye, quadrant=index % 4)
    for _ in times(severity.exudates):
        draw_exudates(rng, exudate, eye)
    for _ in times(severity.wool):
        draw_wool(rng, wool, eye)
    for _ in times(severity.shunts):
        draw_shunt(rng, blood, eye)
    for index in times(severity.tangles):
        draw_tangle(rng, blood, eye, at_disc=index == 0)
    for _ in times(severity.pools):
        draw_pool(rng, pools, eye)
    for _ in times(severity.bands):
        draw_band(rng, fibre, eye)
    return Lesions(blood.pixels(), pools.pixels(), exudate.pixels(), wool.pixels(), fibre.pixels())
