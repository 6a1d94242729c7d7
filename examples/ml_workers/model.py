"""The learning itself: pure functions of their arguments, the same bits wherever they run.

A small network (64 inputs, one hidden layer, 10 digits) is trained by full-batch gradient descent with
momentum. The training set is cut into shards; the gradient of an epoch is the sum of the shards'
gradients *in the order of the shards*, so it does not matter which worker computed which one. The
learning rate follows the "bold driver": a little faster after every good step; after a step that made
the model worse the step is taken back and the rate is cut. All of it is arithmetic on float32 and float64
with one BLAS thread, so a disturbed run ends with exactly the weights of an undisturbed one.
"""

from __future__ import annotations

import os

# More BLAS threads would only fight over the cores with the other processes, and their number may
# change the order of a sum. This has to be said before numpy is loaded.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

INPUTS, HIDDEN, CLASSES = 64, 96, 10
PARAMETERS = INPUTS * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES

#: Images kept away from training: one set to judge versions by, one to report the final accuracy.
JUDGE_IMAGES, TEST_IMAGES = 300, 400

SEED = 7


@dataclass(frozen=True)
class Hyper:
    """The hyper-parameters: what the versioned znode holds and the workers watch."""

    learning_rate: float = 0.6
    momentum: float = 0.85
    weight_decay: float = 0.0001

    def after(self, worse: bool) -> Hyper:
        """The bold driver: what to go on with after a step that was, or was not, taken back."""
        factor = 0.7 if worse else 1.1
        return replace(self, learning_rate=float(np.float32(self.learning_rate * factor)))

    def to_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Version:
    """One version of the model: its weights, and the momentum that the next step starts with."""

    weights: np.ndarray
    velocity: np.ndarray

    @staticmethod
    def first() -> Version:
        """The version that every training starts from."""
        random = np.random.default_rng(SEED)
        first = random.normal(0, np.sqrt(2 / INPUTS), INPUTS * HIDDEN)
        second = random.normal(0, np.sqrt(2 / HIDDEN), HIDDEN * CLASSES)
        weights = np.concatenate([first, np.zeros(HIDDEN), second, np.zeros(CLASSES)]).astype("<f4")
        return Version(weights, np.zeros(PARAMETERS, "<f4"))

    def to_bytes(self) -> bytes:
        return self.weights.astype("<f4").tobytes() + self.velocity.astype("<f4").tobytes()

    @staticmethod
    def from_bytes(data: bytes) -> Version:
        numbers = vector_from_bytes(data, 2 * PARAMETERS)
        return Version(numbers[:PARAMETERS], numbers[PARAMETERS:])

    def digest(self) -> str:
        """A short name of these exact weights, to compare two runs by."""
        return hashlib.sha256(self.weights.astype("<f4").tobytes()).hexdigest()[:16]


def vector_from_bytes(data: bytes, length: int = PARAMETERS) -> np.ndarray:
    """The float32 numbers in `data`; ValueError unless there are exactly `length` of them."""
    numbers = np.frombuffer(data, "<f4")
    if numbers.size != length:
        raise ValueError(f"expected {length} numbers, got {numbers.size}")
    return numbers


@dataclass(frozen=True)
class Digits:
    """scikit-learn's bundled digits, shuffled once with a fixed seed and cut into three sets."""

    train: tuple[np.ndarray, np.ndarray]
    judge: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def load() -> Digits:
        from sklearn.datasets import load_digits  # takes a second to load: only who needs it pays

        images, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(SEED).permutation(len(labels))
        images, labels = images[order] / 16.0, labels[order]
        first, second = JUDGE_IMAGES, JUDGE_IMAGES + TEST_IMAGES
        return Digits(
            train=(images[second:], labels[second:]),
            judge=(images[:first], labels[:first]),
            test=(images[first:second], labels[first:second]),
        )

    def shard(self, shard: int, shards: int) -> tuple[np.ndarray, np.ndarray]:
        """The `shard`-th of `shards` nearly equal pieces of the training set."""
        images, labels = self.train
        begin, end = len(labels) * shard // shards, len(labels) * (shard + 1) // shards
        return np.ascontiguousarray(images[begin:end]), labels[begin:end]


def _layers(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The flat vector as two matrices and two offsets, in double precision."""
    wide = weights.astype(np.float64)
    cuts = np.cumsum([INPUTS * HIDDEN, HIDDEN, HIDDEN * CLASSES])
    first, first_offset, second, second_offset = np.split(wide, cuts)
    return first.reshape(INPUTS, HIDDEN), first_offset, second.reshape(HIDDEN, CLASSES), second_offset


def _log_probabilities(weights: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hidden layer's output, and the logarithm of each digit's probability."""
    first, first_offset, second, second_offset = _layers(weights)
    hidden = np.tanh(images @ first + first_offset)
    scores = hidden @ second + second_offset
    scores -= scores.max(axis=1, keepdims=True)
    return hidden, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def gradient(weights: np.ndarray, images: np.ndarray, labels: np.ndarray, hyper: Hyper) -> np.ndarray:
    """The gradient of the loss, summed over these images and rounded to the float32 that is sent."""
    hidden, logs = _log_probabilities(weights, images)
    by_score = np.exp(logs)
    by_score[np.arange(len(labels)), labels] -= 1
    by_hidden = (by_score @ _layers(weights)[2].T) * (1 - hidden * hidden)
    parts = [images.T @ by_hidden, by_hidden.sum(axis=0), hidden.T @ by_score, by_score.sum(axis=0)]
    decay = len(labels) * hyper.weight_decay * weights.astype(np.float64)
    return (np.concatenate([part.ravel() for part in parts]) + decay).astype("<f4")


def step(version: Version, gradients: Sequence[np.ndarray], images: int, hyper: Hyper) -> Version:
    """The next version from the shards' gradients, which come in the order of the shards."""
    total = np.zeros(PARAMETERS, np.float64)
    for part in gradients:
        total += part
    velocity = hyper.momentum * version.velocity.astype(np.float64) - hyper.learning_rate * total / images
    weights = version.weights.astype(np.float64) + velocity
    return Version(weights.astype("<f4"), velocity.astype("<f4"))


def loss(version: Version, images: np.ndarray, labels: np.ndarray) -> float:
    """The mean loss over these images; versions are compared by it. Infinite if it cannot be computed."""
    logs = _log_probabilities(version.weights, images)[1]
    mean = float(-logs[np.arange(len(labels)), labels].mean())
    return mean if np.isfinite(mean) else float("inf")


def accuracy(version: Version, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of these images whose digit the model names."""
    logs = _log_probabilities(version.weights, images)[1]
    return float((logs.argmax(axis=1) == labels).mean())


def train_alone(digits: Digits, epochs: int, shards: int) -> tuple[Version, int]:
    """The whole training in this process, undisturbed: the last version kept, and how many were not."""
    version, hyper, taken_back = Version.first(), Hyper(), 0
    pieces = [digits.shard(shard, shards) for shard in range(shards)]
    for _ in range(epochs):
        gradients = [gradient(version.weights, *piece, hyper) for piece in pieces]
        candidate = step(version, gradients, len(digits.train[1]), hyper)
        worse = loss(candidate, *digits.judge) > loss(version, *digits.judge)
        taken_back += worse
        version = without_momentum(version) if worse else candidate
        hyper = hyper.after(worse)
    return version, taken_back


def without_momentum(version: Version) -> Version:
    """The same weights at rest: what training goes on from after a step was taken back."""
    return Version(version.weights, np.zeros(PARAMETERS, "<f4"))
