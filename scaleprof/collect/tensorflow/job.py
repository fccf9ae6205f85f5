"""What TensorFlow says of a job: which process this is, how the processes share the work, and what is trained.

Nothing here asks another process, and TensorFlow is imported by nobody but the training: what it has not loaded cannot be seen.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scaleprof.collect.found.job import Found
from scaleprof.collect.written.identity import Identity, short

_STRATEGIES = {
    "CollectiveAllReduceStrategy": "multi_worker_mirrored",
    "MultiWorkerMirroredStrategy": "multi_worker_mirrored",
    "_CollectiveAllReduceStrategyExperimental": "multi_worker_mirrored",
    "MirroredStrategy": "mirrored",
    "ParameterServerStrategyV2": "parameter_server",
    "TPUStrategy": "tpu",
    "TPUStrategyV2": "tpu",
    "_DefaultDistributionStrategy": "single",
    "OneDeviceStrategy": "single",
}
_TRAINERS = ("chief", "worker")


def identity_from_tf_config(environment: Mapping[str, str] = os.environ) -> Identity | None:
    """Rank and number of the processes that train, from `TF_CONFIG`: the chief first, then the workers; None where it says nothing of this one."""
    config = _config(environment)
    cluster, task = config.get("cluster"), config.get("task")
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        return None
    counts = [len(hosts) if isinstance(hosts := cluster.get(name), list | dict) else 0 for name in _TRAINERS]
    kind, index = task.get("type"), task.get("index")
    if kind not in _TRAINERS or not str(index).isdecimal() or int(str(index)) >= counts[_TRAINERS.index(kind)]:
        return None
    return Identity(int(str(index)) + (counts[0] if kind == "worker" else 0), sum(counts))


def run_id_from_tf_config(environment: Mapping[str, str] = os.environ) -> str | None:
    """An id that every process of the cluster finds without asking; None without a cluster. Addresses cannot be read out of it."""
    cluster = _config(environment).get("cluster")
    return f"tf-{short(json.dumps(cluster, sort_keys=True))}" if isinstance(cluster, dict) and cluster else None


def trains_nothing(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process holds parameters or evaluates, and is no rank."""
    task = _config(environment).get("task")
    return isinstance(task, dict) and task.get("type") not in (None, *_TRAINERS)


def _config(environment: Mapping[str, str]) -> dict[str, Any]:
    try:
        config = json.loads(environment.get("TF_CONFIG") or "{}")
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def found_in(variables: Iterable[Any], *, model: str | None, strategy: str | None) -> Found:
    """What is trained: parameters, their type, and the bytes of their gradients, which are as large as they are."""
    tensorflow = sys.modules.get("tensorflow")
    by_type: Counter[str] = Counter()
    elements = 0
    variables = list(variables)
    for variable in variables:
        dtype = tensorflow.as_dtype(variable.dtype) if tensorflow is not None else None
        count = 1
        for extent in variable.shape:
            count *= int(extent)
        elements += count
        if dtype is not None:
            by_type[dtype.name] += count * int(dtype.size)
    details: dict[str, Any] = {}
    if by_type:
        details["gradient_bytes"] = sorted({by_type.total(), *by_type.values()})
        details["gradient_bytes_by_type"] = dict(by_type)
    found = _strategy(variables, details)
    return Found(
        strategy=strategy or found,
        model=model,
        precision=by_type.most_common(1)[0][0] if by_type else None,
        parameters=elements or None,
        details=details,
        device=_device(),
    )


def _strategy(variables: Sequence[Any], details: dict[str, Any]) -> str | None:
    """The word for how processes share the work, as the variables know it; what else is known of that goes to the details."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return None
    values = (getattr(variable, "value", variable) for variable in variables[:1])  # Keras 3 puts its own around them
    owners = [getattr(one, "distribute_strategy", None) for one in (*variables[:1], *values)]
    strategy = next((one for one in owners if one is not None), None) or tensorflow.distribute.get_strategy()
    name = details["strategy"] = type(strategy).__name__
    details["replicas_in_sync"] = int(strategy.num_replicas_in_sync)
    options = getattr(strategy.extended, "_communication_options", None)
    implementation = getattr(options, "implementation", None)
    if implementation is not None:
        details["communication"] = str(getattr(implementation, "value", implementation))
    return _STRATEGIES.get(name, name)


def _device() -> str | None:
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return None
    kinds = {device.device_type for device in tensorflow.config.get_visible_devices()}
    return "tpu" if "TPU" in kinds else "cuda" if "GPU" in kinds else "cpu"


def versions() -> dict[str, str]:
    """Those of what is loaded."""
    loaded = {name: sys.modules.get(name) for name in ("tensorflow", "keras", "tf_keras")}
    return {name: str(version) for name, one in loaded.items() if (version := getattr(one, "__version__", None))}
