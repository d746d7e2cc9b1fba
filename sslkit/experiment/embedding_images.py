"""Runs images through a network: a run's own, from their cache, or files."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sslkit.data.cache import build_cache
from sslkit.data.cache_root import default_cache_root
from sslkit.engine.networks import Encoder, batches_of, check_outputs, encode_rows
from sslkit.errors import DataError, RunDirectoryError
from sslkit.experiment.embedding import Embedding
from sslkit.experiment.environment import available_cores, num_decoders, process_context
from sslkit.experiment.file_format import attempt
from sslkit.experiment.opening import Opened
from sslkit.experiment.plan import make_manifest
from sslkit.experiment.run_directory import RunDirectory
from sslkit.experiment.study import Study
from sslkit.printable import shown

Told = Callable[[str, int, int], None]
"""Hears of progress: what is being done, how many images are done, of how many."""

_BATCH = 64
_MOST_THREADS = 16


def embed_run(opened: Opened, study: Study, directory: RunDirectory, told: Told) -> Embedding:
    """Return the representations of a run's own images, in the data set's order.

    Args:
        opened: the network.
        study: of the run.
        directory: of the run.
        told: hears of progress.

    Raises:
        RunDirectoryError: if the data set is not that of the run any more.
    """
    manifest = make_manifest(study)
    images = study.config.images
    cache = build_cache(
        study.make_dataset(),
        manifest.records,
        study.preprocessing,
        root=images.cache or default_cache_root(),
        workers=num_decoders(study.config.compute.workers),
        context=process_context(study.modules()),
        progress=lambda done, total: told("decoding", done, total),
    )
    fold_of = _read_folds(directory)
    kept = manifest.without(
        {*cache.unreadable, *(row for row, record in enumerate(manifest.records) if record.id not in fold_of)}
    )
    _refuse_other_images(directory, {record.id for record in kept.records}, fold_of, len(manifest))
    features = _array(len(kept), opened.encoder)
    pixels = cache.open()
    for part in batches_of(np.arange(len(kept)), _BATCH):
        features[part] = encode_rows(opened.encoder, pixels, kept.rows[part]).cpu().numpy()
        told("embedding", int(part[-1]) + 1, len(kept))
    return Embedding(
        ids=tuple(record.id for record in kept.records),
        features=features,
        grades=kept.grades,
        groups=tuple(kept.group_names[group] for group in kept.groups),
        folds=np.array([fold_of[record.id] for record in kept.records], dtype=np.int64),
        class_names=tuple(study.make_head().class_names),
        about=opened.about,
        unreadable={manifest.records[row].id: reason for row, reason in cache.unreadable.items()},
    )


def embed_files(opened: Opened, paths: Sequence[Path], told: Told) -> Embedding:
    """Return the representations of image files; those that cannot be read are named, and have no row.

    Args:
        opened: the network.
        paths: the files.
        told: hears of progress.

    Raises:
        DataError: if there is no file, or none can be read.
    """
    if not paths:
        raise DataError("there is no image to embed; give files, or folders that hold some")
    features = _array(len(paths), opened.encoder)
    ids: list[str] = []
    unreadable: dict[str, str] = {}
    done = 0
    for batch in _decoded(paths, opened):
        readable = [(path, pixels) for path, pixels in batch if not isinstance(pixels, str)]
        unreadable |= {str(path): pixels for path, pixels in batch if isinstance(pixels, str)}
        if readable:
            features[len(ids) : len(ids) + len(readable)] = _encode(opened.encoder, [pixels for _, pixels in readable])
            ids += [str(path) for path, _ in readable]
        done += len(batch)
        told("embedding", done, len(paths))
    if not ids:
        path, reason = next(iter(unreadable.items()))
        raise DataError(f"none of the {len(paths)} images can be read; the first: {path}: {reason}")
    unknown = np.full(len(ids), -1, dtype=np.int64)
    return Embedding(
        ids=tuple(ids),
        features=features[: len(ids)],
        grades=unknown,
        groups=("",) * len(ids),
        folds=unknown.copy(),
        about=opened.about,
        unreadable=unreadable,
    )


def _array(count: int, encoder: Encoder) -> npt.NDArray[np.float32]:
    width: Any = encoder.backbone.head_hidden_size
    return np.empty((count, width), dtype=np.float32)


def _encode(encoder: Encoder, images: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        features: torch.Tensor = encoder(encoder.compute.send(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)))
    check_outputs(features, "representation")
    result: npt.NDArray[np.float32] = features.cpu().numpy()
    return result


def _decoded(paths: Iterable[Path], opened: Opened) -> Iterator[list[tuple[Path, npt.NDArray[np.uint8] | str]]]:
    """Yield batches of decoded files, or of reasons why they cannot be read; threads are a batch ahead."""
    paths = iter(paths)
    ahead: deque[list[tuple[Path, Future[Any]]]] = deque()
    with ThreadPoolExecutor(min(available_cores(), _MOST_THREADS)) as pool:
        try:
            while True:
                while len(ahead) < 2 and (batch := list(islice(paths, _BATCH))):
                    ahead.append([(path, pool.submit(attempt, partial(opened.read, path))) for path in batch])
                if not ahead:
                    return
                yield [(path, future.result()) for path, future in ahead.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read_folds(directory: RunDirectory) -> dict[str, int]:
    """Return the test fold of each image of a run; -1 where no fold tests it."""
    try:
        fold_of = json.loads(directory.splits.read_text(encoding="utf-8"))["fold_of"]
        return {str(name): int(fold) for name, fold in fold_of.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunDirectoryError(
            f"{directory.splits} cannot be read ({type(error).__name__}: {error}); the command of the run, given "
            "again, writes it anew"
        ) from None


def _refuse_other_images(directory: RunDirectory, ids: set[str], fold_of: dict[str, int], count: int) -> None:
    if absent := [name for name in fold_of if name not in ids]:
        raise RunDirectoryError(
            f"the data set of {directory.root} is not what it was: {len(absent)} of its {len(fold_of)} images are gone "
            f"or cannot be read any more, such as {shown(absent[0])} ({count} are there now); give the images as "
            "arguments, or bring the data set back"
        )
