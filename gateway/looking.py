"""Waiting for what a board does in its own time: looked at every now and then, not for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from common import codes, models
from gateway.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.pack import Pack

LOOK_EVERY_S = 0.5
LOOKS = 60  # for a board to judge and apply what was written, or to open its switches
CLOSED = (
    codes.State.ON,
    codes.State.CHARGE_ONLY,
    codes.State.DISCHARGE_ONLY,
    codes.State.PRECHARGE,
)
T = TypeVar("T")


async def look_until(
    look: Callable[[], Awaitable[T]], reached: Callable[[T], bool], otherwise: str
) -> T:
    """What ``look`` brings when it has ``reached`` what is waited for; else ``UserError``."""
    for _ in range(LOOKS):
        found = await look()
        if reached(found):
            return found
        await asyncio.sleep(LOOK_EVERY_S)
    raise UserError(f"echelon: {otherwise}")


async def open_switches(pack: Pack, command: int) -> int:
    """Open the switches by ``command`` and wait until they are; the state it was in before.

    A pack in service mode is left in it: its switches are open, and most commands would end it.
    """
    before = int((await pack.block(models.PROTECTION))["St"])
    if before != codes.State.SERVICE:
        await pack.command(command)

    async def may_be_closed() -> bool:
        state = (await pack.block(models.PROTECTION))["St"]
        # Until its next cycle a board that was about to close them still allows that.
        return state in CLOSED or (await pack.block(models.SNAPSHOT))["Sw"] != 0

    await look_until(
        may_be_closed, lambda may: not may, "the switches do not open (echelon read shows why)"
    )
    return before
