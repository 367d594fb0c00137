"""PyTorch on the same files and CNN, beside hh_fast: its DataLoader alone, and whole trainings with their resident batches.

    .venv/bin/python benchmarks/peers.py      # needs PyTorch: pip install 'hh-fast[benchmarks]'

Takes about 15 minutes on 2 cores. As PyTorch's users write it: Pillow in as many worker processes as there are cores, which
stay from epoch to epoch. Images travel as uint8, the cheaper way for PyTorch too. Its functions run in processes without
TensorFlow: one process cannot hold both, whose LLVMs collide. Before anything is timed, its CNN must give Keras' probabilities.
"""

import dataclasses
import importlib.util
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hh_fast.bench.results import InputFigures, StepFigures, TrainingFigures
from hh_fast.bench.statistics import Rate
from hh_fast.data.scan import list_images
from hh_fast.io.cores import num_cores
from hh_fast.io.memory import PeakMemory

DTYPES = ("float32", "bfloat16")
# A resident batch is stepped through for at least so long, and three times.
MIN_RESIDENT_S = 2.0
MIN_STEADY_S = 0.5
# Probabilities of one CNN by two frameworks, in float32: summing orders differ.
MAX_DIFFERENCE = 1e-4


@dataclasses.dataclass(frozen=True)
class TorchJob:
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


def _loader(directory: str | Path, job: TorchJob, *, batch_size: int, shuffle: bool) -> Any:
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


def torch_input(job: TorchJob) -> InputFigures:
    """The DataLoader alone: its first epoch, and as many further ones as make a window."""
    with PeakMemory() as peak:
        start = time.perf_counter()
        loader = _loader(job.train_dir, job, batch_size=job.batch_size, shuffle=True)
        num_images, first_batch_s = 0, 0.0
        for images, _ in loader:
            num_images += len(images)
            first_batch_s = first_batch_s or time.perf_counter() - start
        first = Rate(num_images, time.perf_counter() - start)
        num_images, start = 0, time.perf_counter()
        while time.perf_counter() - start < MIN_STEADY_S:
            num_images += sum(len(images) for images, _ in loader)
        steady = Rate(num_images, time.perf_counter() - start)
    return InputFigures(first, steady, first_batch_s, peak.own_bytes, peak.mapped_bytes)


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

    def __init__(self, job: TorchJob, dtype: str) -> None:
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


def torch_training(job: TorchJob, dtype: str) -> TrainingFigures:
    """A training, with a validation each epoch."""
    epoch_s, training_s, waits, num_images, losses, accuracies = [], [], [], [], [], []
    with PeakMemory() as peak:
        begin = time.perf_counter()
        train = _loader(job.train_dir, job, batch_size=job.batch_size, shuffle=True)
        held_out = job.validation_dir
        validation = _loader(held_out, job, batch_size=job.validation_batch_size, shuffle=False) if held_out else None
        trainer = _TorchTrainer(job, dtype)
        for _ in range(job.epochs):
            start = last = time.perf_counter()
            seen, wait, loss = 0, 0.0, 0.0
            for images, labels in train:
                wait += time.perf_counter() - last
                loss += trainer.step(images, labels) * len(labels)
                seen += len(labels)
                last = time.perf_counter()
            training_s.append(last - start)
            waits.append(wait / (last - start))
            num_images.append(seen)
            losses.append(loss / seen)
            if validation is not None:
                right = [(trainer.num_right(images, labels), len(labels)) for images, labels in validation]
                accuracies.append(sum(found for found, _ in right) / sum(number for _, number in right))
            epoch_s.append(time.perf_counter() - start)
        wall = time.perf_counter() - begin
    return TrainingFigures(
        wall_s=wall,
        first_epoch_s=wall - sum(epoch_s[1:]),
        epoch_s=tuple(epoch_s),
        training_s=tuple(training_s),
        images=tuple(num_images),
        loss=tuple(losses),
        val_accuracy=tuple(accuracies),
        peak_bytes=peak.own_bytes,
        input_waits=tuple(waits),
        seed=job.seed,
    )


def torch_resident(job: TorchJob, dtype: str) -> StepFigures:
    """The step on one batch that is there already."""
    import torch

    random = np.random.default_rng(job.seed)
    images = torch.from_numpy(random.integers(0, 256, (job.batch_size, *job.image_size, 3), np.uint8))
    labels = torch.arange(job.batch_size) % job.num_classes
    trainer = _TorchTrainer(job, dtype)
    trainer.step(images, labels)
    num_images, start = 0, time.perf_counter()
    while time.perf_counter() - start < MIN_RESIDENT_S or num_images < 3 * job.batch_size:
        trainer.step(images, labels)
        num_images += len(labels)
    return StepFigures(Rate(num_images, time.perf_counter() - start))


def torch_probabilities(job: TorchJob, images: np.ndarray) -> np.ndarray:
    """What the CNN says in float32 of uint8 images, to compare with the Keras model's."""
    import torch

    logits = build_torch(job.weights)(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    found: np.ndarray = (torch.softmax(logits, 1) if job.softmax else torch.sigmoid(logits)).detach().numpy()
    return found


def keras_probabilities(workload: Any, images: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The initial weights, and the Keras model's probabilities for uint8 images with them."""
    model = workload.model("float32")
    return model.get_weights(), np.asarray(model(images))


def torch_job(workload: Any, weights: Sequence[np.ndarray]) -> TorchJob:
    train = workload.train
    return TorchJob(
        train_dir=str(workload.train_dir),
        validation_dir=workload.data.validation_dir,
        image_size=workload.data.image_size,
        num_classes=workload.num_classes,
        softmax=workload.head == "softmax",
        batch_size=train.batch_size,
        validation_batch_size=train.validation_batch_size,
        epochs=train.epochs,
        learning_rate=train.learning_rate,
        seed=workload.data.seed,
        weights=tuple(weights),
    )


def main() -> int:
    import benchlib  # imports TensorFlow, which PyTorch's own processes must not

    from hh_fast.bench import input_race, own_loop, training_race
    from hh_fast.bench.isolate import in_process, isolated
    from hh_fast.bench.results import with_steady_epochs
    from hh_fast.config import TrainConfig
    from hh_fast.errors import CheckError, UsageError

    parser = benchlib.parser(__doc__ or "", "peers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=128)
    arguments = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        raise UsageError("PyTorch is not installed: pip install 'hh-fast[benchmarks]'")
    train = TrainConfig(epochs=arguments.epochs, batch_size=arguments.batch_size)
    precision = str(in_process(own_loop.chosen_precision, train, use_gpu=True))
    with benchlib.whole_workload(benchlib.data_config(arguments, cache="memory"), train) as (workload, data):
        images = np.random.default_rng(0).integers(0, 256, (4, *workload.data.image_size, 3), np.uint8)
        weights, expected = in_process(keras_probabilities, workload, images)
        job = torch_job(workload, weights)
        found = in_process(torch_probabilities, job, images, framework="torch")
        difference = np.abs(found - expected).max()
        if difference > MAX_DIFFERENCE:
            raise CheckError(f"PyTorch's CNN differs from Keras' by {difference:.2g} with equal weights")
        arms = list(dict.fromkeys(training_race.Arm(training_race.OWN, kind) for kind in ("float32", precision)))
        trainings = training_race.training_variants(arms, workload)
        bounds = []
        for dtype in DTYPES:
            trainings.append(isolated(f"PyTorch, {dtype}", torch_training, job, dtype, use_gpu=True, framework="torch"))
            name = f"bound: resident batch, PyTorch, {dtype}"
            bounds.append(isolated(name, torch_resident, job, dtype, use_gpu=True, framework="torch"))
        paths = [path for path in input_race.input_paths() if path.name == input_race.OWN]
        inputs = [isolated(path.name, input_race.measure_input, path, workload) for path in paths]
        inputs.append(isolated(f"PyTorch DataLoader, {num_cores()} workers", torch_input, job, framework="torch"))
        outcomes = benchlib.in_turn([*trainings, *bounds, *inputs], arguments.repeats)
    trained = [with_steady_epochs(outcome) for outcome in outcomes[: len(trainings)]]
    settings = {"precision": precision, "epochs": arguments.epochs, "seeds": 1, "batch_size": arguments.batch_size}
    rest = outcomes[len(trainings) :]
    benchlib.write(arguments.output, trained, bounds=rest[: len(bounds)], data=data, **settings)
    stem = arguments.output.with_name(f"{arguments.output.stem}_inputs.json")
    benchlib.write(stem, rest[len(bounds) :], data=data, **settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
