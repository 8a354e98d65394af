"""The estimators keep to their budget of state and memory, for every cell profile."""

import estimators_cost
import pytest

from common.profiles import NAMES
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings

STATE_BYTES = 160  # that a further cell adds
PACK_BYTES = 4200  # of 16 cells in all, the lifetime counters among it
# Of the heap, in the interpreter with words of 64 bits; a board takes half of it.
USUAL_BYTES = 1200
DEAREST_BYTES = 140_000


@pytest.mark.parametrize("profile", NAMES)
def test_a_cell_adds_at_most_160_bytes_of_state_and_a_pack_has_little_of_its_own(profile):
    small, large = (
        estimators_cost.state_bytes(Estimators(Settings("P", n, profile, 100_000)))
        for n in (8, 16)
    )
    assert large - small <= 8 * STATE_BYTES
    assert large <= PACK_BYTES


def test_state_is_counted_with_its_arrays():
    small, large = (Estimators(Settings("P", n, "lco-cs2", 100_000)) for n in (8, 16))
    more = estimators_cost.state_bytes(large) - estimators_cost.state_bytes(small)
    arrays = [large.soh.soh, large.soh.method, large.window.at_uah, large.anchors.open.soc]
    assert more > 8 * sum(a.itemsize for a in arrays)


@pytest.mark.parametrize("profile", estimators_cost.PROFILES)
def test_an_update_takes_little_of_the_heap(micropython, profile):
    usual, dearest = estimators_cost.summary(
        estimators_cost.on_desk(micropython, "bytes", profile)
    )
    print(usual, dearest)
    assert 0 < usual <= USUAL_BYTES
    assert usual < dearest <= DEAREST_BYTES
