"""Permanent failures of the emulated chip with TI's defaults: what trips and what ends them."""

import pytest
from bq76952_host import World, u8, u16

from sim.bq76952 import Nack

NO_SLEEP = (0x9234, u16(0x2882))
ALL_A, ALL_B = (0x92C0, b"\xdf"), (0x92C1, b"\x9f")
QUIET = ((0x9261, b"\0"), (0x9262, b"\0"), (0x9263, b"\0"))  # nothing of the first line


def failing_world(*more: tuple[int, bytes]) -> World:
    world = World()
    world.host.configure(NO_SLEEP, ALL_A, ALL_B, (0x92C2, b"\x7f"), *QUIET, *more)
    world.host.command(0x0022)
    world.run(0.5)
    assert world.chip.charge_fet
    return world


def status(world: World) -> tuple[int, ...]:
    return tuple(world.host.read(0x0A, 8)[1::2])


def alert(world: World) -> tuple[int, ...]:
    return tuple(world.host.read(0x0A, 8)[0::2])


def set_low(world: World) -> None:
    world.cells[3] = 2.1
    world.cells[4] = 2.1


def set_high(world: World) -> None:
    world.cells = [4.6] * 16


def set_charge(world: World) -> None:
    world.current_a = 10.5


def set_discharge(world: World) -> None:
    world.current_a = -32.3


def set_hot(world: World) -> None:
    world.temperatures_c = [66.0, 25.0, 25.0]


@pytest.mark.parametrize(
    ("happens", "bit"),
    [
        (set_low, 0x01),
        (set_high, 0x02),
        (set_charge, 0x04),
        (set_discharge, 0x08),
        (set_hot, 0x10),
    ],
)
def test_an_alert_becomes_a_failure_after_its_delay_and_stays(happens, bit: int) -> None:
    world = failing_world((0x92C1, b"\0"))
    happens(world)
    world.run(4.5)
    assert alert(world)[0] == bit
    assert status(world)[0] == 0
    world.run(1.0)
    assert status(world)[0] == bit
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet
    assert world.host.word(0x12) & 0x1000
    world.cells, world.current_a, world.temperatures_c = [3.7] * 16, 0.0, [25.0] * 3
    world.host.command(0x0096)
    world.run(60)
    assert status(world)[0] == bit
    assert not world.chip.charge_fet


def test_a_reset_ends_it_for_it_is_kept_in_ram() -> None:
    world = failing_world()
    set_high(world)
    world.run(8)
    assert status(world)[0] == 0x02
    world.host.write(0x3E, 0x12, 0x00)
    world.run(1)
    assert status(world) == (0, 0, 0, 0)


def test_a_failure_may_leave_the_fets_alone() -> None:
    world = failing_world((0x925F, u16(0)))
    set_high(world)
    world.run(8)
    assert status(world)[0] == 0x02
    assert world.chip.charge_fet


def test_nothing_fails_while_the_checks_are_off() -> None:
    world = failing_world()
    world.host.command(0x0024)  # PF_EN off
    set_high(world)
    world.run(20)
    assert status(world) == (0, 0, 0, 0)


def test_uneven_cells_fail_at_rest_only_after_the_rest_has_lasted() -> None:
    world = failing_world()
    world.cells[0] = 3.1
    world.run(90)
    assert status(world)[1] == 0
    world.run(20)
    assert status(world)[1] == 0x08


def test_uneven_cells_fail_under_current() -> None:
    world = failing_world((0x92E7, u16(3600)))
    world.cells[0] = 3.4
    world.current_a = 1.0
    world.run(6)
    assert status(world)[1] == 0x10


@pytest.mark.parametrize(("off", "current_a", "bit"), [(0x94, 0.5, 0x01), (0x93, -0.5, 0x02)])
def test_a_fet_that_is_off_and_passes_current_has_failed(
    off: int, current_a: float, bit: int
) -> None:
    world = failing_world()
    world.host.command(off)
    world.current_a = current_a
    world.run(6)
    assert status(world)[1] == bit


def test_a_recorded_current_accuses_no_fet() -> None:
    world = World(current_is_recorded=True)
    world.host.configure(NO_SLEEP, ALL_B, *QUIET)
    world.current_a = 5.0
    world.run(20)
    assert status(world) == (0, 0, 0, 0)


@pytest.mark.parametrize("bit", range(8))
def test_the_chip_s_own_failures_show_where_they_are_enabled(bit: int) -> None:
    world = failing_world()
    world.chip.faults.chip_failure = 1 << bit
    world.run(0.5)
    assert status(world)[2] == (1 << bit) & 0x7F


def test_latched_short_circuits_may_count_as_a_failure() -> None:
    world = failing_world(
        (0x9261, b"\x80"), (0x9263, b"\x40"), (0x9286, u8(0)), (0x9295, u8(1)), (0x92C1, b"\x80")
    )
    world.current_a = -15.0
    world.run(0.5)
    assert status(world)[1] == 0x80


# --- the bus ----------------------------------------------------------------------------------


def test_a_bus_left_in_a_byte_is_free_after_nine_clocks() -> None:
    world = World()
    world.chip.faults.hold_sda_next = 1
    for _ in range(3):
        with pytest.raises(Nack, match="SDA"):
            world.host.read(0x12, 2)
    world.chip.clock_bus()
    world.host.read(0x12, 2)
    world.chip.faults.sda_stuck = True
    world.chip.clock_bus()
    with pytest.raises(Nack, match="SDA"):
        world.host.read(0x12, 2)


def test_a_subcommand_that_hangs_is_replaced_by_the_next() -> None:
    world = World()
    world.chip.faults.busy_next = 1
    world.host.write(0x3E, 0x01, 0x00)
    world.run(5)
    assert world.host.word(0x3E) == 0xFFFF
    assert world.host.ask(0x0001) == b"\x95\x76"
