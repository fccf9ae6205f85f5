"""Sentences that say the same of several series, with other numbers or of other operations, said once.

`series a: misses 4 ranks by 3 %`, `series b: misses 4 ranks by 7 %` and a third become `3 series (a, b, c): misses 4 ranks by 3 to 7 %`. Only what
is said three times is taken together, and only where no more than two numbers differ: what it is about must stay clear.
"""

import re
from collections.abc import Sequence

FEWEST = 3
"""So many alike become one."""
_MOST_NAMED = 3
_MOST_DIFFERENT = 2
_LEAST_HEAD = 40  # letters before a colon, from which on what follows is a list of what it is about
_AMOUNT = re.compile(
    r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?=[ \u00a0](?:%|ns|µs|ms|s|[kMGT]?B|[MG]B/s|ppm|times|edges)(?![\w/]))"
)
"""A number that is a measure: rank 3 and rank 7 are not ranks 3 to 7."""


def folded(sentences: Sequence[str], names: Sequence[str] = ()) -> list[tuple[str, list[int]]]:
    """The sentences in order, those alike as one where the first stood, each with the places of those it stands for; `names` are series."""
    alike: dict[str, list[int]] = {}
    for place, sentence in enumerate(sentences):
        alike.setdefault(_pattern(sentence, names), []).append(place)
    found: list[tuple[str, list[int]]] = []
    for places in alike.values():
        texts = [sentences[place] for place in places]
        one = _as_one(texts, names) if len(set(texts)) >= FEWEST else None
        found += [(one, places)] if one else [(sentences[place], [place]) for place in places]
    return sorted(found, key=lambda said: said[1][0])


def _pattern(sentence: str, names: Sequence[str]) -> str:
    """What is the same in sentences that are alike."""
    about, rest = _about(sentence, names)
    head, colon, _ = rest.partition(": ")
    kept = head + colon if colon and len(head) >= _LEAST_HEAD and not _AMOUNT.search(head) else rest
    return f"{bool(about)} {_AMOUNT.sub('#', kept)}"


def _about(sentence: str, names: Sequence[str]) -> tuple[str, str]:
    """The series that a sentence opens with, and the rest of it."""
    head, colon, rest = sentence.partition(": ")
    label = re.sub(r"^[Ss]eries ", "", head)
    return (label, rest) if colon and label in names else ("", sentence)


def _as_one(texts: Sequence[str], names: Sequence[str]) -> str | None:
    """One sentence for all; None where they differ in too much."""
    told = [_about(text, names) for text in texts]
    labels = list(dict.fromkeys(label for label, _ in told if label))
    opening = f"{len(labels)} series ({_named(labels)}): " if labels else ""
    rests = [rest for _, rest in told]
    patterns = {_AMOUNT.sub("#", rest) for rest in rests}
    if len(patterns) > 1:  # the same is said of different operations
        head = rests[0].partition(": ")[0]
        items = list(dict.fromkeys(item for rest in rests for item in rest.partition(": ")[2].rstrip(".").split("; ")))
        return f"{opening}{head}: {_named(items, between='; ')}"
    numbers = list(zip(*(_AMOUNT.findall(rest) for rest in rests), strict=True))
    if sum(len(set(column)) > 1 for column in numbers) > _MOST_DIFFERENT:
        return None
    ranges = iter(_range(column) for column in numbers)
    return opening + _AMOUNT.sub(lambda _: next(ranges), rests[0])


def _named(items: Sequence[str], *, between: str = ", ") -> str:
    more = len(items) - _MOST_NAMED
    return between.join(items[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _range(column: Sequence[str]) -> str:
    """`3 to 7`; one number where all are the same."""
    ordered = sorted(set(column), key=lambda text: float(text.replace(",", "")))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"
