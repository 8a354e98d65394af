"""Cell profile lco-kokam.

Made by ``echelon calibrate`` from oxford (5 cells), SHA-256
d948bfaa3a34eaf935572a6c2546bfa9...
Rested voltage: charge curves at 1C of 5 cells, less 48 mV; within 60 mV (one deviation).
Resistance: that of the profile lco.
CRC-32 of the profile: 9486313d.
"""

from common.codes import Chemistry
from common.profiles import CellProfile

# marks, mV; taper and rate, permille of rated; full, mV; 0.1 degC; walk and
# scatter, bp; and windows, as window.py of the estimators reads them
WINDOWS = (
    (3760, 3880, 4060),
    0,
    1000,
    4200,
    (400, 400),
    7.22028,
    12.15671,
    (
        (
            (0, 1, 2),
            (0.2682975, 0.2336712, 40.0),
            (0.04163871, 0.006119078, 10.0),
            (
                0.8229499, 0.07560758, 0.006061712, 0.003501794, -0.0002221331, -0.0006812934, 0.0,
            ),
            0.00335925,
            (
                2.068431e-06, 1.348101e-06, 1.033278e-07, 1.110391e-08, 1.954544e-08,
                -1.858441e-08, 0.0, 1.043618e-06, 1.534375e-07, 5.261918e-08, 1.682867e-08,
                3.223807e-10, 0.0, 1.227131e-07, 1.691921e-08, 2.802166e-08, 7.779716e-09, 0.0,
                7.724053e-08, 1.634687e-08, -1.429103e-08, 0.0, 4.854697e-08, -1.140289e-08, 0.0,
                1.362787e-08, -0.0, 0.0,
            ),
            3.997814e-05,
        ),
    ),
)  # fmt: skip

PROFILE = CellProfile(
    name="lco-kokam",
    chemistry=Chemistry.LCO,
    ocv_mv=(
        2752, 3058, 3169, 3247, 3357, 3450, 3498, 3547, 3608, 3679, 3731, 3753, 3763, 3771,
        3781, 3796, 3817, 3842, 3873, 3909, 3948, 3990, 4039, 4087, 4118, 4142,
    ),
    ocv_sigma_mv=60,
    flat_bp=(0, 0),
    r_ref_uohm_ah=96800,
    windows=WINDOWS,
    windows_crc=2001835637,
)  # fmt: skip
