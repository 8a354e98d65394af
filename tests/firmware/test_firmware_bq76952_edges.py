"""What the driver does with a chip that answers oddly: too short, out of turn, or not at all."""

import pytest
from scripted_bq76952 import ScriptedBoard, ScriptedBq76952

from firmware.afe import AfeError
from firmware.afe.bq76952 import Bq76952
from firmware.settings import Settings
from firmware.snapshot import Snapshot

ENTER = 0x0090  # SET_CFGUPDATE
LEAVE = 0x0092  # EXIT_CFGUPDATE
SWAP = 0x29BC  # SWAP_COMM_MODE
CFGUPDATE = 0x01
MFG_STATUS = 0x0057
FET_ENABLE = (0x3E, b"\x22\x00")
STATIC_CFG_SIG = 0x0005


class Stubborn(ScriptedBq76952):
    """Takes every subcommand but those in ``ignored``; ``refused_once`` are not acknowledged."""

    def __init__(self, crc: bool = True) -> None:
        super().__init__(crc)
        self.ignored: dict[int, int] = {}  # code: how often it is not carried out
        self.refused_once: list[int] = []

    def writeto_mem(self, address: int, register: int, buffer: bytes) -> None:
        data = bytes(buffer)[::2] if self.crc else bytes(buffer)
        code = int.from_bytes(data, "little")
        if register == 0x3E and len(data) == 2 and code in self.refused_once:
            self.refused_once.remove(code)
            raise OSError(5)
        super().writeto_mem(address, register, buffer)

    def _subcommand(self, code: int) -> None:
        if self.ignored.get(code, 0):
            self.ignored[code] -= 1
            return
        super()._subcommand(code)


class Bench:
    def __init__(self, crc: bool = True, speaks: bool = True) -> None:
        self.chip = Stubborn(speaks)
        self.board = ScriptedBoard(self.chip)
        self.settings = Settings("P1", 16, "nmc", 5000)
        self.afe = Bq76952(self.board, 16, crc)
        self.snapshot = Snapshot(16)

    def configured(self) -> "Bench":
        self.afe.configure(self.settings)
        self.chip.log.clear()
        return self


def test_more_sensors_than_a_snapshot_holds_are_refused() -> None:
    pins = ("TS1", "TS2", "TS3", "HDQ", "CFETOFF")
    with pytest.raises(ValueError, match="5 sensors: at most 4"):
        Bq76952(ScriptedBoard(ScriptedBq76952()), 16, sensors=pins)


def test_a_look_at_a_chip_that_was_never_set_up_tells_nothing() -> None:
    bench = Bench()
    with pytest.raises(AfeError, match="not configured"):
        bench.afe.look(bench.snapshot)
    assert bench.chip.transactions == 0


@pytest.mark.parametrize(
    ("code", "message"),
    [(0x0076, "DASTATUS6 is too short"), (0x0083, "answer of 1 bytes where 2 are expected")],
)
def test_a_reading_with_too_short_an_answer_is_none(code: int, message: str) -> None:
    bench = Bench().configured()
    bench.afe.read(bench.snapshot)
    bench.chip.answers[code] = bytes(1)
    with pytest.raises(AfeError, match=message):
        bench.afe.read(bench.snapshot)


def test_nobody_knows_whether_settings_stand_when_their_signature_is_cut_short() -> None:
    bench = Bench().configured()
    bench.afe._watch_every = 1
    bench.chip.answers[STATIC_CFG_SIG] = b"\x34"
    with pytest.raises(AfeError, match="0x0005: answer of 1 bytes"):
        bench.afe.read(bench.snapshot)


def test_a_signature_that_cannot_be_noted_ends_the_setup() -> None:
    bench = Bench()
    bench.chip.answers[STATIC_CFG_SIG] = b""
    with pytest.raises(AfeError, match="0x0005: answer too short"):
        bench.afe.configure(bench.settings)
    with pytest.raises(AfeError, match="not configured"):
        bench.afe.read(bench.snapshot)


def test_a_device_number_of_one_byte_is_no_device() -> None:
    bench = Bench()
    bench.chip.answers[0x0001] = b"\x95"
    with pytest.raises(AfeError, match="answer of 1 bytes where 2 are expected"):
        bench.afe.configure(bench.settings)


def test_an_update_that_the_chip_enters_at_the_second_asking_is_used() -> None:
    bench = Bench()
    bench.chip.ignored[ENTER] = 1
    bench.configured()
    assert bench.chip.memory[0x9278] == 85


def test_a_chip_that_never_lets_itself_be_configured_is_given_up() -> None:
    bench = Bench()
    bench.chip.ignored[ENTER] = 100
    with pytest.raises(AfeError, match="CONFIG_UPDATE refused"):
        bench.afe.configure(bench.settings)


def test_an_update_that_the_chip_leaves_at_the_second_asking_is_left() -> None:
    bench = Bench()
    bench.chip.ignored[LEAVE] = 1
    bench.configured()
    assert not bench.chip.direct[0x12] & CFGUPDATE


def test_an_update_that_never_ends_is_told() -> None:
    bench = Bench()
    bench.chip.ignored[LEAVE] = 100
    with pytest.raises(AfeError, match="CONFIG_UPDATE does not end"):
        bench.afe.configure(bench.settings)


def test_a_chip_that_keeps_to_its_old_way_of_speaking_is_told() -> None:
    bench = Bench(crc=True, speaks=False)
    bench.chip.ignored[SWAP] = 100
    with pytest.raises(AfeError, match="still without CRC"):
        bench.afe.configure(bench.settings)


def test_a_toggle_that_was_not_acknowledged_is_looked_at_before_it_is_given_again() -> None:
    bench = Bench()
    bench.chip.refused_once = [0x0022]
    bench.afe.configure(bench.settings)
    assert bench.chip.answers[MFG_STATUS][0] & 0x10
    assert bench.chip.log.count(FET_ENABLE) == 1


def test_a_toggle_that_the_chip_never_takes_is_told() -> None:
    bench = Bench()
    bench.chip.ignored[0x0022] = 100
    with pytest.raises(AfeError, match="does not take over its FETs"):
        bench.afe.configure(bench.settings)


def test_a_toggle_that_is_taken_at_the_last_try_is_enough() -> None:
    bench = Bench()
    bench.chip.ignored[0x0022] = 2
    bench.configured()
    assert bench.chip.answers[MFG_STATUS][0] & 0x10
