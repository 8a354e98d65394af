"""Nickel-rich NMC (811) in general: its rested voltage computed from half cells.

The half-cell potentials are those of C.-H. Chen et al., J. Electrochem. Soc. 167 (2020) 080534,
down to 2.5 V; no cell like it was recorded over its whole charge. Retired NMC of 111 to 622 is
another cell: ``nmc-21ah`` rests 0.1 V higher at 25 % of charge and 0.3 V at 8 %. What a loss of
lithium does (``ocv_aged_mv``) comes from sliding the same half cells against each other.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="nmc",
    chemistry=Chemistry.NMC,
    ocv_mv=(
        2498, 2695, 2837, 2940, 3073, 3172, 3258, 3396, 3449, 3494, 3548, 3597, 3634, 3668, 3708,
        3757, 3809, 3862, 3924, 3971, 4022, 4070, 4094, 4116, 4156, 4193,
    ),
    ocv_sigma_mv=9,
    flat_bp=(0, 0),
    r_ref_uohm_ah=75000,
    ocv_aged_mv=(
        0, -25, 0, 45, 140, 180, 100, 200, 325, 255, 172, 205, 283, 361, 441, 437, 320, 95, -60,
        140, 185, 105, 21, 45, 32, 0,
    ),
)  # fmt: skip
