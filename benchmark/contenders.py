"""The loops that the engine is measured against: what a user would write, and that loop tuned.

Each trains one configuration for some epochs with the metrics that the engine keeps: the running loss and accuracy,
and loss and accuracy in evaluation mode over the training and the validation images after each epoch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from fmnist_sweep import data


@dataclass(frozen=True)
class Setting:
    """One configuration of the benchmark's grid."""

    optimizer: str
    batch_size: int
    seed: int


# The configurations of figures 1 to 4.
FIGURES = [("adam", 100), ("sgd", 100), ("adam", 500), ("sgd", 500), ("adam", 1000)]


def model() -> nn.Sequential:
    """The paper's base model."""
    hidden = [nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(64, 10))


def plain_loop(setting: Setting, folder: Path, epochs: int, loader_workers: int, limit: int | None = None) -> None:
    """The loop of the tutorials: torchvision's data set with its transforms, a DataLoader, `loss.item()`.

    Args:
        setting: what to train.
        folder: torchvision's root folder.
        epochs: how long.
        loader_workers: processes of the DataLoader.
        limit: only this many images, to find the best number of workers.
    """
    from torchvision import datasets, transforms

    torch.manual_seed(setting.seed)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    train: Dataset = datasets.FashionMNIST(str(folder), train=True, transform=transform)
    validation: Dataset = datasets.FashionMNIST(str(folder), train=False, transform=transform)
    if limit is not None:
        train, validation = (
            torch.utils.data.Subset(train, range(limit)),
            torch.utils.data.Subset(validation, range(limit // 6)),
        )
    batches = DataLoader(train, setting.batch_size, shuffle=True, num_workers=loader_workers)
    evaluations = [DataLoader(part, setting.batch_size, num_workers=loader_workers) for part in (train, validation)]
    network = model()
    rate = {"lr": 0.01}
    parameters = network.parameters()
    optimizer = (
        torch.optim.Adam(parameters, **rate) if setting.optimizer == "adam" else torch.optim.SGD(parameters, **rate)
    )
    for _ in range(epochs):
        network.train()
        running, correct = 0.0, 0
        for images, labels in batches:
            optimizer.zero_grad()
            logits = network(images)
            loss = functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
            correct += (logits.argmax(1) == labels).sum().item()
        network.eval()
        with torch.no_grad():
            for part in evaluations:
                for images, labels in part:
                    logits = network(images)
                    running += functional.cross_entropy(logits, labels).item()
                    correct += (logits.argmax(1) == labels).sum().item()


@functools.cache
def scaled(folder: Path, device: str = "cpu") -> tuple[torch.Tensor, ...]:
    """Training images, scaled, and their labels, then those for validation, on a device."""
    loaded = data.load(folder, data.Division("test"), torch.device(device))
    parts = ((loaded.train_images, loaded.train_labels), (loaded.val_images, loaded.val_labels))
    return tuple(one for x, y in parts for one in (loaded.batch(x, torch.empty(x.shape, device=device)), y))


def tuned_loop(setting: Setting, folder: Path, epochs: int, device: str = "cpu") -> None:
    """The same with what experience adds: tensors scaled once and kept, one thread, fused optimizer, no waiting."""
    torch.set_num_threads(1)
    images, labels, val_images, val_labels = scaled(folder, device)
    torch.manual_seed(setting.seed)
    network = model().to(device)
    optimizer: torch.optim.Optimizer
    if setting.optimizer == "adam":
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    else:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, fused=True)
    for _ in range(epochs):
        network.train()
        running, correct = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
        for indices in torch.randperm(len(images)).to(device).split(setting.batch_size):
            logits = network(images[indices])
            batch_labels = labels[indices]
            loss = functional.cross_entropy(logits, batch_labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            running += loss.detach()
            correct += (logits.argmax(1) == batch_labels).sum()
        network.eval()
        with torch.no_grad():
            for part, part_labels in ((images, labels), (val_images, val_labels)):
                for batch, batch_labels in zip(part.split(1000), part_labels.split(1000), strict=True):
                    logits = network(batch)
                    running += functional.cross_entropy(logits, batch_labels)
                    correct += (logits.argmax(1) == batch_labels).sum()
        float(running), int(correct)
