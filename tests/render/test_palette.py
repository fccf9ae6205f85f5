"""The colours can be told apart with normal, protan, deutan and tritan vision, and stand out from the card."""

from itertools import combinations

import numpy as np
import pytest

from scaleprof.render.palette import DARK, LEAF_NAMES, LIGHT, SERIES, SWAP, text_on

SMALLEST_DISTANCE = 15
# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
VISIONS = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(color: str) -> np.ndarray:
    values = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    t = TO_XYZ @ rgb / WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(first: str, second: str) -> float:
    light, dark = sorted((float(TO_XYZ[1] @ linear(color)) for color in (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("family", [tuple(LEAF_NAMES), SERIES], ids=["leaves", "series"])
@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_no_two_colors_of_a_family_look_alike(colors: dict[str, str], family: tuple[str, ...], vision: str) -> None:
    seen = {name: lab(np.clip(np.array(VISIONS[vision]) @ linear(colors[name]), 0, 1)) for name in family}
    distances = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(family, 2)}
    closest = min(distances, key=lambda pair: distances[pair])
    assert distances[closest] >= SMALLEST_DISTANCE, (closest, distances[closest])


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_no_series_has_the_color_of_a_class_of_time(colors: dict[str, str]) -> None:
    # Not under every vision: fourteen colours that are all told apart by everybody there are none.
    for series in SERIES:
        for leaf in LEAF_NAMES:
            distance = float(np.linalg.norm(lab(linear(colors[series])) - lab(linear(colors[leaf]))))
            assert distance >= SMALLEST_DISTANCE, (series, leaf, distance)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_fills_and_lines_stand_out_from_the_card(colors: dict[str, str]) -> None:
    # Hidden communication costs nothing and is meant to stand back; it is hatched as well.
    for name in {*LEAF_NAMES, *SERIES, "muted", "total"} - {"overlapped_comm"}:
        assert contrast(colors[name], colors["card"]) >= 2.95, name


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_on_cards_and_on_fills(colors: dict[str, str]) -> None:
    for name in ("ink", "ink-2", "ink-3"):
        assert contrast(colors[name], colors["card"]) >= 4.5, name
    key_of = {value: name for name, value in LIGHT.items()}
    for name in [*LEAF_NAMES, *SERIES]:
        assert contrast(colors[key_of[text_on(name)]], colors[name]) >= 4.0, name


def test_every_light_color_has_one_dark_color() -> None:
    assert set(LIGHT) == set(DARK)
    assert len(SWAP) == len(LIGHT), "two names share a light colour, so the page could not tell which dark one is meant"


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_a_loss_can_be_seen_and_its_number_read(colors: dict[str, str], vision: str) -> None:
    names = ("gain", "loss-0", "loss-1", "loss-2", "loss-3")
    seen = [lab(np.clip(np.array(VISIONS[vision]) @ linear(colors[name]), 0, 1)) for name in names]
    for place in range(len(names) - 1):
        distance = float(np.linalg.norm(seen[place] - seen[place + 1]))
        assert distance >= 10, (names[place], names[place + 1], distance)
    for name in names:
        assert contrast(colors["on-tint"], colors[name]) >= 4.5, name
