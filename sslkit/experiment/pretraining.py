"""One pretraining: a pretext task trains the backbone on images without their labels."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.checksums import flaws
from sslkit.engine.distributed import Team
from sslkit.experiment.data_parallel import supervise
from sslkit.experiment.pretraining_loop import FILES, PretrainingLoop
from sslkit.experiment.recipe import Configured, Recipe, digest
from sslkit.experiment.recipe_job import RecipeJob
from sslkit.experiment.view_stream import ViewStream
from sslkit.files import make_folder
from sslkit.interfaces import Reporter
from sslkit.interfaces.movable_job import add_to_folder


@dataclass(frozen=True)
class PretrainingJob(RecipeJob):
    """A pretext task's pretraining for one fold, or on all images.

    Attributes:
        recipe: what all jobs share.
        task: the pretext task.
        fold: the fold whose test images it must not see; None: all images.
        rows: the images that it sees.
        probe_rows: the labelled images that probe its representation: those of the smallest share of labels.
    """

    recipe: Recipe
    task: Configured
    fold: int | None
    rows: npt.NDArray[np.int64]
    probe_rows: npt.NDArray[np.int64]
    after: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to workers: of all names those of the images that probe it; and what it is called."""
        return {**self.__dict__, "identity": self.identity, "recipe": self.recipe.with_names_of(self.probe_rows)}

    @cached_property
    def identity(self) -> str:
        """A digest of all that the weights depend on."""
        recipe, settings = self.recipe, self.recipe.pretraining
        parts = {
            **recipe.common_identity(),
            "task": self.task.identity(),
            "pretraining": settings.model_dump(mode="json", exclude={"images", "probe_every", "keep"}),
            "fold": self.fold,
            "rows": self.rows,
        }
        if settings.keep == "best":
            groups = [recipe.groups[row] for row in self.probe_rows]
            parts["kept"] = [settings.probe_every, self.probe_rows, recipe.grades[self.probe_rows], groups]
        if self.processes > 1 and not recipe.sync_batchnorm:
            parts["processes"] = self.processes
        return digest(parts)

    @property
    def id(self) -> str:
        """The job's name in the run."""
        return f"pretraining/{self.task.info.name}/{self.folder.name}"

    @property
    def views(self) -> ViewStream:
        """What the task is shown, update by update."""
        return ViewStream(self.recipe, self.task, self.fold, self.rows)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.recipe.directory.pretraining(self.task.info.name, self.fold)

    @property
    def log(self) -> Path:
        """One line an epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def cost(self) -> float:
        """Images through a forward and a backward pass, which counts two; how many views a task makes is left out."""
        return 3.0 * self.recipe.pretraining.epochs * len(self.rows)

    @property
    def processes(self) -> int:
        """How many processes carry it out together."""
        return self.recipe.processes

    @property
    def checkpoint(self) -> Path:
        """What it has come to, if it was stopped."""
        return self.folder / "last.ckpt"

    @property
    def reads(self) -> tuple[Path, ...]:
        """Files that it reads: its checkpoint, where there is one."""
        return (self.checkpoint,) if self.checkpoint.is_file() else ()

    def moved(self, run: Path, cache: Path) -> PretrainingJob:
        """Return the same pretraining for another run directory and folder of caches."""
        moved = replace(self, recipe=self.recipe.moved(run, cache))
        vars(moved)["identity"] = self.identity  # files among the options are not read again
        return moved

    def adopt(self, results: Path) -> None:
        """Put the weights in their place, or the checkpoint of a pretraining that was stopped."""
        self.recipe.directory.require()
        add_to_folder(self.folder, results)

    @property
    def done(self) -> bool:
        """Whether its weights stand as they were written, and are the weights of this very job."""
        if self.flaws():
            return False
        try:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
            return bool(config["sslkit"]["job"] == self.identity)
        except (ValueError, RecursionError, TypeError, KeyError):  # sealed by somebody else
            return False

    def flaws(self) -> list[str]:
        """Return what is wrong with its folder, a sentence each."""
        return flaws(self.folder, FILES)

    def execute(self, report: Reporter) -> None:
        """Pretrain, from the last checkpoint where there is one, and write the backbone's weights.

        Where several processes are asked for, and this is not one that has joined the others already, it starts them
        and looks after them.
        """
        if Team.present().leads:
            self.recipe.directory.require()
            make_folder(self.folder)
        if self.processes != Team.present().size:
            supervise(self, self.recipe.compute, self._modules(), report)
            return
        self.recipe.compute.prepare_process()
        PretrainingLoop(self, report).run()

    def _modules(self) -> list[str]:
        plugins = (self.recipe.backbone, *self.task.with_parts())
        return sorted({plugin.info.cls.__module__ for plugin in plugins})
