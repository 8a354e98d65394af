"""Virtual time in microseconds, and the most of it that may pass in a second of real time.

>>> clock = Clock(speed=None)
>>> clock.now_us = 1_000_000
>>> clock.seconds
1.0
"""

from __future__ import annotations

import time

US_PER_S = 1_000_000
_MOST_LAG_S = 0.25


class Clock:
    """Where the world stands.

    ``speed`` is virtual seconds a real second at most, ``None`` no limit.
    """

    def __init__(self, speed: float | None = None) -> None:
        self.now_us = 0
        self.speed = speed
        self._anchor_us = 0
        self._anchor_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """Virtual seconds since the world began."""
        return self.now_us / US_PER_S

    def anchor(self) -> None:
        """Let the allowed time begin here and now, forgetting what was not used so far."""
        self._anchor_us = self.now_us
        self._anchor_s = time.monotonic()

    def set_speed(self, speed: float | None) -> None:
        """Change the limit from here on."""
        self.speed = speed
        self.anchor()

    def ahead_s(self, until_us: int) -> float:
        """Real seconds to wait before the world may be at ``until_us``; 0 when it may at once."""
        if self.speed is None:
            return 0.0
        allowed_s = self._anchor_s + (until_us - self._anchor_us) / (US_PER_S * self.speed)
        ahead_s = allowed_s - time.monotonic()
        if ahead_s < -_MOST_LAG_S:  # a world that fell behind must not race to catch up
            self.anchor()
        return max(0.0, ahead_s)

    def wall_us(self) -> int:
        """The virtual time that this real moment stands for, never before ``now_us``."""
        if self.speed is None:
            return self.now_us
        passed_s = time.monotonic() - self._anchor_s
        return max(self.now_us, self._anchor_us + int(passed_s * self.speed * US_PER_S))
