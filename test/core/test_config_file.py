"""Settings: what is accepted, what is refused and in which words."""

import dataclasses
from dataclasses import dataclass

import pytest

from instascene_core.config import Config
from instascene_core.config_file import config_with, convert, load_config, settings_of
from instascene_core.errors import InputError


@dataclass(frozen=True)
class Inner:
    count: int = 3
    ratio: float = 0.5
    name: str = "a"
    on: bool = False
    size: tuple[float, float] = (1.0, 2.0)
    limit: int | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    seed: int = 0


def test_settings_are_named_by_their_path():
    assert settings_of(Outer())["inner.count"] == 3
    assert settings_of(Outer())["seed"] == 0


def test_values_are_converted_to_the_field_type():
    values = {"inner.ratio": 1, "inner.size": [3, 4], "inner.limit": 5, "inner.count": 7.0}
    inner = config_with(Outer(), values).inner
    assert (inner.ratio, inner.size, inner.limit, inner.count) == (1.0, (3.0, 4.0), 5, 7)
    assert isinstance(inner.ratio, float) and isinstance(inner.count, int)


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("inner.cuont", 1, "did you mean 'inner.count'"),
        ("count", 1, "did you mean 'inner.count'"),
        ("inner.count", 1.5, "type int"),
        ("inner.count", True, "type int"),
        ("inner.on", 1, "type bool"),
        ("inner.name", 3, "type str"),
        ("inner.size", [1, 2, 3], "takes 2 values, got 3"),
        ("inner.size", 1, "takes a list"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(key, value, words):
    with pytest.raises(InputError, match=words) as caught:
        config_with(Outer(), {key: value})
    assert "\n" not in str(caught.value)


def test_yaml_then_words(tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_text("reconstruction:\n  iterations: 10\n  seed: 4\n")
    config = load_config(path, ["reconstruction.iterations=20"])
    assert (config.reconstruction.iterations, config.reconstruction.seed) == (20, 4)
    assert config.completion == Config().completion


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n"])
def test_bad_yaml(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        load_config(path)


def test_missing_file_and_malformed_word(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="KEY=VALUE"):
        load_config(None, ["reconstruction.iterations"])


def test_every_field_of_the_configuration_survives_a_round_trip():
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in settings_of(Config()).items()}
    assert config_with(Config(), settings) == Config()


@pytest.mark.parametrize(
    "word",
    [
        "association.clustering=vote",
        "segmentation.segmenter=magic",
        "reconstruction.densification=none",
        "export.formats=[ply, dwg]",
    ],
)
def test_choices_are_checked_before_the_work(word):
    with pytest.raises(InputError, match="takes one of"):
        load_config(None, [word])


def test_convert_refuses_none_for_a_plain_type():
    with pytest.raises(InputError):
        convert(None, int, "x")
