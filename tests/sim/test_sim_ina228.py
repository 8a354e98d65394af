"""The emulated INA228: registers, the maker's example, accumulators, alert, bus."""

import contextlib
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ina228_bench import CYCLE_S, Bench

from sim import ina228 as ina
from sim.bq76952 import Nack
from sim.ina228 import Ina228, UnknownRegisterError

RESET = {
    0x00: 0x0000,
    0x01: 0xFB68,
    0x02: 0x1000,
    0x03: 0x0000,
    0x0B: 0x0001,
    0x0C: 0x7FFF,
    0x0D: 0x8000,
    0x0E: 0x7FFF,
    0x0F: 0x0000,
    0x10: 0x7FFF,
    0x11: 0xFFFF,
    0x3E: 0x5449,
    0x3F: 0x2281,
}


@pytest.mark.parametrize(("register", "value"), RESET.items())
def test_registers_out_of_reset(register, value):
    assert Bench().get(register) == value


@pytest.mark.parametrize(
    ("register", "width"),
    [(0x04, 3), (0x05, 3), (0x06, 2), (0x07, 3), (0x08, 3), (0x09, 5), (0x0A, 5)],
)
def test_results_are_as_wide_as_the_datasheet_says(register, width):
    bench = Bench()
    assert bench.get(register, width) == 0
    with pytest.raises(UnknownRegisterError, match=f"{width} bytes"):
        bench.get(register, width + 1)


def test_the_makers_example():
    bench = Bench(shunt_uohm=16_200)
    bench.set(ina.SHUNT_CAL, 4050)
    bench.current_a, bench.bus_v, bench.die_c = 6.0, 48.0, 25.0
    bench.step()
    assert bench.code(ina.VSHUNT) == 311_040
    assert bench.code(ina.CURRENT) == 314_572
    assert bench.code(ina.VBUS) == 245_760
    assert bench.get(ina.POWER, 3) == pytest.approx(4_718_604, abs=30)
    assert bench.get(ina.DIETEMP) == 3200
    before = bench.charge()
    bench.step(3600.0)
    assert bench.charge() - before == pytest.approx(1_132_462_080, rel=1e-5)
    assert bench.get(ina.ENERGY, 5) == pytest.approx(1_061_683_200, rel=1e-4)


def test_the_narrow_range_has_four_times_the_resolution():
    bench = Bench()
    bench.set(ina.CONFIG, 0x0010)
    bench.current_a = -20.0
    bench.step()
    assert bench.code(ina.VSHUNT) == round(-0.01 / 78.125e-9)
    bench.current_a = 200.0  # 100 mV: too much
    bench.step()
    assert bench.code(ina.VSHUNT) == (1 << 19) - 1
    assert bench.get(ina.DIAG_ALRT) & ina.MATHOF
    bench.current_a = 1.0
    bench.step()
    assert not bench.get(ina.DIAG_ALRT) & ina.MATHOF


@given(st.floats(-300.0, 300.0), st.integers(500, 32_000))
def test_current_is_shunt_voltage_over_the_calibration(current_a, calibration):
    bench = Bench()
    bench.set(ina.SHUNT_CAL, calibration)
    bench.current_a = current_a
    bench.step()
    lsb_a = calibration / (13107.2e6 * 500e-6)
    expected = max(-524_288, min(524_287, current_a / lsb_a))
    assert bench.code(ina.CURRENT) == pytest.approx(expected, abs=1 + 2048 / calibration)


def test_no_calibration_no_current():
    bench = Bench()
    bench.set(ina.SHUNT_CAL, 0)
    bench.current_a = 10.0
    bench.step()
    assert bench.code(ina.CURRENT) == 0
    assert bench.charge() == 0


@given(st.lists(st.tuples(st.floats(-250.0, 250.0), st.floats(0.001, 60.0)), max_size=20))
def test_the_charge_is_that_which_flowed(steps):
    bench = Bench()
    bench.set(ina.SHUNT_CAL, 4096)
    lsb_a = 4096 / (13107.2e6 * 500e-6)
    flowed_as = 0.0
    for current_a, dt_s in steps:
        bench.current_a = current_a
        bench.step(dt_s)
        flowed_as += current_a * dt_s
    bench.current_a = 0.0  # reading takes its time, too
    bench.step(0.001)
    assert bench.charge() * lsb_a == pytest.approx(flowed_as, abs=0.01 + 2 * lsb_a)


def test_offset_gain_and_clock_show_in_the_charge():
    bench = Bench(offset_v=1e-6, gain=1.0005, clock_gain=0.995)
    bench.current_a = 10.0
    bench.step(1000.0)
    lsb_a = 4096 / (13107.2e6 * 500e-6)
    expected_as = (10.0 * 1.0005 + 1e-6 / 500e-6) * 995.0
    assert bench.charge() * lsb_a == pytest.approx(expected_as, rel=1e-6)


def test_drawn_errors_stay_within_the_datasheet():
    for seed in range(300):
        chip = Ina228(shunt_uohm=500, seed=seed)
        assert abs(chip._offset_v) <= 1e-6
        assert abs(chip._gain - 1) <= 5e-4
        assert abs(chip._clock - 1) <= 5e-3


def test_energy_never_falls_and_charge_has_a_sign():
    bench = Bench()
    bench.current_a = -20.0
    bench.step(10.0)
    assert bench.charge() < 0
    first = bench.get(ina.ENERGY, 5)
    bench.step(10.0)
    assert bench.get(ina.ENERGY, 5) == pytest.approx(2 * first, rel=1e-3)


def test_the_charge_rolls_over_and_says_so_once():
    bench = Bench()
    bench.set(ina.SHUNT_CAL, 64)
    bench.current_a = 100.0
    bench.step(10.0)
    per_s = bench.charge() / 10.0
    bench.step((1 << 39) / per_s)
    assert bench.get(ina.DIAG_ALRT) & ina.CHARGEOF
    assert bench.get(ina.DIAG_ALRT) & ina.CHARGEOF
    assert bench.charge() == pytest.approx(-(1 << 39) + 10 * per_s, rel=1e-3)
    assert not bench.get(ina.DIAG_ALRT) & ina.CHARGEOF


def test_the_energy_rolls_over_and_says_so_until_it_is_read():
    bench = Bench()
    bench.set(ina.SHUNT_CAL, 64)
    bench.current_a = 100.0
    bench.step(10.0)
    per_s = bench.get(ina.ENERGY, 5) / 10.0
    bench.step((1 << 40) / per_s)
    assert bench.get(ina.DIAG_ALRT) & ina.ENERGYOF
    assert bench.get(ina.ENERGY, 5) == pytest.approx(10 * per_s, abs=(1 << 40) * 3e-5)
    assert not bench.get(ina.DIAG_ALRT) & ina.ENERGYOF


def test_the_first_conversion_can_be_delayed():
    bench = Bench()
    bench.set(ina.CONFIG, 10 << 6)  # 20 ms
    bench.set(ina.ADC_CONFIG, 0xFB68)
    bench.current_a = 10.0
    bench.step(0.02)
    assert bench.code(ina.VSHUNT) == 0
    bench.step(CYCLE_S)
    assert bench.code(ina.VSHUNT) == 16_000


def test_the_accumulators_can_be_cleared_alone():
    bench = Bench()
    bench.current_a = 10.0
    bench.step(100.0)
    bench.set(ina.CONFIG, 0x4000)
    assert bench.get(ina.CONFIG) == 0
    assert abs(bench.charge()) < 10
    assert bench.code(ina.CURRENT) != 0


def test_a_reset_forgets_everything():
    bench = Bench()
    bench.set(ina.SOVL, 100)
    bench.set(ina.SHUNT_CAL, 2000)
    bench.current_a = 10.0
    bench.step(1.0)
    bench.set(ina.CONFIG, 0x8000)
    assert bench.get(ina.SOVL) == 0x7FFF
    assert bench.get(ina.SHUNT_CAL) == 0x1000
    assert bench.get(ina.CURRENT, 3) == 0


def test_results_come_when_their_conversion_has_ended():
    bench = Bench()
    bench.current_a = 10.0
    bench.step(CYCLE_S - 5e-4)
    assert bench.code(ina.VSHUNT) == 0
    bench.step(5e-4)
    assert bench.code(ina.VSHUNT) == 16_000
    bench.set(ina.ADC_CONFIG, 0xFB68 | 0x0005)  # 256 averages: 0.8 s
    assert not bench.get(ina.DIAG_ALRT) & ina.CNVRF
    bench.current_a = 20.0
    bench.step(256 * CYCLE_S - 0.001)
    assert bench.code(ina.VSHUNT) == 16_000
    bench.step(0.002)
    assert bench.get(ina.DIAG_ALRT) & ina.CNVRF
    assert not bench.get(ina.DIAG_ALRT) & ina.CNVRF
    assert bench.code(ina.VSHUNT) == 32_000


def test_a_triggered_conversion_happens_once_and_counts_no_charge():
    bench = Bench()
    bench.set(ina.ADC_CONFIG, 0x7B68)
    bench.current_a = 10.0
    bench.step(1.0)
    assert bench.code(ina.VSHUNT) == 16_000
    bench.current_a = 20.0
    bench.step(1.0)
    assert bench.code(ina.VSHUNT) == 16_000
    assert bench.charge() == 0


@pytest.mark.parametrize("mode", [0x0, 0x8])
def test_a_chip_that_is_shut_down_measures_nothing(mode):
    bench = Bench()
    bench.set(ina.ADC_CONFIG, mode << 12 | 0xB68)
    bench.current_a = 10.0
    bench.step(10.0)
    assert bench.code(ina.VSHUNT) == 0
    assert bench.charge() == 0


def test_the_shunts_temperature_can_be_compensated():
    bench = Bench()
    bench.set(ina.SHUNT_TEMPCO, 1000)
    bench.set(ina.CONFIG, 0x0020)
    bench.current_a, bench.die_c = 100.0, 75.0
    bench.step()
    assert bench.code(ina.CURRENT) == pytest.approx(160_000 / 1.05, abs=2)


# --- bus ----------------------------------------------------------------------------------


def test_the_pointer_stays_for_the_next_read():
    bench = Bench()
    bench.set(ina.SOVL, 0x1234)
    assert bench.chip.i2c(0x40, b"", 2) == b"\x12\x34"


def test_results_and_odd_writes_change_nothing_and_are_counted():
    bench = Bench()
    bench.set(ina.CURRENT, 0x1234)
    bench.set(ina.MANUFACTURER_ID, 0x1234)
    bench.chip.i2c(0x40, bytes((ina.SOVL, 1)), 0)
    assert bench.chip.ignored_writes == 3
    assert bench.get(ina.SOVL) == 0x7FFF
    assert bench.get(ina.MANUFACTURER_ID) == 0x5449


@pytest.mark.parametrize("register", [0x12, 0x3D, 0x40, 0xFF])
def test_a_register_that_does_not_exist_is_the_drivers_mistake(register):
    with pytest.raises(UnknownRegisterError, match=f"0x{register:02X}"):
        Bench().get(register)


@given(st.lists(st.tuples(st.binary(max_size=5), st.integers(0, 6)), max_size=12))
def test_no_stream_of_bytes_breaks_the_chip(stream):
    bench = Bench()
    for write, n_read in stream:
        with contextlib.suppress(UnknownRegisterError):
            assert len(bench.chip.i2c(0x40, write, n_read)) == n_read
        bench.step(0.01)


def test_faults_of_the_bus():
    bench = Bench()
    with pytest.raises(Nack, match="0x41"):
        bench.chip.i2c(0x41, b"\0", 2)
    bench.chip.faults.nack_next = 1
    with pytest.raises(Nack, match="injected"):
        bench.get(ina.SOVL)
    assert bench.get(ina.SOVL) == 0x7FFF
    bench.chip.faults.corrupt_next = 1
    assert bench.get(ina.SOVL) == 0x7FEF
    assert bench.get(ina.SOVL) == 0x7FFF
    bench.chip.faults.dead = True
    with pytest.raises(Nack, match="power"):
        bench.get(ina.SOVL)
    bench.current_a = 10.0
    bench.step(10.0)
    bench.chip.faults.dead = False
    assert bench.charge() < 2 * 160_000


def test_a_transaction_takes_its_time():
    bench = Bench()
    bench.get(ina.CHARGE, 5)
    assert bench.chip.last_bus_us == pytest.approx(5 + 22.5 * 8)


def test_averages_and_longer_conversions_are_quieter():
    def spread(adc_config: int) -> float:
        bench = Bench()
        bench.chip = Ina228(shunt_uohm=500, seed=5)
        bench.set(ina.ADC_CONFIG, adc_config)
        codes = []
        for _ in range(200):
            bench.step(0.5)
            codes.append(bench.code(ina.VSHUNT))
        return statistics.pstdev(codes) * 312.5e-9

    assert spread(0xF000) == pytest.approx(8.6e-6, rel=0.2)
    assert spread(0xFB68) == pytest.approx(8.6e-6 / (1052 / 50) ** 0.5, rel=0.25)
    assert spread(0xF002) == pytest.approx(8.6e-6 / 4, rel=0.2)
