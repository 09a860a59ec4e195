"""Generation of all views of a ring under every observed view (InstaScene, section on in-situ generation)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from instascene_core.completion.priors.multiview.inputs import (
    GENERATED,
    GeneratedViews,
    Given,
    Known,
    condition,
    decode,
    encode,
    merged,
    nothing_known,
)
from instascene_core.completion.priors.multiview.network import CELL, MultiviewNetwork
from instascene_core.completion.priors.multiview.noise import make_solver, shares
from instascene_core.completion.priors.multiview.views import neighbour_lookup
from instascene_core.config.multiview import MultiviewConfig
from instascene_core.errors import InputError


@dataclass(frozen=True)
class _Told:
    """One condition as the network takes it."""

    conditions: torch.Tensor  # [N, CONDITIONS, H, W]
    start: torch.Tensor  # [N, GENERATED, H, W]


def told(given: Given, known: Known) -> _Told:
    conditions, start = condition(given, known)
    return _Told(torch.from_numpy(conditions), torch.from_numpy(start))


def lookups(given: Given) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """The network's `lookup` and `coarse`."""
    pairs = []
    for cell in (CELL, 2 * CELL):
        found = neighbour_lookup(given.depth, given.views, cell)
        pairs.append((torch.from_numpy(found.cells), torch.from_numpy(found.valid)))
    return pairs[0], pairs[1]


def conditions_of(known: Sequence[Known], config: MultiviewConfig) -> list[Known]:
    """What each pass of the network is told, of observed views, the best first."""
    best = list(known[: config.max_conditions])
    if not best:
        raise InputError("No observed view shows the object, so no view of it can be generated.")
    if config.conditions == "single":
        return best[:1]
    return [merged(best)] if config.conditions == "joint" else best


class Sampler:
    """Draws views from a network."""

    def __init__(self, network: MultiviewNetwork, config: MultiviewConfig) -> None:
        self.network, self.config = network, config

    def sample(
        self,
        given: Given,
        known: Sequence[Known],
        seed: int,
        on_step: Callable[[int, int], None] = lambda done, total: None,
    ) -> GeneratedViews:
        """Views of the geometry `given`, of whose pixels each observed view knows some, the best view first.

        on_step: called with the passes done and their number before each pass; may raise to stop.
        Same arguments, same bits, on one thread.  Raises InputError when no view is given.
        """
        config = self.config
        entries = [told(given, k) for k in conditions_of(known, config)]
        null = told(given, nothing_known(given)) if config.guidance > 1 else None
        everything = merged(known)
        truth = torch.from_numpy(encode(everything.rgb, given.depth, np.ones_like(given.coverage)))
        valid = torch.from_numpy(everything.valid & (given.depth > 0))[:, None]
        tables = lookups(given)
        solver = make_solver(config.solver)
        solver.set_timesteps(config.steps)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((len(given.depth), GENERATED, *given.depth.shape[1:]), generator=generator)
        if config.steps == 1:  # one pass gives a mean: what noise it is given can only disturb it
            noise = torch.zeros_like(noise)
        x = noise
        warped = round(config.warp_steps * config.steps)
        at_once = 1 if config.conditions == "alternated" else len(entries)
        passes = config.steps * (at_once + (null is not None))
        done = 0
        for index, step in enumerate(int(t) for t in solver.timesteps):
            alpha, sigma = shares(solver, step)
            if index < warped:
                x = torch.where(valid, alpha * truth + sigma * noise, x)
            chosen = [entries[index % len(entries)]] if config.conditions == "alternated" else entries
            answers = []
            for entry in chosen if null is None else [*chosen, null]:
                on_step(done, passes)
                answers.append(self._v(x, entry, (alpha, sigma), step, tables))
                done += 1
            v = torch.stack(answers[: len(chosen)]).mean(dim=0)
            if null is not None:
                v = answers[-1] + config.guidance * (v - answers[-1])
            x = solver.step(v, step, x, return_dict=False)[0]
        if warped:
            x = torch.where(valid, truth, x)
        return GeneratedViews(*decode(x.numpy()))

    def _v(
        self, x: torch.Tensor, entry: _Told, level: tuple[float, float], step: int, tables
    ) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return self.network(x, entry.start, entry.conditions, level, torch.tensor([step]), *tables)
