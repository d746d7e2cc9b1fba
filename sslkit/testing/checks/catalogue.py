"""Which checks a plugin class is put to: those of every plugin, and those of its kind that its tags call for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sslkit.errors import did_you_mean
from sslkit.interfaces import Plugin
from sslkit.registry import Kind
from sslkit.testing.checks import common
from sslkit.testing.checks.backbone import network, passes
from sslkit.testing.checks.backbone import state as network_state
from sslkit.testing.checks.dataset import images, listing, sharing
from sslkit.testing.checks.executor import order, trouble
from sslkit.testing.checks.head import classes, predictions, training
from sslkit.testing.checks.head import learning as head_learning
from sslkit.testing.checks.head import state as head_state
from sslkit.testing.checks.pretext_task import learning, state, updates, views
from sslkit.testing.outcome import expect
from sslkit.testing.subjects import Subject

CheckFunction = Callable[[Any], None]


@dataclass(frozen=True)
class Check:
    """A check, and what a class must claim or override for it to apply.

    Attributes:
        function: takes a [Subject][sslkit.testing.Subject] of the kind.
        tag: one of the class's ``tags``; None: every class.
        overriding: an optional method of the interface; None: whichever the class overrides.
    """

    function: CheckFunction
    tag: str | None = None
    overriding: str | None = None

    @property
    def name(self) -> str:
        """``check_<property>``."""
        return self.function.__name__

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    def why_not(self, cls: type[Plugin[Any]]) -> str | None:
        """Return why the check does not apply to a class, or None if it does."""
        if self.tag is not None and self.tag not in cls.tags:
            return f"it does not claim {self.tag!r} in its tags"
        if self.overriding is not None and not _overrides(cls, self.overriding):
            return f"it has no {self.overriding}() of its own"
        return None


def _overrides(cls: type[Plugin[Any]], method: str) -> bool:
    interface = next(base for base in reversed(cls.__mro__) if method in vars(base))
    return inspect.getattr_static(cls, method) is not vars(interface)[method]


def check_tags_are_known(subject: Subject) -> None:
    """The class claims, in its ``tags``, nothing but what there is to claim.

    A slip of the pen would claim nothing.
    """
    unknown = sorted(subject.cls.tags - TAGS[subject.kind])
    accepted = ", ".join(sorted(TAGS[subject.kind])) or "none"
    expect(not unknown, f"unknown tags {', '.join(map(repr, unknown))}; accepted for its kind: {accepted}")


def check_opt_outs_have_reasons(subject: Subject) -> None:
    """An opt-out names a check, and gives its reason in a sentence.

    Whoever reads the table of checks is told why one was left out.
    """
    names = [check.name for check in CHECKS[subject.kind]]
    for name, reason in subject.cls.opt_outs.items():
        expect(name in names, f"opt_outs names {name!r}, which is no check of its kind{did_you_mean(name, names)}")
        expect(
            len(reason.split()) >= 3, f"the opt-out from {name} gives no reason, but {reason!r}; say why in a sentence"
        )


_COMMON = (*map(Check, common.CHECKS), Check(check_tags_are_known), Check(check_opt_outs_have_reasons))

CHECKS: dict[Kind, tuple[Check, ...]] = {
    "pretext-task": (
        *_COMMON,
        Check(state.check_construction_is_seeded),
        Check(state.check_encoder_is_the_backbone),
        Check(views.check_views_are_pure),
        Check(views.check_images_are_left_alone),
        Check(views.check_global_generators_are_left_alone),
        Check(views.check_views_fit_together),
        Check(views.check_view_sizes_are_declared),
        Check(views.check_views_are_the_same_elsewhere),
        Check(views.check_mask_is_optional),
        Check(views.check_probe_labels, overriding="probe_labels"),
        Check(updates.check_views_are_left_alone),
        Check(updates.check_forward_is_seeded),
        Check(updates.check_loss),
        Check(updates.check_metrics),
        Check(updates.check_smallest_batch),
        Check(updates.check_gradient_reaches_the_backbone),
        Check(updates.check_momentum_copies_are_frozen),
        Check(updates.check_half_precision, tag="bf16"),
        Check(updates.check_compiles, tag="compile"),
        Check(state.check_state_round_trips),
        Check(state.check_copies_and_pickles),
        Check(state.check_memory_does_not_grow),
        Check(state.check_memory_is_freed),
        Check(learning.check_loss_falls),
        Check(learning.check_no_collapse),
    ),
    "backbone": (
        *_COMMON,
        Check(network.check_builds_an_encoder),
        Check(network.check_normalisation),
        Check(network.check_construction_is_seeded),
        Check(network.check_networks_are_independent),
        Check(network.check_supports),
        Check(network.check_widths),
        Check(network.check_map),
        Check(passes.check_images_stand_alone),
        Check(passes.check_batch_of_one),
        Check(passes.check_eval_mode_is_repeatable),
        Check(passes.check_eval_mode_changes_nothing),
        Check(passes.check_input_is_left_alone),
        Check(passes.check_memory_layout),
        Check(passes.check_half_precision, tag="bf16"),
        Check(passes.check_compiles, tag="compile"),
        Check(network_state.check_gradient_reaches_every_parameter),
        Check(network_state.check_state_can_be_saved),
        Check(network_state.check_state_round_trips),
        Check(network_state.check_missing_weights_are_refused),
        Check(network_state.check_copies_and_pickles),
        Check(network_state.check_memory_is_freed),
    ),
    "head": (
        *_COMMON,
        Check(classes.check_classes),
        Check(classes.check_grades),
        Check(classes.check_unknown_labels_are_refused),
        Check(classes.check_primary_metric),
        Check(classes.check_positive_from),
        Check(head_state.check_construction_is_seeded),
        Check(training.check_any_width),
        Check(training.check_rows_stand_alone),
        Check(training.check_loss),
        Check(training.check_absent_classes),
        Check(training.check_huge_logits),
        Check(training.check_gradient_reaches_every_parameter),
        Check(training.check_inputs_are_left_alone),
        Check(training.check_half_precision, tag="bf16"),
        Check(head_learning.check_loss_falls),
        Check(head_learning.check_predictions_are_learnt),
        Check(head_learning.check_shuffled_labels_score_at_chance),
        Check(predictions.check_predictions),
        Check(predictions.check_rows_are_predicted_alone),
        Check(predictions.check_predict_is_repeatable),
        Check(predictions.check_predict_uses_no_parameter),
        Check(predictions.check_predict_takes_logits_of_inference),
        Check(head_state.check_fit_changes_buffers_alone, overriding="fit"),
        Check(head_state.check_fit_is_repeatable, overriding="fit"),
        Check(head_state.check_state_round_trips),
        Check(head_state.check_copies_and_pickles),
        Check(head_state.check_memory_does_not_grow),
    ),
    "dataset": (
        *_COMMON,
        Check(listing.check_records),
        Check(listing.check_ids),
        Check(listing.check_records_are_stable),
        Check(listing.check_listing_opens_no_image),
        Check(listing.check_listing_holds_no_pixels),
        Check(listing.check_unlisted, overriding="unlisted"),
        Check(listing.check_paths_are_resolved),
        Check(listing.check_missing_source),
        Check(images.check_images_can_be_decoded),
        Check(images.check_reading_is_stable),
        Check(images.check_what_is_read_may_be_changed),
        Check(images.check_fingerprints_are_stable),
        Check(images.check_fingerprints_tell_images_apart),
        Check(images.check_fingerprints_follow_content),
        Check(images.check_missing_file),
        Check(sharing.check_threads_may_share_it),
        Check(sharing.check_pickles),
        Check(sharing.check_images_are_the_same_elsewhere),
        Check(sharing.check_nothing_is_written),
    ),
    "executor": (
        *_COMMON,
        Check(order.check_each_job_runs_once),
        Check(order.check_jobs_are_told_of),
        Check(order.check_jobs_wait_for_others),
        Check(order.check_jobs_done_before),
        Check(order.check_number_at_a_time),
        Check(order.check_progress_is_told),
        Check(trouble.check_failures_are_told),
        Check(trouble.check_needy_jobs_are_not_run),
        Check(trouble.check_deaths_are_survived),
        Check(trouble.check_observer_stops_the_run),
        Check(trouble.check_no_process_is_left),
    ),
}
"""The checks of each kind of plugin, in the order in which they are carried out."""

TAGS: dict[Kind, frozenset[str]] = {
    kind: frozenset(check.tag for check in checks if check.tag is not None) for kind, checks in CHECKS.items()
}
"""What a plugin of each kind may claim."""
