"""Runs of jobs that never ran: a description of a job, computed to the ns, written as a profiler would have recorded it, with its truth beside it.

spec.py (what the job is; its built-in ones: jobs.py) -> mesh.py (who works with whom) -> plan.py (what a rank does in a step) -> timeline.py (when,
in the order of order.py) -> truth.py with instances.py (what must be found) and writing.py, which writes the files with rows.py (times by event),
events.py and operations.py (the events), records.py (what is said of the job), dialects.py (how it is spelled), template.py (fast), and leaves out
what damage.py says.
"""
