"""One fault of the bus at any single access, from the first to the last: within three cycles the
switches are open, or everything is as if nothing had been.

And whatever happens, a switch is never closed while a setting is not the one that was planned.
"""

from functools import cache

import pytest
from bq76952_world import Guarded

FAULTS = ("nack_next", "corrupt_crc_next", "hold_sda_next", "busy_next")
CYCLES = 16  # the chip is set up, the switches close, all that is watched is looked at
SAFE_WITHIN = 3


class Life(Guarded):
    """``faults`` are injected when the ``at``-th access begins."""

    def __init__(self, at: int = -1, fault: str = "", how_many: int = 1) -> None:
        super().__init__(n_cells=4, rated_mah=50000)
        self.cell_v = [3.6, 3.61, 3.62, 3.63]
        self.happened = False
        taken = self.chip.i2c

        def disturbed(address: int, write: bytes, n_read: int) -> bytes:
            if self.transactions - 1 == at:
                self.happened = True
                setattr(self.chip.faults, fault, how_many)
            return taken(address, write, n_read)

        self.chip.i2c = disturbed  # type: ignore[method-assign]

    @property
    def open(self) -> bool:
        return not (self.chip.charge_fet or self.chip.discharge_fet)

    @property
    def healthy(self) -> bool:
        return (
            self.snapshot.valid
            and self.chip.memory.raw == undisturbed()[1]
            and list(self.snapshot.cell_mv) == [3600, 3610, 3620, 3630]
            and self.snapshot.switches == self.measurement.commanded == self.protection.allowed
        )

    def cycle(self) -> None:
        super().cycle()
        assert self.open or self.chip.memory.raw == undisturbed()[1]


@cache
def undisturbed() -> tuple[int, bytes]:
    """How many accesses a life has, and the data memory it leaves behind."""
    life = Life()
    for _ in range(CYCLES):
        Guarded.cycle(life)
    assert life.measurement.problem is None
    assert not life.open
    return life.transactions, bytes(life.chip.memory.raw)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_single_fault_at_any_access_ends_safely_within_three_cycles(fault: str) -> None:
    accesses, _memory = undisturbed()
    assert accesses > 250
    for at in range(accesses):
        life = Life(at, fault)
        for _ in range(CYCLES):
            life.cycle()
            if life.happened:
                break
        assert life.happened, at
        for _ in range(SAFE_WITHIN):
            life.cycle()
        assert life.open or life.healthy, (at, life.measurement.problem)
        for _ in range(CYCLES):
            if life.healthy and not life.open:
                break
            life.cycle()
        assert life.healthy, (at, life.measurement.problem)
        assert not life.open, at  # and the pack serves again


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", [0, 5, 60, 130, 200])
def test_a_fault_that_stays_opens_the_switches_and_no_access_is_endless(
    fault: str, at: int
) -> None:
    life = Life(at, fault, 10**9)
    for _ in range(CYCLES):
        if life.happened:
            break
        life.cycle()
    for _ in range(SAFE_WITHIN):
        before, started_us = life.transactions, life.chip.now_us
        life.cycle()
        assert life.transactions - before < 150
        assert life.chip.now_us - started_us < 1.6e6  # 1 s of it between the cycles
    if fault == "busy_next":  # it cannot be told to open: it is left alone, and opens by itself
        for _ in range(life.afe.applied.get("hwd_s", 5) + 1):
            life.cycle()
    assert life.open
    closed = 0
    for _ in range(100):
        life.cycle()
        closed += not life.open
    assert closed <= (2 * life.afe.applied.get("hwd_s", 5) if fault == "busy_next" else 0)
