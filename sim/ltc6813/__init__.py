"""A daisy chain of Analog Devices LTC6813-1 at register level: what a driver sees over SPI.

Written from the maker's words, never from our driver. Six lines of use::

    front = FrontEnd(16, shunt_uohm=500, seed=1)
    front.step(1.0, [3.7] * 16, -2.0, [25.0] * 3, 30.0, 30.0)     # the world goes on for 1 s
    front.spi(bytes((0xFF,))), front.wait(400)                    # wake the chip
    front.spi(framed(bytes((0x03, 0x60)))), front.wait(7000)      # ADCV, all cells, 7 kHz
    front.spi(bytes((0xFF,))), front.wait(10)                     # its port is idle again
    group = front.spi(framed(bytes((0x00, 0x04))) + bytes(8))[4:] # cells 1 to 3, PEC

Wiring. Cell i of a chip is between C(i) and C(i - 1); C pins above the top cell are wired to it
and their inputs read 0. Each cell has 33 ohm in series with its discharge switch. DTEN is high.

Time. ``step``, ``wait`` and every transfer advance the chips' clock (8 us a byte). Times that a
driver must keep are at the end of their range that is hard for it: 400 us and 10 us to wake,
4.3 ms to idle, 4.4 ms for the reference, conversions 6 % over typical. The watchdog is at 2 s.

Conformance: behaviour, and where it comes from. FACT = our list of facts (taken from open
drivers), 6804, 6811, 6812 = datasheets of the siblings, read (680412fc, 6811 rev. C page 55, 6812
rev. A page 31), TIM = timing limits quoted in open LTC6813 drivers, LNK = the seam agreed for the
desk, REC = recollection of the LTC6813-1's datasheet, not read again, OWN = our reasoning,
confirmed by nothing.

===================================================================================  ============
PEC15, its place and order; a wrong one drops command or frame                       FACT, 6811
Order of frames: written topmost chip first, read bottom chip first                  6811
Codes of configuration, cells A to F, auxiliary A to D, COMM, MUTE; ADCV, ADOW, ADAX FACT
Codes of status, PWM, S control, clears, PLADC, DIAGN, self tests, ADCVAX            6804, REC
Codes of ADOL, ADCVSC, AXOW, ADAXD, ADSTATD                                          REC
Cells 100 uV, little-endian, 0xFFFF before the first conversion and when cleared     FACT, 6804
VUV, VOV, flags; DCTO's times and what it reads back; ADCOPT, REFON, DTEN            FACT, 6804
CFGB: DCC13 to 18, GPIO6 to 9, MUTE; FDRF, PS and DTMEN are refused                  REC
Flags of cells 13 to 18 in AUXD; its reserved bits read 1                            6812, REC
CLRSTAT sets flags, MUXFAIL, THSD; a read of STATB clears THSD                       6804, 6812
SC a thirtieth of the stack; die 7.6 mV/K from -276 degC                             REC
Conversion times of six rates; of 422 Hz and 1 kHz, of ten channels; of ADOL, ADCVSC 6804;REC;OWN
6 % over them (2480 over 2335 us)                                                    REC
t_WAKE, t_READY, t_IDLE, t_REFUP, t_SLEEP                                            TIM
One wake-up goes up the chain by itself, chip after chip; the transfer is lost       LNK, REC
A valid command restarts the watchdog (6804: a wake-up signal does)                  REC
Watchdog: CFGA 0 to 3 always, the rest without the discharge timer; then asleep      6804
Sleep forgets every register                                                         OWN
PWM only after the watchdog has run out; its period 30 s                             REC
DCTO starts with every write of CFGA; its end clears all DCC                         6804, REC
DCP = 0 opens every discharge switch while converting                                6804, OWN
... but the charge that this saves the cells is left out                             OWN
Self-test results                                                                    6804
Polling: low while busy, the first bit of each chip not valid                        REC
DIAGN 400 us; MUXFAIL set until it passed                                            REC
A conversion that is started during another replaces it                              OWN
Open wire: 100 uA into both pins of a cell while it is measured                      6804, 6812
... and calibrated, so that two passes suffice with 10 nF, ten with 100 nF           REC, OWN
... 10 nF, clamped 0.6 V beyond the neighbours, the middle after 50 ms               OWN
AXOW moves a GPIO by 100 uA                                                          REC
Total error within 2.2 mV at 3.3 V, VREF2 within 10 mV                               DS front; REC
Noise from the noise-free bits of each rate; spread of errors                        REC, OWN
Discharge switch 4 ohm, sense wire 1 ohm; reading of bled cells and neighbours       REC, OWN
Thermal shutdown at 150 degC resets the configuration                                6804
A GPIO reads low without its reference or below 2.0 V                                OWN
Revision code 0                                                                      OWN
===================================================================================  ============

Not modelled: STCOMM, pulses by STSCTRL, the discharge timer's monitor, forced redundancy failure
and path selection (a driver that asks for them gets ``NotModelledError``), the address format of
the -2, reversed chains, shifted thresholds of a chip without supply. A command that does not
exist raises ``UnknownCommandError``; the chip would ignore it.
"""

from .chain import Chain
from .commands import NotModelledError, UnknownCommandError
from .faults import Faults, Ignored
from .front_end import FrontEnd, cells_of_chips
from .inputs import BLEED_OHM
from .pec import framed, pec15

__all__ = [
    "BLEED_OHM",
    "Chain",
    "Faults",
    "FrontEnd",
    "Ignored",
    "NotModelledError",
    "UnknownCommandError",
    "cells_of_chips",
    "framed",
    "pec15",
]
