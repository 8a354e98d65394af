"""What of a cycle is recorded, and with which figures, of a pack of three cells."""

import struct
from pathlib import Path

import pytest
from history_bench import UTC_S, Bench

from common import history_records as hr

N_CELLS = 3


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, N_CELLS)


def readings_s(bench: Bench) -> list[int]:
    """When each reading was made."""
    return [
        struct.unpack_from("<L", data, 9)[0]
        for data in bench.sent.values()
        if data[4] == hr.READING
    ]


def test_a_reading_has_all_that_was_measured(bench: Bench) -> None:
    bench.boot_number = 6
    bench.boot()
    s, e = bench.snapshot, bench.estimators
    s.cell_mv[:] = s.cell_mv.__class__("H", [3701, 3702, 3703])
    s.temp_dc[:] = s.temp_dc.__class__("h", [-11, 22, -0x8000, 44])
    s.fet_dc, s.afe_dc, s.current_ma, s.switches, s.delta_uah = -55, 66, -77, 9, -88
    e.soc_bp, e.soh_bp = 5123, 9321
    bench.protection.active = 1 << 29
    bench.history._faults = 1 << 29
    bench.step(12, valid=True)
    expected = struct.pack("<LBLLBL", 1, hr.READING, 7, 12, 0, 0xFFFFFFFF)
    expected += struct.pack(
        "<BHHHHllhhhhhhHBL", 3, 3701, 3702, 3703, 5123, -88, -77, -55, 66, -11, 22, -0x8000, 44,
        9321, 9, 1 << 29,
    )  # fmt: skip
    assert bench.sent == {1: expected}
    bench.history.store(312)
    record = hr.Record(N_CELLS)
    packet = bench.packet(1)
    hr.Coder(N_CELLS).decode(packet, hr.PACKET_HEAD_BYTES + 32, len(packet), record)
    assert record.values[N_CELLS + 3 :][:6] == [-55, 66, -11, 22, None, 44]


def test_of_a_cycle_that_was_not_measured_a_reading_has_the_estimates_and_faults(
    bench: Bench,
) -> None:
    bench.step(1, valid=True, delta_uah=5, switches=3)
    bench.step(2, valid=True, delta_uah=30)
    bench.step(3, valid=True, delta_uah=400)
    bench.step(61, valid=False, looked=True)
    bench.step(121, valid=True, delta_uah=7)
    bodies = [values for _kind, values in bench.told()]
    assert bodies[1] == (
        3, *[0xFFFF] * 3, 5000, 430, -0x80000000, *[-0x8000] * 6, 9000, 0xFF, 0,
    )  # fmt: skip
    assert [values[5] for values in bodies] == [5, 430, 7]


def test_utc_stands_in_a_record_with_its_quality(bench: Bench) -> None:
    bench.step(5, utc_s=UTC_S)
    assert [data[13:18] for data in bench.sent.values()] == [struct.pack("<BL", 1, UTC_S)] * 2
    assert bench.told()[0] == (hr.TIME, (0xFFFFFFFF, UTC_S))


def test_readings_come_at_their_times_and_what_was_missed_is_not_made_up_for(
    bench: Bench,
) -> None:
    for at_s in (4, 5, 59, 60, 63, 64, 121, 186, 187, 239, 240, 364, 365, 423, 424, 544, 545, 603,
                 604):  # fmt: skip
        bench.step(at_s)
    # A second or six late, the next is due all the same; after a whole minute it counts anew.
    assert readings_s(bench) == [4, 60, 121, 186, 240, 364, 424, 544, 604]


def test_evidence_is_told_when_its_age_falls_or_it_is_the_first_and_of_now(bench: Bench) -> None:
    for at_s, age_s in enumerate((None, 90, 91, 40, 40, 41, None, 0, 0, 1, 0)):
        bench.estimators.soh_age_s = age_s
        before = len(bench.sent)
        bench.step(at_s)
        kinds = [data[4] for number, data in bench.sent.items() if number > before]
        assert (hr.EVIDENCE in kinds) == (at_s in (3, 7, 10)), at_s
    bench.estimators.soh_lo_bp = None
    bench.estimators.soh_age_s = 0
    bench.step(20)
    bench.estimators.soh_age_s = 1
    bench.step(21, utc_s=UTC_S)
    bench.estimators.soh_age_s = 0
    bench.step(22, utc_s=UTC_S + 1)
    assert bench.told()[-1] == (
        hr.EVIDENCE, (9000, 0xFFFF, 9200, 2, 45000, 0xFFFFFFFF, 46000),
    )  # fmt: skip
    assert bench.sent[len(bench.sent)][9:18] == struct.pack("<LBL", 22, 1, UTC_S + 1)


def test_a_fault_has_the_figures_of_its_moment_as_far_as_they_are_known(bench: Bench) -> None:
    p = bench.protection
    bench.step(1, valid=True)
    figures = {
        "min_mv": 3300, "max_mv": 3400, "current_ma": -9, "min_dc": 251, "max_dc": -0x8000,
    }  # fmt: skip
    p.active, p.last_fault, p.last_fault_value = 1 << 0 | 1 << 29, 29, 1234
    bench.step(2, valid=True, looked=False, **figures)
    p.active = 1 << 0
    bench.step(3, valid=False, looked=True, utc_s=None)
    p.active, p.last_fault, p.last_fault_value = 1 << 4, 4, None
    bench.step(4, valid=False, looked=False, max_dc=252)
    bench.step(5, valid=False, looked=False)
    known = (3300, 3400, -9, 251, -0x8000, 5000)
    unknown = (0xFFFF, 0xFFFF, -0x80000000, -0x8000, -0x8000, 5000)
    assert bench.told()[1:] == [
        (hr.FAULT, (0, 1, *known, -0x80000000)),
        (hr.FAULT, (29, 1, *known, 1234)),
        (hr.FAULT, (29, 0, *known, 1234)),
        (hr.FAULT, (0, 0, *unknown, -0x80000000)),
        (hr.FAULT, (4, 1, *unknown, -0x80000000)),
    ]
    p.active = 0
    bench.step(6, utc_s=UTC_S)
    assert [data[9:18] for data in bench.sent.values()][-1] == struct.pack("<LBL", 6, 1, UTC_S)


def test_commands_come_in_their_order_and_what_is_too_many_of_them_is_counted(
    bench: Bench,
) -> None:
    bench.step(1)
    for code in range(10):
        bench.history.command(code, 100 + code)
    for code in range(4):
        bench.step(7 + code, utc_s=None if code else UTC_S)
    commands = [values for kind, values in bench.told() if kind == hr.COMMAND]
    assert commands == [(code, 100 + code) for code in range(8)]
    assert bench.sent[2][9:18] == struct.pack("<LBL", 7, 1, UTC_S), "the cycle's time"
    bench.history.store(20, UTC_S + 20)
    assert bench.told()[-1] == (hr.LOST, (2,))
    assert bench.model()["Lost"] == 2
    assert bench.sent[len(bench.sent)][9:18] == struct.pack("<LBL", 20, 1, UTC_S + 20)
    bench.history.command(65534, 2)
    bench.history.command(3, 4)
    bench.step(21)
    assert bench.told()[-2:] == [(hr.COMMAND, (65534, 2)), (hr.COMMAND, (3, 4))]
