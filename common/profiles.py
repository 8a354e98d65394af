"""Cell profiles: what the firmware may assume of a kind of cell before it has measured one.

The limits here are hard: settings may be tighter, never looser. The OCV table gives the rested
voltage of a new cell against its state of charge; SOC is counted in basis points (1 bp = 0.01 %),
voltage in mV, temperature in 0.1 degC.

Sources: ``nmc`` and ``lfp`` are computed from published half-cell potentials (C.-H. Chen et al.,
J. Electrochem. Soc. 167 (2020) 080534; E. Prada et al., J. Electrochem. Soc. 160 (2013) A616) and
rounded, with ``ocv_aged_mv`` by sliding the electrodes against each other (for ``lfp`` with the
graphite of M. Safari and C. Delacourt, J. Electrochem. Soc. 158 (2011) A562, for LFP itself is
flat); limits are those usual in data sheets of such cells, narrowed. ``lco`` is fitted to the
1.1 Ah cells CS2 of CALCE, University of Maryland (W. He et al., J. Power Sources 196 (2011)
10314): charge and discharge branch of two early cycles of one cell, weighted by their currents;
100 % is the end of a constant-voltage charge at 4.2 V, 0 % the end of a 1C discharge at 2.7 V.
``nca`` is fitted to the 2.9 Ah cell of P. Kollmeyer (Panasonic 18650PF Li-ion Battery Data,
Mendeley Data 2018, doi 10.17632/wykht8y7tg.1): a C/20 discharge to 2.5 V corrected by the drives.
"""

from array import array

from common.cells import calce_cs2
from common.codes import Chemistry


class CellProfile:
    """One kind of cell.

    ``soc_bp`` and ``ocv_mv`` are arrays of one length, both rising. ``flat_bp`` is the range of
    SOC in which the voltage tells nearly nothing. ``ocv_sigma_mv`` is the standard deviation of
    the table against a rested cell that has lost nothing. ``ocv_aged_mv`` is by how much the
    rested voltage rises at each point of the table for a loss of lithium alone as large as the
    capacity that is left; empty where it is not known and ``ocv_sigma_mv`` holds for aged cells
    too. ``r_ref_uohm_ah`` is the 1 s resistance of a new cell
    at 25 degC and mid SOC, times its capacity: divide by Ah to get micro-ohms.
    """

    def __init__(
        self,
        name: str,
        chemistry: int,
        cell_max_mv: int,
        cell_full_mv: int,
        cell_empty_mv: int,
        cell_min_mv: int,
        cell_deep_mv: int,
        charge_dc: "tuple[int, int]",
        discharge_dc: "tuple[int, int]",
        charge_c10: int,
        discharge_c10: int,
        r_ref_uohm_ah: int,
        ocv_sigma_mv: int,
        flat_bp: "tuple[int, int]",
        soc_bp: "tuple[int, ...]",
        ocv_mv: "tuple[int, ...]",
        windows: "tuple | None" = None,  # type: ignore[type-arg]
        windows_crc: int = 0,
        ocv_aged_mv: "tuple[int, ...]" = (),
    ) -> None:
        self.name = name
        self.chemistry = chemistry
        self.cell_max_mv = cell_max_mv  # never above: switches open
        self.cell_full_mv = cell_full_mv  # end of charge (CV)
        self.cell_empty_mv = cell_empty_mv  # end of discharge
        self.cell_min_mv = cell_min_mv  # never below: switches open
        self.cell_deep_mv = cell_deep_mv  # damage: latched, for good
        self.charge_min_dc, self.charge_max_dc = charge_dc
        self.discharge_min_dc, self.discharge_max_dc = discharge_dc
        self.charge_c10 = charge_c10  # highest charge rate, in tenths of C
        self.discharge_c10 = discharge_c10
        self.r_ref_uohm_ah = r_ref_uohm_ah
        self.ocv_sigma_mv = ocv_sigma_mv
        self.flat_bp = flat_bp
        self.soc_bp = array("H", soc_bp)
        self.ocv_mv = array("H", ocv_mv)
        self.ocv_aged_mv = array("h", ocv_aged_mv)
        self.windows = windows  # table of charge windows (firmware/estimators/window.py), if any
        self.windows_crc = windows_crc


_GRID_BP = (
    0, 100, 200, 300, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 5500, 6000,
    6500, 7000, 7500, 8000, 8500, 9000, 9500, 9800, 10000,
)  # fmt: skip

NMC = CellProfile(
    name="nmc",
    chemistry=Chemistry.NMC,
    cell_max_mv=4250,
    cell_full_mv=4200,
    cell_empty_mv=2800,
    cell_min_mv=2500,
    cell_deep_mv=1500,
    charge_dc=(0, 450),
    discharge_dc=(-200, 600),
    charge_c10=10,
    discharge_c10=20,
    r_ref_uohm_ah=75000,
    ocv_sigma_mv=9,
    flat_bp=(0, 0),
    soc_bp=_GRID_BP,
    ocv_mv=(
        2498, 2695, 2837, 2940, 3073, 3172, 3258, 3396, 3449, 3494, 3548, 3597, 3634, 3668, 3708,
        3757, 3809, 3862, 3924, 3971, 4022, 4070, 4094, 4116, 4156, 4193,
    ),
    ocv_aged_mv=(
        0, -25, 0, 45, 140, 180, 100, 200, 325, 255, 172, 205, 283, 361, 441, 437, 320, 95, -60,
        140, 185, 105, 21, 45, 32, 0,
    ),
)  # fmt: skip

LFP = CellProfile(
    name="lfp",
    chemistry=Chemistry.LFP,
    cell_max_mv=3750,
    cell_full_mv=3600,
    cell_empty_mv=2600,
    cell_min_mv=2300,
    cell_deep_mv=1500,
    charge_dc=(0, 450),
    discharge_dc=(-200, 600),
    charge_c10=10,
    discharge_c10=20,
    r_ref_uohm_ah=90000,
    ocv_sigma_mv=12,
    flat_bp=(1200, 9800),
    soc_bp=_GRID_BP,
    ocv_mv=(
        2498, 2658, 2777, 2872, 3005, 3099, 3149, 3192, 3214, 3233, 3249, 3260, 3268, 3272, 3275,
        3278, 3283, 3289, 3298, 3306, 3312, 3316, 3318, 3320, 3322, 3347,
    ),
    ocv_aged_mv=(
        0, 1000, 690, 390, 60, -55, -75, -72, -90, -105, -100, -76, -49, -28, -18, -20, -38, -70,
        -110, -118, -94, -57, -32, -20, -13, 0,
    ),
)  # fmt: skip


def _lco(
    name: str,
    windows: "tuple | None",  # type: ignore[type-arg]
    windows_crc: int,
) -> CellProfile:
    return CellProfile(
        name=name,
        chemistry=Chemistry.LCO,
        cell_max_mv=4250,
        cell_full_mv=4200,
        cell_empty_mv=2700,
        cell_min_mv=2400,
        cell_deep_mv=1500,
        charge_dc=(0, 450),
        discharge_dc=(-200, 600),
        charge_c10=10,
        discharge_c10=20,
        r_ref_uohm_ah=100000,
        ocv_sigma_mv=15,
        flat_bp=(0, 0),
        soc_bp=_GRID_BP,
        ocv_mv=(
            3219, 3390, 3497, 3568, 3642, 3667, 3685, 3720, 3754, 3775, 3788, 3800, 3813, 3829,
            3848, 3869, 3893, 3919, 3948, 3979, 4015, 4055, 4099, 4146, 4175, 4194,
        ),
        windows=windows,
        windows_crc=windows_crc,
    )  # fmt: skip


LCO = _lco("lco", None, 0)
# The very cells ``lco`` was fitted to, with charge windows that hold for their kind alone.
LCO_CS2 = _lco("lco-cs2", calce_cs2.WINDOWS, calce_cs2.CRC)

NCA = CellProfile(
    name="nca",
    chemistry=Chemistry.NCA,
    cell_max_mv=4250,
    cell_full_mv=4200,
    cell_empty_mv=2700,
    cell_min_mv=2400,
    cell_deep_mv=1500,
    charge_dc=(0, 450),
    discharge_dc=(-200, 600),
    charge_c10=5,
    discharge_c10=20,
    r_ref_uohm_ah=85000,
    ocv_sigma_mv=15,
    flat_bp=(0, 0),
    soc_bp=_GRID_BP,
    ocv_mv=(
        2507, 2946, 3080, 3167, 3255, 3291, 3314, 3396, 3443, 3500, 3545, 3573, 3600, 3630, 3666,
        3696, 3738, 3791, 3838, 3882, 3930, 3985, 4037, 4078, 4115, 4154,
    ),
)  # fmt: skip

PROFILES = (NMC, LFP, LCO, LCO_CS2, NCA)


def profile(name: str) -> CellProfile:
    """The profile called ``name``; ``ValueError`` names those there are."""
    for known in PROFILES:
        if known.name == name:
            return known
    raise ValueError(
        "cell profile %r is not known (known: %s)" % (name, ", ".join([p.name for p in PROFILES]))
    )
