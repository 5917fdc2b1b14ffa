from collections import Counter
from datetime import date, datetime
from decimal import Decimal

import narwhals as nw
import polars as pl
import pytest

from include.transforms import silver
from include.transforms.screening import SUPERSEDED, MissingColumnsError

LOAD = {"load_time": datetime(2018, 9, 1), "source_file": "a.csv"}


def bronze(*rows: dict, **schema: pl.DataType) -> nw.LazyFrame:
    loaded = [{**LOAD, "row_number": number, **row} for number, row in enumerate(rows, start=1)]
    return nw.from_native(pl.DataFrame(loaded, schema_overrides=schema).lazy())


def collect(made: silver.Silver) -> tuple[pl.DataFrame, pl.DataFrame]:
    return made.accepted.collect().to_native(), made.rejected.collect().to_native()


def order(order_id: str = "o1", **other: str | None) -> dict:
    return {
        "order_id": order_id,
        "customer_id": "c1",
        "order_status": "delivered",
        "order_purchase_timestamp": "2018-01-10 10:00:00",
        "order_approved_at": None,
        "order_delivered_carrier_date": None,
        "order_delivered_customer_date": None,
        "order_estimated_delivery_date": "2018-01-20 00:00:00",
        **other,
    }


def payment(value: str = "10.00", **other: str | datetime | int) -> dict:
    row = {"order_id": "o1", "payment_sequential": "1", "payment_type": "boleto", "payment_installments": "1"}
    return {**row, "payment_value": value, **other}


def known_orders() -> nw.LazyFrame:
    return silver.orders(bronze(order())).accepted


class TestDirtyLandingZone:
    def test_each_case_is_accepted_and_rejected_as_expected(self, landing, dirty):
        cases, _ = landing
        for name, case in cases.items():
            of_file = pl.col("source_file") == case.file
            assert Counter(dirty.rejected[case.table].filter(of_file)["reason"]) == case.rejected, name
            if case.table != "geolocation":  # whose accepted rows come of several files
                assert dirty.accepted[case.table].filter(of_file).height == case.accepted, name

    def test_corrections_supersede_earlier_rows(self, landing, dirty):
        cases, _ = landing
        corrected = cases["corrected_rows"].supersedes
        rejected = dirty.rejected["order_payments"].filter(source_file=cases["clean_order_payments"].file)
        assert Counter(rejected["reason"]) == {SUPERSEDED: corrected}
        of_corrections = dirty.accepted["order_payments"].filter(source_file=cases["corrected_rows"].file)
        assert of_corrections["payment_value"].to_list() == [Decimal("77.70")] * corrected

    def test_points_that_are_accepted_count(self, landing, dirty):
        expected = sum(case.accepted for case in landing[0].values() if case.table == "geolocation")
        assert dirty.accepted["geolocation"]["points"].sum() == expected

    def test_every_bronze_row_is_accepted_or_rejected_once(self, dirty):
        for table, rows in dirty.bronze.items():
            accepted = dirty.accepted[table]
            kept = accepted["points"].sum() if table == "geolocation" else accepted.height
            assert kept + dirty.rejected[table].height == rows.height, table
            assert dirty.rejected[table].drop("reason").columns == rows.columns, table

    def test_keys_are_unique_in_silver(self, dirty):
        for name, table in silver.TABLES.items():
            key = ["zip"] if name == "geolocation" else list(table.key)
            assert not dirty.accepted[name].select(key).is_duplicated().any(), name

    def test_text_survives_quoting_and_newlines(self, landing, dirty):
        cases, _ = landing
        messages = dirty.accepted["order_reviews"].filter(source_file=cases["quoted_newlines"].file)
        expected = {"Chegou,\nmas atrasado", 'Disse "ok"\r\ne nada', "linha 1\n\nlinha 3", '"'}
        assert set(messages["review_comment_message"]) == expected

    def test_cities_lose_accents_case_and_padding(self, landing, dirty):
        cases, _ = landing
        latin = dirty.accepted["sellers"].filter(source_file=cases["latin_1"].file)
        assert set(latin["seller_city"]) == {"sao paulo", "ribeirao preto", "maceio"}
        padded = dirty.accepted["customers"].filter(source_file=cases["padded_text"].file)
        assert padded["customer_id"].str.starts_with("padded_text").all()
        assert padded["customer_city"].str.contains("^[a-z]").all()
        assert padded["customer_state"].is_in(silver.STATES).all()


class TestRealSample:
    def test_nothing_is_lost(self, olist):
        counts = {table: rows.height for table, rows in olist.accepted.items() if table != "geolocation"}
        assert counts == {
            "customers": 5000,
            "sellers": 1222,
            "products": 3859,
            "orders": 5000,
            "order_items": 5603,
            "order_payments": 5160,
            "order_reviews": 4987,  # one row of the sample is there twice
        }
        assert olist.rejected["order_reviews"]["reason"].to_list() == [SUPERSEDED]

    def test_points_abroad_are_rejected(self, olist):
        assert olist.accepted["geolocation"].height == 19_006
        assert olist.rejected["geolocation"].height == 9

    def test_columns_that_the_sample_lacks_are_null(self, olist):
        reviews = olist.accepted["order_reviews"]
        assert reviews["review_comment_message"].null_count() == reviews.height
        assert reviews["review_id"].null_count() == 0


class TestOrders:
    def test_moments_are_utc_and_days_are_local(self):
        row = order(
            order_purchase_timestamp="2018-01-10 23:30:00",
            order_delivered_customer_date="2018-07-10 23:30:00",
        )
        accepted, _ = collect(silver.orders(bronze(row)))
        made = accepted.row(0, named=True)
        assert made["purchased_at"] == datetime(2018, 1, 11, 1, 30)  # summer time
        assert made["delivered_at"] == datetime(2018, 7, 11, 2, 30)
        assert (made["order_date"], made["delivered_date"]) == (date(2018, 1, 10), date(2018, 7, 10))
        assert made["estimated_delivery_date"] == date(2018, 1, 20)

    def test_the_zone_is_a_parameter(self):
        accepted, _ = collect(silver.orders(bronze(order()), zone="UTC"))
        assert accepted["purchased_at"].to_list() == [datetime(2018, 1, 10, 10)]

    def test_all_reasons_are_given(self):
        row = order(order_id=" ", order_status="lost", order_approved_at="soon")
        _, rejected = collect(silver.orders(bronze(row)))
        reasons = "order_id is missing; order_status is not an accepted value; order_approved_at is not a date or time"
        assert rejected["reason"].to_list() == [reasons]

    def test_customers_are_checked_only_when_given(self):
        customers = silver.customers(
            bronze(
                {
                    "customer_id": "c2",
                    "customer_unique_id": "p",
                    "customer_zip_code_prefix": 1037,
                    "customer_city": None,
                    "customer_state": "SP",
                },
                customer_city=pl.String,
            )
        ).accepted
        assert collect(silver.orders(bronze(order())))[0].height == 1
        assert collect(silver.orders(bronze(order()), customers))[1]["reason"].to_list() == ["customer_id is unknown"]


class TestLatestWins:
    def test_by_file_then_row_whenever_it_was_loaded(self):
        rows = [
            payment("1.00", load_time=datetime(2018, 9, 3), source_file="2018-09-01/b.csv", row_number=99),
            payment("2.00", load_time=datetime(2018, 9, 2), source_file="2018-09-02/a.csv", row_number=2),
            payment("3.00", load_time=datetime(2018, 9, 2), source_file="2018-09-02/a.csv", row_number=10),
            payment("4.00", load_time=datetime(2018, 9, 4), source_file="2018-09-01/c.csv", row_number=9),
        ]
        accepted, rejected = collect(silver.order_payments(bronze(*rows), known_orders()))
        assert accepted["payment_value"].to_list() == [Decimal("3.00")]
        assert rejected["reason"].to_list() == [SUPERSEDED] * 3

    def test_an_unsound_row_replaces_nothing(self):
        rows = [payment("1.00"), payment("-5.00", load_time=datetime(2019, 1, 1))]
        accepted, rejected = collect(silver.order_payments(bronze(*rows), known_orders()))
        assert accepted["payment_value"].to_list() == [Decimal("1.00")]
        assert rejected["reason"].to_list() == ["payment_value is below 0"]


class TestReviews:
    def review(self, answered: str | None, **other: str | None) -> dict:
        row = {"order_id": "o1", "review_score": "5", "review_creation_date": "2018-01-20 00:00:00"}
        return {**row, "review_answer_timestamp": answered, **other}

    def test_times_stand_in_for_an_id_that_is_null_or_absent(self):
        times = ["2018-01-21 00:00:00", "2018-01-22 00:00:00", "2018-01-22 00:00:00", None]
        absent = bronze(*(self.review(time) for time in times))
        null = bronze(*(self.review(time, review_id=None) for time in times), review_id=pl.String)
        for rows in (absent, null):
            accepted, rejected = collect(silver.order_reviews(rows, known_orders()))
            assert set(accepted["review_id"]) == {
                "2018-01-20 00:00:00/2018-01-21 00:00:00",
                "2018-01-20 00:00:00/2018-01-22 00:00:00",
                "2018-01-20 00:00:00",
            }
            assert rejected["reason"].to_list() == [SUPERSEDED]

    def test_the_id_is_the_key_where_there_is_one(self):
        rows = bronze(self.review("2018-01-21 00:00:00", review_id="r"), self.review(None, review_id="r"))
        accepted, _ = collect(silver.order_reviews(rows, known_orders()))
        assert accepted["answered_at"].to_list() == [None]


class TestGeolocation:
    def point(self, lat: float, lng: float = -46.6, city: str = "são paulo", state: str = "SP") -> dict:
        return {
            "geolocation_zip_code_prefix": 1037,
            "geolocation_lat": lat,
            "geolocation_lng": lng,
            "geolocation_city": city,
            "geolocation_state": state,
        }

    def test_the_median_stands_against_a_wrong_point(self):
        points = [self.point(-23.54), self.point(-23.55), self.point(-23.56), self.point(-9.99), self.point(-23.545)]
        accepted, _ = collect(silver.geolocation(bronze(*points)))
        assert accepted.row(0) == ("01037", -23.545, -46.6, "sao paulo", "SP", 5)

    def test_a_point_counts_once_however_often_it_is_delivered(self):
        accepted, rejected = collect(silver.geolocation(bronze(*[self.point(-23.54)] * 3, self.point(-23.56))))
        assert accepted.row(0)[1:3] == (-23.55, -46.6)
        assert accepted["points"].to_list() == [2]
        assert rejected["reason"].to_list() == [SUPERSEDED] * 2

    def test_the_city_of_most_points_then_the_first_in_the_alphabet(self):
        points = [self.point(-23.1, city="b"), self.point(-23.2, city="a"), self.point(-23.3, city="b ")]
        assert collect(silver.geolocation(bronze(*points)))[0]["city"].to_list() == ["b"]
        assert collect(silver.geolocation(bronze(*points[:2])))[0]["city"].to_list() == ["a"]


def test_missing_columns_are_named():
    with pytest.raises(MissingColumnsError, match=r"bronze sellers lacks seller_city, row_number; it has seller_id"):
        silver.sellers(
            nw.from_native(
                pl.LazyFrame(
                    {
                        "seller_id": ["s"],
                        "seller_zip_code_prefix": [1],
                        "seller_state": ["SP"],
                        **{k: [v] for k, v in LOAD.items()},
                    }
                )
            )
        )


def test_a_column_of_a_wrong_type_is_named():
    rows = bronze({**payment(), "payment_value": True})
    with pytest.raises(TypeError, match=r"bronze order_payments\.payment_value: money can't be read"):
        silver.order_payments(rows, known_orders())
