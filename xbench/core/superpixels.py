"""Superpixels: the connected parts of an image that look alike."""

from __future__ import annotations

import torch
from torch import Tensor

from xbench.boundary import libraries

SEGMENTS = 64  # per image, about


def superpixels(images: Tensor, wanted_by: str) -> Tensor:
    """The superpixel of every element of images (n, C, H, W), all channels alike: int64 of that shape, from 0.

    By SLIC: Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods" (TPAMI).
    `wanted_by` says in the error what needs scikit-image where it is not installed.
    """
    with libraries.extra("superpixels", wanted_by):
        from skimage.segmentation import slic
    segments = min(SEGMENTS, images[0, 0].numel() // 4)
    found = []
    for image in images:
        values = image.detach().cpu().permute(1, 2, 0).double().numpy()
        grey = values.shape[2] != 3
        kept = values if not grey else values.mean(2)
        labels = slic(kept, n_segments=segments, start_label=0, channel_axis=None if grey else 2)
        _, dense = torch.unique(torch.from_numpy(labels), return_inverse=True)
        found.append(dense.expand(image.shape))
    return torch.stack(found)
