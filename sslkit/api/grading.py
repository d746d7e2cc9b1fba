"""Images graded by what a run has trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from sslkit.api.given import Plugins, chosen_registry
from sslkit.experiment.graded import GradedImage
from sslkit.experiment.prediction import Predictor
from sslkit.experiment.trained_models import find_images
from sslkit.registry import Registry


def predict(
    model: str | Path,
    images: str | Path | Iterable[str | Path],
    *,
    arm: str | None = None,
    pretext: str | None = None,
    image_column: str = "image",
    root: str | Path | None = None,
    cam: str | Path | None = None,
    registry: Registry | None = None,
    plugins: Plugins = (),
) -> Iterator[GradedImage]:
    """Grade images with the models of a run, one a fold, averaged; or with a model that was exported.

    Answers come one by one, in constant memory. One file may be answered more than once, if it is named so.

    Args:
        model: a run that has finished, or what ``sslkit export ... --weights finetuned`` wrote.
        images: image files; folders, of which all image files in and below are taken; patterns, such as
            ``"scans/**/*.jpg"``; tables of paths (``.csv``, ``.tsv``, ``.parquet``). An image that cannot be read is
            answered with an error, and the rest are graded.
        arm: whose models of a run; by default ``pretrained``.
        pretext: of which pretext task; needed only where the run has several.
        image_column: of a table, the column of the paths.
        root: what paths in a table are relative to; by default the table's folder.
        cam: a folder for a picture of each image, and of where the evidence for its grade lies.
        registry: the plugins; by default those that are installed.
        plugins: more of them: classes of the program itself, which no distribution announces.

    Raises:
        sslkit.errors.RunDirectoryError: if there is no such run, or it does not keep the arm's models.
        sslkit.errors.DataError: if a folder or a pattern gives no image, or a table cannot be read. Of images that are
            given as an iterator this is told when their turn comes.
    """
    registry = chosen_registry(registry, plugins)
    model, folder = Path(model), None if root is None else Path(root)
    if isinstance(images, str | Path):
        images = [images]
    files: Iterable[Path]
    if isinstance(images, Sequence):
        files = find_images(model, images, registry, image_column=image_column, root=folder)
        files.count()
    else:
        found = (find_images(model, [one], registry, image_column=image_column, root=folder) for one in images)
        files = chain.from_iterable(found)
    predictor = Predictor.open(model, registry, arm=arm, pretext=pretext)
    return predictor.predict(files, cam=None if cam is None else Path(cam))
