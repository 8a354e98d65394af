"""The switches alone, told what is permitted; then with commands, through protection."""

import pytest
from core_fakes import BOTH, healthy, nmc

from common.codes import CommandResult, Fault, LimitReason, State, Switch, fault_names
from firmware.protection import Protection
from firmware.switching import _PATIENCE_MS, _PAUSE_MS, Switching

CHARGE, DISCHARGE, PRE = Switch.CHARGE, Switch.DISCHARGE, Switch.PREDISCHARGE


class Path:
    """The switches of a pack of 4 cells of 10 Ah, one sample of 100 ms after another."""

    def __init__(self, **changes: int) -> None:
        self.settings = nmc(**changes)
        self.switching = Switching(self.settings)
        self.snapshot = healthy()
        self.permitted = BOTH
        self.leaving = 0
        self.closable = BOTH

    def run(self, ms: int = 100) -> int:
        for _ in range(ms // 100):
            self.switching.update(self.snapshot, 100, self.permitted, self.leaving, self.closable)
        return self.switching.allowed


# --- opening -----------------------------------------------------------------------------------


def test_what_is_forbidden_opens_at_once_whatever_flows() -> None:
    path = Path()
    assert path.run() == BOTH
    path.snapshot.current_ma = -19000
    path.permitted = CHARGE
    assert path.run() == CHARGE
    path.permitted = 0
    assert path.run() == 0


def test_a_command_waits_for_the_current_to_go() -> None:
    path = Path()
    path.run()
    path.snapshot.current_ma = -19000
    path.switching.connected = False
    assert path.run(5000) == BOTH
    assert path.switching.opening
    path.snapshot.current_ma = -200
    assert path.run() == 0
    assert not path.switching.opening


def test_but_not_for_ever() -> None:
    path = Path()
    path.run()
    path.snapshot.current_ma = 9000
    path.switching.connected = False
    assert path.run(_PATIENCE_MS) == BOTH
    assert path.run() == 0


def test_nor_for_a_current_that_is_not_known() -> None:
    path = Path()
    path.run()
    path.snapshot.current_ma = 9000
    path.snapshot.valid = path.snapshot.looked = False
    path.switching.connected = False
    assert path.run() == 0


def test_nor_when_a_fault_comes_meanwhile() -> None:
    path = Path()
    path.run()
    path.snapshot.current_ma = 9000
    path.switching.connected = False
    path.run(1000)
    path.permitted = 0
    assert path.run() == 0


def test_one_direction_may_leave_alone() -> None:
    path = Path()
    path.run()
    path.leaving = CHARGE
    path.snapshot.current_ma = 9000
    assert path.run(1000) == BOTH
    path.snapshot.current_ma = 0
    assert path.run() == DISCHARGE
    assert path.run(1000) == DISCHARGE, "it does not come back while it is to leave"
    path.leaving = 0
    assert path.run() == BOTH


def test_a_change_of_mind_keeps_closed_what_is_not_open_yet() -> None:
    path = Path()
    path.run()
    path.snapshot.current_ma = 9000
    path.switching.connected = False
    path.run(1000)
    path.switching.connected = True
    assert path.run() == BOTH
    assert not path.switching.opening


def test_nothing_closes_that_is_not_closable() -> None:
    path = Path()
    path.closable = 0
    assert path.run(1000) == 0
    path.closable = DISCHARGE
    assert path.run() == DISCHARGE
    path.closable = 0
    assert path.run(1000) == DISCHARGE, "what is closed stays so"


# --- precharge ---------------------------------------------------------------------------------


def precharged(**changes: int) -> Path:
    path = Path(precharge_ms=2000, **changes)
    path.snapshot.stack_mv = 14800
    path.snapshot.load_mv = 0
    return path


def test_terminals_that_have_the_voltage_need_no_precharge() -> None:
    path = precharged()
    path.snapshot.load_mv = 13800
    assert path.run() == BOTH


def test_the_chip_closes_when_the_voltage_is_there_and_the_rest_follows() -> None:
    path = precharged()
    assert path.run() == PRE | DISCHARGE, "the chip closes the one after the other"
    assert path.switching.precharging
    path.snapshot.load_mv = 13800
    assert path.run() == PRE | DISCHARGE, "it has not closed yet"
    path.snapshot.switches = DISCHARGE
    path.snapshot.load_mv = 10000
    assert path.run() == PRE | DISCHARGE, "closed, but onto what?"
    path.snapshot.load_mv = 13800
    assert path.run() == BOTH
    assert not path.switching.precharging


def test_contactors_are_closed_by_the_firmware_and_only_both() -> None:
    path = precharged(contactors=1)
    assert path.run() == PRE
    path.snapshot.load_mv = 13799
    assert path.run() == PRE
    path.snapshot.load_mv = 13800
    assert path.run() == BOTH
    path.permitted = CHARGE
    assert path.run() == 0


def test_contactors_that_may_carry_one_direction_only_stay_open() -> None:
    path = Path(contactors=1)
    path.permitted = DISCHARGE
    assert path.run(1000) == 0


@pytest.mark.parametrize("load_mv", [0, 13799, -1])
def test_a_precharge_that_does_not_get_there_is_tried_again_and_then_given_up(
    load_mv: int,
) -> None:
    path = precharged()
    path.snapshot.load_mv = load_mv
    for left in (2, 1, 0):
        assert path.run() == PRE | DISCHARGE
        assert path.run(1900) == PRE | DISCHARGE
        assert path.run() == 0, "in time or not at all"
        assert path.switching.precharge_failed == (left == 0)
        assert path.run(_PAUSE_MS - 100) == 0, "the resistor cools"
    assert path.run(60000) == 0
    path.switching.precharge_failed = False
    assert path.run() == PRE | DISCHARGE


@pytest.mark.parametrize("trouble", ["fault", "leaving", "unknown", "doubt", "command"])
def test_in_any_trouble_a_precharge_ends_open(trouble: str) -> None:
    path = precharged()
    path.run()
    if trouble == "fault":
        path.permitted = CHARGE
    elif trouble == "leaving":
        path.leaving = BOTH
    elif trouble == "unknown":
        path.snapshot.valid = path.snapshot.looked = False
    elif trouble == "doubt":
        path.closable = 0
    else:
        path.switching.connected = False
    assert path.run() == 0
    assert not path.switching.precharge_failed


def test_a_pack_that_may_only_be_charged_needs_no_precharge() -> None:
    path = precharged()
    path.permitted = CHARGE
    assert path.run() == CHARGE


# --- times, currents and voltages, exactly -----------------------------------------------------


def test_new_switching_is_connected_and_open() -> None:
    switching = Switching(nmc())
    assert (switching.allowed, switching.connected) == (0, True)
    assert switching.opening is False
    assert switching.precharging is False
    assert switching.precharge_failed is False


@pytest.mark.parametrize(
    ("current_ma", "is_none"),
    [(200, True), (201, False), (-200, True), (-201, False), (0, True)],
)
def test_a_current_is_none_up_to_a_fiftieth_of_the_rating(current_ma: int, is_none: bool) -> None:
    path = Path()
    path.run()
    path.snapshot.current_ma = current_ma
    path.switching.connected = False
    assert path.run() == (0 if is_none else BOTH)
    assert path.switching.opening is not is_none


@pytest.mark.parametrize(("valid", "looked"), [(True, False), (False, True)])
def test_a_current_that_was_read_or_looked_at_is_known(valid: bool, looked: bool) -> None:
    path = Path()
    path.run()
    path.snapshot.current_ma = 9000
    path.snapshot.valid, path.snapshot.looked = valid, looked
    path.switching.connected = False
    assert path.run(5000) == BOTH


def test_patience_ends_after_ten_seconds_and_each_time_anew() -> None:
    path = Path()
    for _ in range(3):
        path.switching.connected = True
        path.snapshot.current_ma = 9000
        path.run(300)
        path.switching.connected = False
        assert path.run(10_000) == BOTH
        assert path.switching.opening is True
        assert path.run() == 0, "10 s after the command was first seen"
        assert path.switching.opening is False


def test_time_that_passed_while_nothing_opened_takes_no_patience() -> None:
    path = Path()
    path.run(60_000)
    path.snapshot.current_ma = 9000
    for _ in range(3):
        path.switching.connected = False
        assert path.run(9_000) == BOTH
        path.switching.connected = True
        assert path.run(200) == BOTH


def test_what_leaves_is_not_closed_again_by_what_waits() -> None:
    path = Path()
    path.leaving = CHARGE
    assert path.run(1000) == DISCHARGE
    assert path.switching.opening is False


def test_one_direction_is_kept_while_the_other_leaves() -> None:
    path = Path()
    path.permitted = DISCHARGE
    path.run()
    path.permitted = BOTH
    path.snapshot.current_ma = -9000
    path.switching.connected = False
    assert path.run(1000) == DISCHARGE, "nothing closes on its way out"


@pytest.mark.parametrize("contactors", [0, 1])
def test_a_precharge_has_its_time_to_the_millisecond(contactors: int) -> None:
    path = precharged(contactors=contactors)
    first = PRE if contactors else PRE | DISCHARGE
    assert path.run() == first
    assert path.run(1900) == first
    assert path.switching.precharging is True
    path.snapshot.load_mv = 14800
    path.snapshot.switches = DISCHARGE
    assert path.run() == 0, "2000 ms are over"
    assert path.switching.precharging is False
    assert path.switching.precharge_failed is False


def test_a_precharge_that_gets_there_at_the_last_sample_is_one() -> None:
    path = precharged()
    path.run()
    assert path.run(1800) == PRE | DISCHARGE
    path.snapshot.load_mv = 13800
    path.snapshot.switches = DISCHARGE
    assert path.run() == BOTH


@pytest.mark.parametrize("cells", [CHARGE, CHARGE | PRE])
def test_another_switch_that_is_closed_is_not_the_one_of_discharge(cells: int) -> None:
    path = precharged()
    path.run()
    path.snapshot.load_mv = 14800
    path.snapshot.switches = cells
    assert path.run(1000) == PRE | DISCHARGE


def test_a_voltage_that_is_not_measured_is_none() -> None:
    path = precharged()
    path.snapshot.load_mv = -1
    path.snapshot.stack_mv = 900
    assert path.run() == PRE | DISCHARGE


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_as_many_tries_as_are_set_fail_before_it_is_told(tries: int) -> None:
    path = precharged(precharge_tries=tries)
    for _ in range(2):
        for left in reversed(range(tries)):
            assert path.run() == PRE | DISCHARGE
            assert path.run(2000) == 0
            assert path.switching.precharge_failed is (left == 0)
            assert path.run(9_900) == 0
        assert path.run(30_000) == 0
        path.switching.precharge_failed = False


def test_a_precharge_that_succeeds_begins_the_count_anew() -> None:
    path = precharged()
    for _ in range(3):
        for _ in range(2):
            path.snapshot.load_mv = 0
            path.run(100 + 2000 + 9900)
        assert path.run() == PRE | DISCHARGE
        path.snapshot.load_mv = 14800
        path.snapshot.switches = DISCHARGE
        assert path.run() == BOTH
        path.snapshot.switches = 0
        path.permitted = 0
        assert path.run() == 0
        path.permitted = BOTH
        path.snapshot.load_mv = 0
    assert path.switching.precharge_failed is False


def test_a_precharge_that_was_interrupted_is_no_failed_try() -> None:
    path = precharged(precharge_tries=1)
    for _ in range(5):
        assert path.run(1000) == PRE | DISCHARGE
        path.permitted = 0
        assert path.run() == 0
        path.permitted = BOTH
        assert path.run(9_900) == 0, "the resistor cools all the same"
    assert path.switching.precharge_failed is False


def test_after_a_precharge_there_is_no_pause() -> None:
    path = precharged()
    path.run()
    path.snapshot.load_mv = 14800
    path.snapshot.switches = DISCHARGE
    assert path.run() == BOTH
    path.permitted = 0
    path.run()
    path.permitted = BOTH
    path.snapshot.load_mv = 0
    assert path.run() == PRE | DISCHARGE


def test_a_precharge_that_is_there_closes_only_what_is_permitted() -> None:
    path = precharged()
    path.run()
    path.snapshot.load_mv = 14800
    path.snapshot.switches = DISCHARGE
    path.permitted = DISCHARGE
    assert path.run() == DISCHARGE


@pytest.mark.parametrize("closable", [BOTH, DISCHARGE])
def test_charging_waits_for_the_precharge(closable: int) -> None:
    path = precharged()
    path.closable = closable
    assert path.run() == PRE | DISCHARGE


def test_nothing_is_precharged_while_the_other_direction_still_leaves() -> None:
    path = precharged()
    path.permitted = CHARGE
    path.run()
    path.permitted = BOTH
    path.leaving = CHARGE
    path.snapshot.current_ma = 9000
    assert path.run(1000) == CHARGE
    path.snapshot.current_ma = 0
    assert path.run() == 0
    assert path.run() == PRE | DISCHARGE


def test_contactors_leave_together() -> None:
    path = Path(contactors=1)
    path.run()
    path.leaving = CHARGE
    path.snapshot.current_ma = 9000
    assert path.run(1000) == BOTH
    path.snapshot.current_ma = 0
    assert path.run() == 0


def test_contactors_close_only_together() -> None:
    path = Path(contactors=1)
    path.leaving = CHARGE
    assert path.run(1000) == 0
    path.leaving = 0
    assert path.run() == BOTH


def test_a_contactor_that_is_forbidden_takes_the_other_along_whatever_flows() -> None:
    for permitted in (0, CHARGE, DISCHARGE):
        path = Path(contactors=1)
        path.run()
        path.snapshot.current_ma = 9000
        path.permitted = permitted
        assert path.run() == 0


def test_patience_ends_to_the_millisecond() -> None:
    for ms, allowed in ((9999, BOTH), (10_000, 0)):
        path = Path()
        path.run()
        path.snapshot.current_ma = 9000
        path.switching.connected = False
        path.run()
        path.switching.update(path.snapshot, ms, BOTH, 0, BOTH)
        assert path.switching.allowed == allowed


def test_charging_that_goes_on_is_kept_while_the_terminals_are_precharged() -> None:
    path = precharged()
    path.permitted = CHARGE
    path.run()
    path.permitted = BOTH
    assert path.run() == CHARGE | PRE | DISCHARGE


# --- commands and states -----------------------------------------------------------------------


class Pack:
    """Protection, one cycle of 1 s after another."""

    def __init__(self, **changes: int) -> None:
        self.protection = Protection(nmc(**changes))
        self.snapshot = healthy()
        self.snapshot.load_mv = self.snapshot.stack_mv
        self.run(30)

    def run(self, cycles: int = 1) -> int:
        for _ in range(cycles):
            self.snapshot.uptime_s += 1
            self.protection.update(self.snapshot)
        return self.protection.state


def test_while_it_opens_no_current_is_offered() -> None:
    pack = Pack()
    p = pack.protection
    pack.snapshot.current_ma = 5000
    p.disconnect()
    assert pack.run() == State.OPENING
    assert (p.ccl_ma, p.dcl_ma, p.ccl_why) == (0, 0, LimitReason.DISCONNECTED)
    pack.snapshot.current_ma = 0
    assert pack.run() == State.STANDBY


def test_a_fault_that_leaves_time_takes_the_limit_first_and_then_the_switch() -> None:
    pack = Pack()
    p = pack.protection
    pack.snapshot.current_ma = -5000
    p.reported = 1 << Fault.INSULATION
    pack.run(3)
    assert (p.state, p.allowed, p.dcl_ma) == (State.OPENING, BOTH, 0)
    assert fault_names(p.active) == ["INSULATION"]
    pack.run(9)
    assert p.allowed == BOTH
    pack.run()
    assert (p.state, p.allowed) == (State.BLOCKED, 0)


def test_service_is_left_by_disconnect_alone() -> None:
    pack = Pack()
    p = pack.protection
    assert p.enter_service() == CommandResult.DONE
    assert pack.run() == State.SERVICE
    assert p.connect() == CommandResult.REFUSED_UNSAFE
    assert p.clear_latched() == CommandResult.DONE
    assert pack.run(10) == State.SERVICE
    p.disconnect()
    assert pack.run() == State.STANDBY
    assert p.connect() == CommandResult.DONE
    assert pack.run() == State.ON


def test_a_pack_that_is_shut_down_stays_so() -> None:
    pack = Pack()
    p = pack.protection
    p.shutdown()
    assert pack.run() == State.SHUTDOWN
    assert p.connect() == CommandResult.REFUSED_UNSAFE
    p.disconnect()
    assert pack.run(10) == State.SHUTDOWN
    assert p.allowed == 0


def test_a_pack_with_a_fault_is_not_connected() -> None:
    pack = Pack()
    p = pack.protection
    p.disconnect()
    p.reported = 1 << Fault.CONFIGURATION
    assert pack.run() == State.BLOCKED
    assert p.connect() == CommandResult.REFUSED_UNSAFE
    p.reported = 0
    assert pack.run(10) == State.STANDBY


def test_a_precharge_that_fails_is_latched_and_charging_goes_on() -> None:
    pack = Pack(precharge_ms=2000)
    p = pack.protection
    pack.snapshot.load_mv = 0
    p.disconnect()
    pack.run()
    p.connect()
    seen = {pack.run() for _ in range(60)}
    assert State.PRECHARGE in seen
    assert fault_names(p.latched) == ["PRECHARGE_FAILED"]
    assert (p.state, p.allowed) == (State.CHARGE_ONLY, CHARGE)
    pack.run(100)
    assert (p.state, p.allowed) == (State.CHARGE_ONLY, CHARGE), "it is not tried again"
    pack.snapshot.load_mv = pack.snapshot.stack_mv
    assert p.clear_latched() == CommandResult.DONE
    assert pack.run() == State.ON
