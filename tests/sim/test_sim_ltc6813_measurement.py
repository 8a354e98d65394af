"""What the emulated LTC6813-1 measures: cells, thermistors, itself, open wires."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ltc6813_host import (
    ADAX,
    ADCV,
    ADCV_26HZ,
    ADCV_FAST,
    ADOW_DOWN,
    ADOW_UP,
    ADSTAT,
    CLRAUX,
    CLRCELL,
    RDAUX,
    RDCV,
    RDSTATA,
    RDSTATB,
    REFON,
    WRCFGA,
    Host,
    no_noise,
)

from sim.ltc6813 import cells_of_chips
from sim.ltc6813.inputs import ntc_ohm

# --- cells --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_cells", [1, 16, 18, 20, 54, 72])
def test_every_cell_is_read_where_it_is_wired(n_cells):
    volts = [2.5 + 0.02 * k for k in range(n_cells)]
    host = no_noise(Host(n_cells, volts)).awake()
    host.convert()
    first = 0
    for chip, count in enumerate(cells_of_chips(n_cells)):
        codes = host.cells(chip)
        expected = [round(10_000 * v) for v in volts[first : first + count]]
        assert codes[:count] == pytest.approx(expected, abs=1)
        assert codes[count:] == [0] * (18 - count)
        first += count


def test_the_error_stays_within_the_datasheets_and_is_not_none():
    errors = []
    for seed in range(20):
        host = Host(72, 3.3)
        host.front = type(host.front)(72, shunt_uohm=500, seed=seed)
        host.step(0.001)
        host.wake()
        host.convert(ADCV_26HZ, 220_000.0)
        for chip in range(4):
            errors += [code - 33_000 for code in host.cells(chip)]
    assert max(abs(e) for e in errors) <= 22 + 1
    assert statistics.pstdev(errors) > 2


def test_slow_rates_are_quieter():
    def spread(code: int, us: float) -> float:
        host = Host().awake()
        seen = [host.measured(code, us=us)[4] for _ in range(60)]
        return statistics.pstdev(seen)

    fast, normal = spread(ADCV_FAST, 8000.0), spread(ADCV, 8000.0)
    assert 4 < fast < 12
    assert normal < fast / 4
    assert spread(ADCV_26HZ, 230_000.0) <= normal


def test_single_channels_leave_the_others_alone():
    host = Host().awake()
    host.send(CLRCELL)
    codes = host.measured(ADCV | 2)
    assert [k + 1 for k, code in enumerate(codes) if code != 0xFFFF] == [2, 8, 14]


def test_overlapping_converters_agree():
    host = no_noise(Host(18, [3.0 + 0.05 * k for k in range(18)])).awake()
    codes = host.measured(0x301)
    assert codes[6] == codes[7] == 33_000
    assert codes[12] == codes[13] == 36_000


def test_limits_are_compared_with_every_measurement():
    volts = [3.7] * 18
    volts[0], volts[4], volts[13], volts[17] = 2.0, 4.4, 4.4, 2.0
    host = Host(18, volts).awake()
    under, over = 28_000 // 16 - 1, 42_000 // 16
    config = bytes((0xF8, under & 0xFF, under >> 8 | (over & 0xF) << 4, over >> 4, 0, 0))
    host.write(WRCFGA, config)
    host.convert()
    status, auxiliary = host.read(RDSTATB)[0], host.read(RDAUX[3])[0]
    assert status is not None
    assert auxiliary is not None
    flags = int.from_bytes(status[2:5], "little")
    assert flags == 1 << 0 | 1 << (2 * 4 + 1)
    assert auxiliary[4] == 1 << 3
    assert auxiliary[5] & 0x0F == 1 << 2


def test_self_tests_report_what_a_working_converter_does():
    host = Host().awake()
    host.write(WRCFGA, REFON)
    assert set(host.measured(0x207 | 1 << 5 | 2 << 7)) == {0x9555}
    assert set(host.measured(0x207 | 2 << 5 | 1 << 7)) == {0x6A9A}
    host.convert(0x407 | 1 << 5 | 1 << 7)
    assert set(host.words(*RDAUX[:3])) == {0x9565}
    host.convert(0x40F | 2 << 5 | 2 << 7)
    assert set(host.words(RDSTATA)) == {0x6AAA}


# --- the rest -----------------------------------------------------------------------------


def test_the_status_is_stack_die_and_supplies():
    host = Host(18, 3.7).awake()
    host.die_c = 45.0
    host.step(0.001)
    host.wake()
    host.convert(ADSTAT)
    stack, die, analogue = host.words(RDSTATA)
    assert stack * 30 * 1e-4 == pytest.approx(18 * 3.7, abs=0.06)
    assert die * 1e-4 / 7.6e-3 - 276 == pytest.approx(45.0, abs=5.0)
    assert 4.5 < analogue * 1e-4 < 5.5
    group = host.read(RDSTATB)[0]
    assert group is not None
    assert 2.7 < int.from_bytes(group[:2], "little") * 1e-4 < 3.6


def test_the_thermistor_has_its_resistance_at_25_and_falls_by_its_constant():
    assert ntc_ohm(25.0) == pytest.approx(10_000.0)
    warm = 1 / (60 + 273.15) - 1 / 298.15
    assert ntc_ohm(60.0) == pytest.approx(10_000 * math.exp(3435 * warm))


@given(st.floats(-40.0, 90.0))
def test_a_temperature_can_be_read_back_from_the_divider(celsius):
    host = Host().awake()
    host.temperatures_c = [celsius] * 3
    host.fet_c = celsius
    host.step(0.001)
    host.wake()
    host.convert(ADAX)
    one, two, three, four, _, reference, *_ = host.words(*RDAUX[:3])
    assert reference == pytest.approx(30_000, abs=110)
    for code in (one, two, three, four):
        ohm = 10_000 * code / (reference - code)
        kelvin = 1 / (1 / 298.15 + math.log(ohm / 10_000) / 3435)
        assert kelvin - 273.15 == pytest.approx(celsius, abs=0.6)


def test_each_chip_has_its_own_thermistors_and_the_first_that_of_the_switches():
    host = no_noise(Host(36))
    host.temperatures_c = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    host.step(0.001)
    host.wake()
    host.convert(ADAX)
    lower = host.words(*RDAUX[:2])
    upper = host.words(*RDAUX[:2], chip=1)
    codes = [round(30_000 * ntc_ohm(c) / (ntc_ohm(c) + 10_000)) for c in (*range(0, 60, 10), 40)]
    assert lower[:4] == [*codes[:3], codes[6]]
    assert upper[:4] == [*codes[3:6], 0]  # tied to ground


def test_single_gpios_come_with_those_five_above():
    host = Host().awake()
    host.send(CLRAUX)
    host.convert(ADAX | 2)
    words = host.words(*RDAUX)
    assert [k for k, word in enumerate(words[:10]) if word != 0xFFFF] == [1, 7]  # GPIO2, GPIO7
    host.convert(ADAX | 6)
    assert host.words(RDAUX[1])[2] != 0xFFFF


def test_broken_and_shorted_thermistors():
    host = Host(36).awake()
    host.front.chain.faults.thermistors = {(0, 2): "open", (1, 3): "short"}
    host.convert(ADAX)
    lower, upper = host.words(*RDAUX[:2]), host.words(*RDAUX[:2], chip=1)
    assert lower[1] == pytest.approx(lower[5], abs=5)
    assert upper[2] == 0
    assert 10_000 < lower[0] < 20_000


def test_a_gpio_that_pulls_down_reads_nothing():
    host = Host().awake()
    host.write(WRCFGA, bytes((0xF4, 0, 0, 0, 0, 0)))
    host.convert(ADAX)
    assert host.words(RDAUX[0])[0] == 0
    assert host.words(RDAUX[0])[1] > 10_000


def test_pull_currents_move_a_gpio_as_its_resistance_says():
    host = no_noise(Host()).awake()
    host.convert(0x450 | 2 << 7)
    up = host.words(RDAUX[0])[0]
    host.convert(0x410 | 2 << 7)
    down = host.words(RDAUX[0])[0]
    assert up - down == pytest.approx(2 * 5000, abs=2)  # 0.1 mA in 5 kOhm, twice


# --- open wires ---------------------------------------------------------------------------


def open_wires(host: Host, passes: int = 2, chip: int = 0) -> set[int]:
    """The datasheet's algorithm: the C pins whose wires it finds broken."""
    for _ in range(passes):
        host.convert(ADOW_UP)
    up = host.cells(chip)
    for _ in range(passes):
        host.convert(ADOW_DOWN)
    down = host.cells(chip)
    n = host.front.spread[chip]
    found = {k for k in range(1, n) if up[k] - down[k] < -4000}
    if up[0] == 0:
        found.add(0)
    if down[n - 1] == 0:
        found.add(n)
    return found


@pytest.mark.parametrize("pin", range(19))
def test_the_datasheets_check_finds_the_broken_wire_and_no_other(pin):
    host = Host().awake()
    assert open_wires(host) == set()
    host.front.chain.faults.open_wires = {(0, pin)}
    assert open_wires(host) == {pin}
    host.front.chain.faults.open_wires = set()
    assert open_wires(host) == set()


def test_a_broken_wire_of_the_upper_chip_does_not_touch_the_lower():
    host = Host(34).awake()
    host.front.chain.faults.open_wires = {(1, 16)}
    assert open_wires(host, chip=0) == set()
    assert open_wires(host, chip=1) == {16}


def test_a_floating_pin_reads_between_its_neighbours_and_keeps_their_sum():
    volts = [3.2, 3.3, 4.1] + [3.7] * 15
    host = no_noise(Host(18, volts)).awake()
    host.front.chain.faults.open_wires = {(0, 2)}
    codes = host.measured()
    assert codes[1] == codes[2] == 37_000
    assert codes[0] == 32_000
    assert codes[3] == 37_000


def test_the_pull_is_gone_some_time_after_the_check():
    host = no_noise(Host()).awake()
    host.front.chain.faults.open_wires = {(0, 5)}
    host.convert(ADOW_UP)
    host.convert(ADOW_UP)
    moved = host.measured()[4]
    assert moved > 50_000
    host.wait(500_000)
    host.wake()
    assert host.measured()[4] == pytest.approx(37_000, abs=5)


def test_reading_cells_in_pieces_gives_the_same_as_at_once():
    host = Host().awake()
    host.convert()
    assert host.cells() == [word for code in RDCV for word in host.words(code)]


def test_combined_conversions_fill_both_groups():
    host = no_noise(Host(18, 3.6)).awake()
    host.convert(0x46F | 2 << 7)  # ADCVAX
    assert host.cells() == [36_000] * 18
    words = host.words(*RDAUX[:3])
    assert [k for k, word in enumerate(words) if word != 0xFFFF] == [0, 1]
    host.convert(0x467 | 2 << 7)  # ADCVSC
    stack, die, _ = host.words(RDSTATA)
    assert stack == round(18 * 36_000 / 30)
    assert die == 0xFFFF


def test_conversions_with_redundancy_give_the_same():
    host = no_noise(Host()).awake()
    host.convert(0x400 | 2 << 7)  # ADAXD
    host_words = host.words(*RDAUX[:3])
    host.convert(ADAX)
    assert host.words(*RDAUX[:3]) == host_words
    host.convert(0x408 | 2 << 7)  # ADSTATD
    status = host.words(RDSTATA)
    host.convert(ADSTAT)
    assert host.words(RDSTATA) == status


@pytest.mark.parametrize(("farad", "passes"), [(10e-9, 2), (100e-9, 10)])
def test_larger_filters_need_the_passes_that_the_datasheet_names(farad, passes, monkeypatch):
    monkeypatch.setattr("sim.ltc6813.inputs._FILTER_F", farad)
    monkeypatch.setattr("sim.ltc6813.inputs._LEAK_S", 5e6 * farad)
    host = Host().awake()
    host.front.chain.faults.open_wires = {(0, 7)}
    assert open_wires(host, passes) == {7}
    if passes > 2:
        fresh = Host().awake()
        fresh.front.chain.faults.open_wires = {(0, 18)}
        assert open_wires(fresh, 2) == set()


def test_limits_are_exact_to_their_step():
    under, over = 1749, 2625  # 2.8 V and 4.2 V
    config = bytes((0xF8, under & 0xFF, under >> 8 | (over & 0xF) << 4, over >> 4, 0, 0))
    for volts, flags in ((2.7999, 1), (2.8, 0), (4.2, 0), (4.2001, 2)):
        host = no_noise(Host(18, volts)).awake()
        host.write(WRCFGA, config)
        host.convert()
        status = host.read(RDSTATB)[0]
        assert status is not None
        assert status[2] & 3 == flags
