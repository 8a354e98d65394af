"""The SunSpec JSON files of our models, made from the table in ``models``.

A definition is a dictionary in the form of SunSpec's "device information model" JSON, as
sunspec/models keeps its own and as clients such as pysunspec2 load them: put the folder
``common/sunspec`` on the client's search path and it reads our models by name.

    >>> definition(models.SNAPSHOT)["group"]["groups"][0]["count"]
    'NCell'

Source: SunSpec Device Information Model Specification 1.2, chapter 5 (JSON encoding).
"""

from common import model_docs, models
from common.registers import point_type


def file_name(model_id: int) -> str:
    """The name clients look for."""
    return "model_%d.json" % model_id


def definition(model_id: int) -> "dict[str, object]":
    """The definition of one model of ours; ``KeyError`` for an id we do not have."""
    _id, name, label, points, group, tail = models.model(model_id)
    top: "dict[str, object]" = {
        "name": name,
        "label": label,
        "desc": model_docs.ABOUT[model_id],
        "type": "group",
    }
    own = [_point(model_id, entry, False) for entry in points]
    own[0]["value"] = model_id
    if group is None:  # nothing repeats: the tail follows on
        top["points"] = own + [_point(model_id, entry, False) for entry in tail]
        return {"id": model_id, "group": top}
    top["points"] = own
    groups = [
        {
            "name": group[0],
            "type": "group",
            "count": "NCell",
            "points": [_point(model_id, entry, True) for entry in group[1]],
        }
    ]
    end = {"name": "End", "type": "group", "count": 1}
    groups.append(end | {"points": [_point(model_id, entry, False) for entry in tail]})
    top["groups"] = groups
    return {"id": model_id, "group": top}


def _point(model_id: int, entry: "tuple", in_cell: bool) -> "dict[str, object]":  # type: ignore[type-arg]
    name, kind, sf, access = entry
    unit, meaning = model_docs.doc(model_id, name, in_cell)
    point: "dict[str, object]" = {
        "name": name,
        "type": kind.split(":")[0],
        "size": point_type(kind)[1],
        "desc": meaning,
    }
    if sf is not None:
        point["sf"] = sf
    if unit:
        point["units"] = unit
    if access in ("RW", "rw"):
        point["access"] = "RW"
    if name in ("ID", "L"):
        point["mandatory"] = "M"
        point["static"] = "S"
    symbols = {} if in_cell and name != "Mth" else model_docs.symbols(model_id, name)
    if symbols:
        point["symbols"] = [{"name": symbols[n], "value": n} for n in symbols]
    return point
