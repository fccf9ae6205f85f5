"""Jobs of TensorFlow for the tests: `MultiWorkerMirroredStrategy` on two processes of this machine, of which the second comes late.

Run as `python -m tests.tensorflow.jobs KIND FOLDER` with `TF_CONFIG` in the environment. Sizes are chosen so that the answers are known: the
gradients of one step are 337,920 bytes of float32.
"""

import json
import os
import sys
import time
from typing import Any

import scaleprof.tensorflow
from scaleprof import Windows

SHAPES = ((64, 256), (256, 256), (256, 10))
GRADIENT_BYTES = 4 * sum(rows * columns for rows, columns in SHAPES)
SAMPLES = 16
"""That each rank takes in a step."""
STEPS, FIRST, PROFILED = 17, 3, 12
LATE_S = 0.08
LATE_RANK = 1


def rank() -> int:
    """Of this process."""
    return int(json.loads(os.environ["TF_CONFIG"])["task"]["index"])


def custom_loop(folder: str) -> None:
    """A training loop without Keras."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        weights = [tf.Variable(0.05 * tf.random.stateless_normal(shape, (1, n))) for n, shape in enumerate(SHAPES)]

    def one(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(tf.matmul(tf.nn.relu(tf.matmul(x, weights[0])), weights[1]))
            logits = tf.matmul(hidden, weights[2])
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        gradients = tape.gradient(loss, weights)
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.assign_sub(0.01 * gradient)

    @tf.function
    def train_step(x: Any, y: Any) -> None:
        strategy.run(one, args=(x, y))

    x = tf.random.stateless_normal((SAMPLES, SHAPES[0][0]), (7, rank()))
    y = tf.zeros((SAMPLES,), dtype=tf.int64)
    windows = Windows(skip=FIRST, steps=PROFILED)
    with scaleprof.tensorflow.session(
        folder, name="tensorflow-mwms", windows=windows, variables=weights, samples_per_step=SAMPLES, redact=True
    ) as recording:
        for _ in range(STEPS):
            with recording.step():
                if rank() == LATE_RANK:
                    time.sleep(LATE_S)
                train_step(x, y)


def fit(folder: str) -> None:
    """`model.fit` of the Keras in use, with a callback that makes the second rank late."""
    import tensorflow as tf

    class Late(tf.keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if rank() == LATE_RANK:
                time.sleep(LATE_S)

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        layers = [tf.keras.layers.Dense(columns, use_bias=False, activation="relu") for _, columns in SHAPES]
        model = tf.keras.Sequential([tf.keras.Input((SHAPES[0][0],)), *layers])
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=tf.keras.optimizers.SGD(0.01), loss=loss)
    count = 2 * SAMPLES * STEPS
    x, y = tf.random.stateless_normal((count, SHAPES[0][0]), (7, 1)), tf.zeros((count,), dtype=tf.int64)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(2 * SAMPLES)
    windows = Windows(skip=FIRST, steps=PROFILED)
    recorder = scaleprof.tensorflow.KerasCallback(folder, name="fit", windows=windows, samples_per_step=SAMPLES)
    model.fit(data, epochs=1, steps_per_epoch=STEPS, callbacks=[recorder, Late()], verbose=0)


def single(folder: str) -> None:
    """`model.fit` in one process, two epochs with an evaluation after each."""
    import tensorflow as tf

    model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(4)])
    model.compile(optimizer="sgd", loss="mse", steps_per_execution=2)
    x, y = tf.zeros((64, 8)), tf.zeros((64, 4))
    windows = Windows(skip=1, steps=2)
    recorder = scaleprof.tensorflow.KerasCallback(folder, name="single", windows=windows, samples_per_step=8)
    model.fit(x, y, batch_size=8, epochs=2, validation_data=(x, y), callbacks=[recorder], verbose=0)


if __name__ == "__main__":
    {"custom_loop": custom_loop, "fit": fit, "single": single}[sys.argv[1]](sys.argv[2])
