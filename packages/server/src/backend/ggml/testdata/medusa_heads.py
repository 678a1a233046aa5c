"""Writes medusa_heads.json: loss, gradients and parameters after AdamW updates of small Medusa heads, from PyTorch.

Run as: python medusa_heads.py > medusa_heads.json   (torch 2.13.0)
"""
import json

import torch
import torch.nn.functional as F

HIDDEN, VOCAB, ROWS, HEADS, UPDATES = 8, 24, 12, 2, 4
ADAMW = {"lr": 0.05, "betas": (0.9, 0.99), "eps": 1e-8}
WEIGHT_DECAY = 0.1


def numbers(tensor):
    return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]


def case(layers, own_output):
    torch.manual_seed(layers)
    lm_head = torch.randn(VOCAB, HIDDEN) * HIDDEN**-0.5
    parameters = {}
    for head in range(HEADS):
        for layer in range(layers):
            parameters[f"{head}.{layer}.linear.weight"] = torch.randn(HIDDEN, HIDDEN) * 0.3
            parameters[f"{head}.{layer}.linear.bias"] = torch.randn(HIDDEN) * 0.3
        if own_output:
            parameters[f"{head}.{layers}.weight"] = lm_head + torch.randn(VOCAB, HIDDEN) * 0.1
    start = {name: numbers(value) for name, value in parameters.items()}
    for value in parameters.values():
        value.requires_grad_()
    optimizer = torch.optim.AdamW([
        {"params": [v for n, v in parameters.items() if not n.endswith("bias")], "weight_decay": WEIGHT_DECAY},
        {"params": [v for n, v in parameters.items() if n.endswith("bias")], "weight_decay": 0.0},
    ], **ADAMW)

    weights, updates = [1.0, 0.5], []
    for _ in range(UPDATES):
        hidden = torch.randn(ROWS, HIDDEN)
        labels = torch.randint(0, VOCAB, (HEADS, ROWS))
        labels[torch.rand(HEADS, ROWS) < 0.3] = -100
        optimizer.zero_grad()
        losses, scores = [], []
        for head in range(HEADS):
            x = hidden
            for layer in range(layers):
                path = f"{head}.{layer}.linear"
                x = x + F.silu(F.linear(x, parameters[f"{path}.weight"], parameters[f"{path}.bias"]))
            logits = F.linear(x, parameters[f"{head}.{layers}.weight"] if own_output else lm_head)
            losses.append(F.cross_entropy(logits, labels[head], ignore_index=-100))
            kept = labels[head] != -100
            ranks = (logits[kept] > logits[kept].gather(1, labels[head][kept][:, None])).sum(1)
            scores.append({"count": int(kept.sum()), "top1": int((ranks < 1).sum()), "top5": int((ranks < 5).sum())})
        sum(weight * loss for weight, loss in zip(weights, losses)).backward()
        gradients = {name: numbers(value.grad) for name, value in parameters.items()}
        optimizer.step()
        updates.append({
            "hidden": numbers(hidden),
            "labels": labels.tolist(),
            "losses": [loss.item() for loss in losses],
            "scores": scores,
            "gradients": gradients,
        })
    end = {name: numbers(value) for name, value in parameters.items()}
    return {
        "layers": layers, "ownOutput": own_output, "lmHead": numbers(lm_head), "weights": weights,
        "start": start, "updates": updates, "end": end,
    }


print(json.dumps({
    "torch": torch.__version__, "hidden": HIDDEN, "vocab": VOCAB, "heads": HEADS,
    "learningRate": ADAMW["lr"], "beta1": ADAMW["betas"][0], "beta2": ADAMW["betas"][1], "epsilon": ADAMW["eps"],
    "weightDecay": WEIGHT_DECAY,
    "cases": [case(1, False), case(1, True), case(2, True)],
}))
