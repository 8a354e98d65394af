"""A board's history is fetched record by record: each once, in order, its chain checked."""

import asyncio
import itertools
import json
import shutil
import struct
import zlib

import pytest
from gateway_fakes import Faults, MemoryBus, run_virtual
from history_bench import Bench
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_pack import RecordingPack

from common import models
from common.crc import crc16_modbus
from common.history_records import PACKET_HEAD, next_chain
from gateway.blocks import TornBlockError, WrongBlockError
from gateway.bus import PACK_ERRORS, Bus
from gateway.collector import PackCollector, Rates
from gateway.history_packets import Chain, decode_packet
from gateway.modbus.frames import BadAnswerError, DeviceError, RtuFraming, file_request
from gateway.modbus.line import Port
from gateway.modbus.master import Master, Timing
from gateway.pack import Pack
from gateway.planner import Plan
from gateway.service import Outlet
from gateway.spool import Spool
from gateway.spool_writer import SpoolWriter

TIMING = Timing(timeout_s=0.3, drain_s=0.5)


class Sink:
    """Keeps what is stored, and may fail."""

    def __init__(self):
        self.records, self.chains, self.fail = [], {}, False

    async def store(self, records, progress=None, history=None):
        if self.fail:
            raise OSError("killed")
        self.records += [r for r in records if r.kind == "history"]
        if history is not None:
            self.chains[history[0]] = history[1]

    async def progress(self, serial):
        return None

    async def history(self, serial):
        return self.chains.get(serial)

    def online(self, identity, name):
        pass

    def offline(self, serial):
        pass

    def claim(self, serial, unit):
        return None

    def messages(self):
        return [json.loads(record.payload) for record in self.records]


def collector(fake, sink, fault=None):
    bus = MemoryBus({1: fake}, fault)
    master = Master(bus.open, Port("/dev/memory").framing(), TIMING)
    return PackCollector(Pack(master, 1), Rates(1.0, 1.0), sink)


async def collect(one, fake, exchanges=10**6):
    """Poll once, then fetch what there is."""
    fake.measure()
    await one.poll(float(fake.seq))
    while exchanges and one.history.is_behind(float(fake.seq)):
        await one.history.fetch()
        exchanges -= 1


@pytest.fixture
def fake(tmp_path):
    return RecordingPack(tmp_path)


def hours(fake, n):
    for _ in range(60 * n):
        fake.bench.minute()


def test_every_record_arrives_once_in_its_order_with_its_chain(fake):
    sink = Sink()
    hours(fake, 30)
    run_virtual(collect(collector(fake, sink), fake))
    messages = sink.messages()
    last = fake.bench.history.file.last
    assert last > 1700
    assert [m["number"] for m in messages] == list(range(1, last + 1))
    assert [bytes.fromhex(m["record"]) for m in messages] == [
        fake.bench.sent[n] for n in range(1, last + 1)
    ]
    chain = Chain.of("EB-1").value
    for message in messages:
        chain = next_chain(chain, bytes.fromhex(message["record"]))
        assert message["chain"] == chain.hex()
    checked = [m["number"] for m in messages if m["chain_ok"] is not None]
    assert all(m["chain_ok"] in (True, None) for m in messages)
    assert checked[0] == 1
    assert max(b - a for a, b in itertools.pairwise(checked)) < 80
    assert {m["missing_before"] for m in messages} == {0}


def test_what_is_new_is_fetched_and_nothing_again(fake):
    sink = Sink()

    async def scenario():
        one = collector(fake, sink)
        for _ in range(5):
            hours(fake, 1)
            await collect(one, fake)
        asked = fake.file_requests
        await collect(one, fake)
        assert fake.file_requests == asked

    run_virtual(scenario())
    numbers = [m["number"] for m in sink.messages()]
    assert numbers == list(range(1, fake.bench.history.file.last + 1))


def test_a_gateway_that_is_killed_fetches_the_same_bytes_again(fake):
    sink = Sink()
    hours(fake, 10)

    async def scenario():
        await collect(collector(fake, sink), fake, exchanges=40)
        stored = len(sink.records)
        assert 100 < stored < 500
        chains = dict(sink.chains)
        await collect(collector(fake, sink), fake, exchanges=30)  # killed after some more ...
        sink.chains = chains  # ... whose progress was not on the disk
        hours(fake, 1)
        await collect(collector(fake, sink), fake)

    run_virtual(scenario())
    by_number = {}
    for record in sink.records:
        assert by_number.setdefault(record.seq, record) == record
    assert sorted(by_number) == list(range(1, fake.bench.history.file.last + 1))
    assert not [m for m in sink.messages() if m["chain_ok"] is False]


def test_a_store_that_fails_is_tried_again(fake):
    sink = Sink()
    hours(fake, 3)

    async def scenario():
        one = collector(fake, sink)
        await collect(one, fake, exchanges=3)
        sink.fail = True
        with pytest.raises(OSError, match="killed"):
            await collect(one, fake)
        sink.fail = False
        await collect(one, fake)

    run_virtual(scenario())
    numbers = [m["number"] for m in sink.messages()]
    assert numbers == list(range(1, fake.bench.history.file.last + 1))


def test_what_the_board_no_longer_keeps_is_told(tmp_path, caplog):
    fake = RecordingPack(tmp_path, history_kb=64)
    sink = Sink()
    hours(fake, 60)
    first = fake.bench.model()["First"]
    assert first > 1
    run_virtual(collect(collector(fake, sink), fake))
    messages = sink.messages()
    assert messages[0]["number"] == first
    assert messages[0]["missing_before"] == first - 1
    assert messages[0]["chain"] is not None
    assert {m["missing_before"] for m in messages[1:]} == {0}
    assert "records are missing" in caplog.text


def test_a_hole_in_the_middle_is_told_where_it_is(fake, caplog):
    sink = Sink()
    hours(fake, 10)
    path = next((fake.bench.root / "history").iterdir())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run_virtual(collect(collector(fake, sink), fake))
    messages = sink.messages()
    holes = [m for m in messages if m["missing_before"]]
    assert len(holes) == 1
    assert holes[0]["chain_ok"] is None
    assert holes[0]["chain"] is not None, "it goes on from what the board tells"
    assert len(messages) + holes[0]["missing_before"] == fake.bench.history.file.last
    assert all(bytes.fromhex(m["record"]) == fake.bench.sent[m["number"]] for m in messages)


def test_records_at_the_end_that_cannot_be_read_are_passed_over(fake):
    sink = Sink()
    hours(fake, 2)
    path = next((fake.bench.root / "history").iterdir())
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    run_virtual(collect(collector(fake, sink), fake))
    assert sink.chains["EB-1"].number == fake.bench.history.file.last
    assert len(sink.records) < fake.bench.history.file.last


def changed_on_flash(fake):
    """Somebody changes a reading's current on the flash, CRC and all; the batch's first number."""
    path = next((fake.bench.root / "history").iterdir())
    content = bytearray(path.read_bytes())
    at, batches = 17, []
    while at < len(content):
        length, flags = struct.unpack_from("<xxHB", content, at)
        batches.append((at, length, flags))
        at += length
    at, length, _flags = next(b for b in batches[3:] if not b[2] & 1)
    content[at + length - 5] ^= 2  # the last byte of the last record: its charge
    struct.pack_into("<L", content, at + length - 4, zlib.crc32(content[at : at + length - 4]))
    path.write_bytes(content)


def test_a_changed_record_is_told(fake, caplog):
    sink = Sink()
    hours(fake, 10)
    changed_on_flash(fake)
    run_virtual(collect(collector(fake, sink), fake))
    broken = [m["number"] for m in sink.messages() if m["chain_ok"] is False]
    assert len(broken) == 1
    assert "chain broken" in caplog.text


def test_a_change_after_the_last_key_is_told_by_the_head(fake, caplog):
    sink = Sink()
    for _ in range(28):
        fake.bench.minute()
    changed_on_flash(fake)
    run_virtual(collect(collector(fake, sink), fake))
    assert "does not end as the board says" in caplog.text


def test_another_history_under_the_same_serial_begins_anew(tmp_path, caplog):
    fake, sink = RecordingPack(tmp_path), Sink()
    hours(fake, 5)

    async def scenario():
        await collect(collector(fake, sink), fake)
        shutil.rmtree(tmp_path / "history")
        fake.bench = Bench(tmp_path)
        hours(fake, 1)
        await collect(collector(fake, sink), fake)

    run_virtual(scenario())
    assert "begins anew" in caplog.text
    assert sink.messages()[-1]["number"] == fake.bench.history.file.last


@pytest.mark.parametrize("seed", range(3))
def test_a_spoiled_line_brings_no_wrong_record(fake, seed):
    sink, faults = Sink(), Faults(seed, share=0.3)
    hours(fake, 20)

    async def scenario():
        one = collector(fake, sink, faults)
        for n in range(3000):
            try:
                await collect(one, fake, exchanges=20)
                if n and not one.history.is_behind(float(fake.seq)):
                    return
            except PACK_ERRORS:
                await asyncio.sleep(2)

    run_virtual(scenario())
    messages = sink.messages()
    assert [m["number"] for m in messages] == list(range(1, fake.bench.history.file.last + 1))
    assert all(bytes.fromhex(m["record"]) == fake.bench.sent[m["number"]] for m in messages)
    assert sum(faults.counts.values()) > 20


def test_the_bus_reads_history_only_between_its_polls(fake):
    """Two packs polled each second; history comes in the time between, and no poll is late."""
    sink = Sink()
    hours(fake, 20)
    polls = []
    words = Plan(16).reads(models.SNAPSHOT)[0].count

    async def scenario():
        loop = asyncio.get_running_loop()

        def fault(frame):
            if frame[1] == 3 and len(frame) == 5 + 2 * words:
                polls.append(loop.time())
            return [(0.03, frame)]

        one = collector(fake, sink, fault)
        fake.measure()
        bus = Bus("bay", one.pack._master, [one])
        running = asyncio.ensure_future(bus.run(lambda: None))
        for _ in range(120):
            await asyncio.sleep(1)
            fake.measure()
        running.cancel()

    run_virtual(scenario())
    gaps = [b - a for a, b in itertools.pairwise(polls[2:])]
    assert len(gaps) > 100
    assert max(gaps) < 1.1
    assert min(gaps) > 0.9
    assert len(sink.records) == fake.bench.history.file.last


# --- packets and frames -------------------------------------------------------------------------


def test_a_packet_of_another_pack_or_question_is_refused(fake):
    hours(fake, 1)
    data = fake.bench.packet(5)
    packet = decode_packet(data, 16, "EB-1", 5)
    assert (packet.first, packet.chain) == (5, None)
    with pytest.raises(WrongBlockError, match="not of the pack EB-2"):
        decode_packet(data, 16, "EB-2", 5)
    with pytest.raises(TornBlockError, match="from 5 on came instead of 6"):
        decode_packet(data, 16, "EB-1", 6)
    with pytest.raises(WrongBlockError, match="version 9"):
        decode_packet(b"\x09" + data[1:], 16, "EB-1", 5)
    earlier = bytearray(data)
    struct.pack_into("<L", earlier, 9, 4)
    with pytest.raises(WrongBlockError, match="record 4 came where 5"):
        decode_packet(bytes(earlier), 16, "EB-1", 5)


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=233, max_size=233), st.integers(0, 255), st.booleans())
def test_a_packet_of_rubbish_is_an_error_or_records_that_can_be(rubbish, count, chained):
    head = struct.pack(PACKET_HEAD, 1, zlib.crc32(b"EB-1"), 7, 7, count, chained)
    try:
        packet = decode_packet(head + rubbish, 16, "EB-1", 7)
    except WrongBlockError:
        return
    assert len(packet.records) == count


def test_a_request_for_a_file_is_as_the_specification_says():
    request = file_request(unit=1, file=4, record=1, words=2)
    assert request.pdu.hex() == "140706000400010002"
    framing = RtuFraming()

    def judged(pdu):
        frame = RtuFraming().encode(request, 0)[:1] + pdu
        frame += crc16_modbus(frame, 0, len(frame)).to_bytes(2, "little")
        return framing.judge(request, 0, frame)

    assert judged(bytes.fromhex("14 06 05 06 0DFE 0020")) == bytes.fromhex("0DFE0020")
    with pytest.raises(DeviceError):
        judged(b"\x94\x02")
    with pytest.raises(BadAnswerError, match="the part of a file"):
        judged(bytes.fromhex("14 06 05 07 0DFE 0020"))
    with pytest.raises(BadAnswerError, match="byte count 4"):
        judged(bytes.fromhex("14 04 05 06 0DFE 0020"))


def test_how_far_a_history_is_collected_survives_with_its_records(tmp_path):
    (tmp_path / "pack").mkdir()
    fake = RecordingPack(tmp_path / "pack")
    hours(fake, 2)

    async def scenario(path):
        spool_file = Spool(path, 1 << 24)
        spool = SpoolWriter(spool_file)
        running = asyncio.ensure_future(spool.run(lambda: None))
        quiet = type("Quiet", (), {"announce": lambda *_: None, "set_status": lambda *_, **__: 0})
        outlet = Outlet("bay", spool, quiet(), 1.0, {})
        await collect(collector(fake, outlet), fake)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        rows = [r.record for r in spool_file.fetch(0, 10**6) if r.record.kind == "history"]
        chain = spool_file.history("EB-1")
        spool_file.close()
        return [r.seq for r in rows], chain

    for _ in range(2):
        numbers, chain = run_virtual(scenario(tmp_path / "spool.db"))
        last = fake.bench.history.file.last
        assert numbers == list(range(1, last + 1))
        assert chain == fake.bench.read().chain
        hours(fake, 2)
