"""Results and failures of a batch in one Parquet file: a row a recording, and a row an object of it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from instascene_core.batch.records import Record
from instascene_core.errors import needs
from instascene_core.files import atomic_path

AT_A_TIME = 20_000  # rows held and written: a group of the file
NOT_COMPLETED = "not completed"  # status of an object; of those that are complete: "done"
# Column → type of Arrow.  Of a recording's row the columns of objects are null, and the other way round.
COLUMNS = {
    "recording": "string",  # its name: the folder of the scene, below the output
    "kind": "string",  # "recording" or "object"
    "status": "string",  # done, empty or failed; of an object done or not completed
    "sentence": "string",  # why it is not done
    "stage": "string",  # in which a recording failed
    "source": "string",  # path of the recording
    "frames": "int32",
    "gaussians": "int32",
    "psnr": "double",  # dB
    "objects": "int32",  # completed
    "not_completed": "int32",
    "seconds": "double",  # wall time of all tasks
    "processor_seconds": "double",  # of all threads
    "reconstruct_s": "double",  # processor seconds by stage
    "segment_s": "double",
    "complete_s": "double",
    "finish_s": "double",
    "finished": "string",  # UTC, ISO 8601
    "code": "string",  # version that made it
    "key": "string",  # hash of recording, settings, code and weights
    "instance_id": "int32",
    "confidence": "double",
    "observed_fraction": "double",
    "watertight": "bool",
    "volume_m3": "double",
    "mass_kg": "double",
    "prior": "string",
    **{f"size_{axis}_m": "double" for axis in "xyz"},
    **{f"position_{axis}_m": "double" for axis in "xyz"},  # of the object's frame in the world
    **{f"orientation_{axis}": "double" for axis in "wxyz"},
}


def write_table(path: Path, records: Iterable[Record]) -> int:
    """Write the rows of all records, the whole file or none; how many there are.

    Raises MissingDependencyError without pyarrow.
    """
    arrow, parquet = _arrow()
    schema = arrow.schema([(name, arrow.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    rows, count = (row for record in records for row in rows_of(record)), 0
    with atomic_path(Path(path)) as temporary, parquet.ParquetWriter(str(temporary), schema) as writer:
        while group := list(islice(rows, AT_A_TIME)):
            columns = {name: [row.get(name) for row in group] for name in COLUMNS}
            writer.write_table(arrow.Table.from_pydict(columns, schema=schema))
            count += len(group)
    return count


def require_arrow() -> None:
    """MissingDependencyError without pyarrow; to be asked before the work."""
    _arrow()


def rows_of(record: Record) -> Iterator[dict[str, Any]]:
    """The row of a recording, then those of its objects, by id."""
    spent = record.processor_seconds
    yield {
        "recording": record.name,
        "kind": "recording",
        "status": record.status,
        "sentence": record.sentence or None,
        "stage": record.stage or None,
        "source": record.source,
        "frames": record.frames or None,
        "gaussians": record.gaussians or None,
        "psnr": record.psnr,
        "objects": len(record.objects),
        "not_completed": len(record.not_completed),
        "seconds": sum(record.seconds.values()) if record.seconds else None,
        "processor_seconds": sum(spent.values()) if spent else None,
        **{f"{stage}_s": spent.get(stage) for stage in ("reconstruct", "segment", "complete", "finish")},
        "finished": record.finished or None,
        "code": record.code or None,
        "key": record.key or None,
    }
    common = {"recording": record.name, "kind": "object", "source": record.source, "key": record.key or None}
    for thing in record.objects:
        yield {**common, "status": "done", **_flat(thing)}
    for number, why in record.not_completed.items():
        yield {**common, "status": NOT_COMPLETED, "instance_id": int(number), "sentence": why}


def _flat(thing: Mapping[str, Any]) -> dict[str, Any]:
    """An object's facts, a column a number."""
    flat = {name: thing[name] for name in COLUMNS if name in thing}
    vectors = {"size": ("dimensions_m", "xyz", "_m"), "position": ("position_m", "xyz", "_m"),
               "orientation": ("orientation_wxyz", "wxyz", "")}  # fmt: skip
    for name, (source, axes, unit) in vectors.items():
        flat |= {f"{name}_{axis}{unit}": value for axis, value in zip(axes, thing[source])}
    return flat


def _arrow() -> tuple[Any, Any]:
    with needs(
        "pyarrow",
        "The table of a batch needs pyarrow, which is not installed; pip install 'instascene[batch]'.",
    ):
        import pyarrow  # pyright: ignore[reportMissingImports] (optional: the extra batch)
        import pyarrow.parquet  # pyright: ignore[reportMissingImports] (optional: the extra batch)
    return pyarrow, pyarrow.parquet
