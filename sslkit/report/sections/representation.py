"""The section that shows the features of images on a plane, where they were given."""

from __future__ import annotations

from sslkit.report.figures import Drawing
from sslkit.report.figures.representation import draw_representation
from sslkit.report.markup import NOTHING, Markup, element, join
from sslkit.report.projection import ProjectionFile, read_projection
from sslkit.report.sections.figures import figure
from sslkit.report.tables import Run
from sslkit.report.text import count, share

_CAUTION = (
    "A projection shows little: two numbers are left of hundreds, and grades that mix here may be well apart in the "
    "features themselves. What the features are worth is measured above, by what can be learnt from them."
)
_UMAP = "Of UMAP's picture neither the distances between clusters nor their sizes mean anything."


def representation_section(run: Run, drawings: list[Drawing]) -> Markup:
    """Return the scatter of a run's features, with how it is to be read; nothing where none were given."""
    projection = read_projection(run)
    if projection is None:
        return NOTHING
    drawing = draw_representation(projection)
    drawings.append(drawing)
    whose, reading = (element("p", said, class_="note") for said in (_whose(projection), _reading(projection)))
    return join([whose, figure(drawing), reading])


def _whose(projection: ProjectionFile) -> str:
    weights = f"{projection.weights or 'unnamed'} weights"
    task = f" of {projection.pretext}" if projection.pretext else ""
    arm = f", arm {projection.arm}" if projection.arm and projection.arm != projection.pretext else ""
    fold = "" if projection.fold is None else f", fold {projection.fold}"
    drawn = len(projection.x)
    some = "" if drawn == projection.images else f" Of {count(projection.images)} images {count(drawn)} are drawn."
    return f"The features that the {weights}{task}{arm}{fold}, give of images; one mark an image.{some}"


def _reading(projection: ProjectionFile) -> str:
    said = [_CAUTION, *([_UMAP] if projection.method == "umap" else [])]
    if projection.shares is not None:
        said.append(f"The two components hold {share(round(sum(projection.shares), 3))} of the variance.")
    if projection.fold is not None and projection.fold in projection.folds:
        trained = projection.weights == "finetuned"
        others = (
            "The others' labels they were trained on, so how well those come apart says nothing."
            if trained
            else "Of the others they saw the pixels, but no label."
        )
        said.append(f"Ringed: the test images of fold {projection.fold}, which these weights have not seen. {others}")
    return " ".join(said)
