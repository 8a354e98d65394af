"""A recorded cell in place of the modelled ones: the same chip, firmware and line, real voltages.

The recorded cell stands ``n`` times in series. Its current is recorded, so it flows whatever the
switches do; how long they would have forbidden it is counted in ``against_switches_s``.

    >>> recording = Recording.load("cell.csv")                       # doctest: +SKIP
    >>> pack = RecordedPack(PackSpec("R1", n_cells=4, rated_ah=1.1, recording=recording))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sim.pack import Pack, PackSpec
from sim.recording import Recording, RecordingError

if TYPE_CHECKING:
    from sim.parameters import Array

__all__ = ["RecordedPack", "Recording", "RecordingError"]

_LEAST_CELLS = 3  # the chip needs three
_REST_RATE = 0.005  # of the rated capacity an hour: less is rest


class RecordedPack(Pack):
    """``spec.n_cells`` copies of ``spec.recording`` in series."""

    def __init__(self, spec: PackSpec) -> None:
        if spec.recording is None:
            raise ValueError(f'pack "{spec.serial}": no recording to play')
        if spec.n_cells < _LEAST_CELLS:
            raise ValueError(
                f'pack "{spec.serial}": {spec.n_cells} cells; the chip needs {_LEAST_CELLS}'
            )
        super().__init__(spec)
        self.recording = spec.recording
        self.against_switches_s = 0.0
        self._charge_ah = self.recording.charge_ah()
        self._passed_ah = 0.0
        self._rest_a = _REST_RATE * spec.rated_ah
        self._show(0.0)

    def step(
        self,
        dt_s: float,
        charge_on: bool,
        discharge_on: bool,
        balance_mask: int = 0,
        precharge_on: bool = False,
        predischarge_on: bool = False,
    ) -> None:
        """Advance by ``dt_s``; the current is the mean that was recorded in that time."""
        self.time_s += dt_s
        passed_ah = self._at(self._charge_ah, self.time_s)
        self.current_a = (passed_ah - self._passed_ah) * 3600.0 / dt_s
        self._passed_ah = passed_ah
        self._show(dt_s, balance_mask)
        charging = self.current_a > self._rest_a
        discharging = self.current_a < -self._rest_a
        may_charge = charge_on or precharge_on
        may_discharge = discharge_on or predischarge_on
        if (charging and not may_charge) or (discharging and not may_discharge):
            self.against_switches_s += dt_s
        self.finished = self.time_s >= self.recording.duration_s
        self.activity = "charge" if charging else "discharge" if discharging else "rest"
        if self.finished:
            self.activity = "done"

    def _at(self, values: Array, time_s: float) -> float:
        return float(np.interp(time_s, self.recording.t_s, values))

    def _show(self, dt_s: float, balance_mask: int = 0) -> None:
        recording = self.recording
        ambient_c = self.spec.ambient_c
        if recording.temperature_c is not None:
            ambient_c = self._at(recording.temperature_c, self.time_s)
        self.cell_v = np.full(self.n_cells, self._at(recording.voltage_v, self.time_s))
        self.pack_v = float(self.cell_v.sum())
        self.temperatures_c = (ambient_c,) * len(self._sensors)
        self._warm_board(dt_s, ambient_c, balance_mask)

    def truth(self) -> dict[str, Any]:
        """What the record says; SOC and what it has no figure for are ``None``."""
        capacity_ah = self.recording.capacity_ah
        soh = None if capacity_ah is None else capacity_ah / self.spec.rated_ah
        n = self.n_cells
        return {
            "serial": self.spec.serial,
            "time_s": self.time_s,
            "soc": None,
            "soh": soh,
            "capacity_ah": capacity_ah,
            "cell_soc": [None] * n,
            "cell_soh": [soh] * n,
            "cell_capacity_ah": [capacity_ah] * n,
            "cell_v": self.cell_v.tolist(),
            "cell_ocv_v": [None] * n,
            "cell_resistance_ohm": [None] * n,
            "cell_temperature_c": [self.temperatures_c[0]] * n,
            "voltage_v": float(self.cell_v.sum()),
            "pack_v": self.pack_v,
            "current_a": self.current_a,
            "activity": self.activity,
            "finished": self.finished,
            "against_switches_s": self.against_switches_s,
        }
