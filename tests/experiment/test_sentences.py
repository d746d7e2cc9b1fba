from __future__ import annotations

from sslkit.experiment.sentences import sentences


def test_what_is_said_alike_of_several_tasks_is_said_once_and_all_else_is_left() -> None:
    nothing = "No difference shown: pretraining by {} against training from scratch, on 5 % to 10 % of the labels."
    harm = "Harm: with 5 % of the labels, pretraining by cpc does worse than scratch."
    published = "No difference shown: starting from imagenet weights against training from scratch."
    given = [
        {"pretext": "rotation", "sentence": nothing.format("rotation")},
        {"pretext": "cpc", "sentence": harm},
        {"pretext": "mae", "sentence": nothing.format("mae")},
        {"pretext": "", "sentence": published},
        {"sentence": "Something else."},
    ]
    assert sentences(given) == [nothing.format("rotation and mae"), harm, published, "Something else."]


def test_arms_of_a_task_are_kept_apart() -> None:
    given = [
        {"pretext": "rotation", "sentence": "With 5 % of the labels, pretraining by rotation helps."},
        {"pretext": "rotation", "sentence": "With 5 % of the labels, pretraining by rotation (frozen) helps."},
    ]
    assert len(sentences(given)) == 2
