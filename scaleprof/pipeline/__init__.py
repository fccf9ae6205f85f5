"""The only place where families meet: paths -> runs -> facts of every rank -> one view of each run -> conclusions -> the report.

`reports.py` is the page to read first. `facts.py` is the half that runs rank by rank, in worker processes; `replayed.py` asks what a change
would bring.
"""

from scaleprof.align import RankFacts
from scaleprof.analyses.edits import PAUSES, Edit
from scaleprof.pipeline.facts import facts_of_rank
from scaleprof.pipeline.options import Options, Progress
from scaleprof.pipeline.replayed import analyze_operation_table, what_if
from scaleprof.pipeline.reports import analyze

__all__ = [
    "PAUSES",
    "Edit",
    "Options",
    "Progress",
    "RankFacts",
    "analyze",
    "analyze_operation_table",
    "facts_of_rank",
    "what_if",
]
