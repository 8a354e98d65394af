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

Conformance: behaviour, and where it comes from. TRM = SLUUBY2B or the same
chapter of a sibling (SLUUBY1B, SLUUCG7, SLUUCF2C), DS = SLUSE13B, AN = SLUAA11B, E2E = TI's
support forum, HDR = third-party headers (not confirmed by TI), OWN = our reasoning
or recollection, confirmed by nothing.

===================================================================================  ============
CRC-8 both ways, first-byte rule, bad CRC drops the byte and is not acknowledged     DS, AN
CRC of a read without repeated start covers address(R) and data                      OWN
CRC mode and address change with SWAP_COMM_MODE, codes 0x11 and 0x12 mean CRC        E2E, HDR
Direct command map, little-endian, auto-increment                                    HDR, DS
0xFFA5 once after a word write to 0x00                                               TRM
Subcommand busy (0x3E reads 0xFFFF), echo, checksum over all data, length + 4        TRM, AN
Busy times                                                                           HDR
A write while busy stretches the clock                                               OWN
Checksum and length in one write, else ignored; only some subcommands take data      TRM, AN
Data memory reads as a 32-byte block, length 0x24                                    TRM
Data memory writes only in CONFIG_UPDATE (TI only recommends it), others counted     OWN
CONFIG_UPDATE: FETs off, measurement and protections stop; EXIT clears POR and WD    TRM
Battery Status, Safety, PF, Alarm bit positions; FET_CONTROL bits                    HDR
Manufacturing Status, FET Options, Balancing Configuration bits                      TRM
FET_EN toggles with 0x0022; Mfg Status Init counts at the next reset only            TRM, E2E
PDSG before DSG until LD is within the delta, or for the timeout (0: not by it)      TRM
... the delta at any time, not every 250 ms; PDSG_OFF keeps PDSG off, DSG waits      OWN
FET_INIT_OFF blocks the FETs at reset and at EXIT_CFGUPDATE                          OWN
CC Gain uV per count over mOhm, Capacity Gain = CC Gain x 2^32 / 14400               TRM, OWN
DASTATUS5: bytes 0-15; the rest                                                      TRM; HDR
DASTATUS6 I4 + U4 / 2^32, 0.5 userAh after RESET_PASSQ                               HDR, E2E
COV, CUV, OCC delay 3.3 ms x (2 + n); CUV, OCC off at n = 0                          TRM
The same for OCD1 and OCD2; COV off at n = 0; comparators see true values            OWN
OCC recovers at current <= threshold or PACK 2 V under the stack                     TRM; 2 V OWN
OCD recovers with a charge current for Recovery Time; OCDL, SCDL by the host         E2E
SCD after its time; SCDL counts trips; COVL counts trips                             TRM
Latches also recover by their own time: charge current, or cells below the limit     OWN
Temperatures trip at >= (or <=) the threshold, recover after Recovery Time           TRM
Host watchdog: status only, no alert; recovers with the next valid communication     TRM
Open sense wire: cell below lower, above higher, sum constant; 220 nF filter         DS; step OWN
Balancing command expires after the interval; no limit of cells in host mode         E2E, OWN
Unconfigured temperature pins read 0; an open thermistor reads -50 Celsius           E2E, OWN
Pin configuration 0x07 is a cell thermistor                                          HDR
... and b3:2 = 2 report only, 3 FET                                                  OWN
SLEEP after 5 s below Sleep Current; wakes by current, or PACK 2 V above the stack   OWN times
Device number 0x7695, firmware version, IROM signature, signature algorithm          OWN
Cell gain 0 = factory trim, else gain / 12120; CC offset samples 64                  OWN
Default values of the data memory                                                    TRM, HDR
SUV, SOV, CUDEP default thresholds (their addresses are not modelled)                HDR
... their delays; CUDEP does not hold the FETs off before it trips                   TRM; OWN
===================================================================================  ============

Not modelled: precharge, load detection, autonomous balancing, fuse, one-time
memory, SPI and HDQ, low-voltage shutdown, slower scans in SLEEP, the DASTATUS7 and READ_CAL1
subcommands, raw thermistor counts. An access to something that does not exist reads zeros, as on
the chip, but is counted in ``unknown_accesses`` and logged once.
"""

from .chip import Bq76952
from .faults import Faults, Nack, RejectedWrites

__all__ = ["Bq76952", "Faults", "Nack", "RejectedWrites"]
