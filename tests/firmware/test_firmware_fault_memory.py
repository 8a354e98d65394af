"""The fault memory: what is remembered of a fault, how it is saved, and what comes back."""

import struct
import sys
from pathlib import Path

import pytest
from core_fakes import FakeAfe, healthy, nmc, set_cells, set_temperatures
from interpreters import lines

from common import models
from common.codes import Fault, State, Switch
from common.registers import Layout
from firmware import fault_memory
from firmware.fault_memory import FaultMemory
from firmware.image import Image
from firmware.protection import Protection
from firmware.snapshot import UNKNOWN_DC, Snapshot
from firmware.storage import Storage

UTC = 1_795_000_000
NEVER = (0, None, None, None, None, None, None)
LAYOUT = Layout(models.FAULTS, 4)
ENTRY_BYTES = 2 * (LAYOUT.offset("SeqEnd") - LAYOUT.offset("FltN"))


class Bench:
    """A fault memory with what fills it, and a record it is saved in."""

    def __init__(self, root: Path, boot: int = 7) -> None:
        self.settings = nmc()
        self.image = Image(self.settings, boot, 1, "0", "desk", FakeAfe.name, 1)
        self.protection = Protection(self.settings)
        self.storage = Storage(str(root))
        self.faults = FaultMemory(self.storage.load("faults"))
        self.faults.begin(self.image, boot)
        self.snapshot = healthy()
        self.snapshot.seq = 0

    def cycle(self, count: int = 1) -> None:
        s = self.snapshot
        for _ in range(count):
            s.seq += 1
            s.uptime_s += 1
            self.protection.update(s)
            if self.protection.tripped:
                self.faults.take(s, self.protection)

    def trip(self, reported: int) -> None:
        """Let what others report come, and go."""
        self.protection.reported = 1 << reported
        self.cycle(3)
        self.protection.reported = 0
        self.cycle(61)

    def told(self, fault: int) -> dict[str, object]:
        self.faults.tell(fault, self.snapshot.seq)
        return LAYOUT.decode(self.image.faults.bytes())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def counts(told: dict[str, object]) -> tuple[object, ...]:
    names = ("FltN", "FstBoot", "FstSeq", "FstUtc", "LstBoot", "LstSeq", "LstUtc")
    return tuple(told[name] for name in names)


def over_voltage(s: Snapshot) -> None:
    set_cells(s, [3700, 3650, 4300, 3800])


def test_what_never_came_is_known_to_have_never_come(bench: Bench) -> None:
    for fault in (Fault.CELL_OVER_VOLTAGE, 29, 30, 500):
        told = bench.told(fault)
        assert told["FltNo"] == fault
        assert counts(told) == NEVER
        assert (told["NFlt"], told["Ever"], told["Unsvd"]) == (0, 0, 0)
        names = (
            "Val",
            "Lim",
            "V",
            "A",
            "CellVMax",
            "CellTmpMin",
            "Soc",
            "Sw",
            "SwOff",
            "St",
            "Flt",
        )
        assert [told[name] for name in names] == [None] * len(names)


def test_the_model_is_filled_from_the_start(bench: Bench) -> None:
    told = LAYOUT.decode(bench.image.faults.bytes())
    assert (told["Seq"], told["SeqEnd"], told["Boot"], told["FltNo"]) == (0, 0, 7, 0)


def test_a_fault_is_remembered_with_what_was_measured(bench: Bench) -> None:
    bench.cycle(5)
    s = bench.snapshot
    over_voltage(s)
    set_temperatures(s, 312, 287)
    s.current_ma = -4321
    s.switches = Switch.CHARGE | Switch.DISCHARGE
    bench.protection.limits.soc_bp = 8765
    bench.image.set_utc(UTC, s.uptime_s)
    bench.cycle(2)
    told = bench.told(Fault.CELL_OVER_VOLTAGE)
    assert counts(told) == (1, 7, 7, UTC + 2, 7, 7, UTC + 2)
    assert (told["FstTQ"], told["LstTQ"]) == (1, 1)
    assert (told["Val"], told["Lim"]) == (4300, 4250)
    assert (told["V"], told["A"], told["Soc"]) == (15.45, -4.321, 87.65)
    assert (told["CellVMax"], told["CellVMaxCell"]) == (4.3, 3)
    assert (told["CellVMin"], told["CellVMinCell"]) == (3.65, 2)
    assert (told["CellTmpMax"], told["CellTmpMin"]) == (31.2, 28.7)
    assert (told["Sw"], told["SwOff"]) == (3, Switch.CHARGE)
    assert (told["St"], told["Flt"]) == (State.DISCHARGE_ONLY, 1 << Fault.CELL_OVER_VOLTAGE)
    assert (told["NFlt"], told["Ever"], told["Unsvd"]) == (1, 1, 1)
    assert bench.protection.tripped == 0


@pytest.mark.parametrize(
    ("fault", "change", "value", "limit"),
    [
        (Fault.CELL_UNDER_VOLTAGE, lambda s: set_cells(s, [2700] * 4), 2700, 2800),
        (Fault.DISCHARGE_OVER_CURRENT, lambda s: setattr(s, "current_ma", -30000), -30000, -20000),
        (Fault.CHARGE_OVER_CURRENT, lambda s: setattr(s, "current_ma", 20001), 20001, 10000),
        (Fault.DISCHARGE_UNDER_TEMPERATURE, lambda s: set_temperatures(s, -210), -210, -200),
        (Fault.CELL_SPREAD, lambda s: set_cells(s, [2900, 4200, 4200, 4200]), 1300, 1200),
        (Fault.AFE_PROTECTION, lambda s: setattr(s, "afe_safety", 0x8), None, None),
        (Fault.SHORT_CIRCUIT, lambda s: setattr(s, "faults", 1 << 5), None, None),
    ],
)
def test_value_and_limit_have_the_sign_of_what_was_measured(
    bench: Bench, fault: int, change: object, value: int | None, limit: int | None
) -> None:
    bench.cycle(5)
    change(bench.snapshot)
    bench.cycle(10)
    told = bench.told(fault)
    if fault != Fault.AFE_PROTECTION:
        assert (told["FltN"], told["Val"], told["Lim"]) == (1, value, limit)


def test_the_status_of_the_chip_is_a_value_without_a_limit(bench: Bench) -> None:
    bench.snapshot.afe_safety = 0x8 | 0x4  # COV stops the charge, CUV the discharge
    bench.cycle()
    told = bench.told(Fault.AFE_PROTECTION)
    assert (told["FltN"], told["Val"], told["Lim"]) == (1, 0x4, None)
    assert told["Flt"] == 1 << Fault.AFE_PROTECTION


def test_what_could_not_be_read_is_not_told_from_before(bench: Bench) -> None:
    bench.cycle(5)
    s = bench.snapshot
    s.valid = s.looked = False
    s.faults = 1 << Fault.AFE_COMMUNICATION
    bench.cycle()
    told = bench.told(Fault.AFE_COMMUNICATION)
    names = ("Val", "Lim", "V", "A", "CellVMax", "CellVMaxCell", "CellVMin", "CellVMinCell")
    assert [told[name] for name in (*names, "CellTmpMax", "CellTmpMin", "Sw", "SwOff")] == (
        [None] * 12
    )
    assert (told["St"], told["FltN"]) == (State.BLOCKED, 1)


def test_a_look_is_enough_to_know_and_so_is_a_temperature_that_is_missing(bench: Bench) -> None:
    s = bench.snapshot
    s.valid, s.looked = False, True
    set_temperatures(s)
    s.faults = 1 << Fault.AFE_RESET
    bench.cycle()
    told = bench.told(Fault.AFE_RESET)
    assert (told["V"], told["CellTmpMax"], told["CellTmpMin"]) == (14.8, None, None)
    assert s.max_dc == UNKNOWN_DC


def test_the_first_stays_and_the_last_moves(bench: Bench) -> None:
    for _ in range(3):
        bench.trip(Fault.STORAGE)
    bench.image.set_utc(UTC, 0)
    bench.trip(Fault.STORAGE)
    assert counts(bench.told(Fault.STORAGE)) == (4, 7, 1, None, 7, 193, UTC + 193)
    told = bench.told(Fault.STORAGE)
    assert (told["FstTQ"], told["LstTQ"], told["NFlt"]) == (0, 1, 4)


def test_two_that_come_together_are_both_there(bench: Bench) -> None:
    bench.snapshot.faults = 1 << Fault.OPEN_WIRE | 1 << Fault.SHORT_CIRCUIT
    bench.cycle(2)
    assert bench.told(Fault.OPEN_WIRE)["LstSeq"] == 2
    assert bench.told(Fault.SHORT_CIRCUIT)["LstSeq"] == 1
    assert bench.told(0)["Ever"] == 1 << Fault.OPEN_WIRE | 1 << Fault.SHORT_CIRCUIT


def test_what_is_told_is_kept_up_to_date(bench: Bench) -> None:
    bench.faults.tell(Fault.STORAGE, 0)
    bench.trip(Fault.STORAGE)
    told = LAYOUT.decode(bench.image.faults.bytes())
    assert (told["FltNo"], told["FltN"], told["Seq"], told["SeqEnd"]) == (Fault.STORAGE, 1, 1, 1)
    bench.faults.save(bench.storage, 99)
    told = LAYOUT.decode(bench.image.faults.bytes())
    assert (told["FltNo"], told["Unsvd"], told["Seq"], told["SeqEnd"]) == (20, 0, 99, 99)


# --- the record ---------------------------------------------------------------------------------


def test_it_survives_a_restart_and_goes_on(bench: Bench, tmp_path: Path) -> None:
    bench.trip(Fault.STORAGE)
    bench.trip(Fault.LOOP_OVERRUN)
    bench.trip(Fault.LOOP_OVERRUN)
    bench.faults.save(bench.storage, bench.snapshot.seq)
    before = [bench.told(fault) for fault in range(30)]
    again = Bench(tmp_path, boot=8)
    assert LAYOUT.decode(again.image.faults.bytes())["NFlt"] == 3, "at once"
    entry = slice(LAYOUT.offset("FltNo"), LAYOUT.offset("SeqEnd"))
    for fault, told in enumerate(before):
        kept = again.told(fault)
        assert list(kept.items())[entry] == list(told.items())[entry] or kept == told | {
            "Boot": 8, "Seq": 0, "SeqEnd": 0
        }  # fmt: skip
        assert (kept["NFlt"], kept["Ever"], kept["Unsvd"]) == (3, 3 << Fault.STORAGE, 0)
    again.trip(Fault.LOOP_OVERRUN)
    assert counts(again.told(Fault.LOOP_OVERRUN)) == (3, 7, 65, None, 8, 1, None)
    assert again.told(0)["NFlt"] == 4


def test_the_record_is_as_its_description_says(bench: Bench) -> None:
    bench.trip(Fault.LOOP_OVERRUN)
    bench.faults.save(bench.storage, 0)
    data = bench.storage.load("faults")
    assert data is not None
    assert data[:3] == bytes((1, ENTRY_BYTES, Fault.LOOP_OVERRUN))
    assert len(data) == 3 + ENTRY_BYTES
    first_and_last = struct.pack(">LLLH", 7, 1, 0xFFFFFFFF, 0)
    assert data[3:33] == b"\0\x01" + 2 * first_and_last
    assert data[33:41] == struct.pack(">ll", -0x80000000, -0x80000000)
    assert struct.unpack_from(">Ll", data, 41) == (14800, 0)


def test_four_that_never_came_find_their_memory_ready_and_so_do_the_next_four(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(content: bytes) -> bytearray:
        made.append(len(content))
        return bytearray(content)

    monkeypatch.setattr(fault_memory, "bytearray", counted, raising=False)
    for faults in (0b1111, 0b11110000):
        bench.protection.tripped = faults
        bench.faults.take(bench.snapshot, bench.protection)
        assert made == []
        bench.faults.save(bench.storage, 0)
        assert made == [ENTRY_BYTES] * 4
        made.clear()
    bench.protection.tripped = 0b11111 << 8
    bench.faults.take(bench.snapshot, bench.protection)
    assert made == [ENTRY_BYTES]
    assert [bench.told(fault)["FltN"] for fault in range(14)] == [1] * 13 + [0]


def test_all_thirty_fit_a_record(bench: Bench) -> None:
    bench.protection.tripped = (1 << 30) - 1
    bench.faults.take(bench.snapshot, bench.protection)
    bench.faults.save(bench.storage, 0)
    data = bench.storage.load("faults")
    assert data is not None
    assert len(data) == 2 + 30 * (1 + ENTRY_BYTES) < 4096
    assert bench.told(29)["NFlt"] == 30


def test_a_count_stands_at_its_end(bench: Bench) -> None:
    """65535 is the sentinel of what is not known."""
    bench.trip(Fault.STORAGE)
    bench.faults._entries[Fault.STORAGE][:2] = b"\xff\xfd"
    for n in range(3):
        bench.trip(Fault.STORAGE)
        told = bench.told(Fault.STORAGE)
        assert (told["FltN"], told["LstSeq"]) == (0xFFFE, 65 + 64 * n)
    assert told["NFlt"] == 4


@pytest.mark.parametrize("change", [-4, 6])
def test_an_entry_of_another_length_is_taken_up_as_far_as_both_reach(
    bench: Bench, tmp_path: Path, change: int
) -> None:
    bench.trip(Fault.STORAGE)
    bench.faults.save(bench.storage, 0)
    data = bench.storage.load("faults")
    assert data is not None
    entry = (data[3:] + bytes(6))[: ENTRY_BYTES + change]
    bench.storage.save("faults", bytes((1, len(entry))) + 2 * (data[2:3] + entry))
    again = Bench(tmp_path, boot=8)
    told = again.told(Fault.STORAGE)
    assert counts(told) == (1, 7, 1, None, 7, 1, None)
    assert told["St"] == State.START
    assert told["Flt"] == (None if change < 0 else 1 << Fault.STORAGE)
    assert again.told(Fault.LOOP_OVERRUN)["FltN"] == 0
    again.faults.save(again.storage, 0)
    data = again.storage.load("faults")
    assert data is not None
    assert (data[1], len(data)) == (ENTRY_BYTES, 3 + ENTRY_BYTES)


@pytest.mark.parametrize("data", [b"", b"\1", b"\2\x46", b"\2\x01\0\0", b"\1\x46" + bytes(70)])
def test_what_is_of_another_version_is_left_alone(tmp_path: Path, data: bytes) -> None:
    Storage(str(tmp_path)).save("faults", data)
    bench = Bench(tmp_path)
    assert bench.told(0)["Ever"] == 0


def test_a_fault_that_this_version_does_not_know_is_passed_over(tmp_path: Path) -> None:
    entry = b"\2\5" + bytes(ENTRY_BYTES - 2)
    data = bytes((1, ENTRY_BYTES, 30)) + entry + b"\x1d" + entry
    Storage(str(tmp_path)).save("faults", data)
    bench = Bench(tmp_path)
    assert (bench.told(29)["FltN"], bench.told(0)["Ever"]) == (0x205, 1 << 29)
    assert bench.told(0)["NFlt"] == 0x205
    assert bench.told(30)["FltN"] == 0


def test_a_save_that_fails_is_still_to_be_done(bench: Bench) -> None:
    bench.trip(Fault.STORAGE)
    bench.storage.root += "/missing"
    with pytest.raises(OSError, match="missing"):
        bench.faults.save(bench.storage, 0)
    assert bench.faults.due(70)
    assert bench.told(0)["Unsvd"] == 1 << Fault.STORAGE


def test_a_fault_is_saved_at_once_and_one_that_repeats_once_a_minute(bench: Bench) -> None:
    """A switch that chatters must not wear out the flash, nor hide another fault."""
    saved = []
    for now_s in range(1, 241):
        if now_s % 2:
            bench.protection.tripped = 1 << Fault.CHARGE_OVER_CURRENT
            bench.faults.take(bench.snapshot, bench.protection)
        if now_s == 90:
            bench.protection.tripped = 1 << Fault.SHORT_CIRCUIT
            bench.faults.take(bench.snapshot, bench.protection)
        if bench.faults.due(now_s):
            bench.faults.save(bench.storage, now_s)
            saved.append(now_s)
    assert saved == [1, 60, 90, 120, 180, 240]
    assert not bench.faults.due(1000)


def test_what_is_saved_at_once_is_any_fault_that_was_not_in_this_minute(bench: Bench) -> None:
    def comes(fault: int, now_s: int) -> bool:
        bench.protection.tripped = 1 << fault
        bench.faults.take(bench.snapshot, bench.protection)
        is_due = bench.faults.due(now_s)
        if is_due:
            bench.faults.save(bench.storage, now_s)
        return is_due

    assert comes(0, 1)
    assert comes(1, 2)
    assert not comes(0, 3)
    assert not comes(1, 4)
    assert bench.told(0)["Unsvd"] == 3
    assert comes(2, 5)
    assert bench.told(0)["Unsvd"] == 0, "all were saved with it"
    assert not comes(0, 6)
    assert comes(0, 61)


def test_both_interpreters_tell_and_save_the_same(micropython: str, tmp_path: Path) -> None:
    printed = []
    for name in ("python", "micropython"):
        (tmp_path / name).mkdir()
        which = sys.executable if name == "python" else micropython
        printed.append(lines(which, "fault_memory.py", tmp_path / name))
    assert printed[0] == printed[1]
    assert [line.split()[1] for line in printed[0] if len(line) < 10] == ["0", "1"]
