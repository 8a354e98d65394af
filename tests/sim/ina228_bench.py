"""An emulated INA228 without errors, and a host that reads and writes it."""

from sim import ina228 as ina
from sim.ina228 import Ina228

CYCLE_S = 3 * 1052e-6


class Bench:
    def __init__(self, **options):
        exact = {"offset_v": 0.0, "gain": 1.0, "clock_gain": 1.0, "shunt_uohm": 500, "seed": 1}
        self.chip = Ina228(**{**exact, **options})
        if "offset_v" not in options:
            self.chip._rng.gauss = lambda _mean, _sd: 0.0
            self.chip._bus_offset_v = self.chip._die_error_c = 0.0
            self.chip._bus_gain = 1.0
        self.current_a, self.bus_v, self.die_c = 0.0, 50.0, 25.0

    def step(self, dt_s: float = 0.01) -> None:
        self.chip.step(dt_s, self.current_a, self.bus_v, self.die_c)

    def set(self, register: int, value: int) -> None:
        self.chip.i2c(0x40, bytes((register,)) + value.to_bytes(2), 0)

    def get(self, register: int, width: int = 2, *, signed: bool = False) -> int:
        return int.from_bytes(self.chip.i2c(0x40, bytes((register,)), width), signed=signed)

    def code(self, register: int) -> int:
        return self.get(register, 3, signed=True) >> 4

    def charge(self) -> int:
        return self.get(ina.CHARGE, 5, signed=True)
