import pytest

from include.jobs import silver
from include.transforms.silver import TABLES


def test_every_table_is_built():
    assert set(silver.BUILD) == set(TABLES)


@pytest.mark.long
def test_bronze_and_silver_reject_what_the_cases_say(dirty, cases):
    for name, (case, _) in cases.items():
        rejected = dict.fromkeys(case.rejected, 0)
        key = f"landing/dirty/{case.file}"
        places = [dirty.quarantine(case.table)]
        for part in dirty.bronze["partitions"]:
            if part["quarantine"] and part["load_date"] in case.file and part["table"] == case.table:
                places.append(dirty.jobs.rows(part["quarantine"]))
        for rows in places:
            for reason, count in rows.filter(source_file=key)["reason"].value_counts().rows():
                rejected[reason] = rejected.get(reason, 0) + count
        assert rejected == case.rejected, name
        if case.table != "geolocation":  # whose accepted rows come of several files
            assert dirty.table("silver", case.table).filter(source_file=key).height == case.accepted, name


def test_the_report_adds_up(dirty):
    loaded = {}
    for part in dirty.bronze["partitions"]:
        loaded[part["table"]] = loaded.get(part["table"], 0) + part["rows"]
    for name, made in dirty.silver["tables"].items():
        accepted, rejected = dirty.table("silver", name), dirty.quarantine(name)
        assert made["rows_in"] == loaded[name], name
        assert (made["rows_out"], made["rejected"]) == (accepted.height, rejected.height), name
        assert made["reasons"] == dict(sorted(rejected["reason"].value_counts().rows())), name
        kept = accepted["points"].sum() if name == "geolocation" else made["rows_out"]
        assert made["rows_in"] == kept + made["rejected"], name
        for column, amount in made["money"].items():
            assert amount == f"{accepted[column].sum():.2f}", name


def test_quarantine_has_the_sources_columns_as_text(dirty):
    rows = dirty.quarantine("order_items")
    sources = [field.source for field in TABLES["order_items"].fields]
    assert rows.columns == [*sources, "source_file", "row_number", "load_time", "reason"]
    assert {"-10.00", "-0.01"} <= set(rows["price"])
    assert rows["shipping_limit_date"].str.contains(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$").all()


@pytest.mark.long
def test_the_real_sample_without_translations(olist):
    counts = {name: made["rows_out"] for name, made in olist.silver["tables"].items()}
    assert counts == {
        "customers": 5000,
        "sellers": 1222,
        "products": 3859,
        "category_translation": 0,
        "geolocation": 19_006,
        "orders": 5000,
        "order_items": 5603,
        "order_payments": 5160,
        "order_reviews": 4987,
    }
    assert olist.silver["tables"]["geolocation"]["rejected"] == 9
    assert olist.silver["tables"]["order_items"]["money"] == {"price": "677833.96", "freight_value": "111566.53"}


def test_a_table_that_was_never_delivered_is_named():
    needed = {name: ["somewhere"] for name, table in TABLES.items() if not table.optional}
    silver._require_tables(needed)
    del needed["orders"], needed["sellers"]
    with pytest.raises(silver.MissingTableError, match=r"^bronze has no rows of orders, sellers: deliver these"):
        silver._require_tables({**needed, "orders": []})
