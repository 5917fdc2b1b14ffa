"""Market basket: our LCM miner and rules against mlxtend's fpgrowth and association_rules, on the same baskets.

    python -m benchmarks.mba [online_retail] [plan] [100k] [1m]

- online_retail: all products of the UCI data at 0.5 % support, item sets of any length;
- plan: what the product does by default: its 300 best sellers, support 0.005 %, pairs (mlxtend takes minutes);
- 100k, 1m: generated lines, 2 000 products of very unequal popularity with planted companions, 0.1 %, any length.

Item sets and rules must be equal, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measure

MODULE = "benchmarks.mba"
CONTENDERS = ("lcm", "mlxtend")
ONLINE_RETAIL = Path(__file__).parents[2] / "shared" / "data" / "online_retail.parquet"
#: Input → support, greatest length.
INPUTS: dict[str, tuple[float, int | None]] = {
    "online_retail": (0.005, None),
    "plan": (5e-5, 2),
    "100k": (0.001, None),
    "1m": (0.001, None),
}


def prepare(name: str, path: Path) -> None:
    """Writes basket code and item code of every line, and the number of baskets."""
    import numpy as np

    baskets, items, transactions = _generated(name) if name in ("100k", "1m") else _online_retail(top=name == "plan")
    np.savez(path, baskets=baskets, items=items, transactions=transactions)


def _generated(name: str) -> tuple[Any, Any, int]:
    import numpy as np

    rng = np.random.default_rng(20)
    lines, products = {"100k": 100_000, "1m": 1_000_000}[name], 2_000
    baskets = np.sort(rng.integers(0, lines // 8, lines))
    popularity = 1 / np.arange(5, products + 5)
    items = rng.choice(products, lines, p=popularity / popularity.sum())
    # Every tenth line buys the companion of the line before, so that there is something to find.
    follows = np.flatnonzero((rng.random(lines) < 0.1) & (np.diff(baskets, prepend=-1) == 0))
    items[follows] = (items[follows - 1] * 7 + 1) % products
    _, codes = np.unique(baskets, return_inverse=True)
    return codes, items, int(codes.max()) + 1


def _online_retail(top: bool) -> tuple[Any, Any, int]:
    import polars as pl

    if not ONLINE_RETAIL.exists():
        raise SystemExit(f"{ONLINE_RETAIL} is absent: fetch the UCI Online Retail data, or ask for 100k or 1m")
    sold = pl.read_parquet(ONLINE_RETAIL).filter(pl.col("Quantity") > 0, pl.col("StockCode").str.contains(r"^\d{5}"))
    transactions = sold["InvoiceNo"].n_unique()
    if top:
        best = sold.group_by("StockCode").agg(pl.col("Quantity").sum()).sort("Quantity", "StockCode").tail(300)
        sold = sold.join(best, on="StockCode", how="semi")
    codes = sold.select(pl.col("InvoiceNo").rank("dense") - 1, pl.col("StockCode").rank("dense") - 1)
    return codes["InvoiceNo"].to_numpy(), codes["StockCode"].to_numpy(), transactions


def compete(contender: str, name: str, path: Path) -> None:
    """Mines the baskets and makes the rules, with one engine."""
    import numpy as np

    from include.algorithms import itemsets, rules

    mine, make = {
        "lcm": (itemsets.mine, rules.single_consequent),
        "mlxtend": (itemsets.mine_with_mlxtend, rules.single_consequent_with_mlxtend),
    }[contender]
    support, max_length = INPUTS[name]

    def warm() -> None:
        itemsets.warm()
        rules.warm()
        make(mine(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), 2, 1, None))

    def work(lines: Any) -> dict[str, Any]:
        transactions = int(lines["transactions"])
        count = itemsets.min_count(support, transactions)
        found = mine(lines["baskets"], lines["items"], transactions, count, max_length)
        table = make(found)
        return {
            "baskets": transactions,
            "item_sets": len(found),
            "sets": hashlib.sha256(b"".join(x.tobytes() for level in found.levels for x in level)).hexdigest(),
            "rules": table.height,
            "metrics": {name: table[name].sum() for name in ("confidence", "lift", "leverage", "zhang", "q_value")},
        }

    measure.measured(lambda: dict(np.load(path)), warm, work)


def main() -> None:
    """Runs the benchmark, or one contender of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "inputs", nargs="*", metavar="input", help=f"{', '.join(INPUTS)}; default: online_retail 100k 1m"
    )
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a contender may take (default: 1800)")
    for hidden in ("--contender", "--prepare", "--input", "--name"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        return prepare(arguments.prepare, Path(arguments.input))
    if arguments.contender:
        return compete(arguments.contender, arguments.name, Path(arguments.input))

    names = arguments.inputs or ["online_retail", "100k", "1m"]
    if unknown := set(names) - set(INPUTS):
        parser.error(f"unknown input {', '.join(unknown)}; there are {', '.join(INPUTS)}")
    with tempfile.TemporaryDirectory(prefix="mba-") as folder:
        for name in names:
            path = measure.prepared(MODULE, name, Path(folder))
            found = measure.contend(MODULE, CONTENDERS, ["--name", name, "--input", str(path)], arguments.timeout)
            print(measure.markdown(f"mba, {name}", found, _note(name, found)), flush=True)
    return None


def _note(name: str, found: list[measure.Measurement]) -> str:
    """What was found, after checking that all found the same."""
    first = found[0].result
    for other in found[1:]:
        for key in ("baskets", "item_sets", "sets", "rules"):
            if other.result[key] != first[key]:
                raise SystemExit(f"{name}: {key} of {other.contender} is {other.result[key]}, not {first[key]}")
        for metric, value in first["metrics"].items():
            if not math.isclose(other.result["metrics"][metric], value, rel_tol=1e-9):
                raise SystemExit(
                    f"{name}: Σ {metric} of {other.contender} is {other.result['metrics'][metric]}, not {value}"
                )
    support, max_length = INPUTS[name]
    return (
        f"{first['baskets']:,} baskets, support {support:.3%}, length {max_length or 'any'}: "
        f"{first['item_sets']:,} item sets and {first['rules']:,} rules, equal."
    )


if __name__ == "__main__":
    main()
