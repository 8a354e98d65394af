"""NTC thermistors below a pull-up resistor, in integers.

The voltage's share of the reference is R / (R + pull-up), R = R25 exp(B (1/T - 1/298.15 K)). It is
tabulated every 5 K from -45 to 130 degC and interpolated; what lies beyond is a broken or shorted
wire, or no sensor.

    >>> ntc = Thermistor(10000, 3435, 10000)
    >>> ntc.temperature_dc(15000, 30000)
    250
"""

from array import array
from math import exp

from common.mp import const
from firmware.snapshot import UNKNOWN_DC

_LOWEST_C = const(-45)
_STEP_C = const(5)
_ENTRIES = const(36)
_ONE = const(16384)  # a share of 1


class Thermistor:
    """One kind of thermistor, with its pull-up; ``beta_k`` is B25/85."""

    def __init__(self, ohm_25: int, beta_k: int, pull_up_ohm: int) -> None:
        self._shares = array("H", bytes(2 * _ENTRIES))  # falling: hot is low
        for i in range(_ENTRIES):
            kelvin = _LOWEST_C + _STEP_C * i + 273.15
            ohm = ohm_25 * exp(beta_k * (1 / kelvin - 1 / 298.15))
            self._shares[i] = int(_ONE * ohm / (ohm + pull_up_ohm) + 0.5)

    def temperature_dc(self, code: int, reference: int) -> int:
        """0.1 degC from the codes of the thermistor and of its reference (below 65536 both)."""
        share = code * _ONE // reference
        shares = self._shares
        low = 0
        high = _ENTRIES - 1
        if share > shares[low] or share < shares[high]:
            return UNKNOWN_DC
        while high - low > 1:
            middle = (low + high) // 2
            if shares[middle] >= share:
                low = middle
            else:
                high = middle
        span = shares[low] - shares[high]
        part = (10 * _STEP_C * (shares[low] - share) + span // 2) // span
        return 10 * (_LOWEST_C + _STEP_C * low) + part
