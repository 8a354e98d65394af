"""Cell profile lmo-10ah.

Made by ``echelon calibrate`` from pulsebat/lmo_10ah.npz (57 cells), SHA-256
c5d4660bcbde7e95d1c3bdeebae2907f...
Rested voltage: rests of 57 cells at 6-77 % of their capacity; beyond, lmo moved by -735 and
-88 mV to meet; within 51 mV (one deviation).
Resistance: 1C pulses at half charge of the 6 freshest tests.
CRC-32 of the profile: 6c710688.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="lmo-10ah",
    chemistry=Chemistry.LMO,
    ocv_mv=(
        2515, 2601, 2669, 2727, 2821, 2905, 2961, 3070, 3171, 3256, 3338, 3410, 3482, 3550,
        3619, 3682, 3758, 3819, 3869, 3926, 3970, 4007, 4046, 4095, 4135, 4175,
    ),
    ocv_sigma_mv=51,
    flat_bp=(0, 0),
    r_ref_uohm_ah=84400,
    pulse="common.cells.pulse_lmo_10ah",
    pulse_crc=4040637264,
)  # fmt: skip
