"""The stand-in: deterministic, without leaks, and with evidence that decides the label."""

from random import Random

from xbench.datasets.sst2 import SST2
from xbench.datasets.sst2_standin import ADJECTIVES, NOUNS, TEMPLATES, VERBS, sentences


def test_the_same_sentences_for_ever() -> None:
    assert sentences(50, 10, seed=3) == sentences(50, 10, seed=3)
    assert sentences(50, 10, seed=3) != sentences(50, 10, seed=4)
    fingerprint = SST2(source="standin").load().fingerprint
    # Cached models and results hang on it: a change of the grammar must be meant.
    assert fingerprint == "ea0cbf7cb2180bbd73ec788eea6276e67fe687a5f591846f0d404f0397497be7"


def test_nothing_is_repeated_between_or_within_the_splits() -> None:
    data = SST2(source="standin").load()
    train, dev = data.train().inputs, data.test.inputs
    assert (len(train), len(dev)) == (4000, 400)
    assert len(set(train) | set(dev)) == 4400


def test_classes_are_balanced_and_mixed() -> None:
    data = SST2(source="standin").load()
    assert 0.45 < float(data.train().targets.double().mean()) < 0.55
    assert data.test.targets[:32].sum() in (15, 16, 17)
    assert data.standin
    assert data.name == "sst2-standin"


def test_each_sentence_has_evidence_and_filler() -> None:
    data = SST2(source="standin").load()
    for split in (data.train(), data.test):
        assert isinstance(split.masks, tuple)
        for text, mask in zip(split.inputs, split.masks, strict=True):
            assert len(mask) == len(text.split())
            assert any(mask)
            assert not all(mask)


def test_a_reading_of_the_evidence_alone_gives_the_label() -> None:
    """Not by construction: the marked polar words, flipped by marked negators, decide."""
    polarity = {word: sign for words in (ADJECTIVES, NOUNS) for sign in words for word in words[sign]}
    polarity |= {form: sign for sign in VERBS for verb in VERBS[sign] for form in (verb, verb + "s")}
    negators = {"not", "never", "hardly", "scarcely", "far", "no", "fails"}
    data = SST2(source="standin").load()
    assert isinstance(data.test.masks, tuple)
    for text, label, mask in zip(data.test.inputs, data.test.targets.tolist(), data.test.masks, strict=True):
        flipped, signs = 1, []
        for word, evidence in zip(text.split(), mask, strict=True):
            if evidence and word in negators:
                flipped = -1
            elif evidence and word in polarity:
                signs.append(flipped * polarity[word])
                flipped = 1
        assert set(signs) == {2 * label - 1}, text


def test_every_template_speaks_both_ways() -> None:
    for template in TEMPLATES:
        for sign in (+1, -1):
            for seed in range(20):
                phrase = template(sign, Random(seed))
                assert phrase[-1] == (".", False)
                assert any(evidence for _, evidence in phrase)
