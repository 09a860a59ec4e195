"""Settings: what is accepted, what is refused and in which words."""

import dataclasses
import datetime
import subprocess
import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from instascene_core.association.majority import merge_threshold
from instascene_core.completion import PRIORS
from instascene_core.config import CompletionConfig, Config
from instascene_core.config.ranges import Range, first_fault
from instascene_core.config_file import config_with, load_config, present_name, settings_of
from instascene_core.errors import InputError


@dataclass(frozen=True)
class Inner:
    count: int = 3
    ratio: float = 0.5
    name: str = "a"
    on: bool = False
    size: tuple[float, float] = (1.0, 2.0)
    limit: int | None = None
    weights: tuple[float, ...] = ()
    pairs: tuple[tuple[int, str], ...] = ()
    method: Literal["fast", "fine"] = "fast"
    folder: Path = Path("out")


@dataclass(frozen=True)
class Middle:
    inner: Inner = dataclasses.field(default_factory=Inner)


@dataclass(frozen=True)
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    middle: Middle = dataclasses.field(default_factory=Middle)
    seed: int = 0


def test_settings_are_named_by_their_path():
    assert settings_of(Outer())["inner.count"] == 3
    assert settings_of(Outer())["seed"] == 0
    assert settings_of(Outer())["middle.inner.count"] == 3


def test_values_are_converted_to_the_field_type():
    values = {"inner.ratio": 1, "inner.size": [3, 4], "inner.limit": 5, "inner.count": 7.0}
    inner = config_with(Outer(), values).inner
    assert (inner.ratio, inner.size, inner.limit, inner.count) == (1.0, (3.0, 4.0), 5, 7)
    assert isinstance(inner.ratio, float) and isinstance(inner.count, int)
    values = {"weights": [1, 2.5], "pairs": [[1, "a"]], "folder": "there", "limit": None, "on": True}
    inner = config_with(Outer(), {f"middle.inner.{k}": v for k, v in values.items()}).middle.inner
    assert (inner.weights, inner.pairs, inner.folder) == ((1.0, 2.5), ((1, "a"),), Path("there"))
    assert inner.limit is None and inner.on is True


def test_what_is_not_mentioned_stays_as_it_is():
    start = Outer(Inner(count=8, size=(0.1, 1e30), ratio=float("inf"), folder=Path("x")), seed=5)
    changed = config_with(start, {"inner.name": "b"})
    assert changed == dataclasses.replace(start, inner=dataclasses.replace(start.inner, name="b"))
    assert start.inner.name == "a"


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
        ("inner.size", [1], "takes 2 values, got 1"),
        ("inner.size", 1, "takes a list, got 1"),
        ("inner.size", [1, "a"], "'inner.size' takes a value of type float, got 'a'"),
        ("inner.ratio", "1.5", "type float, got '1.5'"),
        ("inner.ratio", False, "type float, got False"),
        ("inner.on", "yes", "type bool"),
        ("inner.limit", "many", "'inner.limit' takes a value of type int, got 'many'"),
        ("inner.count", None, "type int, got None"),
        ("inner.count", float("nan"), "type int, got nan"),
        ("inner.method", "magic", "'inner.method' takes one of 'fast' or 'fine', got 'magic'"),
        ("inner.folder", 3, "'inner.folder' takes"),
        ("inner.name", datetime.date(2030, 1, 2), "'inner.name' takes a value of type str, got .*2030-01-02"),
        ("middle.inner.pairs", [[1]], "'middle.inner.pairs' takes 2 values, got 1"),
        ("middle.inner.weights", [True], "'middle.inner.weights' takes a value of type float, got True"),
        ("middle.inner.cuont", 1, "did you mean 'middle.inner.count'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(key, value, words):
    with pytest.raises(InputError, match=words) as caught:
        config_with(Outer(), {key: value})
    sentence = str(caught.value)
    assert "\n" not in sentence and "http" not in sentence and "pydantic" not in sentence


def test_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("reconstruction: {iterations: 1e3, means_lr: 1e-3}\nup: [0, 1E0, -.5e-1]\n")
    config = load_config(path, ["reconstruction.sh_lr=2.5e-03"])
    assert config.reconstruction.iterations == 1000 and config.up == (0.0, 1.0, -0.05)
    assert (config.reconstruction.means_lr, config.reconstruction.sh_lr) == (1e-3, 2.5e-3)


def test_what_is_no_file_is_said_to_be_what_it_is(tmp_path):
    for path, words in (
        (tmp_path, "a folder"),
        (Path("/dev/null"), "device"),
        (tmp_path / "a", "no such file"),
    ):
        with pytest.raises(InputError, match=words):
            load_config(path)


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


def test_importing_the_defaults_does_not_load_the_checker():
    code = "import sys, instascene_core.config; sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("segmentation.checkpoint", "segmentation.public.checkpoint"),
        ("segmentation.device", "segmentation.public.device"),
        ("segmentation.weights", "segmentation.network.weights"),
        ("segmentation.min_mask_pixels", "segmentation.masks.min_mask_pixels"),
        ("segmentation.patch_spacings", "segmentation.fused_surface.patches.patch_spacings"),
        ("segmentation.sam2_points_per_side", "segmentation.public.sam2.points_per_side"),
        ("segmentation.cropformer_root", "segmentation.public.cropformer.root"),
        ("reconstructions.iterations", "reconstruction.iterations"),
    ],
)
def test_a_name_of_another_section_or_of_before_is_told_its_path(old, new):
    with pytest.raises(InputError, match=f"There is no setting '{old}'; did you mean '{new}'"):
        load_config(None, [f"{old}=1"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("completion.max_convex_parts", "completion.convex_parts.max_parts"),
        ("completion.max_voxels", "completion.observing.max_voxels"),
        ("segmentation.checkpoint", "segmentation.public.checkpoint"),
        ("segmentation.sam2_points_per_side", "segmentation.public.sam2.points_per_side"),
        ("reconstruction.iterations", "reconstruction.iterations"),
        ("completion.telepathy", None),
        ("completion.convex_parts.threshold", None),
    ],
)
def test_moved_settings_are_found(old, new):
    assert present_name(old, settings_of(Config())) == new
    if new not in (None, old):
        with pytest.raises(InputError, match=f"no setting '{old}'; did you mean '{new}'"):
            config_with(Config(), {old: 1})


def test_groups_are_told_and_empty_ones_say_nothing(tmp_path):
    with pytest.raises(InputError, match="is a group of settings; name one"):
        config_with(Config(), {"completion.observing": 3})
    (tmp_path / "empty.yaml").write_text("completion:\n#  num_samples: 3\n")
    assert load_config(tmp_path / "empty.yaml") == Config()


def test_a_parameter_file_of_a_node_is_read_too(tmp_path):
    path = tmp_path / "node.yaml"
    path.write_text(
        "/**:\n  ros__parameters:\n    segmentation.segmenter: sam2\n    completion:\n      seed: 4\n"
    )
    config = load_config(path)
    assert config.segmentation.segmenter == "sam2" and config.completion.seed == 4


def test_of_a_parameter_file_of_nodes_the_settings_are_taken_and_the_rest_is_named(tmp_path, caplog):
    path = tmp_path / "nodes.yaml"
    path.write_text(
        "/**:\n  ros__parameters: {map_frame: odom, max_frames: 7}\n"
        "robot:\n  scene_node:\n    ros__parameters: {completion: {seed: 4}}\n"
        "mask_node:\n  ros__parameters: {max_frames: 9}\n"
    )
    config = load_config(path)
    assert config.max_frames == 7 and config.completion.seed == 4
    assert "parameters that only nodes have: all of /mask_node, map_frame;" in caplog.text
    path.write_text("my_node:\n  ros__parameters: {max_frames: 8}\n")  # the only one: whatever its name
    assert load_config(path).max_frames == 8
    path.write_text("/**:\n  ros__parameters: {completion.sed: 8}\n")
    with pytest.raises(InputError, match=r"no setting 'completion\.sed'; did you mean 'completion\.seed'"):
        load_config(path)
    path.write_text("/**:\n  ros__parameters: {max_frames: 8}\nmax_frames: 9\n")
    with pytest.raises(InputError, match="'max_frames' stands beside `ros__parameters`"):
        load_config(path)


@pytest.mark.parametrize("file", sorted(Path(__file__).resolve().parents[2].glob("config/*.yaml")))
def test_the_nodes_own_files_are_read(file):
    load_config(file)


def test_lists_may_be_words():
    assert load_config(None, ["up=0 0 1"]).up == (0, 0, 1) == load_config(None, ["up=0,0,1"]).up
    assert load_config(None, ["export.formats=glb, URDF"]).export.formats == ("glb", "urdf")
    assert load_config(None, ["export.formats=stl"]).export.formats == ("stl",)
    with pytest.raises(InputError, match=r"takes auto, a direction .*, not 'sideways'"):
        load_config(None, ["up=sideways"])


def test_a_path_of_a_setting_may_be_in_the_users_home(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert load_config(None, ["export.physics.file=~/a.yaml"]).export.physics.file == "/somewhere/a.yaml"


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    """The last one would win, whatever the first one says."""
    path = tmp_path / "twice.yaml"
    path.write_text("reconstruction: {iterations: 5}\nmax_frames: 9\nreconstruction: {seed: 3}\n")
    with pytest.raises(InputError, match=r"twice.yaml says 'reconstruction' twice \(line 3\)"):
        load_config(path)
    path.write_text("completion: {seed: 5}\ncompletion.seed: 6\n")
    with pytest.raises(InputError, match=r"'completion\.seed' is given twice"):
        load_config(path)
    path.write_text("base: &base {seed: 3}\nreconstruction: {<<: *base, seed: 4}\n")  # as merging is meant
    with pytest.raises(InputError, match=r"no setting 'base\.seed'"):
        load_config(path)


def test_a_wrong_value_is_shown_as_it_was_given():
    with pytest.raises(InputError, match="takes a value of type int, got 5"):
        config_with(Config(), {"reconstruction.iterations": np.int64(5)})
    with pytest.raises(InputError, match=r"takes one of 'learned', .* or 'queue', got 'oracle'"):
        config_with(Config(), {"completion.prior": "oracle"})


def test_the_settings_know_every_prior():
    assert set(typing.get_args(typing.get_type_hints(CompletionConfig)["prior"])) == set(PRIORS)


def test_the_papers_choices_are_the_papers():
    config = load_config(Path(__file__).resolve().parents[2] / "config" / "paper.yaml")
    association, features = config.association, config.features
    assert (association.clustering, association.consensus) == ("consensus", 0.9)
    assert (association.containment, association.split_ratio, association.max_unseen) == (0.8, 0.3, 0.7)
    assert (association.first_percentile, association.percentile_step) == (95, 5)
    assert (association.min_gaussians, association.min_views) == (50, 2)
    assert (association.min_visible_ratio, association.merge_overlap, association.recovery) == (0.5, 0.8, 0.8)
    # No pair of fragments agrees this much, so that nothing but consensus merges.
    assert merge_threshold(association) >= 1 / association.min_cohesion
    assert not features.keep_votes and features.filtered_masks
    assert (features.view_weight, features.cross_view_weight, features.cluster_weight) == (1.0, 1.0, 2.5)
    assert (features.dimension, features.similarity, features.neighbours) == (16, 0.9, 0)
    assert (features.cross_view_every, features.cross_view_span) == (5, 2)


def test_every_default_lies_in_its_range_and_every_range_is_checked():
    settings = settings_of(Config())
    assert first_fault(Config(), settings) == ""
    numbers = {k: v for k, v in settings.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    assert len(numbers) > 300
    for name, value in numbers.items():
        for bad in (float("nan"), float("inf"), 10**400, -1e9 if isinstance(value, float) else 2**40):
            bad = bad if isinstance(value, float) or isinstance(bad, int) else 2**40
            if bad == -1e9 and name in SIGNED:
                continue
            with pytest.raises(InputError, match=name.replace(".", r"\.")) as caught:
                config_with(Config(), {name: bad})
            assert "\n" not in str(caught.value)


SIGNED = (
    "segmentation.network.join_log_odds",
    "segmentation.fused_surface.evidence.contact_log_odds",
)


@pytest.mark.parametrize(
    ("value", "allowed", "fault"),
    [
        (0, Range(1), "be at least 1"),
        (1, Range(1), ""),
        (0.0, Range(open=True), "be more than 0"),
        (1e-300, Range(open=True), ""),
        (1.5, Range(0, 1), "be at most 1"),
        (-0.1, Range(), "be at least 0"),
        (2**31, Range(), "be at most 2.14748e+09"),
        (float("nan"), Range(float("-inf")), "be a finite number"),
        (-7.0, Range(float("-inf")), ""),
    ],
)
def test_ranges(value, allowed, fault):
    assert allowed.fault(value) == fault
