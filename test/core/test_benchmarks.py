"""The page of figures is the one that the results make."""

from benchmarks import tables


def test_docs_show_the_results_on_record():
    assert tables.PAGE.read_text() == tables.page()


def test_tables_are_markdown_and_skip_what_is_not_known():
    assert tables.table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert tables._millimetres(float("nan")) == tables._millimetres(None) == "–"
    assert tables._millimetres(0.00123) == "1.23 mm"
