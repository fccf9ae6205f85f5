"""Traces of all ranks on the run's clock, for viewers of other people: Chrome JSON, Perfetto's own format; and tables, as CSV or Parquet.

extent.py (what ranks must know of one another: facts) -> placing.py (from a rank's clock to the file's) -> flows.py (which slices of different ranks
are one operation) -> shard.py (a rank as tracks and curves, by lanes.py, thinning.py, tracks.py with nesting.py, and series.py) -> chrome.py or
pftrace.py. selection.py is what was asked for; tables.py needs none of this.
"""
