"""The picture of strategies in a real browser: drawn as asked, its labels inside it and free of one another on screens of any width."""

from pathlib import Path
from typing import Any

import pytest

from tests.render.in_browser import IN_BROWSER, Opener, draw_all
from tests.render.made_scatter import POINTS, strategies

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("scatter") / "strategies.html"
    file.write_text(strategies().to_html(), encoding="utf-8")
    return f"file://{file}"


def pictures(page: Any) -> list[dict[str, Any]]:
    """Of every picture: its box, traces as asked and as drawn, and the boxes of its labels and marks."""
    return list(
        page.evaluate(
            """() => Array.from(document.querySelectorAll('.plot')).filter((plot) => plot.data && plot.clientWidth).map((plot) => {
              const box = (node) => { const r = node.getBoundingClientRect(); return [r.left, r.right, r.top, r.bottom]; };
              const all = (what) => Array.from(plot.querySelectorAll(what));
              return {
                own: box(plot),
                types: plot.data.map((trace, place) => [trace.type, plot._fullData[place].type]),
                labels: all('.annotation-text').map((text) => [text.textContent, box(text)]),
                marks: all('.scatterlayer .point').map(box),
                bars: all('.errorbar').length,
                stepped: all('.scatterlayer .js-line').length,
              };
            })"""
        )
    )


def overlap(one: list[float], other: list[float]) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labels_lie_inside_the_picture_and_cover_nothing(opened: Opener, url: str, width: int, scheme: str) -> None:
    page, seen = opened("", url=url, viewport={"width": width, "height": 900}, color_scheme=scheme)
    draw_all(page)
    drawn = pictures(page)
    assert [len(picture["labels"]) for picture in drawn] == [len(POINTS), 4, 4]
    assert (drawn[0]["bars"], drawn[0]["stepped"], len(drawn[0]["marks"])) == (len(POINTS), 1, len(POINTS))
    assert [picture["bars"] for picture in drawn[1:]] == [3, 3], "one has no interval"
    for picture in drawn:
        assert all(asked == got == "scatter" for asked, got in picture["types"])
        left, right, top, bottom = picture["own"]
        boxes = [box for _, box in picture["labels"]]
        for place, box in enumerate(boxes):
            assert left <= box[0] and box[1] <= right and top <= box[2] and box[3] <= bottom, picture["labels"][place]
            assert not any(overlap(box, other) for other in boxes[place + 1 :]), picture["labels"][place]
            assert not any(overlap(box, mark) for mark in picture["marks"]), picture["labels"][place]
    assert seen.unexpected == []
    assert page.evaluate("() => document.documentElement.scrollWidth") == width
