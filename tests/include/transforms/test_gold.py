from datetime import date, datetime
from decimal import Decimal

import narwhals as nw
import polars as pl
import pytest

from include.transforms import gold

MONEY = pl.Decimal(18, 2)


@pytest.fixture(params=["olist", "generated", "dirty"])
def lakehouse(request):
    """Lakehouses of real, generated and dirty data."""
    return request.getfixturevalue(request.param)


class TestWideSales:
    def test_it_has_each_order_item_exactly_once(self, lakehouse):
        key = ["order_id", "order_item_id"]
        wide, items = lakehouse.gold["wide_sales"], lakehouse.accepted["order_items"]
        assert not wide.select(key).is_duplicated().any()
        assert wide.select(key).sort(key).equals(items.select(key).sort(key))
        assert tuple(wide.columns) == gold.WIDE_SALES

    def test_its_money_is_the_items(self, lakehouse):
        wide, items = lakehouse.gold["wide_sales"], lakehouse.accepted["order_items"]
        for column in ("price", "freight_value"):
            assert wide[column].dtype == MONEY
            assert wide[column].sum() == items[column].sum() > 0

    def test_no_order_is_lost_for_want_of_a_review_or_payment(self, lakehouse):
        wide = lakehouse.gold["wide_sales"]
        bought = set(lakehouse.accepted["order_items"]["order_id"])
        assert set(wide["order_id"]) == bought
        unpaid = bought - set(lakehouse.accepted["order_payments"]["order_id"])
        unreviewed = bought - set(lakehouse.accepted["order_reviews"]["order_id"])
        assert set(wide.filter(pl.col("payment_total").is_null())["order_id"]) == unpaid
        assert set(wide.filter(pl.col("reviews") == 0)["order_id"]) == unreviewed != set()

    def test_no_item_is_lost_for_want_of_anything(self, generated):
        names = ("orders", "customers", "sellers", "products", "order_payments", "order_reviews", "geolocation")
        nothing = {name: nw.from_native(generated.accepted[name].clear().lazy()) for name in names}
        nothing |= {"payments": nothing.pop("order_payments"), "reviews": nothing.pop("order_reviews")}
        items = generated.accepted["order_items"]
        wide = gold.wide_sales(order_items=nw.from_native(items.lazy()), **nothing).collect().to_native()
        key = ["order_id", "order_item_id"]
        assert wide.select(key).sort(key).equals(items.select(key).sort(key))
        assert wide["price"].sum() == items["price"].sum()
        assert wide["distance_km"].null_count() == wide.height

    def test_payments_of_each_order_add_up(self, lakehouse):
        per_order = lakehouse.gold["wide_sales"].unique("order_id")
        payments = lakehouse.accepted["order_payments"].join(per_order, on="order_id", how="semi")
        assert per_order["payment_total"].sum() == payments["payment_value"].sum()

    def test_orders_have_a_day_and_a_month(self, lakehouse):
        wide = lakehouse.gold["wide_sales"]
        assert wide["order_date"].null_count() == 0
        assert (wide["order_date"].dt.strftime("%Y-%m") == wide["order_month"]).all()

    def test_days_are_between_local_days(self, lakehouse):
        rows = lakehouse.gold["wide_sales"].join(
            lakehouse.accepted["orders"].select("order_id", "delivered_date"), on="order_id"
        )
        delay = (rows["delivered_date"] - rows["estimated_delivery_date"]).dt.total_days()
        assert rows["delay_days"].equals(delay, null_equal=True)
        assert rows["is_late"].equals(delay > 0, null_equal=True)
        taken = (rows["delivered_date"] - rows["order_date"]).dt.total_days()
        assert rows["delivery_days"].equals(taken, null_equal=True)

    def test_the_sample_is_the_published_one(self, olist):
        wide = olist.gold["wide_sales"]
        assert (wide["price"].sum(), wide["freight_value"].sum()) == (Decimal("677833.96"), Decimal("111566.53"))
        assert wide["category_english"].equals(wide["category"], null_equal=True)  # it has no translations
        assert wide["distance_km"].max() < 4_500

    def test_categories_are_translated_or_stay_portuguese(self, generated):
        frames = {table: nw.from_native(rows.lazy()) for table, rows in generated.accepted.items()}
        wide = gold.wide_sales(
            **{
                name: frames[name]
                for name in ("order_items", "orders", "customers", "sellers", "products", "geolocation")
            },
            payments=frames["order_payments"],
            reviews=frames["order_reviews"],
            category_translation=frames["category_translation"].filter(nw.col("category") != "brinquedos"),
        )
        names = dict(wide.select("category", "category_english").unique().collect().to_native().rows())
        assert names["beleza_saude"] == "health_beauty"
        assert names["brinquedos"] == "brinquedos"
        assert names[None] is None


class TestPaymentsPerOrder:
    def rows(self, *payments):
        schema = {
            "order_id": pl.String,
            "payment_type": pl.String,
            "payment_value": MONEY,
            "payment_installments": pl.Int64,
        }
        made = [("o", kind, Decimal(value), installments) for kind, value, installments in payments]
        rows = nw.from_native(pl.DataFrame(made, schema=schema, orient="row").lazy())
        return gold.payments_per_order(rows).collect().to_native().row(0)

    def test_the_type_with_the_most_money_is_the_main_one(self):
        paid = self.rows(("voucher", "30.00", 1), ("credit_card", "50.00", 3), ("voucher", "25.00", None))
        assert paid == ("o", Decimal("105.00"), 3, "voucher", 2)

    def test_of_equal_types_the_first_in_the_alphabet(self):
        assert self.rows(("voucher", "5.00", 1), ("boleto", "5.00", 1))[3] == "boleto"

    def test_a_type_without_money_counts(self):
        assert self.rows(("not_defined", "0.00", 1)) == ("o", Decimal("0.00"), 1, "not_defined", 1)


class TestReviewsPerOrder:
    def rows(self, *reviews):
        schema = {"review_score": pl.Int64, "created_at": pl.Datetime("us"), "answered_at": pl.Datetime("us")}
        rows = pl.DataFrame(reviews, schema=schema, orient="row").with_columns(order_id=pl.lit("o"))
        return gold.reviews_per_order(nw.from_native(rows.lazy())).collect().to_native().row(0)

    def test_the_latest_is_the_one_answered_last(self):
        reviews = [(1, datetime(2018, 1, 1), datetime(2018, 3, 1)), (5, datetime(2018, 2, 1), datetime(2018, 2, 2))]
        assert self.rows(*reviews) == ("o", 3.0, 1, 2)

    def test_what_is_not_answered_counts_from_when_it_was_asked(self):
        assert self.rows((4, datetime(2018, 2, 1), None), (1, datetime(2018, 1, 1), datetime(2018, 1, 2)))[2] == 4

    def test_of_two_at_once_the_better_one(self):
        at = datetime(2018, 1, 1)
        assert self.rows((2, at, at), (4, at, at)) == ("o", 3.0, 4, 2)


class TestDailySales:
    def test_revenue_is_that_of_what_was_sold(self, lakehouse):
        daily, wide = lakehouse.gold["daily_sales"], lakehouse.gold["wide_sales"]
        sold = wide.filter(~pl.col("order_status").is_in(gold.NOT_SOLD))
        assert daily["revenue"].sum() == sold["price"].sum()
        assert daily["freight"].sum() == sold["freight_value"].sum()
        assert daily["items"].sum() == sold.height
        key = ["order_date", "seller_id", "category", "customer_state"]
        assert not daily.select(key).is_duplicated().any()

    def test_all_orders_count_on_demand(self, olist):
        wide = olist.gold["wide_sales"]
        daily = gold.daily_sales(nw.from_native(wide.lazy()), without=()).collect().to_native()
        assert daily["revenue"].sum() == wide["price"].sum()


class TestCustomerRfm:
    def test_figures_are_those_of_the_orders(self, lakehouse):
        as_of = date(2018, 9, 1)
        sold = lakehouse.gold["wide_sales"].filter(
            ~pl.col("order_status").is_in(gold.NOT_SOLD), pl.col("order_date") < as_of
        )
        rfm = lakehouse.gold["customer_rfm"].sort("customer_unique_id")
        expected = (
            sold.group_by("customer_unique_id")
            .agg(
                last=pl.col("order_date").max(),
                orders=pl.col("order_id").n_unique(),
                money=pl.col("price").sum().cast(MONEY),
            )
            .sort("customer_unique_id")
        )
        assert rfm["customer_unique_id"].equals(expected["customer_unique_id"])
        assert rfm["recency_days"].to_list() == [(as_of - last).days for last in expected["last"]]
        assert rfm["frequency"].to_list() == expected["orders"].to_list()
        assert rfm["monetary"].equals(expected["money"])

    def test_orders_of_the_day_itself_do_not_count(self, olist):
        wide = olist.gold["wide_sales"]
        last = wide["order_date"].max()
        rfm = gold.customer_rfm(nw.from_native(wide.lazy()), last).collect().to_native()
        assert rfm["last_order_date"].max() < last
        assert rfm["recency_days"].min() >= 1
