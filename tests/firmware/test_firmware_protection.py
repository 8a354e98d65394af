from collections.abc import Callable
from struct import unpack_from

import pytest
from core_fakes import BOTH, healthy, nmc, set_cells, set_temperatures
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.codes import CommandResult, Fault, LimitReason, State, Switch, fault_names, names
from firmware.diagnosis import _DELAY_S, _FAULT, _FORBIDS, _LATCH_SAMPLES
from firmware.protection import _START_CYCLES, Protection
from firmware.snapshot import Snapshot

CHARGE, DISCHARGE = Switch.CHARGE, Switch.DISCHARGE
CLEAR = 200  # cycles in which every fault that may pass has passed


class Pack:
    """Protection of a pack of 4 cells of 10 Ah, told one snapshot after another."""

    def __init__(self) -> None:
        self.settings = nmc()
        self.protection = Protection(self.settings)
        self.snapshot = healthy()

    def run(self, cycles: int = 1) -> None:
        for _ in range(cycles):
            self.snapshot.uptime_s += 1
            self.protection.update(self.snapshot)

    @property
    def faults(self) -> list[str]:
        return fault_names(self.protection.active)


@pytest.fixture
def pack() -> Pack:
    pack = Pack()
    pack.run(30)
    assert pack.protection.state == State.ON
    assert pack.protection.allowed == BOTH
    return pack


# --- starting ---------------------------------------------------------------------------------


def test_nothing_is_closed_before_the_first_checks() -> None:
    pack = Pack()
    for _ in range(_START_CYCLES - 1):
        pack.run()
        assert (pack.protection.state, pack.protection.allowed) == (State.START, 0)
    pack.run()
    assert (pack.protection.state, pack.protection.allowed) == (State.ON, BOTH)


def test_a_fault_that_is_there_at_start_is_never_closed_onto() -> None:
    pack = Pack()
    set_cells(pack.snapshot, [2700] * 4)
    for _ in range(20):
        pack.run()
        assert not pack.protection.allowed & DISCHARGE
    assert pack.protection.state == State.CHARGE_ONLY


def test_nothing_is_closed_onto_a_fault_that_is_not_yet_debounced(pack: Pack) -> None:
    pack.protection.disconnect()
    pack.run()
    pack.protection.connect()
    set_cells(pack.snapshot, [3700, 4251, 3700, 3700])
    pack.run()
    assert pack.faults == []
    assert pack.protection.allowed == DISCHARGE


def test_an_invalid_measurement_closes_nothing() -> None:
    pack = Pack()
    pack.snapshot.valid = False
    pack.run(50)
    assert (pack.protection.state, pack.protection.allowed) == (State.START, 0)


def test_unknown_temperatures_close_nothing() -> None:
    pack = Pack()
    set_temperatures(pack.snapshot)
    pack.run(50)
    assert pack.protection.allowed == 0


# --- each diagnosis ---------------------------------------------------------------------------


def cells(low_mv: int, high_mv: int) -> Callable[[Snapshot], None]:
    return lambda s: set_cells(s, [low_mv, high_mv, 3700, 3700])


def sensors(*temperatures_dc: int) -> Callable[[Snapshot], None]:
    return lambda s: set_temperatures(s, *temperatures_dc)


def field(name: str, value: int) -> Callable[[Snapshot], None]:
    return lambda s: setattr(s, name, value)


def flag(fault: int) -> Callable[[Snapshot], None]:
    return lambda s: setattr(s, "faults", 1 << fault)


# name, what brings it, cycles until the switch opens, what stays allowed, value that is kept
DIAGNOSES = [
    ("CELL_OVER_VOLTAGE", cells(3700, 4251), 2, DISCHARGE, 4251),
    ("CELL_UNDER_VOLTAGE", cells(2799, 3700), 2, CHARGE, 2799),
    ("CELL_DEEP_DISCHARGE", cells(1499, 2600), 2, 0, 1499),
    ("CHARGE_OVER_CURRENT", field("current_ma", 10001), 2, DISCHARGE, 10001),
    ("DISCHARGE_OVER_CURRENT", field("current_ma", -20001), 2, CHARGE, -20001),
    ("SHORT_CIRCUIT", flag(Fault.SHORT_CIRCUIT), 1, 0, None),
    ("CHARGE_OVER_TEMPERATURE", sensors(250, 451), 2, DISCHARGE, 451),
    ("CHARGE_UNDER_TEMPERATURE", sensors(250, -1), 2, DISCHARGE, -1),
    ("DISCHARGE_OVER_TEMPERATURE", sensors(250, 601), 2, 0, 601),
    ("DISCHARGE_UNDER_TEMPERATURE", sensors(250, -201), 2, 0, -201),
    ("FET_OVER_TEMPERATURE", field("fet_dc", 901), 2, 0, 901),
    ("SENSOR_IMPLAUSIBLE", flag(Fault.SENSOR_IMPLAUSIBLE), 3, 0, None),
    ("STACK_MISMATCH", flag(Fault.STACK_MISMATCH), 3, 0, None),
    ("AFE_COMMUNICATION", flag(Fault.AFE_COMMUNICATION), 1, 0, None),
    ("AFE_RESET", flag(Fault.AFE_RESET), 1, 0, None),
    ("AFE_PROTECTION", field("afe_safety", 0x08), 1, DISCHARGE, 0x08),
    ("AFE_PROTECTION", field("afe_safety", 0x04), 1, CHARGE, 0x04),
    ("AFE_PROTECTION", field("afe_safety", 0x8000), 1, 0, 0x8000),
    ("AFE_PERMANENT_FAIL", flag(Fault.AFE_PERMANENT_FAIL), 1, 0, None),
    ("MEASUREMENT_STALE", flag(Fault.MEASUREMENT_STALE), 1, 0, None),
    ("SWITCH_MISMATCH", flag(Fault.SWITCH_MISMATCH), 3, 0, None),
    ("SWITCH_WELDED", flag(Fault.SWITCH_WELDED), 3, 0, None),
    ("OPEN_WIRE", flag(Fault.OPEN_WIRE), 2, 0, None),
    ("TEMPERATURE_RISE", field("rise_dc", 101), 2, 0, 101),
    ("CELL_SPREAD", cells(3000, 4240), 10, DISCHARGE, 1240),
    ("PRECHARGE_FAILED", flag(Fault.PRECHARGE_FAILED), 1, CHARGE, None),
    ("INSULATION", flag(Fault.INSULATION), 3, 0, None),
    ("CONFIGURATION", flag(Fault.CONFIGURATION), 1, 0, None),
    ("STORAGE", flag(Fault.STORAGE), 1, BOTH, None),
    ("LOOP_OVERRUN", flag(Fault.LOOP_OVERRUN), 1, BOTH, None),
]
LATCHED = {
    "CELL_DEEP_DISCHARGE",
    "SHORT_CIRCUIT",
    "AFE_PERMANENT_FAIL",
    "SWITCH_MISMATCH",
    "SWITCH_WELDED",
    "OPEN_WIRE",
    "TEMPERATURE_RISE",
    "PRECHARGE_FAILED",
}
ONLY_WARN = {"CURRENT_OFFSET", "CLOCK_INVALID"}


@pytest.mark.parametrize(("name", "bring", "cycles", "allowed", "value"), DIAGNOSES)
def test_a_fault_opens_its_switch_after_its_cycles_and_lets_go_when_it_is_over(
    pack: Pack,
    name: str,
    bring: Callable[[Snapshot], None],
    cycles: int,
    allowed: int,
    value: int | None,
) -> None:
    bring(pack.snapshot)
    pack.run(cycles - 1)
    assert pack.protection.allowed == BOTH
    pack.run()
    assert name in pack.faults
    assert pack.protection.allowed == allowed
    if name.endswith("TEMPERATURE") or value is not None:
        assert pack.protection.last_fault_value == value
    pack.run(_LATCH_SAMPLES)
    now_s = pack.snapshot.uptime_s
    pack.snapshot = healthy()
    pack.snapshot.uptime_s = now_s
    pack.run(CLEAR)
    assert pack.faults == []
    latched = name in LATCHED
    assert fault_names(pack.protection.latched) == ([name] if latched else [])
    if not latched:
        assert (pack.protection.state, pack.protection.allowed) == (State.ON, BOTH)
    elif allowed:
        assert (pack.protection.state, pack.protection.allowed) == (State.CHARGE_ONLY, allowed)
    else:
        assert (pack.protection.state, pack.protection.allowed) == (State.FAULT, 0)


@pytest.mark.parametrize("name", sorted(ONLY_WARN))
def test_what_is_no_danger_is_a_warning_and_no_fault(pack: Pack, name: str) -> None:
    pack.protection.reported = 1 << getattr(Fault, name)
    pack.run(CLEAR)
    assert pack.faults == []
    assert fault_names(pack.protection.warned) == [name]
    assert pack.protection.state == State.ON
    pack.protection.reported = 0
    pack.run()
    assert pack.protection.warned == 0


def test_every_fault_has_a_diagnosis_and_every_diagnosis_a_test() -> None:
    assert {row[_FAULT] for row in Protection(nmc()).table} == set(names(Fault))
    assert {row[0] for row in DIAGNOSES} | ONLY_WARN == set(names(Fault).values())


def test_the_table_is_sound() -> None:
    for row in Protection(nmc()).table:
        fault, _what, warn, cut, release, forbids, latch, up, down, delay_s = row
        assert 0 <= fault < 30, "more do not fit a small integer"
        assert release <= cut + 1, "released where it is not yet cut"
        assert warn <= cut
        assert 1 <= up < 255
        assert 1 <= down < 255
        assert delay_s in (0, 10)
        assert forbids in (0, CHARGE, DISCHARGE, BOTH)
        assert latch in (0, 1, 5)
        if names(Fault)[fault] in ONLY_WARN:
            assert (cut, forbids) == (1, 0), "a flag is 0 or 1 and never passes 1"


# --- recovery -----------------------------------------------------------------------------------


def test_an_empty_pack_can_be_charged_and_then_used_again(pack: Pack) -> None:
    set_cells(pack.snapshot, [2790] * 4)
    pack.run(2)
    assert pack.protection.state == State.CHARGE_ONLY
    set_cells(pack.snapshot, [3000] * 4)
    pack.run(CLEAR)
    assert pack.protection.state == State.CHARGE_ONLY, "the release voltage is not reached"
    set_cells(pack.snapshot, [3001] * 4)
    pack.run(3)
    assert pack.protection.state == State.ON


def test_a_full_pack_can_be_used_and_then_charged_again(pack: Pack) -> None:
    set_cells(pack.snapshot, [4260] * 4)
    pack.run(2)
    assert pack.protection.state == State.DISCHARGE_ONLY
    set_cells(pack.snapshot, [4149] * 4)
    pack.run(3)
    assert pack.protection.state == State.ON


def test_a_short_dip_opens_nothing(pack: Pack) -> None:
    for _ in range(10):
        set_cells(pack.snapshot, [2700] * 4)
        pack.run(1)
        set_cells(pack.snapshot, [3700] * 4)
        pack.run(1)
    assert pack.faults == []


def test_over_current_that_comes_again_and_again_is_latched(pack: Pack) -> None:
    for trip in range(1, 6):
        pack.snapshot.current_ma = -25000
        pack.run(2)
        assert bool(pack.protection.latched) == (trip == 5)
        pack.snapshot.current_ma = 0
        pack.run(CLEAR)
    assert pack.protection.state == State.CHARGE_ONLY
    assert pack.protection.clear_latched() == CommandResult.DONE
    pack.run()
    assert pack.protection.state == State.ON


def test_over_current_once_a_day_is_never_latched(pack: Pack) -> None:
    for _ in range(10):
        pack.snapshot.current_ma = -25000
        pack.run(2)
        pack.snapshot.current_ma = 0
        pack.run(CLEAR)
        pack.snapshot.uptime_s += 86400
    assert pack.protection.latched == 0


# --- commands -----------------------------------------------------------------------------------


def test_a_latched_fault_is_not_cleared_while_it_is_there(pack: Pack) -> None:
    set_cells(pack.snapshot, [1400, 2500, 2500, 2500])
    pack.run(6)
    assert pack.protection.state == State.FAULT
    assert pack.protection.clear_latched() == CommandResult.REFUSED_UNSAFE
    assert pack.protection.connect() == CommandResult.REFUSED_UNSAFE
    set_cells(pack.snapshot, [3700] * 4)
    pack.run(CLEAR)
    assert pack.protection.state == State.FAULT
    pack.snapshot.valid = False
    pack.run()
    assert pack.protection.clear_latched() == CommandResult.REFUSED_UNSAFE, "nothing is known"
    pack.snapshot.valid = True
    pack.run()
    assert pack.protection.clear_latched() == CommandResult.DONE
    pack.run()
    assert pack.protection.state == State.ON


def test_a_pack_is_disconnected_and_connected_by_command(pack: Pack) -> None:
    assert pack.protection.disconnect() == CommandResult.DONE
    pack.run()
    assert (pack.protection.state, pack.protection.allowed) == (State.STANDBY, 0)
    assert pack.protection.connect() == CommandResult.DONE
    pack.run()
    assert pack.protection.state == State.ON


def test_a_latch_survives_power_off() -> None:
    pack = Pack()
    pack.protection.restore_latched(1 << Fault.CELL_DEEP_DISCHARGE)
    pack.run(CLEAR)
    assert (pack.protection.state, pack.protection.allowed) == (State.FAULT, 0)
    assert pack.protection.clear_latched() == CommandResult.DONE


def test_what_others_report_counts(pack: Pack) -> None:
    pack.protection.reported = 1 << Fault.CONFIGURATION
    pack.run()
    assert pack.protection.state == State.BLOCKED


def test_the_last_fault_is_kept_with_its_time(pack: Pack) -> None:
    assert pack.protection.last_fault is None
    assert pack.protection.last_fault_s is None
    set_cells(pack.snapshot, [3700, 3700, 4300, 3700])
    pack.run(2)
    assert pack.protection.last_fault == Fault.CELL_OVER_VOLTAGE
    assert pack.protection.last_fault_s == pack.snapshot.uptime_s
    diagnosis = pack.protection
    assert diagnosis.tripped == 1 << Fault.CELL_OVER_VOLTAGE
    at = 8 * Fault.CELL_OVER_VOLTAGE
    assert unpack_from(">ll", diagnosis.trips, at) == (4300, 4250)
    set_cells(pack.snapshot, [3700] * 4)
    pack.run(5)
    set_cells(pack.snapshot, [3700, 3700, 4300, 3700])
    pack.run(2)
    assert pack.protection.n_faults == 2


# --- limits -------------------------------------------------------------------------------------


def test_a_pack_in_its_middle_may_carry_what_it_is_rated_for(pack: Pack) -> None:
    p = pack.protection
    assert (p.ccl_ma, p.dcl_ma, p.cvl_mv) == (10000, 20000, 4 * 4200)
    assert (p.ccl_why, p.dcl_why) == (LimitReason.NONE, LimitReason.NONE)


@pytest.mark.parametrize(
    ("cell_mv", "ccl_ma", "dcl_ma"),
    [(4200, 500, 20000), (4125, 5250, 20000), (4249, 100, 20000), (2950, 10000, 10000)],
)
def test_limits_follow_the_cells(pack: Pack, cell_mv: int, ccl_ma: int, dcl_ma: int) -> None:
    set_cells(pack.snapshot, [cell_mv] * 4)
    pack.run(20)
    assert abs(pack.protection.ccl_ma - ccl_ma) <= 110
    assert abs(pack.protection.dcl_ma - dcl_ma) <= 110


def test_a_cold_pack_is_charged_slowly(pack: Pack) -> None:
    set_temperatures(pack.snapshot, 50)
    pack.run()
    assert pack.protection.ccl_ma == 5000
    assert pack.protection.ccl_why == LimitReason.TEMPERATURE


def test_a_limit_falls_at_once_and_rises_slowly(pack: Pack) -> None:
    set_cells(pack.snapshot, [4200] * 4)
    pack.run()
    assert pack.protection.ccl_ma == 500
    set_cells(pack.snapshot, [3700] * 4)
    pack.run()
    assert pack.protection.ccl_ma == 1000
    pack.run(18)
    assert pack.protection.ccl_ma == 10000


def test_a_fault_takes_the_limit_away(pack: Pack) -> None:
    set_cells(pack.snapshot, [2700] * 4)
    pack.run(3)
    assert (pack.protection.dcl_ma, pack.protection.dcl_why) == (0, LimitReason.FAULT)
    assert pack.protection.ccl_ma > 0


def test_a_disconnected_pack_offers_no_current(pack: Pack) -> None:
    p = pack.protection
    p.disconnect()
    pack.run()
    assert (p.ccl_ma, p.dcl_ma) == (0, 0)
    assert (p.ccl_why, p.dcl_why) == (LimitReason.DISCONNECTED, LimitReason.DISCONNECTED)
    p.connect()
    pack.run()
    assert (p.ccl_ma, p.dcl_ma) == (500, 1000), "from nothing, a twentieth a cycle"
    assert (p.ccl_why, p.dcl_why) == (LimitReason.RECOVERY, LimitReason.RECOVERY)


def test_the_charge_voltage_spares_the_highest_cell(pack: Pack) -> None:
    set_cells(pack.snapshot, [4150, 4100, 4100, 4100])
    pack.run()
    assert pack.protection.cvl_mv == 4150 + 3 * 4100 + 4 * 50


# --- looks between two cycles -------------------------------------------------------------------


def test_a_look_opens_what_a_second_one_confirms(pack: Pack) -> None:
    set_cells(pack.snapshot, [3700, 4251, 3700, 3700])
    pack.protection.look(pack.snapshot, True)
    assert pack.protection.allowed == BOTH
    assert pack.protection.hurry
    assert pack.protection.ccl_ma == 10000, "no limit moves by a look alone"
    pack.protection.look(pack.snapshot, True)
    assert pack.protection.allowed == DISCHARGE
    assert pack.protection.state == State.DISCHARGE_ONLY
    assert (pack.protection.ccl_ma, pack.protection.ccl_why) == (0, LimitReason.FAULT)
    assert (pack.protection.dcl_ma, pack.protection.dcl_why) == (20000, LimitReason.NONE)


def test_a_look_changes_no_limit_but_by_a_fault(pack: Pack) -> None:
    set_cells(pack.snapshot, [4190] * 4)
    pack.protection.look(pack.snapshot, True)
    assert (pack.protection.ccl_ma, pack.protection.ccl_why) == (10000, LimitReason.NONE)
    pack.run()
    assert pack.protection.ccl_ma < 1500


def test_a_look_that_fails_closes_nothing(pack: Pack) -> None:
    pack.protection.disconnect()
    pack.run()
    assert pack.protection.connect() == CommandResult.DONE
    pack.protection.look(pack.snapshot, False)
    assert pack.protection.allowed == 0
    assert pack.protection.clear_latched() == CommandResult.DONE, "nothing is latched"
    pack.protection.look(pack.snapshot, True)
    assert pack.protection.allowed == 0, "a look does not make known what was not"
    pack.run()
    assert pack.protection.allowed == BOTH


def test_a_look_that_succeeds_may_close_what_the_cycle_knew_enough_for(pack: Pack) -> None:
    pack.protection.disconnect()
    pack.run()
    pack.protection.connect()
    pack.protection.look(pack.snapshot, True)
    assert pack.protection.allowed == BOTH


def test_after_a_look_that_failed_no_latch_is_cleared(pack: Pack) -> None:
    pack.protection.reported = 1 << Fault.SHORT_CIRCUIT
    pack.run()
    pack.protection.reported = 0
    pack.run(30)
    pack.protection.look(pack.snapshot, False)
    assert pack.protection.clear_latched() == CommandResult.REFUSED_UNSAFE
    pack.run()
    assert pack.protection.clear_latched() == CommandResult.DONE


def test_a_precharge_is_looked_at_again_soon() -> None:
    pack = Pack()
    pack.settings.precharge_ms = 5000
    pack.snapshot.load_mv = 0
    pack.run(3)
    assert pack.protection.state == State.PRECHARGE
    assert pack.protection.hurry
    assert pack.protection.ccl_why == pack.protection.dcl_why == LimitReason.PRECHARGE
    assert (pack.protection.ccl_ma, pack.protection.dcl_ma) == (0, 0)
    pack.snapshot.load_mv = pack.snapshot.stack_mv
    pack.snapshot.switches = DISCHARGE
    pack.run()
    assert pack.protection.state == State.ON
    assert not pack.protection.hurry


# --- other settings -----------------------------------------------------------------------------


def test_other_settings_are_judged_by_from_the_next_sample_on(pack: Pack) -> None:
    pack.protection.use_settings(nmc(cov_mv=4180, cov_release_mv=4100))
    set_cells(pack.snapshot, [4181] * 4)
    pack.run(2)
    assert pack.faults == ["CELL_OVER_VOLTAGE"]
    pack.protection.use_settings(nmc())
    pack.run()
    assert pack.faults == ["CELL_OVER_VOLTAGE"], "what is active stays so until it is released"
    set_cells(pack.snapshot, [4149] * 4)
    pack.run(3)
    assert pack.faults == []


# --- the self-test, and each state ------------------------------------------------------------


def test_only_complete_cycles_with_temperatures_count_for_the_self_test() -> None:
    pack = Pack()
    for _ in range(2):
        pack.run()
        pack.snapshot.valid = False
        pack.run(5)
        pack.snapshot.valid = True
        set_temperatures(pack.snapshot)
        pack.run(5)
        set_temperatures(pack.snapshot, 250)
        assert pack.protection.state == State.START
        assert pack.protection.ccl_why == pack.protection.dcl_why == LimitReason.NOT_READY
        assert pack.protection.connect() == CommandResult.REFUSED_UNSAFE
    pack.run()
    assert (pack.protection.state, pack.protection.allowed) == (State.ON, BOTH)


def test_a_new_protection_is_connected_ready_for_nothing_and_open() -> None:
    p = Protection(nmc())
    assert (p.allowed, p.state, p.reported) == (0, State.START, 0)
    assert p.connected is True
    assert p.service is False
    assert p.shut_down is False
    assert (p.ccl_ma, p.dcl_ma, p.cvl_mv) == (0, 0, 16800)
    assert p.ccl_why == p.dcl_why == LimitReason.NOT_READY
    assert p.cvl_why == LimitReason.NONE
    assert p.clear_latched() == CommandResult.DONE


def test_before_the_first_cycle_no_latch_is_cleared() -> None:
    protection = Protection(nmc())
    protection.restore_latched(1 << Fault.SHORT_CIRCUIT)
    assert protection.clear_latched() == CommandResult.REFUSED_UNSAFE


@pytest.mark.parametrize("name", ["start", "block", "fault"])
def test_a_pack_that_may_close_nothing_is_not_connected(name: str) -> None:
    pack = Pack()
    pack.protection.disconnect()
    pack.run(1 if name == "start" else 10)
    if name != "start":
        fault = Fault.CONFIGURATION if name == "block" else Fault.SHORT_CIRCUIT
        pack.protection.reported = 1 << fault
        pack.run()
    states = {"start": State.START, "block": State.BLOCKED, "fault": State.FAULT}
    assert pack.protection.state == states[name]
    assert pack.protection.connect() == CommandResult.REFUSED_UNSAFE
    assert pack.protection.connected is False


def test_a_latched_fault_of_one_direction_refuses_a_command_to_connect(pack: Pack) -> None:
    pack.protection.disconnect()
    pack.protection.restore_latched(1 << Fault.PRECHARGE_FAILED)
    pack.run()
    assert pack.protection.state == State.STANDBY
    assert pack.protection.connect() == CommandResult.REFUSED_UNSAFE
    assert pack.protection.clear_latched() == CommandResult.DONE
    assert pack.protection.connect() == CommandResult.DONE
    assert pack.protection.connected is True


def test_what_a_command_sets_is_kept_as_it_is_for_the_next_start(pack: Pack) -> None:
    assert pack.protection.enter_service() == CommandResult.DONE
    assert (pack.protection.connected, pack.protection.service) == (False, True)
    assert pack.protection.disconnect() == CommandResult.DONE
    assert (pack.protection.connected, pack.protection.service) == (False, False)
    assert pack.protection.connected is False
    assert pack.protection.service is False
    pack.run()
    assert pack.protection.connect() == CommandResult.DONE
    assert pack.protection.shutdown() == CommandResult.DONE
    assert pack.protection.shut_down is True
    assert pack.protection.connect() == CommandResult.REFUSED_UNSAFE, "before the next cycle too"


def test_service_refuses_before_its_next_cycle_too(pack: Pack) -> None:
    pack.protection.enter_service()
    assert pack.protection.connect() == CommandResult.REFUSED_UNSAFE


def test_one_state_hides_another_in_this_order(pack: Pack) -> None:
    """Opening, shut down, service, fault, blocked, standby."""
    p = pack.protection
    p.disconnect()
    pack.run()
    assert p.state == State.STANDBY
    p.reported = 1 << Fault.CONFIGURATION
    pack.run()
    assert p.state == State.BLOCKED
    p.restore_latched(1 << Fault.SHORT_CIRCUIT)
    pack.run()
    assert p.state == State.FAULT
    p.enter_service()
    pack.run()
    assert p.state == State.SERVICE
    p.shutdown()
    pack.run()
    assert p.state == State.SHUTDOWN


def test_two_faults_of_one_direction_each_block_the_pack(pack: Pack) -> None:
    set_cells(pack.snapshot, [2700, 4300, 3700, 3700])
    pack.run(2)
    assert (pack.protection.state, pack.protection.allowed) == (State.BLOCKED, 0)
    assert pack.protection.ccl_why == pack.protection.dcl_why == LimitReason.FAULT


def test_a_connected_pack_that_is_not_closable_yet_is_blocked(pack: Pack) -> None:
    pack.protection.disconnect()
    pack.run()
    pack.protection.connect()
    pack.snapshot.valid = False
    pack.run()
    assert (pack.protection.state, pack.protection.allowed) == (State.BLOCKED, 0)


def test_a_precharge_that_failed_is_reported_once_and_with_what_others_report(
    pack: Pack,
) -> None:
    pack.protection.switching.precharge_failed = True
    pack.protection.reported = 1 << Fault.STORAGE
    pack.run()
    assert pack.faults == ["STORAGE", "PRECHARGE_FAILED"]
    assert pack.protection.reported == 1 << Fault.STORAGE
    assert pack.protection.switching.precharge_failed is False
    pack.run(3)
    assert pack.faults == ["STORAGE"]


def test_a_fault_that_leaves_time_takes_the_limit_at_once(pack: Pack) -> None:
    set_cells(pack.snapshot, [2990, 4195, 3700, 3700])
    pack.snapshot.current_ma = 5000
    pack.run(10)
    assert pack.faults == ["CELL_SPREAD"]
    assert (pack.protection.state, pack.protection.allowed) == (State.OPENING, BOTH)
    assert (pack.protection.ccl_ma, pack.protection.ccl_why) == (0, LimitReason.FAULT)
    assert pack.protection.dcl_ma > 0
    pack.snapshot.current_ma = 0
    pack.run()
    assert (pack.protection.state, pack.protection.allowed) == (State.DISCHARGE_ONLY, DISCHARGE)


# --- whatever happens ---------------------------------------------------------------------------


CELL_MV = st.sampled_from([3700, 3700, 4251, 4149, 2799, 3001, 1499]) | st.integers(0, 5000)
SENSOR_DC = st.sampled_from([250, 250, 451, 399, -1, 31]) | st.integers(-450, 1250)


class AnyPack(RuleBasedStateMachine):
    """Snapshots, commands and faults in any order."""

    @initialize()
    def begin(self) -> None:
        self.protection = Protection(nmc())
        self.snapshot = healthy()
        self.before = 0

    @rule(low=CELL_MV, high=CELL_MV)
    def change_cells(self, low: int, high: int) -> None:
        set_cells(self.snapshot, [low, high, 3700, 3700])

    @rule(ma=st.integers(-60000, 60000))
    def change_current(self, ma: int) -> None:
        self.snapshot.current_ma = ma

    @rule(temperatures=st.lists(SENSOR_DC, max_size=3))
    def change_temperatures(self, temperatures: list[int]) -> None:
        set_temperatures(self.snapshot, *temperatures)

    @rule(faults=st.sets(st.sampled_from(sorted(names(Fault))), max_size=2), safety=st.integers(0))
    def change_faults(self, faults: set[int], safety: int) -> None:
        self.snapshot.faults = sum(1 << fault for fault in faults)
        self.snapshot.afe_safety = safety & 0xFFFFFF

    @rule(valid=st.booleans())
    def change_validity(self, valid: bool) -> None:
        self.snapshot.valid = valid

    @rule()
    def recover(self) -> None:
        now_s = self.snapshot.uptime_s
        self.snapshot = healthy()
        self.snapshot.uptime_s = now_s

    @rule()
    def clear(self) -> None:
        self.protection.clear_latched()

    @rule(connect=st.booleans())
    def connect(self, connect: bool) -> None:
        if connect:
            self.protection.connect()
        else:
            self.protection.disconnect()

    @rule(wish=st.sampled_from(["enter_service", "shutdown"]))
    def leave(self, wish: str) -> None:
        getattr(self.protection, wish)()

    @rule(cycles=st.sampled_from([1, 2, 3, 40]))
    def run(self, cycles: int) -> None:
        for _ in range(cycles):
            self.before = self.protection.allowed
            self.snapshot.uptime_s += 1
            self.protection.update(self.snapshot)
            self.judge()

    @rule(looked=st.booleans())
    def look(self, looked: bool) -> None:
        self.before = self.protection.allowed
        self.protection.look(self.snapshot, looked)
        if looked:
            self.judge()
        else:
            assert not self.protection.allowed & ~self.before, "closed without looking"

    def judge(self) -> None:
        p, s = self.protection, self.snapshot
        for i, row in enumerate(p.table):
            if p._latched[i] or (p._active[i] and not row[_DELAY_S]):
                assert not p.allowed & row[_FORBIDS], names(Fault)[row[_FAULT]]
        closed = p.allowed & ~self.before
        if closed:
            assert s.valid
            assert s.max_dc != -0x8000
            assert p.connected
            assert not p.service
            assert not p.shut_down
            # The hard limits, said once more and apart from the table.
            if closed & CHARGE:
                assert s.max_mv <= 4250
                assert 0 <= s.min_dc <= s.max_dc <= 450
            if closed & DISCHARGE:
                assert s.min_mv >= 2800
                assert -200 <= s.min_dc <= s.max_dc <= 600
        assert p.state != State.ON or p.allowed == BOTH
        assert p.state != State.CHARGE_ONLY or p.allowed == CHARGE
        assert p.state != State.DISCHARGE_ONLY or p.allowed == DISCHARGE
        assert p.state != State.STANDBY or not p.allowed
        assert 0 <= p.ccl_ma <= 10000
        assert 0 <= p.dcl_ma <= 20000

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "protection"):
            assert self.protection.allowed in (0, CHARGE, DISCHARGE, BOTH)


TestAnyPack = AnyPack.TestCase
TestAnyPack.settings = hypothesis_settings(max_examples=100, stateful_step_count=40, deadline=None)
