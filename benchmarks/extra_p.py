"""What Extra-P (PyPI `extrap`) predicts: run by the Python of its own environment, with splits as JSON on standard input and predictions on standard
output. For each split a list of [sizes, values, sizes asked for]; the answer is a list of values, or of the reason in words.
"""

import json
import logging
import sys
from collections.abc import Sequence


def predicted(sizes: Sequence[float], values: Sequence[float], asked: Sequence[float]) -> list[float]:
    """Its default model of these values, at the sizes asked for."""
    from extrap.entities.callpath import Callpath
    from extrap.entities.coordinate import Coordinate
    from extrap.entities.experiment import Experiment
    from extrap.entities.measurement import Measurement
    from extrap.entities.metric import Metric
    from extrap.entities.parameter import Parameter
    from extrap.modelers.model_generator import ModelGenerator

    experiment = Experiment()
    experiment.add_parameter(Parameter("p"))
    call, metric = Callpath("main"), Metric("time")
    experiment.add_callpath(call)
    experiment.add_metric(metric)
    for size, value in zip(sizes, values, strict=True):
        at = Coordinate(float(size))
        experiment.add_coordinate(at)
        experiment.add_measurement(Measurement(at, call, metric, [float(value)]))
    generator = ModelGenerator(experiment, modeler="Default", use_median=True)
    generator.model_all()
    function = generator.models[call, metric].hypothesis.function
    return [float(function.evaluate(float(size))) for size in asked]


def main() -> None:
    """Answer every split that is asked."""
    logging.disable(logging.WARNING)
    answers: list[object] = []
    for sizes, values, asked in json.load(sys.stdin):
        try:
            answers.append(predicted(sizes, values, asked))
        except (ArithmeticError, LookupError, ValueError) as error:
            answers.append(f"{type(error).__name__}: {error}")
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
