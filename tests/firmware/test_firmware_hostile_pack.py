"""A short form of ``tests/benchmarks/protection_campaign.py``, and single cases of it."""

import gc
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile_pack import (
    BOUND_MS,
    CHARGE,
    DISCHARGE,
    N_CELLS,
    SINGLE_MS,
    HostileChain,
    HostileChainMachine,
    HostileMachine,
    HostilePack,
    spare_the_collector,
)
from hypothesis import settings as hypothesis_settings


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    spare_the_collector()
    yield
    gc.unfreeze()


TestHostilePack = HostileMachine.TestCase
TestHostilePack.settings = hypothesis_settings(
    max_examples=15, stateful_step_count=100, deadline=None
)


TestHostileChain = HostileChainMachine.TestCase
TestHostileChain.settings = hypothesis_settings(
    max_examples=15, stateful_step_count=100, deadline=None
)


def settle(pack: HostilePack, phase_ms: int) -> None:
    pack.cells_v = [3.7] * N_CELLS
    pack.sensors_c = [25.0]
    pack.fet_c = 25.0
    pack.work(20_000)
    for _ in range(5):
        if pack.closed == CHARGE | DISCHARGE:
            break
        pack.app.command(1)
        pack.work(20_000)
    assert pack.closed == CHARGE | DISCHARGE
    pack.work(phase_ms)


TROUBLES = [
    ("a high cell", lambda p: p.cells_v.__setitem__(1, 4.27)),
    ("a low cell", lambda p: p.cells_v.__setitem__(3, 2.75)),
    ("an empty cell", lambda p: p.cells_v.__setitem__(0, 1.4)),
    ("heat", lambda p: p.sensors_c.__setitem__(0, 62.0)),
    ("cold", lambda p: p.sensors_c.__setitem__(0, -22.0)),
    ("hot switches", lambda p: setattr(p, "fet_c", 95.0)),
]
WORLDS = [
    (world, bus_fault)
    for world in (HostilePack, HostileChain)
    for bus_fault in ("none", *world.bus_faults)
]


@pytest.mark.parametrize(("world", "bus_fault"), WORLDS)
def test_a_switch_opens_within_a_period_whatever_happens_to_the_bus_once(
    tmp_path: Path, world: type[HostilePack], bus_fault: str
) -> None:
    pack = world(str(tmp_path))
    chance = random.Random(WORLDS.index((world, bus_fault)))
    for _name, bring in TROUBLES:
        settle(pack, chance.randrange(1000))
        bring(pack)
        pack.work(chance.choice([1, chance.randrange(1, 1000), chance.randrange(500, 660)]))
        if bus_fault != "none":
            pack.disturb(bus_fault, SINGLE_MS - chance.randrange(2))
        pack.work(2500)
        assert pack.closed != CHARGE | DISCHARGE
    assert pack.complaints == []
    assert 50 < max(pack.worst_ms.values()) <= BOUND_MS


def test_a_reading_that_is_wrong_once_opens_nothing(tmp_path: Path) -> None:
    pack = HostilePack(str(tmp_path))
    pack.work(8000)
    chance = random.Random(1)
    seen = 0
    for _ in range(100):
        pack.cells_v = [3.7, 4.4, 3.7, 2.75, 3.7, 3.7]
        pack.pass_ms(60)
        pack.cells_v = [3.7] * N_CELLS
        pack.work(400 + chance.randrange(1000))
        assert pack.closed == CHARGE | DISCHARGE
        seen += pack.app.snapshot.min_mv < 2800 or pack.app._seen.min_mv < 2800
    assert pack.app.protection.n_faults == 0
    assert seen, "none of them was met by a reading"


def test_a_chip_that_answers_but_does_not_obey_is_left_to_its_watchdog(tmp_path: Path) -> None:
    pack = HostilePack(str(tmp_path))
    pack.work(8000)
    pack.watched = False
    pack.chip.faults.stuck_busy = True
    pack.busy_until_ms = 1 << 40
    pack.cells_v[1] = 4.26
    pack.work(12_000)
    assert pack.now_closed() == 0
    for _ in range(100):
        pack.work(500)
        assert pack.now_closed() == 0, "and it does not come back"
        assert pack.app.measurement.problem == "AFE does not open: left to its watchdog"
    pack.busy_until_ms = 0
    pack.cells_v[1] = 3.7
    pack.work(30_000)
    assert pack.now_closed() == CHARGE | DISCHARGE
