"""The scene in a few sentences."""

from collections.abc import Sequence

from instascene_core.viewer.report.facts import DOUBTFUL, LIKELY, Facts
from instascene_core.viewer.report.figures import (
    counted,
    duration,
    group,
    listed,
    memory,
    number,
    percent,
)


def headline(scene: Facts) -> str:
    """What came out, in one line."""
    if scene.objects:
        return f"{counted(len(scene.objects), 'complete object')} from {_images(scene)}"
    if not scene.is_segmented:
        return f"A reconstruction from {_images(scene)}"
    found = sum(e.get("kind") == "object" for e in scene.instances)
    return f"{counted(found, 'object') if found else 'No object'} found in {_images(scene)}"


def sentences(scene: Facts) -> list[str]:
    """What went in, what was found, how far it is to be believed, what it took."""
    told = [
        _reconstruction(scene),
        _found(scene),
        *_quality(scene),
        _truth(scene),
        _settled(scene),
        _effort(scene),
    ]
    return [sentence for sentence in told if sentence]


def _images(scene: Facts) -> str:
    frames = scene.description.get("frames")
    count = len(frames) if isinstance(frames, list) else int(number(scene.metrics.get("frames")) or 0)
    return counted(count, "image") if count else "the recording"


def _reconstruction(scene: Facts) -> str:
    gaussians, psnr = number(scene.metrics.get("gaussians")), number(scene.metrics.get("psnr"))
    if gaussians is None:
        return ""
    told = f"The scene is {counted(int(gaussians), 'Gaussian')}"
    if psnr is None:
        return f"{told}."
    words = "closely" if psnr >= 27 else "fairly" if psnr >= 22 else "only roughly"
    return f"{told}, whose pictures match the input {words} ({psnr:.1f} dB)."


def _found(scene: Facts) -> str:
    if not scene.is_segmented:
        return "It was reconstructed only; objects were not looked for."
    found = sum(e.get("kind") == "object" for e in scene.instances)
    others = sum(e.get("kind") in ("fixture", "outside") for e in scene.instances)
    more = f" Listed only: {counted(others, 'thing')} outside the region of interest." if others else ""
    if not found and not scene.objects:
        return f"No object was found in it.{more}"
    if not scene.objects:
        return f"{counted(found, 'object')} {_are(found)} told apart; none was completed.{more}"
    if scene.unfinished:
        return f"{len(scene.objects)} of {found} objects were completed.{more}"
    return more.strip()


def _quality(scene: Facts) -> list[str]:
    if not scene.objects:
        return []
    shares = [s for o in scene.objects if (s := number(o["observed_fraction"])) is not None]
    told = []
    if shares:
        seen = sum(shares) / len(shares)
        told.append(
            f"Cameras saw {percent(seen)} of the objects' surface on average; the rest is generated, and "
            "marked as such in every file that can say so."
        )
    kinds: dict[str, list[str]] = {"likely": [], "doubtful": [], "guess": []}
    for o in scene.objects:
        kinds[confidence_kind(o["confidence"])].append(str(o["instance_id"]))
    told.append(_trust(kinds["likely"], kinds["doubtful"], kinds["guess"]))
    return told


def _trust(likely: Sequence[str], doubtful: Sequence[str], guesses: Sequence[str]) -> str:
    """By id: how far the objects are to be believed."""
    if not doubtful and not guesses:
        return "All of them can be relied on." if len(likely) > 1 else "It can be relied on."
    told = [f"{len(likely)} can be relied on"] if likely else []
    for ids, words in ((doubtful, "to be checked"), (guesses, "little more than a guess")):
        if ids:
            name = "number" if len(ids) == 1 else "numbers"
            told.append(f"{name} {listed(list(ids))} {_are(len(ids))} {words}")
    return f"Of the objects, {'; '.join(told)}."


def confidence_kind(confidence: float) -> str:
    """`likely`, `doubtful` or `guess`, of the whole percents that are shown."""
    confidence = round(confidence, 2)
    return "likely" if confidence >= LIKELY else "doubtful" if confidence >= DOUBTFUL else "guess"


def _truth(scene: Facts) -> str:
    if not scene.accuracy:
        return ""
    ious = [number(row.get("volume_iou")) for row in scene.accuracy if row.get("instance_id")]
    good = [value for value in ious if value is not None]
    missed = sum(not row.get("instance_id") for row in scene.accuracy)
    mean = f" with a mean volume overlap (IoU) of {sum(good) / len(good):.2f}" if good else ""
    return f"Compared with the truth, {len(good)} of {len(good) + missed} true objects were found{mean}."


def _settled(scene: Facts) -> str:
    settle = group(scene.metrics, "settle")
    count, share = len(group(settle, "objects")), number(settle.get("stay_where_they_were"))
    if not count or share is None:
        return ""
    return f"Let go in a simulator, {round(share * count)} of {count} objects stay where they are."


def _effort(scene: Facts) -> str:
    seconds = [s for s in map(number, group(scene.metrics, "seconds").values()) if s is not None]
    peak = number(scene.metrics.get("peak_memory_mb"))
    if not seconds:
        return ""
    return f"This took {duration(sum(seconds))}" + (
        f" and at most {memory(peak)} of memory." if peak else "."
    )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
