"""The paper's two CNNs in PyTorch, trained by the paper's own kind of loop and by a well-written one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

MODELS: dict[str, Callable[[], nn.Module]] = {
    "basic": lambda: nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), *_dense(3136, 128)
    ),
    "deep": lambda: nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), *_dense(1152, 256, 128),
    ),
}  # fmt: skip


def _dense(*widths: int) -> list[nn.Module]:
    hidden = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return [*hidden, nn.Linear(widths[-1], 10)]


class PerImage(Dataset):
    """The paper's data set, step by step as torchvision's FashionMNIST with ToTensor() takes an image.

    It makes a Pillow image of each row of a tensor, and a scaled float tensor of that. (torchvision itself has no
    CPU build that installs beside this project.)
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._images, self._labels = torch.from_numpy(images[..., 0].copy()), torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        picture = Image.fromarray(self._images[index].numpy())
        pixels = torch.from_numpy(np.array(picture, copy=True)).view(picture.height, picture.width, 1)
        return pixels.permute(2, 0, 1).contiguous().float().div(255), int(self._labels[index])


def paper_loop(model: str, images: np.ndarray, labels: np.ndarray, batch: int) -> Callable[[], None]:
    """An epoch as in the paper's scripts: a DataLoader, per-image transforms, loss and accuracy read every step."""
    net, loss_function = MODELS[model](), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    loader = DataLoader(PerImage(images, labels), batch, shuffle=False)

    def epoch() -> None:
        net.train()
        losses, correct = 0.0, 0
        for inputs, targets in loader:
            outputs = net(inputs)
            loss = loss_function(outputs, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(targets)
            correct += int(torch.sum(outputs.argmax(1) == targets))

    return epoch


def whole_tensor_loop(model: str, images: np.ndarray, labels: np.ndarray, batch: int) -> Callable[[], None]:
    """A well-written epoch: whole tensors, a shuffled index, one gather a batch, sums read once, channels last."""
    net, loss_function = MODELS[model]().to(memory_format=torch.channels_last), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2)
    targets = torch.from_numpy(labels)

    def epoch() -> None:
        net.train()
        losses, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for chosen in torch.randperm(len(targets)).split(batch):
            truth = targets[chosen]
            outputs = net(inputs[chosen].float().div_(255))
            loss = loss_function(outputs, truth)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses += loss.detach() * len(truth)
            correct += (outputs.argmax(1) == truth).sum()
        losses.item()

    return epoch
