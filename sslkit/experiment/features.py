"""The representations of a pretrained encoder, computed once for all the cells that keep it frozen."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sslkit.checksums import SUMS, flaws, require, seal, successor
from sslkit.engine.networks import batches_of, build_encoder, encode_rows
from sslkit.engine.weights import load_weights
from sslkit.errors import RunError
from sslkit.experiment.recipe import Recipe, digest
from sslkit.experiment.recipe_job import RecipeJob
from sslkit.files import write_atomically, write_json
from sslkit.interfaces import Reporter
from sslkit.interfaces.movable_job import add_to_folder

FEATURES = ("features.npy", "features.json")
"""The files of a pretraining's features."""


@dataclass(frozen=True)
class FeaturesJob(RecipeJob):
    """Runs every labelled image through the encoder of one pretraining.

    Attributes:
        recipe: what all jobs share.
        folder: the folder of the pretraining, where the features go too.
        weights: identity of the pretraining.
        rows: the labelled images, ascending.
        after: id of the pretraining's job.
    """

    recipe: Recipe
    folder: Path
    weights: str
    rows: npt.NDArray[np.int64]
    after: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to workers: no name of an image, since it tells none; but what it is called."""
        return {**self.__dict__, "identity": self.identity, "recipe": self.recipe.with_names_of(())}

    @cached_property
    def identity(self) -> str:
        """A digest of all that the features depend on."""
        return digest([self.weights, self.rows])

    @property
    def id(self) -> str:
        """The job's name in the run."""
        return f"features/{self.folder.parent.name}/{self.folder.name}"

    @property
    def cost(self) -> float:
        """Images through a forward pass."""
        return float(len(self.rows))

    @property
    def reads(self) -> tuple[Path, ...]:
        """Files that it reads: the weights."""
        return self.folder / "backbone.safetensors", self.folder / SUMS

    def moved(self, run: Path, cache: Path) -> FeaturesJob:
        """Return the same job for another run directory and folder of caches."""
        return replace(self, recipe=self.recipe.moved(run, cache), folder=run / self.folder.relative_to(self.run))

    def adopt(self, results: Path) -> None:
        """Put the features in their place, beside the weights."""
        self.recipe.directory.require()
        add_to_folder(self.folder, results)

    @property
    def done(self) -> bool:
        """Whether the features stand as they were written, and are those of this very job."""
        if flaws(self.folder, FEATURES):
            return False
        try:
            return bool(_read_index(self.folder)["job"] == self.identity)
        except RunError:  # sealed by somebody else
            return False

    def execute(self, report: Reporter) -> None:
        """Write features.npy, float32 (R, D), and features.json, which names its rows."""
        recipe = self.recipe
        recipe.directory.require()
        recipe.compute.prepare_process()
        require(self.folder, "backbone.safetensors")
        encoder = build_encoder(recipe.backbone.make(), recipe.compute)
        load_weights(encoder.backbone, self.folder / "backbone.safetensors")
        images = recipe.cache.open()
        parts = []
        for part in batches_of(self.rows):
            parts.append(encode_rows(encoder, images, part).cpu())
            report({"done": sum(map(len, parts)), "total": len(self.rows)})
        features = torch.cat(parts).numpy()
        write_atomically(successor(self.folder / "features.npy"), lambda file: np.save(file, features))
        index = {"job": self.identity, "rows": self.rows.tolist()}
        write_json(successor(self.folder / "features.json"), index)
        seal(self.folder, FEATURES)


def read_features(folder: Path, rows: npt.NDArray[np.int64]) -> torch.Tensor:
    """Return the features of some rows, float32 (N, D), from the folder that a FeaturesJob has written them to.

    Raises:
        RunError: if they are damaged, or were not written by a FeaturesJob.
    """
    require(folder, *FEATURES)
    path = folder / "features.npy"
    try:
        known = np.array(_read_index(folder)["rows"], dtype=np.int64)
        features = np.load(path, mmap_mode="r", allow_pickle=False)
        if features.dtype != np.float32 or features.ndim != 2 or len(features) != len(known):
            raise ValueError(f"{features.dtype} {features.shape} for {len(known)} images")
        return torch.from_numpy(features[np.searchsorted(known, rows)])
    except (OSError, ValueError, TypeError, IndexError) as error:  # numpy says ValueError of a pickle, and reads none
        raise RunError(
            f"the features {path} are damaged ({error}); delete features.json beside it and run the same command again"
        ) from error


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "features.json"
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return {"job": index["job"], "rows": index["rows"]}
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise RunError(f"{path} is damaged; delete it and run the same command again") from error
