"""What the pack is worth: SOC, state of health, resistance and lifetime, fed snapshot by snapshot.

    >>> figures = Estimators(settings)
    >>> figures.update(snapshot)  # each cycle
    >>> figures.soc_bp, figures.soc_lo_bp, figures.soc_hi_bp
    (5120, 4890, 5350)

A figure without evidence is ``None``. Ages are seconds of run time: the time a board was off is
not known to it. ``state`` and ``restore`` carry what must survive power-off; anchors do not, for
the charge that moved meanwhile is unknown.
"""

import struct

from common.cells import circuit
from common.codes import Fault, Method, NextTest, Refusal, SocSync
from common.crc import crc32
from common.mp import const
from common.profiles import CellProfile
from common.registers import Block
from firmware.estimators import anchors as kinds
from firmware.estimators.anchors import OPENED, Anchors
from firmware.estimators.charge import Charge
from firmware.estimators.lifetime import Lifetime
from firmware.estimators.resistance import PULSE_MS, Resistance
from firmware.estimators.soc import Soc
from firmware.estimators.soh import Soh
from firmware.estimators.window import ChargeWindow, from_table
from firmware.settings import Settings
from firmware.snapshot import Snapshot

_VERSION = const(1)
_HEAD = "<BBHLLLL"  # version, cells, lifetime words, rated mAh, profile CRC, run time s, SOH count
_SOC = "<Bff"  # known, SOC, sigma
_HEALTH = "<fffBL"  # per cell: SOH, variance, best variance, method, time
_RESISTANCE = "<LL"  # readings, time of the last
_PAIR = "<ff"  # per cell: resistance, variance
_DOUBTFUL = 1 << Fault.SENSOR_IMPLAUSIBLE | 1 << Fault.STACK_MISMATCH


def profile_crc(profile: CellProfile) -> int:
    """CRC-32 of all that the estimates take from a cell profile."""
    p = profile
    numbers = [p.chemistry, p.cell_full_mv, p.cell_empty_mv, p.ocv_sigma_mv]
    numbers += [p.flat_bp[0], p.flat_bp[1], p.r_ref_uohm_ah // 1000]
    numbers += list(p.soc_bp) + list(p.ocv_mv) + [mv & 0xFFFF for mv in p.ocv_aged_mv]
    if p.windows is not None:
        numbers += [p.windows_crc >> 16, p.windows_crc & 0xFFFF]
    data = struct.pack("<%dH" % len(numbers), *numbers)
    ecm = circuit(p.name)
    if ecm is not None:
        data += struct.pack("<L", ecm.crc())
    return crc32(data, 0, len(data))


class Estimators:
    """All estimators of one pack."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._n = settings.n_cells
        self._rated_mah = settings.rated_mah
        self._profile_crc = profile_crc(settings.profile)
        self._ms = 0
        self.now_s = 0  # run time
        self.lifetime = Lifetime(settings)
        self._fresh()

    def _fresh(self) -> None:
        settings = self._settings
        self.charge = Charge()
        self.resistance = Resistance(settings)
        self.soc = Soc(settings, self.charge)
        self.soh = Soh(settings)
        self.anchors = Anchors(settings, self.charge, self.resistance, self.soh)
        self.window: ChargeWindow | None = None
        if settings.profile.windows is not None:
            model = from_table(settings.profile.windows)
            self.window = ChargeWindow(self._n, self._rated_mah, model)
        self.soc_bp: int | None = None
        self.soc_lo_bp: int | None = None
        self.soc_hi_bp: int | None = None
        self.soc_sync = SocSync.NONE
        self.soc_age_s: int | None = None
        self.soh_bp: int | None = None
        self.soh_lo_bp: int | None = None
        self.soh_hi_bp: int | None = None
        self.soh_method = Method.NONE
        self.soh_age_s: int | None = None
        self.fec_centi = 0
        self._minute = -1

    def update(self, snapshot: Snapshot) -> None:
        """Take one cycle; an invalid one only breaks what must be consecutive.

        Cells that cannot be right are evidence of nothing, but the charge is counted.
        """
        plausible = snapshot.valid and not snapshot.faults & _DOUBTFUL
        if not plausible:
            self.anchors.interrupt()
            self.resistance.interrupt()
            if self.window is not None:
                self.window.interrupt()
        if not snapshot.valid:
            return
        dt_ms = snapshot.dt_ms
        self._ms += dt_ms
        self.now_s += self._ms // 1000
        self._ms %= 1000
        now_s = self.now_s
        delta_uah = snapshot.delta_uah
        self.charge.add(delta_uah)
        self.soc.count(delta_uah)
        self.soc.observe(snapshot, now_s, plausible)
        if plausible:
            self._voltages(snapshot, now_s)
        self._charge_state(now_s)
        self.lifetime.update(snapshot, self.soc_bp, plausible)
        if self._minute != now_s // 60:  # intervals widen slowly
            self._minute = now_s // 60
            self.fec_centi = self.soh.fec_centi = self.lifetime.fec_centi()
            if self.window is not None:
                self.window.r_uohm = int(self.resistance.typical_uohm(0))
            self._pack(now_s)
        if self.soh_age_s is not None:
            self.soh_age_s = now_s - self.soh.youngest_s()

    def _voltages(self, snapshot: Snapshot, now_s: int) -> None:
        if 500 <= snapshot.dt_ms <= 1500:
            self.resistance.update(snapshot, now_s, self.soc_bp)
        else:
            self.resistance.interrupt()
        if self.window is not None and self.window.update(snapshot):
            self._windows(self.window, now_s)
        change = self.anchors.update(snapshot, now_s)
        if change:
            self._anchor(change == OPENED, now_s)

    def _charge_state(self, now_s: int) -> None:
        soc = self.soc
        soc.update(now_s)
        self.soc_bp = soc.soc_bp
        self.soc_lo_bp = soc.lo_bp
        self.soc_hi_bp = soc.hi_bp
        if soc.known:
            self.soc_sync = soc.sync
            self.soc_age_s = now_s - soc.sync_s

    def _anchor(self, opened: bool, now_s: int) -> None:
        anchor = self.anchors.open
        self.fec_centi = self.soh.fec_centi = self.lifetime.fec_centi()
        if opened:
            self.soh.opened(now_s)
            if anchor.kind == kinds.FULL:
                self.lifetime.full()
        self.soc.anchor(anchor, opened, now_s)
        if self.soh.evidence(anchor, self.anchors.slots, now_s):
            mean = self.soh.mean()
            if mean is not None:
                self.soc.use_capacity(mean[0], mean[1], now_s)
            self._pack(now_s)

    def _windows(self, window: ChargeWindow, now_s: int) -> None:
        """A charge has ended: take what its windows tell of each cell."""
        soh = self.soh
        self.fec_centi = soh.fec_centi = self.lifetime.fec_centi()
        gained = False
        for i in range(self._n):
            found = window.evidence(i)
            if found is not None:
                soh.window(i, found, window.walk_bp, now_s)
                gained = True
        if gained:
            soh.windows_done(now_s)
            self._pack(now_s)
        elif soh.refusal == Refusal.NO_EVIDENCE:
            soh.refusal = window.refusal

    def _pack(self, now_s: int) -> None:
        figure = self.soh.pack(now_s)
        if figure is None:
            self.soh_bp = self.soh_lo_bp = self.soh_hi_bp = self.soh_age_s = None
            self.soh_method = Method.NONE
            return
        self.soh_bp = int(figure[0] + 0.5)
        self.soh_lo_bp = int(figure[1])
        self.soh_hi_bp = int(figure[2] + 1)
        self.soh_method = self.soh.method[self.soh.weakest()]
        self.soh_age_s = now_s - self.soh.youngest_s()

    # --- register image -------------------------------------------------------------------

    def publish_lifetime(self, block: Block) -> None:
        """Write the lifetime model."""
        self.lifetime.publish(block)

    def publish_health(self, block: Block) -> None:
        """Write the health model, all but what the image stamps.

        ``Cap`` is what the pack gives between full and empty once balanced: its weakest cell.
        """
        put = block.set
        soh = self.soh
        now_s = self.now_s
        known = self.soh_bp is not None
        put("Soh", self.soh_bp)
        put("SohLo", self.soh_lo_bp)
        put("SohHi", self.soh_hi_bp)
        put("Mth", self.soh_method)
        put("Ref", self.refusal)
        put("Next", self.next_test)
        put("SohAge", self.soh_age_s)
        put("SohN", soh.count)
        put("Cap", self._mah(self.soh_bp))
        put("CapLo", self._mah(self.soh_lo_bp))
        put("CapHi", self._mah(self.soh_hi_bp))
        put("CapRtg", self._rated_mah)
        self._publish_resistance(block)
        spread = soh.spread() if known else None
        put("Spread", None if spread is None else int(spread[0] + 0.5))
        put("SpreadHi", None if spread is None else int(spread[1] + 0.5))
        weak_z = soh.weak_z() if known else None
        put("Weak", soh.weakest() + 1 if known else None)
        put("WeakZ", None if weak_z is None else int(weak_z * 10 + 0.5))
        rest_dv_mv = self.anchors.rest_dv_mv
        put("RestDv", rest_dv_mv)
        put("RestDvAge", None if rest_dv_mv is None else now_s - self.anchors.rest_dv_s)
        put("Chem", self._settings.profile.chemistry)
        block.set_text("Prof", self._settings.profile.name)
        put("ProfCrc", self._profile_crc)
        for i in range(self._n):
            self._publish_cell(block, i, now_s)

    def publish_energy(self, block: Block) -> None:
        """Write the energy model, all but what the image stamps."""
        block.set("EnRef", Refusal.SOC_UNKNOWN)

    @property
    def refusal(self) -> int:
        """Why there is no state of health; ``NONE`` when a figure stands (``codes.Refusal``)."""
        return self.soh.refusal if self.soh_bp is None else Refusal.NONE

    @property
    def next_test(self) -> int:
        """The cheapest step that would give (better) evidence (``codes.NextTest``)."""
        figure = self.soh.next_test(self.anchors.open, self.now_s)
        return figure if self.soc.known else NextTest.REST

    def _mah(self, soh_bp: "int | None") -> "int | None":
        return None if soh_bp is None else int(self._rated_mah * (soh_bp / 10000) + 0.5)

    def _publish_resistance(self, block: Block) -> None:
        put = block.set
        figure = self.resistance.pack()
        names = ("R", "RLo", "RHi")
        for k in range(3):
            put(names[k], None if figure is None else int(figure[k] + 0.5))
        put("RRef", int(self.resistance.ref_uohm * self._n + 0.5))
        put("RMth", Method.NONE if figure is None else Method.CURRENT_STEP)
        put("RPulse", PULSE_MS)
        put("RAge", None if figure is None else self.now_s - self.resistance.at_s)

    def _publish_cell(self, block: Block, i: int, now_s: int) -> None:
        put = block.set_cell
        soh = self.soh
        known = soh.known(i)
        figure = soh.interval(i, now_s) if known else (None, None, None)
        put("Soh", i, _whole(figure[0], 1))
        put("SohLo", i, _whole(figure[1], 1))
        put("SohHi", i, _whole(figure[2], 1))
        put("Mth", i, soh.method[i])
        put("AgeH", i, (now_s - soh.at_s[i]) // 3600 if known else None)
        figure = self.resistance.interval(i) or (None, None, None)
        put("R", i, _whole(figure[0], 10))
        put("RLo", i, _whole(figure[1], 10))
        put("RHi", i, _whole(figure[2], 10))

    # --- what survives power-off ----------------------------------------------------------

    def state(self) -> bytes:
        """What ``restore`` takes up again; some hundred bytes."""
        soc, soh, resistance, lifetime = self.soc, self.soh, self.resistance, self.lifetime
        n_words = len(lifetime.words)
        parts = [
            struct.pack(
                _HEAD, _VERSION, self._n, n_words, self._rated_mah, self._profile_crc,
                self.now_s, soh.count,
            )
        ]  # fmt: skip
        parts += [struct.pack("<l", word) for word in lifetime.words]
        parts += [struct.pack("<l", word) for word in lifetime.rest]
        level, var = soc.predict(self.now_s)
        parts.append(struct.pack(_SOC, soc.known, level, var**0.5))
        parts += [
            struct.pack(_HEALTH, soh.soh[i], soh.var[i], soh.best[i], soh.method[i], soh.at_s[i])
            for i in range(self._n)
        ]
        parts.append(struct.pack(_RESISTANCE, resistance.count, resistance.at_s))
        parts += [struct.pack(_PAIR, resistance.r[i], resistance.var[i]) for i in range(self._n)]
        return b"".join(parts)

    def restore(self, data: bytes) -> bool:
        """Take up ``state()`` of before; whether all of it was of use.

        Data that is not whole is left alone. When the profile, the number of cells or the rating
        is another one, the lifetime counters stay true and are kept; SOC, SOH and resistance are
        not, and ``refusal`` says ``PROFILE_CHANGED``.
        """
        head = struct.calcsize(_HEAD)
        if len(data) < head:
            return False
        version, n, n_words, rated_mah, crc, now_s, count = struct.unpack_from(_HEAD, data, 0)
        if version != _VERSION or n_words != len(self.lifetime.words):
            return False
        if len(data) != _state_bytes(n, n_words):
            return False
        at = head
        for k in range(n_words):
            self.lifetime.words[k] = struct.unpack_from("<l", data, at)[0]
            at += 4
        for k in range(4):
            self.lifetime.rest[k] = struct.unpack_from("<l", data, at)[0]
            at += 4
        self.now_s = now_s
        self._fresh()
        self.fec_centi = self.soh.fec_centi = self.lifetime.fec_centi()
        if n != self._n or rated_mah != self._rated_mah or crc != self._profile_crc:
            self.soh.refusal = Refusal.PROFILE_CHANGED
            return False
        self._restore_figures(data, at, count)
        return True

    def _restore_figures(self, data: bytes, at: int, count: int) -> None:
        soh, resistance = self.soh, self.resistance
        known, level, sigma = struct.unpack_from(_SOC, data, at)
        at += struct.calcsize(_SOC)
        for i in range(self._n):
            cell = struct.unpack_from(_HEALTH, data, at)
            soh.soh[i], soh.var[i], soh.best[i], soh.method[i], soh.at_s[i] = cell
            soh.own[i] = soh.var[i]  # which part was the cell's own is not kept
            at += struct.calcsize(_HEALTH)
        soh.count = count
        soh.opened(self.now_s)
        resistance.count, resistance.at_s = struct.unpack_from(_RESISTANCE, data, at)
        at += struct.calcsize(_RESISTANCE)
        for i in range(self._n):
            resistance.r[i], resistance.var[i] = struct.unpack_from(_PAIR, data, at)
            at += struct.calcsize(_PAIR)
        mean = soh.mean()
        if mean is not None:
            soh.refusal = Refusal.NONE
            self.soc.use_capacity(mean[0], mean[1], self.now_s)
        if known:
            self.soc.restore(level, sigma, self.now_s)
            self._charge_state(self.now_s)
        self._pack(self.now_s)


def _state_bytes(n_cells: int, n_words: int) -> int:
    fixed = struct.calcsize(_HEAD) + struct.calcsize(_SOC) + struct.calcsize(_RESISTANCE)
    each = struct.calcsize(_HEALTH) + struct.calcsize(_PAIR)
    return fixed + 4 * (n_words + 4) + n_cells * each


def _whole(value: "float | None", unit: int) -> "int | None":
    return None if value is None else int(value / unit + 0.5)
