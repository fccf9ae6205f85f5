"""Five steps of a small network in JAX on a GPU, with the profiler on: `python -m tests.gpu.jax_job FOLDER`."""

import sys

import jax
import jax.numpy as jnp


def main() -> None:
    """Train, and leave the profiler's files in the folder."""
    weights = [jnp.ones((1024, 1024), jnp.float32) * 1e-3 for _ in range(4)]
    inputs = jnp.ones((4096, 1024), jnp.float32)

    def loss(weights: list[jax.Array], inputs: jax.Array) -> jax.Array:
        for weight in weights:
            inputs = jnp.tanh(inputs @ weight)
        return jnp.square(inputs).mean()

    @jax.jit
    def step(weights: list[jax.Array], inputs: jax.Array) -> list[jax.Array]:
        gradients = jax.grad(loss)(weights, inputs)
        return [weight - 1e-3 * gradient for weight, gradient in zip(weights, gradients, strict=True)]

    jax.block_until_ready(step(weights, inputs))
    jax.profiler.start_trace(sys.argv[1])
    for number in range(5):
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            weights = step(weights, inputs)
            jax.block_until_ready(weights)
    jax.profiler.stop_trace()


if __name__ == "__main__":
    main()
