"""Writes a network as ONNX, normalisation inside, and holds it against torch before it is left to anybody."""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sslkit.data.normalization import normalize
from sslkit.engine.networks import representation
from sslkit.errors import DataError, PluginError, WeightsError
from sslkit.experiment.run_weights import RunWeights
from sslkit.experiment.study import Study
from sslkit.files import write_atomically
from sslkit.printable import abbreviate

_CLOSE = 1e-4
"""How far model.onnx may be from torch, relative to the largest output where that is above 1."""
_NUM_REAL = 3

Output = Literal["features", "logits", "probabilities"]


class _Graph(nn.Module):
    """From prepared images, uint8 (N, 3, H, W), to what a head makes of them, or to their representation."""

    def __init__(self, chosen: RunWeights, output: Output) -> None:
        super().__init__()
        self.backbone = chosen.encoder.backbone
        self.head = chosen.head
        self.mean, self.std, self.output = chosen.encoder.mean, chosen.encoder.std, output

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = representation(self.backbone, normalize(images, self.mean, self.std)).float()
        if self.head is None:
            return features
        logits: torch.Tensor = self.head(features)
        return self.head.predict(logits).probabilities if self.output == "probabilities" else logits


def require_onnx() -> None:
    """Refuse to go on where the extra is not installed.

    Raises:
        PluginError: saying what to install.
    """
    try:
        import onnx  # noqa: F401 - asked for before anything is computed
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise PluginError(f"--onnx needs {error.name}, which is not installed: pip install 'sslkit[onnx]'") from None


def write_onnx(chosen: RunWeights, path: Path) -> tuple[Output, float]:
    """Write model.onnx, and return what it puts out and its largest difference from torch.

    Input ``images``: uint8 (N, 3, H, W), any N. Output: ``features`` (N, D) of pretrained weights; of finetuned ones
    ``probabilities`` (N, K), or ``logits`` where ONNX cannot express what decodes them.

    Raises:
        WeightsError: if torch cannot export the network, or what onnxruntime makes of it differs.
    """
    size = chosen.study.config.images.size
    outputs: list[Output] = ["features"] if chosen.head is None else ["probabilities", "logits"]
    for output in outputs:
        graph = _Graph(chosen, output).cpu().eval()
        try:
            model = _convert(graph, size, output)
            break
        except Exception as error:  # the exporter's errors have no common root, and a plugin's network raises its own
            if output == outputs[-1]:
                raise WeightsError(
                    f"torch {torch.__version__} cannot export the backbone {chosen.study.backbone.name!r} to ONNX, and "
                    f"nothing was written: {_gist(error)} Export it without --onnx"
                ) from error
    _describe(model, chosen, output)
    write_atomically(path, lambda file: file.write(model.SerializeToString()))
    difference = _largest_difference(graph, path, [_noise(size), *_real_images(chosen.study)])
    return output, difference


def _convert(graph: _Graph, size: int, output: Output) -> Any:
    import onnx_ir  # what onnxscript is made of

    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    with _silent(), torch.no_grad():
        program = torch.export.export(graph, (example,), dynamic_shapes={"images": {0: torch.export.Dim("N", min=1)}})
        exported = torch.onnx.export(program, input_names=["images"], output_names=[output], verbose=False)
    assert exported is not None
    for values in (exported.model.graph.inputs, exported.model.graph.outputs):
        for value in values:
            assert value.shape is not None
            value.shape = onnx_ir.Shape(["N", *list(value.shape)[1:]])
    return exported.model_proto


def _describe(model: Any, chosen: RunWeights, output: Output) -> None:
    images = chosen.study.config.images
    said = {"output": output, "size": str(images.size), "crop": images.crop, "channels": "RGB, uint8, (N, 3, H, W)"}
    if chosen.head is not None:
        said["class_names"] = json.dumps(list(chosen.head.class_names))
    for key, value in said.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def _largest_difference(graph: _Graph, path: Path, batches: list[npt.NDArray[np.uint8]]) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    try:
        session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        answers = [session.run(None, {"images": batch})[0] for batch in batches]
    except Exception as error:  # onnxruntime's errors have no common root
        raise WeightsError(f"onnxruntime cannot run what torch exported, and nothing was written: {error}") from error
    largest = 0.0
    for batch, answer in zip(batches, answers, strict=True):
        with torch.inference_mode():
            wanted = graph(torch.from_numpy(batch)).numpy()
        difference = float(np.abs(answer - wanted).max()) if answer.shape == wanted.shape else float("inf")
        if not difference <= _CLOSE * max(1.0, float(np.abs(wanted).max())):
            raise WeightsError(
                f"model.onnx gives {graph.output} that differ from torch's by up to {difference:.2g}, more than "
                f"{_CLOSE:g}, and nothing was written. Export without --onnx"
            )
        largest = max(largest, difference)
    return largest


def _noise(size: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 3, size, size), dtype=np.uint8)


def _real_images(study: Study) -> list[npt.NDArray[np.uint8]]:
    """Return a few of the run's images, each a batch of one; none where they are not at hand any more."""
    found = []
    try:
        dataset = study.make_dataset()
        for record in islice(dataset.records(), _NUM_REAL):
            pixels = study.preprocessing.apply(dataset.read(record))
            found.append(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
    except (DataError, PluginError, OSError):
        pass
    return found


def _gist(error: BaseException) -> str:
    """Return the one line of the exporter's long story that says what it could not do."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {abbreviate(next(iter(str(error).splitlines()), ''), 300)}."


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the exporter's warnings, logs and prints, which are about itself, from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
