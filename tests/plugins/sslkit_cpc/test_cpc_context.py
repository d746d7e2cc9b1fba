from __future__ import annotations

import itertools

import torch

from sslkit_cpc.context import RowCausalNetwork


def network(num_blocks=5):
    torch.manual_seed(0)
    return RowCausalNetwork(width=6, num_blocks=num_blocks).double()


def influence(net, row, column, side=5):
    """Return the size of d context at (row, column) / d vector at each place."""
    vectors = torch.randn(2, 6, side, side, dtype=torch.double, requires_grad=True)
    net(vectors)[:, :, row, column].square().sum().backward()
    return vectors.grad.abs().sum(dim=(0, 1))


class TestRowCausalNetwork:
    def test_no_gradient_comes_from_a_row_below(self):
        net = network()
        for row, column in itertools.product(range(5), range(5)):
            assert (influence(net, row, column)[row + 1 :] == 0).all()

    def test_all_of_its_own_row_and_of_the_rows_above_is_seen(self):
        net = network()
        for row, column in itertools.product(range(5), range(5)):
            seen = influence(net, row, column)[: row + 1] > 0
            # A block looks one place to either side in each row, and five blocks see the whole of five columns.
            assert seen.all()

    def test_one_block_looks_at_six_places(self):
        assert (influence(network(1), 2, 2) > 0).nonzero().tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]

    def test_images_are_kept_apart(self):
        vectors = torch.randn(2, 6, 5, 5, dtype=torch.double)
        net = network()
        assert torch.allclose(net(vectors)[:1], net(vectors[:1]))
