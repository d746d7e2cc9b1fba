from __future__ import annotations

import pytest
import timm
import torch
from studies import tiny_config

import sslkit_exemplar
from sslkit import TaskContext, augmented_views, build_registry, normalize, representation
from sslkit.data.cropping import circular_mask
from sslkit.errors import ConfigError
from sslkit.experiment.study import resolve
from sslkit.testing.network import TinyNetwork
from sslkit.testing.samples import sample_images
from sslkit_exemplar import Exemplar, ExemplarConfig, sslkit_pretext_tasks
from sslkit_exemplar.triplets import squared_distances, triplet_loss

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def context(size=32, masked=False):
    mask = torch.from_numpy(circular_mask(size)) if masked else None
    return TaskContext(size, MEAN, STD, mask)


def task(size=32, masked=False, encoder=None, **options) -> Exemplar:
    torch.manual_seed(0)
    return Exemplar(ExemplarConfig.model_validate(options), encoder or TinyNetwork(), context(size, masked))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class TestViews:
    @pytest.mark.parametrize("masked", [False, True])
    def test_are_two_of_each_image_as_the_options_ask_for(self, masked):
        images = sample_images(5, 32)
        exemplar = task(masked=masked, views={"min_area": 0.5, "grey": 1.0})
        views = exemplar.make_views(images, seeded(3))["images"]
        wanted = augmented_views(images, seeded(3), exemplar.config.views, exemplar.context.mask)
        assert views.shape == (10, 3, 32, 32)
        assert views.dtype == torch.uint8
        assert torch.equal(views, wanted)
        assert (views.amax(dim=1).int() - views.amin(dim=1)).max() <= 1

    def test_two_views_of_one_image_differ_and_rows_of_an_image_lie_together(self):
        plain = {"min_area": 1.0, "flips": False, "turns": "none", "recoloured": 0.0, "grey": 0.0, "blurred": 0.0}
        images = sample_images(4, 32)
        as_they_are = task(views=plain).make_views(images, seeded())["images"]
        assert torch.equal(as_they_are, images.repeat_interleave(2, dim=0))
        views = task().make_views(images, seeded())["images"]
        assert all(not torch.equal(views[row], views[row + 1]) for row in range(0, 8, 2))


class TestForward:
    @pytest.mark.parametrize("options", [{}, {"margin": 0.3}, {"negatives": "semi-hard"}])
    def test_is_the_triplet_loss_of_the_projected_representations(self, options):
        exemplar = task(**options).eval()
        views = exemplar.make_views(sample_images(6, 32), seeded())
        output = exemplar(views)
        with torch.no_grad():
            z = exemplar.projector(representation(exemplar.encoder, normalize(views["images"], MEAN, STD)))
        assert z.shape == (12, 128)
        wanted = triplet_loss(squared_distances(z), options.get("margin", 1.0), options.get("negatives", "all"))
        assert output.loss.item() == pytest.approx(wanted.item(), abs=1e-6)
        assert output.metrics.keys() == {"violations", "accuracy"}
        assert not any(metric.requires_grad for metric in output.metrics.values())

    def test_metrics_are_over_all_triplets_whichever_make_the_loss(self):
        images = sample_images(6, 32)
        outputs = []
        for negatives in ("all", "semi-hard"):
            exemplar = task(negatives=negatives)
            outputs.append(exemplar(exemplar.make_views(images, seeded())))
        assert len({output.metrics["violations"].item() for output in outputs}) == 1
        assert len({output.metrics["accuracy"].item() for output in outputs}) == 1
        assert outputs[0].loss != outputs[1].loss

    def test_negatives_come_from_all_processes(self, monkeypatch):
        exemplar = task().eval()
        views = exemplar.make_views(sample_images(4, 32), seeded())
        elsewhere = torch.randn(8, 128, generator=seeded(1))
        alone = exemplar(views).loss
        monkeypatch.setattr(sslkit_exemplar, "gather", lambda z: torch.cat([elsewhere, z]))
        with torch.no_grad():
            z = exemplar.projector(representation(exemplar.encoder, normalize(views["images"], MEAN, STD)))
        wanted = triplet_loss(squared_distances(torch.cat([elsewhere, z])), 1.0)
        assert exemplar(views).loss.item() == pytest.approx(wanted.item(), abs=1e-6)
        assert abs(alone.item() - wanted.item()) > 1e-3

    def test_one_image_is_refused(self):
        exemplar = task()
        views = exemplar.make_views(sample_images(1, 32), seeded())
        with pytest.raises(
            ValueError, match=r"^an image is told from the others of its batch; give two or more, not 1$"
        ):
            exemplar(views)

    def test_is_float32_under_autocast(self):
        exemplar = task()
        with torch.autocast("cpu", torch.bfloat16):
            output = exemplar(exemplar.make_views(sample_images(2, 32), seeded()))
        assert output.loss.dtype == torch.float32

    @pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
    def test_gradient_reaches_the_whole_network(self, model):
        size = {"img_size": 32} if "vit" in model else {}
        exemplar = task(encoder=timm.create_model(model, num_classes=0, **size), embedding_size=16)
        exemplar(exemplar.make_views(sample_images(3, 32), seeded())).loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in exemplar.parameters())
        assert sum(p.grad.abs().sum() for p in exemplar.encoder.parameters()) > 0

    @pytest.mark.parametrize("negatives", ["all", "semi-hard"])
    def test_learns_to_tell_images_by_views_never_seen(self, negatives):
        exemplar = task(negatives=negatives, embedding_size=16)
        optimiser = torch.optim.Adam(exemplar.parameters(), lr=3e-3)
        images = sample_images(8, 32)
        first = exemplar(exemplar.make_views(images, seeded(1000)))
        for step in range(60):
            optimiser.zero_grad()
            exemplar(exemplar.make_views(images, seeded(step))).loss.backward()
            optimiser.step()
        last = exemplar(exemplar.make_views(images, seeded(1000)))
        assert last.loss < 0.9 * first.loss
        assert last.metrics["violations"] < 0.7 * first.metrics["violations"]
        assert last.metrics["accuracy"] > first.metrics["accuracy"]


def study(**options):
    config = tiny_config(images={"size": 64}, backbone={"name": "densenet121"}, pretext={"name": "exemplar", **options})
    return resolve(config, build_registry())


class TestPlanning:
    def test_is_announced(self):
        assert list(sslkit_pretext_tasks()) == [Exemplar]
        assert (Exemplar.name, Exemplar.api_version, Exemplar.min_batch_size) == ("exemplar", 1, 2)
        assert Exemplar.view_sizes(ExemplarConfig(), context(96)) == (96,)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"margin": 0.0}, r"pretext\.margin: .*0"),
            ({"margin": 4.5}, r"pretext\.margin: .*4"),
            ({"negatives": "easy"}, r"pretext\.negatives: .*semi-hard"),
            ({"embedding_size": 1}, r"pretext\.embedding_size: .*2"),
            ({"views": {"min_area": 0.0}}, r"pretext\.views\.min_area: .*0"),
        ],
    )
    def test_options_out_of_bounds_are_refused(self, options, message):
        with pytest.raises(ConfigError, match=message):
            study(**options)
