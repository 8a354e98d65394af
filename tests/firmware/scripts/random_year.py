"""A pack's random life, fed to the lifetime counters, the power cut at random. Both interpreters.

    random_year.py SEED DAYS CUTS [--every]

The truth is kept here, in its own way: sums of micro-ampere-hours, of nanowatt-hours and of
milliseconds, from the same readings, by the edges that docs/registers.md tells. A cut takes the
power between two cycles or in the middle of a save, at any byte of it. Then the truth goes back to
what was last saved whole, and the counters must have done the same. ``--every`` tries each byte
of each save besides. What differs is printed; then ``steps saves cuts lost_s``, the last being
the longest time that a cut took.
"""

import sys

from common import models
from common.registers import RegisterMap
from firmware.estimators import lifetime
from firmware.estimators.estimators import Estimators
from firmware.settings import Settings
from firmware.snapshot import UNKNOWN_DC, Snapshot
from firmware.storage import Storage

RATED_MAH = 20000
N_CELLS = 4
SAVE_EVERY_MS = 300000
DEEP_MV, HIGHEST_MV, BACK_MV = 1500, 4250, 50  # of the cell profile nmc
BINS = ["Soc" + str(n) for n in range(10)] + ["Tmp" + str(n) for n in range(8)]
BINS += ["Cur" + str(n) for n in range(9)]
TIMES = ("RunMin", "HotMin", "ColdMin", "HotChaMin", "ColdChaMin")
WARM_DC, COOL_DC = (600, 450), (-200, 0)  # its limits: at all, in charge


class Random:
    """The same numbers on every interpreter (Park and Miller)."""

    def __init__(self, seed):
        self.state = seed % 2147483646 + 1

    def below(self, n):
        self.state = self.state * 16807 % 2147483647
        return self.state // 7 % n

    def between(self, low, high):
        return low + self.below(high - low + 1)


class CutError(Exception):
    """The power has gone."""


class Memory(Storage):
    """Two slots a name, in memory; the ``cut``-th byte of a save is its last one."""

    def __init__(self, slots):
        super().__init__("")
        self.slots = slots
        self.cut = -1

    def read(self, name, slot):
        return self.slots.get((name, slot))

    def write(self, name, slot, content):
        data = b"".join([bytes(part) for part in content])
        if 0 <= self.cut < len(data):
            self.slots[name, slot] = torn(data, self.cut)
            raise CutError
        self.slots[name, slot] = data

    def _tell(self, name):
        pass


def torn(data, n_bytes):
    """What is left of a slot of which so much was written; nothing is no slot."""
    return data[:n_bytes] or None


class Life:
    """What happens to the pack: readings, one after the other."""

    def __init__(self, random):
        self.random = random
        self.s = Snapshot(N_CELLS)
        self.s.valid = True
        self.left_ms = 0
        self.ma = 0
        self.wobble_ma = 0
        self.charge_uah = RATED_MAH * 500
        self.rest = 0
        self.dc = 250
        self.abuse = 0

    def begin(self):
        """Something else: a rest, a charge or a discharge; now and then in a bad place."""
        random = self.random
        self.left_ms = random.between(20, 7200) * 1000
        ma = RATED_MAH * random.between(1, 130) // 100
        self.ma = (0, ma, -ma)[random.below(3)]
        if self.charge_uah < RATED_MAH * 100:
            self.ma = ma
        elif self.charge_uah > RATED_MAH * 900:
            self.ma = -ma
        if random.below(3) == 0:
            self.ma = RATED_MAH // 200 * random.between(-2, 2)  # at the edge of rest
        self.wobble_ma = random.between(0, 40)
        self.abuse = random.below(60)  # 1: too deep, 2: too high, 3: no temperature, 4: no SOC
        if random.below(4) == 0:
            self.dc = random.between(-260, 660)

    def step(self):
        random, s = self.random, self.s
        if self.left_ms <= 0:
            self.begin()
        s.dt_ms = random.between(9700, 10400)
        self.left_ms -= s.dt_ms
        ma = self.ma + random.between(-self.wobble_ma, self.wobble_ma)
        passed = ma * s.dt_ms + self.rest
        s.delta_uah = passed // 3600
        self.rest = passed - 3600 * s.delta_uah
        s.current_ma = ma
        self.charge_uah = min(max(self.charge_uah + s.delta_uah, 0), RATED_MAH * 1000)
        mv = 3200 + self.charge_uah // (RATED_MAH * 1) + ma // 100
        s.min_mv, s.max_mv = mv - random.below(9), mv + random.below(9)
        if self.abuse == 1:
            s.min_mv = DEEP_MV + random.between(-70, 90)
        elif self.abuse == 2:
            s.max_mv = HIGHEST_MV + random.between(-90, 70)
        s.sum_mv = 2 * s.min_mv + 2 * s.max_mv + random.below(3)
        s.max_dc = self.dc + random.between(-3, 3)
        s.min_dc = s.max_dc - random.below(30)
        if self.abuse == 3:
            s.min_dc = s.max_dc = UNKNOWN_DC
        self.soc_bp = None if self.abuse == 4 else self.charge_uah * 10 // RATED_MAH
        self.plausible = random.below(50) > 0


class Truth:
    """What the counters should be, in units of its own."""

    def __init__(self):
        self.uah = {"ChaAh": 0, "DisAh": 0}
        self.nwh = {"ChaWh": 0, "DisWh": 0}
        self.events = {"NDeep": 0, "NOver": 0}
        self.within = {"NDeep": False, "NOver": False}
        self.ms = {}
        self.least = {}
        self.most = {}
        self.all_ms = 0

    def copy(self):
        other = Truth()
        for name in ("uah", "nwh", "events", "within", "ms", "least", "most"):
            setattr(other, name, dict(getattr(self, name)))
        other.all_ms = self.all_ms
        return other

    def see(self, s, soc_bp, plausible):
        way = "Cha" if s.delta_uah > 0 else "Dis"
        self.uah[way + "Ah"] += abs(s.delta_uah)
        self.nwh[way + "Wh"] += abs(s.delta_uah) * s.sum_mv
        self.all_ms += s.dt_ms
        for name in self.states(s, soc_bp):
            self.ms[name] = self.ms.get(name, 0) + s.dt_ms
        if not plausible:
            return
        self.event("NDeep", s.min_mv < DEEP_MV, s.min_mv >= DEEP_MV + BACK_MV)
        self.event("NOver", s.max_mv > HIGHEST_MV, s.max_mv <= HIGHEST_MV - BACK_MV)
        self.extreme("VMinEver", "VMaxEver", s.min_mv, s.max_mv)
        self.extreme(None, "AChaEver", 0, max(s.current_ma, 0))
        self.extreme(None, "ADisEver", 0, max(-s.current_ma, 0))
        if s.min_dc != UNKNOWN_DC:
            self.extreme("TMinEver", "TMaxEver", s.min_dc, s.max_dc)

    def states(self, s, soc_bp):
        found = ["RunMin"]
        if soc_bp is not None:
            found.append("Soc" + str(min(soc_bp // 1000, 9)))
        ma, at = s.current_ma, 4
        if ma > RATED_MAH / 200:
            at = 5 + sum([ma >= RATED_MAH * share for share in (0.2, 0.5, 1)])
        elif ma < -RATED_MAH / 200:
            at = 3 - sum([-ma >= RATED_MAH * share for share in (0.2, 0.5, 1)])
        found.append("Cur" + str(at))
        if s.min_dc == UNKNOWN_DC:
            return found
        bins = [n for n in range(7) if s.max_dc < (0, 100, 200, 300, 400, 450, 600)[n]]
        found.append("Tmp" + str(bins[0] if bins else 7))
        charging = ma > RATED_MAH / 200
        for name, is_so in (
            ("HotMin", s.max_dc > WARM_DC[0]),
            ("ColdMin", s.min_dc < COOL_DC[0]),
            ("HotChaMin", charging and s.max_dc > WARM_DC[1]),
            ("ColdChaMin", charging and s.min_dc < COOL_DC[1]),
        ):
            if is_so:
                found.append(name)
        return found

    def event(self, name, begins, ends):
        if self.within[name]:
            self.within[name] = not ends
        elif begins:
            self.within[name] = True
            self.events[name] += 1

    def extreme(self, low_name, high_name, low, high):
        if low_name:
            self.least[low_name] = min(self.least.get(low_name, low), low)
        self.most[high_name] = max(self.most.get(high_name, high), high)

    def wrong(self, e, n_steps):
        """What the registers say otherwise, in their units: 0.1 Ah, 0.1 Wh, minutes, ..."""
        block = RegisterMap(N_CELLS).block(models.LIFETIME)
        e.lifetime.publish(block)
        wanted = dict(self.events)
        wanted.update(self.least)
        wanted.update(self.most)
        for name in self.uah:
            wanted[name] = self.uah[name] // 100000
        moved_uah = sum(self.uah.values())
        wanted["Fec"] = sum([wanted[name] for name in self.uah]) * 5000 // RATED_MAH
        for name in TIMES:
            wanted[name] = self.ms.get(name, 0) // 60000
        found = [
            (name, block.get(name), want)
            for name, want in wanted.items()
            if block.get(name) != want
        ]
        at = 2 * block.layout.offset("Soc0")
        for name in BINS:
            said = int.from_bytes(block.bytes()[at : at + 4], "big")
            at += 4
            if said != self.ms.get(name, 0) // 60000:
                found.append((name, said, self.ms.get(name, 0)))
        # energy is rounded at each reading: by 5 nWh at most, which may carry past a unit's edge
        for name, nwh in self.nwh.items():
            at = lifetime.ENERGY_IN if name == "ChaWh" else lifetime.ENERGY_OUT
            counted = e.lifetime.words[at] * 100000000 + e.lifetime.rest[at] * 10
            if abs(counted - nwh) > 5 * n_steps:
                found.append((name, counted, nwh))
            if abs(block.get(name) - nwh // 100000000) > 1:
                found.append((name, block.get(name), nwh // 100000000))
        # full equivalent cycles from whole 0.1 Ah: at most as much below
        if abs(block.get("Fec") - moved_uah // (20 * RATED_MAH)) > 1:
            found.append(("Fec", block.get("Fec"), moved_uah // (20 * RATED_MAH)))
        return found


settings = Settings("P", N_CELLS, "nmc", RATED_MAH)


def started(slots):
    """A board that starts with what is in its slots."""
    storage = Memory(slots)
    e = Estimators(settings)
    e.restore(b"", storage.load("lifetime"))
    return storage, e


def every_byte(slots, before, content, truth_before, truth, n_steps):
    """Cut a save at each of its bytes; how many cuts that were."""
    place = next(key for key in content if content[key] != before.get(key))
    data = content[place]
    for n_bytes in range(len(data) + 1):
        left = dict(before)
        left[place] = torn(data, n_bytes)
        _, e = started(left)
        expected = truth if n_bytes == len(data) else truth_before
        for wrong in expected.wrong(e, n_steps):
            print("save cut at", n_bytes, *wrong)
    return len(data) + 1


def run(seed, days, n_cuts, every):
    random = Random(seed)
    life = Life(random)
    slots = {}
    storage, e = started(slots)
    truth = Truth()
    safe = Truth()  # as it was saved last
    end_ms = int(days * 86400000)
    saved_ms = steps = saves = cuts = most_lost_ms = now_ms = 0
    gap = end_ms // (n_cuts + 1) // 10000
    next_cut = random.between(1, 2 * gap)
    in_save = False
    while now_ms < end_ms:
        life.step()
        s = life.s
        now_ms += s.dt_ms
        steps += 1
        e.lifetime.update(s, life.soc_bp, life.plausible)
        truth.see(s, life.soc_bp, life.plausible)
        cut = False
        next_cut -= 1
        if next_cut <= 0 and not in_save:
            in_save = bool(random.below(2))
            cut = not in_save
        if e.lifetime.urgent or now_ms - saved_ms >= SAVE_EVERY_MS:
            data = e.counters()
            storage.cut = random.below(len(data) + 15) if in_save else -1
            before = dict(slots)
            try:
                storage.save("lifetime", data)
                e.lifetime.urgent = False
                if every:
                    cuts += every_byte(slots, before, slots, safe, truth, steps)
                safe = truth.copy()
                saves += 1
            except CutError:
                cut = True
            saved_ms = now_ms
        if cut:
            cuts += 1
            in_save = False
            next_cut = random.between(1, 2 * gap)
            most_lost_ms = max(most_lost_ms, truth.all_ms - safe.all_ms)
            truth = safe.copy()
            storage, e = started(slots)
            saved_ms = now_ms
            for wrong in truth.wrong(e, steps):
                print("after a cut", *wrong)
    for wrong in truth.wrong(e, steps):
        print("at the end", *wrong)
    print(steps, saves, cuts, most_lost_ms // 1000)


run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), "--every" in sys.argv)
