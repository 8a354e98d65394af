"""A recorded charge as a board would have seen it: quantised, with the device's own errors.

A device's errors stay the same for its life: an offset of the voltage (uniform, 5 mV), a gain
(0.5 %) and an offset (a thousandth of C) of the current; voltage in steps of
1 mV, charge of 1 uAh.
"""

import numpy as np

from firmware.estimators.window import ChargeWindow
from firmware.snapshot import UNKNOWN_DC, Snapshot
from firmware.tools.datasets import Charge

OFFSET_MV = 5.0
GAIN = 0.005
OFFSET_PER_C = 0.001
BREAK_MS = 600000  # without current, between two charges


class Device:
    """One board's measuring errors."""

    def __init__(self, offset_mv: float = 0.0, gain: float = 1.0, offset_c: float = 0.0) -> None:
        self.offset_mv = offset_mv
        self.gain = gain
        self.offset_c = offset_c


def devices(count: int, seed: int) -> "list[Device]":
    """``count`` devices with errors of their own; the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [
        Device(
            float(rng.uniform(-OFFSET_MV, OFFSET_MV)),
            1.0 + float(rng.uniform(-GAIN, GAIN)),
            float(rng.uniform(-OFFSET_PER_C, OFFSET_PER_C)),
        )
        for _ in range(count)
    ]


def spread_devices(count: int) -> "list[Device]":
    """``count`` devices that cover the errors evenly, as few drawn at random would not."""
    part = (np.arange(count) + 0.5) / count * 2 - 1
    gains = part[np.argsort(np.arange(count) * 0.618 % 1)]  # in step with nothing
    return [
        Device(OFFSET_MV * float(v), 1 + GAIN * float(g), OFFSET_PER_C * float(o))
        for v, g, o in zip(part, gains, -gains[::-1], strict=True)
    ]


def measured(charge: Charge, nominal_ah: float, device: Device) -> "tuple[list[int], ...]":
    """``(mv, ma, uah, ms, dc)`` of every sample as the device reads them."""
    current_a = charge.current_a * device.gain + device.offset_c * nominal_ah
    step_s = np.diff(charge.t_s, prepend=charge.t_s[0])
    passed = np.rint(np.cumsum(current_a * step_s) / 3600 * 1e6).astype(np.int64)
    times = np.rint((charge.t_s - charge.t_s[0]) * 1000).astype(np.int64)
    dc = np.where(np.isfinite(charge.temp_c), charge.temp_c * 10, UNKNOWN_DC)
    return (
        np.rint(charge.voltage_v * 1000 + device.offset_mv).astype(np.int64).tolist(),
        np.rint(current_a * 1000).astype(np.int64).tolist(),
        np.diff(passed, prepend=0).tolist(),
        np.diff(times, prepend=-1000).tolist(),
        np.rint(dc).astype(np.int64).tolist(),
    )


def feed(window: ChargeWindow, samples: "tuple[list[int], ...]", snapshot: Snapshot) -> bool:
    """Run one charge, and the current's end after it, through ``window``."""
    ended = False
    cell_mv = snapshot.cell_mv
    update = window.update
    for mv, ma, uah, ms, dc in zip(*samples, strict=True):
        cell_mv[0] = mv
        snapshot.current_ma = ma
        snapshot.delta_uah = uah
        snapshot.dt_ms = ms
        snapshot.min_dc = snapshot.max_dc = dc
        if update(snapshot):
            ended = True
            break
    if not ended:
        snapshot.current_ma = snapshot.delta_uah = 0
        snapshot.dt_ms = 1000
        for _ in range(2):
            ended = update(snapshot) or ended
            snapshot.dt_ms = BREAK_MS + 1000
    return ended
