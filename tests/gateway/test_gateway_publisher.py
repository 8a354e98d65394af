"""Nothing leaves the spool without the broker's word, and what is retained is said again."""

import asyncio
import json
import re

import pytest
from mqtt_rig import Broker, Subscriber, free_port, wait_for

from common.registers import RegisterMap
from gateway import mqtt_link
from gateway import publisher as publisher_module
from gateway.config import MqttTable
from gateway.discovery import Announced, messages
from gateway.planner import DETAIL_BLOCKS
from gateway.publisher import Publisher
from gateway.reading import detail_message
from gateway.spool import Record, Spool
from gateway.spool_writer import SpoolWriter
from gateway.topics import Topics


class FakeLink:
    """Takes messages and leaves it to the test to acknowledge them."""

    def __init__(self, config, client_id, will_topic, on_up, on_acknowledged, on_down):
        self.on_up, self.on_acknowledged, self.on_down = on_up, on_acknowledged, on_down
        self.is_up = False
        self.sent = []

    async def keep_up(self):
        await asyncio.Event().wait()

    def publish(self, topic, payload, *, retain):
        if not self.is_up:
            return None
        self.sent.append((topic, payload, retain))
        return len(self.sent) - 1

    async def stop(self, last_words):
        self.last_words = last_words

    def up(self):
        self.is_up = True
        self.on_up()

    def down(self):
        self.is_up = False
        self.on_down()

    def numbers(self, kind):
        return [n for n, (topic, _, _) in enumerate(self.sent) if topic.endswith(kind)]


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool.db", 1 << 20)
    yield spool
    spool.close()


def play(monkeypatch, spool, scenario, window=3):
    monkeypatch.setattr(publisher_module, "MqttLink", FakeLink)
    monkeypatch.setattr(publisher_module, "REFUSED_PAUSE_S", 0.05)
    monkeypatch.setattr(publisher_module, "TICK_S", 0.02)

    async def main():
        writer = SpoolWriter(spool)
        publisher = Publisher(MqttTable(window=window), "g1", writer)
        tasks = [
            asyncio.create_task(writer.run(lambda: None)),
            asyncio.create_task(publisher.run(lambda: None)),
        ]
        await writer.store([Record("EB-1", 1, seq, "state", b"%d" % seq) for seq in range(8)])
        link = publisher._link
        await scenario(publisher, link, writer)
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert link.last_words == b"offline"

    asyncio.run(main())


def states(link):
    return [int(payload) for topic, payload, _ in link.sent if topic.endswith("/state")]


def test_no_more_than_the_window_is_under_way(monkeypatch, spool):
    async def scenario(publisher, link, writer):
        link.up()
        await asyncio.sleep(0.1)
        assert states(link) == [0, 1, 2]
        for number in link.numbers("/state"):
            link.on_acknowledged(number, None)
        await asyncio.sleep(0.1)
        assert states(link) == [0, 1, 2, 3, 4, 5]
        assert len(await writer.fetch(0, 100)) == 5

    play(monkeypatch, spool, scenario)


def test_a_refused_message_stays_and_is_sent_again(monkeypatch, spool):
    async def scenario(publisher, link, writer):
        link.up()
        await asyncio.sleep(0.1)
        first, second, third = link.numbers("/state")
        link.on_acknowledged(first, None)
        link.on_acknowledged(second, "Not authorized")
        link.on_acknowledged(third, None)
        await asyncio.sleep(0.3)
        assert states(link) == [0, 1, 2, 3, 4, 5], "the others do not wait for it"
        link.on_acknowledged(link.numbers("/state")[3], None)
        await asyncio.sleep(0.1)
        assert states(link) == [0, 1, 2, 3, 4, 5, 1]
        assert [row.record.seq for row in await writer.fetch(0, 2)] == [1, 4]

    play(monkeypatch, spool, scenario)


def test_a_message_the_broker_refuses_and_takes_no_other_is_never_set_aside(monkeypatch, spool):
    async def scenario(publisher, link, writer):
        link.up()
        for _ in range(40):
            await asyncio.sleep(0.02)
            for number in list(publisher._under_way):
                link.on_acknowledged(number, "Not authorized")
        assert len(states(link)) > 15
        assert len(await writer.fetch(0, 100)) == 8

    play(monkeypatch, spool, scenario)
    assert spool.set_aside() == 0


def test_a_message_the_broker_always_refuses_is_set_aside_while_it_takes_others(
    monkeypatch, spool, caplog
):
    async def scenario(publisher, link, writer):
        link.up()
        for n in range(40):
            await asyncio.sleep(0.02)
            await writer.store([Record("EB-1", 1, 100 + n, "state", b"%d" % (100 + n))])
            for number in list(publisher._under_way):
                refused = link.sent[number][1] == b"2"
                link.on_acknowledged(number, "Payload format invalid" if refused else None)
        await asyncio.sleep(0.1)
        assert states(link).count(2) == 3
        assert 2 not in [row.record.seq for row in await writer.fetch(0, 100)]

    play(monkeypatch, spool, scenario)
    assert spool.set_aside() == 1
    assert "set aside" in caplog.text


@pytest.mark.slow
def test_a_message_the_broker_hangs_up_on_is_set_aside_and_all_others_arrive(monkeypatch, spool):
    """rumqttd hangs up on payloads above its limit."""
    monkeypatch.setattr(mqtt_link, "RECONNECT_FIRST_S", 0.05)
    monkeypatch.setattr(mqtt_link, "RECONNECT_CAP_S", 0.1)
    monkeypatch.setattr(publisher_module, "REFUSED_PAUSE_S", 0.1)
    monkeypatch.setattr(publisher_module, "TICK_S", 0.02)
    broker = Broker(free_port(), most_bytes=20_480)
    subscriber = Subscriber(broker.port)

    async def scenario():
        writer = SpoolWriter(spool)
        publisher = Publisher(MqttTable(port=broker.port, protocol="3.1.1"), "g1", writer)
        tasks = [
            asyncio.create_task(writer.run(lambda: None)),
            asyncio.create_task(publisher.run(lambda: None)),
        ]
        for seq in range(300):
            payload = b'{"serial":"EB-1","boot":1,"seq":%d,"x":"%s"}'
            text = b"x" * 30_000 if seq == 7 else b""
            await writer.store([Record("EB-1", 1, seq, "state", payload % (seq, text))])
            await asyncio.sleep(0.01)
            if seq > 100 and spool.set_aside():
                break
        async with asyncio.timeout(20):
            while await writer.fetch(0, 1):
                await asyncio.sleep(0.05)
        for task in reversed(tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return seq

    try:
        last = asyncio.run(scenario())
        wanted = set(range(last + 1)) - {7}
        assert wait_for(lambda: {seq for _, _, seq in subscriber.readings()} == wanted)
    finally:
        subscriber.close()
        broker.stop()
    assert spool.set_aside() == 1


def test_a_new_client_sends_everything_again_that_is_not_acknowledged(monkeypatch, spool):
    async def scenario(publisher, link, writer):
        link.up()
        await asyncio.sleep(0.1)
        link.on_acknowledged(link.numbers("/state")[0], None)
        await asyncio.sleep(0.1)
        link.down()
        del link.sent[:]
        link.up()
        await asyncio.sleep(0.1)
        assert states(link) == [1, 2, 3]

    play(monkeypatch, spool, scenario)


def test_what_is_retained_is_said_again_after_every_connect(monkeypatch, spool):
    async def scenario(publisher, link, writer):
        publisher.set_status("EB-1", online=True)
        link.up()
        publisher.set_status("EB-1", online=True)
        publisher.set_status("EB-1", online=False)
        retained = [(t, p) for t, p, retain in link.sent if retain]
        assert retained == [
            ("echelon/g1/status", b"online"),
            ("echelon/g1/EB-1/status", b"online"),
            ("echelon/g1/EB-1/status", b"offline"),
        ]
        del link.sent[:]
        link.up()
        assert ("echelon/g1/EB-1/status", b"offline", True) in link.sent

    play(monkeypatch, spool, scenario)


PACK = Announced("EB/1", "Bay 1", "Echelon", "Test pack", "0.1.0", 4)


def test_home_assistant_is_told_every_figure_with_its_class():
    told = messages("homeassistant", Topics("echelon", "g1"), PACK, 60)
    soc = json.loads(told["homeassistant/sensor/echelon_EB_1/soc_pct/config"])
    assert soc["device_class"] == "battery"
    assert soc["state_topic"] == "echelon/g1/EB_1/state"
    assert [a["topic"] for a in soc["availability"]] == [
        "echelon/g1/status",
        "echelon/g1/EB_1/status",
    ]
    assert (soc["availability_mode"], soc["expire_after"]) == ("all", 60)
    assert "value_json.soc_pct" in soc["value_template"]
    soh = json.loads(told["homeassistant/sensor/echelon_EB_1/soh_pct/config"])
    assert "device_class" not in soh
    assert soh["entity_category"] == "diagnostic"
    assert "homeassistant/sensor/echelon_EB_1/cell_4_v/config" in told
    assert "homeassistant/sensor/echelon_EB_1/cell_5_v/config" not in told
    ids = [json.loads(payload)["unique_id"] for payload in told.values()]
    assert len(set(ids)) == len(ids)


def test_home_assistant_is_told_what_the_detail_knows():
    told = messages("homeassistant", Topics("echelon", "g1"), PACK, 60)
    blocks = {}
    for block in RegisterMap(PACK.n_cells).blocks:
        if block.layout.id in DETAIL_BLOCKS:
            block.set("Seq", 1)
            blocks[block.layout.id] = block.layout.decode(block.bytes())
    detail = detail_message(PACK.serial, blocks, 0.0)
    found = {
        topic.split("/")[3]: config
        for topic, payload in told.items()
        if (config := json.loads(payload))["state_topic"] == "echelon/g1/EB_1/detail"
    }
    assert set(found) == {
        "energy_remaining_energy_wh", "energy_power_soc_80_w", "energy_power_soc_20_w",
        "energy_round_trip_efficiency_pct", "energy_self_discharge_pct_per_month", "test_phase",
    }  # fmt: skip
    for config in found.values():
        part, key = re.fullmatch(
            r"{{ value_json\.(\w+)\.(\w+) }}", config["value_template"]
        ).groups()
        assert key in detail[part]
        assert "expire_after" not in config


UNITS = {
    "energy_storage": "Wh",
    "voltage": "V",
    "current": "A",
    "power": "W",
    "battery": "%",
    "temperature": "°C",
}


def test_home_assistant_accepts_every_combination_of_class_and_unit():
    """Units of a device class: https://www.home-assistant.io/integrations/sensor."""
    told = messages("homeassistant", Topics("echelon", "g1"), PACK, 60)
    for topic, payload in told.items():
        config = json.loads(payload)
        device_class = config.get("device_class")
        if device_class is not None:
            assert config["unit_of_measurement"] == UNITS[device_class], topic
        is_number = "unit_of_measurement" in config
        assert config.get("state_class") == ("measurement" if is_number else None), topic
        assert config.get("entity_category", "diagnostic") == "diagnostic"
        assert len(payload) < 2000
