"""The estimators keep to their budget of state and memory, for every cell profile."""

import estimators_cost
import pytest

from common.profiles import PROFILES
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings

STATE_BYTES = 160  # a cell
# Of the heap, in the interpreter with words of 64 bits; a board takes half of it.
USUAL_BYTES = 1200
DEAREST_BYTES = 120_000


@pytest.mark.parametrize("profile", [p.name for p in PROFILES])
def test_a_cell_has_at_most_160_bytes_of_state(profile):
    estimators = Estimators(Settings("P", 16, profile, 100_000))
    assert estimators_cost.state_bytes(estimators) <= 16 * STATE_BYTES


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
