"""A pack of 72 cells is collected, published, announced and graded like any other."""

import asyncio
import json

import pytest
from gateway_fakes import FakePack, MemoryBus, run_virtual
from grading_packs import CHECKED, healthy_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_rig import Broker, Subscriber, free_port, wait_for
from spoiled_line import wrong_values

from common import models
from common.registers import Layout, RegisterMap
from gateway import discovery
from gateway.blocks import TornBlockError
from gateway.config import MqttTable
from gateway.grading import profile as profiles
from gateway.grading.decide import grade
from gateway.grading.evidence import Evidence
from gateway.modbus.line import Port
from gateway.modbus.master import Master, Timing
from gateway.pack import TORN_TRIES, NotAPackError, Pack
from gateway.planner import DETAIL_BLOCKS, Plan
from gateway.publisher import Publisher
from gateway.reading import detail_message, encode, state_message
from gateway.spool import Record, Spool
from gateway.spool_writer import SpoolWriter
from gateway.topics import Topics

N = 72
MOST_BYTES = 56 << 10


def pack_on(bus, timing=None):
    timing = timing or Timing(timeout_s=0.5, drain_s=0.5, retries=1)
    return Pack(Master(bus.open, Port("/dev/memory").framing(), timing), 1)


# --- asking ---------------------------------------------------------------------------------


def test_every_block_and_kept_reading_is_read_right():
    async def scenario():
        fake = FakePack(n_cells=N)
        fake.measure(40)
        pack = pack_on(MemoryBus({1: fake}))
        assert (await pack.identify()).n_cells == N
        wrong = []
        for model_id in (models.SNAPSHOT, *DETAIL_BLOCKS):
            wrong += wrong_values(fake, model_id, await pack.block(model_id))
        before = len(fake.requests)
        for seq in (10, 40):
            wrong += wrong_values(fake, models.RECALL, await pack.recall(seq))
        assert len(fake.requests) - before == 2, "one exchange a reading"
        assert await pack.recall(15) is None
        return wrong

    assert run_virtual(scenario()) == []


@pytest.mark.parametrize("piece", range(len(Plan(N).reads(models.HEALTH)) - 1))
def test_a_block_that_changes_between_any_two_of_its_reads_is_read_again(piece):
    async def scenario():
        fake = FakePack(n_cells=N)
        fake.measure(3)
        read = Plan(N).reads(models.HEALTH)[piece]
        torn = [True, True]

        def fault(frame):
            if len(frame) == 5 + 2 * read.count and torn:
                torn.pop()
                fake.measure()
            return [(0.002, frame)]

        pack = pack_on(MemoryBus({1: fake}, fault))
        await pack.identify()
        block = await pack.block(models.HEALTH)
        assert not torn
        return wrong_values(fake, models.HEALTH, block)

    assert run_virtual(scenario()) == []


def read_details(baudrate, still_s):
    """Ten readings of the details of a board whose blocks change every ``still_s``."""

    async def scenario():
        fake = FakePack(n_cells=N)
        fake.measure()
        bus = MemoryBus(
            {1: fake}, lambda frame: [((8 + len(frame)) * 11 / baudrate + 0.02, frame)]
        )
        pack = pack_on(bus, Timing.at(baudrate, timeout_s=0.5, drain_s=0.5))
        await pack.identify()

        async def change():
            while True:
                await asyncio.sleep(still_s)
                fake.measure()

        changing = asyncio.ensure_future(change())
        asked, wrong = len(fake.requests), []
        try:
            for _ in range(10):
                for model_id in DETAIL_BLOCKS:
                    wrong += wrong_values(fake, model_id, await pack.block(model_id))
        finally:
            changing.cancel()
        assert wrong == []
        return len(fake.requests) - asked

    return run_virtual(scenario())


@pytest.mark.parametrize(
    ("baudrate", "still_s"),
    [
        (115200, 1.0),  # detail_every 10 of the shortest period, 100 ms
        (115200, 10.0),
        (9600, 5.86),  # of the shortest period with 9600 baud, 586 ms
        (9600, 10.0),
    ],
)
def test_details_stand_still_for_long_enough_to_be_read(baudrate, still_s):
    least = 10 * sum(len(Plan(N).reads(model_id)) for model_id in DETAIL_BLOCKS)
    assert read_details(baudrate, still_s) < 2 * least


def test_details_that_change_faster_than_they_can_be_read_are_refused():
    with pytest.raises(TornBlockError, match=r"sequence \d+ begins and \d+ ends"):
        read_details(9600, 0.586)
    assert TORN_TRIES == 4


@pytest.mark.parametrize("n_cells", [4, 16, N])
@pytest.mark.parametrize("version", [1, models.MAP_VERSION + 1])
def test_a_board_with_another_register_map_is_refused_in_one_clear_line(n_cells, version):
    async def scenario():
        fake = FakePack(n_cells=n_cells)
        fake.measure()
        fake.map.block(models.DEVICE).set("MapVer", version)
        await pack_on(MemoryBus({1: fake})).identify()

    message = (
        f"unit 1: its register map has version {version}, this gateway's {models.MAP_VERSION}: "
        "give board and gateway the same release"
    )
    with pytest.raises(NotAPackError) as refused:
        run_virtual(scenario())
    assert str(refused.value) == message


def test_a_pack_longer_than_the_map_has_bits_for_is_refused():
    async def scenario():
        fake = FakePack(n_cells=N + 1)
        await pack_on(MemoryBus({1: fake})).identify()

    with pytest.raises(NotAPackError, match="a snapshot of 125 registers is not ours"):
        run_virtual(scenario())


def test_what_the_register_map_was_before_has_its_version_at_the_same_place():
    assert Layout(models.DEVICE, 1).offset("MapVer") == 6, "or old boards are not understood"


# --- publishing -----------------------------------------------------------------------------


@given(st.integers(1, N), st.data())
@settings(max_examples=60)
def test_every_bled_cell_is_published_by_its_number(n_cells, data):
    block = RegisterMap(n_cells).block(models.SNAPSHOT)
    bled = data.draw(st.sets(st.integers(1, n_cells), max_size=20))
    mask = sum(1 << number - 1 for number in bled)
    for name, value in (
        ("Bal", mask & 0xFFFFFFFF),
        ("Bal2", mask >> 32 & 0xFFFFFFFF),
        ("Bal3", mask >> 64),
    ):
        block.set(name, value)
    state = state_message("EB-1", block.layout.decode(block.bytes()), 0.0, recalled=False)
    assert state["balancing"] == sorted(bled)


def widest_detail(n_cells=N):
    """The details of a pack of which everything is known, in many digits."""
    image = RegisterMap(n_cells)
    blocks = {}
    for model_id in models.OURS:
        block = image.block(model_id)
        for name in block.layout.index:
            if name not in ("ID", "L", "NCell"):
                block.set(name, 3 if block.layout.place(name)[1] == 1 else 0x7FFFFFFF)
        for cell in range(block.layout.n_cells):
            for name in block.layout.cell_index:
                block.set_cell(name, cell, 3 if name in ("Mth", "Ref") else 0x6FFF)
        blocks[model_id] = block.layout.decode(block.bytes())
    return encode(detail_message("S" * 32, blocks, 1_790_000_000.0))


def test_no_message_is_larger_than_the_documentation_says(root):
    assert 40_000 < len(widest_detail()) < MOST_BYTES
    assert len(widest_detail(16)) < 18 << 10
    text = (root / "docs" / "gateway.md").read_text(encoding="utf-8")
    assert f"{MOST_BYTES >> 10} kB" in text


def test_the_largest_message_reaches_a_broker(tmp_path):
    payload = widest_detail()
    spool = Spool(tmp_path / "spool.db", 1 << 20)
    broker = Broker(free_port())
    try:
        ear = Subscriber(broker.port)

        async def main():
            writer = SpoolWriter(spool)
            table = MqttTable(host="127.0.0.1", port=broker.port)
            publisher = Publisher(table, "g1", writer)
            tasks = [
                asyncio.create_task(writer.run(lambda: None)),
                asyncio.create_task(publisher.run(lambda: None)),
            ]
            await writer.store([Record("LONG", 1, 1, "detail", payload)])
            topic = publisher.topics.pack("LONG", "detail")
            came = await asyncio.to_thread(wait_for, lambda: ear.last(topic) is not None)
            for _ in range(100):
                left = await writer.fetch(0, 10)
                if not left:
                    break
                await asyncio.sleep(0.05)
            for task in reversed(tasks):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            return came, left, ear.last(topic)

        came, left, heard = asyncio.run(main())
    finally:
        broker.stop()
        spool.close()
    assert came
    assert left == []
    assert heard == payload


def test_every_cell_is_announced():
    topics = Topics("echelon", "g1")
    pack = discovery.Announced("LONG", "Long pack", "Echelon", "Pack 72S nmc", "0.1.0", N)
    found = discovery.messages("homeassistant", topics, pack, 60)
    cells = [
        json.loads(found[f"homeassistant/sensor/echelon_LONG/cell_{n}_v/config"])
        for n in range(1, N + 1)
    ]
    assert "cell_voltages_v[71]" in cells[-1]["value_template"]
    assert len({cell["unique_id"] for cell in cells}) == N
    assert max(map(len, found.values())) < 2048


# --- grading --------------------------------------------------------------------------------


def graded(weak=()):
    blocks = healthy_blocks(N)
    for number in weak:
        cell = blocks[models.HEALTH]["cells"][number - 1]
        cell["SohLo"], cell["Soh"], cell["SohHi"] = 56.5, 58.0, 59.5
    if weak:
        blocks[models.HEALTH] |= {"SohLo": 56.5, "Soh": 58.0, "SohHi": 59.5}
        blocks[models.HEALTH] |= {"Spread": 33.0, "SpreadHi": 35.0, "Weak": weak[0], "WeakZ": 40}
    state = state_message("LONG", blocks[models.SNAPSHOT], 1_790_000_000.0, recalled=False)
    detail = detail_message("LONG", blocks, 1_790_000_000.0)
    state, detail = json.loads(encode(state)), json.loads(encode(detail))
    return grade(Evidence.from_messages(state, detail, CHECKED), profiles.load("packgrade-2026"))


def test_a_healthy_pack_of_72_cells_is_reused():
    found = graded()
    assert (found.grade_class, found.weak_cells) == ("A", ())


def test_weak_cells_are_named_wherever_they_stand():
    found = graded(weak=(33, 72))
    assert found.weak_cells == (33, 72)
    assert found.next_test == "replace cells 33, 72, then full cycle"
