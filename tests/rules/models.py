"""Networks with random weights, made so that their outputs really depend on their inputs."""

from collections.abc import Callable

import torch
import torchvision.models as vision
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from tests.models_for_tests import weights

VOCABULARY = 100

# Side of the images: the smallest on which every layer has something to do.
IMAGES = {
    "resnet18": 32,
    "squeezenet1_1": 64,
    "googlenet": 32,
    "densenet121": 32,
    "mobilenet_v3_small": 32,
    "efficientnet_b0": 32,
    "convnext_tiny": 32,
    "vit_b_16": 32,
    "swin_t": 32,
}
_OPTIONS: dict[str, dict[str, object]] = {
    "googlenet": {"aux_logits": False, "init_weights": False, "transform_input": True},
    "vit_b_16": {"image_size": 32},
}


def vision_model(name: str) -> nn.Module:
    """A torchvision model as it is, for images of `IMAGES[name]`, float64, in eval mode."""
    with torch.random.fork_rng(), torch.device("cpu"):
        torch.manual_seed(0)
        model = getattr(vision, name)(weights=None, **_OPTIONS.get(name, {}))
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and name not in ("vit_b_16", "swin_t"):
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


def bert(attention: str) -> PreTrainedModel:
    """A small BERT classifier, float64, in eval mode."""
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.3,
        num_labels=3,
        attn_implementation=attention,
    )
    return _seeded(lambda: BertForSequenceClassification(config))


def gpt2(attention: str, *, classifier: bool) -> PreTrainedModel:
    """A small GPT-2, float64, in eval mode: a classifier of the last token, or a model of the next one."""
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=16,
        initializer_range=0.3,
        num_labels=3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        attn_implementation=attention,
    )
    return _seeded(lambda: (GPT2ForSequenceClassification if classifier else GPT2LMHeadModel)(config))


def _seeded(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make()
    return model.double().eval().requires_grad_(False)


class Recurrent(nn.Module):
    """(n, steps, 5) -> 3 classes, from the outputs of all steps and the last states of a recurrent layer."""

    def __init__(self, kind: str, **options: object) -> None:
        super().__init__()
        self.inner = getattr(nn, kind)(5, 6, **options)
        directions = 2 if self.inner.bidirectional else 1
        width = options.get("proj_size", 6)
        states = directions * self.inner.num_layers * (width + (6 if kind == "LSTM" else 0))
        self.out = nn.Linear(directions * width + states, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps, last = self.inner(x if self.inner.batch_first else x.transpose(0, 1))
        states = [s.transpose(0, 1).flatten(1) for s in (last if isinstance(last, tuple) else (last,))]
        return self.out(torch.cat([steps.mean(1 if self.inner.batch_first else 0), *states], 1))


class Cells(nn.Module):
    """(n, steps, 5) -> 3 classes, one step at a time; the first state is made of the first step's input."""

    def __init__(self, kind: str, **options: object) -> None:
        super().__init__()
        self.inner = getattr(nn, f"{kind}Cell")(5, 6, **options)
        self.start = nn.Linear(5, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = self.start(x[:, 0])
        if isinstance(self.inner, nn.LSTMCell):
            state = state, state.sin()
        for step in x.unbind(1):
            state = self.inner(step, state)
        return self.out(state[0] if isinstance(state, tuple) else state)


RECURRENT: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: Recurrent("LSTM"),
    "LSTM, 2 layers, both directions": lambda: Recurrent(
        "LSTM", num_layers=2, bidirectional=True, batch_first=True, dropout=0.5
    ),
    "LSTM, projected, both directions": lambda: Recurrent(
        "LSTM", proj_size=4, num_layers=2, bidirectional=True, bias=False
    ),
    "GRU": lambda: Recurrent("GRU", batch_first=True),
    "GRU, 2 layers, both directions": lambda: Recurrent("GRU", num_layers=2, bidirectional=True),
    "GRU, no bias": lambda: Recurrent("GRU", bias=False),
    "RNN": lambda: Recurrent("RNN", batch_first=True),
    "RNN, relu, both directions": lambda: Recurrent("RNN", nonlinearity="relu", bidirectional=True),
    "LSTMCell": lambda: Cells("LSTM"),
    "GRUCell": lambda: Cells("GRU", bias=False),
    "RNNCell": lambda: Cells("RNN"),
    "RNNCell, relu": lambda: Cells("RNN", nonlinearity="relu"),
}


def recurrent(name: str) -> nn.Module:
    """One of `RECURRENT`, float64, in eval mode."""
    return weights(RECURRENT[name](), scale=2)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Float64 values between -2 and 2."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 4 - 2


Function = Callable[[Tensor], Tensor]
