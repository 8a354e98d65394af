"""A pack is collected without a hole, and a dead one costs its bus almost nothing."""

import asyncio
import itertools
import json

from gateway_fakes import FakePack, MemoryBus, run_virtual

from common import models
from gateway.bus import Bus
from gateway.collector import TORN_DETAILS, PackCollector, Rates
from gateway.modbus.line import LineError, Port
from gateway.modbus.master import Master, Timing
from gateway.pack import TORN_TRIES, Pack

TIMING = Timing(timeout_s=0.5, drain_s=0.5, retries=1)


class MemorySink:
    """Keeps what is stored, as the spool does, and who is there."""

    def __init__(self):
        self.records = []
        self.progressed = {}
        self.chains = {}
        self.present = {}
        self.holders = {}

    async def store(self, records, progress=None, history=None):
        self.records += records
        if history is not None:
            self.chains[history[0]] = history[1]
        if progress is not None:
            self.progressed[progress[0]] = progress[1]

    async def progress(self, serial):
        return self.progressed.get(serial)

    async def history(self, serial):
        return self.chains.get(serial)

    def online(self, identity, name):
        self.present[identity.serial] = True

    def offline(self, serial):
        self.present[serial] = False
        self.holders.pop(serial, None)

    def claim(self, serial, unit):
        if serial in self.holders:
            return self.holders[serial]
        self.holders[serial] = f"address {unit}"
        return None

    def seqs(self, kind="state", boot=1):
        return [r.seq for r in self.records if r.kind == kind and r.boot == boot]

    def messages(self):
        return [json.loads(record.payload) for record in self.records]


def collector(bus, sink, unit=1, **rates):
    rates = {"poll_s": 1.0, "detail_s": 60.0, **rates}
    master = Master(bus.open, Port("/dev/memory").framing(), TIMING)
    return PackCollector(Pack(master, unit), Rates(**rates), sink, utc=lambda: 1_790_000_000.0)


def collect(fake, sink, cycles, **rates):
    """A gateway's life: one poll after each number of measurement cycles."""

    async def scenario():
        sink.holders.clear()
        one = collector(MemoryBus({1: fake}), sink, **rates)
        for n, count in enumerate(cycles):
            fake.measure(count)
            await one.poll(float(n))
        return one

    return run_virtual(scenario())


def kept(fake):
    return list(range(fake.every, fake.seq + 1, fake.every))


def test_polling_every_cycle_needs_no_recall():
    fake, sink = FakePack(), MemorySink()
    collect(fake, sink, [1] * 35)
    assert sink.seqs() == list(range(1, 36))
    assert not any(m.get("recalled") for m in sink.messages())


def test_readings_between_polls_are_fetched_from_the_board():
    fake, sink = FakePack(), MemorySink()
    collect(fake, sink, [7] * 20)
    assert set(kept(fake)) <= set(sink.seqs())
    assert len(sink.seqs()) == len(set(sink.seqs()))
    truth = {m["seq"]: m for m in sink.messages() if "recalled" in m}
    assert truth[10]["recalled"]
    assert [round(v * 1000) for v in truth[10]["cell_voltages_v"]] == fake.truth[1, 10]


def test_a_gateway_that_was_away_fetches_what_it_missed_some_a_poll():
    fake, sink = FakePack(depth=100), MemorySink()
    collect(fake, sink, [10, 10])
    fake.measure(500)
    collect(fake, sink, [3] + [1] * 9, recall_per_poll=8)
    assert set(kept(fake)) <= set(sink.seqs())
    assert len(sink.seqs()) == len(set(sink.seqs()))
    assert sink.progressed["EB-1"].seq == kept(fake)[-1]


def test_what_the_ring_no_longer_holds_is_counted_as_lost(caplog):
    fake, sink = FakePack(depth=5), MemorySink()
    collect(fake, sink, [10])
    fake.measure(200)  # 20 kept since, of which the ring holds the last five
    one = collect(fake, sink, [1, 1])
    assert one.lost_readings == 15
    assert "readings lost" in caplog.text
    assert sink.seqs() == [10, 211, 170, 180, 190, 200, 210, 212]


def test_nothing_is_written_but_the_clock_and_which_reading_or_fault_is_wanted():
    fake, sink = FakePack(), MemorySink()
    collect(fake, sink, [7] * 60, detail_s=5.0)
    control = fake.map.block(models.CONTROL)
    written = set()
    for pdu in fake.requests:
        if pdu[0] == 16:
            written.add(int.from_bytes(pdu[1:3], "big"))
        elif pdu[0] == 23:
            written.add(int.from_bytes(pdu[5:7], "big"))
        else:
            assert pdu[0] == 3
    wanted = ("SetUtc", "RecSel", "FltSel")
    assert written == {control.address + control.layout.offset(name) for name in wanted}
    assert control.get("Cmd") is None


def test_what_a_board_measured_before_it_was_first_met_is_not_lost():
    fake, sink = FakePack(depth=5), MemorySink()
    fake.measure(200)
    one = collect(fake, sink, [1])
    assert sink.seqs() == [201, 160, 170, 180, 190, 200]
    assert one.lost_readings == 0


def test_a_board_that_refuses_to_recall_is_still_polled_and_asked_again():
    fake, sink = FakePack(), MemorySink()
    answer = fake._answer
    fake._answer = lambda pdu: b"\x97\x06" if pdu[0] == 23 else answer(pdu)
    collect(fake, sink, [15, 15])
    assert sink.seqs() == [15, 30]
    fake._answer = answer
    collect(fake, sink, [1])
    assert sink.seqs() == [15, 30, 31, 10, 20]


def test_a_restart_of_the_board_begins_a_new_boot():
    fake, sink = FakePack(), MemorySink()

    async def scenario():
        one = collector(MemoryBus({1: fake}), sink)
        fake.measure(25)
        await one.poll(0.0)
        fake.restart()
        fake.measure(13)
        await one.poll(1.0)

    run_virtual(scenario())
    assert sink.seqs(boot=1) == [25, 10, 20]
    assert sink.seqs(boot=2) == [13, 10]
    assert sink.progressed["EB-1"].boot == 2


def test_the_clock_is_set_once_a_boot_and_once_an_hour():
    fake, sink = FakePack(), MemorySink()

    async def scenario():
        one = collector(MemoryBus({1: fake}), sink)
        for now_s in (0.0, 1.0, 3599.0, 3600.0, 3601.0):
            fake.measure()
            await one.poll(now_s)
        fake.restart()
        fake.measure()
        await one.poll(3602.0)

    run_virtual(scenario())
    assert sum(request[0] == 16 for request in fake.requests) == 3
    assert fake.utc == 1_790_000_000


def test_a_time_the_board_refuses_stops_nothing(caplog):
    fake, sink = FakePack(), MemorySink()
    answer = fake._answer
    fake._answer = lambda pdu: b"\x90\x03" if pdu[0] == 16 else answer(pdu)
    collect(fake, sink, [1] * 12)
    assert sink.seqs() == list(range(1, 13))
    assert caplog.text.count("time refused") == 1


def test_details_come_at_their_own_pace():
    fake, sink = FakePack(), MemorySink()
    collect(fake, sink, [1] * 25, detail_s=10.0)
    assert sink.seqs("detail") == [1, 11, 21]


def test_details_that_change_under_every_read_are_asked_for_again_with_the_next_poll():
    fake, sink = FakePack(), MemorySink()
    tears = [0]

    def fault(frame):
        if len(frame) == 255 and tears[0] < 6:  # the first of HEALTH's two reads
            tears[0] += 1
            asyncio.get_running_loop().call_later(0.003, fake.measure)
        return [(0.002, frame)]

    async def scenario():
        one = collector(MemoryBus({1: fake}, fault), sink, detail_s=1000.0)
        for n in range(4):
            fake.measure()
            await one.poll(float(n))

    run_virtual(scenario())
    assert tears == [6], "every read of the first poll was torn, and some of the second"
    assert len(sink.seqs("detail")) == 1


def test_details_that_are_always_torn_do_not_take_the_bus():
    fake, sink = FakePack(), MemorySink()
    tears = [0]

    def fault(frame):
        if len(frame) == 255:
            tears[0] += 1
            asyncio.get_running_loop().call_later(0.003, fake.measure)
        return [(0.002, frame)]

    async def scenario():
        one = collector(MemoryBus({1: fake}, fault), sink, detail_s=100.0)
        for n in range(100):
            fake.measure()
            await one.poll(float(n))

    run_virtual(scenario())
    assert tears == [TORN_DETAILS * TORN_TRIES]
    assert sink.seqs("detail") == []


def test_a_board_that_comes_back_with_other_firmware_is_met_anew():
    fake, sink = FakePack(), MemorySink()

    async def scenario():
        one = collector(MemoryBus({1: fake}), sink)
        fake.measure()
        await one.poll(0.0)
        fake.map.block(models.COMMON).set_text("Vr", "0.2.0")
        fake.restart()
        fake.measure()
        await one.poll(1.0)
        return (await one.pack.identify()).firmware

    assert run_virtual(scenario()) == "0.2.0"


def test_a_board_that_starts_again_while_it_is_recalled_mixes_no_two_boots():
    fake, sink = FakePack(), MemorySink()
    fake.measure(35)
    recalls = []

    def fault(frame):
        if frame[1] == 23:
            recalls.append(frame)
            if len(recalls) == 2:
                fake.restart()
                fake.measure(25)
        return [(0.002, frame)]

    async def scenario():
        one = collector(MemoryBus({1: fake}, fault), sink)
        await one.poll(0.0)
        await one.poll(1.0)

    run_virtual(scenario())
    assert set(sink.seqs(boot=2)) == {10, 20, 25}
    assert set(sink.seqs(boot=1)) <= {35, 10, 20}
    for message in sink.messages():
        if "cell_voltages_v" in message:
            cells_mv = [round(v * 1000) for v in message["cell_voltages_v"]]
            assert cells_mv == fake.truth[message["boot"], message["seq"]]


def test_a_board_that_has_not_measured_yet_is_there_but_says_nothing():
    fake, sink = FakePack(), MemorySink()
    collect(fake, sink, [0])
    assert sink.present == {"EB-1": True}
    assert sink.records == []


def run_bus(fakes, units, seconds, opener=None, sink=None, each_second=lambda n: None):
    """A gateway's life; ``each_second(n)`` may change ``fakes``, ``{unit: FakePack}``."""
    sink = sink or MemorySink()
    sink.holders.clear()

    async def scenario():
        memory = MemoryBus(fakes)
        master = Master(opener or memory.open, Port("/dev/memory").framing(), TIMING)
        rates = Rates(poll_s=1.0, detail_s=1e9, set_time=False)
        bus = Bus("bay", master, [PackCollector(Pack(master, u), rates, sink) for u in units])
        task = asyncio.create_task(bus.run(lambda: None))
        for n in range(seconds):
            each_second(n)
            for fake in fakes.values():
                fake.measure()
            await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(scenario())
    return sink


def test_one_dead_pack_of_sixteen_takes_at_most_two_percent_from_the_others():
    fakes = {unit: FakePack(f"EB-{unit}") for unit in range(1, 16)}
    sink = run_bus(fakes, range(1, 17), 400)
    late = [r for r in sink.records if r.serial == "EB-1" and r.seq > 200]
    assert len(late) >= 0.98 * 200
    assert sink.present == {fake.serial: True for fake in fakes.values()}


def test_a_pack_that_dies_goes_offline_and_one_that_comes_back_is_found_again():
    fakes, sink = {1: FakePack("EB-1"), 2: FakePack("EB-2")}, MemorySink()
    run_bus(fakes, (1, 2), 3, sink=sink)
    gone = fakes.pop(2)
    run_bus(fakes, (1, 2), 10, sink=sink)
    assert sink.present["EB-1"] is True
    fakes[2] = gone
    run_bus(fakes, (1, 2), 3, sink=sink)
    assert sink.present == {"EB-1": True, "EB-2": True}


def test_of_two_packs_with_one_serial_number_only_the_first_is_collected(caplog):
    fakes, sink = {1: FakePack("EB-1", boot=4), 2: FakePack("EB-1", boot=9)}, MemorySink()
    run_bus(fakes, (1, 2), 10, sink=sink)
    assert {record.boot for record in sink.records} == {4}
    assert sink.present == {"EB-1": True}
    assert "pack offline" in caplog.text
    reasons = {getattr(record, "reason", None) for record in caplog.records}
    assert (
        "serial number EB-1 is that of the pack at address 1 (each board needs its own)" in reasons
    )


def test_a_pack_that_moves_to_another_address_is_collected_there():
    fakes, sink = {1: FakePack("EB-1")}, MemorySink()

    def move(n):
        if n == 5:
            fakes[2] = fakes.pop(1)

    run_bus(fakes, (1, 2), 60, sink=sink, each_second=move)
    assert sink.present == {"EB-1": True}
    assert set(kept(fakes[2])) <= set(sink.seqs())


def test_a_serial_number_that_is_mended_lets_its_pack_in():
    fakes, sink = {1: FakePack("EB-1"), 2: FakePack("EB-1")}, MemorySink()

    def mend(n):
        if n == 20:
            fakes[2] = FakePack("EB-2")

    run_bus(fakes, (1, 2), 120, sink=sink, each_second=mend)
    assert sink.present == {"EB-1": True, "EB-2": True}


def test_every_exchange_counts_as_progress():
    fake, sink, beats = FakePack(), MemorySink(), []
    fake.measure(300)

    async def scenario():
        master = Master(MemoryBus({1: fake}).open, Port("/dev/memory").framing(), TIMING)
        bus = Bus("bay", master, [PackCollector(Pack(master, 1), Rates(1e6, 1e6), sink)])
        task = asyncio.create_task(bus.run(lambda: beats.append(1)))
        await asyncio.sleep(0.9)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return master.counters.exchanges

    exchanges = run_virtual(scenario())
    assert len(beats) > exchanges > 30


def test_a_port_that_fails_pauses_and_is_opened_again():
    fake = FakePack()
    memory = MemoryBus({1: fake})
    tries = []

    async def opener():
        tries.append(asyncio.get_running_loop().time())
        if len(tries) <= 4:
            raise LineError("unplugged")
        return await memory.open()

    sink = run_bus({1: fake}, (1,), 40, opener)
    pauses_s = [round(b - a) for a, b in itertools.pairwise(tries)]
    assert pauses_s == [1, 2, 4, 8]
    assert sink.present == {"EB-1": True}
    assert set(kept(fake)) <= set(sink.seqs())


def test_a_fault_met_with_one_pack_stops_no_other(caplog):
    fakes, sink = {1: FakePack("EB-1"), 2: FakePack("EB-2")}, MemorySink()
    store = sink.store

    async def store_but_not_of_one(records, progress=None):
        records = list(records)
        if any(record.serial == "EB-1" for record in records):
            raise ZeroDivisionError
        await store(records, progress)

    sink.store = store_but_not_of_one
    run_bus(fakes, (1, 2), 10, sink=sink)
    assert "ZeroDivisionError" in caplog.text
    assert {record.serial for record in sink.records} == {"EB-2"}
    assert len(sink.records) >= 9


# --- the fault memory ---------------------------------------------------------------------------


def faults_life(steps, **rates):
    """The ``faults`` published in polls a second apart; ``steps`` change the pack before each."""

    async def scenario():
        fake, sink = FakePack(), MemorySink()
        one = collector(MemoryBus({1: fake}), sink, **rates)
        found = []
        now_s = 0.0
        for wait_s, step in steps:
            now_s += wait_s
            fake.measure(2)
            if step:
                step(fake)
            before = len(sink.records)
            await one.poll(now_s)
            new = [r for r in sink.records[before:] if r.kind == "faults"]
            found.append([json.loads(record.payload) for record in new])
        return found, fake

    return run_virtual(scenario())


def comes(number, active=True):
    def step(fake):
        fake.fault_counts[number] = fake.fault_counts.get(number, 0) + 1
        fake.map.block(models.SNAPSHOT).set("Flt", 1 << number if active else 0)

    return step


def test_faults_are_published_when_a_pack_is_met_and_when_one_comes():
    found, fake = faults_life([(1, None), (1, None), (1, comes(14)), (1, comes(0)), (1, None)])
    assert [len(messages) for messages in found] == [1, 0, 1, 1, 0]
    (none,), _, (one,), (two,), _ = found
    assert (none["faults"], none["event_count"]) == ([], 0)
    assert [(f["fault"], f["count"]) for f in one["faults"]] == [("afe_reset", 1)]
    assert [f["fault"] for f in two["faults"]] == ["cell_over_voltage", "afe_reset"]
    assert [f["first_seq"] for f in two["faults"]] == [
        fake.fault_figure(n, "FstSeq") for n in (0, 14)
    ]
    assert (two["serial"], two["boot"], two["event_count"]) == ("EB-1", 1, 2)


def test_a_fault_that_no_poll_has_seen_is_found_within_ten_minutes():
    found, _ = faults_life([(1, None), (1, comes(5, active=False)), (500, None), (100, None)])
    assert [len(messages) for messages in found] == [1, 0, 0, 1]
    assert found[3][0]["faults"][0]["fault"] == "short_circuit"


def test_a_fault_that_is_not_saved_yet_is_asked_for_until_it_is():
    def unsaved(fake):
        comes(3)(fake)
        fake.unsaved = 1 << 3

    def saved(fake):
        fake.unsaved = 0

    steps = [(1, None), (1, unsaved), (1, comes(3)), (1, saved), (1, None)]
    found, _ = faults_life(steps)
    assert [[f["saved"] for f in m["faults"]] for messages in found[1:] for m in messages] == [
        [False],
        [False],
        [True],
    ]


def test_a_board_that_started_again_is_asked_anew_for_what_it_has_forgotten():
    def restarts(fake):
        fake.restart()
        fake.fault_counts.clear()
        fake.measure(2)

    found, _ = faults_life([(1, comes(3, active=False)), (1, None), (1, restarts)])
    assert [len(messages) for messages in found] == [1, 0, 1]
    assert found[2][0]["faults"] == []
    assert found[2][0]["boot"] == 2


def test_two_messages_of_one_cycle_do_not_stand_for_each_other():
    """The spool knows a message by boot, cycle and kind."""

    async def scenario():
        fake, sink = FakePack(), MemorySink()
        one = collector(MemoryBus({1: fake}), sink)
        fake.measure(1)
        await one.poll(0.0)
        comes(3)(fake)
        await one.poll(1.0)
        early = len([r for r in sink.records if r.kind == "faults"])
        fake.measure(1)
        await one.poll(2.0)
        return early, [r.seq for r in sink.records if r.kind == "faults"]

    assert run_virtual(scenario()) == (1, [1, 2])


def test_faults_that_change_while_they_are_read_are_read_again():
    async def scenario():
        fake, sink = FakePack(), MemorySink()
        one = collector(MemoryBus({1: fake}), sink)
        fake.fault_counts = {3: 1, 4: 1}
        fake.measure(1)
        tell = fake._tell_fault

        def comes_meanwhile(number):
            tell(number)
            if number == 3:
                fake.fault_counts[3] += 1

        fake._tell_fault = comes_meanwhile
        await one.poll(0.0)
        early = [r for r in sink.records if r.kind == "faults"]
        fake._tell_fault = tell
        await one.poll(1.0)
        return early, [json.loads(r.payload) for r in sink.records if r.kind == "faults"]

    early, (message,) = run_virtual(scenario())
    assert early == []
    assert [f["count"] for f in message["faults"]] == [2, 1]
