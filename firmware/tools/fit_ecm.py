"""Fits an equivalent circuit (``common.ecm``) to recorded tests of one kind of cell.

The open-circuit voltage starts from a slow discharge (C/20). With the lags' time constants given,

    V - OCV(z) = R0(z, T) I + R1(z, T) x1 + R2(z, T) x2 + d(z) + k(z) (T - 25 degC)

is linear in all that is unknown: the resistances are bilinear over knots of SOC and temperature,
``d`` corrects the slow discharge for its own overpotential, ``k`` holds what the warmth does to
the rested voltage. Ridges towards smooth, small terms keep knots without data in place; each
temperature weighs the same. The time constants are fixed by the caller.

A cell with hysteresis brings both branches of its rested voltage instead. Their middle is taken
as it is, of their distance a fixed share (small loops do not reach the branches), and the
resistances are one for all SOC: on a plateau anything freer takes hysteresis for resistance.
"""

import textwrap
from array import array
from collections.abc import Collection

import numpy as np

from common.ecm import Ecm
from firmware.tools.drives import Array, DataError, Drive, Folder

Curve = tuple[Array, Array]  # soc, volts

TAUS_S = (20.0, 400.0)
Z_KNOTS = np.array([0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
R_KNOTS = np.array([0, 0.1, 0.2, 0.35, 0.6, 1.0])
HYSTERESIS_SPAN = 0.05  # of the capacity, to turn by 1/e
HYSTERESIS_SHARE = 0.9
GRID = np.concatenate([np.linspace(0, 0.1, 11), np.linspace(0.125, 1, 36)])
# the error model: one standard deviation of a circuit against tests it was not fitted to
ERRORS = {
    "bias_mv": 12, "bias_bp": 100, "bias_span_bp": 1500, "fast_mv": 8, "fast_pm": 100,
    "fast_s": 90, "r_pm": 150, "r_s": 3600, "capacity_pm": 30,
}  # fmt: skip
ERRORS_FLAT = dict(ERRORS, bias_mv=8, bias_bp=0, fast_mv=4, fast_s=180)
_STIFF = 20.0
_LEVEL = 5.0
_SMALL = 0.05
_OCV_STIFF = 250.0
_LOWEST_V = 2.6  # below, the knee bends everything
_WEIGHT = 1e4
_FIXED = 1e6


def lagged(t_s: Array, current_a: Array, ah: Array, taus_s: tuple[float, ...]) -> Array:
    """``(N, len(taus_s))`` currents through first-order lags; gaps take the counter's mean."""
    dt = np.diff(t_s, prepend=t_s[0] - 1)
    mean_a = current_a.copy()
    gap = dt > 5
    mean_a[gap] = np.diff(ah, prepend=ah[0])[gap] * 3600 / dt[gap]
    columns = []
    for tau in taus_s:
        keep = np.exp(-dt / tau).tolist()
        x = 0.0
        out: list[float] = []
        for a, i in zip(keep, mean_a.tolist(), strict=True):
            x = a * x + (1 - a) * i
            out.append(x)
        columns.append(out)
    return np.array(columns).T


def hats(x: Array, knots: Array) -> Array:
    """``(N, len(knots))`` weights of linear interpolation, held at the ends."""
    out = np.zeros((len(x), len(knots)))
    if len(knots) == 1:
        out[:, 0] = 1
        return out
    x = np.clip(x, knots[0], knots[-1])
    at = np.clip(np.searchsorted(knots, x) - 1, 0, len(knots) - 2)
    share = (x - knots[at]) / (knots[at + 1] - knots[at])
    rows = np.arange(len(x))
    out[rows, at] = 1 - share
    out[rows, at + 1] = share
    return out


def slow_discharge(test: Drive) -> tuple[Array, Array, float]:
    """``(soc, volts, current)`` of the falling branch of a slow test, rising in SOC."""
    falls = test["current_a"] < 0
    soc, volts = test["soc"][falls][::-1], test["voltage_v"][falls][::-1]
    current = float(np.median(test["current_a"][falls]))
    return GRID, np.interp(GRID, soc, volts), current


def hysteresis(charge_ah: Array, capacity_ah: float, span: float) -> Array:
    """``h`` in -1..1 as the filter follows it, from the counted charge."""
    moved = np.diff(charge_ah, prepend=charge_ah[0]) / capacity_ah
    h = 0.0
    out = []
    for share, dz in zip(
        np.minimum(1, np.abs(moved) / span).tolist(), moved.tolist(), strict=True
    ):
        h += share * ((1.0 if dz > 0 else -1.0) - h)
        out.append(h)
    return np.array(out)


class Normal:
    """Sums of squares of one test, so that any choice of tests is fitted at no cost.

    ``half`` is ``(soc, volts)`` of half the distance of the branches, if there is hysteresis.
    """

    def __init__(
        self,
        test: Drive,
        ocv: Curve,
        knots_c: Array,
        taus_s: tuple[float, ...] = TAUS_S,
        half: Curve | None = None,
    ) -> None:
        soc, warm = test["soc"], test["temperature_c"]
        base = hats(soc, R_KNOTS)[:, :, None] * hats(warm, knots_c)[:, None, :]
        base = base.reshape(len(soc), -1)
        lags = lagged(test["t_s"], test["current_a"], test["ah"], taus_s)
        volts = test["voltage_v"]
        off = volts - np.interp(soc, *ocv)
        columns = [base * test["current_a"][:, None]]
        columns += [base * lags[:, [k]] for k in range(len(taus_s))]
        rest = hats(soc, Z_KNOTS)
        columns += [rest, rest * ((warm - 25) / 25)[:, None]]
        if half is not None:
            h = hysteresis(test["ah"], test["capacity_ah"], HYSTERESIS_SPAN)
            off -= HYSTERESIS_SHARE * np.interp(soc, *half) * h
        design = np.hstack(columns)
        use = (volts > _LOWEST_V).astype(float) * _WEIGHT / len(soc)
        self.group = test["group"]
        self.square = design.T @ (design * use[:, None])
        self.cross = design.T @ (off * use)
        self.design = design
        self.off = off


def _second(n: int) -> Array:
    out = np.zeros((max(n - 2, 0), n))
    for k in range(n - 2):
        out[k, k : k + 3] = 1, -2, 1
    return out


def solve(normals: list[Normal], knots_c: Array, half: bool = False) -> Array:
    """The coefficients from some tests' ``Normal``; ``half``: with hysteresis, OCV as given."""
    groups = [normal.group for normal in normals]
    square = np.zeros_like(normals[0].square)
    cross = np.zeros_like(normals[0].cross)
    for normal in normals:
        square += normal.square / groups.count(normal.group)
        cross += normal.cross / groups.count(normal.group)
    n_r, n_t, n_z = len(R_KNOTS), len(knots_c), len(Z_KNOTS)
    along = np.kron(_second(n_r).T @ _second(n_r), np.eye(n_t))
    across = np.kron(np.eye(n_r), _second(n_t).T @ _second(n_t))
    first = np.diff(np.eye(n_r), axis=0)
    level = np.kron(first.T @ first, np.eye(n_t))  # where nothing is known: as next to it
    ridge = np.zeros_like(square)
    block = n_r * n_t
    lags = (len(square) - 2 * n_z) // block
    stiff = _FIXED if half else _OCV_STIFF
    even = _FIXED if half else _LEVEL
    for k in range(lags):
        of_lag = slice(k * block, (k + 1) * block)
        ridge[of_lag, of_lag] = _STIFF * (along + across) + even * level + _SMALL * np.eye(block)
    at = lags * block
    ridge[at : at + n_z, at : at + n_z] = stiff * np.eye(n_z)
    hot = slice(at + n_z, at + 2 * n_z)
    ridge[hot, hot] = 4 * stiff * np.eye(n_z)
    return np.asarray(np.linalg.solve(square + ridge, cross), np.float64)


def build(
    theta: Array,
    ocv: Curve,
    knots_c: Array,
    capacity_ah: float,
    errors: dict[str, int],
    taus_s: tuple[float, ...] = TAUS_S,
    half: Curve | None = None,
) -> Ecm:
    """The ``Ecm`` of fitted coefficients; ``errors`` are its error model's keyword arguments."""
    n_r, n_t, n_z = len(R_KNOTS), len(knots_c), len(Z_KNOTS)
    block = n_r * n_t
    tables = [
        tuple(int(max(v, 0) * capacity_ah * 1e6 + 0.5) for v in theta[k * block : (k + 1) * block])
        for k in range(1 + len(taus_s))
    ]
    at = (1 + len(taus_s)) * block
    grid, volts = ocv
    volts = volts + np.interp(grid, Z_KNOTS, theta[at : at + n_z])
    volts = np.maximum.accumulate(volts)
    thermal = np.interp(grid, Z_KNOTS, theta[at + n_z : at + 2 * n_z]) / 25
    width = np.zeros(len(grid))
    if half is not None:
        width = np.interp(grid, *half) * HYSTERESIS_SHARE
    return Ecm(
        soc_bp=tuple(round(z * 10000) for z in grid),
        ocv_dmv=tuple(round(v * 10000) for v in volts),
        half_dmv=tuple(round(v * 10000) for v in width),
        thermal_uv_k=tuple(round(v * 1e6) for v in thermal),
        r_soc_bp=tuple(round(z * 10000) for z in R_KNOTS),
        r_dc=tuple(round(t * 10) for t in knots_c),
        r0=tables[0],
        r1=tables[1],
        r2=tables[2],
        tau1_ms=int(taus_s[0] * 1000),
        tau2_ms=int(taus_s[1] * 1000),
        hysteresis_bp=0 if half is None else int(HYSTERESIS_SPAN * 10000),
        **errors,
    )


class Fit:
    """All that is fitted to one training folder, but for the choice of the tests."""

    def __init__(self, train: Folder) -> None:
        self.ocv: Curve
        self.half: Curve | None = None
        if train.branches is not None:
            b = train.branches
            rise, fall = b["ocv_charge_v"], b["ocv_discharge_v"]
            self.ocv = (GRID, np.interp(GRID, b["soc"], (rise + fall) / 2))
            self.half = (b["soc"], (rise - fall) / 2)
        elif train.slow is not None:
            grid, volts, current_a = slow_discharge(train.slow)
            self.ocv = (grid, volts - 0.05 * current_a)  # the rest of it is fitted
        else:
            raise DataError(f"{train.path}: neither *C20_OCV.npz nor ocv_curve.npz in it")
        self.knots_c = np.array(sorted({test["group"] for test in train.tests.values()}))
        self.tests = train.tests
        self.capacity_ah = train.capacity_ah()
        self.errors = ERRORS if self.half is None else ERRORS_FLAT
        self._normals: dict[str, Normal] = {}

    def _normal(self, key: str, test: Drive) -> Normal:
        if key not in self._normals:
            self._normals[key] = Normal(test, self.ocv, self.knots_c, half=self.half)
        return self._normals[key]

    def without(self, left_out: Collection[str]) -> Ecm:
        """The circuit from all tests but those named."""
        normals = [self._normal(k, t) for k, t in self.tests.items() if k not in left_out]
        if not normals:
            raise DataError(f"no test left to fit to without {', '.join(sorted(left_out))}")
        return self._circuit(normals)

    def of(self, test: Drive) -> Ecm:
        """The circuit from this one test."""
        return self._circuit([Normal(test, self.ocv, self.knots_c, half=self.half)])

    def _circuit(self, normals: list[Normal]) -> Ecm:
        theta = solve(normals, self.knots_c, self.half is not None)
        return build(theta, self.ocv, self.knots_c, self.capacity_ah, self.errors, half=self.half)


def calibrate(path: str) -> Ecm:
    """The circuit of all tests in the folder ``path``."""
    return Fit(Folder(path)).without(())


_FIELDS = (
    "soc_bp", "ocv_dmv", "half_dmv", "thermal_uv_k", "r_soc_bp", "r_dc", "r0", "r1", "r2",
    "tau1_ms", "tau2_ms", "hysteresis_bp", "bias_mv", "bias_bp", "bias_span_bp", "fast_mv",
    "fast_pm", "fast_s", "r_pm", "r_s", "capacity_pm",
)  # fmt: skip


def numbers(ecm: Ecm) -> dict[str, int | list[int]]:
    """All numbers of a circuit by name, as JSON takes them."""
    found: dict[str, int | array[int]] = {name: getattr(ecm, name) for name in _FIELDS}
    return {k: v if isinstance(v, int) else list(v) for k, v in found.items()}


def source_lines(ecm: Ecm) -> list[str]:
    """``ECM = Ecm(...)`` as the lines of a module that imports ``Ecm``."""
    lines = ["ECM = Ecm("]
    for name, value in numbers(ecm).items():
        if isinstance(value, int):
            lines.append(f"    {name}={value},")
            continue
        text = ", ".join(str(v) for v in value)
        lines.append(f"    {name}=(")
        lines += textwrap.wrap(text + ",", 90, initial_indent=" " * 8, subsequent_indent=" " * 8)
        lines.append("    ),")
    return [*lines, ")  # fmt: skip"]
