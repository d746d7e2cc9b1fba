"""A network from wherever it is: from a run directory or from an exported one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.networks import Encoder
from sslkit.engine.precision import Compute
from sslkit.errors import RunDirectoryError
from sslkit.experiment.export_format import ExportTable
from sslkit.experiment.exported import format_of, holds_run, read_exported, read_table
from sslkit.experiment.file_format import FileFormat
from sslkit.experiment.run_weights import Weights, load_run_weights
from sslkit.experiment.study import Study
from sslkit.files import read_file
from sslkit.printable import shown
from sslkit.registry import Registry


@dataclass(frozen=True)
class Opened:
    """A network that turns prepared images into representations.

    Attributes:
        encoder: the network behind its normalisation, in eval mode.
        preprocessing: what an image must go through first.
        study: of a run; None of an exported directory, which does not know the run's images.
        files: which files hold images.
        about: the run's name, which weights they are, of which task, fold and arm.
    """

    encoder: Encoder
    preprocessing: Preprocessing
    study: Study | None
    files: FileFormat
    about: dict[str, Any]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Endings of what counts as an image in a folder; a run's data set may have a format of its own."""
        return self.files.suffixes

    def read(self, path: Path) -> npt.NDArray[np.uint8]:
        """Return the pixels of a file, uint8 (size, size, 3), that the encoder takes."""
        content = read_file(path)
        return self.preprocessing.apply(content if self.files.decode is None else self.files.decode(content))


def open_weights(
    path: Path,
    registry: Registry,
    compute: Compute,
    *,
    fold: int = 0,
    weights: Weights = "pretrained",
    pretext: str | None = None,
    arm: str | None = None,
) -> Opened:
    """Return a network from a run directory or an exported one.

    Args:
        path: the directory.
        registry: the installed plugins.
        compute: device and precision.
        fold: of a run: whose test images the weights must not have seen.
        weights: of a run: those of the pretext task, or those that were then trained on labels.
        pretext: of a run: of which task; needed only where there are several.
        arm: of a run: of finetuned weights; by default ``pretrained``.

    Raises:
        RunDirectoryError: if there is neither, or it has no such weights.
    """
    if holds_run(path):
        chosen = load_run_weights(path, registry, compute, fold=fold, weights=weights, pretext=pretext, arm=arm)
        about = {
            "run": chosen.study.config.name,
            "weights": chosen.weights,
            "pretext": chosen.pretext,
            "fold": chosen.fold,
            "arm": chosen.arm,
        }
        files = FileFormat.of(chosen.study.dataset.info, chosen.study.config.images.max_pixels)
        return Opened(chosen.encoder, chosen.study.preprocessing, chosen.study, files, about)
    table = read_table(path)
    _refuse_another_choice(path, table, fold, weights, pretext, arm)
    model = read_exported(path, registry, compute)
    about = {name: getattr(table, name) for name in ("run", "weights", "pretext", "fold", "arm")}
    return Opened(model.encoder, model.preprocessing, None, format_of(path, table, registry), about)


def _refuse_another_choice(
    path: Path, table: ExportTable, fold: int, weights: Weights, pretext: str | None, arm: str | None
) -> None:
    """Refuse a choice other than what was exported; the defaults are no choice."""
    asked = {
        "fold": (fold, 0, table.fold),
        "weights": (weights, "pretrained", table.weights),
        "pretext": (pretext, None, table.pretext),
        "arm": (arm, None, table.arm),
    }
    for name, (given, default, there) in asked.items():
        if given not in (default, there):
            has = "none" if there is None else shown(str(there))
            raise RunDirectoryError(
                f"{path} holds exported weights of {name} {has}, not {shown(str(given))}; export those from the run, "
                f"or leave --{name} out"
            )
