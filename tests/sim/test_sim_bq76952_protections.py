"""FET logic and protections: threshold, delay, recovery, latch, watchdog, sleep, alarm."""

import math

import pytest
from bq76952_host import World, u8, u16
from hypothesis import given, settings
from hypothesis import strategies as st

COV_STEP_V = 0.0506
ALL_A, ALL_B, ALL_C = (0x9261, b"\xfc"), (0x9262, b"\xf7"), (0x9263, b"\xf2")
NO_SLEEP = (0x9234, u16(0x2882))


def safe_world(*more: tuple[int, bytes], n_cells: int = 16, **options: float) -> World:
    """All protections on but the host watchdog, sane current limits, FETs on."""
    world = World(n_cells, **options)
    mask = 0xFFFF if n_cells == 16 else (1 << (n_cells - 1)) - 1 | 0x8000
    world.host.configure(
        NO_SLEEP,
        ALL_A,
        ALL_B,
        (0x9263, b"\xf0"),
        (0x9304, u16(mask)),
        (0x9280, u8(20)),
        (0x9282, u8(50)),
        (0x9284, u8(30)),
        (0x9286, u8(5)),
        (0x928A, u16(-32000)),
        *more,
    )
    world.host.command(0x0022)
    world.run(0.5)
    assert world.chip.charge_fet
    assert world.chip.discharge_fet
    return world


def status(world: World) -> tuple[int, int, int]:
    data = world.host.read(0x02, 6)
    return data[1], data[3], data[5]


def alert(world: World) -> tuple[int, int, int]:
    data = world.host.read(0x02, 6)
    return data[0], data[2], data[4]


# --- FET logic --------------------------------------------------------------------------------


def test_a_blank_chip_keeps_its_fets_off_until_fet_enable_toggles() -> None:
    world = World()
    world.run(1)
    assert not world.chip.charge_fet
    assert world.host.ask(0x0057)[0] == 0x40
    world.host.command(0x0022)
    assert world.chip.charge_fet
    assert world.chip.discharge_fet
    assert world.host.read(0x7F, 1)[0] & 0x05 == 0x05
    world.host.command(0x0022)
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet


@pytest.mark.parametrize(
    ("command", "charge", "discharge", "control"),
    [
        (0x0093, True, False, 0x03),
        (0x0094, False, True, 0x0C),
        (0x0095, False, False, 0x0F),
        (0x0096, True, True, 0x00),
    ],
)
def test_the_hosts_commands_show_in_fets_and_fet_control(
    command: int, charge: bool, discharge: bool, control: int
) -> None:
    world = World()
    world.fets_on()
    world.host.command(command)
    assert (world.chip.charge_fet, world.chip.discharge_fet) == (charge, discharge)
    assert world.host.ask(0x0097)[0] == control
    world.host.command(0x0096)
    assert world.chip.charge_fet
    assert world.chip.discharge_fet


@given(st.integers(0, 15))
@settings(max_examples=16, deadline=None)
def test_fet_control_forces_off_what_its_bits_say(bits: int) -> None:
    world = World()
    world.fets_on()
    world.host.send(0x0097, u8(bits))
    assert world.chip.discharge_fet == (not bits & 1)
    assert world.chip.charge_fet == (not bits & 4)
    assert world.host.ask(0x0097)[0] == bits


def test_host_control_can_be_forbidden() -> None:
    world = World()
    world.fets_on()
    world.host.configure((0x9308, b"\x09"))
    world.run(0.25)
    world.host.command(0x0095)
    assert world.chip.charge_fet
    assert world.chip.rejected.host_control_disabled == 1


def test_fets_may_wait_for_the_host_from_the_start() -> None:
    world = World()
    world.host.configure(NO_SLEEP, (0x9308, b"\x2d"))
    world.host.command(0x0022)
    world.run(1)
    assert not world.chip.charge_fet
    world.host.command(0x0096)
    assert world.chip.charge_fet


def test_fet_test_mode_turns_single_fets_on_but_protections_stay() -> None:
    world = World()
    world.host.configure(NO_SLEEP)
    world.host.command(0x001F)
    world.run(0.25)
    assert world.chip.charge_fet
    assert not world.chip.discharge_fet
    world.cells = [4.5] * 16
    world.run(1)
    assert not world.chip.charge_fet


# --- voltage ----------------------------------------------------------------------------------


@given(threshold=st.integers(80, 100), delay=st.integers(1, 600))
@settings(max_examples=20, deadline=None)
def test_cov_trips_at_its_threshold_after_its_delay(threshold: int, delay: int) -> None:
    world = safe_world((0x9278, u8(threshold)), (0x9279, u16(delay)))
    limit_v = threshold * COV_STEP_V
    world.cells[4] = limit_v - 0.002
    world.run(5)
    assert status(world)[0] & 0x08 == 0
    world.cells[4] = limit_v + 0.002
    delay_s = 0.0033 * (2 + delay)
    world.run(delay_s - 0.005, delay_s - 0.005)
    assert alert(world)[0] & 0x08
    assert status(world)[0] & 0x08 == 0
    assert world.chip.charge_fet
    world.run(0.01, 0.01)
    assert alert(world)[0] & 0x08 == 0
    assert status(world)[0] == 0x08
    assert not world.chip.charge_fet
    assert world.chip.discharge_fet


def test_cov_recovers_below_the_hysteresis_for_the_recovery_time() -> None:
    world = safe_world()
    world.cells = [4.4] * 16
    world.run(1)
    assert not world.chip.charge_fet
    world.cells = [86 * COV_STEP_V - 0.05] * 16
    world.run(10)
    assert not world.chip.charge_fet
    world.cells = [86 * COV_STEP_V - 2 * COV_STEP_V - 0.01] * 16
    world.run(2.75)
    assert not world.chip.charge_fet
    world.run(0.5)
    assert world.chip.charge_fet


def test_a_spike_shorter_than_the_delay_does_nothing() -> None:
    world = safe_world()
    for _ in range(10):
        world.cells = [4.4] * 16
        world.run(0.2, 0.1)
        world.cells = [3.7] * 16
        world.run(0.1, 0.1)
    assert status(world) == (0, 0, 0)


def test_cuv_opens_only_the_discharge_fet_and_recovers() -> None:
    world = safe_world()
    world.cells[2] = 2.4
    world.run(1)
    assert status(world)[0] == 0x04
    assert world.chip.charge_fet
    assert not world.chip.discharge_fet
    world.cells[2] = 2.7
    world.run(4)
    assert status(world)[0] == 0
    assert world.chip.discharge_fet


def test_cuv_is_off_on_a_blank_chip_and_with_delay_zero() -> None:
    world = World()
    world.fets_on()
    world.cells = [1.0] * 16
    world.run(5)
    assert world.chip.discharge_fet
    world = safe_world((0x9276, u16(0)))
    world.cells = [1.0] * 16
    world.run(5)
    assert status(world)[0] & 0x04 == 0


def test_shorted_inputs_trip_cuv_unless_vcell_mode_leaves_them_out() -> None:
    world = safe_world(n_cells=14)
    assert world.chip.discharge_fet
    world.host.configure((0x9304, u16(0)))
    world.run(1)
    assert status(world)[0] == 0x04


def test_cov_latches_after_so_many_trips_and_recovers_by_its_own_time() -> None:
    world = safe_world((0x927D, u8(3)))
    for trip in range(3):
        world.cells = [4.4] * 16
        world.run(1)
        assert bool(status(world)[2] & 0x10) == (trip == 2)
        world.cells = [3.7] * 16
        world.run(4)
    assert status(world)[0] == 0
    assert status(world)[2] == 0x10
    assert not world.chip.charge_fet
    world.run(12)
    assert world.chip.charge_fet


def test_the_snapshot_keeps_the_cells_of_the_moment() -> None:
    world = safe_world()
    world.cells[3] = 4.6
    world.run(1)
    world.cells[3] = 3.7
    world.run(5)
    snapshot = world.host.ask(0x0081)
    assert int.from_bytes(snapshot[6:8], "little") == 4600


# --- current ----------------------------------------------------------------------------------


def test_occ_opens_charge_and_recovers_with_discharge_current() -> None:
    world = safe_world()
    world.current_a = 41.0
    world.run(0.25)
    assert status(world)[0] == 0x10
    assert not world.chip.charge_fet
    assert world.chip.discharge_fet
    world.current_a = 0.0
    world.run(10)
    assert not world.chip.charge_fet
    world.current_a = -0.5
    world.run(4)
    assert world.chip.charge_fet


def test_occ_recovers_when_the_charger_is_gone() -> None:
    world = safe_world()
    world.current_a = 41.0
    world.run(0.25)
    world.current_a = 0.0
    world.pack_v = 16 * 3.7 - 2.5
    world.run(4)
    assert world.chip.charge_fet


@pytest.mark.parametrize(
    ("current_a", "dt_s", "expected"),
    [
        (-59.0, 0.5, 0x00),
        (-61.0, 0.02, 0x00),
        (-61.0, 0.04, 0x40),
        (-101.0, 0.005, 0x00),
        (-101.0, 0.012, 0x20),
        (-126.0, 0.0001, 0x80),
    ],
)
def test_ocd1_ocd2_and_scd_each_have_threshold_and_delay(
    current_a: float, dt_s: float, expected: int
) -> None:
    world = safe_world((0x9286, u8(6)))
    world.current_a = current_a
    world.run(dt_s, dt_s)
    assert status(world)[0] == expected
    assert world.chip.discharge_fet == (expected == 0)


def test_ocd_needs_a_charge_current_to_recover() -> None:
    world = safe_world()
    world.current_a = -70.0
    world.run(0.1, 0.1)
    world.current_a = 0.0
    world.run(60, 1.0)
    assert not world.chip.discharge_fet
    world.current_a = 0.3
    world.run(4)
    assert world.chip.discharge_fet


def test_ocd3_looks_at_the_measured_current_in_usera() -> None:
    world = safe_world((0x928A, u16(-3000)), (0x928C, u8(2)))
    world.current_a = -2.9
    world.run(10)
    assert status(world)[2] == 0
    world.current_a = -3.1
    world.run(1.5)
    assert status(world)[2] == 0
    world.run(2)
    assert status(world)[2] == 0x80
    assert not world.chip.discharge_fet


def test_scd_opens_both_and_recovers_by_time() -> None:
    world = safe_world()
    world.current_a = -500.0
    world.run(0.001, 0.001)
    assert status(world)[0] == 0x80
    assert not world.chip.discharge_fet
    assert not world.chip.charge_fet
    world.current_a = 0.0
    world.run(4.5)
    assert not world.chip.discharge_fet
    world.run(1)
    assert world.chip.discharge_fet
    assert world.chip.charge_fet


def test_scd_latches_and_the_host_releases_it() -> None:
    world = safe_world((0x9295, u8(2)), (0x9282, u8(100)), (0x9283, u8(127)), (0x9285, u8(127)))
    for _ in range(2):
        world.current_a = -150.0
        world.run(0.001, 0.001)
        world.current_a = 0.0
        world.run(6)
    assert status(world)[0] == 0
    assert status(world)[2] == 0x40
    world.run(100, 1.0)
    assert not world.chip.discharge_fet
    world.host.command(0x009C)
    world.run(0.25)
    assert world.chip.discharge_fet


@pytest.mark.parametrize(("configuration", "released"), [(0x0002, False), (0x0402, True)])
def test_a_charge_current_releases_scdl_only_where_that_is_configured(
    configuration: int, released: bool
) -> None:
    world = safe_world(
        (0x9295, u8(1)), (0x9282, u8(100)), (0x9285, u8(127)), (0x925F, u16(configuration))
    )
    world.current_a = -150.0
    world.run(0.001, 0.001)
    assert status(world)[2] == 0x40
    world.current_a = 0.1  # under SCDL Recovery Threshold
    world.run(30)
    assert status(world)[2] == 0x40
    world.current_a = 0.3
    world.run(14)
    assert status(world)[2] == 0x40
    world.run(2)
    assert (status(world)[2] == 0) is released


def test_a_latch_that_forgets_slower_than_it_recovers_latches_again() -> None:
    world = safe_world((0x927D, u8(1)), (0x927E, u8(40)))
    world.cells = [4.4] * 16
    world.run(1)
    world.cells = [3.7] * 16
    world.run(30)  # its recovery time is 15 s
    assert status(world)[2] == 0x10
    world.run(60)
    assert status(world)[2] == 0


# --- temperature ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sensor", "bit", "trip_c", "back_c", "charge", "discharge"),
    [
        ("cell", 0x10, 56.0, 49.0, False, True),
        ("cell", 0x30, 61.0, 49.0, False, False),
        ("cell", 0x03, -1.0, 6.0, False, False),
        ("fet", 0x80, 81.0, 64.0, False, False),
        ("die", 0x40, 86.0, 79.0, False, False),
        ("die", 0x04, -21.0, -14.0, False, False),
    ],
)
def test_temperatures_trip_after_two_seconds_and_recover(
    sensor: str, bit: int, trip_c: float, back_c: float, charge: bool, discharge: bool
) -> None:
    world = safe_world((0x92FF, b"\x0f"))

    def set_c(celsius: float) -> None:
        if sensor == "cell":
            world.temperatures_c[0] = celsius
        elif sensor == "fet":
            world.fet_c = celsius
        else:
            world.die_c = celsius

    set_c(trip_c)
    world.run(1.5)
    assert status(world)[1] == 0
    assert alert(world)[1] == bit
    world.run(1)
    assert status(world)[1] == bit
    assert (world.chip.charge_fet, world.chip.discharge_fet) == (charge, discharge)
    set_c(back_c)
    world.run(4)
    assert status(world)[1] == 0
    assert world.chip.charge_fet


def test_without_a_sensor_no_temperature_protection_can_trip() -> None:
    world = safe_world((0x92FD, b"\x00"))
    world.temperatures_c = [math.nan]
    world.run(10)
    assert status(world)[1] == 0


# --- the rest ---------------------------------------------------------------------------------


def test_the_host_watchdog_opens_both_fets_and_forgives_the_next_word() -> None:
    world = safe_world((0x9263, b"\x02"), (0x92B2, u16(10)), (0x9238, b"\x23"))
    world.run(9)
    assert world.chip.charge_fet
    world.run(1.5)
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet
    assert not world.chip.regulator_on
    world.run(3)
    assert world.chip.regulator_on
    world.host.read(0x12, 2)
    world.run(0.25)
    assert world.chip.charge_fet


def test_any_valid_communication_keeps_the_watchdog_quiet_but_garbage_does_not() -> None:
    world = safe_world((0x9263, b"\x02"), (0x92B2, u16(5)))
    for _ in range(10):
        world.run(4)
        world.host.read(0x12, 1)
    assert world.chip.charge_fet
    for _ in range(2):
        world.run(4)
        with pytest.raises(Exception, match="CRC"):
            world.chip.i2c(0x08, b"\x66\x00\x55", 0)
    assert not world.chip.charge_fet


def test_permanent_fail_stays_until_reset() -> None:
    world = safe_world((0x92C0, b"\x83"))
    world.cells = [4.6] * 16
    world.run(4)
    assert world.host.read(0x0A, 2) == b"\x02\x00"
    world.run(2)
    assert world.host.read(0x0A, 2)[1] == 0x02
    assert world.host.word(0x12) & 0x1000
    world.cells = [3.7] * 16
    world.run(60, 1.0)
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet
    world.chip.power_on_reset()
    world.run(1)
    assert world.host.read(0x0B, 1)[0] == 0


def test_pf_needs_pf_en() -> None:
    world = safe_world((0x92C0, b"\x83"))
    world.host.command(0x0024)
    world.cells = [1.0] * 16
    world.run(10)
    assert world.host.read(0x0B, 1)[0] == 0


def test_sleep_opens_the_charge_fet_by_default_until_it_is_disabled() -> None:
    world = World()
    world.host.command(0x0022)
    world.run(10)
    assert world.host.word(0x12) & 0x8004 == 0x8004
    assert not world.chip.charge_fet
    assert world.chip.discharge_fet
    world.host.command(0x009A)
    world.run(0.25)
    assert world.host.word(0x12) & 0x8004 == 0
    assert world.chip.charge_fet


def test_a_charger_or_a_load_wakes_the_chip() -> None:
    world = World()
    world.host.command(0x0022)
    world.run(10)
    world.pack_v = 16 * 3.7 + 3
    world.run(0.25)
    assert world.chip.charge_fet
    world.pack_v = None
    world.run(10)
    assert not world.chip.charge_fet
    world.current_a = -1.0
    world.run(0.25)
    assert world.chip.charge_fet


def test_body_diode_protection_shows_in_fet_status_but_never_allows_charge() -> None:
    world = safe_world()
    world.cells = [4.4] * 16
    world.run(1)
    assert world.host.read(0x7F, 1)[0] & 0x05 == 0x04
    world.current_a = -5.0
    world.run(0.25)
    assert world.host.read(0x7F, 1)[0] & 0x05 == 0x05
    assert not world.chip.charge_fet


def test_the_alarm_latches_what_is_enabled_and_clears_by_writing_ones() -> None:
    world = safe_world()
    world.host.write(0x62, 0xFF, 0xFF)
    assert world.host.word(0x62) == 0
    world.cells = [4.4] * 16
    world.run(1)
    assert world.host.word(0x62) & 0x4000
    assert world.host.read(0x7F, 1)[0] & 0x40
    assert world.host.word(0x64) & 0x0040  # raw: XCHG, not enabled by default
    assert world.host.word(0x62) & 0x0040 == 0
    world.cells = [3.7] * 16
    world.run(5)
    assert world.host.word(0x62) & 0x4000
    world.host.write(0x62, 0x00, 0xFF)
    assert world.host.word(0x62) == 0
    world.host.write(0x66, 0x82, 0x00)
    world.run(1)
    assert world.host.word(0x62) == 0x0082


_PROFILE = st.lists(
    st.tuples(
        st.floats(1.0, 5.0), st.floats(-150, 150), st.floats(-40, 100), st.floats(0.001, 20)
    ),
    max_size=25,
)


@given(_PROFILE)
@settings(max_examples=60, deadline=None)
def test_a_fet_is_never_on_against_a_fault_that_must_open_it(
    profile: list[tuple[float, float, float, float]],
) -> None:
    world = safe_world((0x927D, u8(2)), (0x928F, u8(2)), (0x9295, u8(2)))
    for cell_v, current_a, celsius, seconds in profile:
        world.cells[7] = cell_v
        world.current_a = current_a
        world.temperatures_c[0] = celsius
        world.run(seconds, seconds)
        a, b, c = status(world)
        if a & 0x98 or b & 0xD5 or c & 0x56:
            assert not world.chip.charge_fet
        if a & 0xE4 or b & 0xE6 or c & 0xE2:
            assert not world.chip.discharge_fet
        if not (a or b or c):
            assert world.chip.charge_fet
            assert world.chip.discharge_fet
        raised = world.host.read(0x02, 6)
        assert raised[0] & raised[1] == 0
