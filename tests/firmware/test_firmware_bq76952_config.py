"""Settings become data memory: each limit at its default, its ends and beyond them."""

import struct

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from firmware.afe.bq76952_config import Plan, cells_of, inputs_of, user_current_ma
from firmware.settings import Settings

SENSORS = ("TS1", "TS2", "TS3")


def pack(**changes: int) -> Settings:
    settings = Settings("P1", changes.pop("n_cells", 16), "nmc", 50000)
    for name, value in changes.items():
        assert hasattr(settings, name)
        setattr(settings, name, value)
    return settings


def raw(plan: Plan, address: int) -> int:
    for (_name, at, code, _low, _high), data in plan.items:
        if at == address:
            return struct.unpack("<" + code, data)[0]
    raise KeyError(hex(address))


def plan(settings: Settings | None = None, **options: object) -> Plan:
    settings = settings or pack()
    return Plan(
        settings,
        options.get("sensors", SENSORS),
        options.get("fet_sensor", "DCHG"),
        options.get("crc", True),
    )


def test_no_register_is_written_twice_and_none_overlap() -> None:
    end = 0
    for (_name, address, _code, _low, _high), data in plan().items:
        assert address >= end
        end = address + len(data)


def test_cell_voltages_stand_outside_the_profile() -> None:
    made = plan()
    assert raw(made, 0x9278) == 85  # x 50.6 mV
    assert made.applied["cov_mv"] == 4301
    assert raw(made, 0x9275) == 48
    assert made.applied["cuv_mv"] == 2428
    lfp = plan(Settings("P1", 16, "lfp", 50000))
    assert (lfp.applied["cov_mv"], lfp.applied["cuv_mv"]) == (3795, 2226)


def test_the_delay_of_cell_voltages_includes_the_two_the_chip_adds() -> None:
    made = plan()
    assert made.applied["cov_delay_ms"] == (raw(made, 0x9279) + 2) * 33 // 10
    assert 3990 <= made.applied["cov_delay_ms"] <= 4000
    assert raw(made, 0x9276) == raw(made, 0x9279)


@pytest.mark.parametrize(
    ("occ_ma", "shunt_uohm", "code", "applied_ma"),
    [
        (50000, 500, 19, 76000),  # 1.5 times 50 A, rounded up to a step of 2 mV
        (1000, 500, 2, 8000),  # too little: the register's lowest
        (82666, 1000, 62, 124000),  # just its highest
        (300000, 500, 62, 248000),  # too much: clamped, tighter than asked
    ],
)
def test_charge_over_current(occ_ma: int, shunt_uohm: int, code: int, applied_ma: int) -> None:
    made = plan(pack(occ_ma=occ_ma, shunt_uohm=shunt_uohm))
    assert raw(made, 0x9280) == code
    assert made.applied["occ_ma"] == applied_ma
    assert made.applied["occ_delay_ms"] == 399


@pytest.mark.parametrize(
    ("ocd_ma", "index", "applied_ma"),
    [(5000, 0, 20000), (20000, 2, 80000), (300000, 14, 900000), (100, 0, 20000)],
)
def test_short_circuit(ocd_ma: int, index: int, applied_ma: int) -> None:
    made = plan(pack(ocd_ma=ocd_ma))
    assert raw(made, 0x9286) == index
    assert made.applied["scd_ma"] == applied_ma
    assert raw(made, 0x9287) == 11
    assert made.applied["scd_delay_us"] == 150


@given(
    ocd_ma=st.integers(100, 300000), occ_ma=st.integers(100, 300000), shunt=st.integers(50, 10000)
)
@hypothesis_settings(max_examples=200)
def test_current_limits_are_never_tighter_than_asked_unless_the_register_ends(
    ocd_ma: int, occ_ma: int, shunt: int
) -> None:
    made = plan(pack(ocd_ma=ocd_ma, occ_ma=occ_ma, shunt_uohm=shunt))
    for name, address, wanted, highest in (
        ("occ_ma", 0x9280, occ_ma * 3 // 2, 62),
        ("ocd1_ma", 0x9282, ocd_ma * 3 // 2, 100),
        ("ocd2_ma", 0x9284, ocd_ma * 2, 100),
        ("scd_ma", 0x9286, ocd_ma * 3, 15),
    ):
        assert made.applied[name] >= wanted - 1 or raw(made, address) == highest
    assert 2 * max(ocd_ma, occ_ma) <= 32767 * made.user_ma
    assert raw(made, 0x928A) * made.user_ma <= -ocd_ma or ocd_ma < 100 * made.user_ma


@pytest.mark.parametrize(
    ("highest_ma", "unit"), [(16383, 1), (16384, 10), (163835, 10), (163836, 100), (10**6, 100)]
)
def test_the_unit_of_current_leaves_room_for_twice_the_limit(highest_ma: int, unit: int) -> None:
    assert user_current_ma(highest_ma) == unit


@pytest.mark.parametrize(("ocd_ma", "code"), [(10000, 0x05), (100000, 0x06), (300000, 0x07)])
def test_the_unit_is_told_and_voltages_stay_in_centivolts(ocd_ma: int, code: int) -> None:
    assert raw(plan(pack(ocd_ma=ocd_ma, occ_ma=5000)), 0x9303) == code


def test_both_gains_follow_the_shunt() -> None:
    made = plan(pack(shunt_uohm=1000))
    assert raw(made, 0x91A8) == pytest.approx(7.5684, rel=1e-6)
    assert raw(made, 0x91AC) == pytest.approx(7.5684 * 298261.6178, rel=1e-6)


@pytest.mark.parametrize(
    ("n_cells", "inputs"),
    [(16, 0xFFFF), (15, 0xBFFF), (10, 0x81FF), (3, 0x8003)],
)
def test_the_top_cell_stands_on_input_16(n_cells: int, inputs: int) -> None:
    assert raw(plan(pack(n_cells=n_cells)), 0x9304) == inputs


@given(n_cells=st.integers(3, 16), data=st.data())
@hypothesis_settings(max_examples=50)
def test_cells_and_inputs_map_both_ways(n_cells: int, data: st.DataObject) -> None:
    cells = data.draw(st.integers(0, (1 << n_cells) - 1))
    assert cells_of(inputs_of(cells, n_cells), n_cells) == cells
    assert inputs_of(cells, n_cells).bit_count() == cells.bit_count()


def test_only_sensors_that_must_be_there_can_trip_a_protection() -> None:
    made = plan(pack(n_sensors=2))
    assert [raw(made, 0x92FD + i) for i in range(3)] == [0x07, 0x07, 0x0B]
    assert raw(made, 0x9301) == 0x0F


def test_temperatures_stand_outside_the_profile() -> None:
    made = plan()
    assert [raw(made, a) for a in (0x929A, 0x929C)] == [50, 45]
    assert [raw(made, a) for a in (0x929D, 0x929F)] == [65, 60]
    assert [raw(made, a) for a in (0x92A6, 0x92A8)] == [-5, 0]
    assert [raw(made, a) for a in (0x92A9, 0x92AB)] == [-25, -20]
    assert [raw(made, a) for a in (0x92A0, 0x92A2)] == [95, 90]


def test_every_protection_is_on_and_opens_the_right_switches() -> None:
    made = plan()
    assert [raw(made, a) for a in (0x9261, 0x9262, 0x9263)] == [0xFC, 0xF3, 0x82]
    assert [raw(made, a) for a in (0x9265, 0x9266, 0x9267)] == [0x98, 0xD5, 0x56]
    assert [raw(made, a) for a in (0x9269, 0x926A, 0x926B)] == [0xE4, 0xE6, 0xE2]


def test_without_a_sensor_at_the_fets_their_protection_is_off() -> None:
    made = plan(fet_sensor=None)
    assert raw(made, 0x9262) == 0x73
    with pytest.raises(KeyError):
        raw(made, 0x9301)


def test_switches_wait_for_the_firmware() -> None:
    made = plan()
    assert raw(made, 0x9308) == 0x2D
    assert raw(made, 0x9343) == 0x0050
    assert raw(made, 0x9335) == 0  # balancing too


def test_the_chip_stays_awake() -> None:
    assert raw(plan(sensors=("TS1",)), 0x9234) == 0x2882
    assert raw(plan(), 0x9234) == 0x3882  # a thermistor at TS2


@pytest.mark.parametrize(("period_ms", "seconds"), [(100, 5), (1000, 5), (2000, 10)])
def test_the_chip_opens_by_itself_after_five_missed_cycles(period_ms: int, seconds: int) -> None:
    assert raw(plan(pack(period_ms=period_ms)), 0x92B2) == seconds


def test_crc_is_only_asked_for_when_wanted() -> None:
    assert raw(plan(), 0x9239) == 0x12
    with pytest.raises(KeyError):
        raw(plan(crc=False), 0x9239)
