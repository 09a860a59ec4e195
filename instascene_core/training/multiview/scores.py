"""How well views of held-out objects are painted."""

from pathlib import Path

import numpy as np

from instascene_core.completion.priors.multiview.inputs import GeneratedViews, Given, Known, spread_known
from instascene_core.completion.priors.multiview.network import MultiviewNetwork
from instascene_core.completion.priors.multiview.sampling import Sampler
from instascene_core.completion.priors.multiview.second import enlarged, refined
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.threads import one_thread
from instascene_core.training.multiview.data import VALIDATION, halved, read_shard
from instascene_core.training.multiview.examples import Example

SOLVERS = {"mean": MultiviewConfig(steps=1), "sample": MultiviewConfig(steps=8)}


def psnr(error: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of mean squared errors (values in [0, 1])."""
    return float(-10 * np.log10(max(float(np.mean(error)), 1e-12)))


def errors(example: Example, rgb: np.ndarray, known: Known) -> np.ndarray:
    """[M] squared error (mean of the channels) of images [N, H, W, 3] where object and guess are, unseen."""
    unseen = (example.coverage > 127) & (example.given_depth > 0) & ~known.valid
    return ((rgb - example.rgb / np.float32(255)) ** 2).mean(axis=-1)[unseen]


def score_network(
    network: MultiviewNetwork, data: Path, half: bool = False, objects: int = 16
) -> dict[str, float]:
    """PSNR in dB of unseen pixels of held-out objects, mean over objects: of the nearest known colours, of
    the model in one step (its mean) and in eight (a sample); and the error of depth, units of the frame,
    beside that of the given geometry.  half: in images of half the side."""
    examples = _held_out(data)
    found: dict[str, list[float]] = {}
    device = next(network.parameters()).device
    network = network.cpu()
    for k, example in enumerate(examples[:: max(1, len(examples) // objects)][:objects]):
        example = halved(example) if half else example
        given, known = example.given(), example.known(255)
        if not (errors(example, known.rgb, known).size > 50 and known.valid.any()):
            continue
        results: dict[str, float] = {"nearest": psnr(errors(example, spread_known(given, known)[0], known))}
        for name, config in SOLVERS.items():
            with one_thread():
                views = Sampler(network, config).sample(given, [known], seed=k)
            results[name] = psnr(errors(example, views.rgb, known))
            results[f"{name}_depth"] = _depth_error(example, given, views)
        results["given_depth"] = _depth_error(example, given, None)
        for name, value in results.items():
            found.setdefault(name, []).append(value)
    network.to(device)
    return {name: float(np.mean(values)) for name, values in found.items()}


def score_second(
    network: MultiviewNetwork, first: MultiviewNetwork, data: Path, objects: int = 16
) -> dict[str, float]:
    """PSNR in dB of unseen pixels of held-out objects, mean over objects: of the first stage's views enlarged
    and of what the second one makes of them."""
    examples, device = _held_out(data), next(network.parameters()).device
    config, found = MultiviewConfig(steps=1), {"enlarged": [], "second": []}
    network = network.cpu()
    for example in examples[:: max(1, len(examples) // objects)][:objects]:
        small, given, known = halved(example), example.given(), example.known(255)
        if not (errors(example, known.rgb, known).size > 50 and small.known(255).valid.any()):
            continue
        coverage = small.given().coverage
        with one_thread():
            views = Sampler(first, config).sample(small.given(), [small.known(255)], seed=0)
            better = refined(network, given, [known], views, coverage, config)
        large = enlarged(views.rgb, coverage, example.depth.shape[1])
        found["enlarged"].append(psnr(errors(example, large, known)))
        found["second"].append(psnr(errors(example, better.rgb, known)))
    network.to(device)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _held_out(data: Path) -> list[Example]:
    paths = sorted(Path(data).glob(f"views_{VALIDATION // 1000}*.npz"))
    return [example for path in paths for example in read_shard(path)]


def _depth_error(example: Example, given: Given, views: GeneratedViews | None) -> float:
    """Mean error of depth, units of the frame, where the true object and the guess are."""
    depth = given.depth if views is None else views.depth
    both = (example.depth > 0) & (given.depth > 0) & (depth > 0)
    return float(np.abs(depth - example.depth)[both].mean()) if both.any() else 0.0
