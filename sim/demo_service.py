"""The demo's other processes: broker, gateway and grader, and an ear on the broker."""

from __future__ import annotations

import json
import queue
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sim.processes import Child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sim.world import World

BASE_TOPIC = "echelon"
GATEWAY_ID = "desk"
_START_S = 30.0
# The details of a pack of 72 cells are 50 kB, and it takes 20 by itself.
_BROKER = (
    "import sys; from iotcore import Broker\n"
    "Broker(int(sys.argv[1]), '127.0.0.1', max_payload_size=1 << 18).run_forever()"
)

Heard = tuple[str, str, dict[str, Any]]  # serial number, kind, message


class Listener:
    """Hears every reading and grade of the gateway."""

    def __init__(self, port: int) -> None:
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="echelon-demo")
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def take(self) -> Iterator[Heard]:
        """What came since the last call, oldest first."""
        while not self._heard.empty():
            yield self._heard.get()

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        topic = f"{BASE_TOPIC}/{GATEWAY_ID}/+/"
        client.subscribe([(topic + "state", 1), (topic + "grade", 1)])

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        serial, kind = message.topic.split("/")[2:4]
        self._heard.put((serial, kind, json.loads(message.payload)))


class Services:
    """Broker, gateway and grader for the buses of ``world``, each a process of its own."""

    def __init__(self, world: World, folder: Path, logs: Path, profile: str) -> None:
        self.broker_port = free_port()
        self._children: list[Child] = []
        echelon = [sys.executable, "-m", "gateway.cli"]
        configuration = folder / "gateway.toml"
        text = gateway_toml(world, self.broker_port, folder / "gateway")
        configuration.write_text(text, encoding="utf-8")
        try:
            self._start("broker", [sys.executable, "-c", _BROKER, str(self.broker_port)], logs)
            self._await_broker()
            self.listener = Listener(self.broker_port)
            grade = ["grade", "--live", "--broker", f"127.0.0.1:{self.broker_port}"]
            self._start("grader", [*echelon, *grade, "--profile", profile], logs)
            collect = ["gateway", "--config", str(configuration)]
            self.gateway_command = [*echelon, *collect]
            self._start("gateway", self.gateway_command, logs)
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """``RuntimeError`` when one of the processes has ended."""
        for child in self._children:
            if child.exit_code is not None:
                raise OSError(
                    f"the {child.name} ended with code {child.exit_code}: {child.last_words()}"
                )

    def close(self) -> None:
        """End all of them, the newest first."""
        if hasattr(self, "listener"):
            self.listener.close()
        for child in reversed(self._children):
            child.end()
        self._children.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, name: str, command: list[str], logs: Path) -> None:
        self._children.append(Child(name, command, logs / f"{name}.log"))

    def _await_broker(self) -> None:
        end_s = time.monotonic() + _START_S
        while time.monotonic() < end_s:
            self.check()
            try:
                socket.create_connection(("127.0.0.1", self.broker_port), timeout=0.2).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise OSError(f"the broker does not listen on port {self.broker_port}")


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def gateway_toml(world: World, broker_port: int, state_dir: Path) -> str:
    """The gateway's configuration for the buses of ``world``."""
    lines = [
        "[gateway]",
        f'id = "{GATEWAY_ID}"',
        f'state_dir = "{state_dir}"',
        "[mqtt]",
        'host = "127.0.0.1"',
        f"port = {broker_port}",
    ]
    for bus in world.buses:
        lines += ["[[bus]]", f'name = "{bus.name}"', f'port = "{bus.port}"']
        lines += [f"baudrate = {bus.baudrate}", "poll_s = 0.5", "detail_s = 2.0"]
        lines += ["timeout_ms = 3000", "drain_ms = 100"]  # the desk may be busy
        for pack in bus.packs:
            lines += ["[[bus.pack]]", f"address = {pack.spec.address}"]
    return "\n".join(lines) + "\n"
