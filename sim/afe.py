"""The analogue front ends a simulated board can have, and what each means for its pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.bq76952 import Bq76952
from sim.ltc6813 import BLEED_OHM, FrontEnd, cells_of_chips

if TYPE_CHECKING:
    from collections.abc import Callable

    from sim.pack import PackSpec
    from sim.station import Chip


@dataclass(frozen=True)
class Afe:
    """``bleed_ohm`` and ``bleed_duty`` of one bled cell; the die warms by ``die_k_per_bled``.

    ``build(spec, seed)`` makes the chips, ``sensors(spec)`` names the cells that have a
    thermistor. Both raise ``ValueError`` for a number of cells that the chips cannot take.
    """

    bleed_ohm: float
    bleed_duty: float
    die_k_per_bled: float
    build: Callable[[PackSpec, int], Chip]
    sensors: Callable[[PackSpec], tuple[int, ...]]


def _build_bq76952(spec: PackSpec, seed: int) -> Chip:
    return Bq76952(
        spec.n_cells,
        shunt_uohm=spec.shunt_uohm,
        seed=seed,
        current_is_recorded=spec.recording is not None,
    )


def _build_ltc6813(spec: PackSpec, seed: int) -> Chip:
    return FrontEnd(
        spec.n_cells,
        shunt_uohm=spec.shunt_uohm,
        seed=seed,
        cells_per_chip=spec.cells_per_chip,
    )


def _three_of_all(spec: PackSpec) -> tuple[int, ...]:
    return (0, spec.n_cells // 2, spec.n_cells - 1)


def _three_of_each_chip(spec: PackSpec) -> tuple[int, ...]:
    found: list[int] = []
    first = 0
    for count in spec.cells_per_chip or cells_of_chips(spec.n_cells):
        found += (first, first + count // 2, first + count - 1)
        first += count
    return tuple(found)


AFES = {
    "bq76952": Afe(
        bleed_ohm=68.0,  # 28 in the chip, 20 in each of the two leads
        bleed_duty=0.7,  # bleeding pauses while a cell and its neighbours are measured
        die_k_per_bled=7.4,  # 59 K for eight cells
        build=_build_bq76952,
        sensors=_three_of_all,
    ),
    "ltc6813": Afe(
        bleed_ohm=BLEED_OHM,
        bleed_duty=1.0,
        die_k_per_bled=0.7,  # 0.1 A in 4 ohm, 17 K/W
        build=_build_ltc6813,
        sensors=_three_of_each_chip,
    ),
}


def afe(spec: PackSpec) -> Afe:
    """What ``spec.afe`` names; ``ValueError`` says what there is."""
    try:
        return AFES[spec.afe]
    except KeyError:
        raise ValueError(
            f'pack "{spec.serial}": no front end "{spec.afe}" (there are: {", ".join(AFES)})'
        ) from None
