"""Customer lifetime value: our summary, fit and predictions against the package lifetimes, on the same purchases.

    python -m benchmarks.clv [online_retail] [100k] [1m]

- online_retail: the UCI data, 13 months to 2011-12-10;
- 100k, 1m: generated sale lines of a year, of customers who differ in rate, drop-out and spend.

Each contender goes from sale lines to the value of 12 months of every customer, with 1 % discount a month. Summaries
must be equal, log-likelihoods to 1e-6, the total value to 1e-3, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import measure

MODULE = "benchmarks.clv"
CONTENDERS = ("grouped", "lifetimes")
ONLINE_RETAIL = Path(__file__).parents[2] / "shared" / "data" / "online_retail.parquet"
INPUTS = ("online_retail", "100k", "1m")
END = date(2011, 12, 10)
MONTHS, DISCOUNT_RATE = 12, 0.01


def prepare(name: str, path: Path) -> None:
    """Writes customer number, days before the end, and amount of every sale line; every day's sum is above 0."""
    import numpy as np

    customers, before, amounts = _online_retail() if name == "online_retail" else _generated(name)
    np.savez(path, customers=customers, before=before, amounts=amounts)


def _generated(name: str) -> tuple[Any, Any, Any]:
    import numpy as np

    rng = np.random.default_rng(30)
    lines = {"100k": 100_000, "1m": 1_000_000}[name]
    n = lines // 2  # More customers than needed: each has a line or more.
    left = rng.uniform(0, 365, n)  # Time left until the end, at the next purchase.
    rate, dropout, spend = rng.gamma(0.8, 1 / 25, n), rng.beta(0.9, 3.0, n), 60 / rng.gamma(4.0, 1.0, n)
    alive, repeat = np.arange(n), False
    customers, days = [], []
    while len(alive):
        bought = np.repeat(alive, rng.integers(1, 4, len(alive)))  # One to three lines a purchase.
        customers.append(bought)
        days.append(np.ceil(left[bought]).astype(np.int64))
        if repeat:
            alive = alive[rng.random(len(alive)) >= dropout[alive]]
        repeat = True
        left[alive] -= rng.exponential(1 / rate[alive])
        alive = alive[left[alive] > 0]
    customer, day = np.concatenate(customers), np.concatenate(days)
    whole = np.cumsum(np.bincount(customer, minlength=n)) <= lines  # The first customers, with all of their lines.
    customer, day = customer[whole[customer]], day[whole[customer]]
    return customer, day, np.round(rng.gamma(6, spend[customer] / 6) + 0.01, 2)


def _online_retail() -> tuple[Any, Any, Any]:
    import polars as pl

    if not ONLINE_RETAIL.exists():
        raise SystemExit(f"{ONLINE_RETAIL} is absent: fetch the UCI Online Retail data, or ask for 100k or 1m")
    amount = pl.col("Quantity") * pl.col("UnitPrice")
    sold = pl.read_parquet(ONLINE_RETAIL).filter(pl.col("CustomerID").is_not_null(), amount > 0)
    sold = sold.select(
        pl.col("CustomerID").cast(pl.Int64),
        before=(pl.lit(END) - pl.col("InvoiceDate").dt.date()).dt.total_days(),
        amount=amount.round(2),
    )
    return sold["CustomerID"].to_numpy(), sold["before"].to_numpy(), sold["amount"].to_numpy()


def compete(contender: str, path: Path) -> None:
    """From sale lines to values, with one engine."""
    import numpy as np
    import polars as pl

    from include.algorithms import lifetime_value, rfm

    def load() -> pl.DataFrame:
        arrays = np.load(path)
        return (
            pl.DataFrame({"customer_id": arrays["customers"], "amount": arrays["amounts"], "before": arrays["before"]})
            .select("customer_id", "amount", day=pl.lit(END) - pl.duration(days="before"))
            .cast({"day": pl.Date})
        )

    def summarised(lines: pl.DataFrame) -> pl.DataFrame:
        if contender == "grouped":
            return rfm.summary(rfm.purchase_days(lines), END)
        from lifetimes.utils import summary_data_from_transaction_data

        frame = lines.with_columns(pl.col("day").cast(pl.Datetime("ns"))).to_pandas()
        summary = summary_data_from_transaction_data(
            frame, "customer_id", "day", "amount", observation_period_end=END.isoformat(), freq="D"
        )
        names = {"T": "age", "monetary_value": "monetary"}
        return pl.from_pandas(summary.sort_index().reset_index()).rename(names).cast({"frequency": pl.Int64})

    def work(lines: pl.DataFrame) -> dict[str, Any]:
        customers = summarised(lines)
        predict = {"grouped": lifetime_value.grouped, "lifetimes": lifetime_value.with_lifetimes}[contender]
        predicted, fitted = predict(customers, MONTHS, DISCOUNT_RATE)
        sums = customers.select(pl.len().alias("customers"), pl.col("frequency", "recency", "age", "monetary").sum())
        return {
            "lines": lines.height,
            **sums.row(0, named=True),
            "bgnbd": fitted["bgnbd"],
            "gamma_gamma": fitted["gamma_gamma"],
            "clv": predicted["clv"].sum(),
        }

    def warm() -> None:
        import scipy.optimize  # noqa: F401

        if contender == "lifetimes":
            import lifetimes.utils  # noqa: F401

    measure.measured(load, warm, work)


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", metavar="input", help=f"{', '.join(INPUTS)}; default: all")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a contender may take (default: 1800)")
    for hidden in ("--contender", "--prepare", "--input"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        return prepare(arguments.prepare, Path(arguments.input))
    if arguments.contender:
        return compete(arguments.contender, Path(arguments.input))

    names = arguments.inputs or INPUTS
    if unknown := set(names) - set(INPUTS):
        parser.error(f"unknown input {', '.join(unknown)}; there are {', '.join(INPUTS)}")
    with tempfile.TemporaryDirectory(prefix="clv-") as folder:
        for name in names:
            path = measure.prepared(MODULE, name, Path(folder))
            found = measure.contend(MODULE, CONTENDERS, ["--input", str(path)], arguments.timeout)
            print(measure.markdown(f"clv, {name}", found, _note(name, found)), flush=True)
    return None


def _note(name: str, found: list[measure.Measurement]) -> str:
    """What was found, after checking that all found the same."""
    first = found[0].result
    for other in found[1:]:
        checks = [
            (key, other.result[key], first[key], 1e-9)
            for key in ("customers", "frequency", "recency", "age", "monetary")
        ]
        checks += [
            (model, other.result[model]["log_likelihood"], first[model]["log_likelihood"], 1e-6)
            for model in ("bgnbd", "gamma_gamma")
        ]
        checks.append(("clv", other.result["clv"], first["clv"], 1e-3))
        for key, value, expected, tolerance in checks:
            if not math.isclose(value, expected, rel_tol=tolerance):
                raise SystemExit(f"{name}: {key} of {other.contender} is {value}, not {expected}")
    fits = "; ".join(
        f"{one.contender} "
        + ", ".join(
            f"{key} {value:.5g}" for model in ("bgnbd", "gamma_gamma") for key, value in one.result[model].items()
        )
        for one in found
    )
    return f"{first['lines']:,} lines, {first['customers']:,} customers, equal summaries and values. {fits}."


if __name__ == "__main__":
    main()
