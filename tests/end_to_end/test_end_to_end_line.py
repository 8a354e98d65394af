"""A line that delays, drops, doubles and corrupts answers of two boards with the real firmware."""

import asyncio
import contextlib
import random
from dataclasses import replace
from functools import partial

import pytest
from desk_rig import ADDRESSES, RECORD_EVERY, desk, has_micropython

from common import models
from gateway.blocks import NotReadyError, TornBlockError, WrongBlockError
from gateway.modbus.frames import DeviceError
from gateway.modbus.line import Port
from gateway.modbus.master import NoAnswerError, Timing
from gateway.pack import NotAPackError, Pack
from gateway.service import make_master
from sim.rs485 import HOST

pytestmark = pytest.mark.skipif(
    not has_micropython(), reason="micropython is neither beside this Python nor on PATH"
)

SPEED = 20.0
TIMING = Timing.at(115200, timeout_s=0.08, drain_s=0.12)
BLOCKS = (models.SNAPSHOT, models.SNAPSHOT, models.HEALTH, models.DEVICE, models.RECALL)
EXCHANGES = 250
# An old answer of the other board is, on this line, a request to it that makes no sense.
REFUSALS = (
    NoAnswerError,
    DeviceError,
    WrongBlockError,
    TornBlockError,
    NotReadyError,
    NotAPackError,
)


class Tamper:
    """Spoils the boards' answers on the wire; times are virtual, as the line's."""

    KINDS = ("late", "drop", "double", "corrupt", "truncate", "stale")

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.counts = dict.fromkeys(self.KINDS, 0)
        self.given = []

    def __call__(self, train):
        rng = self.random
        if train.source == HOST:
            return [train]
        self.given = [*self.given, train.data][-40:]
        if rng.random() > 0.35:
            return [train]
        kind = rng.choice(self.KINDS)
        self.counts[kind] += 1
        late_us = int(rng.uniform(0.08, 0.19) * SPEED * 1e6)
        later = replace(train, end_us=train.end_us + late_us)
        if kind == "late":
            return [later]
        if kind == "double":
            return [train, later]
        if kind == "corrupt":
            at = rng.randrange(len(train.data))
            damaged = bytes([train.data[at] ^ 1 << rng.randrange(8)])
            return [replace(train, data=train.data[:at] + damaged + train.data[at + 1 :])]
        if kind == "truncate":
            return [replace(train, data=train.data[: rng.randrange(1, len(train.data))])]
        if kind == "stale":  # an older answer of its shape, of either board
            alike = [data for data in self.given if len(data) == len(train.data)]
            return [replace(train, data=rng.choice(alike))]
        return []


async def ask(pack, rng):
    """``(serial, model, block)`` of one accepted block; a kept reading is one asked for."""
    serial = (await pack.identify()).serial
    model_id = rng.choice(BLOCKS)
    if model_id != models.RECALL:
        return serial, model_id, await pack.block(model_id)
    seq = rng.randrange(1, 6) * RECORD_EVERY
    block = await pack.recall(seq)
    assert block is not None
    assert block["Seq"] == seq
    return serial, model_id, block


async def surely(ask_again):
    """What ``ask_again()`` brings from a clean line, however slow the machine."""
    for _ in range(100):
        with contextlib.suppress(NoAnswerError):
            return await ask_again()
    return await ask_again()


@pytest.mark.slow
def test_no_wrong_value_is_accepted_from_a_line_that_spoils_answers(tmp_path):
    tamper = Tamper(5)
    accepted, kept, refused = [], {}, 0

    async def scenario(bus):
        nonlocal refused
        rng = random.Random(8)
        master = make_master(Port.parse(bus.port), bus.baudrate, TIMING)
        packs = {unit: Pack(master, unit) for unit in ADDRESSES}
        try:
            bus.line.tamper = tamper
            while master.counters.exchanges < EXCHANGES:
                unit = rng.choice(list(ADDRESSES))
                try:
                    accepted.append((unit, *await ask(packs[unit], rng)))
                except REFUSALS:
                    refused += 1
            bus.line.tamper = None
            await asyncio.sleep(0.3)  # what is late has come
            for unit, serial in ADDRESSES.items():
                packs[unit].forget()
                device = await surely(partial(packs[unit].block, models.DEVICE))
                for seq in range(device["RecFirst"], device["RecLast"] + 1, RECORD_EVERY):
                    kept[serial, seq] = await surely(partial(packs[unit].recall, seq))
        finally:
            master.close()
            await asyncio.sleep(0)
        return master.counters

    with desk(tmp_path, SPEED) as (_, bus):
        counters = asyncio.run(scenario(bus))

    assert min(tamper.counts.values()) > 3, tamper.counts
    assert counters.bad_answers > 10
    assert counters.timeouts > 10
    assert len(accepted) > refused
    compared = 0
    for unit, serial, model_id, block in accepted:
        assert serial == ADDRESSES[unit]
        assert block["Seq"] == block.get("SeqEnd", block["Seq"])
        if model_id in (models.SNAPSHOT, models.RECALL):
            assert len(block["cells"]) == 12 + 2 * unit
            assert block["V"] == pytest.approx(sum(cell["V"] for cell in block["cells"]), abs=0.02)
            truth = kept.get((serial, block["Seq"]))
            if truth is not None:
                compared += 1
                assert bare(block) == bare(truth)
    assert compared > 10


def bare(block):
    return {key: value for key, value in block.items() if key not in ("ID", "L")}
