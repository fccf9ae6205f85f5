"""From the facts of every rank to one view of the run: the only place where ranks meet.

matching.py (which operations are one) -> evidence.py (what ties the clocks) -> offsets.py (how far they are apart, and how well that is known) ->
waiting.py (waiting told from transfer) -> view.py, which holds the result.
"""

from scaleprof.align.view import CLASSES, LEAVES, RankFacts, RunView, align

__all__ = ["CLASSES", "LEAVES", "RankFacts", "RunView", "align"]
