"""Cell profile lmo.

Made by ``echelon calibrate`` from nissan_leaf (1 cell), SHA-256
efa7e1ad62f4f918dc8364ce8cc19451...
Rested voltage: 6 full cycles of 1 cells at no current; within 10 mV (one deviation).
Resistance: steps of the current in hppc_25C.
CRC-32 of the profile: a655618d.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="lmo",
    chemistry=Chemistry.LMO,
    ocv_mv=(
        3250, 3336, 3404, 3462, 3556, 3645, 3687, 3717, 3748, 3793, 3832, 3857, 3876, 3895,
        3915, 3936, 3957, 3975, 3992, 4024, 4045, 4063, 4084, 4114, 4143, 4175,
    ),
    ocv_sigma_mv=10,
    flat_bp=(0, 0),
    r_ref_uohm_ah=54300,
    limits=(("cell_empty_mv", 3000), ("cell_min_mv", 2700), ("charge_c10", 5),),
)  # fmt: skip
