"""SLEEP: entered by itself when no current flows, which by default also opens the CHG FET."""

from .memory import DataMemory

AFTER_S = 5.0
CHARGER_WAKES_V = 2.0


class Sleep:
    """``asleep`` and whether it is allowed at all."""

    def __init__(self) -> None:
        self.asleep = self.enabled = False
        self._idle_s = 0.0

    def configure(self, memory: DataMemory) -> None:
        """Take over Power Config's SLEEP bit and the two currents."""
        self.enabled = bool(memory.integer("power_config") & 0x0100)
        self._sleep_ma = memory.integer("sleep_current_ma")
        self._wake_ma = memory.integer("wake_current_ma")
        self.wake()

    def wake(self) -> None:
        """NORMAL mode again."""
        self.asleep = False
        self._idle_s = 0.0

    def allow(self, *, allowed: bool) -> None:
        """SLEEP_ENABLE, SLEEP_DISABLE."""
        self.enabled = allowed
        if not allowed:
            self.wake()

    def step(self, dt_s: float, current_ma: float, pack_above_v: float, busy: bool) -> None:
        """Fall asleep or wake; ``busy``: cells are being balanced."""
        charger = pack_above_v > CHARGER_WAKES_V
        if not self.enabled or busy or charger:
            self.wake()
        elif self.asleep:
            if abs(current_ma) > self._wake_ma:
                self.wake()
        elif abs(current_ma) < self._sleep_ma:
            self._idle_s += dt_s
            self.asleep = self._idle_s >= AFTER_S
        else:
            self._idle_s = 0.0
