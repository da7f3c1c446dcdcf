"""Networks with random weights, made so that their outputs really depend on their inputs."""

from collections.abc import Callable

import torch
import torchvision.models as vision
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

CONVOLUTIONAL = ("resnet18", "squeezenet1_1", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny")
ATTENTION = ("vit_b_16", "swin_t")


def vision_model(name: str) -> nn.Module:
    """A torchvision model as it is, for 64 x 64 images (vit_b_16: 32 x 32), float64, in eval mode."""
    options = {"image_size": 32} if name == "vit_b_16" else {}
    with torch.random.fork_rng(), torch.device("cpu"):
        torch.manual_seed(0)
        model = getattr(vision, name)(weights=None, **options)
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and name not in ATTENTION:
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.3, 1.5)
        for key, parameter in model.named_parameters():
            if "layer_scale" in key:  # 1e-6 at the start of training, which would switch ConvNeXt's blocks off
                nn.init.constant_(parameter, 0.5)
            if key.startswith("heads"):  # zero at the start of training, in a ViT
                nn.init.normal_(parameter, std=0.05)
    return model.double().eval().requires_grad_(False)


def bert(attention: str) -> BertForSequenceClassification:
    """A small BERT classifier, float64, in eval mode."""
    config = BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.3,
        attn_implementation=attention,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
    return model.double().eval().requires_grad_(False)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Float64 values between -2 and 2."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 4 - 2


Function = Callable[[Tensor], Tensor]
