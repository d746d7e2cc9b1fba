"""What is done to an image to make a view of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sslkit.config.base import PluginConfig


class ViewsConfig(PluginConfig):
    """Options of random views; a task has them as a table of its own, ``[pretext.views]``.

    Colours are changed by about as much as photographs of the two eyes of one person differ: by what cameras and light
    do, and by less than people differ. Half of an image's area, little blur and no grey view keep small and coloured
    findings in most pairs of views. The papers on natural images change far more (Chen et al. 2020, arXiv 2002.05709);
    with that, nothing that holds for other people was learnt in short trainings on photographs of the retina.

    Attributes:
        min_area: the smallest share of an image's area that a view shows, enlarged to the view's size; 1 shows all.
        flips: show half of the views in a mirror.
        turns: "any" turns by every angle where images have a circular mask, and by quarter turns where they have none;
            "quarter" and "none" are so for all.
        brightness: factors are 1 - brightness to 1 + brightness; 0 leaves it.
        contrast: the same, about the mean of what the view shows.
        saturation: the same; 0 as a factor is grey.
        hue: colours are turned by up to this share of the whole circle, in either direction. Half of it would make red
            green; a haemorrhage and an exudate differ by a tenth.
        recoloured: share of the views that brightness, contrast, saturation and hue are changed of.
        grey: share of the views that are shown without colour.
        blurred: share of the views that are blurred.
        blur: the largest standard deviation of the blur, in pixels of an image of 224, and of others in proportion; the
            smallest is 0.1.
    """

    min_area: float = Field(0.5, gt=0, le=1)
    flips: bool = True
    turns: Literal["any", "quarter", "none"] = "any"
    brightness: float = Field(0.2, ge=0, le=1)
    contrast: float = Field(0.2, ge=0, le=1)
    saturation: float = Field(0.2, ge=0, le=1)
    hue: float = Field(0.01, ge=0, le=0.5)
    recoloured: float = Field(0.8, ge=0, le=1)
    grey: float = Field(0.0, ge=0, le=1)
    blurred: float = Field(0.2, ge=0, le=1)
    blur: float = Field(2.0, ge=0.1, le=32)
