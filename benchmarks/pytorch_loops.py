"""The paper's two CNNs in PyTorch, trained by a loop like the paper's and by a well-written one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

Step = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def _model(name: str) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
    if name == "deep":
        layers += [nn.Conv2d(16, 32, 3), nn.ReLU(), nn.AvgPool2d(2)]
    widths = (1152, 256, 128) if name == "deep" else (3136, 128)
    hidden = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(128, 10))


def _step(net: nn.Module) -> Step:
    """One step of SGD: inputs and targets to loss and outputs."""
    optimizer, loss_function = torch.optim.SGD(net.parameters(), 0.01), nn.CrossEntropyLoss()

    def step(inputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs = net(inputs)
        loss = loss_function(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, outputs

    return step


class PerImage(Dataset):
    """The paper's data set: a Pillow image of each row of a tensor, and a scaled float tensor of that.

    These are the steps of torchvision's FashionMNIST with ToTensor(); torchvision has no CPU build that installs here.
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
    step, loader = _step(_model(model)), DataLoader(PerImage(images, labels), batch, shuffle=False)

    def epoch() -> None:
        losses, correct = 0.0, 0
        for inputs, targets in loader:
            loss, outputs = step(inputs, targets)
            losses += loss.item() * len(targets)
            correct += int(torch.sum(outputs.argmax(1) == targets))

    return epoch


def whole_tensor_loop(model: str, images: np.ndarray, labels: np.ndarray, batch: int) -> Callable[[], None]:
    """A well-written epoch: whole tensors, a shuffled index, one gather per batch, sums read once, channels last."""
    step = _step(_model(model).to(memory_format=torch.channels_last))
    inputs, targets = torch.tensor(images).permute(0, 3, 1, 2), torch.from_numpy(labels)

    def epoch() -> None:
        losses, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for chosen in torch.randperm(len(targets)).split(batch):
            truth = targets[chosen]
            loss, outputs = step(inputs[chosen].float().div_(255), truth)
            losses += loss.detach() * len(truth)
            correct += (outputs.argmax(1) == truth).sum()
        losses.item()

    return epoch
