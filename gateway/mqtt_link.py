"""One MQTT client of paho's, in the words of the event loop.

Speaks MQTT 5 and falls back to 3.1.1 when the broker hangs up on the attempt, as brokers do that
do not know 5. paho runs in its own thread; every callback is handed to the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
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
STEADY_S = 60.0  # a connection that lasted this long is followed by another one soon
_PROTOCOLS = {
    "auto": (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311),
    "5": (MQTTProtocolVersion.MQTTv5,),
    "3.1.1": (MQTTProtocolVersion.MQTTv311,),
}
_NAMES = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}


class MqttLink:
    """A connection that keeps itself up; the callbacks run in the event loop.

    Every connection has a client of paho's of its own, so that nothing under way outlives it: the
    spool, not paho, knows what is to be sent again. ``on_up()`` after every connect,
    ``on_acknowledged(mid, failure)`` for every QoS 1 message, where ``failure`` is ``None`` or
    the broker's reason, ``on_down()`` when a connection has ended.
    """

    def __init__(
        self,
        config: MqttTable,
        client_id: str,
        will_topic: str,
        on_up: Callable[[], None],
        on_acknowledged: Callable[[int, str | None], None],
        on_down: Callable[[], None],
    ) -> None:
        self.is_up = False
        self._config = config
        self._client_id = client_id
        self._will_topic = will_topic
        self._on_up = on_up
        self._on_acknowledged = on_acknowledged
        self._on_down = on_down
        self._protocols = _PROTOCOLS[config.protocol]
        self._attempt = 0
        self._is_agreed = False  # the broker has taken this version of the protocol
        self._up_s: float | None = None  # since when, by the event loop's clock
        self._reason = ""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mqtt")
        self._client = self._make_client()

    async def keep_up(self) -> None:
        """Connect, and again whenever the connection ends, until ``stop``."""
        pause_s = RECONNECT_FIRST_S
        while not self._stopping.is_set():
            self._up_s, self._reason = None, ""
            failure = await self._loop.run_in_executor(self._thread, self._talk, self._client)
            was_up_s = None if self._up_s is None else self._loop.time() - self._up_s
            self._down(failure)
            if self._stopping.is_set():
                break
            is_hung_up = was_up_s is None and failure is None and not self._is_agreed
            self._attempt += is_hung_up
            self._client = self._make_client()
            if was_up_s is not None and was_up_s > STEADY_S:
                pause_s = RECONNECT_FIRST_S
            if is_hung_up and self._attempt % len(self._protocols):
                continue  # the other version at once
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
            pause_s = min(2 * pause_s, RECONNECT_CAP_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> int | None:
        """Send with QoS 1; the message's number, or ``None`` when it was not taken."""
        if not self.is_up:
            return None
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    async def stop(self, last_words: bytes) -> None:
        """Publish ``last_words`` on the will's topic and disconnect properly."""
        self._stopping.set()
        if self.is_up:
            info = self._client.publish(self._will_topic, last_words, qos=1, retain=True)
            await self._loop.run_in_executor(None, _wait, info)
            self.is_up = False
        self._client.disconnect()
        await self._loop.run_in_executor(None, self._thread.shutdown)

    def _make_client(self) -> mqtt.Client:
        config = self._config
        protocol = self._protocols[self._attempt % len(self._protocols)]
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        if config.username is not None:
            client.username_pw_set(config.username, config.password())
        if config.tls is not None:
            client.tls_set_context(config.tls.context())
        client.will_set(self._will_topic, b"offline", qos=1, retain=True)
        client.max_inflight_messages_set(config.window)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        return client

    # --- paho's thread ---------------------------------------------------------------------

    def _talk(self, client: mqtt.Client) -> str | None:
        """One connection from its beginning to its end; why there was none."""
        try:
            client.connect(self._config.host, self._config.port, KEEPALIVE_S)
        except (OSError, ValueError) as error:
            return str(error)
        client.loop_forever()
        return None

    def _hand_over(self, call: Callable[..., None], *args: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    def _connected(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._hand_over(self._up, client, str(reason) if reason.is_failure else None)

    def _disconnected(
        self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._hand_over(self._disconnect, client, str(reason))

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
        self.is_up = self._is_agreed = True
        self._up_s = self._loop.time()
        version = _NAMES[self._protocols[self._attempt % len(self._protocols)]]
        log.info("broker connected", extra=self._fields() | {"mqtt": version})
        self._on_up()

    def _disconnect(self, client: mqtt.Client, reason: str) -> None:
        if client is self._client:
            self._reason = reason
            self.is_up = False

    def _down(self, failure: str | None) -> None:
        """The connection has ended, or there was none for the reason ``failure``."""
        self.is_up = False
        if failure is not None:
            log.warning("broker cannot be reached", extra=self._fields() | {"reason": failure})
        elif self._up_s is not None and not self._stopping.is_set():
            log.warning("broker connection lost", extra=self._fields() | {"reason": self._reason})
        self._on_down()

    def _acknowledged(self, client: mqtt.Client, mid: int, failure: str | None) -> None:
        if client is self._client:
            self._on_acknowledged(mid, failure)


def _wait(info: mqtt.MQTTMessageInfo) -> None:
    try:
        info.wait_for_publish(2.0)
    except (RuntimeError, ValueError):
        log.debug("the last words did not get out")
