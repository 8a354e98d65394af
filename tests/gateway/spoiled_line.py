"""Two packs on a line that spoils a third of what it carries, asked until enough was exchanged."""

from gateway_fakes import FakePack, Faults, MemoryBus

from common import models
from gateway.blocks import NotReadyError, TornBlockError, WrongBlockError
from gateway.modbus.line import Port
from gateway.modbus.master import Master, NoAnswerError, Timing
from gateway.pack import NotAPackError, Pack
from gateway.planner import DETAIL_BLOCKS

TIMING = Timing(timeout_s=0.04, drain_s=0.11, retries=1)
REFUSALS = (NoAnswerError, WrongBlockError, TornBlockError, NotReadyError, NotAPackError)


def wrong_values(fake, model_id, block):
    """What in the block is not what this pack had at the block's own sequence."""
    seq = block["Seq"]
    if model_id in (models.SNAPSHOT, models.RECALL):
        truth = fake.truth[fake.boot, seq]
        return [] if [round(c["V"] * 1000) for c in block["cells"]] == truth else [block]
    if model_id == models.HEALTH:
        wanted = [fake.detail_figure("health", n, seq) for n in range(fake.n_cells)]
        return [] if [round(c["Soh"] * 100) for c in block["cells"]] == wanted else [block]
    if model_id == models.ENERGY:
        wanted = [fake.detail_figure("energy", n, seq) for n in range(fake.n_cells)]
        return [] if [round(c["Bled"] * 1000) for c in block["cells"]] == wanted else [block]
    if model_id == models.FAULTS:
        number = block["FltNo"]
        wanted = [fake.fault_figure(number, name) for name in ("FstSeq", "LstSeq", "Val")]
        return [] if [block["FstSeq"], block["LstSeq"], block["Val"]] == wanted else [block]
    name, key = {
        models.LIFETIME: ("lifetime", "ChaAh"),
        models.PROTECTION: ("protection", "NFlt"),
        models.DEVICE: ("device", "MemFree"),
        models.TEST: ("test", "Left"),
        models.SETTINGS: ("settings", "NFail"),
        models.HISTORY: ("history", "Used"),
    }[model_id]
    scale = 10 if key == "ChaAh" else 1
    return [] if round(block[key] * scale) == fake.detail_figure(name, 0, seq) else [block]


async def spoiled_exchanges(exchanges, seed=7):
    """``(accepted, refused, wrong, faults, counters)``; ``wrong`` lists what must not be."""
    fakes = {1: FakePack("EB-ONE"), 2: FakePack("EB-TWO")}
    by_serial = {fake.serial: fake for fake in fakes.values()}
    for fake in fakes.values():
        fake.measure(100)
        fake.fault_counts = {0: 3, 1: 4, 14: 5}
    faults = Faults(seed=seed, share=0.36)
    bus = MemoryBus(fakes, faults)
    master = Master(bus.open, Port("/dev/memory").framing(), TIMING)
    packs = {unit: Pack(master, unit) for unit in fakes}
    rng, accepted, refused, wrong = faults.random, 0, 0, []
    while master.counters.exchanges < exchanges:
        unit = rng.choice((1, 2))
        fake, pack = fakes[unit], packs[unit]
        fake.measure(rng.randrange(3))
        if rng.random() < 0.002:
            pack.forget()
        try:
            identity = await pack.identify()
            assert identity.n_cells == 16
            if rng.random() < 0.3:
                model_id, asked = models.RECALL, rng.choice(list(fake.ring))
                asked += rng.randrange(4) == 0  # between two that are kept
                block = await pack.recall(asked)
                if block is None and asked not in fake.ring:
                    accepted += 1
                    continue
                if block is None or block["Seq"] != asked:
                    wrong.append((asked, block))
                    continue
            elif rng.random() < 0.1:
                model_id, asked = models.FAULTS, rng.choice(list(fake.fault_counts))
                block = await pack.fault(asked)
                if block["FltNo"] != asked:
                    wrong.append((asked, block))
                    continue
            else:
                model_id = rng.choice((models.SNAPSHOT, models.SNAPSHOT, *DETAIL_BLOCKS))
                block = await pack.block(model_id)
        except REFUSALS:
            refused += 1
        else:
            accepted += 1
            # a pack that was met through a foreign answer gives nothing under its name
            wrong += wrong_values(by_serial[identity.serial], model_id, block)
    return accepted, refused, wrong, faults, master.counters
