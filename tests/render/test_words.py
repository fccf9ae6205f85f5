"""How numbers read."""

import pytest

from scaleprof.render.words import heading, interval, measure, number, percent, phrase, shortened, together


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (7, "7"), (1024, "1,024"), (48.123, "48.1"), (999.7, "1,000"), (0.071312, "0.0713"),
        (2.5e-6, "2.50e-06"), (19_912_345.6, "19.9 M"), (150_000, "150 k"), (-3.14159, "-3.14"), (8.0, "8"),
        (True, "yes"), (None, "–"), (float("nan"), "–"), (float("inf"), "–"), ("DDP", "DDP"), (9.999, "10.0"),
    ],
)  # fmt: skip
def test_a_number_has_three_significant_digits(value: object, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.22249, "share", ("22.2", "%")), (1.0, "share", ("100.0", "%")), (0.0, "share", ("0", "%")),
        (0.0004, "share", ("0.04", "%")), (152.0, "ms", ("152", "ms")), (1280.0, "ms", ("1.28", "s")),
        (0.0123, "ms", ("12.3", "µs")), (3e-6, "ms", ("3", "ns")), (0.512, "ms", ("0.512", "ms")),
        (50e6, "bytes", ("50.0", "MB")), (8, "bytes", ("8", "B")), (19.9e6, "samples/s", ("19.9", "M samples/s")),
        (2.714, "x", ("2.71", "×")), ("strong", "", ("strong", "")), (float("nan"), "ms", ("–", "")),
        (12.5, "GB/s", ("12.5", "GB/s")), (1.76e8, "FLOP", ("176", "MFLOP")), (40, "FLOP", ("40", "FLOP")),
        (0.0213, "TFLOP/s", ("0.0213", "TFLOP/s")), (0.0236, "GB/s", ("23.6", "MB/s")), (0.23, "GB/s", ("230", "MB/s")),
        (2e-5, "share", ("0.00", "%")),
        (-1e-6, "share", ("0.00", "%")), (138.9, "us", ("140", "µs")), (0.768, "us", ("0.77", "µs")), (0, "us", ("0", "µs")),
        (2249.0, "us", ("2.2", "ms")),
    ],
)  # fmt: skip
def test_a_measure_has_its_unit(value: object, unit: str, shown: tuple[str, str]) -> None:
    assert measure(value, unit) == shown


def test_words_around_numbers() -> None:
    assert percent(0.678) == "67.8"
    assert phrase(0.137, "share") == "13.7 %"
    assert interval(0.71, 0.749, "share") == "71.0 to 74.9 %"
    assert interval(418.2, 423.9, "samples/s", beside="samples/s") == "418 to 424"
    assert interval(900.0, 1100.0, "ms") == "900 ms to 1.10 s"
    assert interval(102.81, 102.83, "ms", beside="ms") == "within 0.01 %"
    assert interval(0.9995, 0.9998, "share") == "within 0.02 %"
    assert interval(None, 1.0, "ms") == interval(float("nan"), 1.0, "ms") == ""
    assert together("3.0 % of 152 ms in 4 sizes") == "3.0\u00a0% of 152\u00a0ms in 4 sizes"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("step_ms", ("step", "ms")), ("efficiency", ("efficiency", "share")), ("karp_flatt", ("Karp-Flatt", "")),
        ("runq_share", ("run-queue wait", "share")), ("bytes", ("bytes", "bytes")), ("busbw_gbps", ("busbw", "GB/s")),
        ("exposed_wait_ms", ("waiting for slow ranks", "ms")), ("bubble_growth_ms", ("pipeline bubble growth", "ms")),
        ("drift_ppm", ("drift", "ppm")), ("alpha_us", ("latency", "µs")), ("half_width_us", ("error, 95 %", "µs")),
        ("ranks read", ("ranks read", "")), ("", ("", "")), ("against_median", ("against median", "share")),
        ("parallel", ("parallel", "share")), ("scaling_efficiency", ("scaling efficiency", "share")),
    ],
)  # fmt: skip
def test_the_name_of_a_column_tells_its_unit(column: str, words: tuple[str, str]) -> None:
    assert heading(column) == words


def test_a_long_name_keeps_both_ends() -> None:
    assert shortened("short", 40) == "short"
    cut = shortened("ampere_sgemm_128x64_tn" * 10, 30)
    assert len(cut) == 30
    assert cut.startswith("ampere")
    assert cut.endswith("tn")
