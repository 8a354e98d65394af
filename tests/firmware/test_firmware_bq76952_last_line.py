"""The chip as the last line, driver against emulator: latches, permanent failures, lost settings.

Nobody but the chip acts here unless a test says so.
"""

import pytest
from bq76952_world import BOTH, Guarded, World

from common.codes import CommandResult, Fault, Switch
from firmware.afe import AfeError
from firmware.afe import bq76952_registers as reg
from sim.bq76952 import UnknownAccess

SOV, SOCC, SOCD, SOT, SOTF = 0x02, 0x04, 0x08, 0x10, 0x40
CFETF, DFETF = 0x0100, 0x0200
OCDL, SCDL, COVL = 0x200000, 0x400000, 0x100000


def closed(**options: int) -> World:
    return World(**options).configured(closed=True)


def failed(world: World) -> int:
    return world.read().afe_failed


# --- latches ----------------------------------------------------------------------------------


def test_an_over_current_that_comes_again_latches_until_the_firmware_recovers_it() -> None:
    world = closed()
    world.current_a = -1.05 * world.afe.applied["ocd1_ma"] / 1000
    world.cycles(30)
    assert world.read().afe_safety & OCDL
    world.current_a = 0.0
    world.cycles(300)
    assert world.read().afe_safety & OCDL
    assert not world.chip.discharge_fet
    world.afe.recover()
    world.cycles(2)
    assert world.read().afe_safety == 0
    assert world.read().switches == BOTH


def test_rare_over_currents_do_not_add_up() -> None:
    world = closed()
    for _ in range(6):
        world.current_a = -1.05 * world.afe.applied["ocd1_ma"] / 1000
        world.cycles(2)
        world.current_a = 0.0
        world.cycles(70)
    assert world.read().afe_safety == 0
    assert world.read().switches == BOTH


def test_an_over_voltage_that_comes_again_latches_and_ends_by_itself() -> None:
    world = closed()
    limit_v = world.afe.applied["cov_mv"] / 1000
    for _ in range(3):
        world.cell_v[3] = limit_v + 0.02
        world.cycles(6)
        world.cell_v[3] = limit_v - 0.15
        world.cycles(5)
    assert world.read().afe_safety & COVL
    assert world.read().switches == Switch.DISCHARGE
    world.cycles(90)
    assert world.read().afe_safety == 0
    assert world.read().switches == BOTH


def test_a_short_circuit_is_cleared_in_both_the_chip_and_the_firmware() -> None:
    pack = Guarded(rated_mah=50000).closed()
    short_a = -1.1 * pack.afe.applied["scd_ma"] / 1000
    for _ in range(2):
        pack.afe.set_switches(BOTH)  # the firmware holds them open from the first one on
        pack.measurement.commanded = BOTH
        pack.current_a = short_a
        pack.run(0.3, step_s=0.01)
        pack.current_a = 0.0
        for _ in range(12):
            pack.cycle()
    assert pack.snapshot.afe_safety & SCDL
    assert pack.protection.latched >> Fault.SHORT_CIRCUIT & 1
    for _ in range(60):
        pack.cycle()
    assert pack.protection.clear_latched() == CommandResult.REFUSED_UNSAFE
    assert pack.measurement.recover()
    assert not pack.chip.charge_fet  # the firmware's own latch still holds
    for _ in range(35):
        pack.cycle()
    assert pack.protection.clear_latched() == CommandResult.DONE
    pack.closed()


def test_recovering_a_chip_that_does_not_answer_is_told() -> None:
    pack = Guarded().closed()
    pack.chip.faults.nack_next = 10
    assert not pack.measurement.recover()


# --- permanent failures -----------------------------------------------------------------------


@pytest.mark.parametrize("step", [-1, 1])
@pytest.mark.parametrize(
    ("limit", "bit", "unit"),
    [("sov_mv", SOV, 1e-3), ("sot_dc", SOT, 0.1), ("sotf_dc", SOTF, 0.1)],
)
def test_a_permanent_failure_trips_at_its_limit_and_stays(
    limit: str, bit: int, unit: float, step: int
) -> None:
    world = closed()
    value = world.afe.applied[limit] * unit * (1 + 0.005 * step)
    before = (world.cell_v[2], world.temperatures_c[0], world.fet_c)
    if bit == SOV:
        world.cell_v[2] = value
    elif bit == SOT:
        world.temperatures_c[0] = value
    else:
        world.fet_c = value
    world.cycles(9)
    assert failed(world) == 0
    world.cycles(4)
    assert failed(world) == (bit if step > 0 else 0)
    world.cell_v[2], world.temperatures_c[0], world.fet_c = before
    world.cycles(30)
    assert (world.read().switches == 0) == (step > 0)


@pytest.mark.parametrize(("sign", "name", "bit"), [(1, "socc_ma", SOCC), (-1, "socd_ma", SOCD)])
def test_a_current_that_the_fets_do_not_stop_is_a_permanent_failure(
    sign: int, name: str, bit: int
) -> None:
    world = closed(rated_mah=50000)
    current_a = sign * 1.05 * world.afe.applied[name] / 1000
    for _ in range(60):
        world.chip.step(0.1, world.cell_v, current_a, world.temperatures_c, 35.0, 40.0)
    assert failed(world) & bit
    assert not world.chip.charge_fet
    assert not world.chip.discharge_fet


@pytest.mark.parametrize(("sign", "bit"), [(1, CFETF), (-1, DFETF)])
@pytest.mark.parametrize(("share", "trips"), [(0.9, False), (1.1, True)])
def test_a_welded_fet_is_a_permanent_failure(
    sign: int, bit: int, share: float, trips: bool
) -> None:
    world = World(rated_mah=50000).configured()  # both are off
    name = "cfetf_ma" if sign > 0 else "dfetf_ma"
    current_a = sign * share * world.afe.applied[name] / 1000
    for _ in range(70):
        world.chip.step(0.1, world.cell_v, current_a, world.temperatures_c, 35.0, 40.0)
    assert bool(failed(world) & bit) is trips


@pytest.mark.parametrize("bit", range(8))
def test_what_is_wrong_with_the_chip_itself_is_a_permanent_failure_but_nobody_may_command_one(
    bit: int,
) -> None:
    world = closed()
    world.chip.faults.chip_failure = 1 << bit
    world.cycles(1)
    assert failed(world) == (1 << bit + 16 if bit < 7 else 0)


def test_uneven_and_deeply_discharged_cells_are_no_permanent_failure() -> None:
    world = closed()
    world.cell_v[0] = 0.5
    world.cycles(150)
    assert failed(world) == 0
    assert not world.chip.discharge_fet  # but CUV
    world.cell_v[0] = 3.6
    world.cycles(10)
    assert world.read().switches == BOTH


def test_an_open_sense_wire_leaves_a_way_out_once_it_is_mended() -> None:
    pack = Guarded().closed()
    pack.chip.faults.open_wire_above = 4
    for _ in range(120):
        pack.cycle()
    assert pack.snapshot.afe_failed == SOV  # the cell above reads beyond everything
    assert pack.protection.latched >> Fault.AFE_PERMANENT_FAIL & 1
    pack.chip.faults.open_wire_above = None
    for _ in range(30):
        pack.cycle()
    assert pack.protection.clear_latched() == CommandResult.REFUSED_UNSAFE  # nor by the gateway
    pack.chip.power_on_reset()  # whoever mends it takes the supply away
    for _ in range(30):
        pack.cycle()
    assert pack.snapshot.afe_failed == 0
    assert not pack.chip.charge_fet  # what the firmware has latched survives
    assert pack.protection.clear_latched() == CommandResult.DONE
    pack.closed()


# --- settings that do not stand ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "bit"),
    [(0x9278, 5), (0x9261, 3), (0x92B2, 7), (0x91A8, 4), (0x91AE, 0), (0x92C0, 1), (0x9305, 1)],
)
def test_a_bit_that_turns_over_is_noticed_and_put_right(address: int, bit: int) -> None:
    pack = Guarded().closed()
    planned = bytes(pack.chip.memory.raw)
    pack.chip.flip_bit(address, bit)
    for _ in range(pack.settings.detail_every):
        pack.cycle()
        if bytes(pack.chip.memory.raw) == planned:
            break
    assert bytes(pack.chip.memory.raw) == planned
    pack.closed()
    assert pack.chip.rejected.total == 0


@pytest.mark.parametrize("command", [0x0022, 0x0024])
def test_control_that_was_taken_from_the_chip_is_noticed_and_put_right(command: int) -> None:
    pack = Guarded().closed()
    pack.afe.bus.command(command, 1)  # toggles FET_EN, PF_EN
    for _ in range(pack.settings.detail_every + 2):
        pack.cycle()
    assert pack.afe._word(pack.afe.bus.ask(reg.MFG_STATUS)) & 0x50 == 0x50


def test_looking_costs_few_accesses_and_rewrites_nothing() -> None:
    pack = Guarded().closed()
    costs = []
    for _ in range(30):
        before = pack.transactions
        pack.cycle()
        costs.append(pack.transactions - before)
    assert min(costs) == 9
    assert max(costs) <= 9 + 8
    assert costs.count(9) >= 20


# --- the bus ----------------------------------------------------------------------------------


def test_a_bus_held_low_is_clocked_free_within_the_same_access() -> None:
    world = closed()
    world.chip.faults.hold_sda_next = 1
    world.cycles(1)
    assert world.recoveries == 1
    world.cycles(5)
    assert world.recoveries == 1


def test_a_bus_that_nothing_frees_is_clocked_once_an_access_and_given_up() -> None:
    world = closed()
    world.chip.faults.sda_stuck = True
    before = world.transactions
    with pytest.raises(AfeError, match="no answer"):
        world.read()
    assert world.recoveries == 1
    assert world.transactions - before == 3
    world.chip.faults.sda_stuck = False
    world.cycles(1)


def test_wrong_crcs_are_no_reason_to_clock_the_bus() -> None:
    world = closed()
    world.chip.faults.corrupt_crc_next = 2
    world.cycles(1)
    assert world.recoveries == 0


# --- driver and emulator are two readings of one chip ------------------------------------------


@pytest.mark.parametrize(
    ("name", "address"), [("COV_HYSTERESIS", 0x9306), ("FET_OPTIONS", 0x9306)]
)
def test_a_driver_with_a_wrong_address_is_found_out(
    monkeypatch: pytest.MonkeyPatch, name: str, address: int
) -> None:
    what, _right, code, low, high = getattr(reg, name)
    monkeypatch.setattr(reg, name, (what, address, code, low, high))
    with pytest.raises(UnknownAccess):
        World().configured()


def test_a_driver_with_a_wrong_command_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reg, "SET_CFGUPDATE", 0x0091)
    with pytest.raises(UnknownAccess, match="subcommand 0x0091"):
        World().configured()
