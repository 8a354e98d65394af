"""The estimators against a small cell of their own: figures, intervals, refusals, restarts."""

import random
import sys

import pytest
from core_fakes import healthy, set_cells
from estimator_cells import Bench, Cell, Feeder, aged, ocv_lfp, ocv_nmc
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interpreters import lines

from common import models
from common.codes import Chemistry, Fault, Method, NextTest, Refusal, SocSync
from common.profiles import NAMES, profile
from common.registers import RegisterMap
from firmware.estimators import ocv
from firmware.estimators.charge import Charge
from firmware.estimators.estimators import Estimators
from firmware.estimators.lifetime import DEEP, DISCHARGED, V_MIN
from firmware.settings import Settings

RATED_AH = 50.0


def bench(kind, capacities, seed=1, soc=0.4, offset_ma=0.0, gain=1.0):
    """A string of cells, each a little apart, with a curve no table knows exactly."""
    draw = random.Random(seed)
    curve, full_v, empty_v = (ocv_nmc, 4.2, 2.8) if kind == "nmc" else (ocv_lfp, 3.6, 2.6)
    wave_v = draw.choice((-0.010, 0.010))
    cells = [
        Cell(
            aged(curve, wave_v),
            RATED_AH * capacity,
            soc + draw.uniform(-0.01, 0.01),
            1.6e-3 * draw.uniform(0.9, 1.1) * (1 + 2 * (1 - capacity)),
            0.012 if kind == "lfp" else 0.0,
        )
        for capacity in capacities
    ]
    feeder = Feeder(len(cells), kind, round(RATED_AH * 1000), offset_ma, gain)
    return Bench(cells, feeder, full_v, empty_v, RATED_AH)


def outside(estimators, capacities):
    """Known cells whose interval does not hold the truth."""
    wrong = []
    for i, capacity in enumerate(capacities):
        if estimators.soh.known(i):
            _soh, lo, hi = estimators.soh.interval(i, estimators.now_s)
            if not lo <= capacity * 10000 <= hi:
                wrong.append((i, capacity, lo, hi))
    return wrong


def mean_soc_bp(pack):
    return 10000 * sum(cell.soc for cell in pack.cells) / len(pack.cells)


# --- state of health ------------------------------------------------------------------------


def test_a_new_board_knows_nothing_and_says_what_would_help():
    estimators = Estimators(Settings("T", 14, "nmc", 50000))
    assert estimators.soc_bp is estimators.soc_lo_bp is estimators.soc_hi_bp is None
    assert estimators.soh_bp is estimators.soh_lo_bp is estimators.soh_hi_bp is None
    assert estimators.soh_age_s is estimators.soc_age_s is None
    assert estimators.refusal == Refusal.NO_EVIDENCE
    assert estimators.next_test == NextTest.REST


@pytest.mark.parametrize(
    ("health", "rate", "offset_ma", "gain"),
    [(0.97, 0.5, 0.0, 1.0), (0.77, 0.5, 8.0, 1.004), (0.85, 0.8, -8.0, 0.996)],
)
def test_an_evenly_aged_nmc_pack_is_known_within_three_points(health, rate, offset_ma, gain):
    draw = random.Random(3)
    capacities = [health + draw.uniform(-0.012, 0.012) for _ in range(14)]
    pack = bench("nmc", capacities, 5, offset_ma=offset_ma, gain=gain)
    pack.intake(rate)
    estimators = pack.feeder.estimators
    truth = min(capacities)
    assert estimators.soh_bp / 10000 == pytest.approx(truth, abs=0.03)
    assert estimators.soh_lo_bp <= truth * 10000 <= estimators.soh_hi_bp
    assert estimators.soh_hi_bp - estimators.soh_lo_bp < 800
    for i, capacity in enumerate(capacities):
        assert estimators.soh.soh[i] / 10000 == pytest.approx(capacity, abs=0.03)
    assert not outside(estimators, capacities)
    assert estimators.soh.weak_z() < 3
    assert estimators.refusal == Refusal.NONE
    assert estimators.next_test == NextTest.NONE


def test_a_single_weak_cell_is_found_by_its_number():
    capacities = [0.88] * 14
    capacities[8] = 0.66
    pack = bench("nmc", capacities, 7)
    pack.intake(0.7)
    estimators = pack.feeder.estimators
    assert estimators.soh.weakest() == 8
    assert estimators.soh.weak_z() > 10
    assert estimators.soh_bp / 10000 == pytest.approx(0.66, abs=0.03)
    assert not outside(estimators, capacities)
    assert estimators.soh.spread()[0] > 1500
    pack.run(0.5, 600)
    pack.rest(600)  # another anchor, too near the last: the figure stands all the same
    assert estimators.refusal == Refusal.NONE
    assert estimators.soh_bp / 10000 == pytest.approx(0.66, abs=0.03)


def test_a_charge_that_trips_on_the_weak_cell_gives_a_wider_figure_not_a_wrong_one():
    capacities = [0.88] * 14
    capacities[3] = 0.64
    pack = bench("nmc", capacities, 2)
    pack.rest(600)
    pack.charge_to_trip(0.7, 4.25)
    pack.rest(1800)
    pack.discharge(0.7)
    pack.rest(2700)
    estimators = pack.feeder.estimators
    assert estimators.soh.weakest() == 3
    assert estimators.soh_bp / 10000 == pytest.approx(0.64, abs=0.03)
    assert not outside(estimators, capacities)


def test_an_lfp_pack_is_known_from_full_to_empty():
    capacities = [0.88 + 0.004 * (i % 4) for i in range(16)]
    pack = bench("lfp", capacities, 4)
    pack.intake(0.5)
    estimators = pack.feeder.estimators
    assert estimators.soh_bp / 10000 == pytest.approx(0.88, abs=0.03)
    assert estimators.soh_lo_bp <= 8800 <= estimators.soh_hi_bp
    assert not outside(estimators, capacities)


def test_lfp_cells_that_never_leave_the_plateau_are_refused_not_guessed():
    capacities = [0.88] * 16
    capacities[8] = 0.64  # full first, empty first: the others stay between
    pack = bench("lfp", capacities, 4)
    pack.rest(600)
    pack.charge_to_trip(0.7, 3.75)
    pack.rest(1800)
    pack.discharge(0.7)
    pack.rest(1800)
    estimators = pack.feeder.estimators
    assert estimators.soh.known(8)
    assert not outside(estimators, capacities)
    for i in range(16):
        _soh, lo, hi = estimators.soh.interval(i, estimators.now_s)
        assert i == 8 or not estimators.soh.known(i) or hi - lo > 800


def test_a_swing_across_the_lfp_plateau_alone_gives_no_figure():
    pack = bench("lfp", [0.9] * 8, 4, soc=0.75)
    pack.rest(2000)
    pack.run(-0.5, 3600)  # by half the capacity, to some 20 %
    pack.rest(2000)
    estimators = pack.feeder.estimators
    assert estimators.soh_bp is None
    assert estimators.refusal in (Refusal.FLAT_REGION, Refusal.SWING_TOO_SMALL)


def test_a_small_swing_is_refused():
    pack = bench("nmc", [0.9] * 4, soc=0.6)
    pack.rest(2000)
    pack.run(-0.5, 1800)
    pack.rest(2000)
    assert pack.feeder.estimators.soh_bp is None
    assert pack.feeder.estimators.refusal == Refusal.SWING_TOO_SMALL
    assert pack.feeder.estimators.next_test == NextTest.CHARGE_TO_FULL


@pytest.mark.parametrize("temp_c", [2.0, 50.0])
def test_a_swing_in_the_cold_or_heat_is_refused(temp_c):
    pack = bench("nmc", [0.9] * 3, soc=0.9)
    step = pack.feeder.step
    pack.feeder.step = lambda current_a, volts: step(current_a, volts, temp_c)
    pack.rest(2000)
    pack.run(-0.5, 4500)
    pack.rest(2000)
    assert pack.feeder.estimators.soh_bp is None
    assert pack.feeder.estimators.refusal == Refusal.TEMPERATURE
    assert pack.feeder.estimators.next_test == NextTest.WARM_UP


def test_the_interval_is_wider_after_a_short_rest():
    widths = []
    for rest_s in (70, 500, 1800):
        pack = bench("nmc", [0.9] * 3, soc=0.9)
        pack.rest(rest_s)
        pack.run(-0.8, 3000)
        pack.rest(rest_s)
        _soh, lo, hi = pack.feeder.estimators.soh.interval(1, pack.feeder.estimators.now_s)
        assert lo <= 9000 <= hi
        widths.append(hi - lo)
    assert widths[0] > widths[1] > widths[2]


def test_the_interval_widens_with_age_and_never_narrows_below_the_common_error():
    pack = bench("nmc", [0.9] * 3, soc=0.9)
    widths = []
    for _ in range(6):
        pack.discharge(0.8)
        pack.rest(1000)
        pack.charge(0.8)
        pack.rest(1000)
        estimators = pack.feeder.estimators
        _soh, lo, hi = estimators.soh.interval(1, estimators.now_s)
        assert lo <= 9000 <= hi
        widths.append(hi - lo)
    assert widths[-1] > 0.5 * widths[0]
    fresh = estimators.soh.interval(1, estimators.now_s)
    stale = estimators.soh.interval(1, estimators.now_s + 2000 * 3600)
    assert stale[2] - stale[1] > fresh[2] - fresh[1] + 100


def widths(estimators):
    """Of each known cell's interval and of the spread."""
    cells = [estimators.soh.interval(i, estimators.now_s) for i in range(estimators.n_cells)]
    return [hi - lo for _soh, lo, hi in cells], estimators.soh.spread()


def test_neither_an_anchor_without_evidence_nor_a_restart_makes_an_old_figure_young(known_pack):
    before = Estimators(Settings("T", 4, "nmc", 50000))
    known = known_pack.feeder.estimators
    assert before.restore(known.state(), known.counters())
    soh = before.soh
    fresh, _spread = widths(before)
    for _ in range(10):
        before.now_s += 200 * 3600
        soh.fec_centi += 1000
        soh.opened(before.now_s)
    old, spread = widths(before)
    grown = 4 * (10 * 10 * 3 + 10 * 200 * 0.04)  # two deviations on either side
    assert old == pytest.approx([width + grown for width in fresh], rel=0.01)
    # the lifetime counters of this pack did not move with it
    after = Estimators(Settings("T", 4, "nmc", 50000))
    assert after.restore(before.state(), before.counters())
    assert widths(after)[0] == pytest.approx(old, rel=0.01)
    assert widths(after)[1] == pytest.approx(spread, rel=0.01)


# --- state of charge ------------------------------------------------------------------------


def test_the_soc_holds_the_truth_and_its_interval_grows_between_anchors():
    pack = bench("nmc", [0.9] * 6, soc=0.55, offset_ma=6.0, gain=0.997)
    pack.rest(1800)
    estimators = pack.feeder.estimators
    assert estimators.soc_lo_bp <= mean_soc_bp(pack) <= estimators.soc_hi_bp
    assert estimators.soc_sync == SocSync.OCV_REST
    narrow = estimators.soc_hi_bp - estimators.soc_lo_bp
    for rate in (0.5, -0.7, 0.6, -0.3):
        pack.run(rate, 1200)
        assert estimators.soc_lo_bp <= mean_soc_bp(pack) <= estimators.soc_hi_bp
    assert estimators.soc_hi_bp - estimators.soc_lo_bp > narrow
    assert estimators.soc_age_s >= 4800


def test_the_soc_never_snaps_on_the_lfp_plateau():
    pack = bench("lfp", [0.95] * 4, soc=0.2)
    pack.discharge(0.5)  # from here to full: the capacity is known, and what is counted is sure
    pack.rest(1800)
    pack.charge(0.5)
    pack.rest(1800)
    pack.run(-0.5, 3200)
    before = pack.feeder.estimators.soc_bp
    pack.rest(4000)
    estimators = pack.feeder.estimators
    assert abs(estimators.soc_bp - before) < 300
    assert estimators.soc_lo_bp <= mean_soc_bp(pack) <= estimators.soc_hi_bp
    assert estimators.soc_sync == SocSync.FULL_CHARGE


def test_a_full_charge_synchronises():
    pack = bench("nmc", [0.9] * 4, soc=0.5)
    pack.charge(0.7)
    estimators = pack.feeder.estimators
    assert estimators.soc_sync == SocSync.FULL_CHARGE
    assert estimators.soc_bp == pytest.approx(mean_soc_bp(pack), abs=250)


# --- resistance -----------------------------------------------------------------------------


def test_the_resistance_of_each_cell_comes_from_steps_of_the_current():
    pack = bench("nmc", [0.9, 0.8, 0.7], soc=0.6)
    for _ in range(8):
        pack.run(0.5, 20)
        pack.run(-0.5, 20)
    for i, cell in enumerate(pack.cells):
        truth = 1e6 * (cell.r0 + cell.pairs[0][0] * 1.5 / 25)  # the faster pair, in 1 s or so
        r, lo, hi = pack.feeder.estimators.resistance.interval(i)
        assert lo <= truth <= hi
        assert r == pytest.approx(truth, rel=0.08)
    total, lo, hi = pack.feeder.estimators.resistance.pack()
    assert lo < total < hi


def test_no_resistance_from_a_ramp_a_gap_or_the_cold():
    pack = bench("nmc", [0.9] * 2, soc=0.6)
    for k in range(60):
        pack.run(0.02 * abs(k % 60 - 30), 1)
    assert pack.feeder.estimators.resistance.pack() is None
    step = pack.feeder.step
    pack.feeder.step = lambda current_a, volts: step(current_a, volts, 25.0, 3000)
    pack.run(0.5, 5)
    pack.run(-0.5, 5)
    assert pack.feeder.estimators.resistance.pack() is None
    pack.feeder.step = lambda current_a, volts: step(current_a, volts, -5.0)
    pack.run(0.5, 5)
    pack.run(-0.5, 5)
    assert pack.feeder.estimators.resistance.pack() is None


# --- lifetime, integers ---------------------------------------------------------------------


@given(st.lists(st.integers(-60000, 60000), max_size=200))
@hypothesis_settings(max_examples=50)
def test_the_charge_counter_loses_nothing(deltas):
    count = Charge()
    for delta in deltas:
        count.add(delta)
        assert 0 <= count.uah < 1000
    assert count.mah * 1000 + count.uah == sum(deltas)


def test_five_milliampere_over_ten_days_are_all_counted_in_small_integers():
    count = Charge()
    sent = 0
    for second in range(1, 864001):
        delta = 5000 * second // 3600 - sent
        sent += delta
        count.add(-delta)
        assert -(2**30) < count.mah * 1000 < 2**30
    assert count.since(0, 0) == pytest.approx(-1200.0, abs=0.002)


def test_the_lifetime_counts_throughput_extremes_and_minutes():
    pack = bench("nmc", [0.9] * 4, soc=0.3)
    pack.run(0.5, 3600)
    pack.run(-0.5, 1800)
    block = RegisterMap(4).block(models.LIFETIME)
    pack.feeder.estimators.publish_lifetime(block)
    life = block.layout.decode(block.bytes())
    assert life["ChaAh"] == pytest.approx(25.0, abs=0.1)
    assert life["DisAh"] == pytest.approx(12.5, abs=0.1)
    assert life["Fec"] == pytest.approx(0.37, abs=0.01)
    assert life["RunMin"] == 90
    assert sum(life[f"Tmp{n}"] for n in range(8)) == life["Tmp3"] == 90
    assert sum(life[f"Soc{n}"] for n in range(10)) == 0  # never rested: SOC unknown
    assert life["AChaEver"] == life["ADisEver"] == 25.0
    assert 14 * 3.0 < life["ChaWh"] / 25 * 14 / 4 < 14 * 4.3
    assert 3.0 < life["VMinEver"] < life["VMaxEver"] < 4.25
    assert life["TMinEver"] == life["TMaxEver"] == 25.0
    assert life["NDeep"] == life["NOver"] == life["HotMin"] == life["HotChaMin"] == 0


def test_harmful_minutes_and_events_are_counted_once_each():
    feeder = Feeder(2, "nmc", 50000)
    for volts in (3.6, 1.4, 1.45, 1.4, 3.6, 4.26, 4.24, 4.26, 3.6):
        feeder.step(0.0, [volts, 3.6])
    for _ in range(120):
        feeder.step(10.0, [3.6, 3.6], temp_c=62.0)
    for _ in range(60):
        feeder.step(10.0, [3.6, 3.6], temp_c=-3.0)
    block = RegisterMap(2).block(models.LIFETIME)
    feeder.estimators.publish_lifetime(block)
    life = block.layout.decode(block.bytes())
    assert (life["NDeep"], life["NOver"]) == (1, 1)
    assert (life["HotMin"], life["HotChaMin"], life["ColdChaMin"], life["ColdMin"]) == (2, 2, 1, 0)
    assert (life["Tmp7"], life["Tmp0"]) == (2, 1)


# --- what is published, what survives -------------------------------------------------------


@pytest.fixture(scope="module")
def known_pack():
    capacities = [0.9, 0.9, 0.8, 0.9]
    pack = bench("nmc", capacities, 3)
    pack.intake(0.7)
    pack.run(0.7, 2400)
    pack.rest(1000)  # the cells' differences are told at medium charge only
    return pack


def test_the_health_model_is_published_whole(known_pack):
    estimators = known_pack.feeder.estimators
    block = RegisterMap(4).block(models.HEALTH)
    estimators.publish_health(block)
    health = block.layout.decode(block.bytes())
    unknown = {"SnCrc", "SnEnd", "Seq", "SeqEnd", "Boot", "NCell"}
    missing = {name for name, value in health.items() if value is None}
    assert missing <= unknown
    assert health["SohLo"] <= health["Soh"] <= health["SohHi"]
    assert health["Cap"] == pytest.approx(health["Soh"] / 100 * RATED_AH, abs=0.01)
    assert health["CapRtg"] == RATED_AH
    assert health["Weak"] == 3
    assert health["Prof"] == "nmc"
    assert health["Chem"] == Chemistry.NMC
    assert health["Mth"] in (Method.OCV_SWING, Method.FULL_CYCLE, Method.FUSED)
    assert health["RLo"] < health["R"] < health["RHi"]
    assert sum(cell["R"] for cell in health["cells"]) == pytest.approx(health["R"], rel=0.02)
    assert health["RPulse"] == 1.0
    for cell in health["cells"]:
        assert cell["SohLo"] < cell["Soh"] < cell["SohHi"]


def test_an_unknown_health_is_not_available_on_the_wire():
    block = RegisterMap(4).block(models.HEALTH)
    Estimators(Settings("T", 4, "lfp", 100000)).publish_health(block)
    health = block.layout.decode(block.bytes())
    for name in ("Soh", "SohLo", "SohHi", "SohAge", "Cap", "CapLo", "CapHi", "Spread", "Weak"):
        assert health[name] is None, name
    for name in ("R", "RLo", "RHi", "RAge", "RestDv"):
        assert health[name] is None, name
    assert health["Ref"] == Refusal.NO_EVIDENCE
    assert health["Mth"] == health["RMth"] == Method.NONE
    assert all(cell["Soh"] is None and cell["AgeH"] is None for cell in health["cells"])


def test_figures_survive_a_restart_and_the_soc_is_less_sure(known_pack):
    before = known_pack.feeder.estimators
    after = Estimators(Settings("T", 4, "nmc", 50000))
    assert after.restore(before.state(), before.counters())
    assert after.soh_bp == pytest.approx(before.soh_bp, abs=2)
    assert after.soh.count == before.soh.count
    assert list(after.lifetime.words) == list(before.lifetime.words)
    assert after.resistance.pack() == pytest.approx(before.resistance.pack(), rel=1e-5)
    assert after.soc_sync == SocSync.RESTORED
    assert after.soc_bp == pytest.approx(before.soc_bp, abs=2)
    assert after.soc_hi_bp - after.soc_lo_bp > before.soc_hi_bp - before.soc_lo_bp


@pytest.mark.parametrize(
    "settings", [("T", 4, "lco", 50000), ("T", 5, "nmc", 50000), ("T", 4, "nmc", 60000)]
)
def test_another_profile_cell_count_or_rating_makes_old_evidence_void(known_pack, settings):
    before = known_pack.feeder.estimators
    after = Estimators(Settings(*settings))
    assert not after.restore(before.state(), before.counters())
    assert after.soh_bp is None
    assert after.soc_bp is None
    assert after.resistance.pack() is None
    assert after.refusal == Refusal.PROFILE_CHANGED
    assert list(after.lifetime.words) == list(before.lifetime.words)


@given(st.binary(max_size=700), st.integers(0, 330))
@hypothesis_settings(max_examples=60)
def test_restoring_nonsense_changes_nothing(noise, cut):
    estimators = Estimators(Settings("T", 4, "nmc", 50000))
    empty = estimators.state()
    assert not estimators.restore(b"\xff" + noise)
    assert not estimators.restore(empty[: min(cut, len(empty) - 1)])
    assert estimators.state() == empty


def test_invalid_snapshots_are_left_out():
    pack = bench("nmc", [0.9] * 3, soc=0.5)
    pack.rest(200)
    estimators = pack.feeder.estimators
    before = estimators.state()
    snapshot = pack.feeder.snapshot
    snapshot.valid = False
    snapshot.delta_uah = 5000
    for _ in range(100):
        estimators.update(snapshot)
    assert estimators.state() == before


# --- the table ------------------------------------------------------------------------------


@given(st.sampled_from([profile(name) for name in NAMES]), st.floats(2000, 4500), st.floats(0, 50))
def test_soc_rises_with_voltage_and_stays_in_range(kind, mv, more):
    low, high = ocv.soc_bp(kind, mv), ocv.soc_bp(kind, mv + more)
    assert 0 <= low <= high <= 10000


def test_the_error_of_a_looked_up_soc_is_the_width_of_the_plateau():
    assert ocv.soc_sigma_bp(profile("lfp"), 3290, 15) > 1000
    assert ocv.soc_sigma_bp(profile("nmc"), 4000, 10) < 200


def test_lithium_lost_alone_lowers_the_soc_of_a_voltage_and_widens_its_error():
    nmc = profile("nmc")
    assert ocv.slip_of(1.0, 0.0) == (0.0, 0.0)
    slip, sigma = ocv.slip_of(0.8, 0.02)
    assert slip == pytest.approx(0.0625)
    assert ocv.soc_bp(nmc, 3750, slip) < ocv.soc_bp(nmc, 3750) - 200
    sure = ocv.soc_sigma_bp(nmc, 3750, 9, slip)
    assert ocv.soc_sigma_bp(nmc, 3750, 9, slip, sigma) > 1.5 * sure
    assert ocv.slip_of(0.5, 0.02)[0] <= 0.2
    assert ocv.soc_bp(profile("lco"), 3850, slip) == ocv.soc_bp(profile("lco"), 3850)


@given(
    st.sampled_from(NAMES).map(profile),
    st.floats(2000, 4500),
    st.floats(0, 50),
    st.floats(0, 0.2),
)
def test_the_soc_of_an_aged_cell_stays_in_range(kind, mv, more, slip):
    assert 0 <= ocv.soc_bp(kind, mv, slip) <= 10000
    assert ocv.soc_sigma_bp(kind, mv, more, slip, 0.05) >= 0


# --- both interpreters ----------------------------------------------------------------------


def test_micropython_comes_to_the_same_figures(micropython):
    here, there = (
        " ".join(lines(interpreter, "estimators_intake.py")).split()
        for interpreter in (sys.executable, micropython)
    )
    assert len(here) == len(there) > 60
    for a, b in zip(here, there, strict=True):
        if a.lstrip("-").isdigit():
            assert int(a) == pytest.approx(int(b), abs=2, rel=1e-3)
        else:
            assert a == b


# --- readings that cannot be right ----------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.SENSOR_IMPLAUSIBLE, Fault.STACK_MISMATCH])
def test_cells_that_cannot_be_right_are_no_evidence_but_their_charge_is_counted(fault):
    estimators = Estimators(Settings("T", 4, "nmc", 10000))
    snapshot = healthy(4, 3700)
    for _ in range(300):
        estimators.update(snapshot)
    before_bp = estimators.soc_bp
    assert before_bp is not None
    lowest_mv = estimators.lifetime.words[V_MIN]
    snapshot.faults = 1 << fault
    set_cells(snapshot, [3700, 3700, 4190, 2100])
    snapshot.delta_uah = -100
    for _ in range(5000):
        estimators.update(snapshot)
    # 500 mAh of 10 Ah that are taken for 8 Ah, as long as nobody has measured them
    assert estimators.soc_bp == pytest.approx(before_bp - 625, abs=15)
    assert estimators.resistance.count == 0
    assert estimators.lifetime.words[V_MIN] == lowest_mv
    assert estimators.lifetime.words[DEEP] == 0
    assert estimators.lifetime.words[DISCHARGED] > 0


def test_a_rest_that_nobody_watched_is_not_taken_for_one():
    estimators = Estimators(Settings("T", 4, "nmc", 10000))
    snapshot = healthy(4, 3700)
    for _ in range(20):  # too short to tell anything
        estimators.update(snapshot)
    snapshot.valid = False
    for _ in range(900):
        estimators.update(snapshot)
    snapshot.valid = True
    snapshot.dt_ms = 901_000
    set_cells(snapshot, [4000] * 4)  # it was charged meanwhile, and has not relaxed
    for _ in range(45):
        estimators.update(snapshot)
        snapshot.dt_ms = 1000
    assert estimators.soc_bp is None
    for _ in range(30):
        estimators.update(snapshot)
    assert estimators.soc_bp is not None


def test_a_single_lost_reading_does_not_end_a_rest():
    estimators = Estimators(Settings("T", 4, "nmc", 10000))
    snapshot = healthy(4, 3700)
    for n in range(70):
        snapshot.valid = n % 10 != 5
        estimators.update(snapshot)
    snapshot.valid = True
    for _ in range(10):
        estimators.update(snapshot)
    assert estimators.soc_bp is not None


def test_days_without_a_reading_pass_at_once():
    estimators = Estimators(Settings("T", 4, "nmc", 10000))
    snapshot = healthy(4, 3700)
    snapshot.dt_ms = 6 * 86_400_000
    estimators.update(snapshot)
    assert estimators.now_s == 6 * 86_400
