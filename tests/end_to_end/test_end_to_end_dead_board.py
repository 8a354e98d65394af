"""The real firmware in a real MicroPython, killed or cut off from its chip while current flows."""

import sys
from pathlib import Path

import pytest
from desk_rig import has_micropython

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from dead_board import GRAIN_S, is_closed, opening_times_s

from firmware.afe.bq76952_config import plan_for
from firmware.settings import Settings
from sim.bench import Discharge
from sim.pack import PackSpec
from sim.world import World

pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)


@pytest.fixture
def loaded(tmp_path):
    """A world and its one pack, closed and discharging."""
    with World(seed=6, folder=tmp_path) as world:
        program = (Discharge(10.0, end_v=20.0),)
        pack = world.add_pack(PackSpec("LOADED", n_cells=8, soc=0.6, program=program))
        world.start()
        world.run(until_s=20.0)
        assert is_closed(world, pack)
        yield world, pack


def test_killing_the_interpreter_opens_the_switches_within_the_watchdog_s_time(tmp_path):
    settings = Settings("P1", 8, "nmc", 50000)
    hwd_s = plan_for(settings, ("TS1",), None, True).applied["hwd_s"]
    times_s = opening_times_s(tmp_path, boards=3)
    assert max(times_s) <= hwd_s + GRAIN_S
    assert min(times_s) > 1.0  # nobody else opened them


def test_a_bus_that_the_chip_holds_is_clocked_free_by_the_firmware(loaded):
    world, pack = loaded
    chip = world.station(pack).chip
    chip.faults.hold_sda_next = 1
    world.run(until_s=40.0)
    assert chip.faults.hold_sda_next == 0
    assert is_closed(world, pack)
    assert world.truth(pack)["boots"] == 1


def test_a_bus_that_nothing_frees_opens_the_switches(loaded):
    world, pack = loaded
    world.station(pack).chip.faults.sda_stuck = True
    world.run(until_s=30.0)
    assert not is_closed(world, pack)


def test_a_chip_that_lost_its_supply_for_a_moment_is_set_up_again(loaded):
    world, pack = loaded
    chip = world.station(pack).chip
    planned = bytes(chip.memory.raw)
    chip.power_on_reset()
    world.run(until_s=21.5)
    assert not is_closed(world, pack)
    world.run(until_s=40.0)
    assert is_closed(world, pack)
    assert bytes(chip.memory.raw) == planned
