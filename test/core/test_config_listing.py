"""All settings with their meanings: what is shown is what is read."""

import json
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
import yaml

from instascene_core.cli import main
from instascene_core.config import Config
from instascene_core.config.descriptions import described_settings
from instascene_core.config.ranges import Count, Share
from instascene_core.config_file import load_config, settings_of
from instascene_core.config_listing import as_yaml, listed, meaning


@dataclass(frozen=True)
class Inner:
    count: Count = 3  # how many
    # Which way: "fast" leaves out
    # what takes long
    method: Literal["fast", "fine"] = "fast"  # of both
    shares: tuple[Share, ...] = (0.5,)

    # --- a heading, with a blank line behind it ---

    on: bool = False


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    name: str | None = None  # "" = none
    # Heading
    # A sentence of its own.
    ratio: float = 0.5


def test_meanings_come_from_the_comments_beside_the_fields():
    found = {s.name: s for s in described_settings(Outer())}
    assert list(found) == ["inner.count", "inner.method", "inner.shares", "inner.on", "name", "ratio"]
    assert {name: s.description for name, s in found.items()} == {
        "inner.count": "how many",
        "inner.method": 'Which way: "fast" leaves out what takes long of both',
        "inner.shares": "",
        "inner.on": "",
        "name": '"" = none',
        "ratio": "Heading: A sentence of its own.",
    }
    assert found["inner.method"].choices == ("fast", "fine") and found["inner.method"].range is None
    assert found["inner.shares"].range.high == 1 and found["inner.on"].range is None
    assert meaning(found["inner.count"]) == "how many (at least 1)"
    assert meaning(found["inner.method"]).endswith("of both (fast | fine)")
    assert meaning(found["inner.shares"]) == "(0 … 1)" and meaning(found["ratio"]).endswith("its own.")


def test_every_setting_says_what_it_means():
    assert [s.name for s in described_settings(Config()) if not s.description] == []


def test_what_is_printed_is_a_configuration(tmp_path):
    config = replace(Config(), up=(0.0, 1.0, 0.0), region="all", max_frames=7)
    path = tmp_path / "all.yaml"
    path.write_text(as_yaml(listed(config)))
    assert load_config(path) == config
    assert max(map(len, path.read_text().splitlines())) <= 110


def test_the_command_prints_sections_and_single_settings(capsys):
    main(["config", "reconstruction", "up", "--set", "reconstruction.iterations=7"])
    text = capsys.readouterr().out
    shown = yaml.safe_load(text)
    assert set(shown) == {"reconstruction", "up"} and shown["reconstruction"]["iterations"] == 7
    assert "# Direction against gravity in the world frame" in text
    main(["config", "--json", "completion.prior"])
    (setting,) = json.loads(capsys.readouterr().out)
    assert setting["name"] == "completion.prior" and "multiview" in setting["choices"]
    main(["config", "--json"])
    assert {s["name"] for s in json.loads(capsys.readouterr().out)} == set(settings_of(Config()))


def test_an_unknown_name_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as end:
        main(["config", "reconstructions"])
    assert end.value.code == 1
    assert capsys.readouterr().err == (
        "instascene: There is no setting 'reconstructions' and no section of that name.\n"
    )
