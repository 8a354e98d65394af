"""One MQTT client of paho's, in the words of the event loop.

Speaks MQTT 5 and falls back to 3.1.1 when the broker hangs up on the attempt, as brokers do that
do not know 5. paho runs in its own thread; every callback is handed to the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from gateway.config import MqttTable

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
RECONNECT_FIRST_S = 1
RECONNECT_CAP_S = 30
_PROTOCOLS = {
    "auto": (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311),
    "5": (MQTTProtocolVersion.MQTTv5,),
    "3.1.1": (MQTTProtocolVersion.MQTTv311,),
}
_NAMES = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}


class MqttLink:
    """A connection that keeps itself up; the callbacks run in the event loop.

    ``on_up()`` after every connect, ``on_acknowledged(mid, failure)`` for every QoS 1 message,
    where ``failure`` is ``None`` or the broker's reason; ``on_reset()`` when everything under way
    is forgotten because another protocol version is tried.
    """

    def __init__(
        self,
        config: MqttTable,
        client_id: str,
        will_topic: str,
        on_up: Callable[[], None],
        on_acknowledged: Callable[[int, str | None], None],
        on_reset: Callable[[], None],
    ) -> None:
        self.is_up = False
        self._config = config
        self._client_id = client_id
        self._will_topic = will_topic
        self._on_up = on_up
        self._on_acknowledged = on_acknowledged
        self._on_reset = on_reset
        self._protocols = _PROTOCOLS[config.protocol]
        self._attempt = 0
        self._was_up = False  # with the present client
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._switching: asyncio.Task[None] | None = None
        self._client = self._make_client()

    def start(self) -> None:
        """Begin to connect, for ever."""
        try:
            self._client.connect_async(self._config.host, self._config.port, KEEPALIVE_S)
        except ValueError as error:  # a host name that cannot be one
            log.error("mqtt: %s", error)  # noqa: TRY400 - the text says it
            return
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> int | None:
        """Send with QoS 1; the message's number, or ``None`` when it was not taken."""
        if not self.is_up:
            return None
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    async def stop(self, last_words: bytes) -> None:
        """Publish ``last_words`` on the will's topic and disconnect properly."""
        self._stopping = True
        if self._switching is not None:
            self._switching.cancel()
        if self.is_up:
            info = self._client.publish(self._will_topic, last_words, qos=1, retain=True)
            await self._loop.run_in_executor(None, _wait, info)
            self.is_up = False
            self._client.disconnect()
        await self._loop.run_in_executor(None, self._client.loop_stop)

    def _make_client(self) -> mqtt.Client:
        config = self._config
        protocol = self._protocols[self._attempt % len(self._protocols)]
        client = mqtt.Client(CallbackAPIVersion.VERSION2, self._client_id, protocol=protocol)
        if config.username is not None:
            file = config.password_file
            client.username_pw_set(
                config.username, file.read_text().rstrip("\r\n") if file else None
            )
        if config.tls is not None:
            ca, cert, key = (
                str(file) if file else None
                for file in (config.tls.ca, config.tls.cert, config.tls.key)
            )
            client.tls_set(ca, cert, key)
        client.will_set(self._will_topic, b"offline", qos=1, retain=True)
        client.max_inflight_messages_set(config.window)
        client.reconnect_delay_set(RECONNECT_FIRST_S, RECONNECT_CAP_S)
        client.on_connect = self._connected
        client.on_connect_fail = self._connect_failed
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        return client

    # --- paho's thread ---------------------------------------------------------------------

    def _hand_over(self, call: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    def _connected(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._hand_over(self._up, client, str(reason) if reason.is_failure else None)

    def _connect_failed(self, client: mqtt.Client, _data: Any) -> None:
        self._hand_over(self._unreachable, client)

    def _disconnected(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._hand_over(self._down, client, str(reason))

    def _published(
        self, client: mqtt.Client, _data: Any, mid: int, reason: ReasonCode, _: Properties | None
    ) -> None:
        self._hand_over(
            self._acknowledged, client, mid, str(reason) if reason.is_failure else None
        )

    # --- the event loop --------------------------------------------------------------------

    def _fields(self) -> dict[str, object]:
        return {"host": self._config.host, "port": self._config.port}

    def _up(self, client: mqtt.Client, failure: str | None) -> None:
        if client is not self._client:
            return
        if failure is not None:
            log.error("broker refused us", extra=self._fields() | {"reason": failure})
            return
        self.is_up = self._was_up = True
        version = _NAMES[self._protocols[self._attempt % len(self._protocols)]]
        log.info("broker connected", extra=self._fields() | {"mqtt": version})
        self._on_up()

    def _unreachable(self, client: mqtt.Client) -> None:
        if client is self._client:
            log.warning("broker cannot be reached", extra=self._fields())

    def _down(self, client: mqtt.Client, reason: str) -> None:
        if client is not self._client:
            return
        if self.is_up:
            log.warning("broker connection lost", extra=self._fields() | {"reason": reason})
        self.is_up = False
        if self._stopping:
            return
        if not self._was_up and len(self._protocols) > 1 and self._switching is None:
            self._switching = self._loop.create_task(self._switch())

    def _acknowledged(self, client: mqtt.Client, mid: int, failure: str | None) -> None:
        if client is self._client:
            self._on_acknowledged(mid, failure)

    async def _switch(self) -> None:
        """Try the other protocol version with a client of its own."""
        old = self._client
        self._attempt += 1
        if self._attempt % len(self._protocols) == 0:
            await asyncio.sleep(RECONNECT_FIRST_S)  # all versions failed: do not hammer
        self._client = self._make_client()
        self._on_reset()
        old.disconnect()
        await self._loop.run_in_executor(None, old.loop_stop)
        self._switching = None
        self.start()


def _wait(info: mqtt.MQTTMessageInfo) -> None:
    try:
        info.wait_for_publish(2.0)
    except (RuntimeError, ValueError):
        log.debug("the last words did not get out")
