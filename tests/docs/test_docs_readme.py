"""The README's tables are what the program does."""

import re
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from common import models
from gateway import discovery
from gateway.config import MqttTable
from gateway.grading import profile as profiles
from gateway.grading.service import Edge, Grader
from gateway.publisher import RETAINED_KINDS
from gateway.topics import Topics


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table below ``## heading``."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def test_every_command_is_listed_with_the_words_of_its_help(readme: str) -> None:
    listed = {
        re.sub(r"`echelon (\w+)`", r"\1", name): text for name, text in rows(readme, "Commands")
    }
    commands = {entry.name: entry.load().HELP for entry in entry_points(group="echelon.commands")}
    assert listed == commands


def test_every_model_of_the_register_map_is_listed_in_order(readme: str) -> None:
    listed = [(int(number), name) for number, name, _what in rows(readme, "Registers")]
    assert listed == [(entry[0], entry[2]) for entry in models.MODELS]


def test_every_topic_is_listed_as_it_is_published(readme: str) -> None:
    listed = {topic.strip("`"): kept == "yes" for topic, kept, _what in rows(readme, "Topics")}
    topics = Topics("BASE", "GATEWAY")
    published = {topics.status: True, topics.pack("SERIAL", "status"): True}
    for kind in ("state", "detail", "history"):
        published[topics.pack("SERIAL", kind)] = kind in RETAINED_KINDS
    edge = Edge(Grader(profiles.load("packgrade-2026"), lambda: datetime.now(UTC)), "BASE")
    subscribed = {topic.replace("/+/+/", "/GATEWAY/SERIAL/") for topic, _qos in edge.connected()}
    assert subscribed - published.keys() == {"BASE/GATEWAY/SERIAL/grade"}
    published["BASE/GATEWAY/SERIAL/grade"] = True
    prefix = MqttTable().discovery_prefix
    pack = discovery.Announced("SERIAL", None, None, None, None, 14)
    announced = discovery.messages(prefix, topics, pack, 60)
    assert all(re.fullmatch(rf"{prefix}/.+/config", topic) for topic in announced)
    published[f"{prefix}/…/config"] = True
    assert listed == published
    assert MqttTable().base_topic == "echelon"


def test_files_the_readme_links_to_are_there(readme: str, root: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", readme)
    assert links
    assert [link for link in links if not (root / link).exists()] == []
