"""The register image: what the board knows, written into its ``RegisterMap`` every cycle.

Every block of ours carries whose it is (``SnCrc``) and which cycle it belongs to (``Seq``, and
``SeqEnd`` at its end). SNAPSHOT, PROTECTION, 802 and 805 are written in every cycle; HEALTH,
LIFETIME and DEVICE change slowly, and are written in every tenth, one after another.
What was not measured in this cycle is "not available". Nothing is allocated by SNAPSHOT,
PROTECTION, DEVICE, 802 and 805; HEALTH and LIFETIME are the estimators' to fill.

    image = Image(settings, boot, board.reset_cause, __version__, board.name, afe.name)
    image.server = PduServer(image.map, commands)
    ...
    image.update(snapshot, protection, estimators, executive, afe)
"""

import gc
from struct import pack_into

from common import models
from common.codes import Cause, Mode, TimeQuality
from common.crc import crc32
from common.mp import const
from common.registers import Block, RegisterMap
from firmware.afe import Afe
from firmware.crashes import Crashes
from firmware.estimators.estimators import Estimators
from firmware.executive import Executive
from firmware.image_sunspec import NONE16, NONE32, NONE_SIGNED, SunSpecModels, span, u16, u32
from firmware.modbus.pdu import PduServer
from firmware.protection import Protection
from firmware.recall import Recall
from firmware.settings import Settings
from firmware.snapshot import Snapshot

RECORD_DEPTH = const(64)
MANUFACTURER = "Echelon"

_MEMORY_EVERY = const(60)  # counting free memory walks the whole heap
_NONE_I32 = -0x80000000

# What FAULTS tells from FltN on of a fault that never came: an entry of the fault memory.
_SIGNED = b"\x80\0\0\0"
NO_FAULT = b"\0\0" + 28 * b"\xff" + _SIGNED + _SIGNED + 4 * b"\xff" + _SIGNED
NO_FAULT += 8 * b"\xff" + b"\x80\0\x80\0" + 12 * b"\xff"

# Point of DEVICE: task of the executive whose longest run it tells.
_TASKS = (
    ("MeasUs", "measure"),
    ("EstUs", "estimate"),
    ("ComUs", "serve"),
    ("ImgUs", "image"),
    ("BalUs", "balance"),
    ("TstUs", "test"),
    ("StoUs", "store"),
    ("KeepUs", "keep"),
)


class Image:
    """Owns the ``RegisterMap`` (``map``) of one pack and the ring of recent readings."""

    def __init__(
        self,
        settings: Settings,
        boot: int,
        reset_cause: int,
        firmware: str,
        board: str,
        afe: str,
        record_depth: int = RECORD_DEPTH,
    ) -> None:
        self.settings = settings
        self.map = RegisterMap(settings.n_cells)
        self.server: PduServer | None = None  # whose counters DEVICE tells
        self.changed = False  # the settings are others than what stands here follows from
        self.figures = True  # the estimators are at work
        self.testing = False  # a commanded test runs ...
        self.request_ma = 0  # ... and asks this of charger and load
        self._image = self.map.image
        self._boot = boot
        serial = settings.serial.encode()
        self._sn_crc = crc32(serial, 0, len(serial))
        self._recall = Recall(self.map, settings.record_every, record_depth)
        self._sunspec = SunSpecModels(self.map, settings)
        # UTC in two halves: in one piece it passes the 31 bits that need no allocation
        self._utc_high = -1  # not known
        self._utc_low = 0
        self._utc_at_s = 0  # uptime at which it was that
        self._quality = TimeQuality.NONE
        self._updated = False
        self._signature = -1

        block = self.map.block
        self._snapshot = block(models.SNAPSHOT)
        self._health = block(models.HEALTH)
        self._lifetime = block(models.LIFETIME)
        self._protection = block(models.PROTECTION)
        self._device = block(models.DEVICE)
        self.faults = block(models.FAULTS)
        self._energy = block(models.ENERGY)
        self._test = block(models.TEST)
        self.faults.put_bytes(2 * self.faults.layout.offset("FltN"), bytearray(NO_FAULT))
        self._figures = (self._health, self._lifetime, self._energy)
        self._fill_common(firmware, afe)
        self._fill_device(reset_cause, firmware, board, afe)
        self._fill_settings()
        for ours in (
            self._snapshot, self._health, self._lifetime, self._protection, self._device,
            self._energy, self._test, block(models.SETTINGS), block(models.HISTORY),
            block(models.UPDATE), self.faults, block(models.CALIBRATION), block(models.IDENTITY),
        ):  # fmt: skip
            self._own(ours)
        for sealed in (block(models.CALIBRATION), block(models.IDENTITY)):
            at = 2 * sealed.layout.offset("Resp1") + 32  # behind the response: nothing was set
            sealed.put_bytes(at, bytearray(2 * sealed.layout.offset("SeqEnd") - at))
        block(models.CONTROL).set("Cmd", 0)
        block(models.CONTROL).set("CmdRes", 0)

        self._stamp_span = span(self._snapshot, "Seq", "UpMs")
        codes, at = span(self._snapshot, "TQual", "Ltc")  # which cells are bled goes in words
        codes += "5H" + span(self._snapshot, "NCell", "TmpAfe")[0][1:]
        self._snapshot_span = (codes, at)
        self._utc_at = _place(self._snapshot, "Utc")
        layout = self._snapshot.layout
        self._cells_at = self._snapshot.start + 2 * layout.cells_offset
        self._end_at = _place(self._snapshot, "SeqEnd")
        self._state_span = span(self._protection, "Seq", "AfePf")
        self._limit_span = span(self._protection, "Ccl", "LastFltV")
        self._protection_end_at = _place(self._protection, "SeqEnd")
        self._request_at = _place(self._protection, "ReqA")
        self._device_utc_at = _place(self._device, "Utc")

    # --- what changes with the settings, if at all ------------------------------------------

    def _fill_common(self, firmware: str, afe: str) -> None:
        s = self.settings
        block = self.map.block(models.COMMON)
        block.set_text("Mn", MANUFACTURER)
        block.set_text("Md", "Pack %dS %s" % (s.n_cells, s.profile.name))
        block.set_text("Opt", afe)
        block.set_text("Vr", firmware)
        block.set_text("SN", s.serial)
        block.set("DA", s.address)

    def _fill_settings(self) -> None:
        s = self.settings
        self._detail_every = s.detail_every
        self._recall.every = s.record_every
        self._device.set("CfgCrc", s.config_crc)
        self._device.set("RecEvery", s.record_every)
        for name, value in (
            ("Cov", s.cov_mv),
            ("CovRel", s.cov_release_mv),
            ("Cuv", s.cuv_mv),
            ("CuvRel", s.cuv_release_mv),
            ("Cdd", s.profile.cell_deep_mv),
            ("Occ", s.occ_ma),
            ("Ocd", s.ocd_ma),
            ("Otc", s.otc_dc),
            ("Utc", s.utc_dc),
            ("Otd", s.otd_dc),
            ("Utd", s.utd_dc),
            ("Otf", s.otf_dc),
        ):
            self._protection.set(name, value)

    def _fill_device(self, reset_cause: int, firmware: str, board: str, afe: str) -> None:
        block = self._device
        block.set("MapVer", models.MAP_VERSION)
        block.set("ISign", 1)
        block.set("Boot", self._boot)
        block.set("RstCause", reset_cause)
        block.set_text("Fw", firmware)
        block.set_text("Brd", board)
        block.set_text("Afe", afe)
        block.set("RecDepth", self._recall.depth)
        block.set("NErr", 0)
        block.set("ErrWhy", Cause.NONE)
        block.set("TskOff", 0)

    def tell_crashes(self, crashes: Crashes) -> None:
        """Say in DEVICE how this run goes, and how earlier ones ended."""
        block = self._device
        block.set("Mode", Mode.SAFE if crashes.safe else Mode.NORMAL)
        block.set("NCrash", crashes.total)
        block.set("CrashTsk", crashes.task)
        block.set("CrashWhy", crashes.cause)

    def tell_error(self, task: int, cause: int, off: bool) -> None:
        """Say in DEVICE which task went wrong, and whether it is off now."""
        block = self._device
        block.set("NErr", (block.get("NErr") or 0) + 1)
        block.set("ErrTsk", task)
        block.set("ErrWhy", cause)
        if off:
            block.set("TskOff", (block.get("TskOff") or 0) | 1 << task)

    # --- time and recall --------------------------------------------------------------------

    def set_utc(self, utc_s: int, uptime_s: int) -> None:
        """Take a gateway's time: at ``uptime_s`` since boot it was ``utc_s`` (since 1970)."""
        self._utc_high = utc_s >> 16
        self._utc_low = utc_s & 0xFFFF
        self._utc_at_s = uptime_s
        self._quality = TimeQuality.GATEWAY

    def utc_s(self, uptime_s: int) -> "int | None":
        """Seconds since 1970 at ``uptime_s`` since boot; ``None`` while nobody has told."""
        if self._utc_high < 0:
            return None
        return (self._utc_high << 16) + self._utc_low + uptime_s - self._utc_at_s

    def ask_nothing(self) -> None:
        """Let charger and load stop at once, without waiting for the next cycle."""
        self.request_ma = 0
        pack_into(">l", self._image, self._request_at, 0)

    def recall(self, seq: int) -> bool:
        """Put the kept reading ``seq`` into the RECALL model; ``False`` when it is not kept."""
        return self._recall.select(seq)

    # --- every cycle ------------------------------------------------------------------------

    def update(
        self,
        snapshot: Snapshot,
        protection: Protection,
        estimators: Estimators,
        executive: Executive,
        afe: Afe,
    ) -> None:
        """Write what is known now; called once a cycle, whether it was measured in full or not."""
        seq = snapshot.seq
        if self.changed:
            self.changed = False
            self._fill_settings()
            self._sunspec.use_settings()
        self._update_snapshot(snapshot, protection, estimators)
        self._update_protection(snapshot, protection)
        self._sunspec.testing = self.testing
        self._sunspec.update(snapshot, protection, estimators)
        self._recall.record(seq)
        turn = seq % self._detail_every
        first = not self._updated  # at once, so that nobody waits for them after a start
        self._updated = True
        if first or turn == 0:
            self._update_device(snapshot, executive, afe)
        if not self.figures:
            self._withdraw()
            return
        if first or turn == 3:
            estimators.publish_health(self._health)
            self._health.set("Boot", self._boot)
            self._stamp(self._health, seq)
        if first or turn == 6:
            estimators.publish_lifetime(self._lifetime)
            self._stamp(self._lifetime, seq)
        if turn == 7:
            estimators.reckon()
        if first or turn == 8:
            estimators.publish_energy(self._energy)
            self._energy.set("Boot", self._boot)
            self._stamp(self._energy, seq)
            # 0.01 % a month and 0.0001 % a day
            month = self._energy.get("SelfDis")
            self._sunspec.set_self_discharge(None if month is None else month * 100 // 30)

    def _withdraw(self) -> None:
        """Once, and as long as there are any: leave no figure that nobody looks after."""
        for block in self._figures:
            if block.get("Seq") is not None:
                n_cells = block.layout.n_cells
                block.clear()
                self._own(block)
                if n_cells:
                    block.set("NCell", n_cells)

    def _own(self, block: Block) -> None:
        block.set("SnCrc", self._sn_crc)
        if "SnEnd" in block.layout.index:
            block.set("SnEnd", self._sn_crc)

    @staticmethod
    def _stamp(block: Block, seq: int) -> None:
        block.set("Seq", seq)
        block.set("SeqEnd", seq)

    def write_utc(self, into: bytearray, at: int, uptime_s: int) -> None:
        """Put ``utc_s`` and its quality into ``into``: 6 bytes, as registers have them."""
        high = low = NONE16
        if self._utc_high >= 0:
            low = self._utc_low + uptime_s - self._utc_at_s
            high = self._utc_high + (low >> 16)
        pack_into(">HHH", into, at, high, low & 0xFFFF, self._quality)

    def _update_snapshot(self, s: Snapshot, p: Protection, e: Estimators) -> None:
        image = self._image
        f, at = self._stamp_span
        pack_into(f, image, at, s.seq, self._boot, s.uptime_s, s.uptime_ms)
        self.write_utc(image, self._utc_at, s.uptime_s)
        valid = s.valid
        temp_dc = s.temp_dc
        bled = s.balancing if valid else -1
        f, at = self._snapshot_span
        pack_into(
            f, image, at,
            self._quality, p.state, s.switches if valid else NONE16, p.active, p.latched,
            bled >> 16 & 0xFFFF, bled & 0xFFFF, bled >> 48 & 0xFFFF, bled >> 32 & 0xFFFF,
            bled >> 64 & 0xFFFF, s.n_cells,
            s.sum_mv if valid else NONE32, s.stack_mv if valid else NONE32,
            s.current_ma if valid else _NONE_I32,
            u16(e.soc_bp), u16(e.soc_lo_bp), u16(e.soc_hi_bp), u16(e.soc_sync), u32(e.soc_age_s),
            u16(e.soh_bp), u16(e.soh_lo_bp), u16(e.soh_hi_bp), u16(e.soh_method),
            u32(e.soh_age_s),
            temp_dc[0] if valid else NONE_SIGNED, temp_dc[1] if valid else NONE_SIGNED,
            temp_dc[2] if valid else NONE_SIGNED, temp_dc[3] if valid else NONE_SIGNED,
            s.fet_dc if valid else NONE_SIGNED, s.afe_dc if valid else NONE_SIGNED,
        )  # fmt: skip
        at = self._cells_at
        for i in range(s.n_cells):
            pack_into(">H", image, at, s.cell_mv[i] if valid else NONE16)
            at += 2
        pack_into(">L", image, self._end_at, s.seq)

    def _update_protection(self, s: Snapshot, p: Protection) -> None:
        image = self._image
        valid = s.valid
        f, at = self._state_span
        pack_into(
            f, image, at,
            s.seq, p.state, s.switches if valid else NONE16, p.active, p.latched,
            p.warned, s.afe_safety if valid else NONE32, s.afe_failed if valid else NONE32,
        )  # fmt: skip
        value = p.last_fault_value
        f, at = self._limit_span
        pack_into(
            f, image, at,
            u32(p.ccl_ma), u32(p.dcl_ma), u32(p.cvl_mv), u16(p.ccl_why), u16(p.dcl_why),
            u16(p.cvl_why),
            self.request_ma,
            min(p.n_faults, 0xFFFE), u16(p.last_fault), u32(p.last_fault_s),
            _NONE_I32 if value is None else value,
        )  # fmt: skip
        pack_into(">L", image, self._protection_end_at, s.seq)

    def _update_device(self, s: Snapshot, executive: Executive, afe: Afe) -> None:
        block = self._device
        block.set("UpS", s.uptime_s)
        self.write_utc(self._image, self._device_utc_at, s.uptime_s)
        if afe.signature != self._signature:
            self._signature = afe.signature
            block.set("AfeSig", afe.signature)
        block.set("AfeErr", afe.errors)
        for task in executive.tasks:
            for point, name in _TASKS:
                if task.name == name:
                    block.set(point, task.longest_us)
        block.set("LoopUs", executive.loop_us)
        block.set("Overrun", executive.overruns)
        server = self.server
        if server is not None:
            block.set("RxOk", server.server_messages)
            block.set("RxBad", server.bus_errors)
            block.set("RxExc", server.exceptions)
        if s.seq % _MEMORY_EVERY == 0 and hasattr(gc, "mem_free"):
            block.set("MemFree", gc.mem_free())
        block.set("RecFirst", self._recall.first)
        block.set("RecLast", self._recall.last)
        self._stamp(block, s.seq)


def _place(block: Block, name: str) -> int:
    """Where a point stands in the image, in bytes."""
    return block.start + 2 * block.layout.offset(name)
