"""What the driver makes of the chain: figures, resets, alarms, switches, balancing, failures."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interpreters import lines
from scripted_ltc6813 import ScriptedChain

from common.codes import Fault, Switch
from firmware.afe import AfeError, AfeSettingsError
from firmware.afe import ltc6813_registers as reg
from firmware.afe.ltc6813 import Ltc6813
from firmware.app import App
from firmware.boards.desk import DeskBoard
from firmware.measurement import Measurement
from firmware.protection import Protection
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

SCRIPT = "ltc6813_exchange.py"
BOTH = Switch.CHARGE | Switch.DISCHARGE
ROUND = 3  # readings after which all has been converted between two of them


class Bench:
    def __init__(self, cells: tuple[int, ...] = (12, 12), **arguments: int) -> None:
        self.chain = ScriptedChain(len(cells))
        self.settings = Settings("P1", sum(cells), "nmc", 50000)
        self.afe = Ltc6813(self.chain, cells, **arguments)  # type: ignore[arg-type]
        self.snapshot = Snapshot(sum(cells))

    def configured(self) -> "Bench":
        self.afe.configure(self.settings)
        self.chain.log.clear()
        return self

    def read(self, times: int = 1) -> Snapshot:
        for _ in range(times):
            self.afe.read(self.snapshot)
        return self.snapshot


@pytest.fixture
def bench() -> Bench:
    return Bench().configured()


# --- settings ---------------------------------------------------------------------------------


def test_all_chips_are_configured_with_the_switches_open() -> None:
    bench = Bench((18, 12, 3))
    bench.chain.driven = BOTH
    bench.afe.configure(bench.settings)
    assert bench.chain.drive_log == [0]
    for chip in bench.chain.chips:
        assert chip.groups[0x0002][0] & 0xFD == 0xFC  # pull-downs off, reference on
        assert bytes(chip.groups[0x0002][1:]) == bytes(5)
        assert bytes(chip.groups[0x0026]) == b"\x0f" + bytes(5)
    assert bench.afe.applied["balancing_s"] == 30
    assert bench.afe.applied["discharge_timer"] == 1
    assert bench.chain.rejected == 0


def test_a_discharge_timer_that_is_not_wired_is_told() -> None:
    bench = Bench()
    bench.chain.chips[1].dten = False
    assert bench.configured().afe.applied["discharge_timer"] == 0


def test_the_signature_tells_other_settings_apart() -> None:
    bench, other = Bench().configured(), Bench()
    other.settings.ocd_ma -= 1000
    assert other.configured().afe.signature != bench.afe.signature
    assert Bench().configured().afe.signature == bench.afe.signature


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n_cells", 23, "correct n_cells"),
        ("period_ms", 1001, "the chips forget"),
        ("balance_max_cells", 7, "one chip may bleed 6 at once"),
        ("shunt_uohm", 5000, "fit a smaller shunt"),
    ],
)
def test_settings_that_the_chips_cannot_serve_are_refused(
    name: str, value: int, words: str
) -> None:
    bench = Bench()
    setattr(bench.settings, name, value)
    with pytest.raises(AfeSettingsError, match=words):
        bench.afe.configure(bench.settings)
    with pytest.raises(AfeError, match="not configured"):
        bench.read()
    with pytest.raises(AfeError, match="stay open"):
        bench.afe.set_switches(BOTH)


def test_a_chip_that_keeps_nothing_is_given_up() -> None:
    bench = Bench()
    bench.chain.chips[1].forgets = True
    with pytest.raises(AfeSettingsError, match="does not keep its configuration"):
        bench.afe.configure(bench.settings)


@pytest.mark.parametrize("present", [0, 1])
def test_a_chip_missing_in_the_chain_is_named(present: int) -> None:
    bench = Bench()
    bench.chain.present = present
    with pytest.raises(AfeError, match=f"chip {present + 1} of 2"):
        bench.afe.configure(bench.settings)


def test_cells_that_nobody_would_watch_are_not_accepted() -> None:
    bench = Bench()
    bench.chain.__init__(3)  # type: ignore[misc]
    with pytest.raises(AfeSettingsError, match="more than 2 chips"):
        bench.afe.configure(bench.settings)


def test_another_chip_at_the_shunt_is_refused() -> None:
    bench = Bench()
    bench.chain.ina.registers[0x3F] = 0x2381
    with pytest.raises(AfeSettingsError, match="INA228: manufacturer 0x5449, device 0x2381"):
        bench.afe.configure(bench.settings)


@pytest.mark.parametrize("cells", [(), (2,), (19,), (12, 0), (18,) * 5])
def test_a_chain_has_one_to_four_chips_of_3_to_18_cells(cells: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="LTC6813"):
        Ltc6813(ScriptedChain(), cells)


# --- figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [(3,), (18,), (12, 12), (7, 18, 5), (18, 18, 18, 18)])
def test_every_cell_has_its_place(cells: tuple[int, ...]) -> None:
    bench = Bench(cells).configured()
    expected, stack = [], 0
    for number, n in enumerate(cells):
        chip = bench.chain.chips[number]
        chip.cells = [30004 + 1000 * number + 10 * i for i in range(n)] + [0] * (18 - n)
        chip.sum = sum(chip.cells) // 30
        expected += [3000 + 100 * number + i for i in range(n)]
        stack += chip.sum * 3
    s = bench.read()
    assert list(s.cell_mv) == expected
    assert s.stack_mv == stack
    assert abs(s.stack_mv - sum(expected)) < 20 * len(cells)


def test_current_and_charge_come_with_the_cells(bench: Bench) -> None:
    bench.read()
    bench.chain.ina.current = 1600
    bench.chain.ina.charge = 144
    log = bench.chain.log
    log.clear()
    s = bench.read()
    assert (s.current_ma, s.delta_uah) == (1000, 25)
    log = log[log.index(reg.ADCVSC) - 2 :]  # behind what was fetched of the last turn
    assert log.index(reg.CLRCELL) < log.index(reg.ADCVSC) < log.index(reg.RDCV[1])


def test_one_chip_s_sensors_are_given_one_by_one() -> None:
    bench = Bench((12,))
    bench.chain.chips[0].gpio[:4] = [15000, 12000, 18000, 9000]
    s = bench.configured().read()
    assert list(s.temp_dc) == [250, 359, 149, UNKNOWN_DC]
    assert s.fet_dc == 487


def test_of_many_sensors_the_extremes_are_given() -> None:
    bench = Bench()
    bench.chain.chips[0].gpio[:3] = [15000, 12000, 15000]
    bench.chain.chips[1].gpio[:3] = [15000, 15000, 18000]
    s = bench.configured().read()
    assert list(s.temp_dc) == [149, (4 * 250 + 359 + 149) // 6, 359, UNKNOWN_DC]
    bench.chain.chips[1].gpio[0] = 30000  # its wire is open
    s = bench.read(3)
    assert list(s.temp_dc) == [149, UNKNOWN_DC, 359, UNKNOWN_DC]
    assert list(bench.afe.turns.sensor_dc) == [250, 359, 250, UNKNOWN_DC, 250, 149]


def test_the_hottest_chip_speaks_for_all(bench: Bench) -> None:
    bench.chain.chips[1].die = (60 + 276) * 76
    assert bench.read().afe_dc == UNKNOWN_DC
    assert bench.read(ROUND).afe_dc == 600


def test_the_temperature_of_a_cell_is_of_this_reading(bench: Bench) -> None:
    bench.read()
    for _ in range(2 * ROUND):
        bench.chain.chips[0].gpio[0] = 12000
        bench.read()
        assert max(bench.snapshot.temp_dc) == 359
        bench.chain.chips[0].gpio[0] = 15000
        bench.read()
        assert max(bench.snapshot.temp_dc) == 250


def test_a_reference_that_is_far_off_condemns_the_chip_when_seen_twice(bench: Bench) -> None:
    bench.chain.chips[1].reference = 25000
    assert bench.read().afe_failed == 0
    assert bench.read().afe_failed == 0x100000
    assert list(bench.snapshot.temp_dc)[1] == UNKNOWN_DC


# --- chips that miss something, or everything ----------------------------------------------------


def test_old_figures_are_never_taken_for_new_ones(bench: Bench) -> None:
    bench.read()
    chip = bench.chain.chips[1]
    chip.deaf = True
    with pytest.raises(AfeError, match="chip 2 of 2 does not convert"):
        bench.read()
    chip.deaf = False
    bench.read()


def test_a_conversion_missed_once_is_started_again(bench: Bench) -> None:
    bench.read()
    misses = iter([False, True])
    chip = bench.chain.chips[0]
    convert = chip.convert

    def missing(code: int) -> None:
        if code != reg.ADCVSC or not next(misses, False):
            convert(code)

    chip.convert = missing  # type: ignore[method-assign]
    bench.read()
    errors = bench.afe.errors
    bench.read()
    assert bench.afe.errors == errors + 1
    assert min(bench.snapshot.cell_mv) == 3700


def test_a_chip_that_missed_the_clear_as_well_is_noticed(bench: Bench) -> None:
    bench.read(2)  # now the codes of pulled-up inputs stand in its registers
    chip = bench.chain.chips[1]
    convert = chip.convert
    missed: list[int] = []

    def missing(code: int) -> None:
        if code == reg.CLRCELL and not missed:
            missed.append(code)
        else:
            convert(code)

    chip.convert = missing  # type: ignore[method-assign]
    chip.cells = [36000] * 18
    bench.read()
    assert bench.snapshot.cell_mv[23] == 3600
    assert (len(missed), bench.afe.errors) == (1, 1)


def test_a_slow_board_whose_chain_goes_idle_misses_nothing(bench: Bench) -> None:
    bench.afe.set_switches(BOTH)
    bench.chain.slow_us = 5000
    bench.chain.idle_us = 1_000_000
    s = bench.read(2 * ROUND)
    assert UNKNOWN_DC not in list(bench.afe.turns.sensor_dc)
    assert s.afe_dc == 250
    assert bench.afe.errors == 0
    assert bench.chain.log.count(reg.ADAX) == 2 * ROUND
    assert bench.chain.log.count(reg.ADOW_UP) == 4


def test_refused_settings_leave_no_switch_closed(bench: Bench) -> None:
    bench.afe.set_switches(BOTH)
    bench.settings.period_ms = 2000
    with pytest.raises(AfeSettingsError):
        bench.afe.configure(bench.settings)
    assert bench.chain.driven == 0


def test_sensors_that_were_not_converted_are_unknown(bench: Bench) -> None:
    bench.read()
    chip = bench.chain.chips[1]
    convert = chip.convert
    chip.convert = lambda code: None if code == reg.ADAX else convert(code)  # type: ignore[method-assign]
    s = bench.read(2 * ROUND)
    assert list(bench.afe.turns.sensor_dc) == [250] * 3 + [UNKNOWN_DC] * 3
    assert s.afe_failed == 0


def test_a_sum_that_is_missing_is_no_stack_voltage(bench: Bench) -> None:
    bench.chain.chips[0].sum = 0xFFFF
    with pytest.raises(AfeError, match="chip 1 does not sum"):
        bench.read()


@pytest.mark.parametrize("chip", [0, 1])
def test_a_chip_that_was_reset_has_lost_its_settings(bench: Bench, chip: int) -> None:
    bench.read()
    bench.chain.chips[chip].reset()
    bench.chain.ina.charge = 144
    assert bench.read().afe_lost_settings
    bench.afe.configure(bench.settings)
    s = bench.read()
    assert not s.afe_lost_settings
    assert s.delta_uah == 25, "the sum went on in a chip that was not reset"


def test_a_reset_in_the_middle_of_a_reading_gives_no_figures(bench: Bench) -> None:
    bench.read()
    chain = bench.chain
    transfer = chain.spi_transfer

    def reset_before_cells(out: bytearray, into: bytearray | None) -> None:
        if len(out) > 4 and out[1] == 0x06:
            chain.chips[1].reset()
        transfer(out, into)

    chain.spi_transfer = reset_before_cells  # type: ignore[method-assign]
    bench.snapshot.afe_lost_settings = False
    bench.afe.turns._converting = 0
    bench.read()
    assert bench.snapshot.afe_lost_settings


def test_a_reset_of_the_ina228_is_seen_and_its_charge_begins_anew(bench: Bench) -> None:
    bench.chain.ina.charge = 1 << 30
    bench.read()
    bench.chain.ina.reset()
    assert bench.read().afe_lost_settings
    bench.afe.configure(bench.settings)
    assert bench.read().delta_uah == 0


def test_charge_of_a_failed_reading_is_in_the_next(bench: Bench) -> None:
    bench.read()
    bench.chain.ina.charge = 144
    bench.chain.faults = [None] * 6 + ["deaf"] * 9
    with pytest.raises(AfeError):
        bench.read()
    bench.chain.faults = []
    bench.chain.ina.charge = 288
    assert bench.read().delta_uah == 50


@given(
    faults=st.lists(st.sampled_from([None, None, None, "nack", "deaf", 0, 1]), max_size=40),
    i2c=st.lists(st.sampled_from([None, None, None, "nack"]), max_size=20),
)
@hypothesis_settings(max_examples=200, deadline=None)
def test_whatever_the_buses_do_a_reading_ends_and_is_right_or_refused(
    faults: list[object], i2c: list[object]
) -> None:
    bench = Bench().configured()
    bench.read()
    for chip in bench.chain.chips:
        chip.cells = [36000] * 18
    bench.chain.ina.current = 3200
    bench.chain.faults = list(faults)
    bench.chain.ina.faults = list(i2c)
    before = bench.chain.transfers
    try:
        bench.read()
    except AfeError:
        assert bench.afe.errors > 0
    else:
        if not bench.snapshot.afe_lost_settings:
            assert list(bench.snapshot.cell_mv) == [3600] * 24
            assert bench.snapshot.current_ma == 2000
    assert bench.chain.transfers - before < 100
    bench.chain.faults = []
    bench.chain.ina.faults = []
    bench.read()
    if bench.snapshot.afe_lost_settings:
        bench.afe.configure(bench.settings)
        bench.read()
    assert list(bench.snapshot.cell_mv) == [3600] * 24


# --- open wires -------------------------------------------------------------------------------


def test_an_open_wire_is_told_after_two_tests_and_gone_after_one(bench: Bench) -> None:
    chip = bench.chain.chips[1]
    chip.up, chip.down = [37000] * 18, [37000] * 18
    chip.up[4], chip.up[5] = 45000, 29000
    chip.down[4], chip.down[5] = 30000, 44000
    assert bench.read(ROUND + 1).open_wires == 0
    assert bench.read().open_wires == 1
    assert list(bench.afe.turns.wires.open) == [0, 1 << 5]
    chip.up = chip.down = None
    assert bench.read(ROUND).open_wires == 0  # one test went on its way before


def test_open_wires_become_a_fault() -> None:
    bench = Bench((12,))
    measurement = Measurement(bench.afe, bench.settings, bench.chain)  # type: ignore[arg-type]
    bench.chain.chips[0].sum = 37000 * 12 // 30
    chip = bench.chain.chips[0]
    chip.up, chip.down = [37000] * 18, [37000] * 18
    chip.up[0] = 0  # C(0)
    for _ in range(2 * ROUND + 2):
        measurement.cycle(bench.snapshot)
    assert bench.snapshot.faults == 1 << Fault.OPEN_WIRE
    assert bench.snapshot.open_wires == 1


def test_a_test_that_missed_a_conversion_says_nothing(bench: Bench) -> None:
    chip = bench.chain.chips[0]
    convert = chip.convert
    chip.convert = lambda code: None if code == reg.ADOW_UP else convert(code)  # type: ignore[method-assign]
    chip.down = [37000] * 11 + [0] * 7
    assert bench.read(4 * ROUND).open_wires == 0


@pytest.mark.parametrize("runs", [2, 10])
def test_large_capacitors_get_more_runs(runs: int) -> None:
    bench = Bench(open_wire_runs=runs).configured()
    bench.read(ROUND)
    assert bench.chain.log.count(reg.ADOW_UP) == runs
    assert bench.chain.log.count(reg.ADOW_DOWN) == runs


# --- switches and alarms ------------------------------------------------------------------------


def test_the_board_drives_the_switches_and_tells_what_they_are(bench: Bench) -> None:
    bench.afe.set_switches(BOTH | 0x100)
    assert bench.chain.driven == BOTH
    assert bench.read().switches == BOTH
    bench.chain.stuck = Switch.CHARGE
    assert bench.read().switches == Switch.CHARGE


def test_without_feedback_what_was_driven_is_all_that_is_known(bench: Bench) -> None:
    bench.chain.stuck = -1
    bench.afe.set_switches(Switch.CHARGE)
    assert bench.read(4).switches == Switch.CHARGE
    assert bench.chain.driven == Switch.CHARGE


def test_opening_works_whatever_state_the_chain_is_in() -> None:
    bench = Bench()
    bench.chain.driven = BOTH
    bench.chain.present = 0
    bench.afe.set_switches(0)
    assert bench.chain.driven == 0


def test_switches_that_cannot_be_driven_are_an_error(bench: Bench) -> None:
    bench.chain.drive_fails = True
    with pytest.raises(AfeError, match="cannot drive"):
        bench.afe.set_switches(BOTH)


@pytest.mark.parametrize(("flag", "bit"), [(0x40, 0x10), (0x20, 0x80)])
@pytest.mark.parametrize("stuck", [None, -1])
def test_an_alarm_opens_all_at_once_and_is_told_once(
    bench: Bench, flag: int, bit: int, stuck: int | None
) -> None:
    bench.chain.stuck = stuck
    bench.afe.set_switches(BOTH)
    bench.read(2)
    bench.chain.ina.registers[0x0B] |= flag
    s = bench.read()
    assert (s.afe_safety, s.switches, bench.chain.driven) == (bit, 0, 0)
    assert bench.read().afe_safety == 0


def test_switches_that_alert_holds_open_are_opened_before_it_lets_go(bench: Bench) -> None:
    bench.afe.set_switches(BOTH)
    bench.read(2)
    bench.chain.stuck = 0
    bench.chain.ina.registers[0x0B] |= 0x20
    driven = []
    look = bench.chain.ina.readfrom_mem_into

    def looking(address: int, register: int, buffer: bytearray) -> None:
        if register == 0x0B:
            driven.append(bench.chain.driven)
        look(address, register, buffer)

    bench.chain.ina.readfrom_mem_into = looking  # type: ignore[method-assign]
    bench.read()
    assert driven[0] == 0


def test_a_precharge_switch_may_be_without_feedback(bench: Bench) -> None:
    bench.afe.set_switches(BOTH | Switch.PRECHARGE)
    bench.chain.stuck = BOTH
    bench.read(4)
    assert bench.chain.driven == BOTH | Switch.PRECHARGE


def test_contactors_may_take_a_cycle_to_follow(bench: Bench) -> None:
    bench.chain.stuck = 0
    bench.afe.set_switches(BOTH)
    bench.read()
    assert bench.chain.driven == BOTH


def test_an_alarm_of_a_reading_that_failed_is_in_the_next(bench: Bench) -> None:
    bench.afe.set_switches(BOTH)
    bench.chain.ina.registers[0x0B] |= 0x20
    bench.chain.ina.noise = [1 << 30, 1 << 31, 1 << 32, 1 << 33]
    with pytest.raises(AfeError):
        bench.read()
    assert bench.chain.driven == 0
    assert bench.read().afe_safety == 0x80


def test_protection_latches_the_alarm_as_a_short_circuit() -> None:
    bench = Bench((12,))
    bench.chain.chips[0].sum = 37000 * 12 // 30
    measurement = Measurement(bench.afe, bench.settings, bench.chain)  # type: ignore[arg-type]
    protection = Protection(bench.settings)

    def cycle() -> None:
        measurement.cycle(bench.snapshot)
        protection.update(bench.snapshot)
        if protection.allowed != measurement.commanded:
            measurement.set_switches(protection.allowed)

    for _ in range(8):
        cycle()
    assert bench.chain.driven & BOTH == BOTH
    bench.chain.ina.registers[0x0B] |= 0x20
    for _ in range(40):
        cycle()
    assert protection.latched == 1 << Fault.SHORT_CIRCUIT
    assert bench.chain.driven & BOTH == 0


def test_the_application_runs_on_a_chain_as_it_does_on_one_chip(tmp_path: Path) -> None:
    chain = ScriptedChain(2)
    chain.chips[1].cells[7] = 41500
    for chip in chain.chips:
        chip.sum = sum(chip.cells[:8]) // 30
    board = DeskBoard(chain.ina, root=str(tmp_path))
    for name in ("spi_transfer", "sleep_us", "drive_switches", "switch_feedback"):
        setattr(board, name, getattr(chain, name))
    settings = Settings("P1", 16, "nmc", 50000)
    settings.period_ms = 250
    app = App(board, settings, Ltc6813(board, (8, 8)))
    for _ in range(40):
        app.step()
    assert app.snapshot.valid
    assert app.protection.active == app.protection.latched == 0
    assert chain.driven & BOTH == BOTH
    assert chain.chips[1].bled() == 1 << 7
    assert app.snapshot.balancing == 1 << 15
    chain.ina.registers[0x0B] |= 0x20
    for _ in range(40):
        app.step()
    assert app.protection.latched == 1 << Fault.SHORT_CIRCUIT
    assert chain.driven & BOTH == 0
    assert chain.chips[1].bled() == 0


# --- balancing ----------------------------------------------------------------------------------


def test_cells_are_bled_where_they_are_and_neighbours_may_be() -> None:
    bench = Bench((7, 18)).configured()
    bench.afe.set_balancing(0b11 | 1 << 6 | 1 << 7 | 1 << 24)
    assert [chip.bled() for chip in bench.chain.chips] == [0b1000011, 1 | 1 << 17]
    assert [chip.groups[0x0002][5] >> 4 for chip in bench.chain.chips] == [1, 1]  # 30 s
    assert bench.read().balancing == 0b11 | 1 << 6 | 1 << 7 | 1 << 24
    bench.afe.set_balancing(0)
    assert [chip.bled() for chip in bench.chain.chips] == [0, 0]
    assert bench.chain.chips[0].groups[0x0002][5] == 0
    assert bench.read().balancing == 0


@given(cells=st.integers(0, (1 << 72) - 1))
@hypothesis_settings(max_examples=50, deadline=None)
def test_any_cells_of_72_are_told_and_read_back(cells: int) -> None:
    bench = Bench((18,) * 4, most_bled=18).configured()
    bench.afe.set_balancing(cells)
    told = 0
    for number, chip in enumerate(bench.chain.chips):
        told |= chip.bled() << 18 * number
    assert told == cells == bench.read().balancing


@pytest.mark.parametrize("cells", [1 << 24, 0x7F, 0x7F << 12])
def test_too_many_and_strangers_are_refused(bench: Bench, cells: int) -> None:
    with pytest.raises(AfeError, match="balancing 0x"):
        bench.afe.set_balancing(cells)
    assert [chip.bled() for chip in bench.chain.chips] == [0, 0]


def test_a_timer_that_ended_is_told(bench: Bench) -> None:
    bench.afe.set_balancing(0x1001)
    config = bench.chain.chips[0].groups[0x0002]
    config[4] = 0
    config[5] &= 0x0F
    s = bench.read()
    assert (s.balancing, s.afe_lost_settings) == (0x1000, False)


def test_a_cell_that_nobody_named_is_not_left_bleeding(bench: Bench) -> None:
    bench.chain.chips[1].groups[0x0026][0] |= 0x10
    assert bench.read().afe_lost_settings
    bench.afe.configure(bench.settings)
    assert bench.chain.chips[1].bled() == 0


def test_bleeding_ends_though_the_timers_are_not_wired(bench: Bench) -> None:
    for chip in bench.chain.chips:
        chip.dten = False
    bench.afe.set_balancing(0x1001)
    bench.chain.now_us += 29_000_000
    assert bench.read().balancing == 0x1001
    bench.chain.now_us += 2_000_000
    assert bench.read().balancing == 0
    assert [chip.bled() for chip in bench.chain.chips] == [0, 0]


def test_a_chip_that_does_not_take_it_is_told(bench: Bench) -> None:
    bench.chain.chips[1].forgets = True
    with pytest.raises(AfeError, match="does not take which cells"):
        bench.afe.set_balancing(0x1001)
    assert bench.read().balancing == 0x0001


def test_balancing_does_not_hide_a_reset(bench: Bench) -> None:
    bench.chain.chips[0].reset()
    with pytest.raises(AfeError, match="lost its configuration"):
        bench.afe.set_balancing(1)
    assert bench.read().afe_lost_settings


def test_nothing_is_bled_before_there_is_a_configuration() -> None:
    with pytest.raises(AfeError, match="until configure"):
        Bench().afe.set_balancing(1)


# --- the other interpreter --------------------------------------------------------------------


def test_micropython_does_the_same_and_reads_without_allocating(micropython: str) -> None:
    expected = lines(sys.executable, SCRIPT)
    *printed, allocated = lines(micropython, SCRIPT)
    assert printed == expected
    assert int(allocated) == 0
