"""Grading profiles: gates, bands and their origin as data (TOML), checked in full when loaded.

A profile is an operator's decision, not a standard: no standard publishes limits for classes.
Every number says where it comes from. ``Profile.sha256`` stands in every grade, so that a grade
can be traced to the rules that gave it.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gateway.errors import UserError
from gateway.grading.evidence import CHEMISTRIES, FAULTS, QUANTITIES

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CLASSES = ("A", "B", "C")  # best first; what holds none of them is R

Text = Annotated[str, Field(min_length=1, max_length=400)]
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Limit = Annotated[float, Field(allow_inf_nan=False)]
Limits = Limit | dict[str, Limit]  # one for all, or one for each chemistry
Unknown = Literal["hold", "list"]
Otherwise = Literal["hold", "recycle"]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _known_quantity(name: str) -> str:
    if name not in QUANTITIES:
        raise ValueError(f"{name!r} is not a quantity (there are: {', '.join(QUANTITIES)})")
    return name


def _known_chemistries(limits: Limits | None) -> Limits | None:
    if isinstance(limits, dict):
        for name in limits:
            if name not in CHEMISTRIES:
                raise ValueError(
                    f"{name!r} is not a chemistry (there are: {', '.join(CHEMISTRIES)})"
                )
    return limits


def limit_for(limits: Limits, chemistry: str | None) -> float | None:
    """The limit for one chemistry; ``None`` where the profile has none for it."""
    if isinstance(limits, dict):
        return limits.get(chemistry or "")
    return limits


class Gate(_Strict):
    """One rule before any class: a quantity within limits, or faults that must not be there.

    ``otherwise`` says what a failed gate means. ``unknown``: ``hold`` refuses the grade, ``list``
    goes on and lists the quantity as not checked.
    """

    id: Id
    quantity: str | None = None
    min: Limits | None = None
    max: Limits | None = None
    faults: list[str] | None = None
    otherwise: Otherwise
    unknown: Unknown
    next_test: Text | None = None
    origin: Text

    _quantity = field_validator("quantity")(lambda v: v if v is None else _known_quantity(v))
    _limits = field_validator("min", "max")(_known_chemistries)

    @field_validator("faults")
    @classmethod
    def _faults(cls, names: list[str] | None) -> list[str] | None:
        for name in names or []:
            if name not in FAULTS:
                raise ValueError(f"{name!r} is not a fault (there are: {', '.join(FAULTS)})")
        return names

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        limits = [limit for limit in (self.min, self.max) if limit is not None]
        if (self.quantity is None) == (self.faults is None):
            raise ValueError("give either quantity or faults")
        if (self.quantity is None and limits) or (self.quantity is not None and len(limits) != 1):
            raise ValueError("give either min or max for a quantity, and neither for faults")
        return self


class Check(_Strict):
    """Something a person looks at. Failed means ``otherwise``; not done holds if ``required``."""

    id: Id
    text: Text
    required: bool
    otherwise: Otherwise
    origin: Text


class Criterion(_Strict):
    """The limits of the classes for one quantity; ``better`` says which way is better."""

    id: Id
    quantity: str
    better: Literal["higher", "lower"]
    A: Limits
    B: Limits
    C: Limits
    unknown: Unknown
    next_test: Text | None = None
    origin: Text

    _quantity = field_validator("quantity")(_known_quantity)
    _limits = field_validator("A", "B", "C")(_known_chemistries)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for chemistry in CHEMISTRIES:
            found = [limit_for(getattr(self, name), chemistry) for name in CLASSES]
            limits = [limit for limit in found if limit is not None]
            if len(limits) not in {0, len(CLASSES)}:
                raise ValueError(f"A, B and C must all have a limit for {chemistry}, or none")
            if limits != sorted(limits, reverse=self.better == "higher"):
                raise ValueError(
                    f"A, B, C are {limits}: with better = {self.better!r} a better class "
                    "cannot ask for less"
                )
        return self


class WeakCells(_Strict):
    """A cell is weak when it lies below the median by both: z (by MAD) and points of SOH."""

    z_min: Limit
    below_median_min_pct: Limit
    origin: Text


class Remanufacture(_Strict):
    """When replacing weak cells is worth it: the rest of the pack must be good enough."""

    caused_by_weak_cells: list[Id]  # criteria a weak cell may be to blame for
    median_cell_soh_min_pct: Limit
    weak_cells_max_pct: Limit
    law_capacity_min_pct: Limit  # "remanufactured" in law; else "repurposed"
    law_spread_max_pct: Limit
    origin: Text


class Provisional(_Strict):
    """Above this half-width of the interval a grade is marked provisional."""

    soh_half_width_max_pct: Limit
    origin: Text


class Profile(_Strict):
    """A whole profile."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=60)]
    version: Annotated[int, Field(ge=1)]
    title: Text
    procedure: Text
    limitations: list[Text]
    gates: list[Gate]
    checks: list[Check]
    criteria: Annotated[list[Criterion], Field(min_length=1)]
    provisional: Provisional
    weak_cells: WeakCells
    remanufacture: Remanufacture

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        rules: list[Gate | Check | Criterion] = [*self.gates, *self.checks, *self.criteria]
        ids = [rule.id for rule in rules]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"id {name!r} is given twice")
        soh = [c for c in self.criteria if c.quantity == "soh_low_pct"]
        if len(soh) != 1 or soh[0].unknown != "hold":
            raise ValueError(
                'one criterion must grade soh_low_pct with unknown = "hold": '
                "a pack of unknown health has no class"
            )
        criteria = [c.id for c in self.criteria]
        for name in self.remanufacture.caused_by_weak_cells:
            if name not in criteria:
                raise ValueError(
                    f"remanufacture.caused_by_weak_cells: {name!r} is not a criterion "
                    f"(there are: {', '.join(criteria)})"
                )
        return self

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON (sorted keys, no spaces, UTF-8)."""
        text = json.dumps(
            self.model_dump(mode="json"),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str, source: str) -> Profile:
    """A profile from TOML; ``UserError`` with one line per fault, each naming ``source``."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source}: not TOML: {error}") from error
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        lines = [_line(source, data, fault) for fault in error.errors()]
        raise UserError(*[line for line in lines if line]) from error


def _line(source: str, data: object, fault: ErrorDetails) -> str | None:
    """``FILE: gates "history": min: input should be a valid number, found '14'``.

    ``None`` where pydantic tells of the other form of a limit, which nobody meant.
    """
    place: list[str] = []
    here = data
    for step in fault["loc"]:
        if isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
            name = here.get("id", step + 1) if isinstance(here, dict) else step + 1
            place[-1:] = [f'{place[-1]} "{name}"'] if place else [str(name)]
        elif isinstance(here, dict) and step in here:
            here = here[step]
            place.append(str(step))
        elif fault["type"] == "missing":
            place.append(str(step))
    if fault["type"] == "float_type" and isinstance(here, dict):
        return None
    if fault["type"] == "dict_type" and str(fault["loc"][-1]).startswith("dict["):
        return None
    message = str(fault["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:] if fault["type"] != "value_error" else message
    if fault["type"] not in {"missing", "value_error"} and not isinstance(here, dict | list):
        message += f", found {here!r}"
    return ": ".join([source, *place, message])


def built_in() -> list[str]:
    """Names of the profiles that come with the program."""
    folder = files("gateway.grading").joinpath("profiles")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


def load(name_or_file: str) -> Profile:
    """A built-in profile by name, or one from a file; ``UserError``."""
    if name_or_file in built_in():
        text = (
            files("gateway.grading")
            .joinpath("profiles", f"{name_or_file}.toml")
            .read_text(encoding="utf-8")
        )
        return parse(text, f"{name_or_file}.toml")
    path = Path(name_or_file)
    try:
        return parse(path.read_text(encoding="utf-8"), name_or_file)
    except FileNotFoundError as error:
        raise UserError(
            f"profile {name_or_file!r}: neither a file nor built in "
            f"(built in: {', '.join(built_in())})"
        ) from error
    except OSError as error:
        raise UserError(f"profile {name_or_file!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"profile {name_or_file!r}: not UTF-8 text") from error
