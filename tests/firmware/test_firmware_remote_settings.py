"""Limits set over Modbus: by the holder of the key, as a whole, within the profile, or not."""

import json
import re
import struct
import sys
from array import array
from pathlib import Path
from types import FunctionType, MethodType, ModuleType

import pytest
from app_rig import Rig
from core_fakes import FakeAfe
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from interpreters import lines
from settings_client import (
    CHALLENGE,
    END,
    FAIL_UTC,
    FORMAT,
    KEY,
    NAMES,
    REF1,
    REF2,
    RESPONSE,
    SELECT,
    SOURCE,
    VALUES,
    WAIT,
    Client,
    provide,
)

from common import model_docs, models
from common.codes import Command, CommandResult, Fault, Mode, Task, fault_names, names
from common.history_records import SETTING
from common.profiles import NAMES as PROFILES
from common.registers import Layout
from common.settings_codes import SettingsResult, SettingsSource, SettingsState
from firmware import remote_settings
from firmware.afe import AfeSettingsError
from firmware.app import App
from firmware.boards.desk import DeskBoard
from firmware.crashes import Crashes
from firmware.remote_settings import RemoteSettings
from firmware.settings import RANGES, Settings, SettingsError
from firmware.storage import Storage

PROVISIONED = {
    "n_cells", "rated_mah", "address", "baudrate", "shunt_uohm", "period_ms", "n_sensors",
    "contactors", "precharge_ms", "precharge_mv", "precharge_tries", "history_every_s",
    "history_kb",
}  # fmt: skip
NEW = {"cov_mv": 4180, "ocd_ma": 15000, "utc_dc": 55, "record_every": 7, "detail_every": 12}


pytestmark = pytest.mark.usefixtures("thaw")


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A disconnected pack with a key."""
    provide(tmp_path)
    rig = Rig(tmp_path)
    rig.run(6)
    assert rig.closed == (True, True)
    rig.command(Command.DISCONNECT)
    rig.run(2)
    return rig


@pytest.fixture
def client(rig: Rig) -> Client:
    return Client(rig)


# --- the table ----------------------------------------------------------------------------------


def test_every_setting_is_either_for_the_file_alone_or_may_be_set_over_modbus() -> None:
    known = [name for name, _low, _high in RANGES]
    assert set(models.REMOTE) | PROVISIONED == set(known)
    assert not set(models.REMOTE) & PROVISIONED


def test_the_client_of_these_tests_knows_the_layout() -> None:
    layout = Layout(models.SETTINGS, 4)
    assert models.REMOTE == NAMES
    assert (layout.offset("Chal1"), layout.offset("Resp1")) == (CHALLENGE, RESPONSE)
    assert (layout.offset(NAMES[0]), layout.offset("SeqEnd")) == (VALUES, END)
    assert END - RESPONSE <= 121, "one request of function 16 or 23"


def test_the_numbers_in_the_firmware_are_those_of_the_codes() -> None:
    source = Path(remote_settings.__file__).read_text(encoding="utf-8")
    for codes in (SettingsState, SettingsResult, SettingsSource):
        for name, number in vars(codes).items():
            if name[0] != "_":
                assert f"\n_{name} = const({number})" in source, name


def wrong_with(pack: Settings) -> SettingsError | None:
    try:
        pack.check()
    except SettingsError as error:
        return error
    return None


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_the_bounds_of_a_setting_are_where_its_check_begins_to_refuse(
    profile: str, name: str
) -> None:
    pack = Settings("P", 14, profile, 20000)
    low, high = pack.bounds(name)
    assert low <= getattr(pack, name) <= high
    for value, is_refused in ((low - 1, True), (high + 1, True), (low, False), (high, False)):
        setattr(pack, name, value)
        error = wrong_with(pack)
        # Within its bounds only another setting may be against it.
        assert is_refused == (error is not None and not error.names)


# --- what is set --------------------------------------------------------------------------------


def test_what_the_holder_of_the_key_sets_is_in_force_and_stays_so(
    rig: Rig, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    before = client.values()
    assert before == {name: getattr(rig.settings, name) for name in NAMES}
    assert (client.state, client.word(SOURCE)) == (SettingsState.READY, SettingsSource.FILE)
    signature = rig.app.afe.signature
    assert client.set(**NEW) == SettingsResult.APPLIED
    rig.run(2)
    assert [v for kind, v in rig.records() if kind == SETTING] == [(64919,)]
    for _ in range(2):
        assert client.values() == {**before, **NEW}
        assert client.word(SOURCE) == SettingsSource.REMOTE
        seen = rig.read(models.PROTECTION)
        assert (seen["Cov"], seen["Ocd"], seen["Utc"]) == (4.18, 15.0, 5.5)
        assert rig.read(models.DEVICE)["RecEvery"] == 7
        assert rig.read(models.DEVICE)["CfgCrc"] == rig.app.settings.config_crc
        assert rig.app.afe.signature != signature
        assert rig.closed == (False, False)
        rig.boot()
        rig.run(8)
    assert rig.command(Command.CONNECT) == CommandResult.DONE
    rig.run(3)
    assert rig.closed == (True, True)
    assert client.failed == 0
    assert "settings changed over Modbus\n" in capsys.readouterr().out


def test_protection_acts_by_the_new_limit(rig: Rig, client: Client) -> None:
    cell_mv = int(1000 * float(rig.pack.cell_v.max()))
    assert client.set(cov_release_mv=cell_mv - 60, cov_mv=cell_mv - 10, balance_min_mv=3560) == (
        SettingsResult.APPLIED
    )
    rig.run(4)
    assert fault_names(rig.snapshot()["Flt"]) == ["CELL_OVER_VOLTAGE"]
    assert client.set(cov_release_mv=4050, cov_mv=4200) == SettingsResult.APPLIED
    rig.command(Command.CONNECT)
    rig.run(8)
    assert rig.closed == (True, True)


def test_faults_that_are_active_or_latched_stay_so_under_other_settings(
    rig: Rig, client: Client
) -> None:
    cell_mv = int(1000 * float(rig.pack.cell_v.max()))
    low = {"cov_release_mv": cell_mv - 60, "cov_mv": cell_mv - 10, "balance_min_mv": 3560}
    assert client.set(**low) == SettingsResult.APPLIED
    rig.run(4)
    rig.app.protection.restore_latched(1 << Fault.SHORT_CIRCUIT)
    assert client.set(ocd_ma=15000) == SettingsResult.APPLIED
    rig.run(2)
    seen = rig.snapshot()
    assert fault_names(seen["Flt"]) == ["CELL_OVER_VOLTAGE"]
    assert fault_names(seen["Ltc"]) == ["SHORT_CIRCUIT"]
    assert rig.read(models.FAULTS)["FltN"] == 1, "it has not come twice"
    assert rig.command(Command.CONNECT) == CommandResult.REFUSED_UNSAFE


def test_safe_mode_works_within_what_was_set_and_takes_other_settings(
    rig: Rig, client: Client
) -> None:
    assert client.set(**NEW) == SettingsResult.APPLIED
    crashes = Crashes(Storage(rig.root), rig.reset_cause)
    crashes.safe = True
    rig.app = App(rig, rig.settings, rig.app.afe, crashes)
    rig.run(6)
    assert rig.read(models.DEVICE)["Mode"] == Mode.SAFE
    assert (rig.app.settings.cov_mv, client.word(SOURCE)) == (4180, SettingsSource.REMOTE)
    assert client.set(cov_mv=4170) == SettingsResult.APPLIED
    rig.run(2)
    assert rig.read(models.PROTECTION)["Cov"] == 4.17


def test_a_task_that_fails_while_settings_are_tried_goes_on(
    rig: Rig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a pack that could never be connected again."""
    follow = RemoteSettings._follow
    failures = iter([MemoryError("none left")])

    def fail_once(remote: RemoteSettings) -> None:
        for error in failures:
            raise error
        follow(remote)

    monkeypatch.setattr(RemoteSettings, "_follow", fail_once)
    assert client.set(**NEW) == SettingsResult.APPLIED
    assert rig.command(Command.CONNECT) == CommandResult.DONE
    rig.run(12)
    seen = rig.read(models.DEVICE)
    assert (seen["NErr"], seen["ErrTsk"], seen["TskOff"]) == (1, Task.SETTINGS, 0)


def settings_in(thing: object, path: str, found: dict[str, object], seen: set[int]) -> None:
    """Every number that hangs on an object of the firmware, by its path."""
    if isinstance(thing, int | str | bytes) or thing is None:
        found[path] = thing
        return
    if id(thing) in seen or isinstance(thing, FunctionType | MethodType | ModuleType | type):
        return
    seen.add(id(thing))
    if isinstance(thing, list | tuple | array | bytearray):
        text = str(thing)
        if " object at " not in text and len(text) < 5000:  # not the register image
            found[path] = text
    elif type(thing).__module__.startswith(("firmware.", "common.")):
        for name, value in vars(thing).items():
            settings_in(value, f"{path}.{name}", found, seen)


def numbers_of(app: App) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, part in vars(app).items():
        if name not in {"board", "storage", "executive", "snapshot", "history"}:
            others = (app.board, app.snapshot, app.history, app.pdu_server.files)
            settings_in(part, name, found, set(map(id, others)))
    return found


def test_every_part_follows_as_if_it_had_started_with_the_new_settings(
    rig: Rig, client: Client, tmp_path: Path
) -> None:
    """Guards against a part that keeps for itself what it took from the settings."""
    loosest = {"cov_mv", "otc_dc", "otd_dc", "occ_ma", "ocd_ma", "spread_mv", "stack_tolerance_mv"}
    changes = {
        name: value + (-1 if name in loosest else 1)
        for name, value in client.values().items()
        if name not in {"cov_release_mv", "otf_dc"}
    }
    changes |= {"cov_release_mv": 4100, "otf_dc": 850}
    old = numbers_of(App(rig, rig.settings, rig.app.afe))
    fresh = numbers_of(App(rig, rig.settings.changed(changes), rig.app.afe))
    depends = {path for path in old if old[path] != fresh.get(path) and "boot" not in path}
    depends -= {path for path in depends if "challenge" in path or path == "image._image"}
    assert {"protection.table", "settings.cov_mv", "image._detail_every"} <= depends
    assert client.set(**changes) == SettingsResult.APPLIED
    rig.run(2)
    live = numbers_of(rig.app)
    assert {path: live[path] for path in depends} == {path: fresh[path] for path in depends}


def test_scales_that_follow_the_limits_never_show_a_figure_in_the_old_scale(
    tmp_path: Path,
) -> None:
    provide(tmp_path)
    rig = Rig(tmp_path, rated_ah=50.0, shunt_uohm=500)
    rig.run(6)
    rig.command(Command.DISCONNECT)
    rig.run(2)
    client = Client(rig)
    before = rig.read(models.BATTERY)
    data = client.signed({**client.values(), "occ_ma": 1000, "ocd_ma": 1000})
    client.write(data)
    scales = set()
    without = 0
    for _ in range(60):
        seen = rig.read(models.BATTERY)
        scales.add((seen["A_SF"], seen["W_SF"], seen["AMax_SF"]))
        if seen["V"] is None:
            without += 1
        else:
            assert seen["V"] == pytest.approx(float(rig.pack.cell_v.sum()), abs=0.02)
        rig.run(0.1)
    assert len(scales) == 2
    assert without == 1, "the cycle in which the chip is configured"
    assert rig.read(models.BATTERY)["WChaRteMax"] < before["WChaRteMax"]


NUMBERS = st.one_of(
    st.integers(-400, 5000), st.integers(0, 400000), st.sampled_from([0xFFFF, 2**32 - 1, -32768])
)


@pytest.fixture(scope="module")
def long_rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    root = tmp_path_factory.mktemp("board")
    provide(root)
    rig = Rig(root)
    rig.run(6)
    rig.command(Command.DISCONNECT)
    rig.run(2)
    return rig


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_set_is_applied_if_and_only_if_its_check_accepts_it(
    long_rig: Rig, data: st.DataObject
) -> None:
    rig = long_rig
    client = Client(rig)
    before = client.values()
    names = data.draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    changes = {}
    for name in names:
        low, high = client.bounds(name)
        near = st.integers(max(low - 3, -32768), min(high + 3, 65535))
        kind = {point[0]: point[1] for point in models.model(models.SETTINGS)[3]}[name]
        least, most = {
            "uint16": (0, 65535), "int16": (-32768, 32767), "uint32": (0, 2**32 - 1),
        }[kind]  # fmt: skip
        value = data.draw(st.one_of(near, NUMBERS, st.just(low), st.just(high)))
        changes[name] = min(max(value, least), most)
    try:
        wanted = rig.app.settings.changed({**before, **changes})
    except SettingsError:
        wanted = None
    result = client.set(**changes)
    if wanted is None:
        assert result in {SettingsResult.REFUSED_VALUE, SettingsResult.REFUSED_SET}
        assert client.word(REF1) < len(NAMES)
        assert (client.word(REF2) != 0xFFFF) == (result == SettingsResult.REFUSED_SET)
        assert client.values() == before
    else:
        assert result == SettingsResult.APPLIED
        assert client.values() == {**before, **changes}
    s = rig.app.settings
    s.check()
    assert s.cov_mv <= s.profile.cell_max_mv
    assert s.cuv_mv >= s.profile.cell_min_mv
    assert s.ocd_ma <= s.rated_mah * s.profile.discharge_c10 // 10


def test_a_refusal_names_the_settings_and_their_bounds(client: Client) -> None:
    assert client.set(cov_mv=4251) == SettingsResult.REFUSED_VALUE
    assert NAMES[client.word(REF1)] == "cov_mv"
    assert client.bounds("cov_mv") == (1500, 4250)
    assert client.set(cuv_release_mv=4150) == SettingsResult.REFUSED_SET
    assert [NAMES[client.word(at)] for at in (REF1, REF2)] == ["cuv_release_mv", "cov_release_mv"]
    assert client.set() == SettingsResult.APPLIED
    assert [client.word(at) for at in (REF1, REF2)] == [0xFFFF, 0xFFFF]
    client.write(struct.pack(">H", len(NAMES)), SELECT)
    assert client.registers(client.start + SELECT + 1, 4) == bytes.fromhex("8000000080000000")


# --- who may not --------------------------------------------------------------------------------


def refused(client: Client, data: bytes) -> None:
    before = client.values()
    client.write(data)
    while client.result == SettingsResult.PENDING:
        client.rig.run(0.1)
    assert client.result == SettingsResult.REFUSED_RESPONSE
    assert client.values() == before


def test_a_wrong_key_another_set_and_a_replay_are_refused(rig: Rig, client: Client) -> None:
    values = {**client.values(), **NEW}
    refused(client, Client(rig, bytes(32)).signed(values))
    rig.run(1)
    signed = bytearray(client.signed(values))
    signed[32 + 7] ^= 1  # cov_mv
    refused(client, bytes(signed))
    rig.run(3)
    challenge = client.challenge()
    good = client.signed(values)
    client.write(good)
    rig.run(4)
    assert client.result == SettingsResult.APPLIED
    assert client.challenge() != challenge
    assert client.set(cov_mv=4190) == SettingsResult.APPLIED
    refused(client, good)
    assert client.failed == 3


def test_a_challenge_serves_once_even_for_a_set_that_is_refused(client: Client) -> None:
    signed = client.signed({**client.values(), "cov_mv": 4251})
    client.write(signed)
    client.rig.run(2)
    assert client.result == SettingsResult.REFUSED_VALUE
    refused(client, signed)


def test_the_response_of_another_pack_with_the_same_key_is_refused(
    rig: Rig, client: Client
) -> None:
    data = client.signed(client.values())
    rig.spec.serial, serial = "RIG2", rig.spec.serial
    foreign = client.signed(client.values())
    rig.spec.serial = serial
    assert foreign[:32] != data[:32]
    refused(client, foreign)


def test_failed_tries_are_slowed_counted_and_forgiven_but_not_forgotten(
    rig: Rig, client: Client
) -> None:
    utc_s = 1_800_000_000
    rig.write(models.CONTROL, "SetUtc", utc_s >> 16, utc_s & 0xFFFF)
    for n in range(5):
        refused(client, bytes(2 * (END - RESPONSE)))
        assert client.failed == n + 1
        wait_s = client.word(WAIT)
        assert 2**n - 1 <= wait_s <= 2**n
        if wait_s:
            assert client.state == SettingsState.SLOWED
            assert client.set() == SettingsResult.REFUSED_SLOWED
        rig.run(wait_s + 1)
        assert client.state == SettingsState.READY
    seen = int.from_bytes(client.registers(client.start + FAIL_UTC, 2), "big")
    assert 20 < seen - utc_s < 60
    assert client.set(**NEW) == SettingsResult.APPLIED
    refused(client, bytes(2 * (END - RESPONSE)))
    assert client.failed == 6
    assert client.word(WAIT) == 1, "a success begins anew"


def test_pulling_the_plug_neither_forgets_tries_nor_shortens_the_wait(
    rig: Rig, client: Client, tmp_path: Path
) -> None:
    for _ in range(6):
        refused(client, bytes(2 * (END - RESPONSE)))
        rig.run(client.word(WAIT) + 1)
    refused(client, bytes(2 * (END - RESPONSE)))
    for _ in range(3):
        rig.boot()
        rig.run(3)
        assert client.failed == 7
        assert 58 <= client.word(WAIT) <= 62
        assert client.set() == SettingsResult.REFUSED_SLOWED
    rig.run(62)
    assert client.set() == SettingsResult.APPLIED
    rig.boot()
    rig.run(3)
    assert client.state == SettingsState.READY


def test_the_longest_wait_is_an_hour(rig: Rig, client: Client) -> None:
    rig.app.remote._tries = (30, 30, None)
    rig.app.remote._state = 1
    refused(client, bytes(2 * (END - RESPONSE)))
    assert 3590 < client.word(WAIT) <= 3600
    rig.boot()
    assert 3590 < client.word(WAIT) <= 3600


def test_a_try_is_counted_before_it_is_judged(rig: Rig, client: Client) -> None:
    """A power cut while it is judged must not spare whoever guesses the slow-down."""
    saved = []
    remote = rig.app.remote
    key = remote._key

    def note() -> bytes | None:
        saved.append(json.loads(Storage(str(rig.root)).load("tries") or b"[0]")[0])
        return key()

    remote._key = note
    refused(client, bytes(2 * (END - RESPONSE)))
    assert saved == [1]


def test_a_board_whose_flash_refuses_judges_no_try(
    rig: Rig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "no space left")

    before = client.values()
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "save", full)
        assert client.set(**NEW) == SettingsResult.REFUSED_STORAGE
    rig.run(3)
    assert client.values() == before
    assert client.set(**NEW) == SettingsResult.APPLIED


@pytest.mark.parametrize("start_ms", [2**30 - 12_000, 2**30 - 20_000, 2**29 - 15_000])
def test_the_wait_holds_over_the_wrap_of_the_clock(tmp_path: Path, start_ms: int) -> None:
    provide(tmp_path)
    rig = Rig(tmp_path, start_ms)
    rig.run(6)
    rig.command(Command.DISCONNECT)
    rig.run(2)
    client = Client(rig)
    for n in range(4):
        refused(client, bytes(2 * (END - RESPONSE)))
        began_ms = rig.now_ms
        while client.state == SettingsState.SLOWED:
            rig.run(0.2)
        assert 1000 * (2**n - 1) <= rig.now_ms - began_ms <= 1000 * (2**n + 1)
    assert client.set(**NEW) == SettingsResult.APPLIED


@pytest.mark.parametrize(
    "key", [None, b"", bytes(31), bytes(33), b"0" * 63, b"x" * 64, b"00" * 33]
)
def test_a_board_without_a_key_takes_nothing_and_says_so(
    tmp_path: Path, key: bytes | None
) -> None:
    if key is not None:
        provide(tmp_path, key)
    rig = Rig(tmp_path)
    rig.run(6)
    rig.command(Command.DISCONNECT)
    rig.run(2)
    client = Client(rig, bytes(32))
    assert client.state == SettingsState.NO_KEY
    assert client.challenge() == b"\xff" * 16
    assert client.set() == SettingsResult.REFUSED_NO_KEY
    assert client.failed == 0


@pytest.mark.parametrize(
    "written", [KEY, KEY.hex().encode(), KEY.hex().upper().encode() + b"\r\n"]
)
def test_a_key_is_32_bytes_or_64_digits(tmp_path: Path, written: bytes) -> None:
    provide(tmp_path, written)
    rig = Rig(tmp_path)
    rig.run(6)
    rig.command(Command.DISCONNECT)
    rig.run(2)
    assert Client(rig).set(**NEW) == SettingsResult.APPLIED


def test_without_randomness_nothing_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(tmp_path)
    monkeypatch.delattr("os.urandom")
    rig = Rig(tmp_path)
    rig.run(6)
    client = Client(rig)
    assert client.state == SettingsState.NO_KEY
    assert client.set() == SettingsResult.REFUSED_NO_KEY


def test_a_key_that_was_taken_away_serves_no_longer(rig: Rig, client: Client) -> None:
    (Path(rig.root) / "device.key").unlink()
    refused(client, client.signed(client.values()))


def test_the_key_is_nowhere_to_be_read(
    rig: Rig, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client.set(**NEW) == SettingsResult.APPLIED
    refused(client, bytes(2 * (END - RESPONSE)))
    assert KEY[:8] not in bytes(rig.app.image.map.image)
    assert KEY.hex()[:8] not in capsys.readouterr().out
    for file in Path(rig.root).rglob("*"):
        if file.is_file() and file.name != "device.key":
            assert KEY[:8] not in file.read_bytes()
            assert KEY.hex()[:8].encode() not in file.read_bytes()
    assert client.registers(client.start + RESPONSE, 16) == b"\xff" * 32


# --- when it cannot be --------------------------------------------------------------------------


def test_a_connected_pack_takes_no_settings(rig: Rig, client: Client) -> None:
    rig.command(Command.CONNECT)
    rig.run(3)
    challenge = client.challenge()
    assert client.set(**NEW) == SettingsResult.REFUSED_CONNECTED
    assert rig.closed == (True, True)
    assert client.challenge() == challenge
    rig.app.command(Command.DISCONNECT)  # they open with the next cycle, not yet
    assert client.set(**NEW) == SettingsResult.REFUSED_CONNECTED
    rig.run(2)
    assert client.set(**NEW) == SettingsResult.APPLIED


def test_the_pack_is_not_connected_while_settings_are_under_way(rig: Rig, client: Client) -> None:
    client.write(client.signed({**client.values(), **NEW}))
    assert rig.app.command(Command.CONNECT) == CommandResult.REFUSED_BUSY
    answer = client.write(client.signed(client.values()))
    assert answer == bytes([16 | 0x80, 6])
    while client.result == SettingsResult.PENDING:
        assert rig.app.command(Command.CONNECT) == CommandResult.REFUSED_BUSY
        assert rig.closed == (False, False)
        rig.run(0.2)
    assert client.result == SettingsResult.APPLIED
    assert rig.command(Command.CONNECT) == CommandResult.DONE


def test_settings_that_the_chip_does_not_take_are_rolled_back(
    rig: Rig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    afe = rig.app.afe
    configure = afe.configure
    signature = afe.signature
    tried = []

    def choosy(settings: Settings) -> None:
        tried.append(settings.ocd_ma)
        if settings.ocd_ma == NEW["ocd_ma"]:
            raise AfeSettingsError("the chip does not keep its settings")
        configure(settings)

    monkeypatch.setattr(afe, "configure", choosy)
    before = client.values()
    assert client.set(**NEW) == SettingsResult.REFUSED_AFE
    rig.run(8)
    assert tried[0] == NEW["ocd_ma"]
    assert tried[-1] == before["ocd_ma"]
    assert client.values() == before
    assert afe.signature == signature
    assert rig.app.snapshot.valid
    assert Storage(str(rig.root)).load("limits") is None
    rig.command(Command.CONNECT)
    rig.run(6)
    assert rig.closed == (True, True)


def test_a_chip_that_does_not_answer_takes_no_settings(rig: Rig, client: Client) -> None:
    before = client.values()
    client.write(client.signed({**before, **NEW}))
    rig.chip.faults.dead = True
    rig.run(6)
    assert client.result == SettingsResult.REFUSED_AFE
    rig.chip.faults.dead = False
    rig.chip.power_on_reset()
    rig.run(20)
    assert client.values() == before
    assert rig.app.snapshot.valid


def test_a_chip_that_is_never_configured_does_not_hold_the_pack(
    rig: Rig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = client.values()
    with monkeypatch.context() as patch:
        patch.setattr(rig.app.measurement, "_configure", lambda: None)
        client.write(client.signed({**before, **NEW}))
        rig.run(10)
        assert client.result == SettingsResult.PENDING
        rig.run(10)
        assert client.result == SettingsResult.REFUSED_AFE
    assert client.state == SettingsState.READY
    rig.run(5)
    assert client.values() == before
    rig.command(Command.CONNECT)
    rig.run(6)
    assert rig.closed == (True, True)


def test_a_save_that_fails_leaves_the_former_settings_now_and_after_a_restart(
    rig: Rig, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = client.values()
    save = Storage.save

    def late(storage: Storage, name: str, data: bytes) -> None:
        save(storage, name, data)
        if name == "limits" and data:
            raise OSError(5, "written, and said to have failed")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "save", late)
        assert client.set(**NEW) == SettingsResult.REFUSED_STORAGE
    rig.run(4)
    assert client.values() == before
    rig.boot()
    rig.run(6)
    assert client.values() == before


def test_a_power_cut_at_any_byte_leaves_the_old_settings_or_the_new(
    rig: Rig, client: Client
) -> None:
    root = Path(rig.root)
    states = []
    for cov_mv in (4180, 4190, 4200):
        assert client.set(cov_mv=cov_mv) == SettingsResult.APPLIED
        states.append({path.name: path.read_bytes() for path in root.rglob("limits.*")})
    before, after = states[1], states[2]
    (slot,) = [name for name in after if after[name] != before[name]]
    for cut in range(len(after[slot]) + 1):
        for left_over in (b"", before[slot][cut:]):
            (root / slot).write_bytes(after[slot][:cut] + left_over)
            found, source = remote_settings.in_force(rig.settings, Storage(str(root)))
            assert source == SettingsSource.REMOTE
            assert found.cov_mv in {4190, 4200}
            assert found.cov_mv == 4190 or cut >= len(after[slot]) - 4
    assert found.cov_mv == 4200


class PowerCut(BaseException):
    """Nothing after it is done; what was being written is half there, or whole."""


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("n", range(3))
def test_a_power_cut_at_any_save_leaves_the_old_or_the_new_and_spares_no_try(
    rig: Rig, client: Client, monkeypatch: pytest.MonkeyPatch, n: int, good: bool, is_whole: bool
) -> None:
    """The n-th save: the count, the count forgiven, the settings."""
    before = client.values()
    wanted = {**before, **NEW}
    save, saves = Storage.save, []

    def cut(storage: Storage, name: str, data: bytes) -> None:
        path = Path(storage.root)
        kept = {file: file.read_bytes() for file in path.rglob("*.?")}
        save(storage, name, data)
        saves.append(name)
        if len(saves) == n + 1:
            if not is_whole:
                for file in path.rglob("*.?"):
                    new = file.read_bytes()
                    if kept.get(file) != new:
                        file.write_bytes(new[: len(new) // 2])
            raise PowerCut

    key = KEY if good else bytes(32)
    data = Client(rig, key).signed(wanted)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "save", cut)
        client.write(data)
        try:
            rig.run(6)
        except PowerCut:
            assert saves == ["tries", "tries", "limits"][: n + 1]
        else:
            assert not good
            assert len(saves) <= n
    rig.boot()
    rig.run(6)
    is_new = good and n == 2 and is_whole
    assert client.values() == (wanted if is_new else before)
    counted = 1 if not good and (n > 0 or is_whole) else 0
    if good:
        counted = 1 if (n, is_whole) in {(0, True), (1, False)} else 0
    assert client.failed == counted
    refused(client, data) if client.state == SettingsState.READY else None


@pytest.mark.parametrize(
    "changes",
    [{"serial": "OTHER"}, {"rated_mah": 9000}, {"profile": "lfp"}, {"shunt_uohm": 10000}],
)
def test_what_was_set_for_another_pack_is_set_aside(
    rig: Rig, client: Client, changes: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert client.set(**{**NEW, "ocd_ma": 20000}) == SettingsResult.APPLIED
    file = {**rig.spec.board_settings(), **changes}
    if "shunt_uohm" in changes:
        file |= {"occ_ma": 5000, "ocd_ma": 5000}
    rig.settings = Settings.from_dict(file)
    rig.boot()
    assert "limits set over Modbus are set aside: " in capsys.readouterr().out
    rig.run(6)
    rig.spec.serial = rig.settings.serial
    again = Client(rig)
    assert again.word(SOURCE) == SettingsSource.SET_ASIDE
    assert again.values() == {name: getattr(rig.settings, name) for name in NAMES}


def test_the_file_s_own_settings_are_not_touched(rig: Rig, client: Client) -> None:
    before = {name: getattr(rig.settings, name) for name, _low, _high in RANGES}
    assert client.set(**NEW) == SettingsResult.APPLIED
    assert {name: getattr(rig.settings, name) for name, _low, _high in RANGES} == before


def test_a_record_from_a_firmware_that_knew_more_or_less_is_read(rig: Rig) -> None:
    storage = Storage(str(rig.root))
    pack = remote_settings._identity(rig.settings)
    text = json.dumps({"pack": pack, "set": {"cov_mv": 4180, "later_mv": 1}})
    storage.save("limits", text.encode())
    found, source = remote_settings.in_force(rig.settings, storage)
    assert source == SettingsSource.REMOTE
    assert (found.cov_mv, found.cuv_mv) == (4180, rig.settings.cuv_mv)


@pytest.mark.parametrize("rubbish", [b"{", b"[]", b"7", b'{"pack": 1}', b'{"set": {}}'])
def test_a_record_that_is_none_is_set_aside(rig: Rig, rubbish: bytes) -> None:
    storage = Storage(str(rig.root))
    storage.save("limits", rubbish)
    assert remote_settings.in_force(rig.settings, storage)[1] == SettingsSource.SET_ASIDE


# --- hostile writes -----------------------------------------------------------------------------


def test_a_part_of_the_block_or_more_than_it_is_refused(rig: Rig, client: Client) -> None:
    whole = client.signed({**client.values(), **NEW})
    before = client.block()[2 * CHALLENGE : -4]
    illegal_address = bytes([0x90, 2])
    for first, last in (
        (0, 16), (0, 1), (16, 36), (16, 17), (0, 35), (1, 36), (2, 4), (35, 36), (34, 36),
    ):  # fmt: skip
        part = whole[2 * first : 2 * last]
        assert client.write(part, RESPONSE + first) == illegal_address
        for at in (RESPONSE + first, VALUES + 3):
            single = client.ask(struct.pack(">BHH", 6, client.start + at, 4180))
            assert single == bytes([0x86, 2])
    assert client.write(whole + b"\0\0", RESPONSE) == illegal_address
    assert client.write(b"\0\0" + whole, RESPONSE - 1) == illegal_address
    assert client.write(whole, CHALLENGE) == illegal_address
    rig.run(3)
    assert client.result == SettingsResult.NONE
    assert client.failed == 0
    assert client.block()[2 * CHALLENGE : -4] == before


def test_function_23_writes_and_reads_the_result_in_one_request(rig: Rig, client: Client) -> None:
    data = client.signed({**client.values(), **NEW})
    pdu = struct.pack(
        ">BHHHHB", 23, client.start + 6, 2, client.start + RESPONSE, len(data) // 2, len(data)
    )
    answer = rig.exchange(pdu + data)
    assert answer == struct.pack(">BBHH", 23, 4, SettingsState.WRITTEN, SettingsResult.PENDING)
    rig.run(4)
    assert client.result == SettingsResult.APPLIED


def test_the_block_says_what_its_values_mean() -> None:
    assert struct.calcsize(FORMAT) == 2 * (END - VALUES)


# --- the documentation --------------------------------------------------------------------------


def test_the_worked_example_of_the_documentation_is_taken(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (root / "docs" / "settings.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^    (\w+) +([\w-]+)$", text, re.MULTILINE))
    provide(tmp_path, told["key"].encode())
    pack = Settings(told["serial"], 14, "nmc", 50000)
    monkeypatch.setattr("os.urandom", lambda n: bytes.fromhex(told["challenge"]))
    board = DeskBoard(None, None, str(tmp_path))
    app = App(board, pack, FakeAfe(14))
    app.protection.disconnect()
    signed = bytes.fromhex(told["response"] + told["settings"])
    block = app.image.map.block(models.SETTINGS)
    address = block.address + block.layout.offset("Resp1")
    request = bytes.fromhex(f"10{address:04x}00254a") + signed
    answer = bytearray(253)
    assert app.pdu_server.handle(bytearray(request), len(request), answer) == 5
    for _ in range(4):
        board.advance(1000)
        app.executive.run_once()
    assert block.get("SetRes") == SettingsResult.APPLIED
    assert app.settings.cov_mv == 4200
    expected = {name: getattr(pack, name) for name in NAMES} | {"cov_mv": 4200}
    assert {name: getattr(app.settings, name) for name in NAMES} == expected


def test_the_documentation_lists_settings_and_results_as_they_are(root: Path) -> None:
    text = (root / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (\w+) \| ?(.*?) ?\|$", text, re.MULTILINE)
    kinds = {point[0]: point[1] for point in models.model(models.SETTINGS)[3]}
    assert rows == [
        (str(place), name, kinds[name], model_docs.doc(models.SETTINGS, name)[0])
        for place, name in enumerate(models.REMOTE)
    ]
    results = re.findall(r"^\| (\d+) (\w+) \|", text, re.MULTILINE)
    known = {number: name.lower() for number, name in names(SettingsResult).items()}
    del known[SettingsResult.NONE], known[SettingsResult.PENDING]
    assert {int(number): name for number, name in results} == known
    for name in PROVISIONED | {"serial", "profile"}:
        assert f"`{name}`" in text


# --- on MicroPython -----------------------------------------------------------------------------


def test_a_board_does_the_same_and_allocates_nothing_while_idle_or_slowed(
    tmp_path: Path, micropython: str
) -> None:
    found = []
    for n, interpreter in enumerate((sys.executable, micropython)):
        root = tmp_path / str(n)
        root.mkdir()
        found.append(lines(interpreter, "remote_settings.py", root))
    desk, board = found
    assert board == desk
    assert "idle 0" in board
    assert "slowed 0" in board
    results = [int(line.split()[2]) for line in board if line.startswith("True")]
    assert results == [8, 1, 4, 4, 5, 7, 1, 3, 1, 3, 3, 3, 3, 9, 1, 10]
