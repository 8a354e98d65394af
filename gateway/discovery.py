"""What Home Assistant is told about a pack: one retained message an entity.

Topics and keys: https://www.home-assistant.io/integrations/mqtt (``<prefix>/sensor/<node>/
<object>/config``). The state of health carries no device class, for ``battery`` means the state
of charge. Recalled readings are history; they leave the shown value as it is. Figures of the
``detail`` do not expire: it is retained, and comes seldom.
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
    """One figure of the ``state`` or ``detail`` message as a sensor."""

    key: str
    label: str
    unit: str | None = None
    device_class: str | None = None
    diagnostic: bool = False
    expression: str | None = None  # of the template; None: the key itself
    numeric: bool = True
    part: str | None = None  # of the ``detail`` that holds the key; None: the ``state`` does


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
    Entity("remaining_energy_wh", "Remaining energy", "Wh", "energy_storage", part="energy"),
    Entity("power_soc_80_w", "Power at 80 % charge", "W", "power", True, part="energy"),
    Entity("power_soc_20_w", "Power at 20 % charge", "W", "power", True, part="energy"),
    Entity(
        "round_trip_efficiency_pct",
        "Round-trip efficiency",
        "%",
        diagnostic=True,
        part="energy",
    ),
    Entity(
        "self_discharge_pct_per_month", "Self-discharge", "%/month", diagnostic=True, part="energy"
    ),
    Entity("phase", "Test", diagnostic=True, numeric=False, part="test"),
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
        "availability": [
            {"topic": topics.status},
            {"topic": topics.pack(pack.serial, "status")},
        ],
        "availability_mode": "all",
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
    state, detail = (topics.pack(pack.serial, kind) for kind in ("state", "detail"))
    found = {}
    for entity in entities:
        name = entity.key if entity.part is None else f"{entity.part}_{entity.key}"
        config: dict[str, object] = {"unique_id": f"{node}_{name}", "object_id": f"{node}_{name}"}
        if entity.part is None:
            config |= {"state_topic": state, "expire_after": expire_s}
        else:
            config["state_topic"] = detail
        config |= _shown(entity) | shared
        payload = json.dumps(config, separators=(",", ":")).encode()
        found[f"{prefix}/sensor/{node}/{name}/config"] = payload
    return found


def _shown(entity: Entity) -> dict[str, object]:
    """What is shown of a figure, and how."""
    if entity.part is None:
        expression = entity.expression or f"value_json.{entity.key}"
        kept = "(this.state if is_number(this.state) else none)"
        kept = kept if entity.numeric else "this.state"
        template = f"{kept} if value_json.recalled else ({expression})"
    else:
        template = f"value_json.{entity.part}.{entity.key}"
    config: dict[str, object] = {"name": entity.label, "value_template": f"{{{{ {template} }}}}"}
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
