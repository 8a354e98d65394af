"""Cell profile lco-kokam.

Made by ``echelon calibrate`` from oxford (5 cells), SHA-256
d948bfaa3a34eaf935572a6c2546bfa9...
Rested voltage: charge curves at 1C of 5 cells, less 48 mV; within 60 mV (one deviation).
Resistance: that of the profile lco.
CRC-32 of the profile: c80561bd.
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
            0.003798338,
            (
                1.219163e-07, -6.372553e-09, -5.332602e-09, -5.235974e-08, 2.385943e-08,
                -6.470984e-09, 0.0, 1.035178e-07, 7.905959e-08, 9.139046e-09, 1.987383e-08,
                8.931984e-09, 0.0, 1.183215e-07, 1.361403e-08, 2.864545e-08, 8.580343e-09, -0.0,
                7.629146e-08, 1.670949e-08, -1.40959e-08, 0.0, 4.922972e-08, -1.159047e-08, 0.0,
                1.37443e-08, -0.0, 0.0,
            ),
            2.942463e-05,
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
    windows_crc=3895760644,
)  # fmt: skip
