"""The core of the estimators on the smallest board there is, against the same on this machine.

Windows, resistance and fusion run on an emulated micro:bit as they stand in the firmware, function
by function. Left out for want of room: ``window.from_table`` (the same objects are made one by
one), the interval and pack figures of ``resistance.py``, and the class ``Soh`` around the fusion,
which brings it what it knows.
"""

import ast
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import microbit
import pytest
from microbit import Names, Repl, reduced

from common.codes import Method
from common.profiles import profile
from firmware.estimators.resistance import Resistance
from firmware.estimators.soh import Soh
from firmware.estimators.window import ChargeWindow, from_table
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot
from firmware.tools.bench import Device, measured
from firmware.tools.datasets import load_cells

WINDOWS = profile("lco-cs2").windows

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(bool(microbit.missing()), reason=microbit.missing()),
]

RATED_MAH = 1100
SHIFTS_MV = (0, 3, -2)  # of the cells of a string that are else the same
N = len(SHIFTS_MV)
MOST_BP = 20  # 0.2 points of SOH
Row = tuple[int, int, int, int, int]  # mV, mA, uAh, ms, 0.1 degC
Charge = tuple[int, list[Row]]  # age of the cell in cycles, samples
# what was known before: nothing, and of the last cell something by other evidence
KNOWN = [(0.0, 0.0, 0.0, Method.NONE)] * 2 + [(9000.0, 90000.0, 90000.0, Method.OCV_SWING)]

CORE = (
    reduced(
        "firmware/estimators/window.py",
        "Window",
        "WindowModel",
        "ChargeWindow.__init__",
        "ChargeWindow.update",
        "ChargeWindow._begin",
        "ChargeWindow._edges",
        "ChargeWindow._taper",
        "ChargeWindow._end",
        "ChargeWindow.evidence",
    )
    + reduced(
        "firmware/estimators/resistance.py",
        "at_25",
        "Resistance.__init__",
        "Resistance.update",
        "Resistance._measure",
        "Resistance._fuse",
        "Resistance.typical_uohm",
    )
    + reduced("firmware/estimators/soh.py", "_merge", "_with_window")
)
IMPORTS = f"""\
import gc, math, micropython
from array import array
micropython.opt_level(3)
UNKNOWN_DC = {UNKNOWN_DC}
windows = []"""
OBJECTS = f"""\
s = Bare()
s.n_cells = {N}
s.rated_mah = {RATED_MAH}
s.profile = Bare()
s.profile.r_ref_uohm_ah = {Settings("P", N, "lco-cs2", RATED_MAH).profile.r_ref_uohm_ah}
s.cell_mv = array("H", bytes({2 * N}))
resistance = Resistance(s)"""
FEED = f"""\
def feed(mv, ma, uah, ms, dc):
    for i in range({N}):
        s.cell_mv[i] = mv + {SHIFTS_MV}[i]
    s.current_ma = ma
    s.delta_uah = uah
    s.dt_ms = ms
    s.min_dc = s.max_dc = dc
    return window.update(s)"""


class Core:
    """The core on a board, sent largest piece first: the holes that leaves suit the later ones."""

    def __init__(self, board: Repl) -> None:
        self._board = board
        self._names = Names(microbit.names_in_flash(board))
        model = ", ".join(map(repr, WINDOWS[:7]))
        pieces = [
            IMPORTS,
            *[f"windows.append({window})" for window in WINDOWS[7]],
            "class Bare: pass",
            *sorted([*CORE, FEED], key=lambda piece: (piece[:5] != "class", -len(piece))),
            f"for i in range({len(WINDOWS[7])}):\n windows[i] = Window(*windows[i])",
            f"window = ChargeWindow({N}, {RATED_MAH}, WindowModel({model}, windows))",
            *OBJECTS.splitlines(),
        ]
        for piece in pieces:
            self.run(piece)

    def run(self, source: str) -> str:
        """What ``source`` prints; what comes next finds the heap swept."""
        return self._board.run(self._names.shorten(source + "\ngc.collect()"))

    def value(self, expression: str) -> Any:
        """A number, a list or a tuple, as the board prints it."""
        return ast.literal_eval(self.run(f"print({expression})"))


@pytest.fixture
def core() -> Iterator[Core]:
    with microbit.microbit() as board:
        yield Core(board)


def simulated() -> "list[Charge]":
    """Three charges at a steady slope, shorter as the cell ages."""
    charges = []
    for age, seconds in ((0, 6600), (100, 6300), (101, 6200)):
        rows: list[Row] = []
        ma = 550
        uah = 0
        for k in range(0, 12000, 30):
            mv = min(4200, 3650 + k * 550 // seconds)
            if mv == 4200:
                ma = int(550 * math.exp((seconds - k) / 1500))
            uah += ma * 30000
            rows.append((mv, ma, uah // 3600, 30000, 250))
            uah %= 3600
            if ma < RATED_MAH // 10:
                break
        charges.append((age, rows))
    return charges


def recorded(data: Path) -> "list[Charge]":
    """The same of a measured cell: every sample of three of its charges, as a chip reads them."""
    cell = load_cells(data / "calce_cs2")[0]
    return [
        (age, list(zip(*measured(cell.charges[age], cell.nominal_ah, Device()), strict=True)))
        for age in (20, 300, 301)
    ]


def test_simulated_charges_give_the_same_soh(core: Core) -> None:
    compare(core, simulated())


@pytest.mark.shared
def test_recorded_charges_give_the_same_soh(core: Core, shared_data: Path) -> None:
    compare(core, recorded(shared_data))


def compare(core: Core, charges: "list[Charge]") -> None:
    """Play the charges on both and weigh in what each cell's windows tell, charge by charge."""
    window = ChargeWindow(N, RATED_MAH, from_table(WINDOWS))
    soh = Soh(Settings("P", N, "lco-cs2", RATED_MAH))
    for i, known in enumerate(KNOWN):
        soh.soh[i], soh.var[i], soh.best[i], soh.method[i] = known
    core.run(f"known = {KNOWN}")
    before = 0
    for age, rows in charges:
        soh.fec_centi += (age - before) * 100
        walk = window.walk_bp * window.walk_bp * (age - before)
        fade = soh._fade_bp(0)
        before = age
        play(window, rows)
        for row in rows:
            if core.value(f"feed{row}"):
                break
        assert core.value("list(window.at_uah)") == list(window.at_uah)
        for i in range(N):
            found = window.evidence(i)
            assert found is not None
            common = soh._window_common[i]
            soh.window(i, found, window.walk_bp, 0)
            core.run(f"found = window.evidence({i})")
            core.run(f"known[{i}] = _with_window(known[{i}], found, {common}, {walk}, {fade})")
            on_board, var, _best, method = core.value(f"known[{i}]")
            print(f"cycle {age}, cell {i}: {soh.soh[i]:.2f} here, {on_board} there, basis points")
            assert abs(on_board - soh.soh[i]) < MOST_BP
            assert math.sqrt(var) == pytest.approx(math.sqrt(soh.var[i]), rel=1e-3)
            assert method == soh.method[i]
        soh.windows_done(0)


def play(window: ChargeWindow, rows: "list[Row]") -> None:
    s = Snapshot(N)
    for mv, ma, uah, ms, dc in rows:
        for i in range(N):
            s.cell_mv[i] = mv + SHIFTS_MV[i]
        s.current_ma, s.delta_uah, s.dt_ms = ma, uah, ms
        s.min_dc = s.max_dc = dc
        if window.update(s):
            return
    pytest.fail("the charge has no end")


def test_steps_give_the_same_resistance(core: Core) -> None:
    resistance = Resistance(Settings("P", N, "lco-cs2", RATED_MAH))
    s = Snapshot(N)
    for k in range(60):
        ma = 550 if k // 6 % 2 else -300
        mv, dc = 3700 + ma * 90 // 1000 + k % 3, 180 + k
        for i in range(N):
            s.cell_mv[i] = mv + SHIFTS_MV[i]
        s.current_ma = ma
        s.min_dc = s.max_dc = dc
        resistance.update(s, k)
        core.run(f"feed({mv}, {ma}, 0, 1000, {dc})")
        core.run(f"resistance.update(s, {k})")
    assert resistance.count > 6
    assert core.value("resistance.count") == resistance.count
    assert core.value("list(resistance.r)") == pytest.approx(list(resistance.r), rel=1e-4)
    assert core.value("list(resistance.var)") == pytest.approx(list(resistance.var), rel=1e-3)
    assert core.value("resistance.typical_uohm(1)") == pytest.approx(resistance.r[1], rel=1e-4)


def test_a_window_far_from_calibration_is_refused_there_too(core: Core) -> None:
    _age, rows = simulated()[0]
    window = ChargeWindow(N, RATED_MAH, from_table(WINDOWS))
    rows = [(mv, ma, uah * 3 // 10, ms, dc) for mv, ma, uah, ms, dc in rows]
    play(window, rows)
    for row in rows:
        core.run(f"feed{row}")
    assert window.evidence(0) is None
    assert core.value("window.evidence(0)") is None
    assert core.value("window.refusal") == window.refusal
