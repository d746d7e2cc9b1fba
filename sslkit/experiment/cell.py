"""One cell of the evaluation: what it is made from, where it stands, and how it comes to be."""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save

from sslkit.checksums import SUMS, flaws, read_sums, require, seal
from sslkit.data.augmentation import NUM_SYMMETRIES
from sslkit.errors import StorageError
from sslkit.experiment.features import FEATURES
from sslkit.experiment.finetuning import TrainedCell, train_cell
from sslkit.experiment.recipe import Configured, Recipe, digest
from sslkit.experiment.recipe_job import RecipeJob
from sslkit.experiment.scoring import score, write_predictions
from sslkit.files import flush_folder, make_scratch, write_atomically, write_json, write_json_lines
from sslkit.interfaces import Reporter

PRETRAINED_ARMS = frozenset({"pretrained", "frozen", "knn"})
"""Arms that start from a pretext task's weights."""

FROZEN_ARMS = frozenset({"frozen", "knn"})
"""Of them, those that keep the weights as they are."""


@dataclass(frozen=True)
class CellJob(RecipeJob):
    """One point of the evaluation.

    Attributes:
        recipe: what all jobs share.
        task: the pretext task whose weights it starts from; None for an arm that uses none.
        arm: ``"pretrained"``, ``"scratch"``, ``"frozen"``, ``"knn"`` or ``"imagenet"``.
        fraction: share of the fold's labels.
        fold: the fold that tests it.
        repetition: which order of labels, and which seeds.
        training_rows: the labelled images it learns from.
        test_rows: the labelled images that score it.
        weights: folder and identity of the pretraining it starts from.
        after: ids of the jobs whose results it reads.
        keep_model: whether its weights are kept.
    """

    recipe: Recipe
    task: Configured | None
    arm: str
    fraction: float
    fold: int
    repetition: int
    training_rows: npt.NDArray[np.int64]
    test_rows: npt.NDArray[np.int64]
    weights: tuple[Path, str] | None = None
    after: tuple[str, ...] = ()
    keep_model: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to workers: of all names those that predictions.csv tells; and what it is called."""
        return {**self.__dict__, "cell_id": self.cell_id, "recipe": self.recipe.with_names_of(self.test_rows)}

    @cached_property
    def cell_id(self) -> str:
        """A digest of all that the result depends on; the name of the cell's folder."""
        recipe = self.recipe
        return digest(
            {
                **recipe.common_identity(),
                "head": recipe.head.identity(),
                "finetuning": recipe.finetuning.model_dump(mode="json"),
                "arm": self.arm,
                "weights": None if self.weights is None else self.weights[1],
                "fraction": self.fraction,
                "fold": self.fold,
                "repetition": self.repetition,
                "training": [self.training_rows, recipe.grades[self.training_rows]],
                "test": [self.test_rows, recipe.grades[self.test_rows]],
                "names": recipe.names,
            }
        )

    @property
    def pretext(self) -> str:
        """The pretext task's name, empty for an arm that uses none."""
        return "" if self.task is None else self.task.info.name

    @property
    def id(self) -> str:
        """The job's name in the run."""
        return f"cells/{self.cell_id}"

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.recipe.directory.cell(self.cell_id)

    @property
    def reads(self) -> tuple[Path, ...]:
        """Files that it reads: weights, and features where the encoder is frozen."""
        if self.weights is None:
            return ()
        features = FEATURES if self.arm in FROZEN_ARMS else ()
        return tuple(self.weights[0] / name for name in ("backbone.safetensors", *features, SUMS))

    def moved(self, run: Path, cache: Path) -> CellJob:
        """Return the same cell for another run directory and folder of caches."""
        weights = self.weights and (run / self.weights[0].relative_to(self.run), self.weights[1])
        moved = replace(self, recipe=self.recipe.moved(run, cache), weights=weights)
        vars(moved)["cell_id"] = self.cell_id  # files among the options are not read again
        return moved

    def adopt(self, results: Path) -> None:
        """Put the results of the moved cell in their place; those of one that was stopped are nothing."""
        self.recipe.directory.require()
        if (results / SUMS).exists():
            self._move_into_place(results)

    @property
    def done(self) -> bool:
        """Whether its result stands, and its model where that is kept, all of it as it was written."""
        return self.folder.exists() and not self.flaws()

    def flaws(self) -> list[str]:
        """Return what is wrong with its folder, a sentence each; a fit across folds counts too, where there is one."""
        return flaws(self.folder, {**dict.fromkeys(self._files), **read_sums(self.folder)})

    @property
    def _files(self) -> list[str]:
        kept = ["model.safetensors"] if self.keeps_model else []
        return ["metrics.jsonl", "predictions.csv", "result.json", *kept]

    @property
    def keeps_model(self) -> bool:
        """Whether there is a model to keep, and it is asked for."""
        return self.keep_model and self.arm != "knn"

    @property
    def coordinates(self) -> dict[str, Any]:
        """What names the cell in results.csv."""
        return {
            "pretext": self.pretext,
            "arm": self.arm,
            "fraction": self.fraction,
            "fold": self.fold,
            "repetition": self.repetition,
            "labels": len(self.training_rows),
            "test_images": len(self.test_rows),
        }

    @property
    def whole_updates(self) -> int:
        """Updates of the whole network."""
        settings = self.recipe.finetuning
        return 0 if self.arm in FROZEN_ARMS else settings.updates - settings.head_updates

    @property
    def forward_images(self) -> int:
        """Images through a forward pass of the encoder alone: those that the head learns from, and the test images."""
        settings = self.recipe.finetuning
        if self.arm in FROZEN_ARMS:
            return 0
        head = min(settings.head_updates * settings.batch_size, NUM_SYMMETRIES * len(self.training_rows))
        return head + settings.evaluations * len(self.test_rows)

    @property
    def cost(self) -> float:
        """Images through a forward pass, a backward pass counting two; what an update costs beside them is left out."""
        return float(self.forward_images + 3 * self.whole_updates * self.recipe.finetuning.batch_size)

    def execute(self, report: Reporter) -> None:
        """Train, score, and write the cell's folder in one move."""
        self.recipe.directory.require()
        self.recipe.compute.prepare_process()
        if self.weights is not None:
            require(self.weights[0], "backbone.safetensors")
        trained = train_cell(self, report)
        self.recipe.directory.require()
        scratch = make_scratch(self.folder)
        try:
            self._write(trained, scratch)
            self._move_into_place(scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _write(self, trained: TrainedCell, folder: Path) -> None:
        recipe = self.recipe
        ids, groups = ([names[row] for row in self.test_rows] for names in (recipe.ids, recipe.groups))
        targets = recipe.grades[self.test_rows]
        write_predictions(folder / "predictions.csv", trained.decoder, trained.logits, ids, groups, targets)
        write_json_lines(folder / "metrics.jsonl", trained.curve)
        if self.keeps_model:
            weights = {
                f"{part}.{name}": value.detach().cpu().contiguous()
                for part, module in (("encoder", trained.encoder), ("head", trained.head))
                for name, value in module.state_dict().items()
            }
            write_atomically(folder / "model.safetensors", lambda file: file.write(save(weights)))
        scores = score(trained.decoder, trained.logits, targets)
        write_json(folder / "result.json", {**self.coordinates, **scores, "cell": self.cell_id})
        seal(folder, self._files)

    def _move_into_place(self, scratch: Path) -> None:
        try:
            scratch.rename(self.folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise StorageError.of(self.folder, error) from error
            if self.done:  # another process was first: its results are the same
                return
            shutil.rmtree(self.folder)  # of a cell that was damaged
            scratch.rename(self.folder)
        flush_folder(self.folder.parent)
