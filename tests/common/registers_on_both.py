"""Run by test_common_registers.py on both interpreters: write points, print what came of it.

Standard input: a JSON list ``[n_cells, [[model, name, cell or null, value], ...]]``. Standard
output: the image in hexadecimal, then what each written point reads back as.
"""

import json
import sys

sys.path.insert(0, ".")  # the project's folder

from common.registers import RegisterMap

n_cells, writes = json.load(sys.stdin)
pack = RegisterMap(n_cells)
back = []
for model_id, name, cell, value in writes:
    block = pack.block(model_id)
    if isinstance(value, str):
        block.set_text(name, value)
    elif cell is None:
        block.set(name, value)
        back.append(block.get(name))
    else:
        block.set_cell(name, cell, value)
        back.append(block.get_cell(name, cell))
print(pack.image.hex())
print(back)
