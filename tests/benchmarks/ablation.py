"""What each piece of evidence adds, on recorded cells that the fit has not seen.

    python tests/benchmarks/ablation.py windows|resistance|soc|pulse SET

SET is a folder of recordings. Each line leaves something out of, or adds it to, what ships; the
estimators and fits are the firmware's and its tools', only what they may use is cut. Sensors have
errors of their own throughout. The last line is the figure of what ships.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from common.ecm import Ecm
from firmware.estimators.window import from_table
from firmware.tools import fit_pulse, fit_windows, validate_pulse, validate_soc, validate_soh
from firmware.tools.bench import devices
from firmware.tools.datasets import load_cells
from firmware.tools.drives import Drive, Folder
from firmware.tools.fit_ecm import Fit
from firmware.tools.profile_file import rounded

END = len(fit_windows.GRID_MV)
_PLAIN_FIT = fit_windows._Fit
_PLAIN_CANDIDATES = fit_windows._candidates
SHIPPED_SOC = "filter, start 10 % off"
_TOP_MV = 4100
_ICA_RIDGE = 1e-3


def _without(*columns: int) -> type:
    """A fit that may not use some of ``x = (1, a, b, a^2, a b, b^2, t)``."""

    class Fit(_PLAIN_FIT):
        def __init__(self, *rows):
            super().__init__(*rows)
            for column in columns:
                self.k[column] = 0.0
                self.inverse[column, :] = self.inverse[:, column] = 0.0

        def x(self, *rows):
            x = super().x(*rows)
            x[:, list(columns)] = 0.0
            return x

    return Fit


def _only(keep) -> object:
    return lambda seen: [marks for marks in _PLAIN_CANDIDATES(seen) if keep(marks)]


@contextmanager
def _cut(fit: type, candidates: object) -> Iterator[None]:
    with (
        mock.patch.object(fit_windows, "_Fit", fit),
        mock.patch.object(fit_windows, "_candidates", candidates),
    ):
        yield


WINDOWS = (
    ("as it ships", _PLAIN_FIT, _PLAIN_CANDIDATES),
    ("first sub-window alone", _without(2, 4, 5), _PLAIN_CANDIDATES),
    ("second sub-window alone", _without(1, 3, 4), _PLAIN_CANDIDATES),
    ("without squares", _without(3, 4, 5), _PLAIN_CANDIDATES),
    ("without temperature", _without(6), _PLAIN_CANDIDATES),
    ("without constant voltage", _PLAIN_FIT, _only(lambda marks: marks[2] < END)),
    (
        "constant voltage alone",  # from 4.1 V on
        _PLAIN_FIT,
        lambda _seen: [(fit_windows.GRID_MV.index(_TOP_MV), END - 1, END)],
    ),
)


def _line(name: str, f: dict[str, float]) -> str:
    if "rmse" not in f:
        return f"{name:28} {f.get('share', 0):6.1f} %  no estimate"
    return (
        f"{name:28} {f['share']:6.1f} %  RMSE {f['rmse']:5.2f}  p95 {f['p95']:5.2f}"
        f"  holds {f['coverage']:5.1f} %  half-width {f['half_width']:5.2f}"
    )


def windows(folder: Path) -> str:
    """Charges of each cell, by windows fitted to the others."""
    cells = load_cells(folder)
    seen = fit_windows.Seen(cells)
    boards = devices(2, validate_soh.TEST_SEED)
    shipped = ""
    for name, fit, candidates in WINDOWS:
        alone, fused, total = [], [], 0
        for left in range(len(cells)):
            others = [g for g, cell in enumerate(cells) if cell.name != cells[left].name]
            with _cut(fit, candidates):
                try:
                    table = fit_windows.fit_windows(seen.only(others))
                except fit_windows.DataError:
                    total += len(boards) * validate_soh._labelled(cells[left])
                    continue
            for board in boards:
                one, stream, charges = validate_soh._run_cell(
                    cells[left], from_table(rounded(table)), board, {}
                )
                alone += one
                fused += stream
                total += charges
        figures = validate_soh._figures(alone, total)
        print(_line(name, figures), flush=True)
        if not shipped:
            shipped = f"{figures['rmse']:.2f} SOH points"
            print(_line("... charges fused", validate_soh._figures(fused, total)))
    peaks(seen)
    return shipped


def peaks(seen: "fit_windows.Seen") -> None:
    """Height and place of the dQ/dV peak, against and beside the first cell's best windows."""
    steps = np.diff(seen.at[:, :END], axis=1)
    smooth = (steps[:, :-2] + steps[:, 1:-1] + steps[:, 2:]) / 3
    rows = np.isfinite(smooth).sum(axis=1) >= smooth.shape[1] // 2
    filled = np.where(np.isfinite(smooth), smooth, -1.0)
    peak = np.stack([filled.max(axis=1), filled.argmax(axis=1) * 0.02], axis=1)
    rmse: dict[str, list[float]] = {}
    for left in np.unique(seen.group):
        others = [int(g) for g in np.unique(seen.group) if g != left]
        marks = fit_windows.fit_windows(seen.only(others))
        edges = [fit_windows.GRID_MV.index(mv) for mv in marks[0]] + [END]
        at = seen.at[:, [edges[m] for m in marks[7][0][0]]]
        window = np.diff(at, axis=1)
        use = rows & np.isfinite(window).all(axis=1)
        train, test = use & (seen.group != left), use & (seen.group == left)
        if not test.any():
            continue
        for name, x in (
            ("window", window),
            ("dQ/dV peak", peak),
            ("window and peak", np.c_[window, peak]),
        ):
            error = _regress(x, seen.degrees, seen.y, train, test)
            rmse.setdefault(name, []).append(float(np.mean(error**2)))
    print("same charges, least squares with squares, each cell counting the same:")
    for name, squares in rmse.items():
        print(f"  {name:26} RMSE {100 * np.mean(squares) ** 0.5:5.2f}")


def _regress(x, degrees, y, train, test):
    scaled = (x - x[train].mean(axis=0)) / np.maximum(x[train].std(axis=0), 1e-6)
    if degrees is not None and degrees[train].std() > 2:
        scaled = np.c_[scaled, (degrees - degrees[train].mean()) / degrees[train].std()]
    first, second = np.triu_indices(x.shape[1])
    columns = np.c_[np.ones(len(y)), scaled, scaled[:, first] * scaled[:, second]]
    a = columns[train]
    ridge = _ICA_RIDGE * len(a) * np.eye(a.shape[1])
    ridge[0, 0] = 0
    k = np.linalg.solve(a.T @ a + ridge, a.T @ y[train])
    return columns[test] @ k - y[test]


def resistance(folder: Path) -> str:
    """SOH from the tester's resistance alone (per cycle), one cell left out at a time."""
    r, y, group = [], [], []
    for g, path in enumerate(sorted(folder.glob("*.npz"))):
        with np.load(path) as z:
            name = "internal_resistance_ohm" if "internal_resistance_ohm" in z else "re_ohm"
            soh = z["capacity_ah"] / float(z["nominal_ah"])
            ohm = z[name].astype(float)
            good = np.isfinite(ohm) & (soh > fit_windows.LOWEST)
            if "flags" in z:
                good &= z["flags"] == 0
        r += np.log(ohm[good]).tolist()
        y += soh[good].tolist()
        group += [g] * int(good.sum())
    x, truth, of = np.array(r)[:, None], np.array(y), np.array(group)
    errors = [_regress(x, None, truth, of != g, of == g) for g in np.unique(of)]
    found = float(100 * np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    spread = float(100 * np.std(truth))
    print(f"resistance alone             RMSE {found:5.2f}  (the mean of all: {spread:.2f})")
    return f"{found:.2f} SOH points"


def first_drives(train: Folder) -> Iterator[tuple[str, Drive, Ecm]]:
    """One drive of each temperature with the circuit fitted to the others."""
    if len(train.tests) == 1:
        yield from validate_soc._cases(train, train)
        return
    fit = Fit(train)
    had = set()
    for name in train.drives():
        drive = train.tests[name]
        if drive["group"] not in had:
            had.add(drive["group"])
            yield name, drive, fit.without(validate_soc._twins(name, train.tests))


def soc(folder: Path) -> str:
    """One drive of each temperature: counting, and the filter, from right and wrong starts."""
    train = Folder(str(folder))
    rows: dict[float, dict[str, list[np.ndarray]]] = {}
    rated_mah = round(train.capacity_ah() * 1000)
    for _name, drive, ecm in first_drives(train):
        late = validate_soc.settled(drive)
        truth = 100 * drive["soc"]
        of = rows.setdefault(drive["group"], {})
        for device in validate_soc.devices(True, drive["capacity_ah"])[:2]:
            uah = np.array(validate_soc.readings(drive, device)[3])
            hours = (drive["t_s"] - drive["t_s"][0]) / 3600
            moved = np.cumsum(uah) / (rated_mah * 10.0)
            drift = device[2] * hours / drive["capacity_ah"] * 100
            start = truth[0]
            off = validate_soc.START_OFF_PCT
            z, _sigma = validate_soc.trace(drive, ecm, rated_mah, device, -off)
            known, _sigma = validate_soc.trace(drive, ecm, rated_mah, device, 0.0)
            for name, value in (
                ("counting, start 10 % off", start - off + moved),
                ("counting from a known start", start + moved),
                ("... without the offset", start + moved - drift),
                (SHIPPED_SOC, z),
                ("filter, known start", known),
            ):
                of.setdefault(name, []).append((value - truth)[late])
    worst = 0.0
    for group in sorted(rows, reverse=True):
        for name, errors in rows[group].items():
            rmse = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
            print(f"{group:4g} degC  {name:28} RMSE {rmse:5.2f} %")
            if name == SHIPPED_SOC:
                worst = max(worst, rmse)
    return f"{worst:.2f} %"


PULSES = (
    ("as it ships", None),
    ("voltage alone", lambda used: (0,)),
    ("with instant and later resistance", lambda used: (0, 1, 2)),
    ("5 s train alone", lambda used: tuple(f for f in used if f < 9)),
    ("pulses alone", lambda used: tuple(f for f in used if f not in (0, 14))),
)


def pulse(folder: Path) -> str:
    """Pulse tests at a random SOC, a fifth of the cells left out at a time."""
    worst = 0.0
    plain = fit_pulse.shapes
    for name, pulses in fit_pulse.load(folder).items():
        for label, choose in PULSES:

            def cut(given, *, known_soc, slow=False, label=label, choose=choose):
                shapes = plain(given, known_soc=known_soc, slow=slow)
                if choose is None or known_soc:
                    return shapes
                knots = fit_pulse._KNOTS if label != "pulses alone" else 0
                return [fit_pulse.Shape(choose(shapes[0].used), knots)]

            with mock.patch.object(fit_pulse, "shapes", cut):
                found = validate_pulse.judge(pulses, pulses, same=True, noise=True, folds=5)[0]
            print(
                f"{name:16} {label:34} MAPE {found['mape']:5.2f} %  RMSE {found['rmse']:5.2f}"
                f"  holds {found['coverage']:6.1%}", flush=True,
            )  # fmt: skip
            if choose is None:
                worst = max(worst, found["mape"])
    return f"{worst:.2f} %"


GROUPS = {"windows": windows, "resistance": resistance, "soc": soc, "pulse": pulse}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=list(GROUPS))
    parser.add_argument("set", type=Path, metavar="SET")
    arguments = parser.parse_args()
    print(f"figure: {GROUPS[arguments.group](arguments.set)}")


if __name__ == "__main__":
    main()
