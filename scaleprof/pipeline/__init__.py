"""The only place where families meet: paths -> runs -> facts of every rank -> one view of each run -> conclusions -> the report.

`reports.py` is the page to read first. `facts.py` is the half that runs rank by rank, in worker processes; `replayed.py` asks what a change
would bring; `exported.py` writes for other people's viewers.
"""

from scaleprof.align import RankFacts
from scaleprof.analyses.replay.edits import PAUSES, Edit
from scaleprof.export.selection import Selection
from scaleprof.pipeline.checked import Checked, Demands, check
from scaleprof.pipeline.compared import CompareOptions, compare
from scaleprof.pipeline.exported import export, export_tables
from scaleprof.pipeline.facts import facts_of_rank, write_facts_of
from scaleprof.pipeline.options import Options, Progress
from scaleprof.pipeline.replayed import analyze_operation_table, what_if
from scaleprof.pipeline.reports import analyze

__all__ = [
    "PAUSES",
    "Checked",
    "CompareOptions",
    "Demands",
    "Edit",
    "Options",
    "Progress",
    "RankFacts",
    "Selection",
    "analyze",
    "analyze_operation_table",
    "check",
    "compare",
    "export",
    "export_tables",
    "facts_of_rank",
    "what_if",
    "write_facts_of",
]
