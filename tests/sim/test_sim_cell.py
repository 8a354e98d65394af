"""Modelled cells: their voltage at rest and under current, their charge, heat and ageing."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from common import profiles
from sim import parameters
from sim.cell import Cells

KINDS = [parameters.NMC, parameters.LFP]


def cells_of(kind: parameters.CellKind, n: int = 3, **values: object) -> Cells:
    values.setdefault("soc", np.full(n, 0.5))
    return Cells(kind, np.full(n, 50.0), **values)


def run(cells: Cells, seconds: float, current_a: float, dt_s: float = 1.0) -> None:
    for _ in range(round(seconds / dt_s)):
        cells.step(dt_s, current_a)


def rest_voltages(kind: parameters.CellKind, soh: float) -> tuple[np.ndarray, np.ndarray]:
    """Rested voltage of an aged cell and of the profile, mV, over the profile's middle."""
    profile = profiles.profile(kind.name)
    soc = np.array(profile.soc_bp) / 1e4
    middle = (soc >= 0.1) & (soc <= 0.95)
    ocv_mv = 1e3 * np.interp(soc, parameters.SOC_GRID, parameters.aged_ocv(kind, soh))
    return ocv_mv[middle], np.array(profile.ocv_mv)[middle]


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_a_new_cell_rests_where_the_profile_says(kind):
    true_mv, assumed_mv = rest_voltages(kind, soh=1.0)
    assert np.abs(true_mv - assumed_mv).max() < 10


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_ageing_moves_the_rested_voltage_a_little(kind):
    new_mv, _ = rest_voltages(kind, soh=1.0)
    aged_mv, _ = rest_voltages(kind, soh=0.8)
    assert 2 < np.abs(aged_mv - new_mv).max() < 40


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
@pytest.mark.parametrize("soh", [0.5, 0.6, 0.8, 1.0, 1.05])
@pytest.mark.parametrize(("slip", "excess"), [(0.0, 0.0), (0.2, 0.0), (0.5, 0.06), (0.1, -0.06)])
def test_an_aged_cell_has_the_same_ends_and_rises_between(kind, soh, slip, excess):
    ocv_v = parameters.aged_ocv(kind, soh, slip, excess)
    ends_v = np.interp([0.0, 1.0], parameters.SOC_GRID, ocv_v)
    assert ends_v == pytest.approx(kind.rested_v(np.array([0.0, 1.0])), abs=0.003)
    assert (np.diff(ocv_v) >= 0).all()


def test_cells_of_one_string_may_age_differently():
    cells = cells_of(
        parameters.NMC, soh=np.full(3, 0.7), slip=np.array([0.0, 0.3, 0.3]), excess=0.02
    )
    assert cells.ocv_v[1] - cells.ocv_v[0] > 0.02
    assert cells.ocv_v[1] == cells.ocv_v[2]


def test_a_settled_cell_gives_its_rested_voltage():
    cells = cells_of(parameters.LFP)
    run(cells, 60, -50.0)
    cells.hysteresis = np.full(3, -1.0)
    cells.settle()
    assert cells.voltage_v == pytest.approx(cells.ocv_v - parameters.LFP.hysteresis_v)


def test_what_warmth_does_not_change_stays_as_it_is():
    kind = replace(parameters.NMC, steady_share=1.0)
    warm, cold = cells_of(kind, temperature_c=25.0), cells_of(kind, temperature_c=0.0)
    assert cold.r0_ohm == pytest.approx(warm.r0_ohm)
    assert (cold.r1_ohm > 1.5 * warm.r1_ohm).all()


def test_an_unlikely_age_is_refused():
    with pytest.raises(ValueError, match=r"soh 0\.1 is outside"):
        parameters.aged_ocv(parameters.NMC, 0.1)


def test_charge_moves_the_soc_by_its_share_of_the_capacity():
    cells = cells_of(parameters.NMC, soh=np.array([1.0, 0.8, 0.5]))
    run(cells, 720, 25.0)  # 5 Ah
    assert cells.soc == pytest.approx([0.6, 0.625, 0.7], abs=1e-4)


def test_a_current_step_answers_with_the_series_part_then_with_the_links():
    cells = cells_of(parameters.NMC)
    before_v = cells.voltage_v.copy()
    cells.step(0.001, -50.0)
    assert before_v - cells.voltage_v == pytest.approx(50.0 * cells.r0_ohm, rel=0.01)
    run(cells, 1.0, -50.0, dt_s=0.1)
    drop_v = before_v - cells.voltage_v - (before_v - cells.ocv_v)
    assert drop_v == pytest.approx(50.0 * cells.resistance_ohm(1.0), rel=0.01)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_the_one_second_resistance_of_a_new_cell_is_what_the_profile_expects(kind):
    expected_ohm = profiles.profile(kind.name).r_ref_uohm_ah * 1e-6 / 50.0
    assert cells_of(kind).resistance_ohm(1.0) == pytest.approx(expected_ohm, rel=0.03)


def test_a_long_step_ends_where_many_short_ones_do():
    coarse, fine = cells_of(parameters.NMC), cells_of(parameters.NMC)
    run(coarse, 300, -30.0, dt_s=1.0)
    run(fine, 300, -30.0, dt_s=0.05)
    assert coarse.voltage_v == pytest.approx(fine.voltage_v, abs=2e-4)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_what_goes_in_and_does_not_come_out_has_become_heat(kind):
    cells = cells_of(kind, soc=np.full(3, 0.6))
    electric_j = stored_j = 0.0
    for current_a, seconds in ((40.0, 600), (-50.0, 900), (0.0, 300)):
        for _ in range(seconds):
            before = cells.ocv_v.copy()
            cells.step(1.0, current_a)
            electric_j += float((current_a * cells.voltage_v).sum())
            stored_j += float((current_a * (before + cells.ocv_v) / 2).sum())
    assert electric_j - stored_j == pytest.approx(cells.heat_j.sum(), rel=0.01)
    assert (cells.heat_j > 0).all()


def test_a_loaded_cell_warms_and_cools_again_towards_the_air():
    cells = cells_of(parameters.NMC, n=5, soc=np.full(5, 0.9))
    run(cells, 1800, -50.0)
    hot_c = cells.temperature_c.copy()
    assert (hot_c > 27).all()
    assert hot_c[2] > hot_c[0] - 1e-9  # the middle one has no free side
    run(cells, 3600, 0.0)
    assert (cells.temperature_c < hot_c - 2).all()
    assert (cells.temperature_c > 25).all()


def test_cold_cells_resist_more():
    warm = cells_of(parameters.NMC, temperature_c=25.0)
    cold = cells_of(parameters.NMC, temperature_c=0.0)
    assert (cold.resistance_ohm() > 1.5 * warm.resistance_ohm()).all()


def test_lfp_rests_higher_after_charge_than_after_discharge():
    up = cells_of(parameters.LFP, soc=np.full(3, 0.3))
    down = cells_of(parameters.LFP, soc=np.full(3, 0.7))
    run(up, 1440, 25.0)
    run(down, 1440, -25.0)
    run(up, 7200, 0.0, dt_s=10.0)
    run(down, 7200, 0.0, dt_s=10.0)
    assert up.soc == pytest.approx(down.soc, abs=2e-3)
    assert up.voltage_v - down.voltage_v == pytest.approx(0.024, abs=0.004)


def test_a_cell_left_alone_loses_some_percent_a_month():
    cells = cells_of(parameters.NMC, self_discharge=np.array([1.0, 1.0, 10.0]))
    run(cells, 30 * 86400, 0.0, dt_s=3600.0)
    assert 0.5 - cells.soc == pytest.approx([0.02, 0.02, 0.2], rel=0.01)


def test_bleeding_discharges_only_the_cell_that_is_bled():
    cells = cells_of(parameters.NMC)
    for _ in range(3600):
        cells.step(1.0, 0.0, bleed_a=np.array([0.0, 0.05, 0.0]))
    assert cells.soc[0] - cells.soc[1] == pytest.approx(0.05 / 50.0, rel=0.01)
    assert cells.soc[0] == pytest.approx(cells.soc[2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("current_a", [-40.0, 0.0, 20.0])
def test_many_steps_at_once_are_as_many_single_ones(kind, current_a):
    one = cells_of(kind, soc=np.array([0.5, 0.6, 0.7]))
    one.hysteresis = np.array([0.3, 0.0, -0.8])
    run(one, 60, 30.0)
    many = copy.deepcopy(one)
    ripple_a = current_a * (1 + 0.01 * np.sin(np.arange(10)))
    for _ in range(60):
        at_once = many.steps(1.0, ripple_a)
        for after, each_a in zip(at_once, ripple_a, strict=True):
            one.step(1.0, float(each_a))
            assert after == pytest.approx(one.voltage_v, abs=1e-4)
    assert many.soc == pytest.approx(one.soc, abs=1e-9)
    assert many.hysteresis == pytest.approx(one.hysteresis, abs=1e-9)
    assert many.temperature_c == pytest.approx(one.temperature_c, abs=0.01)
