"""The MQTT link with real brokers: version 5, the fallback to 3.1.1, refusal and reconnect."""

import asyncio
import shutil
import subprocess
import sys

import pytest
from mqtt_rig import free_port, listens, wait_for

from gateway.config import MqttTable
from gateway.mqtt_link import MqttLink

RUMQTTD = """
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[{version}.1]
name = "listener"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [{version}.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 20480
    max_inflight_count = 100
    dynamic_filters = true
"""


@pytest.fixture
def start_broker(tmp_path):
    """``start(kind, port)`` with kind ``v4`` (MQTT 3.1.1), ``v5`` or ``mosquitto``."""
    running = []

    def start(kind, port):
        if kind == "mosquitto":
            program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
            if program is None:
                pytest.skip("no mosquitto: apt install mosquitto")
            (tmp_path / "acl").write_text("topic readwrite allowed/#\ntopic readwrite a/status\n")
            config = tmp_path / "mosquitto.conf"
            config.write_text(
                f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n"
                f"acl_file {tmp_path / 'acl'}\n"
            )
            command = [program, "-c", str(config)]
        else:
            config = tmp_path / "rumqttd.toml"
            config.write_text(RUMQTTD.format(version=kind, port=port))
            command = [sys.executable, "-m", "iotcore", "--config", str(config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.append(process)
        assert wait_for(lambda: listens(port)), "the broker does not listen"
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


class Events:
    def __init__(self, port, **config):
        self.ups = 0
        self.downs = 0
        self.acknowledged = []
        self.link = MqttLink(
            MqttTable(port=port, **config),
            "link",
            "a/status",
            self.up,
            lambda number, failure: self.acknowledged.append((number, failure)),
            self.down,
        )

    def start(self):
        self.keeping = asyncio.create_task(self.link.keep_up())

    def up(self):
        self.ups += 1

    def down(self):
        self.downs += 1

    async def stop(self):
        await self.link.stop(b"offline")
        await self.keeping

    async def wait(self, condition):
        async with asyncio.timeout(15):
            while not condition():
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(("kind", "downs"), [("v5", 0), ("v4", 1)])
def test_mqtt_5_is_spoken_and_3_1_1_where_the_broker_knows_no_better(start_broker, kind, downs):
    port = free_port()
    start_broker(kind, port)

    async def scenario():
        events = Events(port)
        events.start()
        await events.wait(lambda: events.link.is_up)
        number = events.link.publish("a/b", b"x", retain=False)
        await events.wait(lambda: events.acknowledged)
        assert events.acknowledged[0] == (number, None)
        assert events.downs == downs
        await events.stop()

    asyncio.run(scenario())


def test_a_broker_that_comes_late_and_comes_back_is_found(start_broker):
    port = free_port()

    async def scenario():
        events = Events(port, protocol="3.1.1")
        events.start()
        assert events.link.publish("a/b", b"x", retain=False) is None
        broker = await asyncio.to_thread(start_broker, "v4", port)
        await events.wait(lambda: events.ups == 1)
        broker.kill()
        await events.wait(lambda: not events.link.is_up)
        broker.wait()
        await asyncio.to_thread(start_broker, "v4", port)
        await events.wait(lambda: events.ups == 2)
        await events.stop()

    asyncio.run(scenario())


def test_a_broker_that_is_away_is_not_asked_without_pause(start_broker, caplog):
    port = free_port()
    broker = start_broker("v4", port)

    async def scenario():
        events = Events(port)
        events.start()
        await events.wait(lambda: events.ups == 1)
        broker.kill()
        await events.wait(lambda: not events.link.is_up)
        broker.wait()
        await asyncio.sleep(1.5)
        await events.stop()

    asyncio.run(scenario())
    assert 1 <= caplog.text.count("broker cannot be reached") <= 2


@pytest.mark.peer
def test_a_message_that_mosquitto_refuses_is_no_acknowledged_one(start_broker):
    port = free_port()
    start_broker("mosquitto", port)

    async def scenario():
        events = Events(port)
        events.start()
        await events.wait(lambda: events.link.is_up)
        good = events.link.publish("allowed/b", b"x", retain=False)
        bad = events.link.publish("forbidden/b", b"x", retain=False)
        await events.wait(lambda: len(events.acknowledged) == 2)
        assert dict(events.acknowledged[:2]) == {good: None, bad: "Not authorized"}
        assert events.downs == 0
        await events.stop()

    asyncio.run(scenario())
