from __future__ import annotations

import copy
import doctest
import importlib
import math

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import tiny_config
from torch import nn

from sslkit import TaskContext, build_registry
from sslkit.data.cropping import circular_mask
from sslkit.engine.optimisation import make_optimizer
from sslkit.errors import ConfigError
from sslkit.experiment.study import resolve
from sslkit.testing.network import TinyNetwork
from sslkit_dino import Dino, DinoConfig, DinoViewsConfig, PrototypeHead, dino_loss, moved_centre, sslkit_pretext_tasks
from sslkit_dino.loss import entropy, teacher_probabilities

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SMALL = {"num_prototypes": 16, "hidden_width": 32, "bottleneck": 8}
few = settings(deadline=None, max_examples=40)


def context(size=64, masked=False):
    mask = torch.from_numpy(circular_mask(size)) if masked else None
    return TaskContext(size, MEAN, STD, mask)


def task(size=64, masked=False, network=None, seed=0, **options) -> Dino:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Dino(DinoConfig(**{**SMALL, **options}), network or TinyNetwork(), context(size, masked)).train()


def photographs(num_images, size=64, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=seeded(seed)).byte()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestViews:
    @few
    @given(st.integers(1, 4), st.integers(0, 6), st.booleans(), st.integers(0, 99))
    def test_there_are_two_global_ones_and_as_many_local_ones_as_asked_for(self, num_images, local, masked, seed):
        dino, images = task(masked=masked, local_views=local), photographs(num_images)
        made, again = dino.make_views(images, seeded(seed)), dino.make_views(images, seeded(seed))
        assert made["images"].shape == (2 * num_images, 3, 64, 64)
        assert ("local" in made) == (local > 0)
        if local:
            assert made["local"].shape == (local * num_images, 3, 32, 32)
        assert all(view.dtype == torch.uint8 and torch.equal(view, again[name]) for name, view in made.items())

    def test_rows_of_an_image_are_together(self):
        images = torch.arange(0, 250, 50, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 64, 64)
        made = task(views=DinoViewsConfig(recoloured=0, grey=0, blurred=0), local_views=3).make_views(images, seeded())
        assert made["images"][:, 0, 32, 32].tolist() == [value for value in range(0, 250, 50) for _ in range(2)]
        assert made["local"][:, 0, 16, 16].tolist() == [value for value in range(0, 250, 50) for _ in range(3)]

    def test_local_views_show_less_than_global_ones(self):
        plain = DinoViewsConfig(recoloured=0, grey=0, blurred=0, flips=False, turns="none", min_area=0.5)
        dino = task(128, views=plain, local_min_area=0.1, local_views=4, local_size=64)
        places = torch.arange(128, dtype=torch.uint8)
        images = torch.zeros(100, 3, 128, 128, dtype=torch.uint8)
        images[:, 0], images[:, 1] = places[:, None], places
        made = dino.make_views(images, seeded())
        for name, low, high in (("images", 0.5, 1.0), ("local", 0.1, 0.5)):
            views = made[name].float()
            side = views.shape[2]
            height = (views[:, 0, -1, 0] - views[:, 0, 0, 0]) * side / (side - 1)
            width = (views[:, 1, 0, -1] - views[:, 1, 0, 0]) * side / (side - 1)
            areas = height * width / 128**2
            assert low - 0.03 <= areas.min() < low + 0.1
            assert high - 0.1 < areas.max() <= high + 0.03

    @pytest.mark.parametrize(
        ("size", "options", "sizes"),
        [
            (224, {}, (224, 96)),
            (128, {}, (128, 64)),
            (64, {}, (64, 32)),
            (32, {}, (32, 32)),
            (29, {}, (29, 29)),
            (512, {}, (512, 224)),
            (64, {"local_views": 0}, (64,)),
            (64, {"local_size": 48}, (64, 48)),
        ],
    )
    @pytest.mark.parametrize("masked", [True, False])
    def test_view_sizes_are_those_of_the_views(self, size, options, sizes, masked):
        assert Dino.view_sizes(DinoConfig(**options), context(size, masked)) == sizes
        made = task(size, masked, **options).make_views(photographs(1, size), seeded())
        assert tuple(view.shape[2] for view in made.values()) == sizes

    def test_the_surround_of_local_views_is_black_alike(self):
        dino = task(masked=True)
        local = dino.make_views(torch.full((4, 3, 64, 64), 200, dtype=torch.uint8), seeded())["local"]
        shown = (local > 0).any(dim=1)
        assert (shown == shown[0]).all()
        assert not shown[0, 0, 0]


def naive_loss(student, teacher, temperature):
    """The mean over images and over pairs of different views of -sum_k q_k log p_k, one by one in float64."""
    total = pairs = 0.0
    for of_student, of_teacher in zip(student.double().tolist(), teacher.double().tolist(), strict=True):
        for g, q in enumerate(of_teacher):
            for v, logits in enumerate(of_student):
                if v == g:
                    continue
                exponentials = [math.exp(logit / temperature) for logit in logits]
                total -= sum(share * math.log(e / sum(exponentials)) for share, e in zip(q, exponentials, strict=True))
                pairs += 1
    return total / pairs


class TestLoss:
    @few
    @given(st.integers(1, 4), st.integers(2, 6), st.integers(2, 7), st.floats(0.05, 1), st.integers(0, 2**32))
    def test_is_that_of_a_loop_over_pairs_of_views(self, num_images, num_views, num_prototypes, temperature, seed):
        generator = seeded(seed)
        student = torch.rand(num_images, num_views, num_prototypes, generator=generator) * 2 - 1
        teacher = torch.rand(num_images, 2, num_prototypes, generator=generator).mul(3).softmax(dim=2)
        loss = dino_loss(student, teacher, temperature)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(naive_loss(student, teacher, temperature), rel=1e-4)

    def test_a_view_is_not_compared_with_itself(self):
        student = torch.randn(3, 2, 5, generator=seeded()).requires_grad_()
        teacher = torch.zeros(3, 2, 5)
        teacher[:, 0, 1] = 1  # of the second global view, nothing is said
        dino_loss(student, teacher, 0.1).backward()
        assert (student.grad[:, 0] == 0).all()
        assert (student.grad[:, 1] != 0).all()

    def test_a_teacher_is_centred_and_sharpened(self):
        logits, centre = torch.randn(6, 4, generator=seeded()), torch.tensor([0.1, -0.2, 0.3, 0.0])
        expected = ((logits.double() - centre.double()) / 0.05).exp()
        expected = expected / expected.sum(dim=1, keepdim=True)
        found = teacher_probabilities(logits, centre, torch.tensor(0.05))
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
        softer = teacher_probabilities(logits, centre, torch.tensor(0.5))
        assert (entropy(softer) > entropy(found)).all()

    def test_entropy_is_between_0_and_log_k(self):
        probabilities = torch.rand(50, 9, generator=seeded()).mul(20).softmax(dim=1)
        expected = -(probabilities.double() * probabilities.double().log()).sum(dim=1)
        torch.testing.assert_close(entropy(probabilities).double(), expected, rtol=1e-4, atol=1e-6)
        assert entropy(torch.full((9,), 1 / 9)).item() == pytest.approx(math.log(9))

    @pytest.mark.parametrize("local", [0, 3])
    def test_of_a_batch_is_that_of_its_views_one_by_one(self, local):
        dino = task(local_views=local, student_temperature=0.2)
        dino.centre.copy_(torch.linspace(-0.2, 0.2, 16))
        for network in (dino.encoder, dino.teacher, dino.head, dino.teacher_head):
            network.eval()
        made = dino.make_views(photographs(3), seeded())
        with torch.no_grad():
            output = dino(made)
            student, teacher = [], []
            for image in range(3):
                views = [made["images"][2 * image : 2 * image + 1], made["images"][2 * image + 1 : 2 * image + 2]]
                teacher.append([dino.teacher_head(dino.teacher(dino._normalized(view)))[0] for view in views])
                views += [made["local"][row : row + 1] for row in range(local * image, local * image + local)]
                student.append([dino.head(dino.encoder(dino._normalized(view)))[0] for view in views])
        logits = torch.stack([torch.stack(rows) for rows in teacher])
        shares = ((logits - dino.centre) / 0.04).softmax(dim=2)
        cosines = torch.stack([torch.stack(rows) for rows in student])
        assert output.loss.item() == pytest.approx(naive_loss(cosines, shares, 0.2), rel=1e-4)
        torch.testing.assert_close(output.carry, logits.mean(dim=(0, 1))[None])
        assert output.metrics["target_entropy"].item() == pytest.approx(entropy(shares).mean().item(), rel=1e-4)
        assert output.metrics["batch_entropy"].item() == pytest.approx(
            entropy(shares.mean(dim=(0, 1))).item(), rel=1e-4
        )

    def test_is_float32_under_autocast(self):
        dino = task()
        with torch.autocast("cpu", torch.bfloat16):
            output = dino(dino.make_views(photographs(2), seeded()))
        assert (output.loss.dtype, output.carry.dtype) == (torch.float32, torch.float32)

    def test_one_image_is_refused(self):
        dino = task()
        with pytest.raises(ValueError, match="DINO needs at least 2 images in a batch, not 1"):
            dino(dino.make_views(photographs(1), seeded()))


class TestHead:
    @pytest.mark.parametrize("norm", [True, False])
    def test_gives_cosines(self, norm):
        head, h = PrototypeHead(12, 16, 8, 5, batch_norm=norm), torch.randn(7, 12, generator=seeded())
        z = head.layers(h).detach().double()
        rows = [
            [float(torch.dot(x, w) / (x.norm() * w.norm())) for w in head.prototypes.detach().double()]
            for x in z.unbind(0)
        ]
        torch.testing.assert_close(head(h).double(), torch.tensor(rows, dtype=torch.float64), rtol=1e-4, atol=1e-5)
        assert norm == any(isinstance(layer, nn.BatchNorm1d) for layer in head.modules())

    def test_the_length_of_prototypes_and_features_does_not_matter(self):
        head, h = PrototypeHead(12, 16, 8, 5).eval(), torch.randn(7, 12, generator=seeded())
        before = head(h)
        head.prototypes.data *= torch.linspace(0.5, 4, 5)[:, None]
        head.layers[-1].weight.data *= 3
        torch.testing.assert_close(head(h), before)

    def test_images_are_told_apart_before_any_training(self):
        head = PrototypeHead(64, 128, 32, 100)
        alike = 5 + 0.01 * torch.randn(16, 64, generator=seeded())  # of one organ, to an untrained network
        cosines = head(alike)
        assert cosines.std(dim=0).mean() > 0.1

    def test_frozen_prototypes_are_not_moved_by_the_optimiser(self):
        dino = task(frozen=0.5, local_views=0)
        optimizer = make_optimizer([dino], learning_rate=1e-2, weight_decay=0.1)
        for progress, still in ((0.0, True), (0.4, True), (0.6, False)):
            dino.before_update(progress)
            before = copy.deepcopy(dino.head.state_dict())
            output = dino(dino.make_views(photographs(2), seeded()))
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            assert torch.equal(dino.head.prototypes, before["prototypes"]) == still
            assert not torch.equal(dino.head.layers[0].weight, before["layers.0.weight"])
            assert dino.head.prototypes.requires_grad


class TestTeacher:
    def test_begins_as_the_student_and_has_no_gradient(self):
        dino = task(momentum=0.9)
        for copied, module in ((dino.teacher, dino.encoder), (dino.teacher_head, dino.head)):
            assert all(torch.equal(value, module.state_dict()[name]) for name, value in copied.state_dict().items())
        dino.before_update(0.5)
        dino(dino.make_views(photographs(2), seeded())).loss.backward()
        assert all(p.grad is None and not p.requires_grad for p in dino.teacher.parameters())
        assert all(p.grad is None and not p.requires_grad for p in dino.teacher_head.parameters())
        assert all(p.grad is not None for p in [*dino.head.parameters(), *dino.encoder.parameters()])

    @pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
    def test_follows_the_student_by_a_momentum_that_rises_to_1(self, progress, momentum):
        dino = task(momentum=0.9)
        for parameter in dino.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=seeded())
        before = copy.deepcopy(dino)
        output = dino(dino.make_views(photographs(2), seeded()))
        dino.after_update(output, progress)
        for moved, was, student in (
            (dino.teacher, before.teacher, before.encoder),
            (dino.teacher_head, before.teacher_head, before.head),
        ):
            for value, old, new in zip(moved.parameters(), was.parameters(), student.parameters(), strict=True):
                torch.testing.assert_close(value, momentum * old + (1 - momentum) * new)

    def test_the_centre_is_the_moving_mean_of_its_logits(self):
        dino, expected = task(centre_momentum=0.8), torch.zeros(16, dtype=torch.float64)
        for update in range(4):
            made = dino.make_views(photographs(3, seed=update), seeded(update))
            with torch.no_grad():
                logits = copy.deepcopy(dino.teacher_head)(copy.deepcopy(dino.teacher)(dino._normalized(made["images"])))
            dino.after_update(dino(made), update / 4)
            expected = 0.8 * expected + 0.2 * logits.double().mean(dim=0)
            torch.testing.assert_close(dino.centre.double(), expected, rtol=1e-4, atol=1e-6)

    @few
    @given(st.floats(0, 0.99), st.integers(1, 20))
    def test_a_centre_of_equal_batches_comes_near_in_closed_form(self, momentum, num_updates):
        centre, mean = torch.zeros(3), torch.tensor([1.0, -2.0, 0.5])
        for _ in range(num_updates):
            centre = moved_centre(centre, mean, momentum)
        torch.testing.assert_close(centre, (1 - momentum**num_updates) * mean, rtol=1e-4, atol=1e-5)


class TestSchedules:
    @pytest.mark.parametrize(
        ("progress", "temperature", "frozen"),
        [(0.0, 0.04, True), (0.15, 0.055, False), (0.3, 0.07, False), (1.0, 0.07, False)],
    )
    def test_the_temperature_rises_and_the_prototypes_are_let_go(self, progress, temperature, frozen):
        dino = task(teacher_temperature=0.07, first_teacher_temperature=0.04, temperature_warmup=0.3, frozen=0.1)
        dino.before_update(progress)
        assert dino.teacher_temperature.item() == pytest.approx(temperature)
        assert dino.prototypes_frozen == frozen

    def test_without_a_warm_up_the_temperature_is_there_at_once(self):
        dino = task(teacher_temperature=0.07, temperature_warmup=0.0, frozen=0.0)
        assert dino.teacher_temperature.item() == pytest.approx(0.07)
        assert not dino.prototypes_frozen


def test_state_makes_another_task_the_same():
    one, other = task(seed=0), task(seed=1)
    one.after_update(one(one.make_views(photographs(3), seeded())), 0.1)
    made = one.make_views(photographs(3), seeded(1))
    assert one(made).loss != other(made).loss
    other.load_state_dict(one.state_dict())
    assert one(made).loss == other(made).loss
    assert one.centre.abs().sum() > 0


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("test_resnet", {}),
        ("test_convnext", {}),
        ("test_vit", {"dynamic_img_size": True}),
        ("vit_tiny_patch16_224", {"dynamic_img_size": True, "depth": 1}),
    ],
)
def test_takes_backbones_of_all_kinds(model, options):
    dino = task(network=timm.create_model(model, num_classes=0, **options))
    output = dino(dino.make_views(photographs(2), seeded()))
    output.loss.backward()
    dino.after_update(output, 0.1)
    assert output.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in dino.encoder.parameters() if p.grad is not None)


def study(size, backbone, **options):
    config = tiny_config(
        images={"size": size, "crop": "fundus"}, backbone=backbone, pretext={"name": "dino", **options}
    )
    return resolve(config, build_registry())


class TestPlanning:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [Dino]
        assert (Dino.name, Dino.api_version, Dino.family) == ("dino", 1, "self-distillation")

    def test_a_transformer_of_one_size_is_refused_unless_there_are_no_local_views(self):
        backbone = {"name": "timm", "model": "vit_tiny_patch16_224", "options": {"img_size": 64, "depth": 1}}
        message = (
            r"images\.size: with 64 px images the task 'dino' makes views of 32 px, which the backbone 'timm' cannot"
        )
        with pytest.raises(ConfigError, match=message):
            study(64, backbone)
        study(64, backbone, local_views=0)
        study(64, {**backbone, "options": {"dynamic_img_size": True, "depth": 1}})

    def test_local_views_too_small_for_the_backbone_are_refused(self):
        with pytest.raises(ConfigError, match=r"makes views of 24 px, .*at least 29 px, not 24"):
            study(64, {"name": "densenet121"}, local_size=24)

    def test_local_views_larger_than_images_are_refused(self):
        with pytest.raises(ConfigError, match=r"local_size = 96 is larger than the images, which have 64 px: .* lower"):
            study(64, {"name": "densenet121"}, local_size=96)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"local_min_area": 0.5}, r"local_min_area = 0\.5 is above views\.min_area = 0\.4: .* raise the second"),
            ({"teacher_temperature": 0.2}, r"0\.04 to 0\.2, must not be above student_temperature = 0\.1"),
            ({"first_teacher_temperature": 0.2}, r"0\.2 to 0\.04, must not be above student_temperature"),
            ({"local_views": 17}, r"pretext\.local_views: .*16"),
            ({"num_prototypes": 1}, r"pretext\.num_prototypes: .*2"),
            ({"hidden_width": 4}, r"pretext\.hidden_width: .*8"),
            ({"bottleneck": 1}, r"pretext\.bottleneck: .*2"),
            ({"head_norm": "yes"}, r"pretext\.head_norm"),
            ({"temperature_warmup": 1.1}, r"pretext\.temperature_warmup: .*1"),
            ({"momentum": 1.1}, r"pretext\.momentum: .*1"),
            ({"centre_momentum": 1.0}, r"pretext\.centre_momentum: .*1"),
            ({"frozen": 1.0}, r"pretext\.frozen: .*1"),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ConfigError, match=message):
            study(64, {"name": "densenet121"}, **options)

    def test_without_local_views_their_area_does_not_matter(self):
        assert DinoConfig(local_views=0, local_min_area=0.5).local_min_area == 0.5


@pytest.mark.parametrize("module", ["sslkit_dino", "sslkit_dino.head", "sslkit_dino.loss"])
def test_the_examples_run(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
