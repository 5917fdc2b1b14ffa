"""What `audit` says to a template while sqlfluff looks at it: a check of each kind."""

from types import SimpleNamespace as Check

relation = "vitrine_audit.wide_sales"
checks = [
    Check(kind="required", name="price_missing", column="price"),
    Check(kind="accepted", name="seller_state_not_accepted", column="seller_state", values="'RJ', 'SP'"),
    Check(kind="minimum", name="price_too_low", column="price", values="0"),
    Check(kind="maximum", name="review_score_too_high", column="review_score", values="5"),
    Check(kind="unique", name="key_repeated", values='"order_id", "order_item_id"'),
    Check(kind="sql", name="unpaid", query="SELECT count(*)\nFROM vitrine.wide_sales\nWHERE payment_total IS NULL"),
    Check(kind="fresh", name="days_old", column="order_date", values="DATE '2018-09-01'"),
]
