"""The alert of the emulated INA228: limits, latch, pin."""

import pytest
from ina228_bench import CYCLE_S, Bench

from sim import ina228 as ina

CASES = [
    (ina.SOVL, 5000, {"current_a": 60.0}, ina.SHNTOL),  # 25 mV = 50 A
    (ina.SUVL, 0x10000 - 10_000, {"current_a": -110.0}, ina.SHNTUL),
    (ina.BOVL, 17_600, {"bus_v": 56.0}, ina.BUSOL),  # 55 V
    (ina.BUVL, 14_400, {"bus_v": 44.0}, ina.BUSUL),  # 45 V
    (ina.TEMP_LIMIT, 6400, {"die_c": 51.0}, ina.TMPOL),
    (ina.PWR_LIMIT, 3000, {"current_a": 100.0}, ina.POL),
]


@pytest.mark.parametrize(("register", "limit", "beyond", "flag"), CASES)
@pytest.mark.parametrize("latched", [False, True])
def test_each_limit_pulls_the_pin(register, limit, beyond, flag, latched):
    bench = Bench()
    bench.set(ina.DIAG_ALRT, ina.ALATCH if latched else 0)
    bench.set(register, limit)
    bench.step()
    assert not bench.chip.alert_low
    before = {name: getattr(bench, name) for name in beyond}
    for name, value in beyond.items():
        setattr(bench, name, value)
    bench.step()
    assert bench.chip.alert_low
    for name, value in before.items():
        setattr(bench, name, value)
    bench.step()
    assert bench.chip.alert_low is latched
    if latched:
        assert bench.get(ina.DIAG_ALRT) & flag
        assert not bench.chip.alert_low
    bench.step()
    assert not bench.get(ina.DIAG_ALRT) & flag


def test_a_limit_that_is_still_passed_latches_again_with_the_next_conversion():
    bench = Bench()
    bench.set(ina.DIAG_ALRT, ina.ALATCH)
    bench.set(ina.SOVL, 5000)
    bench.current_a = 60.0
    bench.step()
    bench.get(ina.DIAG_ALRT)
    assert not bench.chip.alert_low
    bench.step(CYCLE_S)
    assert bench.chip.alert_low


def test_the_pins_polarity_can_be_turned_over():
    bench = Bench()
    assert not bench.chip.alert_low
    bench.set(ina.DIAG_ALRT, ina.APOL)
    assert bench.chip.alert_low


def test_the_narrow_range_scales_its_limits():
    bench = Bench()
    bench.set(ina.CONFIG, 0x0010)
    bench.set(ina.SOVL, 8000)  # 10 mV = 20 A
    bench.current_a = 19.9
    bench.step()
    assert not bench.chip.alert_low
    bench.current_a = 20.1
    bench.step()
    assert bench.chip.alert_low


@pytest.mark.parametrize("slow", [False, True])
def test_slow_alerts_look_at_the_average_and_fast_ones_at_each_sample(slow):
    bench = Bench(offset_v=0.0)  # with its noise
    bench.set(ina.ADC_CONFIG, 0xF007)  # 50 us each, 1024 averages
    bench.set(ina.DIAG_ALRT, ina.SLOWALERT if slow else 0)
    bench.set(ina.SOVL, 2000)  # 10 mV
    bench.current_a = 0.999 * 20.0  # 10 uV below
    tripped = 0
    for _ in range(300):
        bench.step(0.2)
        tripped += bench.chip.alert_low
    assert (tripped > 10) is not slow
