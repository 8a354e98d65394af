"""Rested voltage and state of charge of a cell, by the profile's table, with the error of it.

The table is linear between its points. An error ``sigma_mv`` of the voltage becomes an error of
the SOC by looking the voltage up two deviations off on either side: near and on a plateau that
gives the plateau's width, where a division by the slope at one point would give anything.

    >>> soc_bp(profile("nmc"), 3708)
    5000.0
"""

from common.profiles import CellProfile


def soc_bp(profile: CellProfile, mv: float) -> float:
    """SOC in basis points at the rested voltage ``mv``; 0 and 10000 beyond the table."""
    table = profile.ocv_mv
    last = len(table) - 1
    if mv <= table[0]:
        return 0.0
    if mv >= table[last]:
        return 10000.0
    low = 0
    high = last
    while high - low > 1:
        middle = (low + high) >> 1
        if table[middle] <= mv:
            low = middle
        else:
            high = middle
    soc = profile.soc_bp
    part = (mv - table[low]) / (table[high] - table[low])
    return soc[low] + part * (soc[high] - soc[low])


def soc_sigma_bp(profile: CellProfile, mv: float, sigma_mv: float) -> float:
    """Half the farther of the SOC at ``mv +- 2 sigma_mv``, in basis points: one deviation."""
    middle = soc_bp(profile, mv)
    above = soc_bp(profile, mv + 2 * sigma_mv) - middle
    below = middle - soc_bp(profile, mv - 2 * sigma_mv)
    return max(above, below) / 2


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
