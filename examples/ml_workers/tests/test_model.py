"""The mathematics: right, and the same bits whoever computes them."""

import numpy as np
import pytest

from model import (
    PARAMETERS,
    Digits,
    Hyper,
    Version,
    accuracy,
    gradient,
    loss,
    step,
    train_alone,
    vector_from_bytes,
    without_momentum,
)

SHARDS = 16


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits.load()


def test_the_gradient_is_that_of_the_loss(digits):
    images, labels = digits.shard(0, SHARDS)
    hyper = Hyper(weight_decay=0.0)
    version = Version.first()
    computed = gradient(version.weights, images, labels, hyper).astype(np.float64)
    # Along a direction: a step of float32 weights is coarse, so all weights move together.
    direction = np.sign(computed)
    distance = 1e-3
    ahead = Version((version.weights + distance * direction).astype("<f4"), version.velocity)
    behind = Version((version.weights - distance * direction).astype("<f4"), version.velocity)
    measured = (loss(ahead, images, labels) - loss(behind, images, labels)) / (2 * distance)
    assert measured == pytest.approx(np.abs(computed).sum() / len(labels), rel=1e-2)


def test_weight_decay_pulls_the_weights_to_zero(digits):
    images, labels = digits.shard(0, SHARDS)
    weights = Version.first().weights
    without = gradient(weights, images, labels, Hyper(weight_decay=0.0))
    with_decay = gradient(weights, images, labels, Hyper(weight_decay=0.5))
    np.testing.assert_allclose(with_decay - without, 0.5 * len(labels) * weights, rtol=1e-3, atol=1e-4)


def test_shards_cut_the_training_set_without_gap_or_overlap(digits):
    for shards in (1, 7, 16, 1000):
        pieces = [digits.shard(shard, shards) for shard in range(shards)]
        assert np.array_equal(np.concatenate([images for images, _ in pieces]), digits.train[0])
        assert np.array_equal(np.concatenate([labels for _, labels in pieces]), digits.train[1])


def test_the_three_sets_share_no_image(digits):
    assert len(digits.train[1]) + len(digits.judge[1]) + len(digits.test[1]) == 1797


def test_a_step_depends_on_the_gradients_not_on_who_sends_them_when(digits):
    """Gradients that went through bytes, computed in any order, give the very same next version."""
    version, hyper = Version.first(), Hyper()
    gradients = {
        shard: gradient(version.weights, *digits.shard(shard, SHARDS), hyper) for shard in range(SHARDS)
    }
    shuffled = {
        shard: vector_from_bytes(gradient(version.weights, *digits.shard(shard, SHARDS), hyper).tobytes())
        for shard in np.random.default_rng(1).permutation(SHARDS)
    }
    one = step(version, [gradients[shard] for shard in range(SHARDS)], 1097, hyper)
    other = step(version, [shuffled[shard] for shard in range(SHARDS)], 1097, hyper)
    assert one.to_bytes() == other.to_bytes()


def test_a_version_survives_its_bytes():
    version = Version(np.arange(PARAMETERS, dtype="<f4"), -np.arange(PARAMETERS, dtype="<f4"))
    again = Version.from_bytes(version.to_bytes())
    assert again.to_bytes() == version.to_bytes()
    assert again.digest() == version.digest()


def test_bytes_of_another_length_are_refused():
    with pytest.raises(ValueError, match="expected"):
        Version.from_bytes(Version.first().to_bytes()[:-4])


def test_the_bold_driver_cuts_the_rate_after_a_worse_version_and_raises_it_after_a_better_one():
    assert (
        Hyper().after(worse=True).learning_rate
        < Hyper().learning_rate
        < Hyper().after(worse=False).learning_rate
    )


def test_a_version_at_rest_has_the_same_weights():
    version = Version(np.ones(PARAMETERS, "<f4"), np.ones(PARAMETERS, "<f4"))
    assert without_momentum(version).digest() == version.digest()
    assert not without_momentum(version).velocity.any()


def test_weights_that_are_not_numbers_lose_against_any_others(digits):
    broken = Version(np.full(PARAMETERS, np.nan, "<f4"), np.zeros(PARAMETERS, "<f4"))
    with np.errstate(invalid="ignore"):
        assert loss(broken, *digits.judge) == float("inf")


def test_training_learns_takes_steps_back_and_repeats_itself_exactly(digits):
    first, taken_back = train_alone(digits, 48, SHARDS)
    second, _ = train_alone(digits, 48, SHARDS)
    assert first.to_bytes() == second.to_bytes()
    assert taken_back > 0
    assert accuracy(first, *digits.test) > 0.94
