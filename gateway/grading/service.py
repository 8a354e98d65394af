"""The live grader: state and detail of every pack from MQTT in, one retained grade a pack out.

``Grader`` decides what to publish and knows no network; ``serve`` is the thin edge to the broker.
A grade is published only when it says something else than the one that stands, also after a
restart: the retained grades are read back first. Readings a gateway fetched late (``recalled``)
are history, not the pack's present, and are left aside.
"""

from __future__ import annotations

import json
import logging
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gateway.grading.decide import grade
from gateway.grading.evidence import Evidence, EvidenceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.grading.profile import Profile

LOG = logging.getLogger("echelon.grade")

_QOS = 1
_LONGEST_BACKOFF_S = 30
# what differs between two grades that say the same
_STAMPS = ("graded_utc", "evidence_boot", "evidence_seq")

Message = dict[str, Any]


class Broker(NamedTuple):
    """Where the broker is, and who we are there."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None


class Grader:
    """Keeps the newest state and detail of each pack, and the grade that stands.

    A pack is known by ``(gateway, serial)``.
    """

    def __init__(self, profile: Profile, now: Callable[[], datetime]) -> None:
        self._profile = profile
        self._now = now
        self._parts: dict[tuple[str, str, str], Message] = {}
        self._standing: dict[tuple[str, str], Message] = {}

    def stands(self, gateway: str, serial: str, message: Message) -> None:
        """Take note of a grade that was published before, by an earlier run."""
        self._standing.setdefault((gateway, serial), _content(message))

    def forget(self) -> None:
        """Forget which grades stand: a broker that was restarted may have lost them."""
        self._standing.clear()

    def take(self, kind: str, gateway: str, serial: str, message: Message) -> Message | None:
        """Take one ``state`` or ``detail``; the grade to publish, or ``None``.

        ``EvidenceError`` when the messages of the pack cannot be evidence.
        """
        if message.get("recalled"):
            return None
        if message.get("serial") != serial:
            raise EvidenceError(f"{kind}: serial is {message.get('serial')!r}, not {serial!r}")
        last = self._parts.get((kind, gateway, serial))
        if last is not None and _is_overtaken(message, last):
            return None
        self._parts[kind, gateway, serial] = message
        state = self._parts.get(("state", gateway, serial))
        detail = self._parts.get(("detail", gateway, serial))
        if state is None or detail is None:
            return None
        found = grade(Evidence.from_messages(state, detail), self._profile).to_message()
        if _content(found) == self._standing.get((gateway, serial)):
            return None
        self._standing[gateway, serial] = _content(found)
        return found | {"graded_utc": self._now().isoformat(timespec="seconds")}


def _content(message: Message) -> Message:
    # as JSON gives it back, so that a grade read from the broker equals the one that was sent
    found = {key: value for key, value in message.items() if key not in _STAMPS}
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _is_overtaken(message: Message, last: Message) -> bool:
    """Whether ``message`` is older than ``last``, by the board's numbers and the gateway's time.

    By both: the gateway's clock may be set back, and a board that lost its memory counts anew.
    """
    return _number(message) <= _number(last) and _time(message) < _time(last)


def _number(message: Message) -> tuple[int, int]:
    boot, seq = message.get("boot"), message.get("seq")
    return (boot if isinstance(boot, int) else -1, seq if isinstance(seq, int) else -1)


def _time(message: Message) -> str:
    return str(message.get("gateway_time") or "")


class Edge:
    """Between the broker and a ``Grader``: topics, JSON, and what to do with nonsense."""

    def __init__(self, grader: Grader, base: str) -> None:
        self._grader = grader
        self._base = base

    def connected(self) -> list[tuple[str, int]]:
        """What to subscribe to. Retained grades first: they say which ones stand."""
        self._grader.forget()
        return [(f"{self._base}/+/+/{kind}", _QOS) for kind in ("grade", "state", "detail")]

    def answer(
        self, topic: str, payload: bytes | bytearray, *, retained: bool
    ) -> tuple[str, bytes] | None:
        """Topic and payload of the grade that a message gives rise to, if any."""
        gateway, serial, kind = topic.removeprefix(self._base + "/").split("/")
        if kind == "grade" and not retained:
            return None  # our own, coming back
        try:
            message = json.loads(payload)
            if not isinstance(message, dict):
                raise EvidenceError("not a JSON object")
            if kind == "grade":
                self._grader.stands(gateway, serial, message)
                return None
            found = self._grader.take(kind, gateway, serial, message)
        except (ValueError, RecursionError) as error:  # JSON errors and EvidenceError are both
            LOG.warning("%s: left aside: %s", topic, error)
            return None
        if found is None:
            return None
        LOG.info("%s: %s", serial, found["reason"])
        text = json.dumps(found, separators=(",", ":"), allow_nan=False)
        return f"{self._base}/{gateway}/{serial}/grade", text.encode()


def serve(broker: Broker, base: str, profile: Profile) -> None:
    """Grade until SIGTERM or SIGINT; a broker that is away is tried again for ever."""
    edge = Edge(Grader(profile, lambda: datetime.now(UTC)), base)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    client.reconnect_delay_set(1, _LONGEST_BACKOFF_S)

    def on_connect(client: mqtt.Client, _u: object, _f: object, reason: Any, _p: object) -> None:
        if reason.is_failure:
            LOG.error("broker %s:%d refuses: %s", broker.host, broker.port, reason)
            return
        LOG.info("connected to %s:%d, profile %s", broker.host, broker.port, profile.id)
        client.subscribe(edge.connected())

    def on_connect_fail(_client: mqtt.Client, _u: object) -> None:
        LOG.warning("broker %s:%d does not answer; trying again", broker.host, broker.port)

    def on_message(client: mqtt.Client, _u: object, message: mqtt.MQTTMessage) -> None:
        found = edge.answer(message.topic, message.payload, retained=message.retain)
        if found is not None:
            client.publish(*found, qos=_QOS, retain=True)

    client.on_connect = on_connect
    client.on_connect_fail = on_connect_fail
    client.on_message = on_message
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: client.disconnect())
    client.connect_async(broker.host, broker.port)
    client.loop_forever(retry_first_connection=True)
