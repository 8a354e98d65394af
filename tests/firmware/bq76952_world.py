"""A board whose I2C is the emulator of the chip, and the cells around it."""

from common.codes import Fault, Switch
from firmware.afe.bq76952 import Bq76952
from firmware.board import Board
from firmware.measurement import Measurement
from firmware.protection import Protection
from firmware.settings import Settings
from firmware.snapshot import Snapshot
from sim.bq76952 import Bq76952 as Emulator
from sim.bq76952 import Nack

BOTH = Switch.CHARGE | Switch.DISCHARGE


class World(Board):
    """A board whose I2C is the emulator, and the cells around it; time passes by ``run`` alone
    and by what the bus takes."""

    def __init__(
        self, n_cells: int = 16, rated_mah: int = 5000, crc: bool = True, part_crc: bool = True
    ) -> None:
        self.chip = Emulator(
            n_cells,
            shunt_uohm=500,
            seed=1,
            crc=part_crc,
            noise_mv=0.0,
            cell_offset_mv=[0.0] * n_cells,
            current_offset_ma=0.0,
            current_gain=1.0,
            strict=part_crc,  # one that has forgotten CRC is spoken to wrongly for a while
        )
        self.i2c = self
        self.settings = Settings("P1", n_cells, "nmc", rated_mah)
        self.afe = Bq76952(self, n_cells, crc)
        self.snapshot = Snapshot(n_cells)
        self.cell_v = [3.6 + 0.01 * i for i in range(n_cells)]
        self.current_a = 0.0
        self.temperatures_c = [25.0, 20.0, 15.0]
        self.die_c, self.fet_c = 35.0, 40.0
        self.transactions = 0
        self.recoveries = 0
        self.run(1.0)

    # the board

    def ticks_ms(self) -> int:
        return int(self.chip.now_us / 1000)

    def ticks_add(self, ticks: int, delta: int) -> int:
        return ticks + delta

    def ticks_diff(self, later: int, earlier: int) -> int:
        return later - earlier

    def wait(self, until_ms: int) -> None:
        self.run(max(0.0, until_ms / 1000 - self.chip.now_us / 1e6))

    def recover_i2c(self) -> None:
        self.recoveries += 1
        self.chip.clock_bus()

    # its I2C

    def readfrom_mem_into(self, address: int, register: int, buffer: memoryview) -> None:
        self.transactions += 1
        try:
            buffer[:] = self.chip.i2c(address, bytes([register]), len(buffer))
        except Nack as nack:
            raise OSError(5) from nack

    def writeto_mem(self, address: int, register: int, buffer: memoryview) -> None:
        self.transactions += 1
        try:
            self.chip.i2c(address, bytes([register]) + bytes(buffer), 0)
        except Nack as nack:
            raise OSError(5) from nack

    # the world

    def run(self, seconds: float, step_s: float = 0.1) -> None:
        while seconds > 1e-9:
            dt = min(seconds, step_s)
            seconds -= dt
            flows = (
                self.chip.charge_fet if self.current_a > 0 else self.chip.discharge_fet
            ) and not self.chip.faults.dead
            self.chip.step(
                dt,
                self.cell_v,
                self.current_a if flows else 0.0,
                self.temperatures_c,
                self.die_c,
                self.fet_c,
            )

    def configured(self, closed: bool = False) -> "World":
        self.afe.configure(self.settings)
        if closed:
            self.afe.set_switches(BOTH)
        self.run(0.3)
        return self

    def cycles(self, seconds: float, period_s: float = 1.0) -> int:
        """Run with a reading every period; returns the charge that was counted."""
        total = 0
        while seconds > 1e-9:
            self.run(period_s)
            seconds -= period_s
            total += self.read().delta_uah
        return total

    def read(self) -> Snapshot:
        self.afe.read(self.snapshot)
        return self.snapshot


class Guarded(World):
    """The same under the firmware's measurement and protection, in cycles as the application
    makes them."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.measurement = Measurement(self.afe, self.settings, self)
        self.protection = Protection(self.settings)

    def cycle(self) -> None:
        self.run(1.0, step_s=0.25)
        self.measurement.cycle(self.snapshot)
        self.protection.update(self.snapshot)
        allowed = self.protection.allowed
        mismatch = self.snapshot.faults & (1 << Fault.SWITCH_MISMATCH)
        if allowed != self.measurement.commanded or mismatch:
            self.measurement.set_switches(allowed)

    def closed(self) -> "Guarded":
        for _ in range(8):
            self.cycle()
        assert self.chip.charge_fet
        assert self.chip.discharge_fet
        return self
