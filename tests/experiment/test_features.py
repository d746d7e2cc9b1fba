from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from studies import prepare_tiny, save_backbone

from sslkit.data.normalization import normalize
from sslkit.experiment.features import FeaturesJob, read_features


@pytest.fixture
def job(tmp_path: Path) -> FeaturesJob:
    """A job whose pretraining has left random weights."""
    (job, _) = prepare_tiny(tmp_path / "run").jobs.features
    plugin = job.recipe.backbone.make()
    save_backbone(plugin.build().state_dict(), tmp_path)
    return replace(job, folder=tmp_path)


def test_features_are_what_the_bare_network_says_of_each_image(job: FeaturesJob) -> None:
    job.execute(lambda values: None)
    plugin = job.recipe.backbone.make()
    network = plugin.build()
    network.load_state_dict(load_file(job.folder / "backbone.safetensors"))
    network.eval()
    drawn = job.rows[[5, 0, 3]]
    images = torch.from_numpy(job.recipe.cache.open()[drawn]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = network.forward_head(
            network.forward_features(normalize(images, plugin.mean, plugin.std)), pre_logits=True
        )
    torch.testing.assert_close(read_features(job.folder, drawn), expected, rtol=1e-4, atol=1e-5)


def test_every_labelled_image_has_features_and_no_other(job: FeaturesJob) -> None:
    assert job.rows.tolist() == np.flatnonzero(job.recipe.grades >= 0).tolist()


def test_it_is_done_once_its_own_features_stand(job: FeaturesJob) -> None:
    assert not job.done
    job.execute(lambda values: None)
    assert job.done
    assert not replace(job, weights="others").done
    assert not replace(job, rows=job.rows[1:]).done


def test_features_that_were_cut_off_are_not_taken_for_whole(job: FeaturesJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("sslkit.experiment.features.write_json", full)
    with pytest.raises(OSError, match="no space"):
        job.execute(lambda values: None)
    assert not job.done


def test_the_index_names_the_rows(job: FeaturesJob) -> None:
    job.execute(lambda values: None)
    assert json.loads((job.folder / "features.json").read_text())["rows"] == job.rows.tolist()
