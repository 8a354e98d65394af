"""``echelon registers``: the whole register map, from the table that board and gateway use."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from common import model_docs, models, sunspec_json
from common.registers import RegisterMap, point_type
from gateway.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

HELP = "prints the register map, or writes its SunSpec JSON files"


@dataclass(frozen=True)
class Row:
    """One point of the map; ``cell`` counts from 1 and is None outside the cells."""

    model: int
    address: int
    offset: int
    cell: int | None
    name: str
    type: str
    size: int
    sf: int | str | None
    unit: str
    access: str
    meaning: str
    symbols: dict[int, str]

    @property
    def scale(self) -> str:
        """The scale factor as people read it."""
        return "" if self.sf is None else str(self.sf)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--cells", type=_cells, default=16, metavar="N", help="cells in series (default 16)"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="as Markdown, for the docs")
    form.add_argument("--json", action="store_true", help="as one JSON array")
    form.add_argument(
        "--sunspec", type=Path, metavar="DIR", help="write model_<id>.json of our models there"
    )


def run(args: argparse.Namespace) -> int:
    """Print the map in the form asked for; ``UserError`` where a file cannot be written."""
    if args.sunspec is not None:
        return _write_sunspec(args.sunspec)
    if args.json:
        rows = [asdict(row) for model in models.MODELS for row in model_rows(model[0], args.cells)]
        print(json.dumps(rows, indent=1))
    elif args.markdown:
        print("\n".join(markdown(args.cells)))
    else:
        _print_tables(args.cells)
    return 0


def _cells(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= models.MAX_CELLS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {models.MAX_CELLS}")
    return number


def model_rows(model_id: int, n_cells: int) -> Iterator[Row]:
    """Every point of one model of a pack of ``n_cells``, in the order of its registers."""
    block = RegisterMap(n_cells).block(model_id)
    _id, _name, _label, points, group, tail = models.model(model_id)
    parts: list[tuple[int | None, tuple[tuple[str, str, int | str | None, str], ...]]]
    parts = [(None, points)]
    if group is not None:
        parts += [(cell + 1, group[1]) for cell in range(n_cells)]
    parts.append((None, tail))
    offset = 0
    for cell, table in parts:
        for name, kind, sf, access in table:
            unit, meaning = model_docs.doc(model_id, name, cell is not None)
            symbols = {}
            if cell is None or name == "Mth":
                symbols = model_docs.symbols(model_id, name)
            size = point_type(kind)[1]
            yield Row(
                model_id, block.address + offset, offset, cell, name, kind.split(":")[0], size,
                sf, unit, access.upper(), meaning, symbols,
            )  # fmt: skip
            offset += size


def _write_sunspec(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for model_id in models.OURS:
            path = folder / sunspec_json.file_name(model_id)
            path.write_text(sunspec_text(model_id), encoding="utf-8")
            print(path)
    except OSError as error:
        raise UserError(f"--sunspec {folder}: {error.strerror}") from error
    return 0


def sunspec_text(model_id: int) -> str:
    """The text of one SunSpec JSON file, as it ships in ``common/sunspec``."""
    return json.dumps(sunspec_json.definition(model_id), indent=2) + "\n"


def _names(row: Row) -> str:
    return ", ".join(f"{number} {name.lower()}" for number, name in row.symbols.items())


def _shown(model_id: int, n_cells: int) -> Iterator[tuple[Row, str]]:
    """The rows for people, with their meaning: of the cells only the first and the last."""
    for row in model_rows(model_id, n_cells):
        if row.cell is not None and 1 < row.cell < n_cells:
            continue
        meaning = row.meaning
        if row.symbols:
            kind = "Bits" if row.type.startswith("bitfield") else "Numbers"
            meaning += f" {kind}: {_names(row)}."
        yield row, meaning


def _title(model_id: int, n_cells: int) -> tuple[str, str]:
    block = RegisterMap(n_cells).block(model_id)
    words = block.layout.words
    place = f"address {block.address}, {words} registers (L = {words - 2})"
    return f"{model_id} {block.layout.label}", f"{model_docs.ABOUT[model_id]} At {place}."


def _print_tables(n_cells: int) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=150)
    for model in models.MODELS:
        title, about = _title(model[0], n_cells)
        table = Table(title=title, caption=about, title_justify="left", caption_justify="left")
        for heading in ("address", "offset", "cell", "name", "type", "sf", "unit", "access"):
            number = heading in {"address", "offset", "cell"}
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        table.add_column("meaning")
        for row, meaning in _shown(model[0], n_cells):
            cell = "" if row.cell is None else str(row.cell)
            table.add_row(
                str(row.address), str(row.offset), cell, row.name, _type(row), row.scale,
                row.unit, row.access, meaning,
            )  # fmt: skip
        console.print(table)


def _type(row: Row) -> str:
    return f"string {row.size}" if row.type == "string" else row.type


def markdown(n_cells: int) -> Iterator[str]:
    """The lines of ``docs/registers.md``."""
    end = RegisterMap(n_cells)
    yield "# Register map"
    yield ""
    yield f"Map version {models.MAP_VERSION}, made by `echelon registers --markdown --cells"
    yield f"{n_cells}`; `--cells N` serves other pack sizes."
    yield ""
    yield f"The map begins at {models.BASE_ADDRESS} with `SunS` and is a chain of SunSpec models;"
    yield f"for {n_cells} cells it is {end.words} registers long with the end model (0xFFFF, 0)."
    yield "Read at most 125 registers a request. Offsets count from the model's ID register. A"
    yield "value is `register x 10^sf` in the unit given; `sf` is a number or the name of the"
    yield "point that holds it. Current and power are positive when charging. A value that is not"
    yield "known is SunSpec's sentinel: 0xFFFF (uint16, enum16, bitfield16), 0x8000 (int16,"
    yield "sunssf), 0xFFFFFFFF (uint32, bitfield32), 0x80000000 (int32), or an empty string. Of"
    yield "the cells the first and the last are listed."
    yield ""
    yield "The SunSpec JSON files of our own models are in `common/sunspec/`; write them anywhere"
    yield "with `echelon registers --sunspec DIR`."
    for model in models.MODELS:
        title, about = _title(model[0], n_cells)
        yield ""
        yield f"## {title}"
        yield ""
        yield about
        yield ""
        yield "| address | offset | cell | name | type | sf | unit | access | meaning |"
        yield "|--:|--:|--:|---|---|---|---|---|---|"
        for row, meaning in _shown(model[0], n_cells):
            cell = "" if row.cell is None else str(row.cell)
            yield (
                f"| {row.address} | {row.offset} | {cell} | {row.name} | {_type(row)} "
                f"| {row.scale} | {row.unit} | {row.access} | {meaning} |"
            )
