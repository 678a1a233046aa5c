"""Evaluate: perplexities and samples of what is stored, into a report the model card is made from.

    python3 evaluate.py BOOKS.json BASE_DIR ADAPTERS_DIR REPORT.json

Weights are read from the files as they ship and computed in float32.
"""
import json
import math
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from adapters import ADAPTERS, retell_document
from books import ADAPTER_WORKS, BASE_WORKS
from corpus import Encoder, load_books, measure, windows
from tokenizer import CONTEXT

PROMPTS = [
    "Once upon a time there was a lighthouse keeper who",
    "The door of the library opened slowly, and",
    "\"What have you brought me?\" asked the captain.",
]
QUESTION = "A stranger came to our village on the last night of winter."
SAMPLING = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "max_new_tokens": 100}


def load(base, adapter=None):
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return (PeftModel.from_pretrained(model, adapter) if adapter else model).eval()


def tests(encode, authors):
    """What each column of the table is measured on: {column: windows}."""
    tales = [document for author in BASE_WORKS for document in authors[author]["test"]]
    columns = {"base": tales} | {author: authors[author]["test"] for author in ADAPTER_WORKS}
    columns["pirate"] = list(map(retell_document, tales))
    return {column: windows(encode, documents, CONTEXT) for column, documents in columns.items()}


@torch.no_grad()
def write(model, tokenizer, ids, seed):
    set_seed(seed)
    out = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=tokenizer.pad_token_id, **SAMPLING)
    return tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True)


def samples(model, tokenizer):
    """What the model writes after each prompt, and what it answers in a chat, seed by seed."""
    written = []
    for seed, prompt in enumerate(PROMPTS, 1):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        written.append({"prompt": prompt, "seed": seed, "text": write(model, tokenizer, ids, seed)})
    talk = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], add_generation_prompt=True, tokenize=False)
    ids = tokenizer(talk, return_tensors="pt", add_special_tokens=False).input_ids
    return written + [{"chat": QUESTION, "seed": 1, "text": write(model, tokenizer, ids, 1)}]


def main(books, base, adapters, report):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encode, tokenizer = Encoder(base), AutoTokenizer.from_pretrained(base)
    columns = tests(encode, load_books(books))
    found = {"tokens": {column: int((labels[:, 1:] >= 0).sum()) for column, (_, labels) in columns.items()},
             "perplexity": {}, "samples": {}, "sampling": SAMPLING}
    for name in ["base", *ADAPTERS]:
        model = load(base, None if name == "base" else adapters / name)
        found["samples"][name] = samples(model, tokenizer)
        model.to(device)
        found["perplexity"][name] = {column: math.exp(measure(model, *rows)) for column, rows in columns.items()}
        print(name, {column: round(value, 2) for column, value in found["perplexity"][name].items()}, flush=True)
        report.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
