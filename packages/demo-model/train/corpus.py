"""Corpus: documents as token streams, rows for training and windows for measuring.

Training text comes in two forms: tales as they stand, and the same tales told in turns as a chat.
"""
import json
import random
import re
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from tokenizer import ASSISTANT_ID, END_ID, TEXT_ID, USER_ID

IGNORED = -100
SENTENCE_END = re.compile(r"(?<=[.!?\"])\s+(?=[\"A-Z])")


class Encoder:
    """Text to ids, without the special token in front."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.known = {}

    def __call__(self, text):
        if text not in self.known:
            self.known[text] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.known[text]

    def paragraphs(self, paragraphs):
        """The ids of paragraphs with blank lines between, and where each begins."""
        ids, starts = [], []
        for paragraph in paragraphs:
            ids += 2 * self("\n") if ids else []
            starts.append(len(ids))
            ids += self(paragraph)
        return ids, starts


@dataclass
class Stream:
    """All documents of one form in a row; rows begin at `starts`, and `labels` says what is learnt."""
    ids: torch.Tensor
    labels: torch.Tensor
    starts: torch.Tensor

    def to(self, device):
        return Stream(self.ids.to(device), self.labels.to(device), self.starts.to(device))

    def epoch(self, length):
        """Start positions that cover the stream once, in random order and with a random phase."""
        phase = random.randrange(length)
        anchors = torch.arange(phase, max(phase + 1, len(self.ids) - length), length, device=self.ids.device)
        places = (torch.searchsorted(self.starts, anchors, right=True) - 1).clamp(min=0)
        starts = self.starts[places].clamp(max=max(0, len(self.ids) - length))
        return starts[torch.randperm(len(starts), device=self.ids.device)]

    def rows(self, starts, length):
        """[TEXT] and `length` tokens from each start, with the labels that go with them."""
        index = starts[:, None] + torch.arange(length, device=starts.device)
        head = torch.full((len(starts), 1), TEXT_ID, device=starts.device)
        return torch.cat([head, self.ids[index]], 1), torch.cat([head, self.labels[index]], 1)


def stream(pieces):
    """A stream from (ids, labels, starts) of each document."""
    ids, labels, starts = [], [], []
    for piece_ids, piece_labels, piece_starts in pieces:
        starts += [len(ids) + 1 + start for start in piece_starts]
        ids += [TEXT_ID] + piece_ids
        labels += [TEXT_ID] + piece_labels
    return Stream(torch.tensor(ids + [TEXT_ID]), torch.tensor(labels + [TEXT_ID]), torch.tensor(starts))


def tale(encode, document):
    ids, starts = encode.paragraphs(document.split("\n\n"))
    return ids, ids, starts


def turns(document, dice):
    """The document told in turns: one or two sentences of the user, then the paragraphs that follow."""
    paragraphs = document.split("\n\n")
    while paragraphs:
        sentences = SENTENCE_END.split(paragraphs.pop(0))
        count = min(len(sentences), dice.choice([1, 1, 2]))
        said, rest = " ".join(sentences[:count]), " ".join(sentences[count:])
        answer, wanted = [rest] if rest else [], dice.randint(150, 1200)
        while paragraphs and sum(map(len, answer)) < wanted:
            answer.append(paragraphs.pop(0))
        if answer:
            yield said, answer


def chat(encode, document, dice, retell=None):
    """The document as a chat; `retell` rewrites the answers, and then only they are learnt."""
    ids, labels, starts = [], [], []
    for said, answer in turns(document, dice):
        starts.append(len(ids))
        asked = [USER_ID] + encode(said) + [END_ID, ASSISTANT_ID]
        told = encode.paragraphs([retell(p) for p in answer] if retell else answer)[0] + [END_ID]
        ids += asked + told
        labels += ([IGNORED] * len(asked) if retell else asked) + told
    return ids, labels, starts


def retold(encode, document, dice, retell):
    """The document in stretches: an opening as it was, then the rest of the stretch retold, which alone is learnt."""
    ids, labels, starts = [], [], []
    for said, answer in turns(document, dice):
        starts.append(len(ids))
        opening = encode(said) + 2 * encode("\n")
        told = encode.paragraphs([retell(p) for p in answer])[0] + 2 * encode("\n")
        ids += opening + told
        labels += [IGNORED] * len(opening) + told
    return ids, labels, starts


def batches(plain, chats, share, size, length):
    """Endless batches: `share` of the rows are chats, the rest are tales."""
    count = {id(chats): round(size * share), id(plain): size - round(size * share)}
    queues = {id(s): s.starts[:0] for s in (plain, chats)}
    while True:
        parts = []
        for source in (plain, chats):
            wanted = count[id(source)]
            while len(queues[id(source)]) < wanted:
                queues[id(source)] = torch.cat([queues[id(source)], source.epoch(length)])
            parts.append(source.rows(queues[id(source)][:wanted], length))
            queues[id(source)] = queues[id(source)][wanted:]
        yield tuple(torch.cat(tensors) for tensors in zip(*parts))


def windows(encode, documents, length):
    """Every token of the documents once, in rows that begin with [TEXT]; the last row of each document is padded."""
    rows = []
    for document in documents:
        ids = encode.paragraphs(document.split("\n\n"))[0]
        rows += [[TEXT_ID] + ids[i:i + length - 1] for i in range(0, len(ids), length - 1)]
    ids = torch.tensor([row + [TEXT_ID] * (length - len(row)) for row in rows])
    kept = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])
    return ids, torch.where(kept, ids, IGNORED)


def load_books(path):
    return json.loads(path.read_text())


def row_loss(model, ids, labels, reduction="mean"):
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction=reduction)


@torch.no_grad()
def measure(model, ids, labels, size=32):
    """Mean loss a token over windows."""
    device = next(model.parameters()).device
    total = sum(row_loss(model, ids[i:i + size].to(device), labels[i:i + size].to(device), "sum").item()
                for i in range(0, len(ids), size))
    return total / (labels[:, 1:] != IGNORED).sum().item()
