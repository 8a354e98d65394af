"""The SOC filter against a small cell of its own, in 32 bits, on both interpreters, in a pack."""

import random
import struct
import sys

import numpy as np
import pytest
from estimator_cells import Cell, Feeder, aged, ocv_lfp, ocv_nmc
from interpreters import lines

from common.cells import circuit
from common.codes import SocSync
from common.ecm import Ecm
from common.profiles import profile, profile_crc
from firmware.estimators.anchors import EMPTY, Anchor
from firmware.estimators.charge import Charge
from firmware.estimators.estimators import Estimators
from firmware.estimators.offset import CurrentOffset
from firmware.estimators.soc import Soc
from firmware.estimators.soc_filter import SocFilter
from firmware.settings import Settings
from firmware.tools.validate_soc import validate

RATED_MAH = 50000
R0 = 1.6e-3
ERRORS = {
    "bias_mv": 12, "bias_bp": 100, "bias_span_bp": 1500, "fast_mv": 8, "fast_pm": 100,
    "fast_s": 60, "r_pm": 150, "r_s": 3600, "capacity_pm": 30,
}  # fmt: skip


def ecm_of(ocv, half_mv=0.0, **errors):
    """The circuit of ``estimator_cells.Cell`` as a profile would hold it."""
    grid = [round(100 * k) for k in (0, 1, 2, 3, 5, 7.5, *range(10, 101, 5))]
    r0 = round(R0 * RATED_MAH * 1000)
    return Ecm(
        soc_bp=tuple(grid),
        ocv_dmv=tuple(round(ocv(bp / 10000) * 10000) for bp in grid),
        half_dmv=(round(half_mv * 10),) * len(grid),
        thermal_uv_k=(0,) * len(grid),
        r_soc_bp=(0, 10000),
        r_dc=(250,),
        r0=(r0, r0),
        r1=(round(0.5 * r0),) * 2,
        r2=(round(0.7 * r0),) * 2,
        tau1_ms=25000,
        tau2_ms=600000,
        hysteresis_bp=300 if half_mv else 0,
        **{**ERRORS, **errors},
    )


def drive_ma(seed, seconds, mean_ma=-15000):
    """A current that steps every few seconds."""
    draw = random.Random(seed)
    ma = 0
    for k in range(seconds):
        if k % 7 == 0:
            ma = mean_ma + draw.randint(-40000, 40000)
        yield ma


class Run:
    """Feeds a filter with a cell's voltage as a chip with offset would read it."""

    def __init__(self, cell, follow, offset_mv=0.0, offset_ma=0.0):
        self.cell, self.follow = cell, follow
        self.offset_mv, self.offset_ma = offset_mv, offset_ma
        self._left = 0.0

    def step(self, ma):
        volts = self.cell.step(ma / 1000)
        self._left += (ma + self.offset_ma) / 3.6
        uah = round(self._left)
        self._left -= uah
        mv = round(volts * 1000 + self.offset_mv)
        self.follow.update(mv, round(ma + self.offset_ma), 250, uah, 1000)
        return self.follow.z - 100 * self.cell.soc


@pytest.mark.parametrize(
    ("off_pct", "wave_v", "r_share", "capacity", "offset_mv"),
    [(-10, 0.0, 1.0, 1.0, 0), (10, 0.008, 1.25, 0.97, 4), (-10, -0.008, 0.8, 1.03, -4)],
)
def test_a_wrong_start_is_forgotten_and_the_interval_holds_the_truth(
    off_pct, wave_v, r_share, capacity, offset_mv
):
    cell = Cell(aged(ocv_nmc, wave_v), RATED_MAH / 1000 * capacity, 0.85, R0 * r_share)
    follow = SocFilter(ecm_of(ocv_nmc), RATED_MAH, 25.0)
    follow.start(85.0 + off_pct, 10.0)
    run = Run(cell, follow, offset_mv, 20.0)
    errors, inside = [], 0
    for k, ma in enumerate(drive_ma(5, 7200)):
        error = run.step(ma)
        if k >= 900:
            errors.append(error)
            inside += abs(error) <= 2 * follow.sigma()
    assert np.sqrt(np.mean(np.square(errors))) < 2.5
    assert inside / len(errors) > 0.93
    assert follow.sigma() < 4


def test_on_a_plateau_a_wrong_voltage_does_not_drag_the_charge():
    cell = Cell(ocv_lfp, RATED_MAH / 1000, 0.65, R0)
    follow = SocFilter(ecm_of(ocv_lfp), RATED_MAH, 25.0)
    follow.start(65.0, 2.0, rested=True)
    run = Run(cell, follow, offset_mv=6.0)
    worst = max(abs(run.step(ma)) for ma in drive_ma(3, 7200, mean_ma=-4000))
    assert worst < 2.5
    assert abs(cell.soc - 0.65) > 0.1


def test_hours_of_a_biased_voltage_do_not_make_the_filter_sure():
    cell = Cell(ocv_nmc, RATED_MAH / 1000, 0.5, R0)
    follow = SocFilter(ecm_of(ocv_nmc), RATED_MAH, 25.0)
    follow.start(50.0, 10.0, rested=True)
    run = Run(cell, follow, offset_mv=12.0)
    for _ in range(4 * 3600):
        error = run.step(0)
    assert 0.5 < error <= 2 * follow.sigma()


def test_a_filter_that_is_surely_wrong_opens_again():
    cell = Cell(ocv_nmc, RATED_MAH / 1000, 0.8, R0)
    follow = SocFilter(ecm_of(ocv_nmc), RATED_MAH, 25.0)
    follow.start(50.0, 1.0, rested=True)
    run = Run(cell, follow)
    errors = [abs(run.step(ma)) for ma in drive_ma(8, 7200, mean_ma=-8000)]
    assert errors[0] > 25
    assert max(errors[3600:]) < 5


def test_an_unrested_start_trusts_the_voltage_less():
    widths = []
    for rested in (True, False):
        cell = Cell(ocv_nmc, RATED_MAH / 1000, 0.6, R0)
        for _ in range(1800):
            cell.step(-25.0)
        follow = SocFilter(ecm_of(ocv_nmc), RATED_MAH, 25.0)
        follow.start(100 * cell.soc + 8, 10.0, rested)
        run = Run(cell, follow)
        for ma in drive_ma(4, 120):
            error = run.step(ma)
        widths.append(follow.sigma())
    assert widths[1] > widths[0]
    assert abs(error) <= 2 * follow.sigma()


# --- numbers --------------------------------------------------------------------------------


class Single(SocFilter):
    """All that is kept from one cycle to the next is rounded to 32 bits."""

    def __setattr__(self, name, value):
        if isinstance(value, float):
            value = struct.unpack("f", struct.pack("f", value))[0]
        object.__setattr__(self, name, value)


def test_32_bits_give_the_same_figures():
    cell = Cell(ocv_nmc, RATED_MAH / 1000, 0.9, R0)
    follow = SocFilter(ecm_of(ocv_nmc), RATED_MAH, 25.0)
    single = Single(ecm_of(ocv_nmc), RATED_MAH, 25.0)
    follow.start(80.0, 10.0)
    single.start(80.0, 10.0)
    run, other = Run(cell, follow), Run(Cell(ocv_nmc, RATED_MAH / 1000, 0.9, R0), single)
    for ma in drive_ma(2, 7200):
        run.step(ma)
        other.step(ma)
        assert abs(follow.z - single.z) < 0.1
        assert single.sigma() == pytest.approx(follow.sigma(), rel=0.02)


def test_five_milliampere_over_days_are_counted_in_32_bits():
    rated_mah = 300000  # so large that 32 bits lose all of the current in a sum of seconds
    single = Single(ecm_of(ocv_nmc), rated_mah, 25.0)
    single.start(60.0, 2.0)
    sent = 0
    for k in range(1, 2 * 86400 + 1):
        uah = -5000 * k // 3600 - sent
        sent += uah
        single.count(-5, uah, 1000)
    assert single.z == pytest.approx(60 - 100 * 0.24 / 300, abs=0.012)


def test_the_circuit_is_part_of_the_profile_hash():
    ecm = circuit("nca")
    before = profile_crc(profile("nca"))
    ecm.r0[0] += 1
    try:
        assert profile_crc(profile("nca")) != before
    finally:
        ecm.r0[0] -= 1
    assert circuit("nmc") is None


@pytest.mark.parametrize("mah", [114.5, 1114.5, 2900.0, 2537.3])
def test_charge_is_counted_in_whatever_step_the_capacity_allows(mah):
    follow = SocFilter(circuit("nca"), mah)
    follow.start(90.0, 1.0)
    for _ in range(8000):
        follow.count(-1000, round(-mah / 10), 1000)
    moved = 8000 * round(mah / 10) / mah / 10
    assert follow.z == pytest.approx(90.0 - moved, abs=0.011)


def test_micropython_comes_to_the_same_soc_quickly_and_without_growth(micropython):
    here, there = (
        " ".join(lines(interpreter, "soc_filter_drive.py")).split()
        for interpreter in (sys.executable, micropython)
    )
    assert [float(x) for x in there[:4]] == pytest.approx([float(x) for x in here], abs=0.02)
    took_us, grown = float(there[4]), int(there[5])
    print("us an update:", took_us)
    assert took_us < 2000  # some 60 on a quiet desk
    assert grown < 256


# --- in a pack ------------------------------------------------------------------------------


def nca_volts(z):
    """Rested voltage of the shipped circuit's cell, bent as no table is right."""
    ecm = circuit("nca")
    return np.interp(z * 10000, ecm.soc_bp, ecm.ocv_dmv) / 10000


def nca_pack(soc, offset_ma=0.0):
    cells = [Cell(aged(nca_volts, 0.006), RATED_MAH / 1000 * 0.97, soc, 1.7e-3) for _ in range(4)]
    return cells, Feeder(4, "nca", RATED_MAH, offset_ma)


def test_a_pack_is_followed_by_the_filter_from_its_first_rest_on():
    cells, feeder = nca_pack(0.8)
    figures = feeder.estimators
    for _ in range(70):
        feeder.step(0.0, [cell.step(0.0) for cell in cells])
    assert figures.soc_sync == SocSync.OCV_REST
    inside = 0
    for ma in drive_ma(6, 5400):
        feeder.step(ma / 1000, [cell.step(ma / 1000) for cell in cells])
        inside += figures.soc_lo_bp <= 10000 * cells[0].soc <= figures.soc_hi_bp
    assert inside > 0.95 * 5400
    assert figures.soc_bp == pytest.approx(10000 * cells[0].soc, abs=300)


def test_after_a_restart_the_filter_goes_on_and_says_when_the_model_has_synchronised():
    cells, feeder = nca_pack(0.6)
    for _ in range(70):
        feeder.step(0.0, [cell.step(0.0) for cell in cells])
    state = feeder.estimators.state()
    for cell in cells:
        cell.soc -= 0.07  # what a board that was off has not seen
    again = Feeder(4, "nca", RATED_MAH)
    assert again.estimators.restore(state)
    assert again.estimators.soc_sync == SocSync.RESTORED
    reasons = set()
    for ma in drive_ma(6, 5400, mean_ma=-10000):
        again.step(ma / 1000, [cell.step(ma / 1000) for cell in cells])
        reasons.add(again.estimators.soc_sync)
    figures = again.estimators
    assert reasons == {SocSync.RESTORED, SocSync.MODEL}
    assert figures.soc_age_s < 5400
    assert figures.soc_lo_bp <= 10000 * cells[0].soc <= figures.soc_hi_bp
    assert figures.soc_bp == pytest.approx(10000 * cells[0].soc, abs=300)


def test_an_anchor_that_grows_no_surer_tells_the_filter_nothing_again():
    settings = Settings("T", 4, "nca", RATED_MAH)
    soc = Soc(settings, Charge(), CurrentOffset(settings))
    anchor = Anchor(4)
    anchor.kind, anchor.mean_bp, anchor.sigma_bp = EMPTY, 1000.0, 300.0
    soc.anchor(anchor, True, 0)
    anchor.mean_bp = 800.0
    soc.anchor(anchor, True, 60)
    told = (soc.filter.z, soc.filter.pzz)
    anchor.sigma_bp = 290.0  # hardly anything new in it
    soc.anchor(anchor, False, 61)
    assert (soc.filter.z, soc.filter.pzz) == told
    anchor.sigma_bp = 100.0
    soc.anchor(anchor, False, 62)
    assert soc.filter.pzz < told[1]


def test_a_filter_that_knows_nothing_is_not_opened_further():
    figures = SocFilter(circuit("nca"), RATED_MAH, 50.0)
    figures.start(50.0, 40.0)
    figures.excess = 5.0
    wide = figures.pzz
    for _ in range(5):
        figures.update(3000.0, 0, 250, 0, 10_000)
    assert figures.pzz <= wide * 1.01


def test_the_resistance_follows_the_warmth_both_ways():
    figures = SocFilter(circuit("nca"), RATED_MAH, 50.0)
    figures.start(50.0, 5.0)
    seen = []
    for dc in (400, -100, 400):
        figures._look(dc)
        seen.append(figures._r0)
    assert seen[0] == seen[2]
    assert seen[1] > 1.5 * seen[0], "cold"


def test_without_a_circuit_the_charge_is_counted_as_before():
    assert Estimators(Settings("T", 4, "nmc", RATED_MAH)).soc.filter is None


# --- recorded cells -------------------------------------------------------------------------


@pytest.mark.shared
def test_recorded_nca_drives_are_followed(shared_data):
    folder = str(shared_data / "panasonic_18650pf")
    found = validate(folder, folder, noise=False)
    for group, limit in ((25, 1.5), (10, 2), (0, 3), (-10, 4)):
        for start in ("start", "middle"):
            figures = found[(start, group)]
            assert figures["rmse_pct"] < limit, (start, group)
            assert figures["coverage_pct"] > 92, (start, group)


@pytest.mark.shared
def test_a_recorded_lfp_cell_is_followed_in_its_flat_zone(shared_data):
    folder = str(shared_data / "lfp_flat_soc")
    figures = validate(folder, folder, noise=False)[("start", 25)]
    assert figures["rmse_pct"] < 3
    assert figures["coverage_pct"] > 93
