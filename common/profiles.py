"""Cell profiles: what the firmware may assume of a kind of cell before it has measured one.

``profile("lco-cs2")`` gives the profile in the module ``common.cells.lco_cs2``, or in
``cells.lco_cs2`` where a board brings one of its own: a module made by ``echelon calibrate`` and
put into the folder ``cells`` of the board's file system. Nothing is loaded but the cell asked for.

The limits here are hard. A profile may be tighter than its chemistry, never looser; settings may
be tighter than the profile, never looser. They are those usual in data sheets of such cells,
narrowed, and none is beyond what the cells recorded for a profile were themselves taken to.

The OCV table gives the rested voltage of a new cell against its state of charge; SOC is counted
in basis points (1 bp = 0.01 %), voltage in mV, temperature in 0.1 degC.
"""

import struct
from array import array

from common.codes import Chemistry
from common.crc import crc32
from common.ecm import Ecm
from common.mp import const

NAMES = (
    "nmc", "lfp", "lco", "nca", "lmo", "nmc-21ah", "lfp-1.2ah", "lfp-20ah", "lfp-35ah", "lfp-68ah",
    "lco-cs2", "lco-18650", "lco-kokam", "lmo-10ah",
)  # fmt: skip

GRID_BP = (
    0, 100, 200, 300, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 5500, 6000,
    6500, 7000, 7500, 8000, 8500, 9000, 9500, 9800, 10000,
)  # fmt: skip

# name, and whether a lower value (-1) or a higher one (1) is the tighter
LIMITS = (
    ("cell_max_mv", -1),  # never above: switches open
    ("cell_full_mv", -1),  # end of charge (CV)
    ("cell_empty_mv", 1),  # end of discharge
    ("cell_min_mv", 1),  # never below: switches open
    ("cell_deep_mv", 1),  # damage: latched, for good
    ("charge_min_dc", 1),
    ("charge_max_dc", -1),
    ("discharge_min_dc", 1),
    ("discharge_max_dc", -1),
    ("charge_c10", -1),  # highest rate, in tenths of C
    ("discharge_c10", -1),
)
_HARD = {
    Chemistry.NMC: (4250, 4200, 2800, 2500, 1500, 0, 450, -200, 600, 10, 20),
    Chemistry.LFP: (3750, 3600, 2600, 2300, 1500, 0, 450, -200, 600, 10, 20),
    Chemistry.LCO: (4250, 4200, 2700, 2400, 1500, 0, 450, -200, 600, 10, 20),
    Chemistry.NCA: (4250, 4200, 2700, 2400, 1500, 0, 450, -200, 600, 5, 20),
    Chemistry.LMO: (4250, 4200, 2700, 2400, 1500, 0, 450, -200, 600, 10, 20),
}
_LETTERS = const("abcdefghijklmnopqrstuvwxyz0123456789_")


class CellProfile:
    """One kind of cell.

    ``limits`` are ``(name, value)`` of those that are tighter than the chemistry's. ``ocv_mv``
    stands on ``GRID_BP`` and rises; ``ocv_sigma_mv`` is its standard deviation against a rested
    cell. ``ocv_aged_mv`` is by how much the rested voltage rises at each point for a loss of
    lithium alone as large as the capacity that is left; empty where it is not known and
    ``ocv_sigma_mv`` holds for aged cells too. ``flat_bp`` is the range of SOC in which the voltage
    tells nearly nothing.
    ``r_ref_uohm_ah`` is the 1 s resistance of a new cell at 25 degC and mid SOC, times its
    capacity: divide by Ah to get micro-ohms.

    What was fitted beyond that, if anything: ``windows``, a table of charge windows
    (``firmware.estimators.window``) with its CRC; ``circuit``, the equivalent circuit; ``pulse``,
    the module of the pulse model with the CRC of the model. ``ValueError`` names what cannot be.
    """

    def __init__(
        self,
        name: str,
        chemistry: int,
        ocv_mv: "tuple[int, ...]",
        ocv_sigma_mv: int,
        flat_bp: "tuple[int, int]",
        r_ref_uohm_ah: int,
        limits: "tuple[tuple[str, int], ...]" = (),
        windows: "tuple | None" = None,  # type: ignore[type-arg]
        windows_crc: int = 0,
        circuit: "Ecm | None" = None,
        pulse: "str | None" = None,
        pulse_crc: int = 0,
        ocv_aged_mv: "tuple[int, ...]" = (),
    ) -> None:
        if len(ocv_mv) != len(GRID_BP):
            raise ValueError("ocv_mv has %d values, not %d" % (len(ocv_mv), len(GRID_BP)))
        for k in range(1, len(ocv_mv)):
            if ocv_mv[k] <= ocv_mv[k - 1]:
                raise ValueError("ocv_mv does not rise at %d mV" % ocv_mv[k])
        hard = _limits(chemistry, limits)
        self.name = name
        self.chemistry = chemistry
        self.cell_max_mv = hard[0]
        self.cell_full_mv = hard[1]
        self.cell_empty_mv = hard[2]
        self.cell_min_mv = hard[3]
        self.cell_deep_mv = hard[4]
        self.charge_min_dc = hard[5]
        self.charge_max_dc = hard[6]
        self.discharge_min_dc = hard[7]
        self.discharge_max_dc = hard[8]
        self.charge_c10 = hard[9]
        self.discharge_c10 = hard[10]
        self.r_ref_uohm_ah = r_ref_uohm_ah
        self.ocv_sigma_mv = ocv_sigma_mv
        self.flat_bp = flat_bp
        self.soc_bp = array("H", GRID_BP)
        self.ocv_mv = array("H", ocv_mv)
        self.ocv_aged_mv = array("h", ocv_aged_mv)
        self.windows = windows
        self.windows_crc = windows_crc
        self.circuit = circuit
        self.pulse = pulse
        self.pulse_crc = pulse_crc


def hard_limits(chemistry: int) -> "list[int]":
    """The limits of a chemistry in the order of ``LIMITS``; ``ValueError`` where it has none."""
    if chemistry not in _HARD:
        raise ValueError("chemistry %r has no limits" % (chemistry,))
    return list(_HARD[chemistry])


def _limits(chemistry: int, own: "tuple[tuple[str, int], ...]") -> "list[int]":
    found = hard_limits(chemistry)
    names = [name for name, _tighter in LIMITS]
    for name, value in own:
        if name not in names:
            raise ValueError("%s is not a limit (known: %s)" % (name, ", ".join(names)))
        k = names.index(name)
        if (value - found[k]) * LIMITS[k][1] < 0:
            raise ValueError(
                "%s %d is looser than %d, the limit of the chemistry" % (name, value, found[k])
            )
        found[k] = value
    for k in range(4):
        if found[k] <= found[k + 1]:
            raise ValueError(
                "%s %d must be above %s %d" % (names[k], found[k], names[k + 1], found[k + 1])
            )
    for k in (5, 7):
        if found[k] >= found[k + 1]:
            raise ValueError(
                "%s %d must be below %s %d" % (names[k], found[k], names[k + 1], found[k + 1])
            )
    for k in (9, 10):
        if found[k] < 1:
            raise ValueError("%s %d must be at least 1" % (names[k], found[k]))
    return found


def limits_of(p: CellProfile) -> "list[int]":
    """The limits of a profile in the order of ``LIMITS``."""
    return [getattr(p, name) for name, _tighter in LIMITS]


def profile_crc(p: CellProfile) -> int:
    """CRC-32 of every number of a profile: by it a board says what it estimates with.

    Windows and pulse models count by the CRC that was written beside them when they were fitted:
    a board's 32-bit floats are not the desk's.
    """
    numbers = [p.chemistry, p.ocv_sigma_mv, p.flat_bp[0], p.flat_bp[1], p.r_ref_uohm_ah]
    numbers += limits_of(p)
    numbers += list(p.soc_bp) + list(p.ocv_mv) + list(p.ocv_aged_mv)
    data = b"".join([struct.pack("<l", number) for number in numbers])
    data += struct.pack("<L", p.windows_crc)
    data += struct.pack("<L", p.circuit.crc() if p.circuit is not None else 0)
    data += struct.pack("<L", p.pulse_crc)
    return crc32(data, 0, len(data))


def module_name(name: str) -> str:
    """The module of the profile ``name``; ``ValueError`` where none can have it."""
    module = name.replace("-", "_").replace(".", "_")
    if not module or module[0] == "_" or [c for c in module if c not in _LETTERS]:
        raise ValueError(
            "cell profile %r: a name has a-z, 0-9, dots and hyphens (known: %s)"
            % (name, ", ".join(NAMES))
        )
    return module


def profile(name: str) -> CellProfile:
    """The profile called ``name``; ``ValueError`` names those there are, or what is wrong."""
    path = "%s.%s" % ("common.cells" if name in NAMES else "cells", module_name(name))
    try:
        found = __import__(path, None, None, ("PROFILE",)).PROFILE
    except ImportError:
        raise ValueError(  # noqa: B904  MicroPython has no "from"
            "cell profile %r is not known (known: %s; or bring it as %s.py)"
            % (name, ", ".join(NAMES), path.replace(".", "/"))
        )
    except Exception as error:
        raise ValueError("cell profile %r: %s" % (name, error))  # noqa: B904
    if not isinstance(found, CellProfile) or found.name != name:
        raise ValueError("cell profile %r: %s.PROFILE is another one" % (name, path))
    return found
