"""Grades images with the models of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.heads import decode, logits_of
from sslkit.engine.networks import Encoder
from sslkit.engine.precision import Compute, resolve_compute
from sslkit.errors import DataError
from sslkit.experiment.environment import available_cores
from sslkit.experiment.kept_models import average_decoding, load_model, load_run_config, model_folders
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import resolve
from sslkit.files import read_file
from sslkit.interfaces import DownstreamHead
from sslkit.registry import Registry

_PIXELS_AT_ONCE = 12 * 224**2
"""Of a batch on the CPU, where larger ones only take more memory; an accelerator gets eight times as many."""

_MOST_WORKERS = 16
"""Threads that hold a batch each."""


@dataclass(frozen=True)
class GradedImage:
    """The answer for one image.

    Attributes:
        image: the file.
        grade: in 0..K-1; None where the image could not be read.
        grade_name: its name.
        probabilities: one a class, by name.
        error: why the image could not be read.
    """

    image: str
    grade: int | None = None
    grade_name: str | None = None
    probabilities: dict[str, float] | None = None
    error: str | None = None


class Predictor:
    """Models whose logits are averaged; a run has one a fold.

    Args:
        preprocessing: what the models' training images went through.
        models: encoders and heads, which are put into eval mode.
        head: decodes the averaged logits.
        compute: device and precision.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        models: Sequence[tuple[Encoder, DownstreamHead[Any]]],
        head: DownstreamHead[Any],
        compute: Compute,
    ) -> None:
        self.preprocessing, self.models, self.head, self.compute = preprocessing, models, head, compute
        for encoder, own_head in models:
            encoder.eval()
            own_head.eval()
        # Batches of several threads would fill an accelerator's memory.
        self._turn: AbstractContextManager[object] = nullcontext() if compute.family == "cpu" else Lock()

    @classmethod
    def from_run(
        cls, run_directory: Path, registry: Registry, arm: str | None = None, pretext: str | None = None
    ) -> Predictor:
        """Return the models of a run.

        Args:
            run_directory: a run that has finished.
            registry: the installed plugins.
            arm: whose models to use; by default ``pretrained``, or the first arm that keeps models.
            pretext: of which pretext task; needed only where the run has several.

        Raises:
            RunDirectoryError: if there is no such run, or it does not keep a model of the arm for every fold.
        """
        directory = RunDirectory(run_directory)
        config = load_run_config(directory)
        study = resolve(config, registry)
        # Not the run's own device, nor fp16, which this machine may not have.
        precision = config.compute.precision if config.compute.precision != "fp16" else "auto"
        compute = resolve_compute("auto", precision, False)
        folders = model_folders(directory, config.evaluation.folds, arm, pretext)
        models = [load_model(study, folder, compute) for folder in folders]
        return cls(study.preprocessing, models, average_decoding([head for _, head in models], folders), compute)

    def predict(self, paths: Iterable[Path]) -> Iterator[GradedImage]:
        """Yield an answer for each image file, in order and in constant memory.

        Threads decode batches and pass them through the models: on the CPU each in one thread of computation, which
        does more images a second than one batch in all of them; on an accelerator one batch at a time.
        """
        paths = iter(paths)
        cores, before = available_cores(), torch.get_num_threads()
        workers = min(cores, _MOST_WORKERS)
        waiting: deque[Future[list[GradedImage]]] = deque()
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(cores // workers,)) as pool:
            try:
                while True:
                    while len(waiting) <= workers and (batch := list(islice(paths, self.batch_size))):
                        waiting.append(pool.submit(self._grade, batch))
                    if not waiting:
                        break
                    yield from waiting.popleft().result()
            finally:
                for unwanted in waiting:
                    unwanted.cancel()
                torch.set_num_threads(before)  # what a thread of the pool sets is in part set for all

    @property
    def batch_size(self) -> int:
        """Images that pass through the models at once."""
        pixels = _PIXELS_AT_ONCE * (1 if self.compute.family == "cpu" else 8)
        return min(64, max(1, pixels // self.preprocessing.size**2))

    def _grade(self, paths: Sequence[Path]) -> list[GradedImage]:
        images = [self._read(path) for path in paths]
        readable = [pixels for pixels in images if not isinstance(pixels, str)]
        answers = iter(self._classify(np.stack(readable)) if readable else [])
        return [
            GradedImage(str(path), error=pixels) if isinstance(pixels, str) else GradedImage(str(path), *next(answers))
            for path, pixels in zip(paths, images, strict=True)
        ]

    def _read(self, path: Path) -> npt.NDArray[np.uint8] | str:
        try:
            return self.preprocessing.apply(read_file(path))
        except (DataError, OSError) as error:
            return str(error)

    def _classify(self, pixels: npt.NDArray[np.uint8]) -> list[tuple[int, str, dict[str, float]]]:
        with self._turn, torch.inference_mode():
            images = self.compute.send(torch.from_numpy(pixels).permute(0, 3, 1, 2))
            logits = [logits_of(head, encoder(images)).float().cpu() for encoder, head in self.models]
        prediction = decode(self.head, torch.stack(logits).mean(0))
        names = self.head.class_names
        return [
            (grade, names[grade], dict(zip(names, shares, strict=True)))
            for grade, shares in zip(prediction.classes.tolist(), prediction.probabilities.tolist(), strict=True)
        ]
