"""LFP in general: its rested voltage computed from half cells.

The half-cell potentials are those of E. Prada et al., J. Electrochem. Soc. 160 (2013) A616. Four
kinds of recorded cells (``lfp-1.2ah`` to ``lfp-68ah``) rest 2 to 31 mV higher between 15 and 95 %
of their charge: the error given here takes that in. What a loss of lithium does (``ocv_aged_mv``)
comes from sliding the electrodes against each other, with the graphite of M. Safari and
C. Delacourt, J. Electrochem. Soc. 158 (2011) A562, for LFP itself is flat.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="lfp",
    chemistry=Chemistry.LFP,
    ocv_mv=(
        2498, 2658, 2777, 2872, 3005, 3099, 3149, 3192, 3214, 3233, 3249, 3260, 3268, 3272, 3275,
        3278, 3283, 3289, 3298, 3306, 3312, 3316, 3318, 3320, 3322, 3347,
    ),
    ocv_sigma_mv=25,
    flat_bp=(1200, 9800),
    r_ref_uohm_ah=90000,
    ocv_aged_mv=(
        0, 1000, 690, 390, 60, -55, -75, -72, -90, -105, -100, -76, -49, -28, -18, -20, -38, -70,
        -110, -118, -94, -57, -32, -20, -13, 0,
    ),
)  # fmt: skip
