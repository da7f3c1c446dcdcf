"""Sequence classifiers from Hugging Face transformers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from xbench.boundary import libraries
from xbench.boundary.own_code import first_cause
from xbench.datasets.cache import sha256_file
from xbench.datasets.record import Dataset
from xbench.modalities import MODALITIES
from xbench.models.accuracy import cached_accuracy
from xbench.models.record import Model
from xbench.models.tokens import TokenEncoder
from xbench.models.weights import digest

WEIGHTS = (".safetensors", ".bin", ".json", ".txt", ".model")  # files in a model folder that determine the outputs


class SequenceClassifier(nn.Module):
    """(ids, attention mask), both (n, T) -> the network's structured output, whose "logits" are (n, classes).

    The networks of transformers differ in the order of their arguments (the second one of GPT-2 is its cache), and
    xbench passes arguments by position; this wrapper passes them by name.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, attention: Tensor) -> object:
        return self.network(input_ids=ids, attention_mask=attention)


@dataclass(frozen=True)
class Transformers:
    """A sequence classifier by hub name or local folder.

    name: a hub name such as "textattack/bert-base-uncased-SST-2", or a folder with config.json, weights and tokenizer
        files (as written by `save_pretrained`). Tables show its last part.
    group: "word" makes the tokens of one whitespace word one feature, "token" makes each token a feature.
    max_length: maximum number of tokens of a text; None = the tokenizer's limit.
    too_long: how to treat a longer text: "cut", with a warning that names one, or "stop".
    revision: branch, tag or commit on the hub.

    Points enter at the word embedding; positions and attention mask stay those of the original text. The baseline
    replaces every ordinary token by the mask token (by padding if there is none) and keeps special tokens.
    """

    name: str
    group: Literal["word", "token"] = "word"
    max_length: int | None = None
    revision: str | None = None
    too_long: Literal["cut", "stop"] = "cut"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name must be a hub name or a folder, got {self.name!r}")
        if self.group not in ("word", "token"):
            raise ValueError(f"group must be 'word' or 'token', got {self.group!r}")
        if self.too_long not in ("cut", "stop"):
            raise ValueError(f"too_long must be 'cut' or 'stop', got {self.too_long!r}")
        if self.max_length is not None and self.max_length < 3:
            raise ValueError(f"max_length must be at least 3 (a word and two special tokens), got {self.max_length}")

    @property
    def title(self) -> str:
        """The name in tables."""
        return Path(self.name).name

    def fingerprint(self, dataset: Dataset) -> str | None:
        """sha256 of the folder's files or of the hub's commit; None if that is not in the local cache."""
        return self._digest(self._commit())

    def load(self, dataset: Dataset) -> Model:
        """Raises ValueError (not texts; no usable tokenizer) or FileNotFoundError (no model of this name)."""
        if MODALITIES[dataset.modality].holds != "texts":
            raise ValueError(
                f"model {self.name!r} takes texts, but data set {dataset.name!r} holds {dataset.modality}s"
            )
        network, tokenizer = self._pretrained()
        fingerprint = self._digest(getattr(network.config, "_commit_hash", None))
        assert fingerprint is not None  # a folder has files and a hub model has a commit
        if network.config.pad_token_id is None:
            # GPT-like networks classify the last token that is not padding.
            network.config.pad_token_id = tokenizer.pad_token_id
        module = SequenceClassifier(network).float().eval()
        model = Model(
            name=self.title,
            module=module,
            fingerprint=fingerprint,
            encode=TokenEncoder(tokenizer, self.group, self.max_length, self.too_long),
            site=_name_of(module, network.get_input_embeddings()),
            output="logits",
        )
        if network.config.num_labels != len(dataset.classes):
            return model
        return replace(model, accuracy=cached_accuracy(model, dataset))

    def _pretrained(self) -> tuple[Any, Any]:
        folder = Path(self.name)
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise FileNotFoundError(f"model folder {folder} has no config.json; is it what save_pretrained wrote?")
        revision = {} if self.revision is None else {"revision": self.revision}
        try:
            with libraries.for_transformers(), libraries.one_voice(), libraries.no_loading_bars():
                from transformers import AutoModelForSequenceClassification, AutoTokenizer

                tokenizer = AutoTokenizer.from_pretrained(self.name, **revision)
                network = AutoModelForSequenceClassification.from_pretrained(self.name, **revision)
        except (OSError, ImportError, RuntimeError) as error:  # absent files and broken libraries
            if folder.is_dir():
                raise ValueError(f"model folder {folder} is there and does not load: {first_cause(error)}") from error
            raise FileNotFoundError(
                f"transformers model {self.name!r} is neither a folder nor in the hub cache "
                f"and could not be downloaded. Run `hf download {self.name}` on a machine with a network "
                f"and copy its cache (HF_HOME), or give model.name=/path/to/folder. {first_cause(error)}"
            ) from error
        if not tokenizer.is_fast:
            raise ValueError(
                f"the tokenizer of {self.name!r} does not tell where its tokens lie in the text: "
                "it needs a fast one (tokenizer.json)"
            )
        if tokenizer.pad_token_id is None:
            if tokenizer.eos_token is None:
                raise ValueError(f"the tokenizer of {self.name!r} has neither a padding nor an end token")
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "right"
        return network, tokenizer

    def _commit(self) -> str | None:
        if Path(self.name).is_dir():
            return None
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            found = try_to_load_from_cache(self.name, "config.json", revision=self.revision)
        except HFValidationError:
            return None  # not a hub name at all; load() says so
        return Path(found).parent.name if isinstance(found, str) else None

    def _digest(self, commit: str | None) -> str | None:
        folder = Path(self.name)
        if folder.is_dir():
            files = sorted(path for path in folder.iterdir() if path.suffix in WEIGHTS)
            contents: object = {path.name: sha256_file(path) for path in files}
        elif commit is None:
            return None
        else:
            contents = [self.name, commit]
        return digest({"transformers": contents, "max_length": self.max_length})


def _name_of(module: nn.Module, part: nn.Module) -> str:
    names: dict[nn.Module, str] = {found: name for name, found in module.named_modules()}
    return names[part]
