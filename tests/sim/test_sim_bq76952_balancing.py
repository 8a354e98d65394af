"""Balancing by the host's command: mapping, expiry, limits, counters."""

import struct

import pytest
from bq76952_host import World, u8, u16
from hypothesis import given, settings
from hypothesis import strategies as st

NO_SLEEP = (0x9234, u16(0x2882))


def balancing_world(n_cells: int = 16, *more: tuple[int, bytes]) -> World:
    world = World(n_cells)
    mask = 0xFFFF if n_cells == 16 else (1 << (n_cells - 1)) - 1 | 0x8000
    world.host.configure(NO_SLEEP, (0x9304, u16(mask)), *more)
    world.run(1)
    return world


def test_a_command_bleeds_until_the_interval_is_over() -> None:
    world = balancing_world()
    world.host.send(0x0083, u16(0x0005))
    assert world.chip.balance_mask == 0x0005
    world.run(19.75)
    assert world.host.ask(0x0083) == u16(0x0005)
    assert int.from_bytes(world.host.ask(0x0085), "little") == 19
    world.run(0.5)
    assert world.chip.balance_mask == 0
    assert world.host.ask(0x0083) == u16(0)
    assert world.host.ask(0x0085) == u16(0)


def test_refreshing_keeps_it_going_and_zero_stops_it() -> None:
    world = balancing_world()
    for _ in range(5):
        world.host.send(0x0083, u16(0x0100))
        world.run(15)
    assert world.chip.balance_mask == 0x0100
    assert struct.unpack("<8I", world.host.ask(0x0087))[0] == 75
    world.host.send(0x0083, u16(0))
    assert world.chip.balance_mask == 0


@given(n_cells=st.integers(3, 16), wanted=st.integers(0, 0xFFFF))
@settings(max_examples=40, deadline=None)
def test_the_mask_counts_cells_and_the_register_counts_inputs(n_cells: int, wanted: int) -> None:
    world = balancing_world(n_cells)
    world.host.send(0x0083, u16(wanted))
    active = int.from_bytes(world.host.ask(0x0083), "little")
    expected = [wanted >> (15 if c == n_cells - 1 else c) & 1 for c in range(n_cells)]
    assert [world.chip.balance_mask >> c & 1 for c in range(n_cells)] == expected
    assert active.bit_count() == sum(expected)


@pytest.mark.parametrize(("where", "celsius"), [("cell", 61.0), ("cell", -21.0), ("die", 71.0)])
def test_heat_and_cold_stop_it(where: str, celsius: float) -> None:
    world = balancing_world()
    world.host.send(0x0083, u16(0x0001))
    if where == "cell":
        world.temperatures_c = [celsius]
    else:
        world.die_c = celsius
    world.run(0.25)
    assert world.chip.balance_mask == 0
    world.host.send(0x0083, u16(0x0001))
    assert world.chip.balance_mask == 0


def test_commands_can_be_forbidden() -> None:
    world = balancing_world(16, (0x9335, u8(0x10)))
    world.host.send(0x0083, u16(0x0001))
    assert world.chip.balance_mask == 0
    assert world.chip.rejected.host_control_disabled == 1


def test_a_level_bleeds_the_highest_cells_and_never_neighbours() -> None:
    world = balancing_world(16, (0x933A, u8(3)))
    world.cells = [3.9] * 16
    world.cells[5], world.cells[6], world.cells[9] = 4.1, 4.05, 4.0
    world.run(1)
    world.host.send(0x0084, u16(3950))
    assert world.chip.balance_mask == 1 << 5 | 1 << 9


def test_config_update_and_power_stop_it() -> None:
    world = balancing_world()
    world.host.send(0x0083, u16(0x0001))
    world.host.enter_config()
    assert world.chip.balance_mask == 0
    world.host.exit_config()
    world.run(1)
    world.host.send(0x0083, u16(0x0001))
    world.chip.faults.dead = True
    assert world.chip.balance_mask == 0


def test_a_bled_cell_reads_low_and_its_neighbours_high() -> None:
    world = balancing_world()
    world.host.send(0x0083, u16(0x0010))
    world.run(0.25)
    readings = struct.unpack("<16h", world.host.read(0x14, 32))
    assert readings[4] < 3700 < readings[3] == readings[5]
    assert readings[6] == 3700
