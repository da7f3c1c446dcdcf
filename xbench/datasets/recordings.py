"""Audio recordings: spoken digits, speech commands, and the user's folder of WAV files."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xbench.datasets.cache import cache_directory, data_directory
from xbench.datasets.decoding import reading, reason, shown
from xbench.datasets.found import Wanted, check_options, fingerprint, left_out, open_zip
from xbench.datasets.record import Dataset, Split, mixed_order
from xbench.datasets.tones import WINDOWS
from xbench.datasets.wav import read_wav, resampled
from xbench.modalities.parts.groups import windows

log = logging.getLogger("xbench")

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Sound:
    """One recording: its id, its class, and its samples (T,) in -1..1."""

    name: str
    label: str
    wave: Tensor


@dataclass(frozen=True)
class FSDD:
    """Free Spoken Digit Dataset: digits by six speakers at 8 kHz, cut or padded to `seconds`.

    The recordings 0 to 4 of each speaker and digit are explained (the authors' split), the others train the model.
    Padding is not a feature.
    Source: Z. Jackson et al., "Free Spoken Digit Dataset", 2018, https://doi.org/10.5281/zenodo.1342401.

    data_dir: holds fsdd/recordings_0-19.zip (or recordings.zip) with files named DIGIT_SPEAKER_NUMBER.wav.
    """

    data_dir: str | None = None
    seconds: float = 0.6

    def load(self) -> Dataset:
        path = _FSDD.find(self.data_dir)
        parts: dict[str, list[Sound]] = {"test": [], "train": []}
        with open_zip(path) as archive:
            for name in sorted(name for name in archive.namelist() if name.endswith(".wav")):
                named = re.fullmatch(r"(\d)_[^_]+_(\d+)", Path(name).stem)
                if named is None:
                    raise ValueError(f"{path}, {name}: expected a name like DIGIT_SPEAKER_NUMBER.wav")
                digit, number = named.groups()
                wave, rate = read_wav(archive.read(name), f"{path}, {name}")
                if rate != 8000:
                    raise ValueError(f"{path}, {name}: expected 8000 samples per second, got {rate}")
                part = "test" if int(number) < 5 else "train"
                parts[part].append(Sound(Path(name).stem, DIGITS[int(digit)], wave))
        origin = "Free Spoken Digit Dataset, recordings 0 to 19"
        return _sounds("fsdd", parts["test"], parts["train"], DIGITS, 8000, self.seconds, origin)


@dataclass(frozen=True)
class WavFolder:
    """The user's folder with one folder of WAV files per class, cut or padded to `seconds`.

    path: the folder. name: the name in tables; null = the folder's name.
    rate: samples per second; null = the rate of the first file. Files of other rates are `bad` unless `resample`.
    max_seconds: longer files are `bad`, because files are read and resampled whole.
    bad: how to treat a file that is unreadable or has another rate: stop, or skip with a warning.
    test: share of the files to explain, chosen by their contents; `listed` (a text file with one relative path per
        line, like the testing_list.txt of Speech Commands) chooses them instead.
    """

    path: str
    name: str | None = None
    seconds: float = 1.0
    rate: int | None = None
    resample: bool = False
    bad: str = "stop"
    test: float = 0.2
    listed: str | None = None
    max_seconds: float = 600.0

    def __post_init__(self) -> None:
        check_options(self.bad, self.test)

    def load(self) -> Dataset:
        """Raises FileNotFoundError, or ValueError that names the file and the problem."""
        root = Path(self.path)
        files = sorted(root.glob("*/*.wav"))
        if not files:
            raise FileNotFoundError(f"{root} holds no folders of WAV files, one folder per class")
        sounds, rate, notes = self._read(root, files)
        classes = tuple(sorted({sound.label for sound in sounds}))
        order = mixed_order(
            [classes.index(sound.label) for sound in sounds], [sound.wave.numpy().tobytes() for sound in sounds]
        )
        chosen = None if self.listed is None else set((root / self.listed).read_text().split())
        held = {i for place, i in enumerate(order) if place < max(1, round(self.test * len(order)))}
        if chosen is not None:
            held = {i for i, sound in enumerate(sounds) if sound.name in chosen}
        test, train = [sounds[i] for i in order if i in held], [sounds[i] for i in order if i not in held]
        name = self.name or root.name
        origin = f"{len(sounds)} recordings in {shown(root.name)}/"
        return _sounds(name, test, train, classes, rate, self.seconds, origin, notes)

    def _read(self, root: Path, files: Sequence[Path]) -> tuple[list[Sound], int, tuple[str, ...]]:
        rate, sounds, problems = self.rate, [], []
        for file in files:
            try:
                wave, own = self._read_one(file, rate)
            except ValueError as error:
                if self.bad == "stop":
                    raise ValueError(f"{error}; dataset.bad=skip leaves such files out") from error
                log.warning("left out: %s", error)
                problems.append(reason(error))
                continue
            rate = rate or own
            sounds.append(Sound(str(file.relative_to(root)), file.parent.name, wave))
        if rate is None or not sounds:
            raise ValueError(f"none of the {len(files)} WAV files below {root} can be read")
        return sounds, rate, (left_out(problems, len(files), "recordings"),) if problems else ()

    def _read_one(self, file: Path, rate: int | None) -> tuple[Tensor, int]:
        """A file's samples and its rate: `rate`, or the file's own rate if None."""
        place = shown(file)
        if place != str(file):
            raise ValueError(f"{place}: its name is not UTF-8; rename it")
        if not file.is_file():  # reading a pipe would block
            raise ValueError(f"{place} is no file")
        with reading(place):
            content = file.read_bytes()
        wave, own = read_wav(content, place)
        if len(wave) > own * self.max_seconds:
            raise ValueError(
                f"{place} lasts {len(wave) / own:,.0f} s, and at most {self.max_seconds:g} s are read; cut it, or "
                "raise dataset.max_seconds"
            )
        if rate in (None, own):
            return wave, own
        if not self.resample:
            raise ValueError(f"{place} has {own} samples per second, not {rate}: dataset.resample=true converts it")
        return resampled(wave, own, rate, place), rate


@dataclass(frozen=True)
class SpeechCommands:
    """Speech Commands: one-second recordings of words, in the layout of the published archive (v0.01 or v0.02).

    Source: P. Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", arXiv 1804.03209.

    data_dir: holds speech_commands/ with a folder per word and testing_list.txt, as torchaudio's
        `SPEECHCOMMANDS(download=True)` leaves it.
    words: the classes.
    """

    data_dir: str | None = None
    words: tuple[str, ...] = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")

    def load(self) -> Dataset:
        root = self._root()
        held = set((root / "testing_list.txt").read_text().split())
        parts: dict[str, list[Sound]] = {"test": [], "train": []}
        for word in self.words:
            files = sorted((root / word).glob("*.wav"))
            if not files:
                known = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir()))
                raise ValueError(f"words: {root} has no recordings of {word!r}; it has {known}")
            for file in files:
                wave, _ = read_wav(file.read_bytes(), str(file))
                name = f"{word}/{file.name}"
                parts["test" if name in held else "train"].append(Sound(name, word, wave))
        origin = "Speech Commands (Warden 2018)"
        return _sounds("speech_commands", parts["test"], parts["train"], self.words, 16000, 1.0, origin)

    def _root(self) -> Path:
        roots = [Path(self.data_dir)] if self.data_dir else [data_directory(), cache_directory() / "data"]
        below = ("speech_commands", "SpeechCommands/speech_commands_v0.02", "SpeechCommands/speech_commands_v0.01")
        places = [root / folder for root in roots for folder in below]
        for place in places:
            if (place / "testing_list.txt").is_file():
                return place
        raise FileNotFoundError(
            f"Speech Commands is missing: put its folders and testing_list.txt into {places[0]} (torchaudio.datasets."
            "SPEECHCOMMANDS(root, download=True) fetches them), or set XBENCH_DATA to the folder above"
        )


_FSDD = Wanted("fsdd/recordings_0-19.zip", "a zip of the recordings, named DIGIT_SPEAKER_NUMBER.wav")


def _sounds(
    name: str,
    test: Sequence[Sound],
    train: Sequence[Sound],
    classes: Sequence[str],
    rate: int,
    seconds: float,
    origin: str,
    notes: tuple[str, ...] = (),
) -> Dataset:
    length = int(rate * seconds)
    order = mixed_order([classes.index(s.label) for s in test], [s.wave.numpy().tobytes() for s in test])
    test = [test[i] for i in order]

    def split(part: str, sounds: Sequence[Sound]) -> Split:
        if not sounds:
            raise ValueError(f"{name}: there are no recordings for the {part} part")
        waves = torch.zeros(len(sounds), 1, length)
        for row, sound in enumerate(sounds):
            kept = sound.wave[:length]
            waves[row, 0, : len(kept)] = kept
        labels = torch.tensor([classes.index(sound.label) for sound in sounds])
        return Split(tuple(f"{part}-{sound.name}" for sound in sounds), waves, labels)

    lengths = {f"test-{sound.name}": min(len(sound.wave), length) for sound in test}
    lengths |= {f"train-{sound.name}": min(len(sound.wave), length) for sound in train}

    def features(of: Split) -> Tensor:
        """Feature ids: windows of the recording; padding is not a feature."""
        rows = []
        for sample in of.ids:
            own = lengths[sample]
            rows.append(torch.cat([windows(own, WINDOWS), torch.full((length - own,), -1)]))
        return torch.stack(rows)[:, None]

    return Dataset(
        name=name,
        modality="audio",
        classes=tuple(classes),
        test=split("test", test),
        train=lambda: split("train", train),
        fingerprint=fingerprint(repr((name, classes, rate, length)).encode(), *_bytes([*test, *train])),
        origin=origin,
        baseline=torch.zeros(1, 1, length),
        features=features,
        value_range=(-1.0, 1.0),
        rate=rate,
        notes=notes,
    )


def _bytes(sounds: Iterable[Sound]) -> Iterable[bytes]:
    return (f"{sound.name} {sound.label}".encode() + sound.wave.numpy().tobytes() for sound in sounds)
