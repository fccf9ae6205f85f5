"""A report in which every string that a trace or a user can give is an attack."""

from dataclasses import replace

from scaleprof.results import Axis, Chart, Chip, Finding, Layer, Metric, Report, Result, RunReport, Table
from scaleprof.run import Emulated, RunInfo
from tests.render.made_runs import stacked

EVIL = '</script></noscript><img src=x onerror="window.evil=1"><script>window.evil=2</script>'
KERNEL = "void gemm<4, float>(x) && a<b>c</b>"
LINK = "javascript:window.evil=3"
FORMULA = '=HYPERLINK("http://evil.example")'


def evil() -> Report:
    """Every string that a trace or a user can give is an attack."""
    table = Table.of_rows(
        (EVIL, "name", "note"),
        [[EVIL, KERNEL, FORMULA], [LINK, "@SUM(1)", "-3.5"], ["a|b", "\x1b[31mred\x1b[0m", "[bold]x[/bold]"]],
    )
    result = Result(
        EVIL,
        EVIL,
        EVIL,
        (Metric(EVIL, EVIL, EVIL, EVIL, note=EVIL), Metric("n", "NaN metric", float("nan"), "ms", trend=(1.0, 2.0))),
        {EVIL: table},
        evil_charts(),
        (Finding(EVIL, EVIL, "critical", EVIL, EVIL, 0.1, "measured", EVIL),),
        (EVIL, "\x1b[31mred"),
    )
    info = RunInfo(
        EVIL,
        1,
        series=EVIL,
        model=KERNEL,
        strategy=LINK,
        versions={EVIL: EVIL},
        synthetic=True,
        emulated=Emulated(EVIL, link=EVIL),
    )
    runs = (RunReport(info, (0,), (result,), (EVIL,)), RunReport(replace(info, name=KERNEL), (0,), (result,), ()))
    return Report(
        EVIL,
        EVIL,
        runs,
        (replace(result, name="overview"), result),
        (Chip(EVIL, False, EVIL),),
        (EVIL, "\ud800 lone"),
        table,
        {"version": EVIL, "command": EVIL, "created": EVIL},
    )


def evil_charts() -> tuple[Chart, ...]:
    chart = stacked(EVIL, EVIL, [EVIL, KERNEL, "7"], [(1.0, 2.0, 0.5, 0.1)] * 3, EVIL)
    chart = replace(chart, layers=(*chart.layers, Layer(EVIL, [EVIL], [1.0], text=[EVIL])), how=EVIL, subtitle=LINK)
    line = Chart(
        LINK,
        "lines",
        KERNEL,
        EVIL,
        Axis(EVIL),
        Axis(EVIL, EVIL),
        (
            Layer(EVIL, [1, 2], [1.0, 2.0]),
            Layer(KERNEL, [1, 2], [2.0, 1.0]),
            Layer(EVIL, [1, 2], [1.5, 1.5], style="reference"),
        ),
    )
    falls = Chart(
        "w",
        "waterfall",
        EVIL,
        EVIL,
        Axis(""),
        Axis(EVIL, EVIL),
        (Layer(EVIL, [EVIL, KERNEL, LINK], [2.0, -1.0, 1.0], text=[EVIL, KERNEL, "total"]),),
    )
    heat = Chart(
        "h",
        "heatmap",
        EVIL,
        EVIL,
        Axis(EVIL),
        Axis(EVIL),
        (Layer(EVIL, [EVIL, "b"], [KERNEL, EVIL], z=[[1.0, None], [0.5, 2.0]]),),
    )
    plain = Chart(
        "b",
        "bars",
        EVIL,
        EVIL,
        Axis(EVIL),
        Axis(EVIL),
        (Layer(EVIL, [EVIL, "[bold]x[/bold]"], [1.0, -1.0], text=[EVIL, KERNEL]),),
    )
    links = Chart(
        "l",
        "loglog",
        EVIL,
        EVIL,
        Axis(EVIL, "bytes", "log10"),
        Axis(EVIL, EVIL, "log10"),
        (
            Layer(EVIL, [1.0, 1e6], [0.1, 9.0], style="marks", text=[EVIL, KERNEL]),
            Layer(KERNEL, [1.0, 1e6], [0.1, 9.0]),
            Layer(LINK, [1.0, 1e6], [1.0, 1.0], style="reference"),
        ),
    )
    return chart, line, falls, heat, plain, links
