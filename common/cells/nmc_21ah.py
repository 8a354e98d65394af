"""Cell profile nmc-21ah.

Made by ``echelon calibrate`` from pulsebat/nmc_21ah.npz (32 cells), SHA-256
89f9c347a452d1ac726abee42ac06c8d...
Rested voltage: rests of 32 cells at 5-51 % of their capacity; beyond, nmc moved by +377 and
-32 mV to meet; within 18 mV (one deviation).
Resistance: 1C pulses at half charge of the 4 freshest tests.
CRC-32 of the profile: 44c929c3.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="nmc-21ah",
    chemistry=Chemistry.NMC,
    ocv_mv=(
        2875, 3072, 3214, 3317, 3449, 3467, 3483, 3524, 3566, 3598, 3617, 3630, 3644, 3660,
        3680, 3728, 3783, 3840, 3905, 3955, 4009, 4060, 4088, 4113, 4155, 4193,
    ),
    ocv_sigma_mv=18,
    flat_bp=(0, 0),
    r_ref_uohm_ah=51300,
    pulse="common.cells.pulse_nmc_21ah",
    pulse_crc=2667695772,
)  # fmt: skip
