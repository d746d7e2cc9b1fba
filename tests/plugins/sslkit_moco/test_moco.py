from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from several_processes import PlainNetwork, in_processes, step
from torch import nn

from sslkit import TaskContext, ViewsConfig, augmented_views
from sslkit.data.cropping import circular_mask
from sslkit_moco import LONGEST_QUEUE, MoCo, MoCoConfig, contrast_logits, info_nce, sslkit_pretext_tasks

few = settings(deadline=None, max_examples=40)


def context(size=32, masked=True):
    mask = torch.from_numpy(circular_mask(size)) if masked else None
    return TaskContext(size, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), mask)


def task(size=32, masked=True, encoder=None, **options) -> MoCo:
    encoder = encoder or timm.create_model("test_resnet", num_classes=0)
    return MoCo(MoCoConfig(**{"queue": 6, **options}), encoder, context(size, masked))


def photographs(num_images, size=32, seed=0):
    return torch.randint(256, (num_images, 3, size, size), generator=torch.Generator().manual_seed(seed)).byte()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def update(moco, seed=0, optimiser=None, num_images=3):
    output = moco(moco.make_views(photographs(num_images, seed=seed), seeded(seed)))
    if optimiser is not None:
        optimiser.zero_grad()
        output.loss.backward()
        optimiser.step()
    moco.after_update(output, 0.5)
    return output


def directions(count, width, seed):
    x = torch.randn(count, width, dtype=torch.float64, generator=seeded(seed))
    return x / x.norm(dim=1, keepdim=True)


def naive_info_nce(queries, keys, held, temperature):
    """Equation 1 for each query: its key, the keys of the other images, and those that the queue holds."""
    losses = []
    for i, query in enumerate(queries):
        negatives = [key for k, key in enumerate(keys) if k != i] + list(held)
        positive = math.exp(float(query @ keys[i]) / temperature)
        total = positive
        for negative in negatives:
            total += math.exp(float(query @ negative) / temperature)
        losses.append(-math.log(positive / total))
    return sum(losses) / len(losses)


class TestLoss:
    @few
    @given(
        st.integers(1, 6), st.integers(1, 9), st.integers(2, 8), st.floats(0.05, 5), st.integers(0, 2**32), st.data()
    )
    def test_is_that_of_the_papers_equation(self, num_images, length, width, temperature, seed, data):
        filled = torch.tensor(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
        queries, keys, queue = (directions(n, width, seed + n) for n in (num_images, num_images + 20, length + 50))
        keys, queue = keys[:num_images], queue[:length]
        logits = contrast_logits(queries, keys, queue, filled, temperature)
        wanted = naive_info_nce(queries, keys, queue[filled], temperature)
        assert logits.shape == (num_images, num_images + length)
        assert info_nce(logits).item() == pytest.approx(wanted, rel=1e-9, abs=1e-9)

    @few
    @given(st.integers(2, 6), st.integers(1, 9), st.integers(0, 2**32), st.data())
    def test_does_not_depend_on_the_order_of_images_nor_of_the_queue(self, num_images, length, seed, data):
        queries, keys, queue = (directions(n, 4, seed + k) for k, n in enumerate((num_images, num_images, length)))
        filled = torch.ones(length, dtype=torch.bool)
        order = data.draw(st.permutations(range(num_images)))
        of_queue = data.draw(st.permutations(range(length)))
        one = info_nce(contrast_logits(queries, keys, queue, filled, 0.2))
        other = info_nce(contrast_logits(queries[order], keys[order], queue[of_queue], filled, 0.2))
        assert one.item() == pytest.approx(other.item())

    def test_of_a_collapsed_encoder_is_that_of_chance(self):
        same = torch.ones(3, 1)
        logits = contrast_logits(same, same, torch.ones(5, 1), torch.tensor([1, 1, 1, 1, 0]).bool(), 0.07)
        assert info_nce(logits).item() == pytest.approx(math.log(3 + 4), rel=1e-5)

    def test_gradient_is_right(self):
        queries, keys, queue = directions(3, 4, 0).requires_grad_(), directions(3, 4, 1), directions(5, 4, 2)
        filled = torch.tensor([True, True, False, True, False])
        assert torch.autograd.gradcheck(lambda q: info_nce(contrast_logits(q, keys, queue, filled, 0.5)), queries)


class TestTask:
    @pytest.mark.parametrize("masked", [True, False])
    def test_views_are_two_an_image_of_the_shared_views(self, masked):
        images, options = photographs(3), {"grey": 0.5, "min_area": 0.4}
        views = task(masked=masked, views=options).make_views(images, seeded(2))
        wanted = augmented_views(images, seeded(2), ViewsConfig(**options), context(masked=masked).mask, num_views=2)
        assert torch.equal(views["images"], wanted)

    def test_loss_and_accuracy_are_those_of_queries_keys_and_queue(self):
        torch.manual_seed(0)
        moco = task(queue=8, momentum=0.5).eval()
        with torch.no_grad():  # a momentum encoder that is another than the encoder
            for p in moco.encoder.parameters():
                p += 0.05 * torch.randn_like(p)
        held = []
        for number in range(3):
            views = moco.make_views(photographs(3, seed=number), seeded(number))
            x = (views["images"].permute(0, 2, 3, 1) / 255 - torch.tensor(moco.context.mean)) / torch.tensor(
                moco.context.std
            )
            x = x.permute(0, 3, 1, 2)
            queries, keys = [], []
            for image in range(3):
                for network, projector, row, found in (
                    (moco.encoder, moco.projector, 2 * image, queries),
                    (moco.momentum_encoder, moco.momentum_projector, 2 * image + 1, keys),
                ):
                    h = network.forward_head(network.forward_features(x[row : row + 1]), pre_logits=True)
                    z = projector(h)[0].double().detach()
                    found.append(z / z.norm())
            output = moco(views)
            assert output.loss.item() == pytest.approx(naive_info_nce(queries, keys, held, 0.2), rel=1e-3)
            candidates = torch.stack([*keys, *held])
            hits = [int((candidates @ query).argmax()) == i for i, query in enumerate(queries)]
            assert output.metrics["accuracy"].item() == pytest.approx(sum(hits) / 3)
            moco.after_update(output, 0.5)
            held = (held + keys)[-8:]

    def test_the_momentum_encoder_is_the_mean_of_what_it_followed(self):
        """After k updates: m^k of the first weights, and (1 - m) m^(k - i) of those after update i."""
        torch.manual_seed(0)
        moco, momentum, k = task(momentum=0.8), 0.8, 5
        optimiser = torch.optim.SGD([p for p in moco.parameters() if p.requires_grad], lr=0.1)
        followed = [*moco.encoder.parameters(), *moco.projector.parameters()]
        wanted = [momentum**k * p.detach().double() for p in followed]
        for i in range(1, k + 1):
            update(moco, i, optimiser)
            for mean, p in zip(wanted, followed, strict=True):
                mean += (1 - momentum) * momentum ** (k - i) * p.detach().double()
        copies = [*moco.momentum_encoder.parameters(), *moco.momentum_projector.parameters()]
        for mean, copied in zip(wanted, copies, strict=True):
            assert torch.allclose(copied.double(), mean, atol=1e-6)
        assert any(not torch.equal(copied, p) for copied, p in zip(copies, followed, strict=True))

    def test_no_gradient_reaches_the_momentum_encoder_or_the_queue(self):
        moco = task()
        update(moco)
        output = moco(moco.make_views(photographs(3), seeded(1)))
        output.loss.backward()
        copies = [*moco.momentum_encoder.parameters(), *moco.momentum_projector.parameters()]
        assert all(p.grad is None and not p.requires_grad for p in copies)
        assert not output.carry.requires_grad
        assert not moco.queue.keys.requires_grad
        trained = [*moco.encoder.parameters(), *moco.projector.parameters()]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
        assert moco.encoder.conv1[0].weight.grad.abs().sum() > 0

    def test_the_keys_of_an_update_are_in_the_queue_after_it_and_not_before(self):
        moco = task(queue=4)
        first = moco(moco.make_views(photographs(3), seeded()))
        assert not moco.queue.filled().any()
        moco.after_update(first, 0.1)
        assert torch.equal(moco.queue.keys[:3], first.carry)
        second = update(moco, seed=1)
        assert torch.equal(moco.queue.keys[[3, 0, 1]], second.carry)
        assert torch.equal(moco.queue.keys[2], first.carry[2])
        assert torch.allclose(moco.queue.keys.norm(dim=1), torch.ones(4))

    def test_the_momentum_encoders_batch_statistics_are_those_of_the_keys(self):
        moco = task().train()
        before = copy.deepcopy(moco.momentum_encoder)
        views = moco.make_views(photographs(4), seeded())
        moco(views)
        x = (views["images"][1::2].permute(0, 2, 3, 1) / 255 - torch.tensor(moco.context.mean)) / torch.tensor(
            moco.context.std
        )
        before.forward_features(x.permute(0, 3, 1, 2))
        for (name, wanted), found in zip(before.named_buffers(), moco.momentum_encoder.buffers(), strict=True):
            assert torch.allclose(wanted.double(), found.double(), atol=1e-4), name

    def test_a_task_goes_on_from_its_state_with_the_same_queue(self):
        torch.manual_seed(0)
        moco, other = task(), task()
        for number in range(3):
            update(moco, number)
        other.load_state_dict(copy.deepcopy(moco.state_dict()))
        for number in range(3, 6):
            assert update(moco, number).loss == update(other, number).loss
            assert torch.equal(moco.queue.keys, other.queue.keys)

    def test_a_batch_of_one_image_is_refused(self):
        moco = task()
        with pytest.raises(ValueError, match="takes 2 images or more"):
            moco(moco.make_views(photographs(1), seeded()))

    def test_learns_to_tell_images_apart(self):
        torch.manual_seed(0)
        moco = task(queue=4, momentum=0.9, views={"grey": 0.0, "recoloured": 0.0})
        optimiser = torch.optim.Adam([p for p in moco.parameters() if p.requires_grad], lr=3e-3)
        # Each image has a colour of its own, under noise.
        colours = torch.rand(8, 3, 1, 1, generator=seeded()) * 200
        images = (colours + 20 * torch.rand(8, 3, 32, 32, generator=seeded())).byte()
        losses = []
        for number in range(50):
            output = moco(moco.make_views(images, seeded(number)))
            optimiser.zero_grad()
            output.loss.backward()
            optimiser.step()
            moco.after_update(output, number / 50)
            losses.append(output.loss.item())
        assert sum(losses[-5:]) < 0.7 * sum(losses[1:6])

    def test_two_processes_train_as_one_with_the_whole_batch(self, tmp_path: Path):
        torch.manual_seed(0)
        moco = task(encoder=PlainNetwork(), queue=7)
        moco.projector, moco.momentum_projector = moco.projector.double(), moco.momentum_projector.double()
        update(moco, num_images=4)
        views = moco.make_views(photographs(6, seed=1), seeded(1))["images"]
        alone = step(0, copy.deepcopy(moco), [{"images": views}])
        parts = [{"images": part} for part in views.chunk(2)]
        together = in_processes(step, 2, tmp_path, moco, parts)
        for result in together:
            assert result["loss"].item() == pytest.approx(alone["loss"].item(), rel=1e-12)
            assert result["metrics"]["accuracy"] == alone["metrics"]["accuracy"]
            for name in ("queue.keys", "queue.count"):
                assert torch.allclose(result["state"][name], alone["state"][name])
        assert torch.equal(together[0]["state"]["queue.keys"], together[1]["state"]["queue.keys"])
        assert len(alone["gradients"]) == 8
        for name, gradient in alone["gradients"].items():
            mean = sum(result["gradients"][name] for result in together) / 2
            assert torch.allclose(mean, gradient, rtol=1e-9, atol=1e-12), name


class TestQueueLength:
    @pytest.mark.parametrize(("num_images", "length"), [(1, 1), (3, 1), (8, 2), (480, 120), (2000, 500)])
    def test_is_a_quarter_of_the_images_where_it_is_not_set(self, num_images, length):
        moco = task(queue=None)
        moco.fit(torch.zeros(num_images, 3, 1, 1, dtype=torch.uint8))
        assert len(moco.queue) == length

    def test_is_what_is_set_whatever_there_are_images(self):
        moco = task(queue=9)
        moco.fit(torch.zeros(100, 3, 1, 1, dtype=torch.uint8))
        assert len(moco.queue) == 9

    def test_is_the_longest_before_images_are_known(self):
        assert len(task(queue=None).queue) == LONGEST_QUEUE


class TestOptions:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [MoCo]
        assert (MoCo.name, MoCo.family, MoCo.min_batch_size) == ("moco", "contrast", 2)

    def test_the_head_is_that_of_version_2(self):
        moco = task(projection=17)
        width = moco.encoder.head_hidden_size
        linear = [layer for layer in moco.projector if isinstance(layer, nn.Linear)]
        assert [(layer.in_features, layer.out_features) for layer in linear] == [(width, width), (width, 17)]
        assert moco.queue.keys.shape == (6, 17)

    @pytest.mark.parametrize(
        "wrong",
        [{"temperature": 0.0}, {"momentum": 1.0}, {"momentum": -0.1}, {"queue": 0}, {"projection": 1}],
        ids=str,
    )
    def test_what_is_out_of_bounds_is_refused(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MoCoConfig(**wrong)
