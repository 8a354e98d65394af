"""Each row of the table at its exact numbers: docs/firmware.md, for 4 NMC cells of 10 Ah.

The numbers stand here once more, apart from the table, and are found by what the diagnosis does.
"""

from typing import NamedTuple

import pytest
from core_fakes import healthy, nmc, set_cells, set_temperatures

from common.codes import Fault, Switch, fault_names, names
from firmware.diagnosis import Diagnosis
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

CHARGE, DISCHARGE = Switch.CHARGE, Switch.DISCHARGE
BOTH = CHARGE | DISCHARGE
LONG = 100  # cycles, more than any row waits for


class Judge:
    """A diagnosis that is told one snapshot a second."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.diagnosis = Diagnosis(settings or nmc())
        self.snapshot = healthy()
        self.reported = 0

    def cycle(self, times: int = 1) -> None:
        for _ in range(times):
            self.snapshot.uptime_s += 1
            self.diagnosis.judge_cycle(self.snapshot, self.reported)

    def look(self, looked: bool = True) -> None:
        self.diagnosis.judge_look(self.snapshot, looked)

    def heal(self) -> None:
        uptime_s = self.snapshot.uptime_s
        self.snapshot = healthy()
        self.snapshot.uptime_s = uptime_s
        self.reported = 0

    @property
    def active(self) -> list[str]:
        return fault_names(self.diagnosis.active)

    @property
    def latched(self) -> list[str]:
        return fault_names(self.diagnosis.latched)

    @property
    def warned(self) -> list[str]:
        return fault_names(self.diagnosis.warned)


class Row(NamedTuple):
    """A measured value: from when on it warns and cuts, and where it is released."""

    fault: str
    warn: int
    cut: int
    release: int
    up: int
    down: int
    forbids: int
    trips_to_latch: int = 0  # 0: never
    leave_s: int = 0
    settings: Settings = nmc()

    @property
    def beyond(self) -> int:
        """The direction in which it gets worse."""
        return 1 if self.warn < self.cut or self.release < self.cut else -1


def put(s: Snapshot, fault: str, value: int) -> None:
    if fault == "CELL_OVER_VOLTAGE":
        set_cells(s, [3800, value, 3800, 3800])
    elif fault in ("CELL_UNDER_VOLTAGE", "CELL_DEEP_DISCHARGE"):
        set_cells(s, [value + 10, value, value + 10, value + 10])
    elif fault == "CELL_SPREAD":
        set_cells(s, [3000, 3000 + value, 3000, 3000])
    elif fault == "CHARGE_OVER_CURRENT":
        s.current_ma = value
    elif fault == "DISCHARGE_OVER_CURRENT":
        s.current_ma = -value
    elif fault == "FET_OVER_TEMPERATURE":
        s.fet_dc = value
    elif fault == "TEMPERATURE_RISE":
        s.rise_dc = value
    elif "OVER" in fault:
        set_temperatures(s, 200, value)
    else:
        set_temperatures(s, 200, value)


ROWS = [
    Row("CELL_OVER_VOLTAGE", 4225, 4250, 4150, 2, 3, CHARGE),
    Row("CELL_UNDER_VOLTAGE", 2850, 2800, 3000, 2, 3, DISCHARGE),
    Row("CELL_DEEP_DISCHARGE", 1500, 1500, 1700, 2, 3, BOTH, 1),
    Row("CHARGE_OVER_CURRENT", 10000, 10000, 5000, 2, 30, CHARGE, 5),
    Row("DISCHARGE_OVER_CURRENT", 20000, 20000, 10000, 2, 30, DISCHARGE, 5),
    Row("CHARGE_OVER_TEMPERATURE", 430, 450, 400, 2, 5, CHARGE),
    Row("CHARGE_UNDER_TEMPERATURE", 70, 50, 80, 2, 5, CHARGE, settings=nmc(utc_dc=50)),
    # Tighter than in charge, so that each trips alone.
    Row("DISCHARGE_OVER_TEMPERATURE", 380, 400, 350, 2, 5, DISCHARGE, settings=nmc(otd_dc=400)),
    Row("DISCHARGE_UNDER_TEMPERATURE", 120, 100, 130, 2, 5, DISCHARGE, settings=nmc(utd_dc=100)),
    Row("FET_OVER_TEMPERATURE", 850, 900, 750, 2, 5, BOTH),
    Row("TEMPERATURE_RISE", 50, 100, 25, 2, 5, BOTH, 1),
    Row("CELL_SPREAD", 300, 1200, 600, 10, 30, CHARGE, leave_s=10),
]
LASTS = {"CELL_DEEP_DISCHARGE"}  # latches when it has lasted for three samples more
BY_NAME = {"argvalues": ROWS, "ids": [row.fault for row in ROWS]}


def brought(row: Row, value: int, cycles: int) -> Judge:
    judge = Judge(row.settings)
    judge.cycle(5)
    put(judge.snapshot, row.fault, value)
    judge.cycle(cycles)
    return judge


@pytest.mark.parametrize("row", **BY_NAME)
def test_a_value_warns_beyond_its_warning_and_not_at_it(row: Row) -> None:
    judge = brought(row, row.warn, LONG)
    assert row.fault not in judge.warned
    put(judge.snapshot, row.fault, row.warn + row.beyond)
    judge.cycle()
    assert row.fault in judge.warned
    put(judge.snapshot, row.fault, row.warn)
    judge.cycle()
    assert row.fault not in judge.warned, "a warning goes at once"


@pytest.mark.parametrize("row", **BY_NAME)
def test_a_value_cuts_beyond_its_cut_and_after_its_samples(row: Row) -> None:
    judge = brought(row, row.cut, LONG)
    assert row.fault not in judge.active
    put(judge.snapshot, row.fault, row.cut + row.beyond)
    for _ in range(row.up - 1):
        judge.cycle()
        assert row.fault not in judge.active
        assert judge.diagnosis.pending & row.forbids == row.forbids
    judge.cycle()
    assert row.fault in judge.active
    worst = judge.diagnosis.last_fault_value
    assert worst is not None
    assert abs(worst) == abs(row.cut + row.beyond)
    assert names(Fault)[judge.diagnosis.last_fault] == row.fault


@pytest.mark.parametrize("row", **BY_NAME)
def test_a_value_is_released_inside_its_release_and_after_its_samples(row: Row) -> None:
    judge = brought(row, row.cut + row.beyond, row.up)
    assert row.fault in judge.active
    put(judge.snapshot, row.fault, row.release)
    judge.cycle(LONG)
    assert row.fault in judge.active, "at the release it stays"
    put(judge.snapshot, row.fault, row.release - row.beyond)
    judge.cycle(row.down - 1)
    assert row.fault in judge.active
    judge.cycle()
    assert row.fault not in judge.active


@pytest.mark.parametrize("row", **BY_NAME)
def test_a_value_that_comes_back_while_it_is_released_begins_anew(row: Row) -> None:
    judge = brought(row, row.cut + row.beyond, row.up)
    for _ in range(3):
        put(judge.snapshot, row.fault, row.release - row.beyond)
        judge.cycle(row.down - 1)
        put(judge.snapshot, row.fault, row.release)
        judge.cycle()
        assert row.fault in judge.active


@pytest.mark.parametrize("row", **BY_NAME)
def test_a_value_opens_its_switches_and_no_other(row: Row) -> None:
    judge = brought(row, row.cut + row.beyond, row.up)
    for _ in range(row.leave_s):
        assert (judge.diagnosis.leaving, judge.diagnosis.forbidden) == (row.forbids, 0)
        assert judge.diagnosis.pending == row.forbids, "nor is it closed meanwhile"
        judge.cycle()
    assert (judge.diagnosis.leaving, judge.diagnosis.forbidden) == (0, row.forbids)


def test_every_number_of_the_table_is_whole_on_a_board_too() -> None:
    odd = nmc(cov_mv=4249, occ_ma=9999, ocd_ma=19999, spread_mv=1199)
    for row in Diagnosis(odd).table:
        assert all(type(number) is int for number in row), names(Fault)[row[0]]


def trip(judge: Judge, row: Row, hold: int = 0) -> None:
    put(judge.snapshot, row.fault, row.cut + row.beyond)
    judge.cycle(row.up + hold)


@pytest.mark.parametrize("row", **BY_NAME)
def test_a_value_latches_at_its_trip_or_never(row: Row) -> None:
    judge = Judge(row.settings)
    for n in range(1, 8):
        trip(judge, row)
        assert judge.diagnosis.tripped >> getattr(Fault, row.fault) & 1
        judge.diagnosis.tripped = 0
        if row.fault in LASTS and n == 1:
            for _ in range(3):
                assert judge.latched == []
                judge.cycle()
        is_latched = bool(row.trips_to_latch) and n >= row.trips_to_latch
        assert judge.latched == ([row.fault] if is_latched else [])
        assert judge.diagnosis.forbidden_for_good == (row.forbids if is_latched else 0)
        judge.cycle(20)
        judge.heal()
        judge.cycle(40)
        assert judge.active == []
    assert judge.diagnosis.forbidden == (row.forbids if row.trips_to_latch else 0)


# --- flags --------------------------------------------------------------------------------------


class Flag(NamedTuple):
    """What is there or not."""

    fault: str
    up: int
    down: int
    forbids: int
    latches: bool = False
    leave_s: int = 0


FLAGS = [
    Flag("SHORT_CIRCUIT", 1, 30, BOTH, latches=True),
    Flag("SENSOR_IMPLAUSIBLE", 3, 5, BOTH),
    Flag("STACK_MISMATCH", 3, 5, BOTH),
    Flag("AFE_COMMUNICATION", 1, 3, BOTH),
    Flag("AFE_RESET", 1, 3, BOTH),
    Flag("AFE_PERMANENT_FAIL", 1, 3, BOTH, latches=True),
    Flag("MEASUREMENT_STALE", 1, 3, BOTH),
    Flag("SWITCH_MISMATCH", 3, 3, BOTH, latches=True),
    Flag("CONFIGURATION", 1, 3, BOTH),
    Flag("STORAGE", 1, 3, 0),
    Flag("LOOP_OVERRUN", 1, 60, 0),
    Flag("OPEN_WIRE", 2, 3, BOTH, latches=True),
    Flag("SWITCH_WELDED", 3, 3, BOTH, latches=True),
    Flag("PRECHARGE_FAILED", 1, 3, DISCHARGE, latches=True),
    Flag("INSULATION", 3, 10, BOTH, leave_s=10),
]


@pytest.mark.parametrize("is_reported", [False, True])
@pytest.mark.parametrize("flag", FLAGS, ids=[flag.fault for flag in FLAGS])
def test_a_flag_trips_leaves_and_latches_after_its_samples(flag: Flag, is_reported: bool) -> None:
    judge = Judge()
    bit = 1 << getattr(Fault, flag.fault)
    for n in range(3):
        judge.cycle(50)
        assert judge.active == judge.warned == []
        judge.snapshot.faults, judge.reported = (0, bit) if is_reported else (bit, 0)
        for _ in range(flag.up - 1):
            judge.cycle()
            assert judge.active == []
            assert judge.warned == [flag.fault]
            assert judge.diagnosis.pending == flag.forbids
        assert judge.latched == ([flag.fault] if flag.latches and n else [])
        judge.cycle()
        assert judge.active == judge.warned == [flag.fault]
        assert judge.latched == ([flag.fault] if flag.latches else [])
        assert judge.diagnosis.forbidden_for_good == (flag.forbids if flag.latches else 0)
        for _ in range(flag.leave_s):
            assert (judge.diagnosis.leaving, judge.diagnosis.forbidden) == (flag.forbids, 0)
            judge.cycle()
        assert (judge.diagnosis.leaving, judge.diagnosis.forbidden) == (0, flag.forbids)
        for _ in range(LONG):
            judge.cycle()
            assert judge.active == [flag.fault], "it never lets go while it is there"
        judge.heal()
        judge.cycle(flag.down - 1)
        assert judge.active == [flag.fault]
        judge.cycle()
        assert judge.active == []
    assert judge.diagnosis.last_fault_value is None


@pytest.mark.parametrize("name", ["CURRENT_OFFSET", "CLOCK_INVALID"])
def test_what_is_no_danger_warns_and_does_nothing_else(name: str) -> None:
    judge = Judge()
    judge.reported = 1 << getattr(Fault, name)
    judge.cycle(LONG)
    assert (judge.active, judge.latched, judge.warned) == ([], [], [name])
    assert judge.diagnosis.pending == judge.diagnosis.forbidden == 0
    judge.reported = 0
    judge.cycle()
    assert judge.warned == []


def test_every_fault_stands_in_a_table_of_these_tests() -> None:
    told = {row.fault for row in ROWS} | {flag.fault for flag in FLAGS}
    rest = {"CURRENT_OFFSET", "CLOCK_INVALID", "AFE_PROTECTION"}
    assert told | rest == set(names(Fault).values())


# --- the chip's own protections -----------------------------------------------------------------

# Safety Status A, B and C of the BQ76952 (SLUUBY2): what each bit stops.
SAFETY = {
    0x000004: DISCHARGE,  # CUV
    0x000008: CHARGE,  # COV
    0x000010: CHARGE,  # OCC
    0x000020: DISCHARGE,  # OCD1
    0x000040: DISCHARGE,  # OCD2
    0x000080: 0,  # SCD has a row of its own
    0x000100: CHARGE,  # UTC
    0x000200: DISCHARGE,  # UTD
    0x000400: BOTH,  # UTINT
    0x001000: CHARGE,  # OTC
    0x002000: DISCHARGE,  # OTD
    0x004000: BOTH,  # OTINT
    0x008000: BOTH,  # OTF
    0x020000: BOTH,  # HWDF
    0x040000: CHARGE,  # PTO
    0x100000: CHARGE,  # COVL
    0x200000: DISCHARGE,  # OCDL
    0x400000: 0,  # SCDL
    0x800000: DISCHARGE,  # OCD3
}


@pytest.mark.parametrize("bit", [1 << n for n in range(24)])
def test_a_protection_of_the_chip_opens_what_it_stops(bit: int) -> None:
    stops = SAFETY.get(bit, 0)
    judge = Judge()
    judge.cycle(3)
    judge.snapshot.afe_safety = bit
    for _ in range(LONG):
        judge.cycle()
        assert judge.diagnosis.forbidden == stops
    assert judge.active == judge.warned == (["AFE_PROTECTION"] if stops else [])
    if stops:
        assert judge.diagnosis.last_fault_value == bit
        assert judge.diagnosis.n_faults == (2 if stops == BOTH else 1)
    for _ in range(10):
        judge.snapshot.afe_safety = 0
        judge.cycle(4)
        assert judge.diagnosis.forbidden == stops
        assert judge.diagnosis.pending == judge.diagnosis.leaving == 0
        judge.snapshot.afe_safety = bit
        judge.cycle()
    judge.snapshot.afe_safety = 0
    judge.cycle(4)
    assert judge.diagnosis.forbidden == stops
    judge.cycle()
    assert judge.active == judge.latched == []
    for _ in range(8):  # however often it comes
        judge.snapshot.afe_safety = bit
        judge.cycle()
        judge.snapshot.afe_safety = 0
        judge.cycle(5)
    assert judge.active == judge.latched == []


# --- samples ------------------------------------------------------------------------------------


def test_a_reading_on_its_way_up_goes_down_one_by_one() -> None:
    judge = Judge()
    for _ in range(3):
        put(judge.snapshot, "CELL_SPREAD", 1201)
        judge.cycle(4)
        put(judge.snapshot, "CELL_SPREAD", 1200)
        judge.cycle(2)
    assert judge.diagnosis.pending == CHARGE
    put(judge.snapshot, "CELL_SPREAD", 1201)
    judge.cycle(3)
    assert judge.active == []
    judge.cycle()
    assert judge.active == ["CELL_SPREAD"], "6 were left"


def test_two_readings_on_their_way_up_keep_both_switches_from_closing() -> None:
    judge = Judge()
    set_cells(judge.snapshot, [2799, 3800, 3800, 4251])
    judge.cycle()
    assert judge.diagnosis.pending == BOTH


FAST = [
    ("CELL_OVER_VOLTAGE", 4251), ("CELL_UNDER_VOLTAGE", 2799), ("CHARGE_OVER_TEMPERATURE", 451),
    ("CHARGE_UNDER_TEMPERATURE", -1), ("FET_OVER_TEMPERATURE", 901),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "value"), FAST)
def test_a_look_counts_as_a_sample_and_asks_for_another_soon(fault: str, value: int) -> None:
    judge = Judge()
    judge.cycle(3)
    judge.look()
    assert not judge.diagnosis.hurry
    put(judge.snapshot, fault, value)
    judge.look()
    assert judge.active == []
    assert judge.diagnosis.hurry
    judge.look()
    assert judge.active == [fault]
    assert not judge.diagnosis.hurry
    judge.heal()
    for _ in range(LONG):
        judge.look()
    assert judge.active == [fault], "nothing gets quiet between the cycles"


@pytest.mark.parametrize(("fault", "value"), FAST)
def test_a_look_that_fails_counts_against_what_is_on_its_way_up(fault: str, value: int) -> None:
    judge = Judge()
    judge.cycle(3)
    for _ in range(5):
        judge.look(False)
    assert judge.active == [], "nothing was on its way"
    put(judge.snapshot, fault, value)
    judge.cycle()
    judge.look(False)
    assert judge.active == [fault]
    assert judge.diagnosis.last_fault_value is None, "it was not seen"
    judge.cycle()
    for _ in range(5):
        judge.look(False)
    assert judge.diagnosis.n_faults == 1, "it trips once"


@pytest.mark.parametrize(
    ("fault", "value"),
    [("CHARGE_OVER_CURRENT", 10001), ("DISCHARGE_OVER_CURRENT", 20001), ("CELL_SPREAD", 1201),
     ("TEMPERATURE_RISE", 101)],
)  # fmt: skip
def test_what_is_judged_in_cycles_alone_is_left_by_looks(fault: str, value: int) -> None:
    judge = Judge()
    judge.cycle(3)
    put(judge.snapshot, fault, value)
    judge.cycle()
    assert not judge.diagnosis.hurry, "a look would not tell"
    for _ in range(LONG):
        judge.look()
        judge.look(False)
    assert fault not in judge.active
    assert judge.diagnosis.pending


def test_flags_are_not_counted_by_looks() -> None:
    judge = Judge()
    judge.snapshot.faults = 1 << Fault.SENSOR_IMPLAUSIBLE
    judge.cycle()
    for _ in range(5):
        judge.look()
    assert judge.active == []


def test_a_cycle_without_figures_judges_flags_and_what_was_on_its_way() -> None:
    judge = Judge()
    judge.cycle(3)
    put(judge.snapshot, "CELL_OVER_VOLTAGE", 4251)
    judge.snapshot.current_ma = 10001
    judge.cycle()
    judge.snapshot.valid = judge.snapshot.looked = False
    judge.snapshot.faults = 1 << Fault.AFE_COMMUNICATION
    judge.cycle()
    assert judge.active == ["CELL_OVER_VOLTAGE", "AFE_COMMUNICATION"]
    judge.cycle(LONG)
    assert judge.active == ["CELL_OVER_VOLTAGE", "AFE_COMMUNICATION"], "no current is known"


@pytest.mark.parametrize(("valid", "looked"), [(True, False), (False, True)])
def test_a_cycle_that_was_read_or_at_least_looked_at_is_judged(valid: bool, looked: bool) -> None:
    judge = Judge()
    judge.snapshot.valid, judge.snapshot.looked = valid, looked
    put(judge.snapshot, "CELL_OVER_VOLTAGE", 4251)
    judge.snapshot.current_ma = 10001
    judge.cycle(2)
    assert judge.active == ["CELL_OVER_VOLTAGE", "CHARGE_OVER_CURRENT"]


def test_temperatures_that_are_not_there_are_no_temperatures() -> None:
    judge = Judge()
    set_temperatures(judge.snapshot)
    judge.snapshot.fet_dc = UNKNOWN_DC
    judge.cycle(LONG)
    assert judge.active == judge.warned == []
    judge.snapshot.fet_dc = 901
    judge.cycle(2)
    assert judge.active == ["FET_OVER_TEMPERATURE"]
    judge.heal()
    judge.snapshot.fet_dc = UNKNOWN_DC
    judge.cycle(LONG)
    assert judge.active == ["FET_OVER_TEMPERATURE"], "what is not known releases nothing"
    put(judge.snapshot, "CHARGE_OVER_TEMPERATURE", 451)
    judge.cycle(2)
    assert judge.active == ["CHARGE_OVER_TEMPERATURE", "FET_OVER_TEMPERATURE"]


# --- latches ------------------------------------------------------------------------------------


def deep(judge: Judge) -> None:
    put(judge.snapshot, "CELL_DEEP_DISCHARGE", 1499)


@pytest.mark.parametrize("doubt", ["SENSOR_IMPLAUSIBLE", "STACK_MISMATCH", "OPEN_WIRE"])
def test_a_voltage_that_is_doubted_latches_nothing(doubt: str) -> None:
    judge = Judge()
    deep(judge)
    judge.snapshot.faults = 1 << getattr(Fault, doubt)
    judge.cycle(LONG)
    assert "CELL_DEEP_DISCHARGE" in judge.active
    assert "CELL_DEEP_DISCHARGE" not in judge.latched
    judge.snapshot.faults = 0
    judge.cycle(3)
    assert "CELL_DEEP_DISCHARGE" not in judge.latched
    judge.cycle()
    assert "CELL_DEEP_DISCHARGE" in judge.latched


@pytest.mark.parametrize(
    "name",
    sorted(set(names(Fault).values()) - {"SENSOR_IMPLAUSIBLE", "STACK_MISMATCH", "OPEN_WIRE"}),
)
def test_no_other_flag_keeps_a_voltage_from_latching(name: str) -> None:
    judge = Judge()
    deep(judge)
    judge.snapshot.faults = 1 << getattr(Fault, name)
    judge.cycle(5)
    assert "CELL_DEEP_DISCHARGE" in judge.latched


def test_each_trip_must_last_anew() -> None:
    judge = Judge()
    for _ in range(5):
        deep(judge)
        judge.cycle(4)
        put(judge.snapshot, "CELL_DEEP_DISCHARGE", 1701)
        judge.cycle(3)
        assert "CELL_DEEP_DISCHARGE" not in judge.active
    assert judge.latched == []


@pytest.mark.parametrize(("calm_s", "is_latched"), [(3600, True), (3601, False)])
def test_trips_are_forgotten_after_an_hour_of_calm(calm_s: int, is_latched: bool) -> None:
    judge = Judge()
    judge.snapshot.uptime_s = 5000
    row = ROWS[3]
    for n in range(5):
        trip(judge, row)
        tripped_s = judge.snapshot.uptime_s
        assert judge.diagnosis.last_fault_s == tripped_s
        judge.heal()
        judge.cycle(30)
        if n == 3:
            judge.snapshot.uptime_s = tripped_s + calm_s - row.up
    assert bool(judge.latched) == is_latched


def test_the_first_trips_after_a_start_count_too() -> None:
    judge = Judge()
    judge.snapshot.uptime_s = 10000
    for _ in range(5):
        trip(judge, ROWS[3])
        judge.heal()
        judge.cycle(30)
    assert judge.latched == ["CHARGE_OVER_CURRENT"]


def test_a_row_that_trips_without_end_counts_on_and_stays_latched() -> None:
    judge = Judge()
    for _ in range(300):
        trip(judge, ROWS[3])
        judge.heal()
        judge.cycle(30)
    assert judge.latched == ["CHARGE_OVER_CURRENT"]
    assert judge.diagnosis.n_faults == 300


def latched_short_circuit() -> Judge:
    judge = Judge()
    judge.reported = 1 << Fault.SHORT_CIRCUIT
    judge.cycle()
    judge.reported = 0
    return judge


def test_latches_are_forgotten_when_the_fault_is_gone_and_all_is_known() -> None:
    judge = latched_short_circuit()
    judge.cycle(29)
    assert not judge.diagnosis.forget_latched(True), "it is still there"
    judge.cycle()
    assert judge.active == []
    assert not judge.diagnosis.forget_latched(False)
    assert (judge.latched, judge.diagnosis.forbidden) == (["SHORT_CIRCUIT"], BOTH)
    assert judge.diagnosis.forget_latched(True)
    assert (judge.latched, judge.diagnosis.forbidden) == ([], 0)
    assert judge.diagnosis.forget_latched(False), "there is nothing to forget"


def test_a_latch_is_kept_while_its_fault_is_on_its_way_up() -> None:
    judge = Judge()
    judge.diagnosis.restore_latched(1 << Fault.SWITCH_WELDED)
    judge.reported = 1 << Fault.SWITCH_WELDED
    judge.cycle()
    assert judge.active == []
    assert not judge.diagnosis.forget_latched(True)
    judge.reported = 0
    judge.cycle()
    assert judge.diagnosis.forget_latched(True)


def test_another_fault_does_not_keep_a_latch() -> None:
    judge = latched_short_circuit()
    judge.cycle(30)
    judge.reported = 1 << Fault.STORAGE
    judge.cycle()
    assert judge.diagnosis.forget_latched(True)


def test_a_latch_that_is_forgotten_begins_anew() -> None:
    judge = Judge()
    for _ in range(5):
        trip(judge, ROWS[3])
        judge.heal()
        judge.cycle(30)
    assert judge.diagnosis.forget_latched(True)
    for n in range(5):
        assert judge.latched == [], n
        trip(judge, ROWS[3])
        judge.heal()
        judge.cycle(30)
    assert judge.latched == ["CHARGE_OVER_CURRENT"]


def test_clearing_one_latch_leaves_the_trips_of_others() -> None:
    judge = Judge()
    for n in range(5):
        trip(judge, ROWS[3])
        judge.heal()
        judge.cycle(30)
        if n == 3:
            judge.diagnosis.restore_latched(1 << Fault.SHORT_CIRCUIT)
            assert judge.diagnosis.forget_latched(True)
    assert judge.latched == ["CHARGE_OVER_CURRENT"]


def test_only_what_latches_is_restored() -> None:
    judge = Judge()
    judge.diagnosis.restore_latched((1 << 30) - 1)
    assert set(judge.latched) == (
        {flag.fault for flag in FLAGS if flag.latches}
        | {row.fault for row in ROWS if row.trips_to_latch}
    )
    assert judge.diagnosis.forbidden == judge.diagnosis.forbidden_for_good == BOTH
    judge = Judge()
    judge.diagnosis.restore_latched(1 << Fault.PRECHARGE_FAILED)
    assert judge.latched == ["PRECHARGE_FAILED"]
    assert judge.diagnosis.forbidden == DISCHARGE


def test_looks_before_the_first_cycle_are_judged_too() -> None:
    judge = Judge()
    deep(judge)
    for _ in range(5):
        judge.look()
    assert "CELL_DEEP_DISCHARGE" in judge.latched


# --- what is kept -------------------------------------------------------------------------------


def test_a_new_diagnosis_knows_of_nothing() -> None:
    d = Diagnosis(nmc())
    assert (d.active, d.latched, d.warned) == (0, 0, 0)
    assert (d.forbidden, d.leaving, d.pending, d.forbidden_for_good) == (0, 0, 0, 0)
    assert (d.hurry, d.n_faults) == (False, 0)
    assert (d.last_fault, d.last_fault_s, d.last_fault_value) == (None, None, None)
    assert d.tripped == 0


@pytest.mark.parametrize(
    ("fault", "value", "kept"),
    [
        ("CELL_OVER_VOLTAGE", 4251, 4251), ("CELL_UNDER_VOLTAGE", 2799, 2799),
        ("CHARGE_OVER_CURRENT", 10001, 10001), ("DISCHARGE_OVER_CURRENT", 20001, -20001),
        ("CHARGE_OVER_TEMPERATURE", 451, 451), ("CHARGE_UNDER_TEMPERATURE", -1, -1),
        ("FET_OVER_TEMPERATURE", 901, 901), ("TEMPERATURE_RISE", 101, 101),
    ],
)  # fmt: skip
def test_the_value_of_the_last_fault_has_the_sign_of_what_was_measured(
    fault: str, value: int, kept: int
) -> None:
    judge = Judge()
    put(judge.snapshot, fault, value)
    judge.cycle(2)
    assert judge.diagnosis.last_fault_value == kept
    judge.reported = 1 << Fault.STORAGE
    judge.cycle()
    assert judge.diagnosis.last_fault == Fault.STORAGE
    assert judge.diagnosis.last_fault_value is None, "a flag has none"
