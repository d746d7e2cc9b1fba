"""What the checks of heads say of ways to be broken beside those in tests/broken."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from broken.heads import Sound

from sslkit import Prediction
from sslkit.testing import CheckFailed, make_subject
from sslkit.testing.checks.head import classes, learning, predictions, state, training


def plugin(**attributes) -> type[Sound]:
    return type("Changed", (Sound,), attributes)


def refuse(error):
    def grade(self, label):
        if label not in self.class_names:
            raise error
        return self.class_names.index(label)

    return plugin(grade=grade)


def with_loss(function) -> type[Sound]:
    return plugin(loss=lambda self, logits, targets: function(Sound.loss(self, logits, targets), logits))


def with_prediction(function) -> type[Sound]:
    return plugin(predict=lambda self, logits: function(Sound.predict(self, logits), self))


def with_fit(function) -> type[Sound]:
    return plugin(fit=lambda self, logits, targets: function(self))


def grow(head):
    head.offset = torch.zeros(4)


def fail(head):
    raise ValueError("no")


def count_calls(found, head):
    head.calls = getattr(head, "calls", 0) + 1
    return Prediction(found.classes, found.probabilities.roll(head.calls, dims=1))


class TwoNamesForAWeight(Sound):
    def __init__(self, config, num_features):
        super().__init__(config, num_features)
        self.last = self.linear


@pytest.mark.parametrize(
    ("check", "cls", "message"),
    [
        (classes.check_classes, plugin(class_names="ab"), "class_names is 'ab'; give a tuple of two or more names"),
        (classes.check_classes, plugin(class_names=("all",)), "class_names is ('all',); give a tuple of two or more"),
        (
            classes.check_grades,
            plugin(grade=lambda self, label: np.int64(self.class_names.index(label))),
            "its place in class_names is 0",
        ),
        (classes.check_unknown_labels_are_refused, refuse(ValueError("no")), "grade('') says 'no'; list the classes"),
        (classes.check_unknown_labels_are_refused, refuse(KeyError("no")), "grade('') raises KeyError: 'no'; raise a"),
        (
            training.check_any_width,
            plugin(forward=lambda self, features: self.linear(features)[0]),
            "representations give logits (3,); give (",
        ),
        (training.check_any_width, plugin(forward=lambda self, x: x.float()), "the number of logits depends on"),
        (training.check_loss, with_loss(lambda loss, _: loss.double()), "the loss is torch.float64"),
        (training.check_loss, with_loss(lambda loss, _: loss.detach()), "the loss has no gradient"),
        (training.check_loss, with_loss(lambda loss, _: loss / 0), "the loss is inf"),
        (training.check_absent_classes, with_fit(fail), "fit() fails with 2 images of the class 0 alone: ValueError"),
        (
            training.check_absent_classes,
            with_fit(lambda head: head.offset.fill_(torch.inf)),
            "with 2 images of the class 0 alone fit() leaves offset not finite",
        ),
        (
            training.check_absent_classes,
            with_loss(lambda loss, logits: loss + (logits * 0).sqrt().sum()),
            "with images of the class 0 alone the gradient of linear.weight, linear.bias is not finite",
        ),
        (
            training.check_huge_logits,
            with_loss(lambda loss, logits: loss + logits.exp().clamp(max=1e-6).sum()),
            "the gradient of logits in the thousands is not finite",
        ),
        (
            training.check_inputs_are_left_alone,
            plugin(forward=lambda self, features: self.linear(features.mul_(2))),
            "forward() has changed the features that it was given",
        ),
        (
            training.check_half_precision,
            with_loss(lambda loss, _: loss * (1 + torch.is_autocast_enabled("cpu"))),
            "under bf16 autocast the loss is ",
        ),
        (learning.check_loss_falls, with_loss(lambda loss, _: loss / 0), "the loss did not stay finite"),
        (
            predictions.check_predictions,
            plugin(predict=lambda self, logits: (logits, logits)),
            "predict() returns tuple; return a sslkit.Prediction",
        ),
        (
            predictions.check_predictions,
            with_prediction(lambda found, _: Prediction(found.classes.int(), found.probabilities)),
            "predict() returns classes and probabilities [(torch.int32, (1,)), ",
        ),
        (
            predictions.check_predictions,
            with_prediction(lambda found, _: Prediction(found.classes - 1, found.probabilities)),
            "give the classes [-1]; there are 0..2",
        ),
        (
            predictions.check_predictions,
            with_prediction(lambda found, _: Prediction(found.classes, found.probabilities - 1)),
            "negative or no numbers",
        ),
        (
            predictions.check_predictions,
            with_prediction(lambda found, _: Prediction(found.classes, found.probabilities * 2)),
            "give probabilities that sum to [2.0], not to one",
        ),
        (
            predictions.check_predict_is_repeatable,
            with_prediction(count_calls),
            "the same logits are predicted otherwise the second time",
        ),
        (
            predictions.check_predict_uses_no_parameter,
            with_prediction(lambda found, head: Prediction(found.classes, found.probabilities * head.linear.bias[0])),
            "the probabilities have a gradient",
        ),
        (state.check_fit_changes_buffers_alone, with_fit(grow), "fit() has changed the buffers from"),
        (state.check_state_round_trips, TwoNamesForAWeight, "a head cannot be written as safetensors and loaded"),
    ],
)
def test_says_what_is_broken(check, cls, message):
    with pytest.raises(CheckFailed, match=re.escape(message)):
        check(make_subject(cls))
