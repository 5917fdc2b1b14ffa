"""Recommender: our engines beside implicit's own models and popularity, on real and on generated sales.

Every contender is a process of its own: fitted on the same training matrix, it ranks ten new products for every
customer of the training. Seconds are fitting plus ranking, libraries loaded and kernels compiled before; memory is the
process's peak, and what it held before. The ratio is of CPU seconds, which depend less on what else runs.
Quality is that of `include.algorithms.recommender.evaluate`.

`python benchmarks/recommender.py [--data uci generated-100k generated-1m]` prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import scipy.sparse as sp

from include.algorithms import recommender, scoring
from local.data import retail

UCI = Path(__file__).parents[2] / "shared" / "data" / "online_retail.parquet"
STATUS = Path("/proc/self/status")
UNTIL = date(2024, 7, 1)
SCALES = {"generated-100k": 0.5, "generated-1m": 5.0}
PARAMETERS = recommender.Parameters(min_customers=1)
PEERS = {"ours als": "implicit als", "ours item-item": "implicit item-item"}
"""Our engine → the peer that its ratio is taken to; EASE is compared with implicit's ALS."""


def ours(engine: str) -> Callable[[sp.csr_matrix], np.ndarray]:
    """An engine of ours, with its fallbacks."""

    def rank(train: sp.csr_matrix) -> np.ndarray:
        ids = [pl.Series(np.arange(n).astype(str)) for n in train.shape]
        return recommender.recommend(scoring.Purchases(*ids, train), PARAMETERS, engine).products

    return rank


def implicit_als(train: sp.csr_matrix) -> np.ndarray:
    """The ALS of implicit with our parameters, and its own ranking."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=PARAMETERS.als_factors,
        alpha=PARAMETERS.als_confidence,
        regularization=PARAMETERS.als_regularization * scoring.noise_level(train),
        iterations=PARAMETERS.als_iterations,
        random_state=PARAMETERS.seed,
    )
    model.fit(train, show_progress=False)
    return model.recommend(np.arange(train.shape[0]), train, N=10, filter_already_liked_items=True)[0]


def implicit_item_item(train: sp.csr_matrix) -> np.ndarray:
    """The cosine neighbours of implicit, as many as ours, and its own ranking."""
    from implicit.nearest_neighbours import CosineRecommender

    model = CosineRecommender(K=PARAMETERS.neighbours)
    model.fit(train, show_progress=False)
    return model.recommend(np.arange(train.shape[0]), train, N=10, filter_already_liked_items=True)[0]


CONTENDERS: dict[str, Callable[[sp.csr_matrix], np.ndarray]] = {
    "popularity": ours(recommender.POPULARITY),
    "ours ease": ours("ease"),
    "ours als": ours("als"),
    "implicit als": implicit_als,
    "ours item-item": ours("item-item"),
    "implicit item-item": implicit_item_item,
}


def contend(name: str, folder: Path) -> dict[str, float]:
    """One contender, in this process."""
    train, test = (sp.load_npz(folder / f"{part}.npz") for part in ("train", "test"))
    scoring.warm()
    CONTENDERS[name](train[:50])
    base, wall, cpu = peak_mib(), time.perf_counter(), time.process_time()
    ranked = CONTENDERS[name](train)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = scoring.metrics(ranked, test)
    return {"wall": wall, "cpu": cpu, "base": base, "peak": peak_mib(), "recall": found.recall, "ndcg": found.ndcg}


def peak_mib() -> float:
    """The most memory this process has held so far."""
    if STATUS.exists():  # ru_maxrss would hold the peak of the process that started this one
        return int(STATUS.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def bought(name: str, folder: Path) -> tuple[pl.DataFrame, date, int]:
    """First purchases, cut-off, and number of sale lines of a data set."""
    if name == "uci":
        lines = pl.read_parquet(UCI).select(
            customer_id=pl.col("CustomerID").cast(pl.Int64).cast(pl.String),
            product_id="StockCode",
            sale_date="InvoiceDate",
            quantity="Quantity",
        )
        cutoff = date(2011, 10, 1)
    else:
        world = retail.generate(folder / name, scale=SCALES[name], seed=1, until=UNTIL)
        lines = pl.read_parquet(world.sales).select(
            "product_id", "sale_date", customer_id="cod_dim_customer", quantity="sale_unity"
        )
        cutoff = date(UNTIL.year, UNTIL.month - PARAMETERS.test_months, 1)
    sold = lines.filter(pl.col("quantity") > 0).drop_nulls(["customer_id", "product_id"])
    return recommender.first_purchases(sold), cutoff, lines.height


def compare(name: str, folder: Path) -> None:
    """All contenders on one data set, each in its process, as a Markdown table."""
    pairs, cutoff, lines = bought(name, folder)
    before = pl.col("first") < pl.lit(cutoff)
    train = scoring.Purchases.of(pairs.filter(before))
    known = pl.col("customer_id").is_in(train.customers.implode()) & pl.col("product_id").is_in(
        train.products.implode()
    )
    test = train.rows(pairs.filter(~before, known))
    sp.save_npz(folder / "train.npz", train.matrix)
    sp.save_npz(folder / "test.npz", test)
    tested = int((np.diff(test.indptr) > 0).sum())
    print(
        f"\n### {name}: {lines:,} lines; training {train.matrix.shape[0]:,} customers × "
        f"{train.matrix.shape[1]:,} products, {train.matrix.nnz:,} pairs; {tested:,} customers tested\n"
    )
    results = {}
    for contender in CONTENDERS:
        command = [sys.executable, "-m", "benchmarks.recommender", "--contend", contender, str(folder)]
        # implicit warns that BLAS threads of their own slow its threads down; every contender gets the same.
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"} if "als" in contender else os.environ
        output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        results[contender] = json.loads(output.splitlines()[-1])
    print("| contender | seconds | CPU s | peak MiB (before) | Recall@10 | NDCG@10 | × peer's CPU |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for contender, r in results.items():
        peer = PEERS.get(contender, "implicit als" if contender == "ours ease" else None)
        ratio = f"{r['cpu'] / results[peer]['cpu']:.2f}" if peer else ""
        print(
            f"| {contender} | {r['wall']:.2f} | {r['cpu']:.2f} | {r['peak']:,.0f} ({r['base']:,.0f}) "
            f"| {r['recall']:.4f} | {r['ndcg']:.4f} | {ratio} |",
            flush=True,
        )


def main() -> None:
    """Runs the comparison, or with --contend one contender of it."""
    parser = argparse.ArgumentParser(description="Our recommenders beside implicit's and popularity.")
    choices = ["uci", *SCALES]
    parser.add_argument("--data", nargs="+", choices=choices, default=choices, help="data sets (default: all)")
    parser.add_argument("--contend", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contend:
        name, folder = arguments.contend
        print(json.dumps(contend(name, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.data:
            if name == "uci" and not UCI.exists():
                print(f"\n### uci: skipped, {UCI} is not there")
            else:
                compare(name, Path(folder))


if __name__ == "__main__":
    main()
