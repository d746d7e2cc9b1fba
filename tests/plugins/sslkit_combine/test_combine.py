from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit import PretextTask, StepOutput, TaskContext, build_registry
from sslkit.config import PluginTable
from sslkit.errors import ConfigError, PluginError
from sslkit.experiment.recipe import Configured
from sslkit.experiment.study import configure
from sslkit.testing import TinyNetwork
from sslkit_combine import Combine, views_of

SIZE = 64
CONTEXT = TaskContext(SIZE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PARTS = (
    {"name": "rotation", "weight": 2.0},
    {"name": "jigsaw", "weight": 0.25, "num_permutations": 10},
    {"name": "colorization"},
)


def configured(*parts: dict[str, Any]) -> Configured:
    table = PluginTable.model_validate({"name": "combine", "parts": list(parts or PARTS)})
    return configure(build_registry(), Path.cwd(), "pretext-task", table, "pretext")


def made(*parts: dict[str, Any]) -> Combine:
    torch.manual_seed(0)
    task = configured(*parts).make_task(TinyNetwork(), CONTEXT)
    assert isinstance(task, Combine)
    return task


def images(count: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)


def test_the_loss_is_the_weighted_sum_of_the_parts_losses_task_by_task() -> None:
    task = made().eval()
    task.fit(images())
    views = task.make_views(images(), torch.Generator().manual_seed(1))
    output = task(views)
    wanted = 0.0
    for place, part in enumerate(configured().parts):
        alone = part.make_task(task.encoder, CONTEXT).eval()
        own = task.parts[place].state_dict()
        alone.load_state_dict(
            {**own, **{f"encoder.{name}": value for name, value in task.encoder.state_dict().items()}}
        )
        result = alone(views_of(views, place))
        assert output.metrics[f"{part.name}.loss"] == result.loss
        for name, value in result.metrics.items():
            assert output.metrics[f"{part.name}.{name}"] == value
        wanted += task.weights[place] * result.loss.item()
    assert task.weights == [2.0, 0.25, 1.0]
    assert output.loss.item() == pytest.approx(wanted, rel=1e-6)


def test_the_gradient_of_the_encoder_is_the_weighted_sum_of_the_parts_gradients() -> None:
    task = made().eval()
    views = task.make_views(images(), torch.Generator().manual_seed(1))
    parameter = next(task.encoder.parameters())
    (together,) = torch.autograd.grad(task(views).loss, parameter)
    alone = [
        weight * torch.autograd.grad(part(views_of(views, place)).loss, parameter)[0]
        for place, (part, weight) in enumerate(zip(task.parts, task.weights, strict=True))
    ]
    torch.testing.assert_close(together, torch.stack(alone).sum(dim=0), rtol=1e-4, atol=1e-7)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**62))
def test_what_one_part_draws_changes_nothing_for_another(seed: int) -> None:
    several = made({"name": "rotation", "turns": "one"}, {"name": "jigsaw"})
    other = made({"name": "rotation", "turns": "all"}, {"name": "jigsaw"})  # draws nothing
    first, second = (task.make_views(images(), torch.Generator().manual_seed(seed)) for task in (several, other))
    assert torch.equal(first["1.images"], second["1.images"])
    assert torch.equal(first["1.labels"], second["1.labels"])


def test_parts_have_generators_of_their_own() -> None:
    task = made({"name": "rotation", "turns": "one"}, {"name": "jigsaw"})
    views = task.make_views(images(8), torch.Generator().manual_seed(3))
    seeds = torch.randint(2**62, (2,), generator=torch.Generator().manual_seed(3)).tolist()
    for place, (part, seed) in enumerate(zip(task.parts, seeds, strict=True)):
        assert isinstance(part, PretextTask)
        alone = part.make_views(images(8), torch.Generator().manual_seed(seed))
        assert alone.keys() == views_of(views, place).keys()
        assert all(torch.equal(alone[name], view) for name, view in views_of(views, place).items())
    assert seeds[0] != seeds[1]


def test_the_encoder_is_saved_once_and_shared() -> None:
    task = made()
    assert not [name for name in task.state_dict() if name.startswith("parts.") and ".encoder." in name]
    assert all(part.encoder is task.encoder for part in task.parts)
    copied = copy.deepcopy(task)
    assert copied.encoder is not task.encoder
    assert all(part.encoder is copied.encoder for part in copied.parts)
    assert len(list(task.parameters())) == len({id(parameter) for parameter in task.parameters()})


def test_each_part_lives_its_whole_life(monkeypatch: pytest.MonkeyPatch) -> None:
    task = made({"name": "rotation"}, {"name": "jigsaw", "num_permutations": 10})
    told: list[tuple[str, str, Any]] = []
    for part in task.parts:
        name = str(part.name)
        monkeypatch.setattr(part, "fit", lambda x, name=name: told.append((name, "fit", len(x))))
        monkeypatch.setattr(part, "before_update", lambda p, name=name: told.append((name, "before", p)))
        monkeypatch.setattr(part, "after_update", lambda o, p, name=name: told.append((name, "after", (o.metrics, p))))
    task.fit(images(5))
    task.before_update(0.25)
    output = task(task.make_views(images(), torch.Generator()))
    task.after_update(output, 0.5)
    assert told[:4] == [
        ("rotation", "fit", 5),
        ("jigsaw", "fit", 5),
        ("rotation", "before", 0.25),
        ("jigsaw", "before", 0.25),
    ]
    for (name, call, (metrics, progress)), wanted in zip(told[4:], ("rotation", "jigsaw"), strict=True):
        assert (name, call, progress) == (wanted, "after", 0.5)
        assert metrics["accuracy"] == output.metrics[f"{name}.accuracy"]


def test_the_sizes_of_all_views_are_declared() -> None:
    assert configured().view_sizes(CONTEXT) == (17, 64)


def test_a_part_that_cannot_train_the_backbone_is_named() -> None:
    class Flat(TinyNetwork):
        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward_features(x).mean((2, 3))

    assert configured().supports(TinyNetwork(), CONTEXT) is None
    reason = configured({"name": "rotation"}, {"name": "colorization"}).supports(Flat(), CONTEXT)
    assert reason is not None
    assert "its part 'colorization' cannot: no feature map can be had of the backbone Flat" in reason


def test_combinations_may_be_combined() -> None:
    inner = {"name": "combine", "weight": 0.5, "parts": [{"name": "jigsaw"}, {"name": "colorization", "weight": 3.0}]}
    task = made({"name": "rotation"}, inner)
    output: StepOutput = task(task.make_views(images(), torch.Generator()))
    assert "combine.colorization.colour_error" in output.metrics
    assert not [name for name in task.state_dict() if name.startswith("parts.") and ".encoder." in name]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (({"name": "rotation"},), "pretext.parts: needs 2 or more values"),
        (({"name": "rotation"}, {"name": "rotation"}), "the part 'rotation' stands there twice"),
        (
            ({"name": "rotation"}, {"name": "jigsaw", "weight": 0.0}),
            "pretext.parts.1.weight: input should be greater than 0",
        ),
        (
            ({"name": "rotation", "turns": "two"}, {"name": "jigsaw"}),
            "pretext.parts.0.turns: input should be 'all' or 'one'",
        ),
        (({"name": "rotation"}, {"name": "jigsaw", "tiles": 4}), "pretext.parts.1.tiles: unknown key"),
    ],
)
def test_wrong_parts_are_refused_at_their_key(parts: tuple[dict[str, Any], ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")):
        configured(*parts)


def test_an_unknown_part_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(PluginError, match="unknown pretext task 'jigsav'; did you mean 'jigsaw'"):
        configured({"name": "rotation"}, {"name": "jigsav"})
