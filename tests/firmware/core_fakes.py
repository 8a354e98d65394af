"""A chip and a snapshot that do as they are told, for tests of the firmware's core."""

from common.codes import Switch
from firmware.afe import Afe, AfeError, AfeSettingsError
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot

BOTH = Switch.CHARGE | Switch.DISCHARGE


def nmc(n_cells: int = 4, rated_mah: int = 10000, **changes: int) -> Settings:
    settings = Settings("TEST", n_cells, "nmc", rated_mah)
    for name, value in changes.items():
        setattr(settings, name, value)
    settings.check()
    return settings


def healthy(n_cells: int = 4, cell_mv: int = 3700) -> Snapshot:
    """A complete measurement of a pack with which nothing is wrong."""
    snapshot = Snapshot(n_cells)
    snapshot.valid = True
    snapshot.seq = 1
    snapshot.dt_ms = snapshot.since_ms = 1000
    set_cells(snapshot, [cell_mv] * n_cells)
    set_temperatures(snapshot, 250)
    snapshot.fet_dc = 300
    snapshot.afe_dc = 300
    return snapshot


def set_cells(snapshot: Snapshot, cells: list[int]) -> None:
    for i, mv in enumerate(cells):
        snapshot.cell_mv[i] = mv
    snapshot.sum_mv = snapshot.stack_mv = sum(cells)
    snapshot.min_mv, snapshot.max_mv = min(cells), max(cells)
    snapshot.min_cell, snapshot.max_cell = (
        cells.index(snapshot.min_mv),
        cells.index(snapshot.max_mv),
    )


def set_temperatures(snapshot: Snapshot, *temperatures_dc: int) -> None:
    for i in range(len(snapshot.temp_dc)):
        snapshot.temp_dc[i] = temperatures_dc[i] if i < len(temperatures_dc) else UNKNOWN_DC
    known = [dc for dc in temperatures_dc if dc != UNKNOWN_DC]
    snapshot.min_dc = min(known, default=UNKNOWN_DC)
    snapshot.max_dc = max(known, default=UNKNOWN_DC)


class FakeAfe(Afe):
    """Gives what ``next`` holds; ``broken`` makes every access fail."""

    name = "fake"

    def __init__(self, n_cells: int = 4) -> None:
        self.next = healthy(n_cells)
        self.broken = False
        self.refuses = ""  # what it says to its settings
        self.follows = True  # the switches do as commanded
        self.configured = 0
        self.commands: list[int] = []

    def configure(self, settings: object) -> None:
        self._answer()
        if self.refuses:
            raise AfeSettingsError(self.refuses)
        self.configured += 1
        self.next.afe_lost_settings = False
        self.next.switches = 0

    def read(self, snapshot: Snapshot) -> None:
        self.look(snapshot)
        for name in ("delta_uah", "balancing"):
            setattr(snapshot, name, getattr(self.next, name))

    def look(self, snapshot: Snapshot) -> None:
        self._answer()
        given = self.next
        for i in range(given.n_cells):
            snapshot.cell_mv[i] = given.cell_mv[i]
        for i in range(len(given.temp_dc)):
            snapshot.temp_dc[i] = given.temp_dc[i]
        for name in (
            "stack_mv",
            "load_mv",
            "current_ma",
            "fet_dc",
            "afe_dc",
            "switches",
            "afe_safety",
            "afe_failed",
            "afe_lost_settings",
        ):
            setattr(snapshot, name, getattr(given, name))

    def set_switches(self, allowed: int) -> None:
        self.commands.append(allowed)
        self._answer()
        if self.follows:
            self.next.switches = allowed

    def set_balancing(self, cells: int) -> None:
        self._answer()
        self.next.balancing = cells

    def _answer(self) -> None:
        if self.broken:
            raise AfeError("no answer")


class Uart:
    """A line to a host; what the board sends is kept in ``sent``."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.sent = bytearray()

    def any(self) -> int:
        return len(self.waiting)

    def readinto(self, buffer: bytearray) -> int | None:
        n = min(len(buffer), len(self.waiting))
        buffer[:n] = self.waiting[:n]
        del self.waiting[:n]
        return n or None

    def write(self, buffer: bytes) -> int:
        self.sent += buffer
        return len(buffer)
