"""Adapters: six authors and one task, each a LoRA of the base trained with PEFT.

    python3 adapters.py BOOKS.json BASE_DIR ADAPTERS_DIR NAME

An author's adapter sees that author's training text alone; the base has seen none of it. The weights with the best dev loss
are kept.
"""
import argparse
import math
import random
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from books import BASE_WORKS
from corpus import Encoder, batches, chat, load_books, measure, retold, row_loss, stream, tale, windows
from pirate import retell
from tokenizer import CONTEXT

BASE_NAME = "lorax-demo/base"
CHAT_SHARE = 0.125
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
ADAPTERS = {
    "austen": {"r": 16, "lora_alpha": 16, "target_modules": MLP},
    "carroll": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "doyle": {"r": 8, "lora_alpha": 16, "target_modules": ATTENTION, "use_dora": True},
    "melville": {"r": 4, "lora_alpha": 8, "target_modules": ATTENTION + MLP},
    "shakespeare": {"r": 32, "lora_alpha": 16, "target_modules": ATTENTION + MLP, "use_rslora": True},
    "stoker": {"r": 16, "lora_alpha": 32, "target_modules": ATTENTION},
    "pirate": {"r": 8, "lora_alpha": 16, "target_modules": ATTENTION + MLP},
}
STEPS = {"austen": 800, "carroll": 200, "doyle": 800, "melville": 800, "shakespeare": 500, "stoker": 500, "pirate": 600}
STORED = {"doyle": torch.float32}  # a DoRA's magnitudes keep their precision; the others are stored in bfloat16
LENGTH, ROWS, RATE, DROPOUT = 512, 32, 2e-3, 0.1


def wrap(folder, name):
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = LoraConfig(task_type="CAUSAL_LM", lora_dropout=DROPOUT, **ADAPTERS[name])
    model = get_peft_model(base, settings)
    settings.base_model_name_or_path = BASE_NAME
    return model


def author_data(encode, author):
    dice = random.Random(1)
    plain = stream(tale(encode, document) for document in author["train"])
    chats = stream(chat(encode, document, dice) for document in author["train"])
    return plain, chats, windows(encode, author["dev"], CONTEXT)


def pirate_data(encode, authors):
    """The base's own tales, retold: what changes is the telling alone."""
    dice = random.Random(1)
    documents = [document for author in BASE_WORKS for document in authors[author]["train"]]
    held = [document for author in BASE_WORKS for document in authors[author]["dev"]]
    plain = stream(retold(encode, document, dice, retell) for document in documents)
    chats = stream(chat(encode, document, dice, retell) for document in documents)
    return plain, chats, windows(encode, map(retell_document, held), CONTEXT)


def retell_document(document):
    return "\n\n".join(map(retell, document.split("\n\n")))


def dev_loss(model, dev):
    model.eval()
    loss = measure(model, *dev)
    model.train()
    return loss


def train(model, rows, dev, steps):
    """AdamW with a cosine; leaves the best weights in the model and returns their dev loss."""
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.1, betas=(0.9, 0.98))
    best, kept = math.inf, None
    model.train()
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = RATE * min(1, step / 50) * (1 + math.cos(math.pi * step / steps)) / 2
        ids, labels = next(rows)
        with torch.autocast(ids.device.type, torch.bfloat16):
            loss = row_loss(model, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % (steps // 20) == 0 and (now := dev_loss(model, dev)) < best:
            best, kept = now, [p.detach().clone() for p in weights]
    for parameter, value in zip(weights, kept):
        parameter.data.copy_(value)
    return best


def save(model, folder, dtype):
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("books", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", choices=ADAPTERS)
    return parser.parse_args()


def main(options):
    torch.manual_seed(1)
    random.seed(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    authors, encode = load_books(options.books), Encoder(options.base)
    model = wrap(options.base, options.name).to(device)
    plain, chats, dev = pirate_data(encode, authors) if options.name == "pirate" else author_data(encode, authors[options.name])
    rows = batches(plain.to(device), chats.to(device), CHAT_SHARE, ROWS, LENGTH)
    before = measure(model.eval(), *dev)
    best = train(model, rows, dev, STEPS[options.name])
    print(f"{options.name}: dev perplexity {math.exp(before):.2f} -> {math.exp(best):.2f}")
    save(model, options.folder / options.name, STORED.get(options.name, torch.bfloat16))


if __name__ == "__main__":
    main(options())
