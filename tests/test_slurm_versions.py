"""The table of SLURM's versions says how the tests of each file ended."""

from collections import Counter
from datetime import date

from tests.slurm.versions import counted, table

_RESULTS = """\
<testsuites><testsuite name="pytest">
<testcase classname="tests.slurm.test_box" name="a"/>
<testcase classname="tests.slurm.test_box" name="b"><system-out>x</system-out></testcase>
<testcase classname="tests.slurm.test_box" name="c"><failure message="m">text</failure></testcase>
<testcase classname="tests.slurm.test_told" name="d"><error message="m">text</error></testcase>
<testcase classname="tests.slurm.test_told" name="e"><skipped message="m"/></testcase>
</testsuite></testsuites>
"""


def test_the_ends_of_tests_are_counted_by_file() -> None:
    assert counted(_RESULTS) == {
        "test_box": Counter(passed=2, failed=1),
        "test_told": Counter(error=1, skipped=1),
    }


def test_the_table_has_a_row_for_each_file_and_a_column_for_each_version() -> None:
    found = {
        "22.05.8": {"test_box": Counter(passed=2)},
        "24.11.5": {"test_box": Counter(passed=1, failed=1), "test_told": Counter(error=1)},
    }

    assert table(found, date(2026, 11, 30)).splitlines() == [
        "| tests, run on 2026-11-30 | SLURM 22.05.8 | SLURM 24.11.5 |",
        "| --- | --- | --- |",
        "| `test_box` | 2 passed | 1 passed, 1 failed |",
        "| `test_told` | not run | 1 error |",
    ]
