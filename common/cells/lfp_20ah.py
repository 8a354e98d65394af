"""Cell profile lfp-20ah.

Made by ``echelon calibrate`` from pulsebat_lfp/lfp_20ah.npz (62 cells), SHA-256
2957508103da2fb8a1f5bedd7d65a53c...
Rested voltage: rests of 62 cells at 6-91 % of their capacity; beyond, lfp-1.2ah moved by +38
and -13 mV to meet; within 26 mV (one deviation).
Resistance: 1C pulses at half charge of the 22 freshest tests.
CRC-32 of the profile: 1fd4dec9.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="lfp-20ah",
    chemistry=Chemistry.LFP,
    ocv_mv=(
        2419, 2847, 2961, 3034, 3133, 3181, 3196, 3220, 3239, 3258, 3274, 3283, 3291, 3294,
        3296, 3297, 3299, 3303, 3309, 3316, 3325, 3328, 3329, 3336, 3355, 3576,
    ),
    ocv_sigma_mv=26,
    flat_bp=(750, 9800),
    r_ref_uohm_ah=95100,
    pulse="common.cells.pulse_lfp_20ah_trains",
    pulse_crc=3305776443,
)  # fmt: skip
