"""What Home Assistant is told about a pack: one retained message an entity.

Topics and keys: https://www.home-assistant.io/integrations/mqtt (``<prefix>/sensor/<node>/
<object>/config``). The state of health carries no device class, for ``battery`` means the state
of charge. Recalled readings are history; they leave the shown value as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common import __version__

if TYPE_CHECKING:
    from gateway.topics import Topics


@dataclass(frozen=True)
class Announced:
    """The pack as it is announced."""

    serial: str
    name: str | None
    manufacturer: str | None
    model: str | None
    firmware: str | None
    n_cells: int


@dataclass(frozen=True)
class Entity:
    """One figure of the ``state`` message as a sensor."""

    key: str
    label: str
    unit: str | None = None
    device_class: str | None = None
    diagnostic: bool = False
    expression: str | None = None  # of the template; None: the key itself
    numeric: bool = True


ENTITIES = (
    Entity("pack_voltage_v", "Voltage", "V", "voltage"),
    Entity("current_a", "Current", "A", "current"),
    Entity("power_w", "Power", "W", "power"),
    Entity("soc_pct", "State of charge", "%", "battery"),
    Entity("soh_pct", "State of health", "%", diagnostic=True),
    Entity("soh_low_pct", "State of health, lower end", "%", diagnostic=True),
    Entity("soh_high_pct", "State of health, upper end", "%", diagnostic=True),
    Entity("cell_min_v", "Lowest cell", "V", "voltage", diagnostic=True),
    Entity("cell_max_v", "Highest cell", "V", "voltage", diagnostic=True),
    Entity("fet_temperature_c", "Switch temperature", "°C", "temperature", diagnostic=True),
    Entity("state", "State", numeric=False),
    Entity(
        "faults",
        "Faults",
        expression="value_json.faults | join(', ') or 'none'",
        numeric=False,
    ),
)


def messages(prefix: str, topics: Topics, pack: Announced, expire_s: int) -> dict[str, bytes]:
    """``{topic: payload}`` of everything that announces ``pack``; all retained."""
    node = "echelon_" + _slug(pack.serial)
    entities = list(ENTITIES)
    entities += [
        Entity(
            f"temperature_{n + 1}_c",
            f"Temperature {n + 1}",
            "°C",
            "temperature",
            expression=f"value_json.temperatures_c[{n}]",
        )
        for n in range(4)
    ]
    entities += [
        Entity(
            f"cell_{n + 1}_v",
            f"Cell {n + 1}",
            "V",
            "voltage",
            diagnostic=True,
            expression=f"value_json.cell_voltages_v[{n}]",
        )
        for n in range(pack.n_cells)
    ]
    shared = {
        "state_topic": topics.pack(pack.serial, "state"),
        "availability": [
            {"topic": topics.status},
            {"topic": topics.pack(pack.serial, "status")},
        ],
        "availability_mode": "all",
        "expire_after": expire_s,
        "device": {
            "identifiers": [node],
            "name": pack.name or pack.serial,
            "manufacturer": pack.manufacturer,
            "model": pack.model,
            "serial_number": pack.serial,
            "sw_version": pack.firmware,
        },
        "origin": {"name": "Echelon", "sw_version": __version__},
    }
    return {
        f"{prefix}/sensor/{node}/{entity.key}/config": json.dumps(
            _entity(node, entity) | shared, separators=(",", ":")
        ).encode()
        for entity in entities
    }


def _entity(node: str, entity: Entity) -> dict[str, object]:
    expression = entity.expression or f"value_json.{entity.key}"
    shown = "(this.state if is_number(this.state) else none)" if entity.numeric else "this.state"
    config: dict[str, object] = {
        "unique_id": f"{node}_{entity.key}",
        "object_id": f"{node}_{entity.key}",
        "name": entity.label,
        "value_template": f"{{{{ {shown} if value_json.recalled else ({expression}) }}}}",
    }
    if entity.unit is not None:
        config["unit_of_measurement"] = entity.unit
    if entity.device_class is not None:
        config["device_class"] = entity.device_class
    if entity.numeric:
        config["state_class"] = "measurement"
    if entity.diagnostic:
        config["entity_category"] = "diagnostic"
    return config


def _slug(serial: str) -> str:
    """Letters, digits, ``-`` and ``_`` only, as discovery topics allow."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in serial)
