"""Pretrain: the base model, from nothing.

    python3 pretrain.py BOOKS.json BASE_DIR [--log LOG.json]

BASE_DIR holds the tokenizer already. The weights with the best dev loss are kept.
"""
import argparse
import json
import math
import random
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from books import BASE_WORKS
from corpus import Encoder, batches, chat, load_books, measure, row_loss, stream, tale, windows
from tokenizer import CONTEXT, END_ID, TEXT_ID, VOCABULARY

CHAT_SHARE = 0.125


def config():
    return LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, head_dim=32, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=TEXT_ID, eos_token_id=TEXT_ID, pad_token_id=None)


def add_dropout(model, share):
    """Dropout after the embedding and on what each block adds, which the Llama class has no setting for."""
    ends = ("embed_tokens", "o_proj", "down_proj")
    for name, module in model.named_modules():
        if name.endswith(ends):
            module.register_forward_hook(
                lambda module, _, output: torch.nn.functional.dropout(output, share, module.training))


def optimizers(model, rate, decay):
    """Muon for the matrices of the blocks, AdamW for the embedding and the norms."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    embedding = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" in n]
    norms = [p for p in model.parameters() if p.ndim < 2]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([{"params": embedding, "weight_decay": 0.01}, {"params": norms, "weight_decay": 0.0}],
                          lr=rate, betas=(0.9, 0.98)),
    ]


def set_rates(optimizers, peak, step, steps):
    """A short rise, then a cosine."""
    rate = peak * min(1, (step + 1) / 100) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def dev_loss(model, dev):
    model.eval()
    with torch.autocast(dev[0].device.type, torch.bfloat16):
        loss = measure(model, *dev)
    model.train()
    return loss


def train(model, rows, dev, options):
    """Returns the best weights and a log of (step, train loss, dev loss)."""
    optims = optimizers(model, options.rate, options.decay)
    compiled = torch.compile(model) if options.compile else model
    best, weights, log = math.inf, None, []
    model.train()
    for step in range(options.steps):
        set_rates(optims, options.rate, step, options.steps)
        ids, labels = next(rows)
        with torch.autocast(ids.device.type, torch.bfloat16):
            loss = row_loss(compiled, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optims:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % options.interval == 0:
            log.append((step + 1, loss.item(), dev_loss(model, dev)))
            print("step {} train {:.4f} dev {:.4f}".format(*log[-1]), flush=True)
            if log[-1][2] < best:
                best, weights = log[-1][2], {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
    return weights, log


def save(model, folder):
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({
        "bos_token_id": TEXT_ID, "eos_token_id": [TEXT_ID, END_ID], "do_sample": True, "temperature": 0.8, "top_p": 0.95,
    }, indent=2) + "\n")


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("books", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=5.6e-3)
    parser.add_argument("--decay", type=float, default=1.0)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--size", type=int, default=64, help="rows in a batch")
    parser.add_argument("--interval", type=int, default=150, help="steps between dev losses")
    parser.add_argument("--log", type=Path, help="where the losses go")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def main(options):
    torch.manual_seed(1)
    random.seed(1)
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    authors, encode, dice = load_books(options.books), Encoder(options.folder), random.Random(1)
    documents = [document for author in BASE_WORKS for document in authors[author]["train"]]
    plain = stream(tale(encode, document) for document in documents).to(device)
    chats = stream(chat(encode, document, dice) for document in documents).to(device)
    held = [document for author in BASE_WORKS for document in authors[author]["dev"]]
    dev = tuple(tensor.to(device) for tensor in windows(encode, held, CONTEXT))

    model = LlamaForCausalLM(config()).to(device)
    add_dropout(model, options.dropout)
    print(f"{model.num_parameters()} parameters, {len(plain.ids)} tokens", flush=True)
    weights, log = train(model, batches(plain, chats, CHAT_SHARE, options.size, CONTEXT), dev, options)
    model.load_state_dict(weights)
    save(model, options.folder)
    if options.log:
        options.log.write_text(json.dumps(log))


if __name__ == "__main__":
    main(options())
