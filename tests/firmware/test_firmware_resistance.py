"""Resistance at other temperatures and at the ends of charge, referred to 25 degC and mid SOC."""

import pytest
from core_fakes import healthy, nmc, set_cells, set_temperatures

from firmware.estimators.resistance import Resistance, at_25
from firmware.tools import validate_resistance

TRUE_UOHM = 3000


def steps(resistance: Resistance, dc: int, soc_bp: int | None = None, count: int = 20) -> None:
    s = healthy(4)
    set_temperatures(s, dc)
    grown_uohm = TRUE_UOHM / at_25(dc)[0]
    for now_s in range(count * 8):
        s.current_ma = 10000 if now_s // 4 % 2 else 0
        set_cells(s, [round(3700 + s.current_ma * grown_uohm / 1e6)] * 4)
        resistance.update(s, now_s, soc_bp)


def test_resistance_is_referred_to_25_degrees() -> None:
    assert at_25(250) == (1.0, 0.0)
    assert at_25(100)[0] == pytest.approx(1 / 1.45)
    assert at_25(400)[0] == pytest.approx(1.045)
    for dc in (110, 250, 400):
        resistance = Resistance(nmc())
        steps(resistance, dc)
        r, low, high = resistance.interval(0)
        assert r == pytest.approx(TRUE_UOHM, rel=0.03)
        assert low < TRUE_UOHM < high


def test_what_the_temperature_leaves_in_doubt_is_not_averaged_away() -> None:
    warm, cold = Resistance(nmc()), Resistance(nmc())
    steps(warm, 250, count=40)
    steps(cold, 110, count=40)
    _, low, high = warm.interval(0)
    _, cold_low, cold_high = cold.interval(0)
    assert cold_high - cold_low > 3 * (high - low)
    steps(cold, 250)
    _, low, high = cold.interval(0)
    assert high - low < (cold_high - cold_low) / 2


@pytest.mark.parametrize(("soc_bp", "taken"), [(1500, False), (5000, True), (9800, False)])
def test_the_ends_of_charge_are_left_out(soc_bp: int, taken: bool) -> None:
    resistance = Resistance(nmc())
    steps(resistance, 250, soc_bp)
    assert (resistance.interval(0) is not None) == taken


@pytest.mark.shared
def test_recorded_steps_at_other_temperatures_agree_with_those_at_25(shared_data) -> None:
    results = validate_resistance.judge(shared_data)
    assert len(results) == 5
    for r in results:
        assert r["intervals_meet"], r
        assert abs(r["error"]) < 0.25, r
