"""A few random packs: no more truths lie outside than bad luck with 95 % intervals explains."""

from math import comb

import pytest
from pack_votes import FIGURES, votes_of

PACKS = 24
UNLUCKY = 1e-3  # of one figure, by chance, when its intervals are what they say


@pytest.fixture(scope="module")
def votes():
    return [vote for pack in range(PACKS) for vote in votes_of(11, pack, hours=1.5)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [f.name for f in FIGURES if f.name != "soc_after_5h"])
def test_no_more_truths_lie_outside_than_chance_explains(votes, name):
    chosen = [vote for vote in votes if vote.figure == name]
    missed = [vote for vote in chosen if not vote.holds]
    n = len(chosen)
    assert n >= PACKS / 6
    at_least = sum(comb(n, k) * 0.05**k * 0.95 ** (n - k) for k in range(len(missed), n + 1))
    assert at_least > UNLUCKY, missed


def test_the_same_seed_gives_the_same_votes():
    assert votes_of(5, 3, hours=0.2) == votes_of(5, 3, hours=0.2)
