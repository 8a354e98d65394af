"""Settings become data memory: each limit at its default, its ends and beyond them."""

import pytest
from bq76952_plans import pack, plan, raw
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from firmware.afe.bq76952_config import cells_of, inputs_of, user_current_ma
from firmware.settings import Settings

# profile's limit in 0.1 degC and the register: 5 degC beyond, or where it ends
LIMITS_C = ((450, 50), (-450, -40), (-900, -40), (1150, 120), (2000, 120))
COLD_C = ((0, -5), (-350, -40), (-900, -40), (1250, 120), (2000, 120))


def test_no_register_is_written_twice_and_none_overlap() -> None:
    made = plan()
    end = 0
    for address, data in made.blocks():
        assert address >= end
        assert 1 <= len(data) <= 32
        end = address + len(data)
    assert b"".join(d for _a, d in made.blocks()) == b"".join(d for _r, d in made.items)


@pytest.mark.parametrize("address", [0x9180, 0x91C6, 0x91C8, 0x91CA])
def test_the_calibration_of_a_board_is_left_alone(address: int) -> None:
    with pytest.raises(ValueError, match="nothing is planned"):
        plan().at(address)


def test_a_register_is_found_by_any_of_its_bytes() -> None:
    made = plan()
    assert made.at(0x9278)[0] == "COV Threshold"
    assert made.at(0x927A)[0] == "COV Delay"
    with pytest.raises(ValueError, match="0x9306"):
        made.at(0x9306)


def test_cell_voltages_stand_outside_the_profile() -> None:
    made = plan()
    assert raw(made, 0x9278) == 85  # x 50.6 mV
    assert made.applied["cov_mv"] == 4301
    assert raw(made, 0x9275) == 48
    assert made.applied["cuv_mv"] == 2428
    lfp = plan(Settings("P1", 16, "lfp", 50000))
    assert (lfp.applied["cov_mv"], lfp.applied["cuv_mv"]) == (3795, 2226)


@pytest.mark.parametrize(
    ("max_mv", "code", "applied_mv"),
    [
        (4250, 85, 4301),  # default: 25 mV beyond, rounded up to a step
        (987, 20, 1012),  # just the register's lowest
        (500, 20, 1012),  # too little
        (5541, 110, 5566),  # just its highest
        (9000, 110, 5566),  # too much
    ],
)
def test_cell_over_voltage(max_mv: int, code: int, applied_mv: int) -> None:
    settings = pack()
    settings.profile.cell_max_mv = max_mv
    made = plan(settings)
    assert raw(made, 0x9278) == code
    assert made.applied["cov_mv"] == applied_mv
    assert raw(made, 0x927C) == 2
    assert made.applied["cov_release_mv"] == (code - 2) * 506 // 10


@pytest.mark.parametrize(
    ("min_mv", "code", "applied_mv"),
    [(2500, 48, 2428), (1037, 20, 1012), (100, 20, 1012), (4579, 90, 4554), (9000, 90, 4554)],
)
def test_cell_under_voltage(min_mv: int, code: int, applied_mv: int) -> None:
    settings = pack()
    settings.profile.cell_min_mv = min_mv
    made = plan(settings)
    assert raw(made, 0x9275) == code
    assert made.applied["cuv_mv"] == applied_mv
    assert raw(made, 0x927B) == 2
    assert made.applied["cuv_release_mv"] == (code + 2) * 506 // 10


@pytest.mark.parametrize(
    ("name", "limit", "address", "code"),
    [
        *(("otc_dc", dc, 0x929A, c) for dc, c in LIMITS_C),
        *(("otd_dc", dc, 0x929D, c) for dc, c in LIMITS_C),
    ],
)
def test_over_temperature_of_cells(name: str, limit: int, address: int, code: int) -> None:
    settings = pack()
    field = {"otc_dc": "charge_max_dc", "otd_dc": "discharge_max_dc"}[name]
    setattr(settings.profile, field, limit)
    made = plan(settings)
    assert raw(made, address) == code
    assert made.applied[name] == 10 * code
    assert raw(made, address + 2) == max(code - 5, -40)


@pytest.mark.parametrize(
    ("name", "limit", "address", "code"),
    [
        *(("utc_dc", dc, 0x92A6, c) for dc, c in COLD_C),
        *(("utd_dc", dc, 0x92A9, c) for dc, c in COLD_C),
    ],
)
def test_under_temperature_of_cells(name: str, limit: int, address: int, code: int) -> None:
    settings = pack()
    field = {"utc_dc": "charge_min_dc", "utd_dc": "discharge_min_dc"}[name]
    setattr(settings.profile, field, limit)
    made = plan(settings)
    assert raw(made, address) == code
    assert made.applied[name] == 10 * code
    assert raw(made, address + 2) == min(code + 5, 120)


@pytest.mark.parametrize(
    ("otf_dc", "code"), [(900, 95), (-900, 0), (-50, 0), (1450, 150), (1700, 150)]
)
def test_over_temperature_of_the_fets(otf_dc: int, code: int) -> None:
    made = plan(pack(otf_dc=otf_dc))
    assert raw(made, 0x92A0) == code
    assert made.applied["otf_dc"] == 10 * code
    assert raw(made, 0x92A2) == max(code - 5, 0)


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
    ("ocd_ma", "codes", "applied_ma"),
    [
        (100000, (38, 50), (152000, 200000)),
        (1000, (2, 2), (8000, 8000)),  # too little
        (5333, (2, 3), (8000, 12000)),  # just the lowest
        (266666, (100, 100), (400000, 400000)),  # just the highest of the first
        (300000, (100, 100), (400000, 400000)),  # too much
    ],
)
def test_discharge_over_current(
    ocd_ma: int, codes: tuple[int, int], applied_ma: tuple[int, int]
) -> None:
    made = plan(pack(ocd_ma=ocd_ma))
    assert (raw(made, 0x9282), raw(made, 0x9284)) == codes
    assert (made.applied["ocd1_ma"], made.applied["ocd2_ma"]) == applied_ma
    assert (raw(made, 0x9283), raw(made, 0x9285)) == (119, 13)
    assert (made.applied["ocd1_delay_ms"], made.applied["ocd2_delay_ms"]) == (399, 49)


@pytest.mark.parametrize(
    ("ocd_ma", "unit", "applied_ma"),
    [(5000, 1, 6250), (100, 1, 125), (50000, 10, 62500), (300000, 100, 375000)],
)
def test_slow_discharge_over_current_is_in_the_chip_s_unit(
    ocd_ma: int, unit: int, applied_ma: int
) -> None:
    made = plan(pack(ocd_ma=ocd_ma, occ_ma=100))
    assert raw(made, 0x928A) == -(applied_ma // unit)
    assert made.applied["ocd3_ma"] == applied_ma
    assert (raw(made, 0x928C), made.applied["ocd3_delay_ms"]) == (10, 10000)


def test_trips_that_come_again_latch_and_are_forgotten_slower_than_they_recover() -> None:
    made = plan()
    recovery_s, scd_recovery_s = raw(made, 0x92AF), raw(made, 0x9294)
    limit, forget_s, latched_s = (raw(made, 0x927D + i) for i in range(3))
    assert (limit, made.applied["covl_trips"]) == (3, 3)
    assert recovery_s < forget_s < latched_s  # else COVL would latch again at once
    limit, forget_s = raw(made, 0x928F), raw(made, 0x9290)
    assert (limit, made.applied["ocdl_trips"]) == (3, 3)
    assert forget_s > recovery_s
    limit, forget_s = raw(made, 0x9295), raw(made, 0x9296)
    assert (limit, made.applied["scdl_trips"]) == (2, 2)
    assert forget_s > scd_recovery_s
    assert raw(made, 0x925F) == 0x0002  # no recovery by a charge current, no PF in one-time memory


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


def test_only_sensors_that_must_be_there_can_trip_a_protection_and_all_else_is_off() -> None:
    made = plan(pack(n_sensors=2))
    pins = [raw(made, 0x92FA + i) for i in range(9)]
    assert pins == [0, 0, 0, 0x07, 0x07, 0x0B, 0, 0x0F, 0]  # ALERT is the third


def test_the_regulators_are_left_alone_unless_the_board_is_fed_by_them() -> None:
    with pytest.raises(KeyError):
        raw(plan(), 0x9236)
    fed = plan(regulators=0x0D)
    assert (raw(fed, 0x9236), raw(fed, 0x9237)) == (0x0D, 0x01)
    assert raw(plan(), 0x9238) == 0  # the host watchdog opens FETs and cuts nobody's supply


def test_temperatures_stand_outside_the_profile() -> None:
    made = plan()
    assert [raw(made, a) for a in (0x929A, 0x929C)] == [50, 45]
    assert [raw(made, a) for a in (0x929D, 0x929F)] == [65, 60]
    assert [raw(made, a) for a in (0x92A6, 0x92A8)] == [-5, 0]
    assert [raw(made, a) for a in (0x92A9, 0x92AB)] == [-25, -20]
    assert [raw(made, a) for a in (0x92A0, 0x92A2)] == [95, 90]
    assert [raw(made, a) for a in (0x92A3, 0x92A5)] == [85, 80]
    assert [raw(made, a) for a in (0x92AC, 0x92AE)] == [-40, -35]
    assert {raw(made, 0x929B + 3 * i) for i in range(7)} == {2}


def test_every_protection_is_on_and_opens_the_right_switches() -> None:
    made = plan()
    assert [raw(made, a) for a in (0x9261, 0x9262, 0x9263)] == [0xFC, 0xF7, 0xF2]
    assert [raw(made, a) for a in (0x9265, 0x9266, 0x9267)] == [0x98, 0xD5, 0x56]
    assert [raw(made, a) for a in (0x9269, 0x926A, 0x926B)] == [0xE4, 0xE6, 0xE2]


def test_without_a_sensor_at_the_fets_their_protection_is_off() -> None:
    made = plan(fet_sensor=None)
    assert raw(made, 0x9262) == 0x77
    assert raw(made, 0x92C0) == 0x1E  # nor its permanent failure
    assert raw(made, 0x9301) == 0


@pytest.mark.parametrize(
    ("changes", "address", "code"),
    [
        ({}, 0x9337, 50),
        ({"balance_max_dc": 0}, 0x9337, 5),
        ({"balance_max_dc": 700}, 0x9337, 75),
        ({"balance_max_dc": 3000}, 0x9337, 127),
        ({}, 0x933A, 4),
        ({"balance_max_cells": 0}, 0x933A, 0),
        ({"balance_max_cells": 8}, 0x933A, 8),
        ({"balance_max_cells": 99}, 0x933A, 16),
        ({}, 0x9336, 0),
        ({}, 0x9338, 70),
        ({}, 0x9339, 20),
    ],
)
def test_balancing_ends_beyond_what_the_firmware_allows(
    changes: dict[str, int], address: int, code: int
) -> None:
    assert raw(plan(pack(**changes)), address) == code


def test_switches_wait_for_the_firmware() -> None:
    made = plan()
    assert raw(made, 0x9308) == 0x2D
    assert raw(made, 0x9343) == 0x0050
    assert raw(made, 0x9335) == 0  # balancing too


def test_the_chip_stays_awake() -> None:
    assert raw(plan(sensors=("TS1",)), 0x9234) == 0x2882
    assert raw(plan(), 0x9234) == 0x3882  # a thermistor at TS2


@pytest.mark.parametrize(
    ("period_ms", "seconds"), [(100, 5), (1000, 5), (1001, 6), (2000, 10), (10**8, 0xFFFF)]
)
def test_the_chip_opens_by_itself_after_five_missed_cycles(period_ms: int, seconds: int) -> None:
    assert raw(plan(pack(period_ms=period_ms)), 0x92B2) == seconds


def test_crc_is_only_asked_for_when_wanted() -> None:
    assert raw(plan(), 0x9239) == 0x12
    with pytest.raises(KeyError):
        raw(plan(crc=False), 0x9239)
