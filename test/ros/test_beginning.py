"""How nodes begin: Ctrl-C while they are loaded, and settings that name what is not there."""

import contextlib
import signal
import subprocess
import sys

import pytest
import rclpy
from nodes import ROOT
from rclpy.parameter import Parameter

from instascene_core.errors import InputError
from instascene_ros.scene_node import SceneNode


@pytest.fixture
def ros(ros_domain):
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.mark.parametrize("name", ["scene_node", "perception", "mask_node", "dataset_player", "bag_starter"])
def test_an_interrupt_while_a_node_is_loaded_prints_no_traceback(tmp_path, name):
    """Most of its first seconds are imports; here they take for ever."""
    package = tmp_path / "instascene_ros"
    package.mkdir()
    (package / "__init__.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    begin = f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r})"
    run = f"runpy.run_path({str(ROOT / 'tools/nodes' / name)!r}, run_name='__main__')"
    words = [sys.executable, "-c", f"{begin}; {run}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "" and process.wait(10) == 130


@contextlib.contextmanager
def made(tmp_path, **parameters):
    """A node that nothing spins."""
    given = {"data_dir": str(tmp_path), **parameters}
    node = SceneNode(parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    try:
        yield node
    finally:
        assert node.close()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("region", "0 0 1", "six numbers"),
        ("export.physics.file", "/nowhere.yaml", "nowhere.yaml cannot be read"),
        ("export.mesh_uri", "http://x", "Meshes are named by"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_the_work(ros, tmp_path, name, value, words):
    """At the start, and when they are changed."""
    with pytest.raises(InputError, match=words), made(tmp_path, **{name: value}):
        pass
    with made(tmp_path) as node:
        (result,) = node.set_parameters([Parameter(name, value=value)])
        assert not result.successful and words in result.reason
        assert node.get_parameter(name).value != value


def test_a_segmenter_without_its_means_is_told_at_the_start(ros, tmp_path, capfd):
    """Not refused: label images may come on a topic."""
    with made(tmp_path, **{"segmentation.segmenter": "sam2"}):
        said = capfd.readouterr().err
    assert "segmentation.public.checkpoint" in said and "requests that need it fail" in said
