"""Remaining energy, power and efficiency against a small cell that is run to its end."""

import copy
import random
import sys

import pytest
from estimator_cells import Bench, Cell, Feeder, aged, ocv_lfp, ocv_nmc
from hypothesis import given
from hypothesis import strategies as st
from interpreters import lines

from common import models
from common.codes import Method, Refusal
from common.profiles import NAMES, profile
from common.registers import RegisterMap
from firmware.estimators import ocv
from firmware.estimators.efficiency import Efficiency
from firmware.estimators.energy import POWER_S
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings

RATED_AH = 50.0


def bench(kind, health, seed=1, n_cells=4, soc=0.4):
    draw = random.Random(seed)
    curve, full_v, empty_v = (ocv_nmc, 4.2, 2.8) if kind == "nmc" else (ocv_lfp, 3.6, 2.6)
    cells = [
        Cell(
            aged(curve, draw.choice((-0.008, 0.008))),
            RATED_AH * (health + draw.uniform(-0.01, 0.01)),
            soc,
            1.6e-3 * draw.uniform(0.9, 1.1),
            0.012 if kind == "lfp" else 0.0,
        )
        for _ in range(n_cells)
    ]
    feeder = Feeder(n_cells, kind, round(RATED_AH * 1000), draw.uniform(-8, 8), 1.002)
    return Bench(cells, feeder, full_v, empty_v, RATED_AH)


def energy_block(estimators, n_cells=4):
    block = RegisterMap(n_cells).block(models.ENERGY)
    estimators.publish_energy(block)
    return block.layout.decode(block.bytes())


def given_wh(pack, current_a):
    """What the cells truly give until the first one is empty, Wh."""
    cells = copy.deepcopy(pack.cells)
    joule = 0.0
    while True:
        volts = [cell.step(-current_a) for cell in cells]
        if min(volts) <= pack.empty_v:
            return joule / 3600
        joule += sum(volts) * current_a


@pytest.mark.parametrize(
    ("kind", "health", "seed"), [("nmc", 0.92, 1), ("nmc", 0.74, 2), ("lfp", 0.85, 3)]
)
def test_the_remaining_energy_is_what_comes_out(kind, health, seed):
    pack = bench(kind, health, seed)
    pack.intake(0.5)
    estimators = pack.feeder.estimators
    for _ in range(3):
        pack.run(0.5, 1500)
        figure = energy_block(estimators)
        truth = given_wh(pack, figure["WhA"])
        assert figure["WhLo"] <= truth <= figure["WhHi"]
        assert figure["Wh"] == pytest.approx(truth, abs=0.05 * 4 * 3.7 * RATED_AH)
    assert figure["EnRef"] == Refusal.NONE
    estimators.reckon()
    pack.run(-0.5, 600)
    assert energy_block(estimators)["Wh"] == figure["Wh"], "what was reckoned is written once"
    assert energy_block(estimators)["Wh"] < figure["Wh"] - 1


@pytest.mark.parametrize(("kind", "soc"), [("nmc", 0.8), ("nmc", 0.2), ("lfp", 0.8), ("lfp", 0.2)])
def test_the_power_keeps_every_cell_above_empty_for_ten_seconds(kind, soc):
    pack = bench(kind, 0.85, 7)
    pack.intake(0.5)
    figure = energy_block(pack.feeder.estimators)
    name = "P80" if soc > 0.5 else "P20"
    for cell in pack.cells:
        cell.soc = soc
        cell.h = 0.0
        for pair in cell.pairs:
            pair[2] = 0.0
    most_a = pack.feeder.settings.ocd_ma / 1000
    low_a, high_a = 0.0, most_a
    for _ in range(20):  # the largest current that the cells bear
        current_a = (low_a + high_a) / 2
        cells = copy.deepcopy(pack.cells)
        for _ in range(POWER_S):
            volts = [cell.step(-current_a) for cell in cells]
        if min(volts) > pack.empty_v:
            low_a, watts = current_a, sum(volts) * current_a
        else:
            high_a = current_a
    assert figure[name + "Lo"] <= watts <= figure[name + "Hi"]
    assert figure[name] == pytest.approx(watts, rel=0.15)


def test_the_factor_of_ten_seconds_is_learnt_from_a_step_that_stays():
    pack = bench("nmc", 0.9, 4, soc=0.5)
    energy = pack.feeder.estimators.energy
    before = energy.factor_sigma
    pack.rest(60)
    pack.run(-0.5, 8)  # too short
    assert energy.factor_sigma == before
    pack.rest(60)
    pack.run(-0.5, 30)
    assert energy.factor_sigma < before
    r0 = 1.0
    one = r0 + 0.5 * r0 * (1 - 2.718281828 ** (-1 / 25))
    ten = r0 + 0.5 * r0 * (1 - 2.718281828 ** (-10 / 25)) + 0.7 * r0 * 10 / 600
    assert energy.factor == pytest.approx(ten / one, rel=0.04)


def test_without_evidence_nothing_is_said_but_why():
    estimators = Estimators(Settings("T", 4, "nmc", 50000))
    figure = energy_block(estimators)
    for name in ("Wh", "WhLo", "WhHi", "P80", "P80Lo", "P20Hi", "Rte", "RteLo", "RteAge"):
        assert figure[name] is None, name
    assert figure["EnRef"] == Refusal.SOC_UNKNOWN
    assert (figure["RteMth"], figure["RteRef"]) == (Method.NONE, Refusal.NOT_CLOSED)
    pack = bench("nmc", 0.9)
    pack.rest(700)
    assert energy_block(pack.feeder.estimators)["EnRef"] == Refusal.NO_EVIDENCE


def test_the_round_trip_efficiency_is_that_of_a_closed_cycle():
    pack = bench("nmc", 0.9, 5, soc=0.7)
    pack.charge(0.5)
    pack.rest(300)
    assert energy_block(pack.feeder.estimators)["Rte"] is None
    out = into = 0.0
    step = pack._step

    def watched(current_a):
        nonlocal out, into
        volts = step(current_a)
        if current_a < 0:
            out -= sum(volts) * current_a
        else:
            into += sum(volts) * current_a
        return volts

    pack._step = watched
    pack.discharge(0.5)
    pack.rest(300)
    pack.charge(0.5)
    figure = energy_block(pack.feeder.estimators)
    assert figure["RteLo"] <= 100 * out / into <= figure["RteHi"]
    assert figure["RteMth"] == Method.CLOSED_CYCLE
    assert figure["RteAge"] < 3600
    assert figure["RteHi"] - figure["RteLo"] < 4


def test_a_third_of_the_range_both_ways_is_needed():
    pack = bench("nmc", 0.9, 5, soc=0.8)
    pack.run(-0.5, 2000)
    pack.run(0.5, 2000)
    assert pack.feeder.estimators.efficiency.figure() is None
    pack.run(-0.5, 4300)
    pack.run(0.5, 4000)
    assert pack.feeder.estimators.efficiency.figure() is not None


@given(st.lists(st.integers(-60000, 60000), max_size=300), st.integers(3000, 4200))
def test_any_current_gives_an_efficiency_of_one_when_the_voltage_stands_still(currents, mv):
    feeder = Feeder(2, "nmc", 1000)
    efficiency = Efficiency(feeder.settings)
    s = feeder.snapshot
    s.sum_mv = 2 * mv
    for now_s, ma in enumerate(currents):
        s.delta_uah = ma * 1000 // 600
        feeder.estimators.charge.add(s.delta_uah)
        efficiency.update(s, feeder.estimators.charge, now_s)
    figure = efficiency.figure()
    assert figure is None or figure[0] == pytest.approx(10000, abs=2)


@pytest.mark.parametrize("name", NAMES)
def test_the_rested_voltage_is_the_inverse_of_the_soc(name):
    cells = profile(name)
    for soc_bp in range(0, 10001, 250):
        assert ocv.soc_bp(cells, ocv.rested_mv(cells, soc_bp)) == pytest.approx(soc_bp, abs=1)
    assert ocv.rested_mv(cells, -50) == cells.ocv_mv[0]
    assert ocv.rested_mv(cells, 10050) == cells.ocv_mv[-1]


@given(st.floats(0, 9999), st.floats(1, 9999), st.sampled_from(["nmc", "lfp"]).map(profile))
def test_the_mean_voltage_lies_between_those_of_the_ends(low, width, cells):
    high = min(10000.0, low + width)
    mean = ocv.mean_mv(cells, low, high)
    ends = ocv.rested_mv(cells, low), ocv.rested_mv(cells, high)
    assert ends[0] - 0.01 <= mean <= ends[1] + 0.01
    middle = (low + high) / 2
    if low < middle < high:  # the mean of two halves
        halves = ocv.mean_mv(cells, low, middle) + ocv.mean_mv(cells, middle, high)
        assert mean == pytest.approx(halves / 2, abs=0.01)


def test_both_interpreters_give_the_same_figures(micropython):
    here, there = (
        [float(line) for line in lines(interpreter, "energy_figures.py")]
        for interpreter in (sys.executable, micropython)
    )
    assert len(here) == 10
    assert here == pytest.approx(there, rel=1e-4)
