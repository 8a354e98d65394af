"""How long the buses are busy and the driver waits in one reading of a chain of LTC6813.

    .venv/bin/python tests/benchmarks/ltc6813_cycle.py [CELLS ...]

Counts the bytes of every transfer of the scripted chain: SPI at 1 MHz (the LTC6820's highest),
I2C at 400 kHz, and what the driver sleeps. What MicroPython needs for it comes on top. The last
line is the figure: the longest of the six turns.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "firmware")]

from scripted_ltc6813 import ScriptedChain  # noqa: E402

from firmware.afe.ltc6813 import Ltc6813  # noqa: E402
from firmware.settings import Settings  # noqa: E402
from firmware.snapshot import Snapshot  # noqa: E402

SPI_HZ = 1_000_000
I2C_HZ = 400_000


class Counting(ScriptedChain):
    """Adds up what its buses carry."""

    def __init__(self, n_chips: int) -> None:
        super().__init__(n_chips)
        self.spi_bits = 0
        self.i2c_bits = 0
        self.i2c = self

    def spi_transfer(self, out: bytearray, into: bytearray | None) -> None:
        self.spi_bits += 8 * len(out)
        super().spi_transfer(out, into)

    def readfrom_mem_into(self, address: int, register: int, buffer: bytearray) -> None:
        self.i2c_bits += 9 * (3 + len(buffer)) + 3
        self.ina.readfrom_mem_into(address, register, buffer)

    def writeto_mem(self, address: int, register: int, buffer: bytearray) -> None:
        self.i2c_bits += 9 * (2 + len(buffer)) + 2
        self.ina.writeto_mem(address, register, buffer)


def main(cells: tuple[int, ...]) -> None:
    chain = Counting(len(cells))
    afe = Ltc6813(chain, cells)
    afe.configure(Settings("P1", sum(cells), "nmc", 50000))
    snapshot = Snapshot(sum(cells))
    longest = 0.0
    for _ in range(6):
        chain.spi_bits = chain.i2c_bits = chain.now_us = 0
        afe.read(snapshot)
        spi_ms = 1000 * chain.spi_bits / SPI_HZ
        i2c_ms = 1000 * chain.i2c_bits / I2C_HZ
        slept_ms = chain.now_us / 1000
        print(f"SPI {spi_ms:.2f} ms, I2C {i2c_ms:.2f} ms, asleep {slept_ms:.2f} ms")
        longest = max(longest, spi_ms + i2c_ms + slept_ms)
    print(f"figure: {longest:.1f} ms")


if __name__ == "__main__":
    main(tuple(map(int, sys.argv[1:])) or (18, 18, 18, 18))
