"""A small transformer encoder for sentences."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from xbench.boundary import libraries
from xbench.models.vocabulary import PAD


class TextTransformer(nn.Module):
    """Token ids (n, T), padded on the right with PAD -> logits (n, classes): BERT's encoder, trained from scratch.

    Source: Devlin, Chang, Lee, Toutanova 2019, "BERT" (arXiv 1810.04805), the encoder of transformers, smaller and
    without pretraining; a linear layer classifies the mean of the last states over the words. Padding is found from the
    ids, not the vectors, and changes no result, even when a hook replaces the output of `embedding`.

    vocabulary: number of token ids. classes: number of logits. dimension: of a word vector. layers, heads: of the
    encoder. longest: maximum number of positions.
    """

    modality: ClassVar[str] = "text"

    def __init__(
        self,
        vocabulary: int,
        classes: int,
        dimension: int = 64,
        layers: int = 2,
        heads: int = 4,
        longest: int = 512,
    ) -> None:
        super().__init__()
        with libraries.for_transformers():
            from transformers import BertConfig, BertModel  # only needed here, and slow to load

        self.embedding = nn.Embedding(vocabulary, dimension)
        config = BertConfig(
            vocab_size=1, hidden_size=dimension, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=2 * dimension, max_position_embeddings=longest, pad_token_id=0,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(dimension, classes)

    def forward(self, ids: Tensor) -> Tensor:
        real = (ids != PAD).to(self.classifier.weight.dtype)
        states = self.encoder(inputs_embeds=self.embedding(ids), attention_mask=real).last_hidden_state
        mean = (states * real.unsqueeze(2)).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        logits: Tensor = self.classifier(mean)
        return logits
