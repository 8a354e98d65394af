"""The gateway's configuration: what may stand in ``gateway.toml``, and nothing else.

    config = load(Path("gateway.toml"))

Types are strict and unknown keys are refused. ``load`` raises one ``UserError`` with a line for
every fault it finds; ``config_errors`` puts pydantic's findings into those words.
"""

from __future__ import annotations

import ssl
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from serial.tools import list_ports

from gateway import config_errors
from gateway.errors import UserError, reason
from gateway.modbus.frames import MAX_UNIT
from gateway.modbus.line import Port

if TYPE_CHECKING:
    from collections.abc import Iterator

BAUDRATES = (
    1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 250000, 460800, 500000, 921600,
    1000000,
)  # fmt: skip


def _baudrate(value: int) -> int:
    if value not in BAUDRATES:
        nearest = min(BAUDRATES, key=lambda known: abs(known - value))
        raise PydanticCustomError(
            "baudrate", "is not one the port supports (try {nearest})", {"nearest": nearest}
        )
    return value


def _port(value: str) -> str:
    try:
        Port.parse(value)
    except ValueError as error:
        raise PydanticCustomError("port", "{reason}", {"reason": str(error)}) from error
    return value


def _topic(value: str) -> str:
    if not value or set(value) & set("+#\0") or value != value.strip("/ "):
        raise PydanticCustomError(
            "topic", 'is not a topic (letters and single "/", no "+" or "#"; try "echelon")'
        )
    return value


def _word(value: str) -> str:
    if not value or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in value):
        raise PydanticCustomError(
            "word", 'may hold letters, digits, "-", "_" and "." only (try "bay-1")'
        )
    return value


def _host(value: str) -> str:
    try:
        known = value.encode("idna")
    except UnicodeError:
        known = b""
    if not known or any(c.isspace() for c in value):
        raise PydanticCustomError("host", "is not the name of a host (try 127.0.0.1)")
    return value


Host = Annotated[str, AfterValidator(_host)]
Topic = Annotated[str, AfterValidator(_topic)]
Word = Annotated[str, AfterValidator(_word)]
File = Annotated[Path, Field(strict=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class GatewayTable(_Table):
    """``[gateway]``: who this is and where it keeps what must survive."""

    id: Word = Field(examples=["bay-1"])
    state_dir: File = Field(default=Path("/var/lib/echelon"), examples=["/var/lib/echelon"])
    set_time: bool = True  # tell the boards the time of this machine


class TlsTable(_Table):
    """``[mqtt.tls]``: its presence turns TLS on."""

    # without ca: the authorities of the system
    ca: File | None = Field(default=None, examples=["/etc/echelon/ca.pem"])
    cert: File | None = Field(default=None, examples=["/etc/echelon/gateway.pem"])
    key: File | None = Field(default=None, examples=["/etc/echelon/gateway.key"])

    def context(self) -> ssl.SSLContext:
        """What paho needs; ``OSError`` (``ssl.SSLError`` is one) where a file is no good."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context


class MqttTable(_Table):
    """``[mqtt]``: the broker and the topics."""

    host: Host = Field(default="127.0.0.1", examples=["127.0.0.1"])
    port: int = Field(default=1883, ge=1, le=65535, examples=[1883])
    username: str | None = Field(default=None, examples=["echelon"])
    password_file: File | None = Field(default=None, examples=["/etc/echelon/mqtt-password"])
    tls: TlsTable | None = None
    protocol: Literal["auto", "5", "3.1.1"] = Field(default="auto", examples=["auto"])
    base_topic: Topic = Field(default="echelon", examples=["echelon"])
    discovery: bool = True  # announce every pack to Home Assistant
    discovery_prefix: Topic = Field(default="homeassistant", examples=["homeassistant"])
    window: int = Field(
        default=20, ge=1, le=1000, examples=[20]
    )  # messages sent and not acknowledged

    def password(self) -> str | None:
        """What stands in ``password_file``; ``OSError`` or ``UnicodeError`` where it cannot be."""
        if self.password_file is None:
            return None
        return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")


class PackTable(_Table):
    """``[[bus.pack]]``: one board on the bus."""

    address: int = Field(ge=1, le=MAX_UNIT, examples=[1])
    name: str | None = Field(default=None, min_length=1, examples=["Bay 1"])


class BusTable(_Table):
    """``[[bus]]``: one port and the packs behind it."""

    name: Word = Field(examples=["pack-bay-1"])
    port: Annotated[str, AfterValidator(_port)] = Field(examples=["/dev/ttyUSB0"])
    baudrate: Annotated[int, AfterValidator(_baudrate)] = Field(default=115200, examples=[115200])
    timeout_ms: int = Field(default=500, ge=20, le=10000, examples=[500])
    drain_ms: int = Field(
        default=500, ge=20, le=10000, examples=[500]
    )  # quiet after a failed exchange
    poll_s: float = Field(default=5.0, ge=0.05, le=3600, examples=[5.0])
    detail_s: float = Field(default=60.0, ge=0.5, le=86400, examples=[60.0])
    recall_per_poll: int = Field(
        default=32, ge=1, le=1000, examples=[32]
    )  # missed readings fetched
    pack: list[PackTable] = Field(min_length=1)


class SpoolTable(_Table):
    """``[spool]``: how much may wait for the broker."""

    max_mb: int = Field(default=64, ge=1, le=1_000_000, examples=[64])


class Config(_Table):
    """All of ``gateway.toml``."""

    gateway: GatewayTable
    mqtt: MqttTable = MqttTable()
    spool: SpoolTable = SpoolTable()
    bus: list[BusTable] = Field(min_length=1)


def load(path: Path) -> Config:
    """The configuration in ``path``; ``UserError`` with one line for every fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file (begin with docs/gateway.example.toml)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {reason(error)}") from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Config:
    """The configuration in ``text``; ``name`` stands at the beginning of every error line."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(config_errors.syntax_line(name, str(error))) from error
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise UserError(*config_errors.lines(name, raw, Config, error)) from error
    faults = [f"{name}: {fault}" for fault in _contradictions(config)]
    if faults:
        raise UserError(*faults)
    return config


def _contradictions(config: Config) -> Iterator[str]:
    """What is wrong though every value by itself is right."""
    names: set[str] = set()
    ports: dict[str, str] = {}
    for bus in config.bus:
        if bus.name in names:
            yield f'bus "{bus.name}": another bus has this name (give each bus its own)'
        names.add(bus.name)
        if bus.port in ports:
            yield (
                f'bus "{bus.name}": port "{bus.port}" already belongs to bus "{ports[bus.port]}" '
                "(put its packs there)"
            )
        ports.setdefault(bus.port, bus.name)
        addresses: set[int] = set()
        for pack in bus.pack:
            if pack.address in addresses:
                free = next(n for n in range(1, MAX_UNIT + 1) if n not in _addresses(bus))
                yield (
                    f'bus "{bus.name}": address {pack.address} stands twice '
                    f"(every pack on a bus has its own; {free} is free)"
                )
            addresses.add(pack.address)
    tls = config.mqtt.tls
    if tls is not None and (tls.cert is None) != (tls.key is None):
        yield "mqtt.tls: cert and key belong together (name both or neither)"
    if config.mqtt.password_file is not None and config.mqtt.username is None:
        yield "mqtt: password_file stands without username (add username)"


def _addresses(bus: BusTable) -> set[int]:
    return {pack.address for pack in bus.pack}


def check_machine(config: Config, name: str) -> None:
    """What the configuration needs of this machine: ports and files; ``UserError`` if not so."""
    faults = [*_missing_ports(config), *_missing_files(config)]
    if faults:
        raise UserError(*(f"{name}: {fault}" for fault in faults))


def port_fault(port: str) -> str | None:
    """Why the port cannot be there, with the ports that are; ``None`` when it may be."""
    path = Path(port)
    if Port.parse(port).host is not None or path.is_char_device():
        return None
    there = ", ".join(sorted(p.device for p in list_ports.comports())) or "none"
    problem = "is not a serial port" if path.exists() else "does not exist"
    return f'port "{port}" {problem} (serial ports here: {there})'


def _missing_ports(config: Config) -> Iterator[str]:
    for bus in config.bus:
        fault = port_fault(bus.port)
        if fault is not None:
            yield f'bus "{bus.name}": {fault}'


def _missing_files(config: Config) -> Iterator[str]:
    mqtt = config.mqtt
    tls = mqtt.tls or TlsTable()
    missing = False
    for key, path in (
        ("mqtt: password_file", config.mqtt.password_file),
        ("mqtt.tls: ca", tls.ca),
        ("mqtt.tls: cert", tls.cert),
        ("mqtt.tls: key", tls.key),
    ):
        if path is not None and not path.is_file():
            missing = True
            yield f'{key} "{path}" is not a file (give its full path)'
    if missing:
        return
    try:
        mqtt.password()
    except (OSError, UnicodeError) as error:
        yield (
            f'mqtt: password_file "{mqtt.password_file}" cannot be read: {reason(error)} '
            "(a text file this user may read)"
        )
    try:
        tls.context()
    except OSError as error:
        files = ", ".join(f'"{path}"' for path in (tls.ca, tls.cert, tls.key) if path is not None)
        yield f"mqtt.tls: {files}: {reason(error)} (want PEM files this user may read)"
