"""Cell profile lfp-68ah.

Made by ``echelon calibrate`` from pulsebat_lfp/lfp_68ah.npz (58 cells), SHA-256
01e121cf9df6febbbe0250f47d231ce3...
Rested voltage: rests of 58 cells at 6-92 % of their capacity; beyond, lfp-1.2ah moved by +29
and -12 mV to meet; within 25 mV (one deviation).
Resistance: 1C pulses at half charge of the 20 freshest tests.
CRC-32 of the profile: c50bac68.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="lfp-68ah",
    chemistry=Chemistry.LFP,
    ocv_mv=(
        2410, 2838, 2952, 3025, 3124, 3170, 3197, 3223, 3240, 3261, 3276, 3288, 3298, 3300,
        3301, 3302, 3303, 3304, 3312, 3321, 3330, 3332, 3333, 3335, 3355, 3576,
    ),
    ocv_sigma_mv=25,
    flat_bp=(1000, 9800),
    r_ref_uohm_ah=66700,
    pulse="common.cells.pulse_lfp_68ah_trains",
    pulse_crc=1270722131,
)  # fmt: skip
