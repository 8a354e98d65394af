"""A Texas Instruments BQ76952 at register level: what a driver sees over I2C.

Written from the maker's words and register lists, never from our driver. Five lines of use::

    chip = Bq76952(14, shunt_uohm=500, seed=1)
    chip.step(1.0, [3.7] * 14, -2.0, [25.0], 30.0, 30.0)          # the world goes on for 1 s
    frame = chip.i2c(0x08, bytes((0x14,)), 4)                     # cell 1: two bytes, two CRCs
    cell_1_mv = frame[0] | frame[2] << 8
    may_charge = chip.charge_fet

Wiring of fewer than 16 cells: physical cell i (from 0) sits on input i for i < n - 1, the top
cell on input 15 (VC16 must be the top of the stack); the inputs between are shorted and read
0 mV. VCell Mode (0x9304) must name those inputs (14 cells: 0x9FFF), or the shorted trip CUV.

Time. ``step`` and every transaction advance the chip's clock (22.5 us a byte at 400 kHz); busy
times run on it. Protections, charge, balancing and the host watchdog run on ``step`` alone.

Each behaviour and where it comes from: docs/simulator.md.

Not modelled: precharge, load detection, autonomous balancing, fuse, one-time
memory, SPI and HDQ, low-voltage shutdown, slower scans in SLEEP, the coulomb counter's deadband,
the DASTATUS7 and READ_CAL1 subcommands, raw thermistor counts. An access to what is not modelled
raises ``UnknownAccess``, unless the chip was made with ``strict=False``: then it reads zeros, as
on the chip, and is counted in ``unknown_accesses``.
"""

from .chip import Bq76952
from .faults import Faults, Nack, RejectedWrites, UnknownAccess

__all__ = ["Bq76952", "Faults", "Nack", "RejectedWrites", "UnknownAccess"]
