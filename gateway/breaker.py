"""When to leave a failing pack alone, so that it costs its bus almost nothing.

Closed: all is well. After ``FAILURES_TO_OPEN`` failures in a row it opens: the pack counts as
offline and is tried again after a pause that doubles up to a cap. One success closes it.

The clock is the caller's: any seconds that only grow.
"""

from __future__ import annotations

FAILURES_TO_OPEN = 3
PAUSE_FIRST_S = 2.0
PAUSE_CAP_S = 60.0


class Breaker:
    """Counts failures in a row and says when the next try is due."""

    def __init__(
        self,
        failures_to_open: int = FAILURES_TO_OPEN,
        pause_first_s: float = PAUSE_FIRST_S,
        pause_cap_s: float = PAUSE_CAP_S,
    ) -> None:
        self._failures_to_open = failures_to_open
        self._pause_first_s = pause_first_s
        self._pause_cap_s = pause_cap_s
        self.failures = 0

    @property
    def is_open(self) -> bool:
        """Whether the pack counts as gone."""
        return self.failures >= self._failures_to_open

    def succeeded(self) -> None:
        """The pack answered."""
        self.failures = 0

    def failed(self) -> None:
        """The pack did not answer, or not what it must."""
        self.failures += 1

    def pause_s(self) -> float:
        """How long to leave it alone beyond its ordinary turn; 0 while closed."""
        if not self.is_open:
            return 0.0
        doublings = min(self.failures - self._failures_to_open, 16)
        return float(min(self._pause_first_s * 2**doublings, self._pause_cap_s))
