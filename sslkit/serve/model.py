"""What grades, and what may be told of it."""

from __future__ import annotations

import csv
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sslkit import __version__

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sslkit.data.preprocessing import Preprocessing
    from sslkit.experiment.graded import Graded


class Grader(Protocol):
    """What the page needs of a [Predictor][sslkit.experiment.prediction.Predictor]."""

    preprocessing: Preprocessing
    threshold: float | None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K grades, in their order."""

    @property
    def referable_name(self) -> str | None:
        """What the positive answer of the head's binary question is called; None where it has none."""

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Where a prepared photograph shows something; None: everywhere."""

    def grade(self, content: bytes, name: str, *, cam: bool = False) -> Graded:
        """Grade one image from memory."""


@dataclass(frozen=True)
class ServedModel:
    """The models of a run or of an exported directory, and how they are called.

    Attributes:
        grader: what grades.
        name: of the run.
        num_models: whose answers are averaged.
        arm: such as ``"pretrained"``; None where nothing says.
        pretext: the pretext task; None where there was none.
    """

    grader: Grader
    name: str
    num_models: int
    arm: str | None = None
    pretext: str | None = None

    @classmethod
    def open(cls, path: Path, *, arm: str | None = None, pretext: str | None = None) -> ServedModel:
        """Load the models of a run, or of a directory that was exported from one.

        Raises:
            RunDirectoryError: if there is neither, or the run does not keep the arm's models.
        """
        from sslkit.experiment.exported import is_exported, read_table
        from sslkit.experiment.kept_models import load_run_config, model_folders
        from sslkit.experiment.prediction import Predictor
        from sslkit.experiment.run_directory import RunDirectory
        from sslkit.registry import build_registry

        predictor = Predictor.open(path, build_registry(), arm=arm, pretext=pretext)
        if is_exported(path):
            table = read_table(path)
            return cls(predictor, table.run, len(predictor.models), table.arm, table.pretext or None)
        directory = RunDirectory(path)
        config = load_run_config(directory)
        cell = model_folders(directory, config.evaluation.folds, arm, pretext)[0].name
        with directory.results.open(newline="", encoding="utf-8") as file:
            row = next(row for row in csv.DictReader(file) if row["cell"] == cell)
        return cls(predictor, config.name, len(predictor.models), row["arm"], row["pretext"] or None)

    @property
    def described(self) -> str:
        """The models in a few words."""
        count = "1 model" if self.num_models == 1 else f"the mean of {self.num_models} models"
        of = " on ".join(part for part in (self.arm, self.pretext) if part)
        return f"{count} ({of})" if of else count

    def facts(self) -> dict[str, Any]:
        """Return what ``GET /api/model`` tells of the models."""
        preprocessing = self.grader.preprocessing
        packages = ("torch", "torchvision", "timm", "numpy", "pillow")
        return {
            "run": self.name,
            "arm": self.arm,
            "pretext": self.pretext,
            "models": self.num_models,
            "classes": list(self.grader.class_names),
            "referable": None
            if self.grader.referable_name is None
            else {"name": self.grader.referable_name, "threshold": self.grader.threshold},
            "preprocessing": {
                "size": preprocessing.size,
                "crop": preprocessing.crop,
                "max_pixels": preprocessing.max_pixels,
            },
            "versions": {
                "sslkit": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in packages},
            },
        }
