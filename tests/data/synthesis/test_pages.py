"""Drawn pages: of every kind, of every size, the same for the same seed, and full of print."""

from __future__ import annotations

import numpy as np
import pytest

from data.synthesis.pages import KINDS, draw_page


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_white_paper_with_print_and_the_same_for_the_same_seed(kind: str) -> None:
    page, again, other = (draw_page(np.random.default_rng(seed), 300, 400, kind) for seed in (1, 1, 2))
    np.testing.assert_array_equal(page, again)
    assert np.any(page != other)
    assert (page.dtype, page.shape, np.median(page)) == (np.uint8, (400, 300, 3), 255)
    printed = (page < 128).any(2)
    assert 0.01 < printed.mean() < 0.3
    # Print reaches from the head to the foot, and leaves the margins alone.
    rows = np.flatnonzero(printed.any(1))
    assert rows[0] < 60
    assert rows[-1] > 300
    assert not printed[:, :10].any()


@pytest.mark.parametrize("size", [(40, 64), (700, 90), (1100, 800)])
def test_any_size_and_any_seed_can_be_drawn(size: tuple[int, int]) -> None:
    assert len({draw_page(np.random.default_rng(seed), *size).tobytes() for seed in range(6)}) == 6
