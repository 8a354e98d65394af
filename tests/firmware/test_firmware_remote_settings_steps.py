"""Each step of settings set over Modbus, with a chip that does as it is told; second by second."""

import hashlib
import hmac
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from core_fakes import FakeAfe, nmc
from settings_client import FORMAT, KEY, NAMES, provide

from common import models
from common.profiles import profile_crc
from common.settings_codes import SettingsResult, SettingsSource, SettingsState
from firmware.boards.desk import DeskBoard
from firmware.image import Image
from firmware.measurement import Measurement
from firmware.protection import Protection
from firmware.remote_settings import RemoteSettings, in_force
from firmware.settings import Settings
from firmware.snapshot import Snapshot
from firmware.storage import Storage

PENDING, APPLIED = SettingsResult.PENDING, SettingsResult.APPLIED
READY, SLOWED, WRITTEN = SettingsState.READY, SettingsState.SLOWED, SettingsState.WRITTEN
TRIAL, NO_KEY = SettingsState.TRIAL, SettingsState.NO_KEY
UTC_S = 1_800_000_000


class Bench:
    """A disconnected pack of 4 NMC cells of 10 Ah that measures once a second."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = nmc()
        self.board = DeskBoard(None, None, str(root))
        self.boot()

    def boot(self) -> None:
        self.storage = Storage(str(self.root))
        self.settings, source = in_force(self.file, self.storage)
        self.afe = FakeAfe()
        self.snapshot = Snapshot(4)
        self.image = Image(self.settings, 1, 1, "0", "desk", "fake", 1)
        self.measurement = Measurement(self.afe, self.settings, self.board)
        self.protection = Protection(self.settings)
        self.protection.disconnect()
        self.remote = RemoteSettings(
            source, self.storage, self.image, self.measurement, self.protection, self.snapshot
        )
        self.block = self.image.map.block(models.SETTINGS)

    def tick(self, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.board.advance(1000)
            self.measurement.cycle(self.snapshot)
            self.remote.update()

    def get(self, name: str) -> object:
        return self.block.get(name)

    @property
    def state(self) -> object:
        return self.get("SetSt")

    @property
    def result(self) -> object:
        return self.get("SetRes")

    def values(self) -> dict[str, object]:
        return {name: self.get(name) for name in NAMES}

    def signed(self, key: bytes = KEY, **changes: int) -> bytearray:
        """Response and settings: those in force, with changes."""
        numbers = [changes.get(name, getattr(self.settings, name)) for name in NAMES]
        data = struct.pack(FORMAT, *numbers)
        chal = [self.get(f"Chal{n}") or 0 for n in range(1, 5)]
        message = struct.pack(">4L", *chal) + b"TEST" + data
        return bytearray(hmac.new(key, message, hashlib.sha256).digest() + data)

    def send(self, key: bytes = KEY, **changes: int) -> bool:
        return self.remote.receive(self.signed(key, **changes), 0)

    def fail(self) -> None:
        """A try with another key."""
        assert self.send(bytes(32))
        self.tick()
        assert self.result == SettingsResult.REFUSED_RESPONSE

    def kept(self, name: str) -> object:
        data = Storage(str(self.root)).load(name)
        return None if data is None else json.loads(data)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    provide(tmp_path)
    bench = Bench(tmp_path)
    bench.tick(3)
    return bench


def numbers(settings: Settings) -> dict[str, int]:
    return {name: getattr(settings, name) for name in NAMES}


# --- one good try -------------------------------------------------------------------------------


def test_at_first_the_model_says_what_is_in_force(bench: Bench) -> None:
    assert (bench.state, bench.result) == (READY, SettingsResult.NONE)
    assert bench.get("SetSrc") == SettingsSource.FILE
    assert (bench.get("Ref1"), bench.get("Ref2")) == (None, None)
    assert (bench.get("Wait"), bench.get("NFail"), bench.get("FailUtc")) == (0, 0, None)
    assert bench.values() == numbers(nmc())
    assert bench.get("Seq") == bench.get("SeqEnd") == bench.snapshot.seq == 3
    assert bench.kept("tries") is None


def test_before_the_first_cycle_there_is_no_sequence(tmp_path: Path) -> None:
    provide(tmp_path)
    bench = Bench(tmp_path)
    assert bench.get("Seq") is None
    assert bench.get("SeqEnd") is None


def test_a_good_try_is_judged_tried_and_saved_one_after_the_other(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not bench.remote.busy
    assert bench.send(cov_mv=4180, ocd_ma=15000)
    assert (bench.state, bench.result) == (WRITTEN, PENDING)
    assert bench.remote.busy
    bench.remote.update()
    assert (bench.state, bench.result) == (TRIAL, PENDING)
    assert bench.remote.busy
    assert bench.kept("tries") == [0, 0, None]
    assert bench.kept("limits") is None
    bench.remote.update()
    assert (bench.state, bench.result) == (TRIAL, PENDING), "the chip has not been told yet"
    assert bench.measurement.settings.cov_mv == 4180
    assert bench.settings.cov_mv == 4250
    assert bench.get("cov_mv") == 4250
    bench.image.changed = False
    bench.tick()
    assert (bench.state, bench.result) == (READY, APPLIED)
    assert not bench.remote.busy
    expected = {**numbers(nmc()), "cov_mv": 4180, "ocd_ma": 15000}
    assert numbers(bench.settings) == bench.values() == expected
    assert bench.get("SetSrc") == SettingsSource.REMOTE
    assert bench.get("Wait") == 0
    assert bench.measurement.settings is bench.settings
    assert bench.protection.table[0][3] == 4180
    assert bench.image.changed is True
    assert capsys.readouterr().out == "settings changed over Modbus\n"
    crc = profile_crc(nmc().profile)
    assert bench.kept("limits") == {"pack": ["TEST", 4, "nmc", 10000, crc], "set": expected}


def test_what_was_set_is_in_force_after_a_restart(bench: Bench) -> None:
    bench.send(cov_mv=4180)
    bench.tick(2)
    bench.boot()
    assert bench.settings.cov_mv == 4180
    assert bench.get("SetSrc") == SettingsSource.REMOTE
    assert bench.get("cov_mv") == 4180
    assert bench.file.cov_mv == 4250


def test_one_set_after_another_is_taken(bench: Bench) -> None:
    for cov_mv in (4180, 4190, 4200):
        assert bench.send(cov_mv=cov_mv)
        bench.tick(2)
        assert (bench.result, bench.settings.cov_mv) == (APPLIED, cov_mv)
    assert bench.get("NFail") == 0


def test_bytes_are_taken_from_where_they_stand(bench: Bench) -> None:
    data = bytearray(b"xyz") + bench.signed(cov_mv=4180)
    assert bench.remote.receive(memoryview(data), 3)
    bench.tick(2)
    assert bench.settings.cov_mv == 4180


def test_nothing_more_is_taken_while_one_is_under_way(bench: Bench) -> None:
    bench.send(cov_mv=4180)
    other = bench.signed(cov_mv=4190)
    assert bench.remote.receive(other, 0) is False
    bench.remote.update()
    assert bench.remote.receive(other, 0) is False
    assert bench.result == PENDING
    bench.tick()
    assert bench.settings.cov_mv == 4180


# --- what is refused ----------------------------------------------------------------------------


def test_a_value_past_its_bound_is_named(bench: Bench) -> None:
    for name, value in (("cov_mv", 4251), ("cuv_mv", 2499), ("record_every", 0)):
        bench.send(**{name: value})
        bench.tick()
        assert bench.result == SettingsResult.REFUSED_VALUE
        assert (bench.get("Ref1"), bench.get("Ref2")) == (NAMES.index(name), None)
        assert (bench.state, bench.get("Wait")) == (READY, 0)
    assert numbers(bench.settings) == numbers(nmc())
    assert bench.kept("tries") == [0, 0, None], "it came from the holder of the key"
    assert bench.measurement.settings is bench.settings


@pytest.mark.parametrize(
    ("name", "value"), [("cov_mv", 4250), ("cuv_mv", 2500), ("record_every", 1)]
)
def test_a_value_at_its_bound_is_taken(bench: Bench, name: str, value: int) -> None:
    bench.send(**{name: value})
    bench.tick(2)
    assert bench.result == APPLIED


def test_two_values_against_each_other_are_named_and_then_forgotten(bench: Bench) -> None:
    bench.send(cuv_release_mv=4150)
    bench.tick()
    assert bench.result == SettingsResult.REFUSED_SET
    assert bench.get("Ref1") == NAMES.index("cuv_release_mv")
    assert bench.get("Ref2") == NAMES.index("cov_release_mv")
    bench.send()
    assert (bench.get("Ref1"), bench.get("Ref2")) == (None, None)


def test_the_bounds_of_each_place_are_told(bench: Bench) -> None:
    for place, name in enumerate(NAMES):
        bench.remote.tell_bounds(place)
        assert (bench.get("SelLo"), bench.get("SelHi")) == bench.settings.bounds(name)
    bench.remote.tell_bounds(len(NAMES))
    assert (bench.get("SelLo"), bench.get("SelHi")) == (None, None)


@pytest.mark.parametrize(("connected", "allowed"), [(True, 0), (False, 1), (False, 2), (True, 3)])
def test_a_pack_that_is_or_may_be_closed_takes_nothing(
    bench: Bench, connected: bool, allowed: int
) -> None:
    bench.protection.connected, bench.protection.allowed = connected, allowed
    assert bench.send(cov_mv=4180) is True
    assert (bench.state, bench.result) == (READY, SettingsResult.REFUSED_CONNECTED)
    bench.tick(3)
    assert bench.result == SettingsResult.REFUSED_CONNECTED
    assert bench.settings.cov_mv == 4250
    assert bench.kept("tries") is None


# --- tries that fail ----------------------------------------------------------------------------


def test_a_try_without_the_key_is_counted_told_and_slowed(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.image.set_utc(UTC_S, bench.snapshot.uptime_s)
    for n in range(1, 6):
        sent_s = bench.snapshot.uptime_s
        bench.fail()
        assert capsys.readouterr().out == f"settings refused: try {n} without the key\n"
        assert bench.kept("tries") == [n, n, UTC_S - 3 + sent_s + 1]
        assert (bench.get("NFail"), bench.get("FailUtc")) == (n, UTC_S - 3 + sent_s + 1)
        for left in range(2 ** (n - 1), 0, -1):
            assert (bench.state, bench.get("Wait")) == (SLOWED, left)
            assert bench.send(cov_mv=4180) is True
            assert bench.result == SettingsResult.REFUSED_SLOWED
            bench.tick()
        assert (bench.state, bench.get("Wait")) == (READY, 0)
    assert bench.settings.cov_mv == 4250


def test_a_success_ends_the_row_and_keeps_the_count(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.image.set_utc(UTC_S, bench.snapshot.uptime_s)
    bench.fail()
    bench.tick()
    failed_utc_s = bench.get("FailUtc")
    bench.tick(10)
    bench.send(cov_mv=4180)
    bench.tick()
    assert bench.kept("tries") == [0, 1, failed_utc_s]
    assert (bench.get("NFail"), bench.get("FailUtc")) == (1, failed_utc_s)
    bench.tick()
    assert bench.result == APPLIED
    capsys.readouterr()
    bench.fail()
    assert capsys.readouterr().out == "settings refused: try 1 without the key\n"
    assert (bench.get("Wait"), bench.get("NFail")) == (1, 2)


@pytest.mark.parametrize(
    ("in_a_row", "wait_s"),
    [(0, 0), (1, 1), (2, 2), (3, 4), (10, 512), (12, 2048), (13, 3600), (14, 3600)],
)
def test_after_a_restart_the_wait_begins_anew(bench: Bench, in_a_row: int, wait_s: int) -> None:
    bench.storage.save("tries", json.dumps([in_a_row, 40, 7]).encode())
    bench.boot()
    assert (bench.get("NFail"), bench.get("FailUtc")) == (40, 7)
    assert bench.get("Wait") == wait_s
    assert bench.state == (SLOWED if wait_s else READY)


def test_the_row_is_counted_no_further_than_the_longest_wait(bench: Bench) -> None:
    bench.storage.save("tries", b"[13, 40, 7]")
    bench.boot()
    bench.remote._until_s = 0
    bench.tick()
    bench.fail()
    assert bench.kept("tries") == [13, 41, None]
    assert bench.get("Wait") == 3600


@pytest.mark.parametrize("what", ["key", "challenge", "serial", "settings"])
def test_a_response_holds_for_this_key_challenge_pack_and_set_alone(
    bench: Bench, what: str
) -> None:
    data = bench.signed(cov_mv=4180)
    if what == "key":
        data = bench.signed(KEY[:-1] + b"\0", cov_mv=4180)
    elif what == "challenge":
        bench.fail()
        bench.tick(2)
    elif what == "serial":
        bench.settings.serial = "TESU"
    else:
        data[-1] ^= 1
    assert bench.remote.receive(data, 0)
    bench.tick()
    assert bench.result == SettingsResult.REFUSED_RESPONSE


def test_every_try_draws_a_challenge_of_16_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def draw(n: int) -> bytes:
        drawn.append(bytes([len(drawn) + 1]) * n)
        return drawn[-1]

    provide(tmp_path)
    monkeypatch.setattr("os.urandom", draw)
    bench = Bench(tmp_path)
    assert drawn == [b"\x01" * 16]
    assert [bench.get(f"Chal{n}") for n in range(1, 5)] == [0x01010101] * 4
    bench.tick()
    bench.fail()
    assert drawn == [b"\x01" * 16, b"\x02" * 16]
    assert [bench.get(f"Chal{n}") for n in range(1, 5)] == [0x02020202] * 4


# --- the key ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "is_one"),
    [
        (KEY, True), (b"\n" + KEY[1:-1] + b"\n", True), (KEY.hex().encode(), True),
        (KEY.hex().encode() + b"\r\n", True), (b" " + KEY.hex().encode() + b"\n\n", True),
        (KEY[:31], False), (KEY + b"\0", False), (KEY.hex().encode()[:62], False),
        (KEY.hex().encode() + b"00", False), (b"", False), (b"g" * 64, False),
    ],
)  # fmt: skip
def test_a_key_is_32_bytes_or_their_digits(tmp_path: Path, written: bytes, is_one: bool) -> None:
    provide(tmp_path, written)
    bench = Bench(tmp_path)
    bench.tick()
    if not is_one:
        assert bench.state == NO_KEY
        assert bench.get("Chal1") is None
        assert not bench.remote.busy
        assert bench.send(cov_mv=4180) is True
        assert (bench.state, bench.result) == (NO_KEY, SettingsResult.REFUSED_NO_KEY)
        bench.tick(3)
        assert (bench.state, bench.result) == (NO_KEY, SettingsResult.REFUSED_NO_KEY)
        return
    key = written if len(written) == 32 else KEY
    assert bench.send(key, cov_mv=4180)
    bench.tick(2)
    assert bench.result == APPLIED


def test_without_randomness_there_is_no_challenge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(tmp_path)
    monkeypatch.delattr("os.urandom")
    bench = Bench(tmp_path)
    bench.tick()
    assert bench.state == NO_KEY
    assert bench.get("Chal1") is None


# --- the chip -----------------------------------------------------------------------------------


def test_a_chip_that_refuses_gets_the_former_settings_again(bench: Bench) -> None:
    bench.send(cov_mv=4180)
    bench.afe.refuses = "the chip does not take it"
    bench.tick(2)
    assert (bench.state, bench.result) == (READY, SettingsResult.REFUSED_AFE)
    assert bench.measurement.settings is bench.settings
    assert not bench.measurement.configured
    assert bench.kept("limits") is None
    assert bench.get("SetSrc") == SettingsSource.FILE
    assert (bench.get("Wait"), bench.get("NFail")) == (0, 0)
    bench.afe.refuses = ""
    bench.tick()
    assert bench.measurement.configured
    assert bench.settings.cov_mv == bench.get("cov_mv") == bench.protection.table[0][3] == 4250


def test_a_chip_that_is_not_configured_within_15_s_has_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.measurement, "_configure", lambda: None)
    bench.send(cov_mv=4180)
    bench.tick(16)
    assert (bench.state, bench.result) == (TRIAL, PENDING)
    assert bench.get("Wait") == 0 or bench.state == TRIAL
    bench.tick()
    assert (bench.state, bench.result) == (READY, SettingsResult.REFUSED_AFE)
    assert bench.measurement.settings is bench.settings


# --- storage ------------------------------------------------------------------------------------


def refuses(bench: Bench, which: str, written: bool = False) -> Callable[[str, bytes], None]:
    save = bench.storage.save

    def storage_save(name: str, data: bytes) -> None:
        if name != which or written:
            save(name, data)
        if name == which:
            raise OSError(28, "no space left")

    return storage_save


def test_a_try_that_cannot_be_counted_is_not_judged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(bench.storage, "save", refuses(bench, "tries"))
        bench.send(cov_mv=4180)
        bench.tick()
        assert bench.result == SettingsResult.REFUSED_STORAGE
        assert not bench.remote.busy
        bench.tick(2)
    assert bench.settings.cov_mv == 4250
    assert bench.measurement.settings is bench.settings
    bench.send(cov_mv=4180)
    bench.tick(2)
    assert bench.result == APPLIED


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("has_former", [False, True])
def test_settings_that_cannot_be_saved_are_not_in_force(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, written: bool, has_former: bool
) -> None:
    former_mv = 4250
    if has_former:
        bench.send(cov_mv=4190)
        bench.tick(2)
        former_mv = 4190
    saved = []
    fail = refuses(bench, "limits", written)

    def once(name: str, data: bytes) -> None:
        saved.append((name, data))
        if name == "limits" and [each for each, _data in saved].count("limits") == 2:
            Storage(str(bench.root)).save(name, data)  # putting the former back succeeds
        else:
            fail(name, data)

    with monkeypatch.context() as patch:
        patch.setattr(bench.storage, "save", once)
        bench.send(cov_mv=4180)
        bench.tick(2)
    assert (bench.state, bench.result) == (READY, SettingsResult.REFUSED_STORAGE)
    assert [name for name, _data in saved] == ["tries", "tries", "limits", "limits"]
    assert bench.settings.cov_mv == former_mv
    assert bench.measurement.settings is bench.settings
    bench.boot()
    assert bench.settings.cov_mv == former_mv
    source = SettingsSource.REMOTE if has_former else SettingsSource.FILE
    assert bench.get("SetSrc") == source


def test_storage_that_fails_for_good_breaks_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.storage, "save", refuses(bench, "limits"))
    bench.send(cov_mv=4180)
    bench.tick(2)
    assert bench.result == SettingsResult.REFUSED_STORAGE
    assert bench.settings.cov_mv == 4250


# --- at a start ---------------------------------------------------------------------------------


def keep(root: Path, settings: Settings, **changes: object) -> None:
    pack: list[object] = [
        settings.serial, settings.n_cells, settings.profile.name, settings.rated_mah,
        profile_crc(settings.profile),
    ]  # fmt: skip
    places = ("serial", "n_cells", "profile", "rated_mah", "crc")
    for name, value in changes.items():
        pack[places.index(name)] = value
    text = json.dumps({"pack": pack, "set": {"cov_mv": 4180}})
    Storage(str(root)).save("limits", text.encode())


def test_without_a_record_the_file_holds_and_is_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = nmc(cov_mv=4240, address=9)
    found, source = in_force(file, Storage(str(tmp_path)))
    assert source == SettingsSource.FILE
    assert found is not file
    assert (found.cov_mv, found.address) == (4240, 9)
    assert capsys.readouterr().out == ""


def test_a_record_of_this_pack_goes_before_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = nmc(cov_mv=4240, address=9)
    keep(tmp_path, file)
    found, source = in_force(file, Storage(str(tmp_path)))
    assert source == SettingsSource.REMOTE
    assert (found.cov_mv, found.address, file.cov_mv) == (4180, 9, 4240)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "other", [{"serial": "P"}, {"n_cells": 5}, {"profile": "lfp"}, {"rated_mah": 1}, {"crc": 1}]
)
def test_a_record_of_another_pack_is_set_aside_and_said_so(
    tmp_path: Path, other: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    file = nmc(cov_mv=4240)
    keep(tmp_path, file, **other)
    found, source = in_force(file, Storage(str(tmp_path)))
    assert (source, found.cov_mv) == (SettingsSource.SET_ASIDE, 4240)
    assert found is not file
    said = capsys.readouterr().out
    assert said == "limits set over Modbus are set aside: another pack or profile\n"


def test_a_record_that_does_not_fit_the_file_any_more_is_set_aside_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = nmc()
    text = json.dumps({"pack": ["TEST", 4, "nmc", 10000, profile_crc(file.profile)],
                       "set": {"cov_mv": 4251}})  # fmt: skip
    Storage(str(tmp_path)).save("limits", text.encode())
    assert in_force(file, Storage(str(tmp_path)))[1] == SettingsSource.SET_ASIDE
    said = capsys.readouterr().out
    assert said.startswith("limits set over Modbus are set aside: cov_mv 4251 is above 4250")
