"""The same bits for one thread and for several, step by step and through the whole job."""

import hashlib
import os
import subprocess
import sys
import threading
from contextlib import closing

import numpy as np
import pytest
import torch

from instascene_core.camera import PinholeCamera
from instascene_core.completion.priors import network as completion
from instascene_core.config import FeaturesConfig
from instascene_core.config_file import load_config
from instascene_core.features.field import train_features
from instascene_core.frame import Frame
from instascene_core.reconstruction.background import weighted_sum
from instascene_core.rendering.trace import PixelTrace
from instascene_core.scene import Scene
from instascene_core.segmentation.network import FrameNetwork, load_network
from instascene_core.threads import one_thread, side_by_side
from instascene_core.transforms import look_at


@pytest.fixture
def threads():
    """Sets torch's number of threads; the test's own is restored."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def digest(*arrays) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def equal_for_any(compute, threads, counts=(1, 2, 3)) -> None:
    found = []
    for count in counts:
        threads(count)
        found.append(digest(*compute()))
        assert torch.get_num_threads() == count
    assert len(set(found)) == 1


def test_one_thread_is_one_and_is_given_back(threads):
    threads(3)
    with pytest.raises(ValueError), one_thread():
        assert torch.get_num_threads() == 1
        raise ValueError
    assert torch.get_num_threads() == 3


def test_items_are_worked_on_side_by_side_and_come_in_order(threads):
    threads(2)
    both, begun = threading.Barrier(2, timeout=20), []

    def work(item):
        begun.append(item)
        if item < 2:
            both.wait()  # each waits for the other
        return item, torch.get_num_threads()

    with closing(side_by_side(work, range(9))) as made:
        assert next(made) == (0, 1)
        assert len(begun) < 9, "hardly more are made than are taken"
        assert list(made) == [(item, 1) for item in range(1, 9)]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("at_once", [None, 1])
def test_what_fails_is_raised_and_the_rest_is_not_begun(threads, at_once):
    threads(2)
    begun = []

    def work(item):
        begun.append(item)
        if item == 1:
            raise ValueError("one")
        return item

    with pytest.raises(ValueError, match="one"), closing(side_by_side(work, range(50), at_once)) as made:
        list(made)
    assert len(begun) < 10
    assert torch.get_num_threads() == 2


def test_one_thread_works_in_the_callers(threads):
    threads(1)
    here = threading.current_thread()
    assert list(side_by_side(lambda item: threading.current_thread() is here, range(3))) == [True] * 3


def test_products_of_numpy_have_no_threads_of_their_own():
    """OpenBLAS makes its threads when it is loaded; they would spin beside those that work."""
    code = "import instascene_core, numpy, scipy.linalg, os; print(len(os.listdir('/proc/self/task')))"
    settings = {**os.environ, "OMP_NUM_THREADS": "2"}  # what OpenBLAS follows otherwise
    settings.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True)
    assert done.stdout.strip() == "1", done.stderr


def test_the_gradient_of_the_background(threads):
    generator = torch.Generator().manual_seed(0)
    weights, image = (
        torch.rand(300, 1000, generator=generator),
        torch.randn(300, 1000, 3, generator=generator),
    )
    equal_for_any(lambda: [weighted_sum(weights, image).numpy()], threads)
    expected = (weights[..., None].double() * image.double()).sum((0, 1))
    torch.testing.assert_close(weighted_sum(weights, image).double(), expected, rtol=1e-5, atol=1e-2)


def test_the_segmenters_network(threads):
    generator = np.random.default_rng(0)
    camera = PinholeCamera(100, 76, 100.0, 100.0, 50.0, 38.0)
    frames = [
        Frame(
            str(i), float(i), camera, look_at(np.array([1.0, 0.1 * i, 0.5]), np.zeros(3)),
            generator.integers(0, 255, (76, 100, 3), np.uint8),
            generator.uniform(0.5, 0.6, (76, 100)).astype(np.float32),
        )
        for i in range(3)
    ]  # fmt: skip
    network = FrameNetwork(load_network())

    def compute():
        found = list(network.predict_all(frames, None, None))
        alone = network.predict(frames[1], None, None)
        np.testing.assert_array_equal(alone.affinities, found[1].affinities)  # and in their order
        return [part for p in found for part in (p.foreground, p.affinities)]

    equal_for_any(compute, threads)


def test_the_completions_network_needs_one_thread(threads):
    network, _ = completion.load_network()
    inputs = torch.randn(1, completion.CHANNELS, 24, 16, 32, generator=torch.Generator().manual_seed(0))

    def compute():
        with torch.inference_mode(), one_thread():
            return [part.numpy() for part in network(inputs)]

    equal_for_any(compute, threads)


def test_the_features(threads):
    generator = np.random.default_rng(0)
    pixels, gaussians = 600, 300
    indices = generator.integers(0, gaussians, 3 * pixels).astype(np.int32)
    weights = generator.uniform(0.1, 0.4, 3 * pixels).astype(np.float32)
    trace = PixelTrace(20, 30, np.arange(0, 3 * pixels + 1, 3), indices, weights, np.ones_like(weights))
    clusters = [np.arange(0, 100), np.arange(100, 200), np.arange(200, 300)]
    labels = (indices[::3] // 100).reshape(20, 30)
    config = FeaturesConfig(iterations=30)
    equal_for_any(lambda: [train_features([trace], [labels], clusters, gaussians, config)], threads)


@pytest.mark.slow
def test_the_whole_job(threads):
    """Images to meshes: a synthetic scene reconstructed, segmented and completed."""
    from instascene_core.synthetic import SyntheticConfig, generate_scene

    config = SyntheticConfig(seed=3, num_objects=3, num_views=12, width=160, height=120)
    frames = [view.with_(labels=None) for view in generate_scene(config).frames()]

    def compute():
        scene = Scene(load_config(None, ["reconstruction.iterations=150"]))
        for frame in frames:
            scene.add_frame(frame)
        scene.run("complete")
        assert scene.objects
        model = scene.require_gaussians()
        parts = [
            getattr(model, n).detach().numpy()
            for n in ("means", "quaternions", "log_scales", "sh", "features")
        ]
        parts += [image for _, image in sorted(scene.instances.label_images.items())]
        for _, thing in sorted(scene.objects.items()):
            parts += [thing.mesh.vertices, thing.mesh.triangles, thing.colors, thing.vertex_uncertainty]
            parts += [part.vertices for part in thing.convex_parts]
        return parts

    equal_for_any(compute, threads, (1, 2))
