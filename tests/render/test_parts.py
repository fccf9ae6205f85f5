"""What summaries show: classes of time that add up to the step, in the order and under the names of the charts."""

import pytest

from scaleprof.render.html import render_html
from scaleprof.render.parts import leaf_shares
from scaleprof.results import Metric, Report, Result, RunReport
from scaleprof.run import RunInfo
from tests.render.made import study


def run(name: str, **shares: float) -> RunReport:
    metrics = tuple(Metric(f"time.{leaf}_share", leaf, share, "share") for leaf, share in shares.items())
    return RunReport(RunInfo(name, 2), (0, 1), (Result("time", "Time", "", metrics),))


PIPELINE = run(
    "pp",
    compute=0.6,
    exposed_comm=0.3,
    exposed_transfer=0.1,
    bubble=0.2,
    exposed_wait=0.0,
    exposed_memory=0.0,
    idle=0.1,
)
UNTOLD = run("old", compute=0.6, exposed_comm=0.3, exposed_memory=0.0, idle=0.1)


def test_the_parts_of_exposed_communication_stand_for_it() -> None:
    heads, shares = leaf_shares([PIPELINE])
    assert list(heads.values()) == ["compute", "transfer", "bubble", "idle"]
    assert sum(shares["pp (2 ranks)"].values()) == pytest.approx(1)


def test_what_is_not_told_apart_has_a_column_beside_the_parts() -> None:
    heads, shares = leaf_shares([PIPELINE, UNTOLD])
    assert list(heads.values()) == ["compute", "transfer", "bubble", "not told apart", "idle"]
    assert "bubble" not in shares["old (2 ranks)"], "nobody knows, which is not 0"
    assert (shares["pp (2 ranks)"]["exposed_untold"], shares["old (2 ranks)"]["exposed_untold"]) == (0.0, 0.3)


def test_where_nothing_is_told_apart_it_is_exposed_communication() -> None:
    heads, _ = leaf_shares([UNTOLD])
    assert list(heads.values()) == ["compute", "exposed comm.", "idle"]
    assert leaf_shares([run("nothing")]) == (
        {"compute": "compute", "exposed_untold": "exposed comm.", "idle": "idle"},
        {},
    )


def test_the_legend_names_the_rest_as_the_charts_do() -> None:
    page = render_html(study())
    assert "</i>Exposed, not told apart</div>" in page
    assert "</i>Exposed communication</div>" not in page
    alone = render_html(Report("t", "", (), study().comparison))
    assert "</i>Exposed communication</div>" in alone


def test_classes_that_a_run_has_nothing_of_get_no_tile() -> None:
    page = render_html(Report("t", "", (PIPELINE,)))
    assert ">bubble</a>" in page
    assert ">exposed_memory</a>" not in page
