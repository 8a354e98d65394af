"""Cell profile lfp-35ah.

Made by ``echelon calibrate`` from pulsebat/lfp_35ah.npz (34 cells), SHA-256
27e9d1cc4b8f73784fc45989ec9278d7...
Rested voltage: rests of 34 cells at 6-62 % of their capacity; beyond, lfp-1.2ah moved by +26
and -14 mV to meet; within 34 mV (one deviation).
Resistance: 1C pulses at half charge of the 4 freshest tests.
CRC-32 of the profile: 707ceba6.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

PROFILE = CellProfile(
    name="lfp-35ah",
    chemistry=Chemistry.LFP,
    ocv_mv=(
        2407, 2835, 2949, 3022, 3121, 3165, 3190, 3207, 3222, 3248, 3265, 3277, 3287, 3289,
        3290, 3291, 3292, 3293, 3300, 3317, 3328, 3331, 3335, 3341, 3357, 3576,
    ),
    ocv_sigma_mv=34,
    flat_bp=(1000, 9800),
    r_ref_uohm_ah=89400,
    pulse="common.cells.pulse_lfp_35ah",
    pulse_crc=3820181874,
)  # fmt: skip
