"""Two ways in which others train several models at once: JAX's `vmap`, and the ensembles of PyTorch's own tutorial.

Both do the engine's work for K models of one configuration: the same epochs, dropout, running metrics and evaluations.
Each function returns the seconds of training, without the first epoch, which compiles.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn import functional

from benchmark.contenders import model, scaled


def jax_ensemble(folder: Path, optimizer: str, batch_size: int, models: int, epochs: int) -> float:
    """Train K models with JAX: `vmap` over models, `lax.scan` over steps, one `jit` an epoch. It takes all cores."""
    import jax
    import jax.numpy as jnp
    import optax

    images, labels, val_images, val_labels = (jnp.asarray(one.numpy()) for one in scaled(folder))
    step = optax.adam(0.01) if optimizer == "adam" else optax.sgd(0.01)
    steps = len(images) // batch_size

    def start(key: Any) -> Any:
        layers = []
        for inputs, outputs in ((784, 128), (128, 64), (64, 10)):
            key, *keys = jax.random.split(key, 3)
            bound = inputs**-0.5
            shapes = zip(keys, ((inputs, outputs), (outputs,)), strict=True)
            layers.append([jax.random.uniform(one, shape, minval=-bound, maxval=bound) for one, shape in shapes])
        return layers

    def forward(layers: Any, x: Any, key: Any = None) -> Any:
        for weight, bias in layers[:-1]:
            x = jax.nn.relu(x @ weight + bias)
            if key is not None:
                key, own = jax.random.split(key)
                x = jnp.where(jax.random.bernoulli(own, 0.8, x.shape), x / 0.8, 0)
        weight, bias = layers[-1]
        return x @ weight + bias

    def loss(layers: Any, x: Any, y: Any, key: Any = None) -> Any:
        logits = forward(layers, x, key)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return losses.mean(), (logits.argmax(1) == y).sum()

    def epoch(layers: Any, state: Any, key: Any) -> Any:
        key, own = jax.random.split(key)
        order = jax.random.permutation(own, len(images))[: steps * batch_size].reshape(steps, batch_size)

        def one(carried: Any, indices: Any) -> Any:
            layers, state, key = carried
            key, own = jax.random.split(key)
            told, gradient = jax.value_and_grad(loss, has_aux=True)(layers, images[indices], labels[indices], own)
            change, state = step.update(gradient, state)
            return (optax.apply_updates(layers, change), state, key), told

        (layers, state, key), running = jax.lax.scan(one, (layers, state, key), order)
        return layers, state, key, running, loss(layers, images, labels), loss(layers, val_images, val_labels)

    run = jax.jit(jax.vmap(epoch), donate_argnums=(0, 1))
    keys = jax.random.split(jax.random.key(0), models)
    layers = jax.vmap(start)(keys)
    state = jax.vmap(step.init)(layers)
    for number in range(epochs + 1):
        layers, state, keys, *_ = jax.block_until_ready(run(layers, state, keys))
        if number == 0:
            began = time.perf_counter()
    return time.perf_counter() - began


def torch_ensemble(
    folder: Path, optimizer: str, batch_size: int, models: int, epochs: int, device: str = "cpu"
) -> float:
    """Train K models as PyTorch's tutorial on ensembles does: `torch.func.vmap` over stacked parameters, one thread."""
    torch.set_num_threads(1)
    images, labels, val_images, val_labels = scaled(folder, device)
    torch.manual_seed(0)
    network = model().to(device)
    stacked, _ = stack_module_state([model().to(device) for _ in range(models)])
    kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    steps = kind(list(stacked.values()), lr=0.01, fused=True)

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        logits = functional_call(network, (parameters,), (x,))
        return functional.cross_entropy(logits, y), (logits.argmax(1) == y).sum()

    train = vmap(grad_and_value(loss, has_aux=True), randomness="different")
    evaluate = vmap(loss, in_dims=(0, None, None))
    for number in range(epochs + 1):
        if number == 1:
            wait_for(device)
            began = time.perf_counter()
        network.train()
        running, correct = (torch.zeros(models, dtype=kind, device=device) for kind in (torch.float32, torch.int64))
        orders = torch.stack([torch.randperm(len(images)) for _ in range(models)]).to(device)
        for indices in orders.split(batch_size, dim=1):
            gradients, (losses, hits) = train(stacked, images[indices], labels[indices])
            for name, parameter in stacked.items():
                parameter.grad = gradients[name]
            steps.step()
            running += losses
            correct += hits
        network.eval()
        with torch.no_grad():
            for part, of_part in ((images, labels), (val_images, val_labels)):
                for x, y in zip(part.split(1000), of_part.split(1000), strict=True):
                    losses, hits = evaluate(stacked, x, y)
                    running += losses
                    correct += hits
    wait_for(device)
    return time.perf_counter() - began


def wait_for(device: str) -> None:
    """Wait until the device has done all its work."""
    if device == "cuda":
        torch.cuda.synchronize()
