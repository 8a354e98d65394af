"""Runs on every interpreter: what the estimators make of a stream of snapshots (``cycling.py``).

    estimators_stream.py FILE PROFILE RATED_MAH

Prints a line where the stream asks for one: ``soc`` with SOC and its deviation, in basis points,
``health`` with SOH and its ends in basis points and resistance in micro-ohms of every cell, and at
the end ``charge`` with the counter. ``-`` stands for what is not known.
"""

import struct
import sys

from firmware.estimators.estimators import Estimators
from firmware.settings import Settings
from firmware.snapshot import Snapshot

N_CELLS = 4
LAYOUT = "<HiihhBBHHHH"  # ms, mA, uAh, coldest and hottest 0.1 degC, switches, what to print, mV
SIZE = struct.calcsize(LAYOUT)
SOC = 1
HEALTH = 2


def text(values):
    return "-" if values is None else " ".join([f"{value:.9g}" for value in values])


def tell(e, what):
    if what & SOC:
        level = e.soc.predict() if e.soc.known else None
        print("soc", text(None if level is None else (level[0], level[1] ** 0.5)))
    if what & HEALTH:
        for i in range(N_CELLS):
            print("soh", text(e.soh.interval(i, e.now_s) if e.soh.known(i) else None))
            print("ohm", text(e.resistance.interval(i)))


def feed(e, s, buffer, end):
    cell_mv = s.cell_mv
    for at in range(0, end, SIZE):
        values = struct.unpack_from(LAYOUT, buffer, at)
        s.dt_ms, s.current_ma, s.delta_uah, s.min_dc, s.max_dc, s.switches, what = values[:7]
        total = 0
        low = high = values[7]
        for i in range(N_CELLS):
            mv = values[7 + i]
            cell_mv[i] = mv
            total += mv
            low = min(low, mv)
            high = max(high, mv)
        s.sum_mv = total
        s.min_mv = low
        s.max_mv = high
        e.update(s)
        if what:
            tell(e, what)


class Taken:
    uah = 0  # that was taken out of the charge as the sensor's offset


def watched(offset):
    taken = Taken()
    ask = offset.uah

    def uah(dt_ms):
        found = ask(dt_ms)
        taken.uah += found
        return found

    offset.uah = uah
    return taken


def main(path, profile, rated_mah):
    e = Estimators(Settings("STREAM", N_CELLS, profile, rated_mah))
    offset = watched(e.offset)
    s = Snapshot(N_CELLS)
    s.valid = True
    buffer = bytearray(256 * SIZE)
    with open(path, "rb") as stream:  # noqa: PTH123
        while True:
            end = stream.readinto(buffer)
            if not end:
                break
            feed(e, s, buffer, end)
    print("charge", e.charge.mah, e.charge.uah, offset.uah)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
