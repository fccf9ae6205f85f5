import pytest

from scaleprof.models import scaling

# TensorFlow benchmarks of May 2017 (docs_src/performance/benchmarks.md), VGG16 with synthetic data on a DGX-1: images a second.
SIZES, IMAGES = [1, 2, 4, 8], [154.0, 295.0, 584.0, 1081.0]


def test_efficiency_and_karp_flatt_of_a_published_table() -> None:
    efficiencies = [scaling.efficiency(x, n, IMAGES[0], 1) for n, x in zip(SIZES, IMAGES, strict=True)]
    assert efficiencies == pytest.approx([1.0, 0.9578, 0.9481, 0.8774], abs=1e-4)
    fractions = [scaling.karp_flatt(x, n, IMAGES[0], 1) for n, x in zip(SIZES, IMAGES, strict=True)]
    assert fractions[0] is None
    assert fractions[1:] == pytest.approx([0.044068, 0.018265, 0.019955], abs=1e-6)


def test_karp_flatt_of_amdahl_is_the_serial_fraction_whatever_the_reference() -> None:
    for serial in (0.01, 0.1, 0.5):
        x = {n: 1 / (serial + (1 - serial) / n) for n in (1, 2, 4, 16)}
        assert scaling.karp_flatt(x[16], 16, x[1], 1) == pytest.approx(serial, rel=1e-12)
    assert scaling.efficiency(8.0, 8, 2.0, 2) == 1.0


def test_the_kind_of_a_study_follows_from_the_batches() -> None:
    assert scaling.kind_of([16, 8, 4], [16, 16, 16]) == "strong"
    assert scaling.kind_of([16, 16.1], [16, 32.2]) == "weak"
    assert scaling.kind_of([16, 12], [16, 24]) == "mixed"
