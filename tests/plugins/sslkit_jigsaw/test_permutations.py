from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit_jigsaw.permutations import all_permutations, choose_permutations


def distances(permutations):
    """Hamming distances of all pairs."""
    pairs = itertools.combinations(permutations.tolist(), 2)
    return np.array([sum(x != y for x, y in zip(a, b, strict=True)) for a, b in pairs])


def naive_choice(num_permutations, num_tiles):
    chosen = [tuple(range(num_tiles))]
    while len(chosen) < num_permutations:
        best, best_score = None, None
        for candidate in itertools.permutations(range(num_tiles)):
            if candidate in chosen:
                continue
            to_chosen = [sum(x != y for x, y in zip(candidate, other, strict=True)) for other in chosen]
            score = (sum(to_chosen), min(to_chosen))
            if best_score is None or score > best_score:
                best, best_score = candidate, score
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("num_tiles", range(1, 8))
def test_all_permutations_are_those_of_itertools(num_tiles):
    assert list(map(tuple, all_permutations(num_tiles))) == list(itertools.permutations(range(num_tiles)))


@pytest.mark.parametrize(("num_permutations", "num_tiles"), [(1, 1), (2, 2), (6, 3), (24, 4), (10, 4), (40, 5)])
def test_choice_equals_a_naive_greedy_search(num_permutations, num_tiles):
    chosen = choose_permutations(num_permutations, num_tiles)
    assert list(map(tuple, chosen.tolist())) == naive_choice(num_permutations, num_tiles)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.data())
def test_as_many_permutations_as_tiles_form_a_latin_square(num_tiles, data):
    # Whatever orders without a common place are chosen, there is another one: Hall's theorem.
    num_permutations = data.draw(st.integers(1, num_tiles))
    assert all(distances(choose_permutations(num_permutations, num_tiles)) == num_tiles)


@pytest.mark.parametrize(("num_permutations", "nearest"), [(9, 9), (100, 4), (1000, 2)])
def test_permutations_of_nine_tiles_are_far_apart(num_permutations, nearest):
    chosen = choose_permutations(num_permutations)
    assert chosen.shape == (num_permutations, 9)
    assert (np.sort(chosen, axis=1) == np.arange(9)).all()
    assert len({tuple(order) for order in chosen.tolist()}) == num_permutations

    found = distances(chosen)
    assert found.min() == nearest
    # Two orders agree in a place where both have the same tile there; no set agrees less than one in which every tile
    # comes as often to every place, give or take one.
    often, rest = divmod(num_permutations, 9)
    least_agreements = 9 * ((9 - rest) * often * (often - 1) // 2 + rest * (often + 1) * often // 2)
    assert found.sum() == 9 * len(found) - least_agreements


def test_a_smaller_choice_is_the_beginning_of_a_larger_one():
    np.testing.assert_array_equal(choose_permutations(100)[:30], choose_permutations(30))


def test_the_shared_array_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        choose_permutations(5)[0, 0] = 3


@pytest.mark.parametrize(
    ("num_permutations", "num_tiles", "message"),
    [
        (25, 4, r"^4 tiles have 24 permutations; choose 1 to that many, not 25$"),
        (0, 9, r"^9 tiles have 362,880 permutations; choose 1 to that many, not 0$"),
        (5, 10, r"^num_tiles must be 1 to 9, not 10$"),
        (1, 0, r"^num_tiles must be 1 to 9, not 0$"),
    ],
)
def test_impossible_choices_are_refused(num_permutations, num_tiles, message):
    with pytest.raises(ValueError, match=message):
        choose_permutations(num_permutations, num_tiles)
