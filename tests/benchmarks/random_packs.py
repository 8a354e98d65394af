"""Random used packs lived through by the firmware's estimators: how often are the intervals right?

    python tests/benchmarks/random_packs.py [--packs N] [--seed S] [--jobs J] [--json]
                                            [--figure NAME]

What is drawn is said in ``pack_draw.py``, who votes on what in ``pack_votes.py``. Half-widths and
errors are points of SOC and SOH, percent of resistance and power, and percent of the rated charge
or energy; ``z`` is the error in deviations, of which the interval's half is two (rms, mean; rms 1
is a perfect normal error). The last line is the share of the votes whose interval holds the truth:
of all figures that are pooled, or of the one asked for.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial

from pack_votes import FIGURES, Vote, pooled, score, votes_of


def hear(seed: int, packs: int, jobs: int) -> list[Vote]:
    """The votes of all packs."""
    ask = partial(votes_of, seed)
    if jobs == 1:
        return [vote for pack in range(packs) for vote in ask(pack)]
    with ProcessPoolExecutor(jobs) as pool:
        return [vote for votes in pool.map(ask, range(packs), chunksize=4) for vote in votes]


def parts(votes: list[Vote]) -> dict[str, list[Vote]]:
    """The votes of one figure: all, by chemistry, by chemistry and method."""
    found = {"all": votes}
    for vote in votes:
        found.setdefault(vote.kind, []).append(vote)
        found.setdefault(f"{vote.kind} {vote.by}", []).append(vote)
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--figure", choices=[figure.name for figure in FIGURES])
    arguments = parser.parse_args()
    votes = hear(arguments.seed, arguments.packs, arguments.jobs)
    if arguments.figure:
        votes = [vote for vote in votes if vote.figure == arguments.figure]
    if not arguments.json:
        print(f"{'figure':34} {'votes':>5} {'packs':>6} {'holds':>6} {'half':>6} {'rmse':>6} z")
    for figure in FIGURES:
        chosen = [vote for vote in votes if vote.figure == figure.name]
        for name, part in parts(chosen).items() if chosen else ():
            s = score(part)
            if arguments.json:
                print(json.dumps({"figure": figure.name, "part": name, **asdict(s)}))
                continue
            print(
                f"{figure.name + ', ' + name:34} {s.votes:5} {s.votes / arguments.packs:6.1%}"
                f" {s.holds_pct:5.1f}% {s.half_width:6.2f} {s.rmse:6.2f}"
                f" {s.z_rms:.2f} ({s.z_mean:+.2f})"
            )
    judged = votes if arguments.figure else pooled(votes)
    print(f"figure: {score(judged).holds_pct:.1f} %")


if __name__ == "__main__":
    main()
