"""Commands, register groups and times of the LTC6813-1, and what its codes mean. Data only.

A register group is six bytes; words are little-endian. Sources: [D] LTC6813-1 data sheet, [4] that
of the LTC6804, whose words are the same there, [F] foxBMS 2 (``ltc_6813-1.c``, its configuration;
BSD-3), [L] Linduino's library for the LTC6813. Read of the elder chip only, not of the LTC6813's
own data sheet: what the watchdog clears and the second reference's range. Guessed: the longest
conversion times (a tenth is added to the typical ones), and that ADCVSC takes no longer than
ADCVAX, which converts more.
"""

from common.mp import const

CELLS = const(18)  # inputs of one chip
GROUP_BYTES = const(6)

# --- commands, 11 bits [D, F] -----------------------------------------------------------------
WRCFGA = const(0x0001)
RDCFGA = const(0x0002)
WRCFGB = const(0x0024)
RDCFGB = const(0x0026)
RDCV = (0x0004, 0x0006, 0x0008, 0x000A, 0x0009, 0x000B)  # A to F: three cells each
RDAUXA = const(0x000C)  # GPIO1 to 3
RDAUXB = const(0x000E)  # GPIO4, GPIO5, second reference
RDSTATA = const(0x0010)  # sum of cells, die temperature, analogue supply
# Conversions: all channels, 7 kHz ("normal", MD = 2), discharge not permitted (DCP = 0).
ADCVSC = const(0x0567)  # 0x467 | MD << 7: all cells, and the sum of cells in their midst
ADOW_UP = const(0x0368)  # 0x228 | MD << 7 | PUP: cells with 100 uA into their inputs
ADOW_DOWN = const(0x0328)  # ... and out of them
ADAX = const(0x0560)  # all GPIO and the second reference
ADSTAT = const(0x0568)  # 0x468 | MD << 7
CLRCELL = const(0x0711)  # set all codes to 0xFFFF
CLRAUX = const(0x0712)
CLRSTAT = const(0x0713)

# --- times ------------------------------------------------------------------------------------
READY_US = const(10)  # tREADY: isoSPI port from IDLE [D, F]
WAKE_US = const(400)  # tWAKE, longest: core from SLEEP [D]
ADCVSC_US = const(3450)  # 3.13 ms for ADCVAX [4], and a tenth
ADOW_US = const(2600)  # 2.34 ms [F]
ADAX_US = const(4300)  # 3.9 ms [F]
WATCHDOG_MS = const(1800)  # shortest [D]: then bytes 0 to 3 of group A are cleared [4]

# --- configuration group A [D, 4]; DCC1 to 12 from byte 4 on [L] ---------------------------------
GPIO_OFF_A = const(0xF8)  # byte 0: the pull-downs of GPIO5 to 1 off; reads as the pins' levels
REFON = const(0x04)  # the reference stays on: cleared by the watchdog and at power-up
DTEN = const(0x02)  # reads as the pin of that name
ADCOPT = const(0x01)  # other conversion times
# Byte 5, high half: the discharge timer, which reads as the time left. It ends balancing; with
# DTEN low there is none, and the watchdog ends it [4].
DCTO_SHIFT = const(4)
DCTO_HALF_MINUTE = const(1)
DCTO_S = const(30)
# --- configuration group B [D]; DCC13 to 16 above the GPIO, DCC17 and 18 in byte 1 [L] ---------
GPIO_OFF_B = const(0x0F)  # byte 0: GPIO9 to 6
CONTROL_B = const(0xFC)  # byte 1: MUTE, FDRF, PS, DTMEN, DCC0: all 0

# --- codes ------------------------------------------------------------------------------------
CLEARED = const(0xFFFF)  # nothing converted since power-up or a clear command
CODES_PER_MV = const(10)  # 100 uV each
SUM_MV = const(3)  # sum of cells: 30 x 100 uV [L]
REFERENCE_LOWEST = const(29000)  # 3.0 V; 2.985 to 3.015 is its normal range [4]
REFERENCE_HIGHEST = const(31000)


def die_dc(code: int) -> int:
    """The die's temperature in 0.1 degC: 7.6 mV/K, 0 at -276 degC [L]."""
    return code * 5 // 38 - 2760
