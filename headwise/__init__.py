"""Attribution of the predictions of transformers to their attention heads.

loaded = headwise.load("some/classifier")
result = headwise.attribute(loaded.model, loaded.tokenizer, texts)
result.importance()  # [sites, heads]

The names are listed in `__init__.pyi` and loaded on first use (PEP 562), so that `headwise.stats`
and `headwise.trees` work without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
