"""The digits: real images, a fixed split, patches."""

import random

import numpy as np
import torch

from xbench.datasets.digits import Digits


def test_shapes_ranges_and_sizes() -> None:
    data = Digits().load()
    train = data.train()
    assert data.test.inputs.shape == (500, 1, 8, 8)
    assert train.inputs.shape == (1297, 1, 8, 8)
    assert data.test.inputs.dtype == torch.float32
    assert 0.0 <= float(train.inputs.min()) < float(train.inputs.max()) <= 1.0
    assert data.baseline is not None
    assert not data.baseline.any()
    assert (data.name, data.modality, len(data.classes), data.standin) == ("digits", "image", 10, False)


def test_the_split_is_disjoint_and_its_ids_name_the_source_rows() -> None:
    from sklearn.datasets import load_digits

    bunch, data = load_digits(), Digits().load()
    rows = [int(name.rpartition("-")[2]) for split in (data.test, data.train()) for name in split.ids]
    assert sorted(rows) == list(range(1797))
    for place in (0, 7, 499):
        row = int(data.test.ids[place].rpartition("-")[2])
        assert np.array_equal(data.test.inputs[place, 0].numpy() * 16, bunch.images[row])
        assert data.test.targets[place] == bunch.target[row]


def test_the_first_samples_are_of_all_classes() -> None:
    targets = Digits().load().test.targets
    assert len(set(targets[:10].tolist())) >= 8
    assert set(targets[:20].tolist()) == set(range(10))


def test_nothing_depends_on_or_touches_the_global_generators() -> None:
    torch.manual_seed(1)
    first = Digits().load()
    before = torch.get_rng_state(), random.getstate()
    torch.manual_seed(2)
    second = Digits().load()
    assert (first.test.ids, first.fingerprint) == (second.test.ids, second.fingerprint)
    torch.manual_seed(1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_the_features_are_2x2_patches() -> None:
    features = Digits().load().features
    assert features is not None
    assert features.unique().tolist() == list(range(16))
    assert features[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert features[0, 0, :, 0].tolist() == [0, 0, 4, 4, 8, 8, 12, 12]
