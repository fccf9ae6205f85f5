"""Tables in words: lined-up columns, intervals beside values, nothing empty."""

import numpy as np

from scaleprof.render.tables import readable
from scaleprof.results import Table
from tests.render.made_comparison import scaling_table


def texts(table: Table) -> list[list[str]]:
    return [[cell.whole for cell in row] for row in readable(table).rows]


def test_intervals_stand_beside_their_value() -> None:
    content = readable(scaling_table())
    heads = [head.text for head in content.heads]
    assert "efficiency low" not in heads
    first = dict(zip(heads, content.rows[2], strict=True))
    assert first["efficiency"].whole == "67.8 % [66.8, 69.0]"
    assert first["step"].whole == "152.0 [151.1, 153.1]"
    assert next(head for head in content.heads if head.column == "step_ms").unit == "ms"


def test_a_column_lines_up_and_small_values_are_not_lost() -> None:
    table = Table(
        {"mean_ms": np.array([456.123, 0.31, 2e-7]), "count": np.array([1, 20_000, 3]), "empty": ["", "", ""]}
    )
    assert texts(table) == [["456.1", "1"], ["0.31", "20,000"], ["2.0e-07", "3"]]


def test_absent_values_are_dashes_and_words_stay() -> None:
    table = Table({"host": ["a|b", ""], "busy_ms": [None, float("nan")], "share": [0.5, None], "good": [True, False]})
    assert texts(table) == [["a|b", "50.0 %", "yes"], ["", "–", "no"]]


def test_a_class_that_no_row_has_takes_no_column_and_a_zero_no_decimals() -> None:
    table = Table.of_rows(
        ("rank", "bubble_ms", "exposed_memory_ms", "idle_ms", "launched_before_count"),
        [[0, 0.0, 0.5, 0.0, 0], [1, 0.0, 0.0, 0.0, 0]],
    )
    content = readable(table)
    assert [head.text for head in content.heads] == ["rank", "exposed copies", "idle"]
    assert texts(table) == [["0", "0.5000", "0"], ["1", "0", "0"]]


def test_only_the_first_rows_are_shown() -> None:
    content = readable(Table({"rank": np.arange(500)}), most=200)
    assert (len(content.rows), content.left_out) == (200, 300)


def test_a_table_without_columns_or_rows_is_nothing() -> None:
    assert readable(Table({})).rows == ()
    assert readable(Table({"a": []})).heads == ()
