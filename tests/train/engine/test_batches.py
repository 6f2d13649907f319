"""Order and randomness of images: functions of seed, epoch and image alone."""

from __future__ import annotations

import random

import numpy as np

from sightline.train.engine.batches import EpochBatches, MosaicPool, Sample, seeded


def epochs(count: int, *, start: int = 0, loaders: int = 1, **options: int) -> list[list[list[Sample]]]:
    batches = EpochBatches(**options)  # type: ignore[arg-type]
    batches.epoch, batches.loaders = start, loaders
    return [list(batches) for _ in range(count)]


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    first, second = epochs(2, images=50, batch=8, seed=3)
    orders = [[sample.image for batch in epoch for sample in batch] for epoch in (first, second)]
    assert [sorted(order) for order in orders] == [list(range(50))] * 2
    assert orders[0] != orders[1]
    assert [len(batch) for batch in first] == [8] * 6 + [2]
    assert epochs(1, images=50, batch=8, seed=4)[0] != first


def test_a_training_that_resumes_gets_the_batches_that_it_would_have_had() -> None:
    for loaders in (1, 3):
        whole = epochs(6, images=50, batch=8, seed=3, loaders=loaders)
        assert epochs(3, start=3, images=50, batch=8, seed=3, loaders=loaders) == whole[3:]


def test_processes_get_disjoint_shares_that_hold_everything() -> None:
    shares = [epochs(1, images=60, batch=5, seed=1, rank=rank, world_size=4)[0] for rank in range(4)]
    images = [[sample.image for batch in share for sample in batch] for share in shares]
    assert [len(share) for share in images] == [15] * 4
    assert sorted(image for share in images for image in share) == list(range(60))


def test_what_does_not_share_evenly_is_filled_up_so_that_all_processes_have_as_many_batches() -> None:
    shares = [epochs(1, images=5, batch=2, seed=1, rank=rank, world_size=4)[0] for rank in range(4)]
    assert [[len(batch) for batch in share] for share in shares] == [[2]] * 4
    assert {sample.image for share in shares for batch in share for sample in batch} == set(range(5))


def test_a_mosaic_takes_from_what_its_loader_decoded_before() -> None:
    first, second = epochs(2, images=64, batch=4, seed=0, loaders=2)
    whole = [[sample.image for sample in batch] for batch in first + second]
    place = 20  # the fifth batch of the second epoch
    near = list(second[4][0].near)
    assert near == [image for earlier in (18, 16, 14, 12, 10, 8, 6) for image in whole[earlier]]
    assert list(first[0][0].near) == whole[0]
    assert place == len(first) + 4


def test_draws_depend_on_the_seeds_alone_and_leave_the_generators_where_they_were() -> None:
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.rand()
    drawn = []
    for parts in ((0, 1, 2), (0, 1, 2), (0, 2, 1)):
        random.seed(1)
        np.random.seed(1)
        with seeded(*parts):
            drawn.append((random.random(), np.random.rand()))
        assert (random.random(), np.random.rand()) == expected
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_pool_offers_what_it_is_told_and_keeps_the_engines_account() -> None:
    pool = MosaicPool()
    pool.near = (7, 8)
    for image in (1, 2, 3):
        pool.append(image)
    assert (list(pool), len(pool), 2 in pool, 7 in pool) == ([7, 8], 3, True, False)
    assert (pool.pop(0), len(pool)) == (1, 2)
