"""Expected: the greedy tokens a server must reproduce, from transformers and PEFT in float32 on a CPU.

    python3 expected.py BASE_DIR ADAPTERS_DIR EXPECTED.json

The weights are upcast from what the files hold, and the end token does not stop the generation. Each step records by how
much the first choice led the second, so that a test can tell a wrong token from a near tie.
"""
import json
import sys
from pathlib import Path

import peft
import torch
import transformers
from transformers import AutoTokenizer

from adapters import ADAPTERS
from evaluate import PROMPTS, load

STEPS = 32


@torch.no_grad()
def greedy(model, ids):
    """STEPS tokens and the margin of each, every step computed from the whole text."""
    ids, margins, start = list(ids), [], len(ids)
    for _ in range(STEPS):
        top = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
        ids.append(int(top.indices[0]))
        margins.append(round(float(top.values[0] - top.values[1]), 6))
    return ids[start:], margins


def cases(model, tokenizer):
    for prompt in PROMPTS:
        ids = tokenizer(prompt).input_ids
        tokens, margins = greedy(model, ids)
        yield {"prompt": prompt, "prompt_ids": ids, "tokens": tokens, "text": tokenizer.decode(tokens), "margins": margins}


def main(base, adapters, out):
    tokenizer = AutoTokenizer.from_pretrained(base)
    found = {"made_with": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
             "dtype": "float32", "models": {}}
    for name in ["base", *ADAPTERS]:
        found["models"][name] = list(cases(load(base, None if name == "base" else adapters / name), tokenizer))
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
