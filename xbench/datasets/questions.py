"""Images with a sentence: generated questions with known evidence, and NLVR."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xbench.datasets.decoding import open_image, reading
from xbench.datasets.found import Wanted, fingerprint, open_zip
from xbench.datasets.generated import Generated
from xbench.datasets.record import Dataset, Split, SplitPart, mixed_order
from xbench.datasets.shapes import CLASSES as SHAPES
from xbench.datasets.shapes import forms
from xbench.modalities.parts.groups import patches

COLOURS = {"red": (0.9, 0.15, 0.15), "green": (0.1, 0.75, 0.2), "blue": (0.2, 0.3, 0.95), "yellow": (0.95, 0.9, 0.15)}
ANSWERS = ("no", "yes")
FORMS = ("is there a {} {} ?", "can you see a {} {} here ?", "does the picture show any {} {} ?")
_SIDE = 32
_CELL = 16


@dataclass(frozen=True)
class ShapesQuestion:
    """Pictures of up to four shapes and a question: is there a red circle? Half of the answers are yes.

    The mask marks the pixels of the requested shapes, and the words for colour and shape. Pictures with the answer no
    show the colour and the shape, but not in one object, so their mask has no pixels.

    n (to explain), train, seed.
    """

    n: int = 120
    train: int = 6000
    seed: int = 0

    def load(self) -> Dataset:
        random = torch.Generator().manual_seed(self.seed)
        count = self.n + self.train
        labels = torch.arange(count) % 2
        kinds, colours = len(SHAPES), len(COLOURS)
        asked = torch.stack(
            [torch.randint(colours, (count,), generator=random), torch.randint(kinds, (count,), generator=random)], 1
        )
        # The first two shapes: the requested one, or two that share one property each with it; then two others.
        other = 1 + torch.randint(3, (count, 2), generator=random)
        first, second = asked.clone(), (asked + other) % 4
        no = labels == 0
        first[no, 1] = (asked[no, 1] + other[no, 1]) % 4
        second[no, 1] = asked[no, 1]
        further = torch.randint(4, (2, count, 2), generator=random)
        same = (further == asked).all(2)
        further[..., 0] = torch.where(same & no, (further[..., 0] + 1) % 4, further[..., 0])
        shown = torch.stack([first, second, *further], dim=1)  # (count, 4, colour and shape)
        images, owner = _draw(shown, random)
        wanted = (shown == asked[:, None]).all(2)
        masks = (owner[:, None] == torch.arange(1, 5)[None, :, None, None]) & wanted[..., None, None]
        form = torch.randint(len(FORMS), (count,), generator=random).tolist()
        names = list(COLOURS)
        pairs = [(names[colour], SHAPES[kind]) for colour, kind in asked.tolist()]
        texts = tuple(FORMS[f].format(*pair) for f, pair in zip(form, pairs, strict=True))
        words = tuple(tuple(word in pair for word in text.split()) for text, pair in zip(texts, pairs, strict=True))
        return Generated(
            name="shapes_question",
            modality="multimodal",
            classes=ANSWERS,
            inputs={"image": images, "text": texts},
            labels=labels,
            n=self.n,
            origin="pictures of shapes with a question, made by xbench",
            masks={"image": masks.any(1, keepdim=True), "text": words},
            further={
                "baseline": {"image": torch.full((1, 3, _SIDE, _SIDE), 0.5)},
                "features": {"image": patches(3, _SIDE, _SIDE)},
                "value_range": (0.0, 1.0),
            },
        ).dataset()


def _draw(shown: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (n, 3, side, side) of four shapes in the quarters, and the shape (1 to 4, 0 none) of each pixel."""
    n = len(shown)
    y, x = torch.meshgrid(torch.arange(_CELL) + 0.5, torch.arange(_CELL) + 0.5, indexing="ij")
    size = 4 + 2.5 * torch.rand(n, 4, 1, 1, generator=random)
    centre = size + (_CELL - 2 * size) * torch.rand(2, n, 4, 1, 1, generator=random)
    right, down = (x - centre[0]) / size, (y - centre[1]) / size
    kind = shown[:, :, 1, None, None, None].expand(n, 4, 1, _CELL, _CELL)
    inside = torch.stack(forms(right, down, arm=0.35), dim=2).gather(2, kind).squeeze(2)
    palette = torch.tensor(list(COLOURS.values()))
    tiles = torch.where(inside[:, :, None], palette[shown[:, :, 0]][..., None, None], 0.5)
    numbers = inside * torch.arange(1, 5)[None, :, None, None]
    place = torch.rand(n, 4, generator=random).argsort(1)
    rows = torch.arange(n)[:, None]
    tiles, numbers = tiles[rows, place], numbers[rows, place]
    images = tiles.unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2, 5).reshape(n, 3, _SIDE, _SIDE)
    owner = numbers.unflatten(1, (2, 2)).permute(0, 1, 3, 2, 4).reshape(n, _SIDE, _SIDE)
    noise = 0.04 * torch.randn(images.shape, generator=random)
    return (images + noise).clamp(0, 1), owner


@dataclass(frozen=True)
class NLVR:
    """NLVR: human sentences about pictures of three boxes with shapes; the class says whether the sentence is true.

    Uses the development part: up to n of its 989 samples are explained, the others train the model; no sentence is in
    both. Pictures are resized to `height` rows.
    Source: Suhr, Lewis, Yeh, Artzi 2017, "A Corpus of Natural Language for Visual Reasoning" (ACL).

    data_dir: holds nlvr/dev.json and nlvr/dev_images_permutation0.zip. n: sentences to explain.
    """

    height: int = 32
    n: int = 200
    data_dir: str | None = None

    def load(self) -> Dataset:
        from PIL import Image

        path, archive = _SENTENCES.find(self.data_dir), _PICTURES.find(self.data_dir)
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        images: list[np.ndarray] = []
        with open_zip(archive) as file:
            for entry in entries:
                name = f"images/{entry['directory']}/dev-{entry['identifier']}-0.png"
                if name not in file.namelist():
                    raise ValueError(f"{archive} has no {name}, which {path} names")
                with reading(f"{archive}, {name}"), open_image(io.BytesIO(file.read(name))) as image:
                    picture = image.convert("RGB").resize((4 * self.height, self.height), Image.Resampling.BOX)
                images.append(np.asarray(picture))
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        texts = tuple(_plain(entry["sentence"]) for entry in entries)
        labels = torch.tensor([int(entry["label"] == "true") for entry in entries])
        ids = [entry["identifier"] for entry in entries]
        # A sentence occurs with several pictures and both answers: it must not be in both parts.
        groups = mixed_order([0] * len(ids), [name.split("-")[0] for name in ids])
        cut = groups[self.n :][0] if self.n < len(groups) else -1
        whole = [
            row for row in groups[: self.n] if ids[row].split("-")[0] != (ids[cut].split("-")[0] if cut >= 0 else "")
        ]
        held = [whole[i] for i in mixed_order([int(labels[row]) for row in whole], [ids[row] for row in whole])]
        others = [row for row in groups if row not in set(whole)]

        def split(part: str, rows: list[int]) -> Split:
            inputs: dict[str, SplitPart] = {"image": pixels[rows], "text": tuple(texts[row] for row in rows)}
            return Split(tuple(f"{part}-{ids[row]}" for row in rows), inputs, labels[rows])

        return Dataset(
            name="nlvr",
            modality="multimodal",
            classes=("false", "true"),
            test=split("dev", held),
            train=lambda: split("train", others),
            fingerprint=fingerprint(path.read_bytes(), archive.read_bytes(), repr((self.height, held)).encode()),
            origin="NLVR, development part (Suhr et al. 2017)",
            baseline={"image": torch.full((1, 3, self.height, 4 * self.height), 0.5)},
            features={"image": patches(3, self.height, 4 * self.height)},
            value_range=(0.0, 1.0),
        )


_SENTENCES = Wanted("nlvr/dev.json", "the development part of NLVR, one JSON object per line")
_PICTURES = Wanted("nlvr/dev_images_permutation0.zip", "images/DIRECTORY/dev-IDENTIFIER-0.png of that part")


def _plain(sentence: str) -> str:
    """Words and punctuation separated by single spaces, in lower case."""
    spaced = "".join(f" {c} " if c in ".,?!;" else c for c in sentence.lower())
    return " ".join(spaced.split())
