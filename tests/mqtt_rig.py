"""A broker, and an ear on it that belongs to nobody under test."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress

import paho.mqtt.client as mqtt

BROKER = (
    "import sys; from iotcore import Broker\n"
    "port, most_bytes = map(int, sys.argv[1:])\n"
    "Broker(port, '127.0.0.1', max_payload_size=most_bytes).run_forever()"
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, timeout_s=60.0):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def listens(port):
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 2.0).close()
        return True
    return False


class Broker:
    """rumqttd from the package iotcore; MQTT 3.1.1, so that the fallback is always in the way."""

    def __init__(self, port, most_bytes=1 << 18):
        self.port = port
        self.process = subprocess.Popen(
            [sys.executable, "-c", BROKER, str(port), str(most_bytes)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_for(lambda: listens(port)), "the broker does not listen"

    def stop(self):
        self.process.kill()
        self.process.wait()


class Subscriber:
    """Keeps every message under ``#`` in the order it came."""

    def __init__(self, port):
        self.port = port
        self.messages = []
        self.ready = threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="listener")
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = lambda _c, _d, m: self.messages.append((m.topic, m.payload))
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(60)

    def readings(self, kind="state"):
        """``{(serial, boot, seq): [message, ...]}``."""
        found = defaultdict(list)
        for topic, payload in list(self.messages):
            if topic.endswith("/" + kind):
                message = json.loads(payload)
                found[message["serial"], message["boot"], message["seq"]].append(message)
        return found

    def history(self, serial):
        """``{number: message}``; what came twice came as it was."""
        found = {}
        for topic, payload in list(self.messages):
            if topic.endswith(f"/{serial}/history"):
                message = json.loads(payload)
                assert found.setdefault(message["number"], message) == message
        return found

    def last(self, topic):
        return next((p for t, p in reversed(list(self.messages)) if t == topic), None)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
