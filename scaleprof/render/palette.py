"""The colours of a report, light and dark: one colour means one class of time in every chart, and each is told apart by colour-blind eyes.

Found by a search that maximised the smallest Lab distance under normal, protan, deutan and tritan vision (Machado 2009); the test of this file
keeps the smallest distance above 15, that of a series from a class of time under normal vision as well, and the contrast with the card above 3.
Figures are made in light colours; `SWAP` turns them dark.
"""

NOT_TOLD_APART = "Exposed, not told apart"
"""What exposed communication without a cause is called beside its parts."""
PARTS = ("exposed_transfer", "exposed_wait", "bubble")
LEAF_NAMES = {
    "compute": "Compute",
    "exposed_transfer": "Exposed transfer",
    "exposed_wait": "Waiting for slow ranks",
    "bubble": "Pipeline bubble",
    "exposed_comm": "Exposed communication",
    "overlapped_comm": "Hidden communication",
    "exposed_memory": "Exposed memory copies",
    "idle": "Idle",
}

LIGHT = {
    "compute": "#2d48a9",
    "exposed_comm": "#af3e05",
    "exposed_memory": "#027a52",
    "idle": "#88919e",
    "exposed_wait": "#85175c",
    "exposed_transfer": "#d4801e",
    "bubble": "#3d86eb",
    "overlapped_comm": "#f2c3a0",
    "series-1": "#3b2fb5",
    "series-2": "#e24144",
    "series-3": "#006700",
    "series-4": "#b38a0d",
    "series-5": "#439ac4",
    "series-6": "#a60880",
    "muted": "#8d96a4",
    "total": "#5b6676",
    # Surfaces and text of a figure.
    "card": "#ffffff",
    "ink": "#171b22",
    "ink-2": "#4c5564",
    "ink-3": "#657080",
    "line": "#e1e5ea",
    "grid": "#eef0f3",
    "on-dark": "#fefefe",
    "on-light": "#161a21",
    "on-tint": "#1a1e26",
    # Colour scales: low, middle and high of a deviation; then low to high of an amount.
    "low-2": "#1f4fa9",
    "low-1": "#8fb0e3",
    "middle": "#f3f4f6",
    "high-1": "#f0b48b",
    "high-2": "#a83a02",
    "amount-0": "#f4f6fa",
    "amount-1": "#b5c7ee",
    "amount-2": "#6a88d8",
    "amount-3": "#2c46a6",
    "amount-4": "#14205c",
    # Factors: one that gains, one that loses nothing, and three that lose more and more.
    "gain": "#cfe1f8",
    "loss-0": "#eff3f1",
    "loss-1": "#fbdcc0",
    "loss-2": "#f3ad78",
    "loss-3": "#de7433",
}

DARK = {
    "compute": "#327eff",
    "exposed_comm": "#f38350",
    "exposed_memory": "#4fd6a3",
    "idle": "#7c8490",
    "exposed_wait": "#b06cc6",
    "exposed_transfer": "#ffe571",
    "bubble": "#a9cdf8",
    "overlapped_comm": "#8a4f38",
    "series-1": "#8f84ff",
    "series-2": "#e5605a",
    "series-3": "#65b17d",
    "series-4": "#e0b84a",
    "series-5": "#66f4f6",
    "series-6": "#d160ba",
    "muted": "#7a8492",
    "total": "#9aa5b4",
    "card": "#161b22",
    "ink": "#e8ecf1",
    "ink-2": "#b1bac6",
    "ink-3": "#8b95a3",
    "line": "#2b323c",
    "grid": "#222933",
    "on-dark": "#0d1118",
    "on-light": "#0e1219",
    "on-tint": "#f2f5f8",
    "low-2": "#6fb1ff",
    "low-1": "#24508c",
    "middle": "#1e242d",
    "high-1": "#8c3b1d",
    "high-2": "#ffb37a",
    "amount-0": "#1b2029",
    "amount-1": "#22376e",
    "amount-2": "#3a63c4",
    "amount-3": "#7ea6ff",
    "amount-4": "#dbe6ff",
    "gain": "#1d3f6b",
    "loss-0": "#222a33",
    "loss-1": "#4a3122",
    "loss-2": "#7c4018",
    "loss-3": "#b0500f",
}

SERIES = tuple(name for name in LIGHT if name.startswith("series-"))

SWAP = {LIGHT[name]: DARK[name] for name in LIGHT}
"""Every light colour to its dark one, for the page's theme switch; the light colours are all different."""

_DARK_FILLS = ("compute", "exposed_comm", "exposed_memory", "exposed_wait", "total", "series-1", "series-3", "series-6")


def color(name: str, place: int = 0) -> str:
    """The light colour of a palette key; an unknown or empty key takes the series colour at that place."""
    return LIGHT.get(name) or LIGHT[SERIES[place % len(SERIES)]]


def text_on(name: str) -> str:
    """The colour of text on a fill: the page swaps it together with the fill."""
    if name == "overlapped_comm":
        return LIGHT["on-tint"]
    return LIGHT["on-dark"] if name in _DARK_FILLS else LIGHT["on-light"]


def css_variables(colors: dict[str, str]) -> str:
    """The leaf and series colours as declarations of style-sheet variables."""
    shown = [*LEAF_NAMES, *SERIES, "muted"]
    return "".join(f"--{name.replace('_', '-')}:{colors[name]};" for name in shown)
