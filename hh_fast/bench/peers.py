"""PyTorch on the same files and CNN, where it is installed: its DataLoader alone, and whole training.

As PyTorch's users write it: Pillow in as many worker processes as there are cores, which stay from epoch to epoch. Images
travel as uint8, the cheaper way for PyTorch too. The functions run in processes without TensorFlow: one process cannot
hold both, whose LLVMs collide.
"""

import dataclasses
import importlib.util
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hh_fast.bench.window import MIN_WARM_S, Window, count
from hh_fast.data.scan import list_images
from hh_fast.io.cores import num_cores
from hh_fast.io.memory import PeakMemory

DTYPES = ("float32", "bfloat16")
# A resident batch is stepped through for at least so long, and three times.
MIN_RESIDENT_S = 2.0


@dataclasses.dataclass(frozen=True)
class PeerJob:
    """What is trained, without TensorFlow's types; `weights` are the Keras model's, in its order."""

    train_dir: str
    validation_dir: str | None
    image_size: tuple[int, int]
    num_classes: int
    softmax: bool
    batch_size: int
    validation_batch_size: int
    epochs: int
    learning_rate: float
    seed: int
    weights: tuple[np.ndarray, ...] = ()


def missing() -> list[str]:
    """The peers that cannot be measured here, by name."""
    return [] if importlib.util.find_spec("torch") else ["PyTorch"]


class Files:
    """A map-style data set: (uint8 (height, width, 3), label) by Pillow, bilinear where the size differs."""

    def __init__(self, directory: str | Path, image_size: tuple[int, int]) -> None:
        self._paths, self._labels, _ = list_images(directory)
        self._size = image_size[1], image_size[0]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        import torch

        with Image.open(self._paths[position]) as opened:
            image = opened.convert("RGB")
            if image.size != self._size:
                image = image.resize(self._size, Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(image)), int(self._labels[position])


def _loader(directory: str | Path, job: PeerJob, *, batch_size: int, shuffle: bool) -> Any:
    import torch

    generator = torch.Generator().manual_seed(job.seed)
    return torch.utils.data.DataLoader(
        Files(directory, job.image_size),
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=num_cores(),
        persistent_workers=True,
        generator=generator,
    )


def torch_input(job: PeerJob, num_images: int) -> dict[str, Any]:
    """The DataLoader alone; figures as `inputs.measure_input`."""
    with PeakMemory() as peak:
        start = time.perf_counter()
        loader = _loader(job.train_dir, job, batch_size=job.batch_size, shuffle=True)
        first = count(loader, start)
        if first.num_images != num_images:
            raise ValueError(f"it yields {first.num_images} of the {num_images} images that the others yield")
        windows: list[Window] = []
        while not windows or sum(window.total_s for window in windows) < MIN_WARM_S:
            start = time.perf_counter()
            windows.append(count(loader, start))
    images, seconds = sum(window.num_images for window in windows), sum(window.total_s for window in windows)
    return {
        "first_images": first.num_images,
        "first_s": first.total_s,
        "first_img_s": first.images_per_s,
        "first_batch_s": first.first_batch_s,
        "warm_images": images,
        "warm_s": seconds,
        "warm_img_s": images / seconds,
        "peak_bytes": peak.own_bytes,
    }


def build_torch(weights: Sequence[np.ndarray]) -> Any:
    """The recipe's CNN on float (batch, 3, height, width), 0 to 1, to logits, with Keras' weights in Keras' order."""
    import torch
    from torch import nn

    class ChannelsLast(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.permute(0, 2, 3, 1)  # Keras flattens height, width, channels

    layers: list[Any] = []
    for i in range(0, 10, 2):
        conv = nn.Conv2d(weights[i].shape[2], weights[i].shape[3], 3)
        layers += [conv, nn.ReLU(), nn.MaxPool2d(2)]
        _set(conv, weights[i].transpose(3, 2, 0, 1), weights[i + 1])
    layers += [ChannelsLast(), nn.Flatten()]
    for i in (10, 12):
        dense = nn.Linear(*weights[i].shape)
        _set(dense, weights[i].T, weights[i + 1])
        layers += [dense, nn.ReLU()] if i == 10 else [dense]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _set(layer: Any, kernel: np.ndarray, bias: np.ndarray) -> None:
    import torch

    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
        layer.bias.copy_(torch.from_numpy(bias))


class _TorchTrainer:
    """Model, RMSprop as Keras' (decay 0.9, epsilon 1e-7) and a step under autocast for bfloat16."""

    def __init__(self, job: PeerJob, dtype: str) -> None:
        import torch

        torch.set_num_threads(num_cores())
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = build_torch(job.weights).to(self._device)
        self._optimizer = torch.optim.RMSprop(self.model.parameters(), job.learning_rate, alpha=0.9, eps=1e-7)
        self._dtype = getattr(torch, dtype)
        self._softmax = job.softmax

    def _logits(self, images: Any) -> Any:
        scaled = images.to(self._device).permute(0, 3, 1, 2).float() / 255
        with self._torch.autocast(self._device, dtype=self._dtype, enabled=self._dtype != self._torch.float32):
            return self.model(scaled).float()

    def step(self, images: Any, labels: Any) -> float:
        labels = labels.to(self._device)
        logits = self._logits(images)
        if self._softmax:
            loss = self._torch.nn.functional.cross_entropy(logits, labels.long())
        else:
            loss = self._torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.float())
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return float(loss.item())

    def num_right(self, images: Any, labels: Any) -> int:
        with self._torch.no_grad():
            logits = self._logits(images).cpu()
        predicted = logits.argmax(1) if self._softmax else (logits[:, 0] > 0).long()
        return int((predicted == labels).sum())


def torch_training(job: PeerJob, dtype: str) -> dict[str, Any]:
    """Whole training; figures as `whole.train_hh_fast`."""
    epoch_s, training_s, waits, images_seen, accuracies = [], [], [], [], []
    with PeakMemory() as peak:
        begin = time.perf_counter()
        train = _loader(job.train_dir, job, batch_size=job.batch_size, shuffle=True)
        held_out = job.validation_dir
        validation = _loader(held_out, job, batch_size=job.validation_batch_size, shuffle=False) if held_out else None
        trainer = _TorchTrainer(job, dtype)
        for _ in range(job.epochs):
            start = last = time.perf_counter()
            seen, wait = 0, 0.0
            for images, labels in train:
                wait += time.perf_counter() - last
                trainer.step(images, labels)
                seen += len(labels)
                last = time.perf_counter()
            training_s.append(last - start)
            waits.append(wait / (last - start))
            images_seen.append(seen)
            if validation is not None:
                right = [(trainer.num_right(images, labels), len(labels)) for images, labels in validation]
                accuracies.append(sum(found for found, _ in right) / sum(number for _, number in right))
            epoch_s.append(time.perf_counter() - start)
        wall = time.perf_counter() - begin
    later = slice(1, None) if len(epoch_s) > 1 else slice(None)
    return {
        "wall_s": wall,
        "epoch_s": epoch_s,
        "training_s": training_s,
        "images": images_seen,
        "first_epoch_s": wall - sum(epoch_s[1:]),
        "warm_epoch_s": statistics.median(epoch_s[later]),
        "warm_img_s": sum(images_seen[later]) / sum(training_s[later]),
        "input_wait": statistics.mean(waits[later]),
        "val_accuracy": accuracies,
        "last_val_accuracy": accuracies[-1] if accuracies else None,
        "peak_bytes": peak.own_bytes,
    }


def torch_resident(job: PeerJob, dtype: str) -> dict[str, Any]:
    """The step on one batch that is there already."""
    import torch

    random = np.random.default_rng(job.seed)
    images = torch.from_numpy(random.integers(0, 256, (job.batch_size, *job.image_size, 3), np.uint8))
    labels = torch.arange(job.batch_size) % job.num_classes
    trainer = _TorchTrainer(job, dtype)
    trainer.step(images, labels)
    num_images = 0
    start = time.perf_counter()
    while time.perf_counter() - start < MIN_RESIDENT_S or num_images < 3 * job.batch_size:
        trainer.step(images, labels)
        num_images += len(labels)
    seconds = time.perf_counter() - start
    return {"images": num_images, "training_s": seconds, "warm_img_s": num_images / seconds}


def torch_probabilities(job: PeerJob, images: np.ndarray) -> np.ndarray:
    """What the CNN says in float32 of uint8 images, to compare with the Keras model's."""
    import torch

    logits = build_torch(job.weights)(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    found: np.ndarray = (torch.softmax(logits, 1) if job.softmax else torch.sigmoid(logits)).detach().numpy()
    return found
