"""Tells systemd that all is well, and only while every loop of the gateway makes progress."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import sdnotify

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

TICK_S = 1.0


class Heartbeats:
    """When each loop last made progress, by name. The clock is the caller's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_s: dict[str, float] = {}

    def source(self, name: str) -> Callable[[], None]:
        """What the loop called ``name`` calls with every turn; it counts from now on."""

        def beat() -> None:
            self._last_s[name] = self._clock()

        beat()
        return beat

    def stalled(self, limit_s: float) -> list[str]:
        """Loops without progress for longer than ``limit_s``."""
        now_s = self._clock()
        return [name for name, last_s in self._last_s.items() if now_s - last_s > limit_s]


class Systemd:
    """The manager's notification socket; silent where there is none."""

    def __init__(self) -> None:
        there = bool(os.environ.get("NOTIFY_SOCKET"))
        self._notifier = sdnotify.SystemdNotifier() if there else None
        watchdog_us = os.environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(watchdog_us) / 1e6 if watchdog_us.isdigit() else None

    def notify(self, state: str) -> None:
        """Send ``READY=1`` and the like."""
        if self._notifier is not None:
            self._notifier.notify(state)

    async def feed(self, heartbeats: Heartbeats) -> None:
        """Feed the watchdog until cancelled, as long as nothing stalls."""
        if self.watchdog_s is None:
            await asyncio.Event().wait()
            return
        limit_s = self.watchdog_s / 2
        while True:
            stalled = heartbeats.stalled(limit_s)
            if stalled:
                log.error("no progress", extra={"loops": ",".join(stalled)})
            else:
                self.notify("WATCHDOG=1")
            await asyncio.sleep(min(self.watchdog_s / 4, max(TICK_S, self.watchdog_s / 10)))
