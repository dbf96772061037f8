"""The flood for a minute: what a node bears is what it bears when heads are flushed and files merged meanwhile."""

import msgspec

from bench.harness import Options, Report
from bench.ingest_flood import ours

NAME = "flood_minute"
_SECONDS = 60.0


def run(options: Options) -> Report:
    """Our node alone, with device times; that all acknowledged points are found is asserted."""
    report = Report(NAME, "The flood for 60 seconds: our node alone, every point with its device's time")
    if not options.smoke:
        options = msgspec.structs.replace(options, seconds=_SECONDS)
    for connections in (1,) if options.smoke else (1, 50):
        row = ours(options, connections, timestamps=True)
        del row["server"]
        report.rows.append(row)
    report.note("As in the ingest flood; every acknowledged point was found in the history afterwards.")
    report.note("Goal: 450,000 points/s with all found and at most 700 MB.")
    return report
