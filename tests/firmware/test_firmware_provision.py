"""Calibration and identity: of the holder of the key, in service mode, within bounds, or not."""

import hashlib
import hmac
import struct
from pathlib import Path

import pytest
from app_rig import Rig
from hypothesis import given
from hypothesis import strategies as st
from settings_client import KEY, Client, provide

from common import models
from common.codes import Command, CommandResult, State
from common.history_records import SETTING
from common.registers import Layout
from common.settings_codes import SettingsResult
from firmware import provision
from firmware.calibration import Calibration
from firmware.snapshot import UNKNOWN_DC, Snapshot
from firmware.storage import Storage

pytestmark = pytest.mark.usefixtures("thaw")

N = 4
SHORTS = ("VGain", "StkGain", "AGain", "AOff", "TmpOff1", "TmpOff2", "TmpOff3", "TmpOff4")
BOUNDS = (30, 100, 200, 500, 30, 30, 30, 30)
IDENTITY_TEXTS = {
    "Mkr": 32, "Typ": 32, "Bat": 16, "Made": 12, "Serv": 12, "Prev": 16, "By": 16, "Pass": 56
}  # fmt: skip


def calibration(cells=(0, 0, 0, 0), **numbers: int) -> bytes:
    shorts = [numbers.get(name, 0) for name in SHORTS]
    texts = b"Ann".ljust(16, b"\0") + b"Fluke 8846A".ljust(16, b"\0")
    return struct.pack(">8h", *shorts) + texts + struct.pack(f">{len(cells)}h", *cells)


def identity(**texts: str) -> bytes:
    return b"".join(
        texts.get(name, "").encode().ljust(size, b"\0") for name, size in IDENTITY_TEXTS.items()
    )


class Provisioner:
    """Who writes the models; the key may be a wrong one."""

    def __init__(self, rig: Rig, key: bytes = KEY) -> None:
        self.rig = rig
        self.key = key

    def write(self, model_id: int, values: bytes, name: str | None = None) -> bytes:
        client = Client(self.rig)
        block = self.rig.app.image.map.block(model_id)
        name = name or {64923: "calibration", 64924: "identity"}[model_id]
        message = client.challenge() + b"RIG" + name.encode() + values
        data = hmac.digest(self.key, message, hashlib.sha256) + values
        first = block.address + block.layout.offset("Resp1")
        head = struct.pack(">BHHB", 16, first, len(data) // 2, len(data))
        return client.ask(head + data)

    def set(self, model_id: int, values: bytes, name: str | None = None) -> int:
        answer = self.write(model_id, values, name)
        assert answer[0] == 16, answer
        self.rig.run(2)
        result = self.rig.read(model_id)["Res"]
        assert isinstance(result, int)
        return result


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A pack with a key in service mode."""
    provide(tmp_path)
    rig = Rig(tmp_path)
    rig.run(4)
    rig.command(Command.SERVICE)
    rig.run(2)
    return rig


def test_the_numbers_in_the_firmware_are_those_of_the_codes() -> None:
    source = Path(provision.__file__).read_text(encoding="utf-8")
    for name in (
        "NONE", "APPLIED", "PENDING", "REFUSED_RESPONSE", "REFUSED_VALUE", "REFUSED_STORAGE",
        "REFUSED_CONNECTED",
    ):  # fmt: skip
        assert f"\n_{name} = const({getattr(SettingsResult, name)})" in source, name


def test_a_calibrated_board_reads_what_the_reference_says(rig: Rig) -> None:
    app = rig.app
    before = [int(mv) for mv in app.snapshot.cell_mv]
    stack_mv, dc = app.snapshot.stack_mv, app.snapshot.temp_dc[0]
    rig.app.set_utc(1800000000)
    made = calibration((3, -4, 0, 15), StkGain=50, TmpOff1=-12, VGain=10)
    assert Provisioner(rig).set(models.CALIBRATION, made) == SettingsResult.APPLIED
    rig.run(2)
    s = app.snapshot
    for mv, seen, offset in zip(before, s.cell_mv, (3, -4, 0, 15), strict=True):
        assert seen == pytest.approx(mv * 1.001 + offset, abs=2)
    assert s.sum_mv == sum(s.cell_mv)
    assert s.stack_mv == pytest.approx(stack_mv * 1.005, abs=3)
    assert s.temp_dc[0] == pytest.approx(dc - 12, abs=1)
    told = rig.read(models.CALIBRATION)
    assert (told["N"], told["By"], told["Ref"]) == (1, "Ann", "Fluke 8846A")
    assert 1800000000 <= told["SetUtc"] <= 1800000010
    assert (told["VGain"], told["StkGain"]) == pytest.approx((0.1, 0.5))
    assert [cell["VOff"] for cell in told["cells"]] == pytest.approx([0.003, -0.004, 0, 0.015])
    assert told["Seq"] == told["SeqEnd"] is not None


def test_a_calibration_survives_a_restart_and_is_in_the_first_reading(rig: Rig) -> None:
    Provisioner(rig).set(models.CALIBRATION, calibration((15, 15, 15, 15)))
    calibrated = [int(mv) for mv in rig.app.snapshot.cell_mv]
    rig.boot()
    rig.run(3)
    assert list(rig.app.snapshot.cell_mv) == pytest.approx(calibrated, abs=2)
    told = rig.read(models.CALIBRATION)
    assert (told["N"], told["SetUtc"], told["Res"]) == (1, None, SettingsResult.NONE)
    rig.write(models.CONTROL, "Cmd", Command.SERVICE)
    Provisioner(rig).set(models.CALIBRATION, calibration())
    assert rig.read(models.CALIBRATION)["N"] == 2
    assert list(rig.app.snapshot.cell_mv) == pytest.approx([mv - 15 for mv in calibrated], abs=2)


def test_an_identity_is_told_as_it_was_written_and_survives(rig: Rig) -> None:
    texts = {
        "Mkr": "Example Motors", "Typ": "HV 62", "Bat": "B17", "Made": "2019-03",
        "Serv": "2019-05", "Prev": "OLD-17", "By": "Ben", "Pass": "https://example.org/p/17",
    }  # fmt: skip
    assert Provisioner(rig).set(models.IDENTITY, identity(**texts)) == SettingsResult.APPLIED
    for _ in range(2):
        told = rig.read(models.IDENTITY)
        assert {name: told[name] for name in texts} == texts
        assert told["N"] == 1
        rig.boot()
        rig.run(2)
    assert rig.read(models.CALIBRATION)["N"] == 0


def test_the_history_tells_what_was_set_and_nothing_of_what_was_refused(rig: Rig) -> None:
    someone = Provisioner(rig, key=bytes(32))
    assert someone.set(64923, calibration(AOff=10)) == SettingsResult.REFUSED_RESPONSE
    rig.run(3)
    holder = Provisioner(rig)
    assert holder.set(64924, identity(Mkr="Ann")) == SettingsResult.APPLIED
    assert holder.set(64923, calibration(AOff=10)) == SettingsResult.APPLIED
    rig.run(3)
    assert [v for kind, v in rig.records() if kind == SETTING] == [(64924,), (64923,)]


@pytest.mark.parametrize("model_id", [models.CALIBRATION, models.IDENTITY])
def test_without_the_key_nothing_is_taken_and_tries_are_counted(rig: Rig, model_id: int) -> None:
    values = calibration((5, 5, 5, 5)) if model_id == models.CALIBRATION else identity(Mkr="x")
    wrong = Provisioner(rig, bytes(32))
    assert wrong.set(model_id, values) == SettingsResult.REFUSED_RESPONSE
    assert rig.read(models.SETTINGS)["NFail"] == 1
    assert rig.read(model_id)["N"] == 0
    wrong.set(model_id, values)
    assert wrong.set(model_id, values) == SettingsResult.REFUSED_SLOWED
    rig.run(10)
    # signed for another record, or as settings are
    for name in ("identity" if model_id == models.CALIBRATION else "calibration", ""):
        assert Provisioner(rig).set(model_id, values, name or "x") == (
            SettingsResult.REFUSED_RESPONSE
        )
        rig.run(30)
    assert rig.app.measurement.calibration is None
    assert Provisioner(rig).set(model_id, values) == SettingsResult.APPLIED


def test_a_response_serves_once(rig: Rig) -> None:
    client = Client(rig)
    values = identity(Mkr="Once")
    message = client.challenge() + b"RIG" + b"identity" + values
    data = hmac.digest(KEY, message, hashlib.sha256) + values
    block = rig.app.image.map.block(models.IDENTITY)
    first = block.address + block.layout.offset("Resp1")
    request = struct.pack(">BHHB", 16, first, len(data) // 2, len(data)) + data
    results = []
    for _ in range(2):
        client.ask(request)
        rig.run(2)
        results.append(rig.read(models.IDENTITY)["Res"])
    assert results == [SettingsResult.APPLIED, SettingsResult.REFUSED_RESPONSE]
    assert rig.read(models.IDENTITY)["N"] == 1


def test_a_board_without_a_key_takes_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.run(3)
    rig.command(Command.SERVICE)
    made = Provisioner(rig).set(models.IDENTITY, identity(Mkr="x"))
    assert made == SettingsResult.REFUSED_NO_KEY


def test_only_in_service_mode(rig: Rig) -> None:
    values = calibration((1, 1, 1, 1))
    assert rig.command(Command.DISCONNECT) == CommandResult.DONE
    rig.run(2)
    provisioner = Provisioner(rig)
    assert provisioner.set(models.CALIBRATION, values) == SettingsResult.REFUSED_CONNECTED
    rig.command(Command.CONNECT)
    rig.run(4)
    assert rig.closed == (True, True)
    assert provisioner.set(models.CALIBRATION, values) == SettingsResult.REFUSED_CONNECTED
    assert rig.read(models.SETTINGS)["NFail"] == 0, "no try was made of it"
    rig.command(Command.SERVICE)
    rig.run(2)
    assert rig.app.protection.state == State.SERVICE
    provisioner.write(models.CALIBRATION, values)
    rig.command(Command.DISCONNECT)  # before it is judged
    rig.run(2)
    assert rig.read(models.CALIBRATION)["Res"] == SettingsResult.REFUSED_CONNECTED
    assert rig.app.measurement.calibration is None


def test_while_one_is_judged_no_other_is_taken(rig: Rig) -> None:
    provisioner = Provisioner(rig)
    assert provisioner.write(models.IDENTITY, identity(Mkr="x"))[0] == 16
    assert provisioner.write(models.IDENTITY, identity(Mkr="y")) == b"\x90\x06"
    rig.run(2)
    assert rig.read(models.IDENTITY)["Mkr"] == "x"


@pytest.mark.parametrize("name", SHORTS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_no_value_goes_past_its_bound(rig: Rig, name: str, sign: int) -> None:
    place = SHORTS.index(name)
    beyond = calibration(**{name: sign * (BOUNDS[place] + 1)})
    assert Provisioner(rig).set(models.CALIBRATION, beyond) == SettingsResult.REFUSED_VALUE
    told = rig.read(models.CALIBRATION)
    assert (told["Bad"], told["N"], told[name]) == (place, 0, 0)
    assert rig.app.measurement.calibration is None
    rig.run(3)
    within = calibration(**{name: sign * BOUNDS[place]})
    assert Provisioner(rig).set(models.CALIBRATION, within) == SettingsResult.APPLIED
    assert rig.read(models.CALIBRATION)["Bad"] is None


@pytest.mark.parametrize(("cells", "bad"), [((0, 16, 0, -16), 9), ((0, 0, 0, -16), 11)])
def test_no_cell_goes_past_its_bound(rig: Rig, cells: tuple[int, ...], bad: int) -> None:
    beyond = calibration(cells)
    assert Provisioner(rig).set(models.CALIBRATION, beyond) == SettingsResult.REFUSED_VALUE
    assert rig.read(models.CALIBRATION)["Bad"] == bad
    assert Calibration(calibration((15, -15, 15, -15)), N).wrong == -1


def test_a_part_of_a_model_is_not_written(rig: Rig) -> None:
    block = rig.app.image.map.block(models.IDENTITY)
    first = block.address + block.layout.offset("Mkr")
    client = Client(rig)
    assert client.ask(struct.pack(">BHH", 6, first, 0x4141)) == b"\x86\x02"
    assert client.ask(struct.pack(">BHHB", 16, first, 16, 32) + bytes(32)) == b"\x90\x02"


def test_flash_that_refuses_leaves_what_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    provisioner = Provisioner(rig)
    provisioner.set(models.CALIBRATION, calibration((2, 2, 2, 2)))
    kept = rig.app.measurement.calibration
    save = Storage.save

    def refuse(self: Storage, name: str, data: bytes) -> None:
        if name == "calibration":
            raise OSError(28, "full")
        save(self, name, data)

    monkeypatch.setattr(Storage, "save", refuse)
    result = provisioner.set(models.CALIBRATION, calibration((9, 9, 9, 9)))
    assert result == SettingsResult.REFUSED_STORAGE
    told = rig.read(models.CALIBRATION)
    assert told["N"] == 1
    assert told["cells"][0]["VOff"] == pytest.approx(0.002)
    assert rig.app.measurement.calibration is kept


@pytest.mark.parametrize(
    "data",
    [
        b"\x02" + bytes(6) + calibration((1, 1, 1, 1)),
        b"\x01" + bytes(6) + calibration((1, 1, 1)),
        b"\x01" + bytes(6) + calibration((1, 1, 1, 1, 1)),
        b"\x01" + bytes(6) + calibration((1, 1, 1, 99)),
    ],
)
def test_a_record_of_another_pack_or_time_is_set_aside(
    tmp_path: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Storage(str(tmp_path)).save("calibration", data)
    rig = Rig(tmp_path)
    rig.run(3)
    assert rig.app.measurement.calibration is None
    assert "calibration is set aside" in capsys.readouterr().out
    assert rig.app.snapshot.valid


def test_an_offset_of_the_current_moves_what_is_known_of_it(rig: Rig) -> None:
    offset = rig.app.estimators.offset
    before_ua = offset.bias_ua
    Provisioner(rig).set(models.CALIBRATION, calibration(AOff=-200))
    assert offset.bias_ua == pytest.approx(before_ua - 200000, abs=2000)
    rig.run(20)
    Provisioner(rig).set(models.CALIBRATION, calibration(AOff=-100))
    assert offset.bias_ua == pytest.approx(before_ua - 100000, abs=4000)


# --- arithmetic ---------------------------------------------------------------------------------


def reading(current_ma: int, delta_uah: int, mv: int = 3700, dc: int = 250) -> Snapshot:
    s = Snapshot(N)
    for i in range(N):
        s.cell_mv[i] = mv
    s.stack_mv = N * mv
    s.current_ma = current_ma
    s.delta_uah = delta_uah
    s.temp_dc[0] = dc
    for i in range(1, 4):
        s.temp_dc[i] = UNKNOWN_DC
    return s


@given(
    st.integers(-200, 200),
    st.integers(-500, 500),
    st.lists(st.tuples(st.integers(-300000, 300000), st.integers(100, 4000)), min_size=1),
)
def test_charge_is_corrected_to_the_micro_amp_hour(
    gain: int, offset: int, turns: list[tuple[int, int]]
) -> None:
    """However many readings it takes; in whole numbers of 30 bits."""
    made = Calibration(calibration(AGain=gain, AOff=offset), N)
    total = exact = 0.0
    for delta_uah, dt_ms in turns:
        s = reading(0, delta_uah)
        made.apply(s, dt_ms)
        assert isinstance(s.delta_uah, int)
        total += s.delta_uah
        exact += delta_uah * (1 + gain / 1e4) + offset * dt_ms / 3600
    assert total == pytest.approx(exact, abs=2.001)
    assert 300000 * 200 + 10000 < 2**30


@given(st.integers(-30, 30), st.integers(-15, 15), st.integers(0, 65000))
def test_a_voltage_is_corrected_to_the_millivolt(gain: int, offset: int, mv: int) -> None:
    made = Calibration(calibration((offset,) * N, VGain=gain, StkGain=gain), N)
    s = reading(1000, 100, min(mv, 60000))
    made.apply(s, 0)
    exact = max(min(mv, 60000) * (1 + gain / 1e4) + offset, 0)
    assert list(s.cell_mv) == pytest.approx([exact] * N, abs=0.51)
    assert s.delta_uah == 100


def test_an_unknown_temperature_stays_unknown() -> None:
    made = Calibration(calibration(TmpOff1=7, TmpOff2=7), N)
    s = reading(0, 0)
    made.apply(s, 1000)
    assert list(s.temp_dc) == [257, UNKNOWN_DC, UNKNOWN_DC, UNKNOWN_DC]


def test_the_layout_is_that_of_the_documentation() -> None:
    layout = Layout(models.CALIBRATION, N)
    values = layout.offset("VGain")
    assert layout.offset("Resp8") + 2 == values
    assert layout.offset("SeqEnd") - values == len(calibration()) // 2
    layout = Layout(models.IDENTITY, N)
    assert layout.offset("SeqEnd") - layout.offset("Mkr") == len(identity()) // 2


def test_a_board_that_is_not_provisioned_over_modbus_takes_nothing(rig: Rig) -> None:
    rig.app.pdu_server.provisions = {}
    answer = Provisioner(rig).write(64923, calibration(AOff=10))
    assert answer[0] == 16 | 0x80
    assert rig.read(models.CALIBRATION)["N"] == 0
