from pathlib import Path

import pytest

from include.tables import contract, dictionary

PAGE = Path(dictionary.__file__).parents[2] / "docs" / "data_dictionary.md"


def test_the_page_is_in_step_with_the_contracts():
    assert PAGE.read_text(encoding="utf-8") == dictionary.page(), (
        "write it again: python -m include.tables.dictionary > docs/data_dictionary.md"
    )


@pytest.mark.parametrize("name", contract.names())
def test_every_column_and_check_is_there(name):
    table = contract.load(name)
    (section,) = [part for part in dictionary.page().split("\n### ") if part.startswith(f"{table.relation}\n")]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [column.name for column in table.properties]
    assert all(row.replace("\\|", "").count("|") == 8 for row in rows)
    for check in table.checks:
        assert f"- `{check.name}`" in section


def test_a_column_tells_what_is_known_of_it():
    page = dictionary.page()
    assert (
        "| `customer_zip` | string | null | quasi-identifier |  | `customer_zip_code_prefix` | "
        "First five digits of the postal code. |"
    ) in page
    assert "| `review_score` | bigint |  |  | from 1 to 5 | `review_score` | Stars, 1 to 5. |" in page
    assert "`review_comment_title`, may be absent" in page
    assert "- `orders_unpaid` (warning): Every order with items has a payment." in page
    assert "- Freshness: the newest `order_date` is at most 2 days old" in page
