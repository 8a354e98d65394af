"""``echelon grade``: grade packs live from MQTT, or one pack from a file; check a profile."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.errors import UserError
from gateway.grading import profile as profiles
from gateway.grading.decide import grade
from gateway.grading.evidence import Evidence, EvidenceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gateway.grading.decide import Grade
    from gateway.grading.service import Broker

HELP = "grades packs live from MQTT, or one pack from a file"

DEFAULT_PROFILE = "packgrade-2026"
# What `echelon read --json` prints, and the checks a person made; no rule judges the faults.
_FILE_KEYS = {"state", "detail", "faults", "checks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--live", action="store_true", help="grade whatever a broker brings")
    what.add_argument(
        "--from",
        dest="file",
        metavar="FILE",
        help='grade a JSON file {"state": ..., "detail": ..., "checks": {"visual": true}}',
    )
    what.add_argument("--profile-check", metavar="FILE", help="check a profile and say its hash")
    parser.add_argument(
        "--profile",
        default=DEFAULT_PROFILE,
        metavar="NAME|FILE",
        help=f"built in: {', '.join(profiles.built_in())} (default {DEFAULT_PROFILE})",
    )
    parser.add_argument("--json", action="store_true", help="with --from: print JSON")
    live = parser.add_argument_group("with --live")
    live.add_argument("--broker", default="127.0.0.1:1883", metavar="HOST:PORT")
    live.add_argument("--base", default="echelon", metavar="TOPIC", help="default echelon")
    live.add_argument("--username", metavar="NAME")
    live.add_argument("--password-file", type=Path, metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; ``UserError`` for what the user can mend."""
    if args.profile_check is not None:
        found = profiles.load(args.profile_check)
        print(f"{found.id} v{found.version} is sound, sha256 {found.sha256}")
        return 0
    profile = profiles.load(args.profile)
    if args.live:
        from gateway.grading.service import serve  # noqa: PLC0415  # the rest needs no network

        broker = _broker(args)
        base = _base(args.base)
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        serve(broker, base, profile)
        return 0
    evidence = _evidence_from_file(args.file)
    known = [check.id for check in profile.checks]
    for check in evidence.checks:
        if check not in known:
            raise UserError(
                f"{args.file}: checks: {check!r} is not one of this profile "
                f"(there are: {', '.join(known)})"
            )
    found_grade = grade(evidence, profile)
    if args.json:
        print(json.dumps(found_grade.to_report(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(readable(found_grade)))
    return 0


def readable(found: Grade) -> Iterator[str]:
    """The grade in words, a line each."""
    profile = found.profile
    yield f"{found.serial}: {found.reason}"
    yield f"  route: {found.route}, status recommended: {found.status or 'none yet'}" + (
        " (provisional)" if found.provisional else ""
    )
    if found.weak_cells:
        yield f"  weak cells: {', '.join(map(str, found.weak_cells))}"
    if found.probabilities:
        chances = (f"{name} {chance:.1%}" for name, chance in found.probabilities.items())
        yield f"  probability by state of health: {', '.join(chances)}"
    if found.next_test:
        yield f"  next test: {found.next_test}"
    for result in found.results:
        value = "" if result.value is None else f": {result.measured()}"
        limit = "" if result.limit is None else f" (limit {result.limited()})"
        yield f"  {result.verdict:>7}  {result.id:<22} {result.label}{value}{limit}"
    for limitation in found.limitations:
        yield f"  note: {limitation}"
    made_by = found.evidence
    crc = "unknown" if made_by.cell_profile_crc is None else f"{made_by.cell_profile_crc:08x}"
    yield (
        f"  figures: cell profile {made_by.cell_profile or 'unknown'} (CRC-32 {crc}), "
        f"firmware {made_by.firmware or 'unknown'}"
    )
    yield f"  limits: profile {profile.id} v{profile.version}, sha256 {profile.sha256[:16]}"


def _evidence_from_file(name: str) -> Evidence:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        data: Any = json.loads(text)
    except FileNotFoundError as error:
        raise UserError(f"{name}: no such file") from error
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise UserError(f"{name}: not JSON: {error}") from error
    except RecursionError as error:
        raise UserError(f"{name}: not evidence: nested too deeply") from error
    if not isinstance(data, dict) or not set(data) <= _FILE_KEYS:
        raise UserError(
            f'{name}: want {{"state": ..., "detail": ...}} and at most "faults" and "checks"'
        )
    checks = data.get("checks", {})
    for key, part in (
        ("state", data.get("state")),
        ("detail", data.get("detail")),
        ("checks", checks),
    ):
        if not isinstance(part, dict):
            raise UserError(f"{name}: {key} is {_short(part)}, not an object")
    for check, passed in checks.items():
        if not isinstance(passed, bool):
            raise UserError(f"{name}: checks: {check} is {_short(passed)}, not true or false")
    try:
        return Evidence.from_messages(data["state"], data["detail"], checks)
    except EvidenceError as error:
        raise UserError(f"{name}: {error}") from error


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _base(text: str) -> str:
    if not text or set(text) & set("+#\0") or text != text.strip("/ "):
        raise UserError(f'--base {text!r}: not a topic (letters and single "/"; try echelon)')
    return text


def _broker(args: argparse.Namespace) -> Broker:
    from gateway.grading.service import Broker  # noqa: PLC0415

    host, colon, port = args.broker.rpartition(":")
    if not colon:
        host, port = args.broker, "1883"
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"--broker {args.broker!r}: want HOST:PORT, as in 127.0.0.1:1883")
    password = None
    if args.password_file is not None:
        try:
            password = args.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--password-file {args.password_file}: {error}") from error
    return Broker(host, int(port), args.username, password)
