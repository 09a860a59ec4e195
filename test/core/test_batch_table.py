"""Records, the table and the page that are made of them."""

import json

import pytest

from instascene_core.batch.records import Record, all_records, read_record, write_record
from instascene_core.batch.report import report_page
from instascene_core.batch.summary import Summary
from instascene_core.batch.table import COLUMNS, rows_of, write_table

THING = {
    "instance_id": 3, "confidence": 0.5, "observed_fraction": 0.25, "watertight": True, "volume_m3": 1e-3,
    "mass_kg": 0.4, "dimensions_m": [0.1, 0.2, 0.3], "position_m": [1.0, 2.0, 3.0],
    "orientation_wxyz": [1.0, 0.0, 0.0, 0.0], "prior": "carving",
}  # fmt: skip
GOOD = Record(
    "kitchen/one", "/data/one", "done", key="abc", code="0.1.0+x", finished="2026-01-01T00:00:00+00:00",
    frames=60, gaussians=5000, psnr=31.5, seconds={"reconstruct": 4.0, "finish": 1.0},
    processor_seconds={"reconstruct": 3.0, "finish": 0.5}, objects=(THING,),
    not_completed={"7": "Too little of it was seen."},
)  # fmt: skip
BAD = Record("bad <one>", "/data/bad", "failed", "It is blank.", "reconstruct")


@pytest.fixture
def plan(tmp_path):
    class Plan:
        output = tmp_path

    return Plan()


def test_records_are_read_as_they_were_written(plan):
    for record in (GOOD, BAD):
        write_record(plan.output / ".batch" / record.name / "record.json", record)
    assert list(all_records(plan)) == [BAD, GOOD]


@pytest.mark.parametrize("text", ["{", "[]", '{"name": 3}', json.dumps({"name": "a", "unknown": 1})])
def test_a_damaged_record_is_none(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    assert read_record(tmp_path / "record.json") is None
    assert read_record(tmp_path / "not there") is None


def test_a_row_a_recording_and_a_row_an_object():
    recording, thing, missing = rows_of(GOOD)
    assert (recording["kind"], recording["objects"], recording["not_completed"]) == ("recording", 1, 1)
    assert (recording["seconds"], recording["processor_seconds"]) == (5.0, 3.5)
    assert recording["reconstruct_s"] == 3.0 and recording["segment_s"] is None
    assert (thing["kind"], thing["status"], thing["instance_id"]) == ("object", "done", 3)
    assert (thing["size_y_m"], thing["position_z_m"], thing["orientation_w"]) == (0.2, 3.0, 1.0)
    assert (missing["status"], missing["instance_id"]) == ("not completed", 7)
    (failed,) = rows_of(BAD)
    assert (failed["status"], failed["sentence"], failed["stage"]) == (
        "failed",
        "It is blank.",
        "reconstruct",
    )
    assert failed["seconds"] is None and failed["frames"] is None
    for row in (recording, thing, missing, failed):
        assert row.keys() <= COLUMNS.keys()


def test_the_table_is_one_parquet_file(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("instascene_core.batch.table.AT_A_TIME", 2)  # several groups
    assert write_table(tmp_path / "t.parquet", [GOOD, BAD]) == 4
    table = parquet.read_table(tmp_path / "t.parquet")
    assert table.column_names == list(COLUMNS) and table.num_rows == 4
    rows = table.to_pylist()
    assert rows[1]["volume_m3"] == 1e-3 and rows[1]["watertight"] is True and rows[1]["frames"] is None
    assert [row["recording"] for row in rows if row["status"] == "failed"] == ["bad <one>"]
    assert write_table(tmp_path / "none.parquet", []) == 0
    assert parquet.read_table(tmp_path / "none.parquet").column_names == list(COLUMNS)


def test_the_page_tells_what_failed_first_and_links_to_the_rest(monkeypatch):
    summary = Summary()
    assert list(summary.gathering([GOOD, BAD])) == [GOOD, BAD]
    page = report_page(summary).decode()
    assert "1 of 2 recordings are done: 1 complete objects." in page
    assert "bad &lt;one&gt;" in page and "It is blank." in page and "Too little of it was seen." in page
    assert page.index("bad &lt;one&gt;") < page.index("<a href='kitchen/one/report.html'>")
    assert "http:" not in page and "https:" not in page
    monkeypatch.setattr("instascene_core.batch.summary.SHOWN", 1)
    few = Summary()
    list(few.gathering([GOOD, GOOD, BAD]))
    assert len(few.ordered) == 2 and "1 more are in results.parquet" in report_page(few).decode()
