"""Weights of the network on points: safetensors whose header holds what the network is made of."""

import dataclasses
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from torch import nn

from instascene_core.config.points import DecoderConfig, PointsNetworkConfig
from instascene_core.config.ranges import first_fault
from instascene_core.errors import InputError
from instascene_core.segmentation.points_network.network import DECODERS, PointsNetwork
from instascene_core.weights import filled_network, read_weights, write_weights

WEIGHTS = Path(__file__).parents[1] / "weights" / "points.safetensors"
FORMAT = "instascene points network 1"
OF = "network on points"
ADVICE = "leave segmentation.points.network_weights empty for those that come with the package"
MOST = 2**12  # of anything a header may ask for


def save_points_network(network: PointsNetwork, path: Path, notes: dict[str, str]) -> None:
    """Half-precision safetensors, atomically, with `notes` in the header."""
    arrays = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    config = json.dumps(dataclasses.asdict(network.config))
    widths = json.dumps(network.config.widths)
    write_weights(path, arrays, FORMAT, {"config": config, "widths": widths, **notes})


@lru_cache(maxsize=2)
def load_points_network(path: Path = WEIGHTS) -> PointsNetwork:
    """The network in a weights file.  Raises InputError when the file is missing or not one of ours."""
    arrays, notes = read_weights(path, FORMAT, OF, ADVICE)
    config = _config_of(notes.get("config", ""), path)

    def make(widths: tuple[int, ...]) -> nn.Module:
        return PointsNetwork(dataclasses.replace(config, widths=widths))

    return cast(PointsNetwork, filled_network(make, arrays, notes, path, OF, ADVICE).eval())


def _config_of(text: str, path: Path) -> PointsNetworkConfig:
    """From a header, every value checked: a file may come from anyone."""
    try:
        values = json.loads(text)
        values["decoder"] = _checked(DecoderConfig, values["decoder"])
        values["widths"] = tuple(values["widths"])
        config = _checked(PointsNetworkConfig, values)
        names = [field.name for field in dataclasses.fields(config) if field.name != "decoder"]
        names += [f"decoder.{field.name}" for field in dataclasses.fields(config.decoder)]
        if fault := first_fault(config, names):
            raise ValueError(fault)
        if config.architecture not in DECODERS or config.decoder.start not in ("learned", "sampled"):
            raise ValueError(f"{config.architecture}, {config.decoder.start}")
        if config.decoder.width % config.decoder.heads:
            raise ValueError(f"{config.decoder.width} channels for {config.decoder.heads} heads")
        return config
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"The weights in '{path}' do not fit the {OF} ({error}); {ADVICE}.") from error


def _checked(kind: type, values: dict[str, Any]) -> Any:
    """A configuration of plain values of the right types; numbers not beyond MOST."""
    made = kind(**values)
    for field in dataclasses.fields(made):
        value, usual = getattr(made, field.name), field.default
        if isinstance(usual, (int, float, str)) and type(value) is not type(usual):
            raise TypeError(f"'{field.name}' is {type(value).__name__}")
        if isinstance(value, (int, float)) and abs(value) > MOST:
            raise ValueError(f"'{field.name}' is {value}")
    return made
