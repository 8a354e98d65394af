"""What the pack is worth: SOC, state of health, resistance and lifetime, fed snapshot by snapshot.

    >>> figures = Estimators(settings)
    >>> figures.update(snapshot)  # each cycle
    >>> figures.soc_bp, figures.soc_lo_bp, figures.soc_hi_bp
    (5120, 4890, 5350)

A figure without evidence is ``None``. Ages are seconds of run time: the time a board was off is
not known to it. ``state`` and ``restore`` carry what must survive power-off; anchors do not, for
the charge that moved meanwhile is unknown.
"""

from common.codes import Fault, Method, NextTest, Refusal, SocSync
from common.mp import const
from common.profiles import profile_crc
from common.registers import Block
from firmware.estimators import anchors as kinds
from firmware.estimators import estimators_state, ocv
from firmware.estimators.anchors import OPENED, Anchors
from firmware.estimators.charge import Charge
from firmware.estimators.differences import Differences
from firmware.estimators.efficiency import Efficiency
from firmware.estimators.energy import POWER_S, Energy
from firmware.estimators.lifetime import RTE, SELF, Lifetime
from firmware.estimators.offset import CurrentOffset
from firmware.estimators.pulse import PULSES_BP
from firmware.estimators.resistance import PULSE_MS, Resistance
from firmware.estimators.selfdischarge import SelfDischarge
from firmware.estimators.soc import Soc
from firmware.estimators.soh import Soh
from firmware.estimators.window import ChargeWindow, from_table
from firmware.settings import Settings
from firmware.snapshot import Snapshot

_END_S = const(60)  # without a better look: the end of a charge or discharge is over
_WINDOW_CELLS = const(4)  # whose charge windows are weighed in one cycle
_DOUBTFUL = 1 << Fault.SENSOR_IMPLAUSIBLE | 1 << Fault.STACK_MISMATCH


class Estimators:
    """All estimators of one pack."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.n_cells = settings.n_cells
        self.rated_mah = settings.rated_mah
        self.profile_crc = profile_crc(settings.profile)
        self._ms = 0
        self.now_s = 0  # run time
        self.lifetime = Lifetime(settings)
        self.quick_mv: tuple[int, int] | None = None  # rested cells that a pulse model can judge
        self.fresh()

    def fresh(self) -> None:
        """Forget all figures; the lifetime counters and the run time stay."""
        settings = self._settings
        self.charge = Charge()
        self.offset = offset = CurrentOffset(settings)
        self.resistance = Resistance(settings)
        self.energy = Energy(settings, self.resistance)
        self.efficiency = Efficiency(settings)
        self.soc = Soc(settings, self.charge, offset)
        self.soh = Soh(settings)
        self.anchors = Anchors(settings, self.charge, offset, self.resistance, self.soh)
        self.differences = Differences(settings, self.soc, self.soh)
        self.self_discharge = SelfDischarge(settings, self.charge, offset, self.soc)
        self.window: ChargeWindow | None = None
        if settings.profile.windows is not None:
            model = from_table(settings.profile.windows)
            self.window = ChargeWindow(self.n_cells, self.rated_mah, model)
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
        self._wh: tuple[float, float, float] | None = None
        self._reckoned = False  # that, for the next write
        self._told = False  # the open anchor: what is not weighed yet
        self._window_cell = -1  # the next that a charge's windows are to tell of
        self._window_gains = False  # they have told something
        self._busy = False  # this cycle, with something that takes long
        self._waits = False  # what is due every minute, for the next cycle
        self._end_s = -1  # when full or empty was last told and not yet measured by

    def update(self, snapshot: Snapshot) -> None:
        """Take one cycle; an invalid one only breaks what must be consecutive.

        Of what takes long there is one step in a cycle: an anchor is looked at, its evidence
        weighed, the cells' differences measured. Whatever else is due waits for the next one.
        Cells that cannot be right are evidence of nothing, but the charge is counted.
        """
        plausible = snapshot.valid and not snapshot.faults & _DOUBTFUL
        if not plausible:
            self.anchors.interrupt()
            self.resistance.interrupt()
            self.energy.interrupt()
            self.efficiency.interrupt()
            if self.window is not None:
                self.window.interrupt()
        if not snapshot.valid:
            return
        dt_ms = snapshot.dt_ms
        self._ms += dt_ms
        self.now_s += self._ms // 1000
        self._ms %= 1000
        offset = self.offset
        offset.watch(snapshot, self.now_s)
        seen_uah = snapshot.delta_uah
        seen_ma = snapshot.current_ma
        snapshot.delta_uah = seen_uah - offset.uah(dt_ms)
        snapshot.current_ma = seen_ma - offset.bias_ma
        self._cycle(snapshot, self.now_s, plausible)
        snapshot.delta_uah = seen_uah
        snapshot.current_ma = seen_ma

    def _cycle(self, snapshot: Snapshot, now_s: int, plausible: bool) -> None:
        """A valid cycle, without the current sensor's offset."""
        self._busy = False
        delta_uah = snapshot.delta_uah
        self.charge.add(delta_uah)
        self.soc.count(delta_uah)
        self.soc.observe(snapshot, now_s, plausible)
        if plausible:
            self.efficiency.update(snapshot, self.charge, now_s)
            self._voltages(snapshot, now_s)
        self.differences.update(snapshot, now_s)
        self._charge_state(now_s)
        self.lifetime.update(snapshot, self.soc_bp, plausible)
        minute = now_s // 60
        if self._minute != minute:
            self._waits = self._busy and not self._waits
            if not self._waits:
                self._minute = minute
                self._widen(snapshot, now_s)
        if self.soh_age_s is not None:
            self.soh_age_s = now_s - self.soh.youngest_s()

    def _widen(self, snapshot: Snapshot, now_s: int) -> None:
        """Intervals widen slowly: once a minute."""
        self.fec_centi = self.soh.fec_centi = self.lifetime.fec_centi()
        if self.window is not None:
            self.window.r_uohm = int(self.resistance.typical_uohm(0))
        self.offset.age(snapshot.afe_dc, now_s)
        if self.soc.filter is not None:
            self.soc.filter.use_offset(self.offset.sigma_ua / 1000)
        self._pack(now_s)

    def _voltages(self, snapshot: Snapshot, now_s: int) -> None:
        if 500 <= snapshot.dt_ms <= 1500:
            self.resistance.update(snapshot, now_s, self.soc_bp)
            self.energy.update(snapshot)
        else:
            self.resistance.interrupt()
            self.energy.interrupt()
        if self.window is not None:
            if self._window_cell < 0 and self.window.update(snapshot):
                self._window_cell = 0
            elif self._window_cell >= 0:
                self._windows(self.window, now_s)
        if self._told and not self._busy:
            self._busy = True
            self._weigh(now_s)
        change = self.anchors.update(snapshot, now_s, not self._busy)
        if change:
            self._anchor(change == OPENED, now_s)
        self._busy = self._busy or self.anchors.looked
        self._cells(snapshot, change, now_s)

    def _cells(self, snapshot: Snapshot, change: int, now_s: int) -> None:
        """What a long rest, or the end of a charge or discharge, tells of the cells' charge."""
        anchors = self.anchors
        rest_s = anchors.rest_s(now_s)
        self.self_discharge.update(snapshot, rest_s, now_s)
        differences = self.differences
        rest_due = differences.rest_due(snapshot, rest_s)
        if change and anchors.open.kind != kinds.REST:
            self._end_s = now_s
        if self._busy:
            return
        self._busy = True
        if differences.look is not None:
            differences.measure(now_s)
        elif self._end_s >= 0 and now_s - self._end_s >= _END_S:
            self._end_s = -1
            differences.end(anchors.open, now_s)
        elif rest_due:
            differences.rest(snapshot, anchors.lagging_a(now_s), self.resistance, now_s)
        else:
            self._busy = False

    def _charge_state(self, now_s: int) -> None:
        soc = self.soc
        soc.update()
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
        self.soc.anchor(anchor, opened, now_s)
        self._told = True

    def _weigh(self, now_s: int) -> None:
        """What the open anchor tells of the health, in the cycle after it was looked at."""
        self._told = False
        if self.soh.evidence(self.anchors.open, self.anchors.slots, now_s):
            self._relearnt(now_s, True)

    def _windows(self, window: ChargeWindow, now_s: int) -> None:
        """A charge has ended: take what its windows tell of the next few cells."""
        self._busy = True
        soh = self.soh
        if not self._window_cell:
            self._window_gains = False
            self.fec_centi = soh.fec_centi = self.lifetime.fec_centi()
        first = self._window_cell
        end = min(first + _WINDOW_CELLS, self.n_cells)
        for i in range(first, end):
            found = window.evidence(i)
            if found is not None:
                soh.window(i, found, window.walk_bp, now_s)
                self._window_gains = True
        self._window_cell = end
        if end < self.n_cells:
            return
        self._window_cell = -1
        if self._window_gains:
            soh.windows_done(now_s)
            self.differences.relearnt()
            self._pack(now_s)
        elif soh.refusal == Refusal.NO_EVIDENCE:
            soh.refusal = window.refusal

    def pulses(self, found: "list[tuple[int, int, int] | None]", refusal: int) -> None:
        """Take what a pulse test says of each cell, ``(soh, lo, hi)`` in basis points.

        ``refusal`` says why a cell has none (``codes.Refusal``).
        """
        soh = self.soh
        now_s = self.now_s
        gained = False
        for figure in found:
            gained = gained or figure is not None
        if gained:
            self.fec_centi = soh.fec_centi = self.lifetime.fec_centi()
            soh.pulses(found, now_s)
            self._relearnt(now_s, False)
        if refusal:
            soh.refusal = refusal

    def _relearnt(self, now_s: int, by_anchors: bool) -> None:
        """Capacities are new; those between two anchors share the error of the open one."""
        soh = self.soh
        self.differences.relearnt()
        mean = soh.mean()
        if mean is not None and by_anchors:
            fused = mean[1] / mean[0]
            share = min(1.0, fused * fused / soh.single_var)
            self.soc.use_capacity(mean[0], mean[1], soh.end_bp, share)
        elif mean is not None:
            self.soc.use_capacity(mean[0], mean[1])
        self._pack(now_s)

    def refresh(self, now_s: int) -> None:
        """Bring the figures up to what was taken up."""
        self._charge_state(now_s)
        self._pack(now_s)

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
        loss = self.self_discharge
        self.lifetime.publish(block, loss.figure(), loss.at_s)

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
        put("CapRtg", self.rated_mah)
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
        put("ProfCrc", self.profile_crc)
        row: list[int | None] = [None] * 8
        for i in range(self.n_cells):
            self._publish_cell(block, row, i, now_s)

    def reckon(self) -> None:
        """Find what ``publish_energy`` would else have to find first: both take long."""
        self._wh = self.remaining_wh()
        self._reckoned = True

    def publish_energy(self, block: Block) -> None:
        """Write the energy model, all but what the image stamps."""
        if not self._reckoned:
            self.reckon()
        self._reckoned = False
        self._publish_power(block)
        self._publish_charge(block)

    def _publish_power(self, block: Block) -> None:
        put = block.set
        energy = self.energy
        _put_interval(block, "Wh", self._wh, 10)
        put("WhA", energy.current_ma)
        power = energy.power(8000)
        _put_interval(block, "P80", power, 1)
        _put_interval(block, "P20", energy.power(2000), 1)
        put("PwrS", POWER_S)
        put("EnRef", energy.refusal(self.soc.known, self.refusal, power is not None))
        rte = self.efficiency.figure()
        _put_interval(block, "Rte", rte, 1)
        self.lifetime.keep_first(RTE, rte, self.efficiency.at_s)
        put("RteMth", Method.NONE if rte is None else Method.CLOSED_CYCLE)
        put("RteRef", Refusal.NOT_CLOSED if rte is None else Refusal.NONE)
        put("RteAge", None if rte is None else self.now_s - self.efficiency.at_s)

    def remaining_wh(self) -> "tuple[float, float, float] | None":
        """``(Wh, lo, hi)`` until the first cell is empty; ``None`` without SOC or capacity."""
        if not self.soc.known or self.soh_bp is None:
            return None
        cell = self.soh.weakest()
        soc, var = self.soc.predict()
        sigma = var**0.5
        if self.differences.known:
            cell, soc, sigma = self.differences.first_empty(self.energy.empty_bp(cell))
        soh, lo, hi = self.soh.interval(cell, self.now_s)
        scale = self.rated_mah / 10000
        return self.energy.remaining(soc, sigma, soh * scale, (hi - lo) / 4 * scale, cell)

    def _publish_charge(self, block: Block) -> None:
        """The charge of each cell, what is lost of it, and the offset of what counts it."""
        now_s = self.now_s
        differences = self.differences
        differences.publish(block)
        leaks_s = differences.at_s if differences.known else -1
        loss = self.self_discharge
        loss.publish(block, differences.leaks_known(), leaks_s, now_s)
        self.lifetime.keep_first(SELF, loss.figure(), loss.at_s)
        self.offset.publish(block, now_s)

    @property
    def refusal(self) -> int:
        """Why there is no state of health; ``NONE`` when a figure stands (``codes.Refusal``)."""
        return self.soh.refusal if self.soh_bp is None else Refusal.NONE

    @property
    def next_test(self) -> int:
        """The cheapest step that would give (better) evidence (``codes.NextTest``)."""
        if not self.soc.known:
            return NextTest.REST
        return self.soh.next_test(self.anchors.open, self.now_s, self._judges_pulses())

    def _judges_pulses(self) -> bool:
        """Whether a quick test would give a state of health, as charged as the pack is now."""
        bp = self.soc_bp
        if self.quick_mv is None or bp is None or self.soh.refusal == Refusal.UNLIKE:
            return False
        low_mv, high_mv = self.quick_mv
        mv = ocv.rested_mv(self._settings.profile, bp)
        return PULSES_BP[0] <= bp <= PULSES_BP[1] and low_mv <= mv <= high_mv

    def _mah(self, soh_bp: "int | None") -> "int | None":
        return None if soh_bp is None else int(self.rated_mah * (soh_bp / 10000) + 0.5)

    def _publish_resistance(self, block: Block) -> None:
        put = block.set
        figure = self.resistance.pack()
        names = ("R", "RLo", "RHi")
        for k in range(3):
            put(names[k], None if figure is None else int(figure[k] + 0.5))
        put("RRef", int(self.resistance.ref_uohm * self.n_cells + 0.5))
        put("RMth", Method.NONE if figure is None else Method.CURRENT_STEP)
        put("RPulse", PULSE_MS)
        put("RAge", None if figure is None else self.now_s - self.resistance.at_s)

    def _publish_cell(self, block: Block, row: "list[int | None]", i: int, now_s: int) -> None:
        """SOH with its interval, method and age in hours; resistance with its interval."""
        soh = self.soh
        row[3] = soh.method[i]
        if soh.known(i):
            figure = soh.interval(i, now_s)
            for k in range(3):
                row[k] = int(figure[k] + 0.5)
            row[4] = (now_s - soh.at_s[i]) // 3600
        resistance = self.resistance.interval(i)
        if resistance is not None:
            for k in range(3):
                row[5 + k] = int(resistance[k] / 10 + 0.5)
        block.set_row(i, row)

    # --- what survives power-off ----------------------------------------------------------

    def state(self) -> bytes:
        """The figures, as ``restore`` takes them up again (``estimators_state``)."""
        return b"".join(estimators_state.parts(self))

    def counters(self) -> bytes:
        """The lifetime counters, as ``restore`` takes them up again."""
        return estimators_state.lifetime(self)

    def restore(self, data: bytes, counters: "bytes | None" = None) -> bool:
        """Take up ``state()`` and ``counters()`` of before; whether all figures were of use.

        Data that is not whole, or of an unknown version, is left alone. When the profile, the
        number of cells or the rating is another one, the lifetime counters stay true and are kept;
        the figures are not, and ``refusal`` says ``PROFILE_CHANGED``.
        """
        return estimators_state.restore(self, data, counters)


def _put_interval(
    block: Block, name: str, figure: "tuple[float, float, float] | None", scale: int
) -> None:
    """Write a figure and its interval, ``scale`` to the unit of what is given."""
    value, low, high = figure or (None, None, None)
    block.set(name, None if value is None else int(value * scale + 0.5))
    block.set(name + "Lo", None if low is None else int(low * scale))
    block.set(name + "Hi", None if high is None else int(high * scale) + 1)
