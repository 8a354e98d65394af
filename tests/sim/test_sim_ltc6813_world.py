"""The second front end in the world: link, switches, alert, cells of a long pack, faults."""

import json
import socket
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ltc6813_host import ADCV, RDCV, WRCFGA, WRCFGB, Host, framed, pec_bits

from common import link
from common.codes import ResetCause, Switch
from firmware.boards.desk import DeskBoard
from firmware.boards.unix import LinkLostError, UnixBoard
from sim import ina228 as ina
from sim.bq76952 import Bq76952
from sim.link import Connection, LinkServer
from sim.ltc6813 import FrontEnd
from sim.ltc6813.inputs import BLEED_OHM
from sim.pack import Demand, ModelledPack, PackSpec
from sim.station import WAITING, Station
from sim.switches import Switches
from sim.world import World

STAND_IN = Path(__file__).with_name("stand_in_chain_board.py")
ROOT = Path(__file__).resolve().parents[2]
BOTH = Switch.CHARGE | Switch.DISCHARGE


def pack_of(n_cells: int = 18, **values) -> ModelledPack:
    spec = PackSpec("L1", n_cells=n_cells, soc=0.5, afe="ltc6813", **values)
    return ModelledPack(spec, np.random.default_rng(1))


def pull_low_while_well(front: FrontEnd) -> None:
    """What a host does before a switch can close: ALERT turned over, so that well is low."""
    front.i2c(ina.ADDRESS, bytes((ina.DIAG_ALRT,)) + (ina.ALATCH | ina.APOL).to_bytes(2), 0)


class Desk:
    """A pack, its front end and a station without a process, moved by hand."""

    def __init__(self, n_cells: int = 18, **values):
        self.pack = pack_of(n_cells, **values)
        self.front = FrontEnd(n_cells, shunt_uohm=500, seed=1)
        self.station = Station(0, self.pack, self.front, None)
        self.now_us = 0
        pull_low_while_well(self.front)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 5)):
            self.now_us += 200_000
            self.station.advance(self.now_us)


# --- switches -----------------------------------------------------------------------------


def test_switches_follow_their_lines_unless_welded_or_stuck():
    switches = Switches()
    switches.drive(BOTH)
    assert switches.closed == BOTH
    switches.stuck_open = Switch.CHARGE
    assert switches.closed == Switch.DISCHARGE
    switches.drive(0)
    switches.welded = Switch.DISCHARGE
    assert switches.closed == Switch.DISCHARGE
    switches.welded = 0
    assert switches.closed == 0
    with pytest.raises(ValueError, match="0x10"):
        switches.drive(0x10)


def test_the_pack_follows_the_switches():
    desk = Desk()
    desk.pack.demand = Demand(-20.0)
    desk.run(1)
    assert desk.pack.current_a == 0.0
    desk.front.drive(BOTH)
    desk.run(1)
    assert desk.pack.current_a == -20.0
    desk.front.drive(Switch.CHARGE)
    desk.run(1)
    assert desk.pack.current_a == 0.0
    desk.front.switches.welded = Switch.DISCHARGE
    desk.run(1)
    assert desk.pack.current_a == -20.0
    assert desk.front.feedback() == BOTH


def test_precharge_limits_the_current_by_its_resistor():
    desk = Desk()
    desk.front.drive(Switch.PRECHARGE)
    desk.pack.demand = Demand(20.0, 18 * 4.2)
    desk.run(2)
    assert 0.05 < desk.pack.current_a < 0.5
    assert desk.pack.pack_v == pytest.approx(18 * 4.2, abs=0.01)
    desk.front.drive(Switch.PREDISCHARGE)
    desk.pack.demand = Demand(-50.0)
    desk.run(2)
    assert desk.pack.current_a == pytest.approx(
        -sum(desk.pack.cell_v) / desk.pack.spec.precharge_ohm, rel=0.02
    )
    desk.pack.demand = Demand(-0.1)
    desk.run(2)
    assert desk.pack.current_a == -0.1
    desk.front.drive(0)
    desk.run(2)
    assert desk.pack.current_a == 0.0


def test_the_alert_opens_the_switches_without_any_firmware():
    desk = Desk()
    front = desk.front

    def set_register(register: int, value: int) -> None:
        front.i2c(0x40, bytes((register,)) + value.to_bytes(2), 0)

    set_register(ina.SUVL, 0x10000 - 3000)  # -15 mV, 30 A of discharge
    front.drive(BOTH)
    desk.pack.demand = Demand(-25.0)
    desk.run(2)
    assert front.feedback() == BOTH
    desk.pack.demand = Demand(-40.0)
    desk.run(1)
    assert front.feedback() == 0
    assert desk.pack.current_a == 0.0
    desk.run(5)
    assert front.feedback() == 0  # the lines are still high
    front.switches.welded = Switch.DISCHARGE
    assert front.feedback() == Switch.DISCHARGE
    front.switches.welded = 0
    desk.pack.demand = Demand(0.0)
    desk.run(1)
    front.i2c(0x40, bytes((ina.DIAG_ALRT,)), 2)
    assert front.feedback() == BOTH


def test_no_switch_closes_before_the_alert_is_set_up_or_with_a_dead_monitor():
    front = FrontEnd(18, shunt_uohm=500, seed=1)
    front.drive(BOTH)
    front.wait(10)
    assert front.feedback() == 0
    pull_low_while_well(front)
    assert front.feedback() == BOTH
    front.monitor.faults.dead = True
    front.wait(10)
    assert front.feedback() == 0


# --- physics ------------------------------------------------------------------------------


def test_bled_cells_lose_what_their_resistor_takes():
    desk, idle = Desk(soc_spread=0.0), Desk(soc_spread=0.0)
    for one in (desk, idle):
        one.run(0.2)
        one.front.spi(b"\xff")
        one.front.wait(400)
    mask = 0b10_0000_0000_0000_0101
    host = desk.front
    host.spi(framed(WRCFGA.to_bytes(2)) + framed(bytes((0xF8, 0, 0, 0, mask & 0xFF, 0xF0))))
    host.spi(framed(WRCFGB.to_bytes(2)) + framed(bytes((0x0F, mask >> 16, 0, 0, 0, 0))))
    assert desk.front.balance_mask == mask
    before = desk.pack.cells.soc.copy()
    desk.run(120)
    idle.run(120)
    lost_as = (idle.pack.cells.soc - desk.pack.cells.soc) * desk.pack.cells.capacity_ah * 3600
    for cell in range(18):
        expected_as = 120 * desk.pack.cell_v[cell] / BLEED_OHM if mask >> cell & 1 else 0.0
        assert lost_as[cell] == pytest.approx(expected_as, rel=0.01, abs=0.01)
    assert (before >= desk.pack.cells.soc).all()


def test_seventy_two_cells_are_read_bled_and_warmed_in_four_chips():
    desk = Desk(72)
    desk.run(0.4)
    front = desk.front
    front.spi(b"\xff")
    front.wait(4 * 400)
    config = framed(bytes((0xFC, 0, 0, 0, 1, 0xF0)))
    front.spi(framed(WRCFGA.to_bytes(2)) + config * 4)
    assert front.balance_mask == 1 | 1 << 18 | 1 << 36 | 1 << 54
    desk.run(60)
    front.spi(b"\xff")
    front.wait(4 * 400)
    front.spi(framed(ADCV.to_bytes(2)))
    front.wait(7000)
    front.spi(b"\xff")
    front.wait(40)
    codes = np.zeros(72)
    for group, code in enumerate(RDCV):
        data = front.spi(framed(code.to_bytes(2)) + bytes(32))[4:]
        for chip in range(4):
            frame = data[8 * chip : 8 * chip + 8]
            assert pec_bits(frame[:6]) == frame[6:]
            at = 18 * chip + 3 * group
            codes[at : at + 3] = struct.unpack("<3H", frame[:6])
    assert codes * 1e-4 == pytest.approx(desk.pack.cell_v, abs=0.003)
    assert len(desk.pack.temperatures_c) == 12
    # 72 cells are too much for VBUS; the board divides by four
    raw = front.i2c(0x40, bytes((ina.VBUS,)), 3)
    volts = (int.from_bytes(raw) >> 4) * 195.3125e-6
    assert volts * 4 == pytest.approx(desk.pack.pack_v, abs=0.2)


def test_the_accumulated_charge_is_that_of_the_cells():
    desk = Desk(self_discharge=0.0)
    front = desk.front
    front.drive(BOTH)
    desk.run(0.2)
    start = int.from_bytes(front.i2c(0x40, bytes((ina.CHARGE,)), 5), signed=True)
    before_ah = desk.pack.cells.soc * desk.pack.cells.capacity_ah
    for current_a in (20.0, -35.0, 0.0, 5.0):
        desk.pack.demand = Demand(current_a, 18 * 4.2)
        desk.run(300)
    end = int.from_bytes(front.i2c(0x40, bytes((ina.CHARGE,)), 5), signed=True)
    lsb_a = 4096 / (13107.2e6 * 500e-6)
    moved_ah = (desk.pack.cells.soc * desk.pack.cells.capacity_ah - before_ah).mean()
    monitor = front.monitor
    offset_ah = monitor._offset_v / 500e-6 * 1200 / 3600
    measured_ah = (end - start) * lsb_a / 3600
    expected_ah = moved_ah * monitor._gain * monitor._clock + offset_ah
    assert moved_ah == pytest.approx(-0.833, abs=0.01)
    assert measured_ah == pytest.approx(expected_ah, abs=0.003)


def test_more_cells_than_four_chips_take_and_an_unknown_front_end_are_refused():
    with pytest.raises(ValueError, match="73"):
        pack_of(73)
    with pytest.raises(ValueError, match="cells_per_chip"):
        FrontEnd(20, shunt_uohm=500, seed=1, cells_per_chip=[10, 11])
    with pytest.raises(ValueError, match=r'no front end "x" \(there are: bq76952, ltc6813\)'):
        ModelledPack(PackSpec("X", afe="x"), np.random.default_rng(1))


def test_cells_can_be_spread_otherwise():
    host = Host(20, [3.0 + 0.01 * k for k in range(20)], cells_per_chip=[10, 10]).awake()
    host.convert()
    assert host.cells(1)[:10] == pytest.approx([31_000 + 100 * k for k in range(10)], abs=25)
    spec = PackSpec("L1", n_cells=20, afe="ltc6813", cells_per_chip=[10, 10])
    pack = ModelledPack(spec, np.random.default_rng(1))
    assert pack._sensors == (0, 5, 9, 10, 15, 19)


# --- link ---------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    """A ``UnixBoard`` whose world is a station with a chain, answered in a thread."""
    server = LinkServer(tmp_path / "s")
    desk = Desk(36)
    boards: list[UnixBoard] = []

    def serve() -> None:
        came = server.accept(10.0)
        assert came is not None
        desk.run(0.2)
        desk.station.attach(came[1], desk.now_us)
        while desk.station.connection is not None:
            desk.station.take()
            desk.station.do_asked()
            if desk.station.state == WAITING:
                desk.station.advance(desk.station.wake_us)
                desk.station.wake(desk.station.wake_us)

    thread = threading.Thread(target=serve)
    thread.start()
    boards.append(UnixBoard(str(server.path), str(tmp_path), "L1"))
    yield boards[0], desk
    boards[0].link._sock.close()
    thread.join(10)
    server.close()


def test_the_board_reaches_the_chain_over_the_link(served):
    board, desk = served
    woken = bytearray(1)
    board.spi_transfer(b"\xff", woken)
    assert woken == b"\xff"
    began_us = board.link.now_ms * 1000 + board.link.now_us
    board.sleep_us(800)
    assert board.link.now_ms * 1000 + board.link.now_us == began_us + 800
    answer = bytearray(20)
    board.spi_transfer(framed(b"\0\2") + bytes(16), answer)
    assert board.link.now_ms * 1000 + board.link.now_us == began_us + 800 + 2 + 20 * 8
    assert answer[4:12] == framed(bytes((2, 0, 0, 0, 0, 0)))
    assert answer[12:20] == answer[4:12]
    board.drive_switches(BOTH)
    assert board.switch_feedback() == BOTH
    assert desk.front.feedback() == BOTH
    value = bytearray(2)
    board.i2c.readfrom_mem_into(0x40, 0x3F, value)
    assert value == b"\x22\x81"
    with pytest.raises(OSError, match="too long a sleep"):
        board.sleep_us(1_000_001)
    with pytest.raises(OSError, match="refused"):
        board.i2c.readfrom_mem_into(0x08, 0x00, value)


def test_a_conversion_ends_in_the_virtual_time_that_the_board_sleeps(served):
    board, desk = served
    one, group = bytearray(1), bytearray(12)
    board.spi_transfer(b"\xff", one)
    board.sleep_us(800)
    command = framed(ADCV.to_bytes(2))
    board.spi_transfer(command, bytearray(len(command)))
    board.sleep_us(4000)
    board.spi_transfer(framed(b"\0\4") + bytes(8), group)
    assert group[4:10] == b"\xff" * 6
    board.sleep_us(3000)
    board.spi_transfer(framed(b"\0\4") + bytes(8), group)
    first = int.from_bytes(group[4:6], "little")
    assert first * 1e-4 == pytest.approx(desk.pack.cell_v[0], abs=0.003)


def test_a_board_that_sleeps_past_its_watchdog_is_bitten(served):
    board, desk = served
    board.feed_watchdog()
    for _ in range(8):
        board.sleep_us(990_000)
    desk.front.drive(BOTH)
    with pytest.raises(LinkLostError):
        board.sleep_us(990_000)
    assert desk.station.reset_cause == ResetCause.WATCHDOG
    assert desk.front.feedback() == 0


def test_the_desks_board_has_the_same_members():
    host = Host()
    board = DeskBoard(i2c=None, front_end=host.front)
    board.spi_transfer(b"\xff", bytearray(1))
    board.sleep_us(400)
    answer = bytearray(12)
    board.spi_transfer(framed(b"\0\2") + bytes(8), answer)
    assert answer[4:] == framed(bytes((2, 0, 0, 0, 0, 0)))
    pull_low_while_well(host.front)
    board.drive_switches(Switch.CHARGE)
    assert board.switch_feedback() == Switch.CHARGE
    for _ in range(3):
        board.sleep_us(400)
    assert board.now_ms == 1


def test_a_board_without_spi_refuses_what_it_has_not(tmp_path):
    server = LinkServer(tmp_path / "s")
    try:
        ours, theirs = socket.socketpair()
        pack = ModelledPack(PackSpec("B1", n_cells=4), np.random.default_rng(1))
        station = Station(0, pack, Bq76952(4, shunt_uohm=500, seed=1), None)
        station.attach(Connection(ours), 0)
        theirs.recv(100)
        for op in (link.SPI, link.DRIVE, link.FEEDBACK):
            theirs.sendall(struct.pack(link.REQUEST_HEADER, op, 1, 0) + b"\1")
            station.take()
            assert theirs.recv(100)[0] == link.REJECTED
        theirs.close()
        station.detach("done")
    finally:
        server.close()


def test_a_board_in_reset_drives_no_switch():
    desk = Desk()
    desk.front.drive(BOTH)
    desk.station.detach("its supply was cut", 1)
    assert desk.front.feedback() == 0


# --- world --------------------------------------------------------------------------------


def run_world(folder: Path, seed: int = 1, seconds: float = 10.0) -> tuple[dict, list[dict]]:
    def command(socket_path: Path, root: Path, _spec: PackSpec) -> list[str]:
        return [sys.executable, str(STAND_IN), str(socket_path), str(root)]

    with World(seed=seed, board_command=command, folder=folder) as world:
        pack = world.add_pack(PackSpec("L1", n_cells=20, soc=0.5, afe="ltc6813"))
        world.start()
        world.run(until_s=seconds)
        truth = world.truth(pack)
    lines = (folder / "L1.log").read_text().splitlines()
    return truth, [json.loads(line) for line in lines if line.startswith("{")]


def test_a_board_in_the_world_reads_its_chain(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    truth, records = run_world(tmp_path / "a")
    assert len(records) > 10
    last = records[-1]
    assert np.array(last["cells"]) * 1e-4 == pytest.approx(truth["cell_v"], abs=0.003)
    assert last["feedback"] == BOTH
    assert truth["charge_fet"]
    again = run_world(tmp_path / "b")[1]
    shortest = min(len(records), len(again)) - 1  # the last may be cut off
    assert records[:shortest] == again[:shortest]
    settings = json.loads((tmp_path / "a" / "L1" / "settings.json").read_text())
    assert settings["afe"] == "ltc6813"
