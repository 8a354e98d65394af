"""LFP in general: its rested voltage computed from half cells.

The half-cell potentials are those of E. Prada et al., J. Electrochem. Soc. 160 (2013) A616, and
8 mV more from 15 % of charge on: the one cell whose both branches were recorded (``lfp-1.2ah``)
rests 4 mV above theirs after discharge and 42 mV above after charge, three kinds that were only
charged (``lfp-20ah`` to ``lfp-68ah``) 2 to 31 mV above. The error takes in both: half the distance
of the branches, 8 to 24 mV, and what one kind differs from another. What a loss of lithium does
(``ocv_aged_mv``) comes from sliding the electrodes against each other, with the graphite of
M. Safari and C. Delacourt, J. Electrochem. Soc. 158 (2011) A562, for LFP itself is flat.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="lfp",
    chemistry=Chemistry.LFP,
    ocv_mv=(
        2498, 2659, 2778, 2874, 3008, 3103, 3154, 3200, 3222, 3241, 3257, 3268, 3276, 3280, 3283,
        3286, 3291, 3297, 3306, 3314, 3320, 3324, 3326, 3328, 3330, 3355,
    ),
    ocv_sigma_mv=18,
    flat_bp=(1200, 9800),
    r_ref_uohm_ah=90000,
    ocv_aged_mv=(
        0, 1000, 690, 390, 60, -55, -75, -72, -90, -105, -100, -76, -49, -28, -18, -20, -38, -70,
        -110, -118, -94, -57, -32, -20, -13, 0,
    ),
)  # fmt: skip
