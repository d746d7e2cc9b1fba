from __future__ import annotations

import pytest
import torch
from torch import nn

from sslkit.engine.optimisation import make_optimizer
from sslkit.engine.trainer import Schedule, check_update, train
from sslkit.errors import TrainingDivergedError
from sslkit.types import StepOutput

SCHEDULE = Schedule(num_updates=60, learning_rate=0.1, warmup=0.1)


def make_problem() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(200, 2, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Linear(2, 2), points, (points[:, 0] > points[:, 1]).long()


def loss_of(network: nn.Module, points: torch.Tensor, labels: torch.Tensor) -> StepOutput:
    return StepOutput(nn.functional.cross_entropy(network(points), labels))


def test_a_separable_problem_is_learnt() -> None:
    network, points, labels = make_problem()
    before = loss_of(network, points, labels).loss.item()

    train(lambda update: loss_of(network, points, labels), make_optimizer([network], 0.1, 0.0), SCHEDULE, seed=(0,))

    assert (network(points).argmax(1) == labels).float().mean() > 0.97
    assert loss_of(network, points, labels).loss.item() < 0.3 * before


def test_training_gone_on_with_equals_training_in_one_go() -> None:
    def dropped(network: nn.Module, points: torch.Tensor, labels: torch.Tensor) -> StepOutput:
        return loss_of(network, nn.functional.dropout(points, 0.5), labels)

    whole, points, labels = make_problem()
    train(lambda update: dropped(whole, points, labels), make_optimizer([whole], 0.1, 0.01), SCHEDULE, seed=(0,))

    half, points, labels = make_problem()
    optimizer = make_optimizer([half], 0.1, 0.01)
    saved: dict[str, object] = {}

    def stop_at(update: int, output: StepOutput) -> None:
        if update == 24:
            saved.update(network=half.state_dict(), optimizer=optimizer.state_dict())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(lambda update: dropped(half, points, labels), optimizer, SCHEDULE, seed=(0,), on_update=stop_at)
    fresh, points, labels = make_problem()
    fresh.load_state_dict(saved["network"])  # type: ignore[arg-type]
    optimizer = make_optimizer([fresh], 0.1, 0.01)
    optimizer.load_state_dict(saved["optimizer"])  # type: ignore[arg-type]
    train(lambda update: dropped(fresh, points, labels), optimizer, SCHEDULE, seed=(0,), first_update=25)

    assert torch.equal(fresh.weight, whole.weight)
    assert torch.equal(fresh.bias, whole.bias)


def test_a_loss_that_is_not_finite_stops_before_it_does_harm() -> None:
    network, points, _ = make_problem()
    before = network.weight.detach().clone()

    def explode(update: int) -> StepOutput:
        return StepOutput(network(points).sum() * float("inf"))

    with pytest.raises(TrainingDivergedError, match=r"update 1 of 60, learning rate 0\.017; try a lower learning rate"):
        train(explode, make_optimizer([network], 0.1, 0.0), SCHEDULE, seed=(0,))
    assert torch.equal(network.weight, before)


def test_gradients_that_ruin_the_weights_are_named_as_the_cause() -> None:
    network, points, _ = make_problem()

    def step(update: int) -> StepOutput:
        return StepOutput((network(points) - network(points).detach()).abs().sqrt().sum())  # 0, with a slope of nan

    said = (
        r"loss is nan at update 2 of 60, .*, since the gradients of update 1 were not finite though its loss was; try"
    )
    with pytest.raises(TrainingDivergedError, match=said):
        train(step, make_optimizer([network], 0.1, 0.0), SCHEDULE, seed=(0,))


def test_weights_that_grew_too_large_are_not_blamed_on_the_gradients() -> None:
    network, points, labels = make_problem()
    optimizer = make_optimizer([network], 0.1, 1e38)

    with pytest.raises(
        TrainingDivergedError, match=r"the loss is (nan|inf) at update \d+ of 60, learning rate [^,]*; try"
    ):
        train(lambda update: loss_of(network, points, labels), optimizer, SCHEDULE, seed=(0,))


class TestTheLastUpdate:
    def test_is_fine_where_loss_and_weights_are(self) -> None:
        network, points, labels = make_problem()
        output = loss_of(network, points, labels)
        output.loss.backward()
        check_update(59, output.loss, [network, nn.BatchNorm1d(2)], SCHEDULE)
        # Masks of attention are buffers that may be infinite.
        network.register_buffer("mask", torch.tensor([-torch.inf, 0.0]))
        check_update(59, output.loss, [network], SCHEDULE)

    def test_is_refused_for_its_loss_first(self) -> None:
        network, *_ = make_problem()
        network.weight.data[0, 0] = torch.nan
        with pytest.raises(
            TrainingDivergedError, match=r"^the loss is inf at update 60 of 60, learning rate 8\.5e-05; "
        ):
            check_update(59, torch.tensor(torch.inf), [network], SCHEDULE)

    def test_is_refused_for_the_weights_that_it_left(self) -> None:
        network, *_ = make_problem()
        network.weight.data[0, 0] = torch.inf
        network.bias.data[1] = torch.nan
        schedule = Schedule(60, 0.1, 0.1, "pretraining.learning_rate")
        said = (
            r"the weights weight and 1 more are not finite after update 60 of 60, .*; try a lower pretraining\.learning"
        )
        with pytest.raises(TrainingDivergedError, match=said):
            check_update(59, torch.tensor(1.0), [network], schedule)

    def test_is_refused_for_statistics_of_batchnorm(self) -> None:
        network = nn.Sequential(nn.BatchNorm1d(2))
        network[0].running_var[1] = torch.inf
        with pytest.raises(TrainingDivergedError, match=r"the weights 0\.running_var are not finite"):
            check_update(59, torch.tensor(1.0), [network], SCHEDULE)

    def test_tells_its_gradients(self) -> None:
        network, *_ = make_problem()
        network.weight.data[:] = torch.nan
        network.weight.grad = torch.full((2, 2), torch.inf)
        with pytest.raises(
            TrainingDivergedError, match=r"since its gradients were not finite though its loss was; try"
        ):
            check_update(59, torch.tensor(1.0), [network], SCHEDULE)


def test_scaled_gradients_train_the_same_network() -> None:
    def trained(scaler: torch.amp.GradScaler | None) -> torch.Tensor:
        network, points, labels = make_problem()
        optimizer = make_optimizer([network], 0.1, 0.0)
        train(lambda update: loss_of(network, points, labels), optimizer, SCHEDULE, seed=(0,), scaler=scaler)
        return network.weight

    scaled = trained(torch.amp.GradScaler("cpu", init_scale=2.0**8, growth_interval=10))
    torch.testing.assert_close(scaled, trained(None))


def test_an_update_whose_gradients_overflow_is_left_out() -> None:
    network, points, labels = make_problem()
    before = network.weight.detach().clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)  # 2**100 times a gradient is finite in float32, ...
    seen: list[bool] = []

    def step(update: int) -> StepOutput:
        grow = 1e30 if update < 3 else 1.0  # ... but not with this factor
        return StepOutput(loss_of(network, points, labels).loss * grow)

    def on_update(update: int, output: StepOutput) -> None:
        seen.append(torch.equal(network.weight, before))

    train(step, make_optimizer([network], 0.1, 0.0), SCHEDULE, seed=(0,), scaler=scaler, on_update=on_update)
    assert seen[:3] == [True] * 3
    assert not any(seen[3:])


def test_gradients_that_overflow_at_any_scale_are_told() -> None:
    network, points, _ = make_problem()

    def step(update: int) -> StepOutput:
        return StepOutput((network(points) - network(points).detach()).abs().sqrt().sum())  # 0, with a slope of nan

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    with pytest.raises(TrainingDivergedError, match=r"overflow in fp16 at any scale; set compute\.precision='fp32'"):
        train(step, make_optimizer([network], 0.1, 0.0), SCHEDULE, seed=(0,), scaler=scaler)


def test_every_update_is_told_in_order() -> None:
    network, points, labels = make_problem()
    told: list[int] = []

    train(
        lambda update: loss_of(network, points, labels),
        make_optimizer([network], 0.1, 0.0),
        Schedule(5, 0.1, 0.0),
        seed=(0,),
        first_update=2,
        on_update=lambda update, output: told.append(update),
    )

    assert told == [2, 3, 4]
