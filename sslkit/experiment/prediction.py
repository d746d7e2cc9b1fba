"""Grades images with the models of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sslkit.data.cropping import circular_mask
from sslkit.data.preprocessing import Preprocessing
from sslkit.engine.grad_cam import class_direction, grad_cam, heat_layer, spread_heat
from sslkit.engine.heads import decode, logits_of
from sslkit.engine.networks import Encoder
from sslkit.engine.precision import Compute
from sslkit.experiment.environment import available_cores
from sslkit.experiment.file_format import Decode, attempt
from sslkit.experiment.graded import Graded, GradedImage
from sslkit.experiment.heat import overlay, write_picture
from sslkit.experiment.trained_models import open_models
from sslkit.files import make_folder, read_file
from sslkit.interfaces import DownstreamHead
from sslkit.registry import Registry

__all__ = ["Graded", "GradedImage", "Predictor", "overlay"]

_PIXELS_AT_ONCE = 12 * 224**2
"""Of a batch on the CPU, where larger ones only take more memory; an accelerator gets eight times as many."""

_MOST_WORKERS = 16
"""Threads that hold a batch each."""


class Predictor:
    """Models whose logits are averaged; a run has one a fold.

    Args:
        preprocessing: what the models' training images went through.
        models: encoders and heads, which are put into eval mode and are not trained any more.
        head: decodes the averaged logits.
        compute: device and precision.
        threshold: from which probability of a referable grade an image is called referable; None: no call is made.
        decode: turns the bytes of a file into those of an image file, or into pixels, as the data set that the models
            were trained on does.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        models: Sequence[tuple[Encoder, DownstreamHead[Any]]],
        head: DownstreamHead[Any],
        compute: Compute,
        *,
        threshold: float | None = None,
        decode: Decode | None = None,
    ) -> None:
        self.preprocessing, self.models, self.head, self.compute = preprocessing, models, head, compute
        self.threshold, self.decode = threshold, decode
        for module in (module for pair in models for module in pair):
            module.eval().requires_grad_(False)
        # Batches of several threads would fill an accelerator's memory.
        self._turn: AbstractContextManager[object] = nullcontext() if compute.family == "cpu" else Lock()

    @classmethod
    def open(cls, path: Path, registry: Registry, *, arm: str | None = None, pretext: str | None = None) -> Predictor:
        """Return the models of a run, or of a directory that was exported from one.

        Args:
            path: a run that has finished, or what ``sslkit export ... --weights finetuned`` wrote.
            registry: the installed plugins.
            arm: whose models of a run to use; by default ``pretrained``, or the first arm that keeps models.
            pretext: of which pretext task; needed only where the run has several.

        Raises:
            RunDirectoryError: if there is neither, or the run does not keep a model of the arm for every fold.
        """
        found = open_models(path, registry, arm=arm, pretext=pretext)
        return cls(
            found.preprocessing,
            found.models,
            found.head,
            found.compute,
            threshold=found.threshold,
            decode=found.decode,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of their grades."""
        return tuple(self.head.class_names)

    @property
    def referable_name(self) -> str | None:
        """What images of a grade from the head's ``positive_from`` on are called; None where it has none."""
        return None if self.head.positive_from is None else "referable"

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Where a prepared image shows something, bool (S, S); None: everywhere."""
        return circular_mask(self.preprocessing.size) if self.preprocessing.crop == "fundus" else None

    def predict(self, paths: Iterable[Path], *, cam: Path | None = None) -> Iterator[GradedImage]:
        """Yield an answer for each image file, in order and in constant memory.

        Threads decode batches and pass them through the models: on the CPU each in one thread of computation, which
        does more images a second than one batch in all of them; on an accelerator one batch at a time.

        Args:
            paths: the files.
            cam: a folder, made where it is missing, for a picture of each image with its heat.
        """
        grade = partial(self._grade_files, cam=None if cam is None else self._prepare_pictures(cam))
        return self._in_threads(iter(paths), grade)

    def grade(self, content: bytes, name: str, *, cam: bool = False) -> Graded:
        """Return the answer for one image that is in memory, with what the models saw of it.

        Args:
            content: the bytes of its file.
            name: what the answer calls it.
            cam: whether to compute the heat as well.

        Raises:
            PluginError: if there can be no heat for this backbone; a file that is no image is no error but an answer.
        """
        (graded,) = self._grade([name], [partial(self._prepare, content)], cam=cam)
        return graded

    def _in_threads(
        self, paths: Iterator[Path], grade: Callable[[Sequence[Path]], list[GradedImage]]
    ) -> Iterator[GradedImage]:
        cores, before = available_cores(), torch.get_num_threads()
        workers = min(cores, _MOST_WORKERS)
        waiting: deque[Future[list[GradedImage]]] = deque()
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(cores // workers,)) as pool:
            try:
                while True:
                    while len(waiting) <= workers and (batch := list(islice(paths, self.batch_size))):
                        waiting.append(pool.submit(grade, batch))
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

    def _grade_files(self, paths: Sequence[Path], cam: Path | None) -> list[GradedImage]:
        names = [str(path) for path in paths]
        graded = self._grade(names, [partial(self._read, path) for path in paths], cam=cam is not None)
        if cam is not None:
            for path, one in zip(paths, graded, strict=True):
                write_picture(cam, path, one, self.mask)
        return [one.answer for one in graded]

    def _read(self, path: Path) -> npt.NDArray[np.uint8]:
        return self._prepare(read_file(path))

    def _prepare(self, content: bytes) -> npt.NDArray[np.uint8]:
        return self.preprocessing.apply(content if self.decode is None else self.decode(content))

    def _grade(
        self, names: Sequence[str], reads: Sequence[Callable[[], npt.NDArray[np.uint8]]], *, cam: bool
    ) -> list[Graded]:
        squares = [attempt(read) for read in reads]
        readable = [square for square in squares if not isinstance(square, str)]
        answers = iter(self._classify(np.stack(readable), cam) if readable else [])
        graded = []
        for name, square in zip(names, squares, strict=True):
            if isinstance(square, str):
                graded.append(Graded(GradedImage(name, error=square)))
            else:
                answer, heat = next(answers)
                graded.append(Graded(replace(answer, image=name), square, heat))
        return graded

    def _classify(
        self, squares: npt.NDArray[np.uint8], cam: bool
    ) -> list[tuple[GradedImage, npt.NDArray[np.float32] | None]]:
        """Return an answer without a name, and the heat if it is asked for, of each square (N, S, S, 3)."""
        with self._turn:
            images = self.compute.send(torch.from_numpy(squares).permute(0, 3, 1, 2))
            with torch.inference_mode():
                each = [logits_of(head, encoder(images)).float().cpu() for encoder, head in self.models]
            logits = torch.stack(each).mean(0)
            prediction = decode(self.head, logits)
            heats = self._heat(images, logits, prediction.classes) if cam else [None] * len(squares)
        return [
            (self._answer(grade, shares), heat)
            for grade, shares, heat in zip(
                prediction.classes.tolist(), prediction.probabilities.tolist(), heats, strict=True
            )
        ]

    def _answer(self, grade: int, shares: Sequence[float]) -> GradedImage:
        names, positive_from = self.class_names, self.head.positive_from
        referable = probability = None
        if positive_from is not None:
            probability = min(sum(shares[positive_from:]), 1.0)
            referable = None if self.threshold is None else probability >= self.threshold
        by_name = dict(zip(names, shares, strict=True))
        return GradedImage("", grade, names[grade], by_name, referable, probability)

    def _heat(self, images: torch.Tensor, logits: torch.Tensor, classes: torch.Tensor) -> list[npt.NDArray[np.float32]]:
        """Return the mean of the models' heat, float32 (S, S) each.

        Each model's is divided by its own maximum first: feature maps of networks that were trained apart have no
        common scale, and the largest would decide alone. All are asked about the grade that they give together, and
        in the direction in which their mean logits move it.
        """
        directions = class_direction(self.head, logits, classes)
        heats = [
            spread_heat(grad_cam(encoder, head, images, directions, layer=layer), self.preprocessing.size, self.mask)
            for (encoder, head), layer in zip(self.models, self._layers, strict=True)
        ]
        return list(np.mean(heats, axis=0, dtype=np.float32))

    @cached_property
    def _layers(self) -> list[str]:
        return [heat_layer(encoder, head, self.preprocessing.size) for encoder, head in self.models]

    def _prepare_pictures(self, folder: Path) -> Path:
        """Refuse a backbone that gives no heat before anything is graded, and make the folder."""
        _ = self._layers
        make_folder(folder)
        return folder
