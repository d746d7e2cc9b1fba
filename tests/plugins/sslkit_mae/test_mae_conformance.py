from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm

from sslkit import PretextTask, TaskContext
from sslkit.testing import parametrize_with_checks
from sslkit.testing.checks.pretext_task import learning, state, updates, views
from sslkit.testing.subjects import PretextTaskSubject
from sslkit_mae import Mae


@parametrize_with_checks(Mae)
def test_mae_keeps_its_promises(check: Callable[[], None]) -> None:
    check()


class OfTokens(PretextTaskSubject):
    """The conformance kit's own network has no tokens; this is the task with a small transformer."""

    def build(self, context: TaskContext | None = None) -> PretextTask[Any]:
        vit = timm.create_model("test_vit", num_classes=0, img_size=self.image_size)
        return self.cls(self.config, vit, context or self.context).train()


@pytest.fixture(scope="module")
def of_tokens() -> OfTokens:
    return OfTokens(Mae, {"decoder_width": 64, "decoder_depth": 1})


TOKEN_CHECKS = [
    state.check_construction_is_seeded,
    state.check_state_round_trips,
    state.check_copies_and_pickles,
    state.check_memory_is_freed,
    views.check_views_fit_together,
    views.check_mask_is_optional,
    updates.check_views_are_left_alone,
    updates.check_forward_is_seeded,
    updates.check_metrics,
    updates.check_smallest_batch,
    updates.check_gradient_reaches_the_backbone,
    updates.check_half_precision,
    updates.check_compiles,
    learning.check_loss_falls,
    learning.check_no_collapse,
]


@pytest.mark.parametrize("check", TOKEN_CHECKS, ids=[check.__name__ for check in TOKEN_CHECKS])
def test_a_transformer_keeps_the_promises_too(check: Callable[[OfTokens], None], of_tokens: OfTokens) -> None:
    check(of_tokens)
