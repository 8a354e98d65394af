"""Cell profile lco.

Made by ``echelon calibrate`` from calce_cs2 (2 cells), SHA-256
c227c10c099ba36aa1c0794e3515bcad...
Rested voltage: 1570 full cycles of 2 cells at no current; within 16 mV (one deviation).
Resistance: the tester's pulse at full charge, early cycles.
CRC-32 of the profile: 8dc60086.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="lco",
    chemistry=Chemistry.LCO,
    ocv_mv=(
        3250, 3437, 3529, 3591, 3648, 3673, 3691, 3727, 3760, 3779, 3792, 3804, 3817, 3832,
        3851, 3872, 3895, 3920, 3948, 3979, 4014, 4053, 4097, 4145, 4173, 4193,
    ),
    ocv_sigma_mv=16,
    flat_bp=(0, 0),
    r_ref_uohm_ah=96800,
)  # fmt: skip
