"""State of health from a train of current pulses: screening in minutes, no full cycle.

A train is a row of pulse pairs of rising rate: charge for ``width_ms``, rest 15 widths, discharge
as long, rest. Voltages are read where the current turns: before the first pulse, then the begin
and end of the charge pulse, of its rest, of the discharge pulse and of its rest. From these come

=============  =========================================================== ========
feature        what it is                                                  unit
=============  =========================================================== ========
``ocv``        voltage before the first pulse                              mV
``ohmic``      instant resistance, mean of on and off, both directions     mV per C
``polar``      what the pulse adds to it until its end                     mV per C
``asym``       discharge less charge resistance at the end of the pulse    mV per C
``bend_c/d``   change of the end-of-pulse resistance with the rate         mV per C²
``rest_c/d``   what is left of a pulse at the end of its rest              mV per C
``net``        last rest less the voltage before the train                 mV
``*_1s``       the same of a train of 1 s pulses before this one           mV per C
``ohmic_f``    the same of the first train of all, of 30 ms pulses         mV per C
``drift``      ``ocv`` less the voltage before that first train            mV
``drift_1s``   ``ocv`` less the voltage before the train of 1 s pulses     mV
``total``      mean resistance at the end of the pulse: ohmic and polar,   mV per C
               for boards that cannot read within 10 ms of an edge
=============  =========================================================== ========

Slopes over the rates are least squares with the *measured* current steps, so that the current
sensor's offset cancels; all but ``ocv`` are differences of one cell's voltages, so that the
voltage offset cancels. The features are scaled to deviations of the calibration cells and clipped
to some of them. At a known SOC the SOH is linear in them. At any SOC it is a table, piecewise
linear in ``ocv``, times the other features, plus their products (after S. Tao et al., Nature
Communications 15 (2024) 10154, who map the same voltages with a random forest):

    soh = sum_k h_k(ocv) (a_k + sum_i a_ki x_i) + sum_ij c_ij x_i x_j        (i, j: not ocv)

The interval holds 95 % of calibration cells that the fit had not seen: half-width =
``max(floor, e0 + e1 |x| + e2 t + e3 t²)``, |x| the root mean square of the features (how unlike
the typical cell) and t the scaled ``ocv``. Most of this error is the cell's own and stays when
the test is repeated at another SOC: an average gains little.

    >>> test = PulseTest(20000, charges=3, discharges=2)
    >>> for turn, mv in enumerate(voltages_mv): test.put(MAIN, turn, mv)
    >>> for pulse, ma in enumerate(steps_ma): test.put_step(MAIN, pulse, ma)
    >>> pulse = PulseSoh(model)
    >>> pulse.estimate(test)
    True
    >>> pulse.soh_bp, pulse.lo_bp, pulse.hi_bp
    (7810, 7560, 8060)

Floats may be 32 bits; no allocation beyond what the constructors make.
"""

from array import array

from common.mp import const

TYPE_CHECKING = False  # boards have no typing
if TYPE_CHECKING:
    from typing import Any

FEATURES = (
    "ocv", "ohmic", "polar", "asym", "bend_c", "bend_d", "rest_c", "rest_d", "net",
    "polar_1s", "asym_1s", "rest_c_1s", "rest_d_1s", "ohmic_f", "drift",
    "total", "total_1s", "drift_1s",
)  # fmt: skip
_OF_MAIN = const(9)  # features of the main train; then those of the short one ...
_OF_SHORT = const(13)  # ... and of the first
_TOTAL = const(15)

PULSES_BP = (500, 9500)  # SOC: a pulse beyond would meet a cell's end
MAIN = const(0)  # the train of 5 s pulses
SHORT = const(1)  # the train of 1 s pulses, before it
FIRST = const(2)  # the train of 30 ms pulses, at the begin of the test
TRAINS = const(3)

_OCV_MARGIN_MV = const(40.0)  # beyond the voltages of calibration: no figure
_FAR = const(12.0)  # deviations: a feature no calibration cell comes near


class Reason:
    """Why there is no figure."""

    NONE = 0
    NOT_MEASURED = 1  # a train the model needs is missing
    NO_STEP = 2  # a current step of the wrong sign, or no whole pulse in one direction
    OCV_OUTSIDE = 3  # SOC outside the calibration
    UNLIKE = 4  # unlike every cell of the calibration


class PulseTest:
    """The voltages and current steps of one test of one cell, as they were measured."""

    def __init__(self, rated_mah: int, charges: int, discharges: int) -> None:
        """``charges`` and ``discharges``: pulses of each kind in a train, 2..5."""
        self.rated_mah = rated_mah
        self.charges = charges
        self.discharges = discharges
        n = 1 + 4 * (charges + discharges)
        pulses = charges + discharges
        self.u_mv = [array("f", bytes(4 * n)) for _ in range(TRAINS)]
        self.step_ma = [array("f", bytes(4 * pulses)) for _ in range(TRAINS)]
        self.have = [False] * TRAINS

    def clear(self) -> None:
        """Forget what was measured."""
        for train in range(TRAINS):
            self.have[train] = False

    def put(self, train: int, turn: int, mv: float) -> None:
        """Store the voltage of one turning point; the last one completes the train."""
        self.u_mv[train][turn] = mv
        if turn == len(self.u_mv[train]) - 1:
            self.have[train] = True

    def put_step(self, train: int, pulse: int, ma: float) -> None:
        """Store one current step: current in the pulse less current at rest, signed.

        0 where a limit cut the pulse short: it is left out.
        """
        self.step_ma[train][pulse] = ma


class PulseModel:
    """Calibrated numbers for one kind of cell, from ``common.cells.pulse_*``."""

    def __init__(self, data: "tuple[Any, ...]") -> None:
        self.name: str = data[0]
        self.rated_mah: int = data[1]
        self.charges: int = data[2][0]
        self.discharges: int = data[2][1]
        self.known_soc_bp: int = data[3]  # charge above empty it must be used at; -1: any
        self.used = array("B", data[4])
        self.mean: "array[float]" = array("f", data[5])
        self.scale: "array[float]" = array("f", data[6])
        self.clip: float = data[7]  # deviations
        self.knots: "array[float]" = array("f", data[8])  # of the table, mV; none: linear
        self.coefficients: "array[float]" = array("f", data[9])
        self.limits: "array[float]" = array(
            "f", data[10]
        )  # lowest and highest ocv_mv and SOH of calibration
        self.error: "array[float]" = array("f", data[11])  # floor, e0, e1, e2, e3
        self.common: float = data[12]  # share of the error's variance that is the cell's own
        self.crc: int = data[13]  # of the recordings it was made from


def features(test: PulseTest, out: "array[float]") -> int:
    """Fill ``out`` (one float a name in ``FEATURES``) from what was measured; a ``Reason``.

    Features of a train that was not measured are left as they are.
    """
    if not test.have[MAIN]:
        return Reason.NOT_MEASURED
    for train in range(TRAINS):
        if test.have[train]:
            reason = _train(test, train, out)
            if reason:
                return reason
    return Reason.NONE


def _train_of(feature: int) -> int:
    if feature < _OF_MAIN or feature == _TOTAL:
        return MAIN
    return SHORT if feature < _OF_SHORT or feature > _TOTAL else FIRST


def _train(test: PulseTest, train: int, out: "array[float]") -> int:
    u = test.u_mv[train]
    step_ma = test.step_ma[train]
    rated_ma = test.rated_mah
    ends = len(u) - 1
    on = end_c = end_d = rest_c = rest_d = 0.0  # sums of rise times rate
    rates_c = rates_d = squares_c = squares_d = 0.0  # sums of rate, of rate squared
    r_c = r_d = rr_c = rr_d = 0.0  # sums of resistance, of resistance times rate
    on_d = 0.0
    n_c = n_d = 0
    k = 0
    base = u[0]
    for pulse in range(len(step_ma)):
        charge = pulse % 2 == 0
        rate = step_ma[pulse] / rated_ma
        if not charge:
            rate = -rate
        if rate < 0:
            return Reason.NO_STEP
        rise = u[k + 2] - base
        instant = (u[k + 1] - base) + (u[k + 2] - u[k + 3])
        left = u[k + 4] - base
        k += 4
        base = u[k]
        if not rate:  # cut short
            continue
        if charge:
            n_c += 1
            on += instant * rate
            end_c += rise * rate
            rest_c += left * rate
            rates_c += rate
            squares_c += rate * rate
            r_c += rise / rate
            rr_c += rise
        else:
            n_d += 1
            on_d -= instant * rate
            end_d -= rise * rate
            rest_d += left * rate
            rates_d += rate
            squares_d += rate * rate
            r_d -= rise / rate
            rr_d -= rise
    if not n_c or not n_d:
        return Reason.NO_STEP
    ohmic = (on / squares_c + on_d / squares_d) / 4
    end_c /= squares_c
    end_d /= squares_d
    polar = (end_c + end_d) / 2 - ohmic
    if train == MAIN:
        out[0] = u[0]
        out[1] = ohmic
        out[2] = polar
        out[3] = end_d - end_c
        spread_c = squares_c - rates_c * rates_c / n_c
        spread_d = squares_d - rates_d * rates_d / n_d
        out[4] = (rr_c - r_c * rates_c / n_c) / spread_c if n_c > 1 else 0.0
        out[5] = (rr_d - r_d * rates_d / n_d) / spread_d if n_d > 1 else 0.0
        out[6] = rest_c / squares_c
        out[7] = rest_d / squares_d
        out[8] = u[ends] - u[0]
        out[_TOTAL] = ohmic + polar
    elif train == SHORT:
        out[9] = polar
        out[10] = end_d - end_c
        out[11] = rest_c / squares_c
        out[12] = rest_d / squares_d
        out[_TOTAL + 1] = ohmic + polar
        out[_TOTAL + 2] = test.u_mv[MAIN][0] - u[0]
    else:
        out[13] = ohmic
        out[14] = test.u_mv[MAIN][0] - u[0]
    return Reason.NONE


class PulseSoh:
    """State of health of one cell from one pulse test."""

    def __init__(self, model: PulseModel) -> None:
        self.model = model
        self.features = array("f", bytes(4 * len(FEATURES)))
        self._x = array("f", bytes(4 * len(model.used)))
        self.reason = Reason.NOT_MEASURED
        self.soh = 0.0  # in points of the rated capacity
        self.half = 0.0  # 95 % half-width
        self.soh_bp: int | None = None
        self.lo_bp: int | None = None
        self.hi_bp: int | None = None

    def estimate(self, test: PulseTest) -> bool:
        """Judge a test; whether it gave a figure (else ``reason``)."""
        self.soh_bp = self.lo_bp = self.hi_bp = None
        self.reason = self._check(test)
        if self.reason:
            return False
        soh = self._map()
        lowest, highest = self.model.limits[2], self.model.limits[3]
        beyond = max(0.0, lowest - soh, soh - highest)
        soh = min(highest, max(lowest, soh))
        self.soh = soh
        self.half = self._half_width() + beyond
        self.soh_bp = int(soh * 100 + 0.5)
        self.lo_bp = max(0, int((soh - self.half) * 100))
        self.hi_bp = int((soh + self.half) * 100) + 1
        return True

    def _check(self, test: PulseTest) -> int:
        model = self.model
        reason = features(test, self.features)
        if reason:
            return reason
        used = model.used
        clip = model.clip
        ocv_mv = self.features[0]
        if not (model.limits[0] - _OCV_MARGIN_MV <= ocv_mv <= model.limits[1] + _OCV_MARGIN_MV):
            return Reason.OCV_OUTSIDE
        for i in range(len(used)):
            k = used[i]
            if not test.have[_train_of(k)]:
                return Reason.NOT_MEASURED
            x = (self.features[k] - model.mean[i]) / model.scale[i]
            if not -_FAR <= x <= _FAR:
                return Reason.UNLIKE
            self._x[i] = min(clip, max(-clip, x))
        return Reason.NONE

    def _map(self) -> float:
        """Without a table: constant, then x_i. Else x_i x_j (0 < i <= j), then the table."""
        x = self._x
        c = self.model.coefficients
        n = len(x)
        if not len(self.model.knots):
            total = c[0]
            for i in range(n):
                total += c[1 + i] * x[i]
            return total
        total = 0.0
        at = 0
        for i in range(1, n):
            part = 0.0
            for j in range(i, n):
                part += c[at] * x[j]
                at += 1
            total += part * x[i]
        return total + self._table(at)

    def _table(self, at: int) -> float:
        knots = self.model.knots
        x = self._x
        c = self.model.coefficients
        n = len(x)
        ocv_mv = min(knots[len(knots) - 1], max(knots[0], self.features[0]))
        k = 0
        while k < len(knots) - 2 and ocv_mv > knots[k + 1]:
            k += 1
        share = (ocv_mv - knots[k]) / (knots[k + 1] - knots[k])
        at += k * n
        low = c[at]
        high = c[at + n]
        for i in range(1, n):
            low += c[at + i] * x[i]
            high += c[at + n + i] * x[i]
        return low + share * (high - low)

    def _half_width(self) -> float:
        x = self._x
        n = len(x)
        size = 0.0
        for i in range(n):
            size += x[i] * x[i]
        e = self.model.error
        t = x[0]
        half: float = max(e[0], e[1] + e[2] * (size / n) ** 0.5 + e[3] * t + e[4] * t * t)
        return half
