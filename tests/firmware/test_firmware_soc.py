"""The SOC between anchors: how its error and the capacity's go together."""

import pytest
from core_fakes import nmc

from firmware.estimators.anchors import REST, Anchor
from firmware.estimators.charge import Charge
from firmware.estimators.offset import CurrentOffset
from firmware.estimators.soc import GAIN, Soc

HIGH_BP = 9000.0
LOW_BP = 3000.0
HIGH_SIGMA = 100.0
LOW_SIGMA = 300.0
CAPACITY = 0.8


def rested(n_cells: int, mean_bp: float, sigma_bp: float) -> Anchor:
    anchor = Anchor(n_cells)
    anchor.kind = REST
    anchor.mean_bp = mean_bp
    anchor.sigma_bp = sigma_bp
    return anchor


class Counted:
    """A SOC that was anchored high, with a capacity from there to an anchor below."""

    def __init__(self, end_bp: float) -> None:
        settings = nmc()
        self.rated_mah = settings.rated_mah
        self.charge = Charge()
        self.soc = Soc(settings, self.charge, CurrentOffset(settings))
        self.soc.anchor(rested(settings.n_cells, HIGH_BP, HIGH_SIGMA), True, 0)
        swing = HIGH_BP - LOW_BP
        relative = (HIGH_SIGMA**2 + LOW_SIGMA**2) ** 0.5 / swing
        self.soc.use_capacity(CAPACITY, CAPACITY * relative, end_bp)

    def sigma_at(self, soc_bp: float) -> float:
        """Deviation once charge was counted to ``soc_bp``, without the sensor's own part."""
        moved = (soc_bp - HIGH_BP) / 10000 * CAPACITY * self.rated_mah
        self.charge.add(round(1000 * moved))
        self.soc.count(round(1000 * moved))
        level, var = self.soc.predict()
        assert level == pytest.approx(soc_bp, abs=1)
        return (var - (GAIN * (soc_bp - HIGH_BP)) ** 2) ** 0.5


TIED_BP = -(HIGH_SIGMA**2) / (HIGH_BP - LOW_BP)


def test_counting_back_over_a_measured_swing_ends_with_the_error_of_its_other_end():
    assert Counted(TIED_BP).sigma_at(LOW_BP) == pytest.approx(LOW_SIGMA, rel=0.01)


def test_in_the_middle_of_the_swing_both_ends_count_half():
    middle = Counted(TIED_BP).sigma_at((HIGH_BP + LOW_BP) / 2)
    assert middle == pytest.approx((HIGH_SIGMA**2 + LOW_SIGMA**2) ** 0.5 / 2, rel=0.01)


def test_a_capacity_from_elsewhere_adds_its_whole_error():
    whole = (2 * HIGH_SIGMA**2 + LOW_SIGMA**2) ** 0.5
    assert Counted(0.0).sigma_at(LOW_BP) == pytest.approx(whole, rel=0.01)


def test_a_new_anchor_loosens_the_tie_by_its_weight():
    pack = Counted(TIED_BP)
    before = pack.soc._tied_bp()
    sure = rested(4, HIGH_BP, 1.0)
    pack.soc.anchor(sure, True, 10)
    assert abs(pack.soc._tied_bp()) < 0.5 * abs(before)


def test_a_capacity_taken_over_a_tie_beyond_belief_leaves_a_variance():
    assert Counted(1e6).sigma_at(HIGH_BP - 500) > 0
