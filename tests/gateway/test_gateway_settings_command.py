"""``echelon settings`` against a pack that judges what is written, by code of its own."""

import hmac
import json
import struct
from pathlib import Path

import pytest
from gateway_fakes import FakePack, PackTcpServer

from common import models
from common.codes import Command, State, names
from common.settings_codes import SettingsResult, SettingsSource, SettingsState
from gateway import looking
from gateway.cli import main
from gateway.commands import settings as settings_command

KEY = bytes(range(100, 132))
VALUES = {
    "record_every": 10, "detail_every": 10, "stack_tolerance_mv": 420, "spread_mv": 1200,
    "cov_mv": 4250, "cov_release_mv": 4150, "cuv_mv": 2800, "cuv_release_mv": 3000,
    "balance_start_mv": 15, "balance_min_mv": 3800, "balance_max_cells": 4,
    "balance_max_dc": 450, "otc_dc": 450, "utc_dc": 0, "otd_dc": 600, "utd_dc": -200,
    "otf_dc": 900, "occ_ma": 50000, "ocd_ma": 100000,
}  # fmt: skip
FORMAT = ">11H6h2L"


class SettingsPack(FakePack):
    """Takes settings as a board does, at once or some looks later."""

    def __init__(self, result=SettingsResult.APPLIED, looks=2, closed=False):
        super().__init__("EB-7", n_cells=4)
        self.block = self.map.block(models.SETTINGS)
        self.result, self.looks = result, looks
        self.blame = ()
        self.left = 0
        self.lost = None  # of a write of settings: "request" or "answer"
        self.written = []
        self.commands = []
        self.measure()
        self.switch(closed)
        self.challenge_no = 0
        self.draw()
        for name, value in VALUES.items():
            self.block.set(name, value)
        for name, value in {
            "SetSt": SettingsState.READY, "SetRes": SettingsResult.NONE, "Wait": 0, "NFail": 3,
            "SetSrc": SettingsSource.FILE,
        }.items():  # fmt: skip
            self.block.set(name, value)

    def switch(self, closed):
        self.map.block(models.SNAPSHOT).set("Sw", 3 if closed else 0)
        self.map.block(models.PROTECTION).set("St", State.ON if closed else State.STANDBY)

    def draw(self):
        self.challenge_no += 1
        at = self.block.start + 2 * self.block.layout.offset("Chal1")
        self.challenge = struct.pack(">QQ", 2**64 - 1, self.challenge_no)  # sentinels in it
        self.map.image[at : at + 16] = self.challenge

    def answer(self, pdu):
        first = self.block.address + self.block.layout.offset("Resp1")
        if pdu[0] == 16 and struct.unpack(">H", pdu[1:3])[0] == first:
            if self.lost == "request":
                return None
            self.judge(bytes(pdu[6:]))
            return None if self.lost == "answer" else pdu[:5]
        if self.left:
            self.left -= 1
            if not self.left:
                self.end()
        return super().answer(pdu)

    def _write(self, address, data):
        super()._write(address, data)
        if address == self.block.address + self.block.layout.offset("Sel"):
            name = models.REMOTE[self.block.get("Sel")]
            self.block.set("SelLo", VALUES[name] - 100)
            self.block.set("SelHi", VALUES[name])
        control = self.map.block(models.CONTROL)
        if address == control.address + control.layout.offset("Cmd"):
            self.commands.append(control.get("Cmd"))
            control.set("CmdRes", 1)
            self.switch(control.get("Cmd") == Command.CONNECT)

    def judge(self, data):
        response, values = data[:32], data[32:]
        good = hmac.digest(KEY, self.challenge + b"EB-7" + values, "sha256")
        self.draw()
        self.genuine = hmac.compare_digest(response, good)
        self.written = dict(zip(VALUES, struct.unpack(FORMAT, values), strict=True))
        self.block.set("SetRes", SettingsResult.PENDING)
        self.left = self.looks

    def end(self):
        result = self.result if self.genuine else SettingsResult.REFUSED_RESPONSE
        self.block.set("SetRes", result)
        for point, name in zip(("Ref1", "Ref2"), self.blame, strict=False):
            self.block.set(point, models.REMOTE.index(name))
        if result == SettingsResult.REFUSED_RESPONSE:
            self.block.set("Wait", 4)
        if result == SettingsResult.APPLIED:
            for name, value in self.written.items():
                self.block.set(name, value)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(looking, "LOOK_EVERY_S", 0.01)


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "device.key"
    path.write_bytes(KEY)
    return str(path)


def run(pack, *arguments, timeout_ms=500):
    with PackTcpServer({3: pack}) as server:
        return main(["settings", server.url, "3", *arguments, "--timeout-ms", str(timeout_ms)])


def test_the_order_on_the_wire_is_that_of_this_pack():
    assert tuple(VALUES) == models.REMOTE


def test_show_tells_every_limit_with_its_unit_and_hard_limits(capsys):
    assert run(SettingsPack(), "show") == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert head == "limits of EB-7, from its file:"
    assert len(lines) == len(VALUES)
    assert lines[4].split(maxsplit=6) == [
        "cov_mv", "4250", "mV", "4150", "to", "4250",
        "Cell over-voltage: charging stops above.",
    ]  # fmt: skip
    assert last == "  3 failed tries ever; may be set now"


def test_show_as_json(capsys):
    pack = SettingsPack()
    pack.block.set("SetSt", SettingsState.SLOWED)
    pack.block.set("Wait", 64)
    assert run(pack, "show", "--json") == 0
    seen = json.loads(capsys.readouterr().out)
    assert {name: each["value"] for name, each in seen["settings"].items()} == VALUES
    assert seen["settings"]["utd_dc"] == {
        "value": -200, "lowest": -300, "highest": -200, "unit": "0.1 C",
    }  # fmt: skip
    assert (seen["state"], seen["wait_s"], seen["failed_tries"]) == ("slowed", 64, 3)
    assert seen["source"] == "file"


def test_a_board_without_a_key_is_told_of(capsys):
    pack = SettingsPack()
    pack.block.set("SetSt", SettingsState.NO_KEY)
    assert run(pack, "show") == 0
    assert capsys.readouterr().out.endswith("the board has no key: nothing can be set\n")


@pytest.mark.parametrize("written", [KEY, KEY.hex().encode(), KEY.hex().encode() + b"\n"])
def test_the_whole_set_is_signed_and_written(written, key, capsys):
    Path(key).write_bytes(written)
    pack = SettingsPack()
    assert run(pack, "set", "cov_mv=4200", "utd_dc=-150", "--key", key) == 0
    assert pack.written == {**VALUES, "cov_mv": 4200, "utd_dc": -150}
    assert capsys.readouterr().out == "EB-7 takes cov_mv=4200, utd_dc=-150\n"
    assert pack.commands == []


def test_a_wrong_key_is_refused_with_the_time_to_wait(tmp_path, capsys):
    path = tmp_path / "wrong"
    path.write_text("00" * 32)
    assert run(SettingsPack(), "set", "cov_mv=4200", "--key", str(path)) == 1
    assert capsys.readouterr().out == (
        "EB-7 refuses: it does not know this key (the next try may be made in 4 s)\n"
    )


@pytest.mark.parametrize(
    "result", [n for n in names(SettingsResult) if n > SettingsResult.REFUSED_SET]
)
def test_every_other_refusal_is_told_in_words(result, key, capsys):
    assert run(SettingsPack(result), "set", "cov_mv=4200", "--key", key) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"EB-7 refuses: {settings_command.REFUSALS[result]}"


def test_a_limit_past_the_profile_is_named_with_its_bounds(key, capsys):
    pack = SettingsPack(SettingsResult.REFUSED_VALUE)
    pack.blame = ("cov_mv",)
    assert run(pack, "set", "cov_mv=4300", "--key", key) == 1
    assert capsys.readouterr().out == (
        "EB-7 refuses: cov_mv 4300 is beyond the hard limits of this pack (4150 to 4250 mV)\n"
    )


def test_a_contradiction_names_both(key, capsys):
    pack = SettingsPack(SettingsResult.REFUSED_SET)
    pack.blame = ("cov_release_mv", "cov_mv")
    assert run(pack, "set", "cov_mv=4100", "--json", "--key", key) == 1
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "serial": "EB-7",
        "applied": False,
        "text": "EB-7 refuses: cov_release_mv 4150 must be below cov_mv 4100 (change one of them)",
    }


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("result", [SettingsResult.APPLIED, SettingsResult.REFUSED_AFE])
def test_the_switches_are_opened_for_it_and_closed_again_if_they_were(closed, result, key):
    pack = SettingsPack(result, closed=closed)
    code = run(pack, "set", "cov_mv=4200", "--disconnect", "--key", key)
    assert code == (0 if result == SettingsResult.APPLIED else 1)
    assert pack.commands == [Command.DISCONNECT] + [Command.CONNECT] * closed


@pytest.mark.parametrize(
    ("state", "sent"),
    [
        (State.PRECHARGE, [Command.DISCONNECT, Command.CONNECT]),  # it was on its way to closed
        (State.SERVICE, []),  # nobody takes a pack out of service but by command
        (State.SHUTDOWN, [Command.DISCONNECT]),
    ],
)
def test_a_pack_with_open_switches_keeps_what_was_commanded(state, sent, key):
    pack = SettingsPack()
    pack.map.block(models.PROTECTION).set("St", state)
    assert run(pack, "set", "cov_mv=4200", "--disconnect", "--key", key) == 0
    assert pack.commands == sent


def test_an_answer_that_is_lost_is_looked_for_in_the_model(key, capsys):
    pack = SettingsPack()
    pack.lost = "answer"
    assert run(pack, "set", "cov_mv=4200", "--key", key, timeout_ms=150) == 0
    pack = SettingsPack()
    pack.lost = "request"
    assert run(pack, "set", "cov_mv=4200", "--key", key, timeout_ms=150) == 2
    assert capsys.readouterr().err == "echelon: no answer, and nothing was changed (try again)\n"


def test_a_board_that_starts_anew_meanwhile_is_told_of(key, capsys):
    pack = SettingsPack(SettingsResult.NONE)
    assert run(pack, "set", "cov_mv=4200", "--key", key) == 2
    assert "started anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "--key", "KEY"], "set what?"),
        (["set", "serial=7", "--key", "KEY"], "serial cannot be set over Modbus (can be: record"),
        (["set", "shunt_uohm=7", "--key", "KEY"], "shunt_uohm cannot be set over Modbus"),
        (["set", "cov_mv=4.2", "--key", "KEY"], "cov_mv=4.2: '4.2' is no whole number"),
        (["set", "cov_mv", "--key", "KEY"], "cov_mv: 'nothing' is no whole number"),
        (["set", "cov_mv=70000", "--key", "KEY"], "cov_mv=70000: '70000' is no whole number"),
        (["set", "cov_mv=4200"], "set needs the board's key (--key FILE)"),
        (["set", "cov_mv=4200", "--key", "/nowhere/key"], "/nowhere/key: No such file"),
        (["set", "cov_mv=4200", "--key", "SHORT"], "a key is 32 bytes, or as many in hex digits"),
        (["show", "cov_mv=4200"], "KEY=VALUE, --key and --disconnect go with set"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(arguments, said, key, tmp_path, capsys):
    short = tmp_path / "short"
    short.write_bytes(b"\xff" * 31)
    replaced = {"KEY": key, "SHORT": str(short)}
    pack = SettingsPack()
    assert run(pack, *[replaced.get(each, each) for each in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert pack.written == []
