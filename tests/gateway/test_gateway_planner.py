"""Every read of a pack is of a length of its own, and together they cover each block."""

import pytest

from common import models
from common.registers import MAX_READ_WORDS, RegisterMap
from gateway.planner import DETAIL_BLOCKS, WALK_STEPS, Plan, begin_read, version_read, walk_read

BLOCKS = (models.SNAPSHOT, *DETAIL_BLOCKS)


@pytest.mark.parametrize("n_cells", range(1, 73))
def test_no_two_requests_to_a_pack_expect_the_same_number_of_registers(n_cells):
    plan = Plan(n_cells)
    reads = [read for model_id in BLOCKS for read in plan.reads(model_id)]
    reads += [plan.recall, plan.fault, plan.command, plan.settings, begin_read()]
    reads += [version_read(40700)]
    reads += [walk_read(40070, step) for step in range(WALK_STEPS)]
    counts = [read.count for read in reads]
    assert len(set(counts)) == len(counts)
    assert max(counts) <= MAX_READ_WORDS


@pytest.mark.parametrize("n_cells", range(1, 73))
def test_the_reads_of_a_block_give_the_block(n_cells):
    image = RegisterMap(n_cells)
    for at in range(0, len(image.image), 2):  # every register holds its own number
        image.image[at : at + 2] = (at // 2).to_bytes(2, "big")
    plan = Plan(n_cells)
    single = {
        models.RECALL: plan.recall,
        models.FAULTS: plan.fault,
        models.SETTINGS: plan.settings,
    }
    reads = [(model_id, plan.reads(model_id)) for model_id in BLOCKS]
    reads += [(model_id, (read,)) for model_id, read in single.items()]
    for model_id, pieces in reads:
        block = image.block(model_id)
        got = b""
        for read in pieces:
            at = 2 * (read.address - models.BASE_ADDRESS)
            got += read.cut(bytes(image.image[at : at + 2 * read.count]))
        assert got == block.bytes()


@pytest.mark.parametrize("n_cells", [1, 16, 47, 72])
def test_what_is_read_back_of_a_command_ends_with_the_control_block(n_cells):
    plan = Plan(n_cells)
    first, last = plan.command.address, plan.command.address + plan.command.count
    control = plan.addresses[models.CONTROL]
    assert first + plan.command.skip == control
    assert last == control + plan.layouts[models.CONTROL].words


def test_a_pack_of_sixteen_cells_is_polled_with_one_read_of_nothing_but_the_snapshot():
    (read,) = Plan(16).reads(models.SNAPSHOT)
    assert (read.count, read.skip) == (68, 0)
    assert len(Plan(16).reads(models.HEALTH)) == 2


@pytest.mark.parametrize("n_cells", range(1, 73))
def test_a_block_costs_at_most_one_exchange_more_than_its_registers_ask_for(n_cells):
    plan = Plan(n_cells)
    for model_id in BLOCKS:
        least = -(-plan.layouts[model_id].words // MAX_READ_WORDS)
        assert len(plan.reads(model_id)) <= least + (n_cells > 16)
