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


def rested_mv(profile: CellProfile, bp: int) -> float:
    """Rested voltage in mV at the SOC ``bp`` in basis points, within 0..10000."""
    soc = profile.soc_bp
    at = 0
    while at < len(soc) - 2 and bp >= soc[at + 1]:
        at += 1
    table = profile.ocv_mv
    part = (bp - soc[at]) / (soc[at + 1] - soc[at])
    return table[at] + part * (table[at + 1] - table[at])


def soc_sigma_bp(profile: CellProfile, mv: float, sigma_mv: float) -> float:
    """Half the farther of the SOC at ``mv +- 2 sigma_mv``, in basis points: one deviation."""
    middle = soc_bp(profile, mv)
    above = soc_bp(profile, mv + 2 * sigma_mv) - middle
    below = middle - soc_bp(profile, mv - 2 * sigma_mv)
    return max(above, below) / 2
