"""The packs of the demo: four retired ones, or recorded cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim import parameters
from sim.bench import intake_program
from sim.pack import PackSpec
from sim.recording import Recording, RecordingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WEAK_CELL = 5  # counted from 1
UNPLUGGED = {"EC-0002": (1500.0, 600.0)}  # in its charge: virtual time it is pulled out, how long
_RECORD_EVERY_S = 60
_DETAIL_EVERY_S = 60  # at 200 times real time two requests are some 10 s apart
_REPLAY_CELLS = 4
_SMALL_CELL_AH = 10.0
_SMALL_SHUNT_UOHM = 10_000  # a cell of some Ah, measured over 0.5 milliohm, would drown in noise


def retired_packs() -> dict[str, list[tuple[str, PackSpec]]]:
    """Packs by bus: ``{bus: [(title, spec), ...]}``. The first two share one line."""
    weak = [0.88] * 14
    weak[WEAK_CELL - 1] = 0.64
    healthy = PackSpec("EC-0001", "nmc", 14, 50.0, soc=0.45, soh=0.94, soc_spread=0.002)
    aged = PackSpec("EC-0002", "nmc", 12, 60.0, soc=0.40, soh=0.76, address=2)
    weak_cell = PackSpec("EC-0003", "nmc", 14, 50.0, soc=0.40, soh=weak, afe="ltc6813")
    lfp = PackSpec("EC-0004", "lfp", 16, 100.0, soc=0.35, soh=0.88)
    lfp.soc_spread = 0.001  # a charger that sees only the terminals overcharges one less even
    lfp.soh_spread = 0.002
    for spec in (healthy, aged, weak_cell, lfp):
        _prepare(spec)
        spec.program = intake_program(spec.rated_ah, spec.n_cells, parameters.kind(spec.kind))
    return {
        "bay-1": [("1 healthy", healthy), ("2 aged", aged)],
        "bay-2": [("3 weak cell", weak_cell)],
        "bay-3": [("4 LFP", lfp)],
    }


def _prepare(spec: PackSpec) -> None:
    spec.record_every = _RECORD_EVERY_S
    spec.settings = {"detail_every": _DETAIL_EVERY_S}


def recorded_packs(
    file: Path, cycles: Sequence[int | None], profile: str, rated_ah: float | None
) -> dict[str, list[tuple[str, PackSpec]]]:
    """The chosen cycles of a recorded cell, each as a pack of copies; ``RecordingError``."""
    packs = []
    for address, cycle in enumerate(cycles, 1):
        recording = Recording.load(file, cycle)
        capacity_ah = rated_ah or recording.nominal_ah
        if capacity_ah is None:
            raise RecordingError(f"{file}: does not say its rated capacity (give --capacity AH)")
        spec = PackSpec(
            serial=f"REPLAY-{address}",
            n_cells=_REPLAY_CELLS,
            rated_ah=capacity_ah,
            profile=profile,
            address=address,
            shunt_uohm=_SMALL_SHUNT_UOHM if capacity_ah < _SMALL_CELL_AH else 500,
            recording=recording,
        )
        _prepare(spec)
        title = file.stem if cycle is None else f"{file.stem} cycle {cycle}"
        packs.append((title, spec))
    return {"replay": packs}
