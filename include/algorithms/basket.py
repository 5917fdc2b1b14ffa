"""Market basket analysis: which products are bought together, as rules and as two action plans.

How the baskets come about, in this order; a line is left out for the first step it fails:

1. `invalid_product_id`: the product id identifies nothing (see `sale_lines.identifier`).
2. `outside_period`: no date, or on or after the report date.
3. `invalid_order_id`: the order id identifies nothing.
4. `return`: the quantity is not above 0, or is not a number.
5. `category_not_allowed`: the product's group is not in `categories`, or is in `denied_categories`.
6. `outside_top_products`: the product is not among the `top_products` by quantity of the lines left so far (of equal
   quantities the smaller id goes first).

A basket is the set of distinct products of one order id. **The number of transactions N, the denominator of every
support, is the number of baskets left after step 5, before step 6**: looking at fewer products must not change how
often two of them are bought together. An item set is frequent with at least ⌈min_support · N⌉ baskets.

A product's name and group are the latest known ones, of its sales if it has any, else of its returns.

Plans: the recommendations of a product are the consequents of the rules whose antecedent is that product alone, best
first by lift, then confidence, then id. Products with at most `store_max` of them are in the store plan, products with
more in the online carousel, with the best `carousel_max`. Every other product is in the excluded report, with the
step above at which its last line was left out, or `below_min_support` (too few baskets hold it), or `no_rule` (no
rule starts from it alone that reaches `min_lift`, `min_confidence` and `max_q_value`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import polars as pl

from include.algorithms import itemsets, rules, sale_lines
from include.algorithms.outcome import InputError, Outcome
from include.clients import contract

if TYPE_CHECKING:
    from datetime import date

ENGINES = ("lcm", "mlxtend")
COLUMNS = ("product_id", "product_name", "product_group", "sale_date", "quantity", "order_id")

_log = logging.getLogger(__name__)

_MINERS = {"lcm": itemsets.mine, "mlxtend": itemsets.mine_with_mlxtend}
_RULES = {"lcm": rules.single_consequent, "mlxtend": rules.single_consequent_with_mlxtend}

_STEPS = (
    "invalid_product_id",
    "outside_period",
    "invalid_order_id",
    "return",
    "category_not_allowed",
    "outside_top_products",
)
_RULE_COLUMNS = pl.Schema(
    {
        "antecedent": pl.String(),
        "antecedent_name": pl.String(),
        "antecedent_size": pl.Int64(),
        "consequent": pl.String(),
        "consequent_name": pl.String(),
        "antecedent_group": pl.String(),
        "consequent_group": pl.String(),
        **{name: dtype for name, dtype in rules.SCHEMA.items() if name not in ("antecedent", "consequent")},
    }
)
_PLAN_COLUMNS = pl.Schema(
    {
        "product_id": pl.String(),
        "product_name": pl.String(),
        "product_group": pl.String(),
        "position": pl.Int64(),
        "recommended_id": pl.String(),
        "recommended_name": pl.String(),
        "support": pl.Float64(),
        "confidence": pl.Float64(),
        "lift": pl.Float64(),
    }
)
_EXCLUDED_COLUMNS = pl.Schema(
    {
        "product_id": pl.String(),
        "product_name": pl.String(),
        "product_group": pl.String(),
        "reason": pl.String(),
        "quantity": pl.Float64(),
        "lines": pl.Int64(),
    }
)


class Parameters(contract.MbaParameters):
    """What the analysis depends on besides the sales: the contract's parameters, and the product groups that take part.

    Attributes:
        categories: the product groups that take part; None for all.
        denied_categories: product groups that do not take part; None for none.
    """

    categories: tuple[str, ...] | None = None
    denied_categories: tuple[str, ...] | None = None


def run(sales: pl.DataFrame, parameters: Parameters, report_date: date, engine: str = ENGINES[0]) -> Outcome:
    """Rules, store plan, carousel and excluded products of the sales before the report date.

    Args:
        sales: the extract; needs `COLUMNS`.
        parameters: thresholds and limits.
        report_date: the first day that does not count.
        engine: "lcm" (numba) or "mlxtend" (reference): the same tables.

    Returns:
        Tables mba_rules, mba_store, mba_carousel, mba_excluded; facts on baskets, item sets and rules.

    Raises:
        InputError: a column is missing or unreadable, the engine is unknown, or there are too many item sets.
    """
    if engine not in ENGINES:
        raise InputError(f"mba has no engine {engine!r}; it has {', '.join(ENGINES)}")
    lines, excluded = _judged(sales, parameters, report_date)
    products = _products(lines)
    baskets = lines.filter(pl.col("reason").is_null() | (pl.col("reason") == "outside_top_products"))
    transactions = baskets["order_id"].n_unique()
    kept = lines.filter(pl.col("reason").is_null()).select(
        basket=pl.col("order_id").rank("dense") - 1, item=pl.col("product_id").rank("dense") - 1, id="product_id"
    )
    ids = kept["id"].unique().sort()
    _log.info("%d of %d lines in %d baskets, %d products", kept.height, sales.height, transactions, len(ids))

    least = itemsets.min_count(parameters.min_support, transactions)
    found = _MINERS[engine](
        kept["basket"].to_numpy(), kept["item"].to_numpy(), transactions, least, parameters.max_length
    )
    tested = _RULES[engine](found)
    strong = rules.strong(tested, parameters.min_lift, parameters.min_confidence).filter(
        pl.col("q_value") <= parameters.max_q_value
    )
    _log.info(
        "%d item sets in %d or more baskets, %d of %d rules kept", len(found), least, strong.height, tested.height
    )

    table = _named(strong, ids, products)
    store, carousel = _plans(table, parameters)
    frequent = ids.gather(found.levels[0].items[:, 0])
    planned = pl.concat([store["product_id"], carousel["product_id"]]).unique()
    facts: dict[str, Any] = {
        "transactions": transactions,
        "min_count": least,
        "products": len(ids),
        "item_sets": len(found),
        "rules_tested": tested.height,
        "rules": table.height,
        "store_products": store["product_id"].n_unique(),
        "carousel_products": carousel["product_id"].n_unique(),
    }
    return Outcome(
        tables={
            "mba_rules": table,
            "mba_store": store,
            "mba_carousel": carousel,
            "mba_excluded": _excluded(products, frequent, planned),
        },
        excluded=excluded,
        facts=facts,
        reason=None if table.height else _why_empty(sales.height, kept.height, len(ids), tested.height, parameters),
    )


def _judged(sales: pl.DataFrame, parameters: Parameters, report_date: date) -> tuple[pl.DataFrame, dict[str, int]]:
    """The lines with the product's latest name and group and the reason why they are left out (null: they are not)."""
    lines = sale_lines.clean(sales, COLUMNS)
    in_period = pl.col("sale_date") < pl.lit(report_date)
    identified = lines.filter(pl.col("product_id").is_not_null(), in_period)
    attributes = ("product_name", "product_group")
    catalogue = sale_lines.latest(identified, "product_id", attributes, prefer=pl.col("quantity") > 0)
    lines = lines.drop(attributes).join(catalogue, on="product_id", how="left", maintain_order="left")
    conditions = (
        pl.col("product_id").is_not_null(),
        in_period,
        pl.col("order_id").is_not_null(),
        pl.col("quantity") > 0,
        sale_lines.in_categories(parameters.categories, parameters.denied_categories),
    )
    lines = lines.with_columns(sale_lines.first_failing(zip(_STEPS, conditions, strict=False)))
    top = (
        lines.filter(pl.col("reason").is_null())
        .group_by("product_id")
        .agg(pl.col("quantity").sum())
        .sort("quantity", "product_id", descending=[True, False])
        .head(parameters.top_products)["product_id"]
    )
    in_top = pl.col("product_id").is_in(top.implode())
    lines = lines.with_columns(pl.coalesce("reason", sale_lines.first_failing([(_STEPS[-1], in_top)])))
    return lines, sale_lines.counts_by_reason(lines, _STEPS)


def _products(lines: pl.DataFrame) -> pl.DataFrame:
    """Every product with an id: name, group, all its units and lines, and the step at which its last line went."""
    step = pl.col("reason").replace_strict(_STEPS, range(len(_STEPS)), default=len(_STEPS), return_dtype=pl.Int64)
    return (
        lines.filter(pl.col("product_id").is_not_null())
        .group_by("product_id")
        .agg(
            pl.col("product_name").first(),
            pl.col("product_group").first(),
            pl.col("quantity").sum().cast(pl.Float64),
            pl.len().cast(pl.Int64).alias("lines"),
            step.max().alias("step"),
        )
        .sort("product_id")
    )


def _named(table: pl.DataFrame, ids: pl.Series, products: pl.DataFrame) -> pl.DataFrame:
    """The rules with ids, names and groups for the item codes, best first.

    Metrics are compared to 12 digits, so that equal rules are ordered by id whichever engine rounded them.
    """
    named = products.filter(pl.col("product_id").is_in(ids.implode())).select(
        "product_id", "product_name", "product_group"
    )
    item = named.with_columns(item=pl.int_range(pl.len(), dtype=pl.Int32))
    antecedents = (
        table.select("antecedent")
        .with_row_index("rule")
        .explode("antecedent")
        .join(item, left_on="antecedent", right_on="item", how="left", maintain_order="left")
        .group_by("rule", maintain_order=True)
        .agg(
            antecedent=pl.col("product_id").str.join("|"),
            antecedent_name=pl.col("product_name").fill_null("").str.join(" | "),
            antecedent_size=pl.len().cast(pl.Int64),
            antecedent_group=pl.col("product_group").fill_null("").str.join(" | "),
        )
    )
    consequents = table.select("consequent").join(
        item, left_on="consequent", right_on="item", how="left", maintain_order="left"
    )
    consequents = consequents.select(
        consequent="product_id", consequent_name="product_name", consequent_group="product_group"
    )
    return (
        pl.concat([antecedents, consequents, table.drop("antecedent", "consequent")], how="horizontal")
        .sort(
            -pl.col("lift").round_sig_figs(12),
            -pl.col("confidence").round_sig_figs(12),
            "antecedent",
            "consequent",
        )
        .select(_RULE_COLUMNS.names())
        .cast(_RULE_COLUMNS)
    )


def _plans(table: pl.DataFrame, parameters: Parameters) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Store plan and carousel, by product and position."""
    ranked = (
        table.filter(pl.col("antecedent_size") == 1)
        .select(
            "support",
            "confidence",
            "lift",
            product_id="antecedent",
            product_name="antecedent_name",
            product_group="antecedent_group",
            recommended_id="consequent",
            recommended_name="consequent_name",
        )
        .with_columns(
            position=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("product_id"),
            recommendations=pl.len().over("product_id"),
        )
        .sort("product_id", "position")
    )
    in_store = pl.col("recommendations") <= parameters.store_max
    store = ranked.filter(in_store)
    carousel = ranked.filter(~in_store, pl.col("position") <= parameters.carousel_max)
    return store.select(_PLAN_COLUMNS.names()), carousel.select(_PLAN_COLUMNS.names())


def _excluded(products: pl.DataFrame, frequent: pl.Series, planned: pl.Series) -> pl.DataFrame:
    """Every product in no plan with the reason, in the order of the steps, the best sold first."""
    no_rule = pl.when(pl.col("product_id").is_in(frequent.implode())).then(pl.lit("no_rule"))
    reasons = pl.col("step").replace_strict(range(len(_STEPS) + 1), (*_STEPS, None), return_dtype=pl.String)
    return (
        products.filter(~pl.col("product_id").is_in(planned.implode()))
        .with_columns(reason=pl.coalesce(reasons, no_rule, pl.lit("below_min_support")))
        .sort("step", "reason", "quantity", "product_id", descending=[False, False, True, False])
        .select(_EXCLUDED_COLUMNS.names())
        .cast(_EXCLUDED_COLUMNS)
    )


def _why_empty(lines: int, kept: int, products: int, tested: int, parameters: Parameters) -> str:
    if not lines:
        return "there are no sale lines"
    if not kept:
        return "every sale line was left out: see the lines excluded by reason"
    if products == 1:
        return "only one product is left, and a rule needs two"
    if not tested:
        return f"no two products are together in {parameters.min_support:g} of the baskets: lower min_support"
    return (
        f"none of the {tested} rules tested reaches lift {parameters.min_lift:g}, confidence "
        f"{parameters.min_confidence:g} and q-value {parameters.max_q_value:g}"
    )
