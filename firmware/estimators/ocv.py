"""Rested voltage and state of charge of a cell, by the profile's table, with the error of it.

The table is linear between its points. An error ``sigma_mv`` of the voltage becomes an error of
the SOC by looking the voltage up two deviations off on either side: near and on a plateau that
gives the plateau's width, where a division by the slope at one point would give anything.

Ageing bends the curve. What electrodes lose together leaves it as it is; lithium lost alone
slides them against each other, and the table moves by ``slip * ocv_aged_mv`` with

    slip = share * (1 / SOH - 1)

``share`` of the loss being lithium alone (C. Birkl et al., J. Power Sources 341 (2017) 373, for
the two kinds of loss). Nobody tells it from outside: 0.25 +- 0.15 takes in cells in which none of
it is, and cells in which half of it is. The error of ``slip`` is looked up like that of
the voltage.

    >>> soc_bp(profile("nmc"), 3708)
    5000.0
"""

import math

from common.mp import const
from common.profiles import CellProfile

_SHARE = const(0.25)
_SHARE_SIGMA = const(0.15)
_NEARBY = const(3)  # steps in which most of what lies beside a voltage is found
_SLIP_MAX = const(0.2)  # beyond it nothing is known, and the table would bend back on itself

_place = bytearray(1)  # in the table: where the last search ended


def slip_of(soh: float, sigma: float) -> "tuple[float, float]":
    """``(slip, deviation)`` of a cell of state of health ``soh`` +- ``sigma`` (fractions)."""
    lost = max(1 / soh - 1, 0.0)
    doubt = sigma / (soh * soh)
    spread = math.sqrt((_SHARE_SIGMA * lost) ** 2 + (_SHARE * doubt) ** 2)
    return min(_SHARE * lost, _SLIP_MAX), spread


def soc_bp(profile: CellProfile, mv: float, slip: float = 0.0) -> float:
    """SOC in basis points at the rested voltage ``mv``; 0 and 10000 beyond the table."""
    return _soc_bp(profile, mv, _permille(profile, slip), 0)


def soc_sigma_bp(
    profile: CellProfile,
    mv: float,
    sigma_mv: float,
    slip: float = 0.0,
    slip_sigma: float = 0.0,
) -> float:
    """Deviation of ``soc_bp`` in basis points."""
    return look_up(profile, mv, sigma_mv, slip, slip_sigma)[1]


def look_up(
    profile: CellProfile,
    mv: float,
    sigma_mv: float,
    slip: float = 0.0,
    slip_sigma: float = 0.0,
) -> "tuple[float, float]":
    """``soc_bp`` and its deviation in basis points.

    Half of what two deviations make of it: of the voltage to the farther side, for next to a knee
    the truth lies on the plateau, and its width bounds the error; of the slip, which bends the
    curve gently, the root mean square of both sides.
    """
    permille = _permille(profile, slip)
    middle = _soc_bp(profile, mv, permille, 0)
    above = _soc_bp(profile, mv + 2 * sigma_mv, permille, _NEARBY) - middle
    below = middle - _soc_bp(profile, mv - 2 * sigma_mv, permille, _NEARBY)
    wide = max(above, below) / 2
    if not slip_sigma or not profile.ocv_aged_mv:
        return middle, wide
    permille = _permille(profile, min(slip + 2 * slip_sigma, _SLIP_MAX))
    more = _soc_bp(profile, mv, permille, 0) - middle
    permille = _permille(profile, max(slip - 2 * slip_sigma, 0.0))
    less = _soc_bp(profile, mv, permille, 0) - middle
    return middle, math.sqrt(wide * wide + (more * more + less * less) / 8)


def _permille(profile: CellProfile, slip: float) -> int:
    """A slip in whole numbers: the search makes no floats."""
    return int(slip * 1000 + 0.5) if slip and profile.ocv_aged_mv else 0


def _soc_bp(profile: CellProfile, mv: float, permille: int, nearby: int) -> float:
    """``soc_bp``; the first ``nearby`` steps of the search go on from where the last one ended."""
    table = profile.ocv_mv
    aged = profile.ocv_aged_mv
    last = len(table) - 1
    uv = int(mv * 1000)
    low_uv = table[0] * 1000
    high_uv = table[last] * 1000
    if uv <= low_uv:
        return 0.0
    if uv >= high_uv:
        return 10000.0
    low = 0
    high = last
    middle = _place[0] if nearby else last >> 1
    while high - low > 1:
        at_uv = table[middle] * 1000
        if permille:
            at_uv += permille * aged[middle]
        if at_uv <= uv:
            low = middle
            low_uv = at_uv
            middle += 1
        else:
            high = middle
            high_uv = at_uv
            middle -= 1
        if nearby:
            nearby -= 1
        else:
            middle = (low + high) >> 1
    _place[0] = low
    soc = profile.soc_bp
    part = (uv - low_uv) / max(high_uv - low_uv, 1000)
    return soc[low] + min(part, 1.0) * (soc[high] - soc[low])


def rested_mv(profile: CellProfile, soc_bp: float) -> float:
    """Rested voltage in mV at a SOC in basis points; the ends' beyond them."""
    soc = profile.soc_bp
    table = profile.ocv_mv
    last = len(soc) - 1
    if soc_bp <= soc[0]:
        return float(table[0])
    at = 1
    while at < last and soc[at] < soc_bp:
        at += 1
    part = min(1.0, (soc_bp - soc[at - 1]) / (soc[at] - soc[at - 1]))
    return table[at - 1] + part * (table[at] - table[at - 1])


def mean_mv(profile: CellProfile, low_bp: float, high_bp: float) -> float:
    """Mean rested voltage in mV between two SOC, ``low_bp < high_bp``."""
    soc = profile.soc_bp
    area = 0.0
    back_bp = low_bp
    back_mv = rested_mv(profile, low_bp)
    for k in range(len(soc)):
        if low_bp < soc[k] < high_bp:
            area += (soc[k] - back_bp) * (back_mv + profile.ocv_mv[k])
            back_bp = soc[k]
            back_mv = profile.ocv_mv[k]
    area += (high_bp - back_bp) * (back_mv + rested_mv(profile, high_bp))
    return area / 2 / (high_bp - low_bp)
