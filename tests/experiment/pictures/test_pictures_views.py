"""What is shown of every pretext task is what its pretraining was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from studies import prepare_tiny

from sslkit.engine.tasks import show_views
from sslkit.experiment import pretraining
from sslkit.experiment.pictures.sample import draw_sample
from sslkit.experiment.pictures.tensors import strips_of
from sslkit.experiment.pictures.views import seen_views
from sslkit.experiment.pretraining import PretrainingJob
from sslkit.experiment.view_stream import VIEW_CHUNK

TWO_VIEWS = [("images", 1, 1), ("images", 2, 1)]
TASKS: dict[str, tuple[dict[str, Any], list[tuple[str, int | None, int]], list[str], list[str]]] = {
    # task: its options, its strips (name, number of the view, views laid together), what is unchanged, what is unseen
    "barlow-twins": ({}, TWO_VIEWS, [], []),
    "byol": ({}, TWO_VIEWS, [], []),
    "colorization": ({}, [("images", None, 1), ("ab", None, 1)], [], []),
    "combine": (
        {"parts": [{"name": "mae"}, {"name": "rotation"}]},
        [("mae.seen", None, 1), ("rotation.images", None, 4)],
        ["mae.images"],
        [],
    ),
    "cpc": ({"grid": 3}, [("images", None, 9)], [], []),
    "dino": ({}, [*TWO_VIEWS, ("local", None, 4)], [], []),
    "exemplar": ({}, TWO_VIEWS, [], []),
    "inpainting": ({}, [("images", None, 1), ("hidden", None, 1)], ["targets"], []),
    "jigsaw": ({}, [("images", None, 9)], [], []),
    "mae": ({}, [("seen", None, 1)], ["images"], []),
    "moco": ({}, TWO_VIEWS, [], []),
    "relative-patch": ({}, [("images", None, 9)], [], []),
    "rotation": ({}, [("images", None, 4)], [], []),
    "rotation-invariant": ({}, [("images", None, 4)], [], []),
    "saliency": ({}, [("saliency", None, 1)], ["images"], []),
    "simclr": ({}, TWO_VIEWS, [], []),
    "simsiam": ({}, TWO_VIEWS, [], []),
    "vicreg": ({}, TWO_VIEWS, [], []),
}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PretrainingJob]:
    prepared = prepare_tiny(
        tmp_path_factory.mktemp("study"),
        images={"size": 64, "crop": "fundus"},
        pretext=[{"name": name, **options} for name, (options, *_) in TASKS.items()],
        pretraining={"epochs": 2, "batch_size": 12},
    )
    return {job.task.name: job for job in prepared.jobs.pretrainings if job.fold == 0}


@pytest.mark.parametrize("name", TASKS)
def test_the_views_are_those_of_the_first_epoch_bit_for_bit(name: str, jobs: dict[str, PretrainingJob]) -> None:
    job = jobs[name]
    sample = draw_sample(job.views, 3)

    seen = seen_views(job.views, sample)

    _, strips, unchanged, unseen = TASKS[name]
    assert [(strip.name, strip.number, strip.parts) for strip in seen.strips] == strips
    assert (list(seen.unchanged), list(seen.unseen)) == (unchanged, unseen)
    training = pretraining.PretrainingLoop(job, lambda values: None)
    own = []
    for image in sample:
        views = show_views(training.task, training._views(image.update), 12)
        place = VIEW_CHUNK * image.chunk + image.place
        own.append({name: view.view(12, -1, *view.shape[1:])[place] for name, view in views.items()})
        assert job.views.rows_of(image.update)[place] == image.row
    trained = strips_of([{name: view for name, view in views.items() if name not in unchanged} for views in own])
    for shown, expected in zip(seen.strips, trained, strict=True):
        assert shown.labels == expected.labels
        for picture, same in zip(shown.pictures, expected.pictures, strict=True):
            assert np.array_equal(picture, same)
    for strip in seen.strips:  # they show something, and not of every image the same
        assert len({picture.tobytes() for picture in strip.pictures}) == len(sample)


def test_no_test_image_is_among_them(jobs: dict[str, PretrainingJob]) -> None:
    job = jobs["rotation"]
    sample = draw_sample(job.views, 100)
    assert {image.row for image in sample} == set(job.views.first_epoch()) <= set(job.rows)
    assert len(sample) == 12 * job.views.updates_per_epoch
    assert draw_sample(job.views, 0) == []
    assert [image.row for image in draw_sample(jobs["dino"].views, 4)] == [
        image.row for image in draw_sample(job.views, 4)
    ]


def test_what_mae_hides_is_hidden_in_its_picture(jobs: dict[str, PretrainingJob]) -> None:
    task = jobs["mae"].views.make_task()
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    views = task.make_views(images, torch.Generator().manual_seed(0))
    seen, side = task.show_views(views)["seen"], 64 // int(task.patch)  # type: ignore[call-overload]
    fill = torch.tensor(task.context.mean).mul(255).round().to(torch.uint8).view(3, 1, 1)
    for image, shown, hidden in zip(images, seen, views["hidden"].tolist(), strict=True):
        for place in range(side**2):
            row, column = (int(task.patch) * where for where in divmod(place, side))  # type: ignore[call-overload]
            square = (slice(None), slice(row, row + 64 // side), slice(column, column + 64 // side))
            expected = fill.expand_as(image[square]) if place in hidden else image[square]
            assert torch.equal(shown[square], expected)


def test_colours_are_shown_without_the_lightness(jobs: dict[str, PretrainingJob]) -> None:
    task = jobs["colorization"].views.make_task()
    images = torch.tensor([[200, 40, 40], [100, 100, 100]], dtype=torch.uint8).view(2, 3, 1, 1).expand(2, 3, 64, 64)
    red, grey = task.show_views(task.make_views(images, torch.Generator()))["ab"]
    assert red[0].min() > red[1].max() + 60
    assert int(grey.max()) - int(grey.min()) <= 1


def test_a_pretraining_on_all_images_is_shown_too(tmp_path: Path) -> None:
    changes = {"pretraining": {"epochs": 1, "batch_size": 12, "images": "all"}, "evaluation": {"arms": ["pretrained"]}}
    (job,) = prepare_tiny(tmp_path, **changes).jobs.pretrainings
    assert job.fold is None
    assert len(seen_views(job.views, draw_sample(job.views, 2)).strips) == 1
