from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from studies import tiny_config

import sslkit
from sslkit.experiment.nearest import NearestNeighbours
from sslkit.experiment.study import resolve

NEIGHBOURS = NearestNeighbours(resolve(tiny_config(), sslkit.build_registry()).make_head())


def naive_votes(features: torch.Tensor, targets: torch.Tensor, query: torch.Tensor) -> list[float]:
    similarity = [float(query @ f / (query.norm() * f.norm())) for f in features]
    nearest = sorted(range(len(features)), key=lambda i: -similarity[i])[:20]
    weights = {i: math.exp(similarity[i] / 0.07) for i in nearest}
    return [sum(w for i, w in weights.items() if targets[i] == k) / sum(weights.values()) for k in range(5)]


@given(num_labelled=st.integers(1, 40), seed=st.integers(0, 99))
def test_votes_equal_a_naive_loop(num_labelled: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_labelled, 6, generator=generator)
    targets = torch.randint(5, (num_labelled,), generator=generator)
    queries = torch.randn(3, 6, generator=generator)

    votes = NEIGHBOURS.votes(features, targets, queries)

    for vote, query in zip(votes, queries, strict=True):
        assert vote.tolist() == pytest.approx(naive_votes(features, targets, query), abs=1e-4)
    assert NEIGHBOURS.predict(votes).classes.tolist() == votes.argmax(1).tolist()


def test_an_image_is_graded_as_its_own_copy() -> None:
    features = torch.eye(5)

    prediction = NEIGHBOURS.predict(NEIGHBOURS.votes(features, torch.arange(5), features * 3))

    assert prediction.classes.tolist() == [0, 1, 2, 3, 4]
    assert prediction.probabilities.sum(1).tolist() == pytest.approx([1.0] * 5)
