from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

import sslkit_fundus
from sslkit import Record
from sslkit.errors import DataError
from sslkit_fundus import SyntheticFundus, SyntheticFundusConfig


def make(**options: object) -> SyntheticFundus:
    return SyntheticFundus(SyntheticFundusConfig.model_validate({"size": 64, **options}))


def label_of(data: SyntheticFundus) -> dict[str, int]:
    return {record.id: int(record.label) for record in data.records() if record.label is not None}


def test_two_records_a_patient_with_unique_ids_and_the_patient_as_group() -> None:
    records = make(patients=1001).records()
    assert len({record.id for record in records}) == len(records) == 2002
    assert [record.id for record in records[:2]] == ["P001_L", "P001_R"]
    assert records[-1].id == "P1001_R"
    assert all(record.group == record.id[:-2] and record.path is None for record in records)
    assert max(Counter(record.group for record in records).values()) == 2


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("patients", [60, 200])
def test_grades_come_in_their_proportions(seed: int, patients: int) -> None:
    data = make(patients=patients, seed=seed)
    counts = Counter(label_of(data).values())
    for grade, share in enumerate(data.config.proportions):
        assert counts[grade] / (2 * patients) == pytest.approx(share, abs=0.02 + 2 / patients)


def test_a_grade_of_no_share_never_occurs() -> None:
    data = make(patients=300, proportions=[0.5, 0, 0.3, 0.2, 0])
    assert set(label_of(data).values()) == {0, 2, 3}


def test_both_eyes_share_a_grade_in_most_patients_and_are_one_step_apart_in_the_others() -> None:
    labels = label_of(make(patients=1000))
    steps = Counter(abs(labels[f"P{n:03d}_L"] - labels[f"P{n:03d}_R"]) for n in range(1, 1001))
    assert set(steps) == {0, 1}
    assert 0.81 < steps[0] / 1000 < 0.89


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_patients_is_labelled_and_both_their_eyes(share: float) -> None:
    records = make(patients=200, labelled=share).records()
    told = Counter(record.group for record in records if record.label is not None)
    assert set(told.values()) <= {2}
    assert len(told) == pytest.approx(200 * share, abs=3)


def test_labelled_patients_keep_their_grades_and_hold_every_grade() -> None:
    whole, part = label_of(make(patients=200)), label_of(make(patients=200, labelled=0.25))
    assert part.items() <= whole.items()
    assert set(part.values()) == {0, 1, 2, 3, 4}


def test_neither_the_number_of_patients_nor_the_order_of_reading_changes_a_photograph() -> None:
    few, many = make(patients=2), make(patients=500, labelled=0.5)
    forwards = [few.read(record) for record in few.records()]
    backwards = [many.read(record) for record in reversed(many.records()[:4])]
    for one, other in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(one, other)
    assert label_of(few).items() <= label_of(make(patients=500)).items()


def test_another_process_computes_the_same_bytes() -> None:
    data = make(patients=3)
    code = (
        "import hashlib; from sslkit_fundus import SyntheticFundus as S, SyntheticFundusConfig as C;"
        "d = S(C(patients=3, size=64)); print(hashlib.sha256(d.read(d.records()[5]).tobytes()).hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert told == hashlib.sha256(data.read(data.records()[5]).tobytes()).hexdigest()


def test_eyes_patients_and_seeds_look_different() -> None:
    data = make(patients=2)
    images = [*map(data.read, data.records()), make(seed=1).read(data.records()[0])]
    for i, one in enumerate(images):
        assert one.shape == (64, 64, 3)
        assert one.dtype == np.uint8
        assert all(np.abs(one.astype(int) - other).mean() > 2 for other in images[:i])


def test_an_instance_travels_small_and_arrives_whole() -> None:
    data = make(patients=10_000, size=48)
    sent = pickle.dumps(data)
    assert len(sent) < 1000
    record = data.records()[7]
    np.testing.assert_array_equal(pickle.loads(sent).read(record), data.read(record))


def test_listing_and_fingerprints_compute_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("rendered")

    data = make(patients=5)
    monkeypatch.setattr(sslkit_fundus, "render", refuse)
    assert len({data.fingerprint(record) for record in data.records()}) == 10
    with pytest.raises(AssertionError, match="rendered"):
        data.read(data.records()[0])


def test_fingerprint_changes_with_all_that_moves_a_pixel_and_with_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(id="P001_L")
    known = make().fingerprint(record)
    assert make(patients=7, labelled=0.5).fingerprint(record) == known
    grade = label_of(make())["P001_L"]
    only = [0.0] * 5
    only[(grade + 1) % 5] = 1.0
    for changed in (make(size=65), make(seed=1), make(proportions=only)):
        assert changed.fingerprint(record) != known
    monkeypatch.setattr(sslkit_fundus, "RENDERER_VERSION", -1)
    assert make().fingerprint(record) != known


@pytest.mark.parametrize("unknown", ["P006_L", "P000_L", "P01_L", "P001_X", "P001", "cat", "P²_L", ""])
def test_a_record_of_another_data_set_is_refused(unknown: str) -> None:
    with pytest.raises(DataError, match=r"no photograph '.*with 5 patients it has P001_L to P005_R"):
        make(patients=5).read(Record(id=unknown))


def test_a_near_miss_is_named() -> None:
    with pytest.raises(DataError, match=r"no photograph 'P003L'; did you mean 'P003_L'\?"):
        make(patients=5).fingerprint(Record(id="P003L"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proportions": [0.5, 0.5]}, "got 2 proportions; give five, one for each of the grades 0 to 4"),
        ({"proportions": [0.5, 0.2, 0.1, 0.1, 0.05]}, "sum to 0.95; they must sum to 1"),
        ({"proportions": [1.2, -0.2, 0, 0, 0]}, "the proportion -0.2 is negative"),
        ({"proportions": [True, 0, 0, 0, 0]}, "valid number"),
        ({"proportions": "even"}, "valid tuple"),
        ({"patients": 0}, "greater than or equal to 1"),
        ({"patients": "200"}, "valid integer"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"size": 16}, "greater than or equal to 32"),
        ({"labelled": 1.5}, "less than or equal to 1"),
        ({"patient": 3}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SyntheticFundusConfig.model_validate(options)


def test_announced_with_its_notice() -> None:
    assert sslkit_fundus.sslkit_datasets() == (SyntheticFundus,)
    assert SyntheticFundus.name == "synthetic-fundus"
    assert SyntheticFundus.notice == "Synthetic fundus photographs: the figures say nothing about patients."
