"""The part network: one encoder, a decoder for what points are and one for where their parts' centres lie."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from instascene_core.errors import InputError
from instascene_core.parts.fusion import FusionParts, OffsetHead, pointwise
from instascene_core.sparse import Pyramid, SparseDecoder, SparseEncoder, voxelize
from instascene_core.weights import read_weights, require_shapes, write_weights

FORMAT = "instascene-parts-1"
WEIGHTS = Path(__file__).parent / "weights" / "parts.safetensors"
CHANNELS = 7  # of a voxel: 1, mean normal, mean place within it
ADVICE = "train some with `python -m instascene_core.training.parts`"


@dataclass(frozen=True)
class PartShape:
    """Everything a network's size follows from."""

    classes: tuple[int, ...]  # of each level, coarse to fine
    widths: tuple[int, ...] = (24, 48, 64, 96)  # channels of each level of the U-Net, finest first
    features: int = 48  # channels of a point that come out of each decoder
    hidden: int = 48  # channels within the heads
    depth: int = 1  # residual blocks a level
    voxel: float = 1 / 32  # edge of a voxel in the unit ball
    fusion: FusionParts = field(default_factory=FusionParts)


@dataclass(frozen=True)
class PartPrediction:
    """What the network says of N points; one entry a level, coarse to fine."""

    logits: tuple[torch.Tensor, ...]  # [N, K_l]
    to_instance: tuple[torch.Tensor, ...]  # [N, 3] to the instance's centre, unit ball
    to_region: tuple[torch.Tensor, ...]  # [N, 3] to the semantic region's centre; empty without it


class PartNetwork(nn.Module):
    """Sun et al. 2022 on a sparse U-Net instead of an octree's."""

    def __init__(self, shape: PartShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = SparseEncoder(CHANNELS, shape.widths, shape.depth)
        self.semantic_decoder = SparseDecoder(shape.widths, shape.features, shape.depth)
        self.offset_decoder = SparseDecoder(shape.widths, shape.features, shape.depth)
        inputs = shape.features + 3  # the place within the voxel
        self.semantic_heads = nn.ModuleList(
            nn.Sequential(
                pointwise(inputs, shape.hidden),
                pointwise(shape.hidden, shape.hidden),
                nn.Linear(shape.hidden, k),
            )
            for k in shape.classes
        )
        self.offset_heads = nn.ModuleList(
            OffsetHead(inputs, shape.hidden, len(shape.classes), shape.fusion) for _ in shape.classes
        )

    def forward(self, points: torch.Tensor, normals: torch.Tensor, counts: Sequence[int]) -> PartPrediction:
        """points: [N, 3] in the unit ball; normals: [N, 3] unit; counts: points of each thing, Σ = N."""
        things = torch.tensor(counts, device=points.device)
        batch = torch.repeat_interleave(torch.arange(len(counts), device=points.device), things)
        cells = voxelize(points, self.shape.voxel, batch)
        within = points / self.shape.voxel - torch.floor(points / self.shape.voxel) - 0.5
        inputs = cells.mean(torch.cat([torch.ones_like(points[:, :1]), normals, within], dim=1))
        pyramid = Pyramid(cells.voxels, len(self.shape.widths))
        levels = self.encoder(inputs, pyramid)

        def at_points(decoder: nn.Module) -> torch.Tensor:
            return torch.cat([decoder(levels, pyramid)[cells.voxel_of_point], within], dim=1)

        semantic = at_points(self.semantic_decoder)
        logits = tuple(head(semantic) for head in self.semantic_heads)
        probabilities = [torch.softmax(one, dim=1) for one in logits]
        features = at_points(self.offset_decoder)
        offsets = [
            head(features, probabilities, level, points, counts)
            for level, head in enumerate(self.offset_heads)
        ]
        region = tuple(o[:, 3:] for o in offsets) if self.shape.fusion.region else ()
        return PartPrediction(logits, tuple(o[:, :3] for o in offsets), region)


@dataclass(frozen=True)
class TrainedParts:
    """A network, and what its classes are called."""

    network: PartNetwork
    names: tuple[tuple[str, ...], ...]  # per level, coarse to fine


def save_network(trained: TrainedParts, path: Path, notes: Mapping[str, str]) -> None:
    """Weights, sizes and names; notes: what else the header is to say."""
    arrays = {k: v.detach().cpu().numpy() for k, v in trained.network.state_dict().items()}
    about = {"shape": json.dumps(asdict(trained.network.shape)), "names": json.dumps(trained.names)}
    write_weights(path, arrays, FORMAT, {**about, **notes})


def load_network(path: Path = WEIGHTS) -> TrainedParts:
    """A trained network, ready for use.  InputError where the file is missing or not one."""
    arrays, notes = read_weights(path, FORMAT, "part network", ADVICE)
    try:
        shape, names = _shape_of(json.loads(notes["shape"])), _names_of(json.loads(notes["names"]))
        if tuple(len(level) for level in names) != shape.classes:
            raise ValueError("names")
        with torch.device("meta"):
            network = PartNetwork(shape)
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise InputError(f"The weights in '{path}' do not fit the part network (their shape).") from error
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    arrays = {k: v.reshape(()) if v.size == 1 and shapes.get(k) == () else v for k, v in arrays.items()}
    require_shapes(arrays, shapes, path, "part network", ADVICE)
    values = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
    network.load_state_dict(values, assign=True)
    return TrainedParts(network.eval(), names)


def _shape_of(said: dict) -> PartShape:
    """PartShape of a header, which anyone may have written: within limits."""
    fusion = FusionParts(**{k: bool(v) for k, v in said["fusion"].items()})
    numbers = {k: int(said[k]) for k in ("features", "hidden", "depth")}
    classes, widths = (tuple(int(v) for v in said[k]) for k in ("classes", "widths"))
    voxel = float(said["voxel"])
    if not all(1 <= v <= 4096 for v in (*numbers.values(), *classes, *widths)) or not 0.001 < voxel < 1:
        raise ValueError("sizes")
    if not 1 <= len(classes) <= 8 or not 2 <= len(widths) <= 8 or numbers["depth"] > 8:
        raise ValueError("levels")
    return PartShape(classes, widths, voxel=voxel, fusion=fusion, **numbers)


def _names_of(said: list) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(str(name) for name in level) for level in said)
