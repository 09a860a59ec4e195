"""`instascene eval`: a finished run against ground truth."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from instascene_core.terminal import summarise
from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class Eval:
    """Compare a finished run with ground truth: completed meshes, or the segmentation by one of the field's
    protocols."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder written by `run` or `save_scene`."""
    ground_truth: Path
    """objects: folder with `meshes/<id>.ply` in the same world frame (as `synth` writes it); masks: folder
    of label images named like the frames; points: folder with one .ply and one .txt of instances (ScanNet);
    lerf-mask: a scene's folder with `test_mask/<view>/<object>.png`; 3d-ovs: one with
    `segmentations/<view>/<class>.png`."""
    protocol: str = "objects"
    """`objects`, `masks` (multi-view mIoU with one global matching, AP), `points` (class-agnostic AP, AP50,
    AP25), `lerf-mask` or `3d-ovs`."""
    min_region: int = 100
    """points: instances of fewer points do not count."""
    ignored_classes: tuple[int, ...] = ()
    """points: classes (id // 1000) that do not count; ScanNet leaves out 1 and 2, wall and floor."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.metrics.protocols import evaluate_segmentation
        from instascene_core.scene import nothing_delivered

        if self.protocol == "objects":
            facts = summarise(self.output, self.ground_truth)
        else:
            scores = evaluate_segmentation(
                self.output, self.ground_truth, self.protocol, self.min_region, self.ignored_classes
            )
            facts = summarise(self.output, extra={f"segmentation ({self.protocol})": scores})
        return Answer(facts, nothing_delivered(self.output, completed=self.protocol == "objects"))
