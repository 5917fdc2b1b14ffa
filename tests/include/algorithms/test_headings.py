import importlib

import pytest

from include.algorithms import headings
from include.algorithms.__main__ import PRODUCTS
from include.tables import contract


def tables():
    return [table for product in PRODUCTS for table in contract.of_product(product)]


def test_every_artefact_and_every_column_has_its_words_in_every_language():
    assert {table.name for table in tables()} == set(headings.ARTEFACTS)
    lacking = {c.name for table in tables() for c in table.columns} - set(headings.COLUMNS)
    assert not lacking
    for words in (headings.ARTEFACTS, headings.COLUMNS, headings.LABELS, *headings.NOTES.values()):
        for name, translations in words.items():
            assert len(translations) == len(headings.LANGUAGES), name
            assert all(text.strip() == text and text for text in translations), name


@pytest.mark.parametrize("language", headings.LANGUAGES)
def test_no_two_columns_of_a_table_share_a_heading_and_titles_fit_a_sheet(language):
    for table in tables():
        titles = [headings.column(column.name, language) for column in table.columns]
        assert len(set(titles)) == len(titles), table.name
        assert len(headings.artefact(table.name, language)) <= 31


def test_every_parameter_and_every_reason_has_its_words():
    for module_name, _ in PRODUCTS.values():
        module = importlib.import_module(f"include.algorithms.{module_name}")
        assert set(module.Parameters.model_fields) <= set(headings.NOTES["parameters"])
        assert set(module._STEPS) <= set(headings.NOTES["excluded"])


def test_an_attribute_a_contract_invents_reads_as_its_name():
    assert headings.column("customer_loyalty_card", "pt") == "Customer loyalty card"
    with pytest.raises(ValueError, match="no language 'fr'; there are en, es, pt"):
        headings.column("customer_id", "fr")


def test_values_of_notes():
    assert headings.value(None, "es") == "ninguno"
    assert headings.value(True, "pt") == "sim"
    assert headings.value(("a", "b"), "en") == "a, b"
    assert headings.value(1234.5, "en") == "1,234.5"
    assert headings.value(1234.5, "pt") == "1.234,5"
