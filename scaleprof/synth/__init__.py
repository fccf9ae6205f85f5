"""Runs of jobs that never ran: a description of a job, computed to the ns, written as a profiler would have recorded it, with its truth beside it.

spec.py (what the job is) -> plan.py (what a rank does in a step) -> timeline.py (when) -> truth.py (what must be found) and writing.py, which
writes the files with rows.py (times by event), events.py (the events), dialects.py (how they are spelled) and template.py (fast).
"""
