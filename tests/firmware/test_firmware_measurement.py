from collections.abc import Callable

import pytest
from core_fakes import BOTH, FakeAfe, nmc, set_cells, set_temperatures

from common.codes import Switch, fault_names
from firmware.afe import AfeError
from firmware.boards.desk import DeskBoard
from firmware.measurement import Measurement
from firmware.plausibility import _JUMP_CYCLES
from firmware.snapshot import UNKNOWN_DC, Snapshot


class Bench:
    def __init__(self, start_ms: int = 0) -> None:
        self.board = DeskBoard(i2c=None, start_ms=start_ms)
        self.afe = FakeAfe()
        self.measurement = Measurement(self.afe, nmc(), self.board)
        self.snapshot = Snapshot(4)

    def cycle(self, times: int = 1) -> bool:
        for _ in range(times):
            self.board.advance(1000)
            valid = self.measurement.cycle(self.snapshot)
        return valid

    @property
    def faults(self) -> list[str]:
        return fault_names(self.snapshot.faults)


@pytest.fixture
def bench() -> Bench:
    """A chip that is configured and has been read once."""
    bench = Bench()
    assert not bench.cycle(), "nothing is read in the cycle in which the chip is configured"
    assert bench.cycle()
    return bench


def test_a_healthy_pack_has_no_faults(bench: Bench) -> None:
    set_cells(bench.afe.next, [3700, 3650, 3720, 3700])
    set_temperatures(bench.afe.next, 250, 190, 310)
    assert bench.cycle()
    s = bench.snapshot
    assert bench.faults == []
    assert (s.sum_mv, s.min_mv, s.min_cell, s.max_mv, s.max_cell) == (14770, 3650, 1, 3720, 2)
    assert (s.min_dc, s.max_dc) == (190, 310)


def test_cycles_are_numbered_and_timed(bench: Bench) -> None:
    bench.cycle(3)
    s = bench.snapshot
    assert (s.seq, s.uptime_s, s.uptime_ms, s.dt_ms) == (5, 5, 0, 1000)


def test_time_goes_on_when_the_ticks_wrap() -> None:
    bench = Bench(start_ms=(1 << 30) - 2500)
    bench.cycle(6)
    assert bench.board.ticks_ms() < 10000
    assert (bench.snapshot.uptime_s, bench.snapshot.dt_ms) == (6, 1000)
    assert bench.faults == []


def test_one_lost_reading_is_no_fault_two_are(bench: Bench) -> None:
    bench.afe.broken = True
    assert not bench.cycle()
    assert bench.faults == []
    assert not bench.cycle()
    assert bench.faults == ["AFE_COMMUNICATION"]
    bench.afe.broken = False
    assert bench.cycle()
    assert bench.faults == []
    assert bench.snapshot.dt_ms == 3000, "the time without a reading belongs to the next one"


def test_a_chip_that_refuses_its_settings_is_told_from_one_that_is_silent() -> None:
    bench = Bench()
    bench.afe.refuses = "CC Gain: wrote 1, read 2"
    for _ in range(3):
        assert not bench.cycle()
        assert bench.faults == ["CONFIGURATION"]
        assert bench.measurement.problem == "CC Gain: wrote 1, read 2"
    bench.afe.refuses = ""
    bench.cycle(3)
    assert bench.faults == []
    assert bench.measurement.problem is None


def test_what_the_driver_says_of_a_silent_chip_is_kept(bench: Bench) -> None:
    bench.afe.broken = True
    bench.cycle()
    assert bench.measurement.problem is None, "one lost reading is no problem"
    bench.cycle()
    assert bench.measurement.problem == "no answer"


def test_a_measurement_stays_stale_however_long_it_is(bench: Bench) -> None:
    bench.cycle(5)
    bench.afe.broken = True
    for _ in range(20):
        bench.board.advance(86_400_000)
        bench.measurement.cycle(bench.snapshot)
        assert "MEASUREMENT_STALE" in bench.faults
    bench.afe.broken = False
    assert bench.cycle()
    assert bench.snapshot.dt_ms == 20 * 86_400_000 + 1000


def test_a_chip_that_is_not_there_at_start_is_a_fault_and_is_tried_again() -> None:
    bench = Bench()
    bench.afe.broken = True
    bench.cycle(2)
    assert bench.faults == ["AFE_COMMUNICATION"]
    bench.afe.broken = False
    bench.cycle()
    assert bench.afe.configured == 1
    assert bench.cycle()


def test_a_measurement_that_stays_away_is_stale(bench: Bench) -> None:
    bench.afe.broken = True
    bench.cycle(4)
    assert "MEASUREMENT_STALE" not in bench.faults
    bench.cycle()
    assert "MEASUREMENT_STALE" in bench.faults


def test_a_chip_that_lost_its_settings_gets_them_again(bench: Bench) -> None:
    bench.afe.next.afe_lost_settings = True
    assert not bench.cycle(), "what the chip said in other units is not used"
    assert bench.faults == ["AFE_RESET"]
    assert bench.afe.configured == 2
    assert bench.cycle()
    assert bench.faults == []


def test_a_sum_that_is_not_the_stack_is_seen(bench: Bench) -> None:
    tolerance_mv = nmc().stack_tolerance_mv
    bench.afe.next.stack_mv = 4 * 3700 - tolerance_mv
    bench.cycle()
    assert bench.faults == []
    bench.afe.next.stack_mv -= 1
    bench.cycle()
    assert bench.faults == ["STACK_MISMATCH"]


@pytest.mark.parametrize("cell_mv", [0, 199, 5001])
def test_a_cell_that_no_cell_can_be_is_implausible(bench: Bench, cell_mv: int) -> None:
    set_cells(bench.afe.next, [3700, cell_mv, 3700, 3700])
    bench.cycle()
    assert bench.faults == ["SENSOR_IMPLAUSIBLE"]


def test_a_jump_is_believed_only_when_it_stays(bench: Bench) -> None:
    set_cells(bench.afe.next, [3700, 2600, 3700, 3700])
    for _ in range(_JUMP_CYCLES):
        bench.cycle()
        assert bench.faults == ["SENSOR_IMPLAUSIBLE"]
    bench.cycle()
    assert bench.faults == []


def test_a_temperature_that_cannot_be_is_unknown(bench: Bench) -> None:
    set_temperatures(bench.afe.next, 250, 1300)
    bench.cycle()
    assert bench.faults == ["SENSOR_IMPLAUSIBLE"]
    assert bench.snapshot.temp_dc[1] == UNKNOWN_DC
    assert bench.snapshot.max_dc == 250


def test_a_pack_without_a_temperature_is_implausible(bench: Bench) -> None:
    set_temperatures(bench.afe.next)
    assert bench.cycle()
    assert bench.faults == ["SENSOR_IMPLAUSIBLE"]
    assert bench.snapshot.max_dc == UNKNOWN_DC


@pytest.mark.parametrize(
    ("safety", "failed", "fault"),
    [
        (0x000080, 0, "SHORT_CIRCUIT"),
        (0x400000, 0, "SHORT_CIRCUIT"),
        (0x000008, 0, "AFE_PROTECTION"),
        (0x020000, 0, "AFE_PROTECTION"),
        (0, 0x01000000, "AFE_PERMANENT_FAIL"),
    ],
)
def test_what_the_chip_says_of_itself_is_passed_on(
    bench: Bench, safety: int, failed: int, fault: str
) -> None:
    bench.afe.next.afe_safety = safety
    bench.afe.next.afe_failed = failed
    bench.cycle()
    assert bench.faults == [fault]


def commanded(bench: Bench, command: int, truly: int) -> list[str]:
    bench.afe.follows = False
    bench.measurement.set_switches(command)
    bench.afe.next.switches = truly
    bench.cycle()
    assert bench.faults == [], "a command may take a cycle"
    bench.cycle()
    return bench.faults


def test_a_switch_that_stays_closed_is_seen(bench: Bench) -> None:
    assert commanded(bench, 0, Switch.CHARGE) == ["SWITCH_WELDED"]


def test_a_switch_that_stays_open_is_seen(bench: Bench) -> None:
    assert commanded(bench, BOTH, Switch.CHARGE) == ["SWITCH_MISMATCH"]


def test_the_chip_may_open_a_switch_for_a_reason_of_its_own(bench: Bench) -> None:
    bench.afe.next.afe_safety = 0x04
    bench.measurement.set_switches(BOTH)
    bench.afe.follows = False
    bench.afe.next.switches = Switch.CHARGE
    bench.cycle(2)
    assert bench.faults == ["AFE_PROTECTION"]


def test_the_chip_may_close_the_charge_switch_while_discharging(bench: Bench) -> None:
    bench.afe.next.current_ma = -1000
    assert commanded(bench, Switch.DISCHARGE, BOTH) == []
    bench.afe.next.current_ma = 0
    bench.cycle()
    assert bench.faults == ["SWITCH_WELDED"]


def test_a_command_that_fails_is_said(bench: Bench) -> None:
    bench.afe.broken = True
    assert not bench.measurement.set_switches(0)
    assert bench.measurement.commanded is None
    assert not bench.measurement.set_balancing(1)


@pytest.mark.parametrize(("says", "faults"), [(True, []), (None, []), (False, ["INSULATION"])])
def test_an_insulation_monitor_is_heard(
    bench: Bench, says: bool | None, faults: list[str]
) -> None:
    bench.board.insulated = lambda: says
    bench.cycle()
    assert bench.faults == faults


def with_contactors(drive: Callable[[int], None]) -> Bench:
    settings = nmc()
    settings.contactors = 1
    bench = Bench()
    bench.measurement = Measurement(bench.afe, settings, bench.board)
    bench.board.drive_switches = drive  # type: ignore[method-assign]
    bench.board.switch_feedback = lambda: 0  # type: ignore[method-assign]
    bench.cycle(2)
    return bench


def test_contactors_are_judged_by_their_own_contacts() -> None:
    told: list[int] = []
    bench = with_contactors(told.append)
    bench.measurement.set_switches(BOTH)
    bench.cycle()
    assert bench.faults == [], "a command may take a cycle"
    bench.cycle()
    assert bench.snapshot.switches == BOTH, "what the chip drives is not what conducts"
    assert bench.faults == ["SWITCH_MISMATCH"]
    assert told == [BOTH]


def test_contactors_that_cannot_be_driven_leave_the_chip_open() -> None:
    def broken(_bits: int) -> None:
        raise OSError(5)

    bench = with_contactors(broken)
    assert not bench.measurement.set_switches(BOTH)
    assert bench.measurement.commanded is None
    assert bench.afe.next.switches == 0


def test_a_chip_that_will_not_open_one_switch_is_told_to_open_all(bench: Bench) -> None:
    take = bench.afe.set_switches

    def refuse(allowed: int) -> None:
        if allowed:
            raise AfeError("not that one")
        take(allowed)

    bench.afe.set_switches = refuse
    for _ in range(20):
        assert not bench.measurement.set_switches(Switch.CHARGE)
    assert bench.afe.next.switches == 0
    assert bench.cycle(), "it opens: no reason to leave it to its watchdog"


def test_a_chip_that_is_left_to_its_watchdog_is_told_nothing_but_to_open(bench: Bench) -> None:
    bench.afe.broken = True
    for _ in range(6):
        bench.measurement.set_switches(0)
    bench.afe.broken = False
    bench.afe.commands.clear()
    assert not bench.measurement.set_balancing(1)
    assert not bench.measurement.set_switches(BOTH)
    assert bench.afe.next.balancing == 0
    assert bench.afe.commands == []
