"""ROS parameters against the dataclasses, and the shipped files against both."""

import typing
from pathlib import Path

import pytest
import yaml

from instascene_core.config import Config
from instascene_core.config_file import settings_of
from instascene_core.errors import InputError
from instascene_ros.parameters import InputParameters, NodeParameters, all_values, read_parameters
from instascene_ros.pose_sources import POSE_SOURCES

CONFIG = Path(__file__).resolve().parents[2] / "config"


def test_nothing_given_means_defaults():
    assert read_parameters({}) == (NodeParameters(), Config())


def test_own_and_pipeline_parameters_by_name():
    parameters, config = read_parameters(
        {"map_frame": "odom", "pose_source": "tf", "sync_wait_s": 3, "reconstruction.iterations": 7}
    )
    assert parameters.map_frame == "odom" and parameters.input.pose_source == "tf"
    assert parameters.input.sync_wait_s == 3.0 and config.reconstruction.iterations == 7


def test_every_parameter_can_be_given_back():
    values = all_values(NodeParameters(), Config())
    assert read_parameters(values) == (NodeParameters(), Config())


def test_names_do_not_collide():
    own = {name.removeprefix("input.") for name in settings_of(NodeParameters())}
    assert not own & set(settings_of(Config()))


@pytest.mark.parametrize(
    "given, words",
    [
        ({"map_fraem": "map"}, "no parameter 'map_fraem'"),
        ({"reconstruction.iteration": 5}, "did you mean 'reconstruction.iterations'"),
        ({"reconstruction.iterations": "many"}, "type int"),
        ({"pose_source": "gps"}, "takes one of"),
        ({"image_qos": "fast"}, "takes one of"),
        ({"sync_tolerance_s": -1.0}, "The parameter 'sync_tolerance_s' must be at least 0"),
        ({"status_period_s": 0.0}, "must be at least 0.001"),
        ({"status_period_s": 1e300}, "must be at most 3600"),
        ({"service_timeout_s": 0.0}, "must be positive"),
        ({"service_timeout_s": 1e300}, "must be at most 1e\\+06"),
        ({"cameras": "left a-b"}, "'a-b', which no topic is called"),
        ({"cameras": "9left"}, "'9left', which no topic is called"),
        ({"camera_in_base": [0.0, 1.0]}, "takes 7 values"),
        ({"map_frame": ""}, "must not be empty"),
    ],
)
def test_bad_parameters_are_refused_in_one_sentence(given, words):
    with pytest.raises(InputError, match=words) as caught:
        read_parameters(given)
    assert "\n" not in str(caught.value)


def test_foreign_parameters_pass():
    read_parameters({"use_sim_time": True, "qos_overrides./x.publisher.depth": 3})


def parameters_in(path: Path) -> dict:
    from instascene_core.config_file import flatten

    content = yaml.safe_load(path.read_text())
    assert list(content) == ["/**"] and list(content["/**"]) == ["ros__parameters"]
    return flatten(content["/**"]["ros__parameters"] or {})


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_files_hold_only_known_parameters(path):
    read_parameters(parameters_in(path))


def test_base_file_shows_the_defaults():
    shown = parameters_in(CONFIG / "base.yaml")
    defaults = all_values(NodeParameters(), Config())
    assert {k: v for k, v in shown.items() if defaults[k] != v} == {}
    own = {name.removeprefix("input.") for name in settings_of(NodeParameters())}
    assert own <= set(shown), "every parameter of the node itself is in base.yaml"


@pytest.mark.parametrize(
    "path", sorted(set(CONFIG.glob("*.yaml")) - {CONFIG / "base.yaml"}), ids=lambda p: p.name
)
def test_overlays_hold_only_differences(path):
    defaults = all_values(NodeParameters(), Config())
    same = [k for k, v in parameters_in(path).items() if defaults[k] == v]
    assert same == []


def test_the_parameters_know_every_pose_source():
    literal = typing.get_type_hints(InputParameters)["pose_source"]
    assert set(typing.get_args(literal)) == set(POSE_SOURCES)
