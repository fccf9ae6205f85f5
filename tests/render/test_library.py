"""The part of plotly.js that is cut for pages: what is kept, word for word, and that a bundle built in another way stays whole."""

import re

import pytest

from scaleprof.render.charts import plotly_script, plotly_version, spec_of
from scaleprof.render.library import KINDS, library_for_pages
from scaleprof.render.parts import with_variants
from tests.render.made import REPORTS

NOTICES = "/*! More licences */\n"
MODULES = [
    'var version=W((e,t)=>{t.exports="1"});',
    'var bar=W((e,t)=>{t.exports={moduleType:"trace",name:"bar",say:`a ${"}`"+{b:`)`}.b} c`}});',
    "var libBar=W((e,t)=>{t.exports=bar()});",
    'var globe=W((e,t)=>{var r=/[/}"]/.test("{")/2;t.exports={moduleType:"trace",name:"globe",needs:round()}});',
    "var libGlobe=W((e,t)=>{t.exports=globe()});",
    'var scatter=W((e,t)=>{t.exports={moduleType:"trace",name:"scatter",color:(red(),shades)}});',
    "var shades={};X(shades,{deep:()=>deep});function deep(){return mixed}var mixed,red=E(()=>{mixed=1});",
    "function turn(){return 1}var half,round=E(()=>{half=turn()});",
    "var core=W((e,t)=>{version();t.exports={register:(o)=>o,own:scatter()}});",
    "var all=W((e,t)=>{var r=core();r.register([libBar(),libGlobe()]);t.exports=r});",
]
HELPERS = (
    "var E=(e,t)=>()=>(e&&(t=e(e=0)),t);var W=(e,t)=>()=>(t||e((t={exports:{}}).exports,t),t.exports),X=(e,t)=>{};"
)
TWO = frozenset({"bar", "scatter"})


def bundle(modules: list[str]) -> str:
    head = '/** plotly */\n(function(r,f){r.moduleName=f()}(self,()=>{\n"use strict";var Plotly=(()=>{'
    return (
        f"{head}{HELPERS}{''.join(modules)}return all();}})();\n{NOTICES}window.Plotly = Plotly;\nreturn Plotly;\n}}));"
    )


def in_brackets(module: str) -> str:
    """The function of a module in brackets, which browsers read once."""
    return re.sub(r"(=[WE]\()(.*)\);$", r"\1(\2));", module)


def test_what_the_wanted_kinds_need_is_kept_word_for_word_and_in_order() -> None:
    kept = [in_brackets(MODULES[place]) for place in (0, 1, 2, 5, 6, 8, 9)]
    kept[-1] = kept[-1].replace("libBar(),libGlobe()", "libBar()")
    expected = "\n".join([HELPERS, *kept, "return all();"])
    cut = library_for_pages(bundle(MODULES), TWO)
    assert cut == f'/** plotly */\nwindow.Plotly=(()=>{{"use strict";{expected}\n}})();\n{NOTICES}'


@pytest.mark.parametrize(
    "other",
    [
        pytest.param("", id="nothing"),
        pytest.param("window.Plotly = {};", id="no bundle"),
        pytest.param(bundle(MODULES).replace("return all();", "start();return all();"), id="something is done"),
        pytest.param(bundle(MODULES).replace("register([", "add(["), id="no list of kinds"),
        pytest.param(bundle([*MODULES[:3], MODULES[1], *MODULES[3:]]), id="two modules of one name"),
        pytest.param(bundle(MODULES).replace('name:"bar"', 'name:"rod"'), id="a kind is missing"),
        pytest.param(bundle(MODULES).replace("e((t={exports", "e(t={({exports"), id="other modules"),
        pytest.param(bundle(MODULES).replace('"}`"', '"}`'), id="a string without an end"),
        pytest.param(bundle(MODULES).replace("var libBar=", "var loose=1;var libBar="), id="a variable of its own"),
        pytest.param(bundle(MODULES)[:-30], id="cut off"),
    ],
)
def test_a_bundle_that_is_built_in_another_way_stays_whole(other: str) -> None:
    assert library_for_pages(other, TWO) == other


def test_of_the_installed_plotly_a_quarter_is_kept_with_its_notice() -> None:
    whole = plotly_script()
    cut = library_for_pages(whole)
    assert len(cut) < len(whole) / 3
    assert cut.startswith("/**\n* plotly.js v" + plotly_version())
    assert "MIT license" in cut[:300]
    kinds = set(re.findall(r'moduleType:"trace",name:"(\w+)"', cut))
    assert kinds >= KINDS
    assert not kinds & {"scattergl", "surface", "scattermap", "sankey"}


@pytest.mark.parametrize("name", REPORTS)
def test_figures_consist_of_the_kinds_that_the_library_draws(name: str) -> None:
    charts = [chart for section in with_variants(REPORTS[name]()) for chart in section.charts]
    assert {trace["type"] for chart in charts for trace in spec_of(chart)["data"]} <= KINDS
