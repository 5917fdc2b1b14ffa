"""Pure dataframe functions: narwhals lazy frames in, narwhals lazy frames out; the same code on Polars and on Spark.

Those of the geo analyses (ctr, visits, attribution, attractiveness, profiles, privacy) run on Dask as well.

No function here reads, writes or collects: `nw.from_native(frame)` on the way in, `.to_native()` on the way out.
"""
