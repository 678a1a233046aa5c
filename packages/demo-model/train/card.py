"""Card: README.md, from the report and the adapters' own settings.

    python3 card.py REPORT.json ADAPTERS_DIR README.md
"""
import json
import sys
from pathlib import Path

from adapters import ADAPTERS
from books import ADAPTER_WORKS, BASE_WORKS

SHORT = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
AUTHORS = {
    "lang": "Andrew Lang's eleven coloured Fairy Books", "andersen": "Hans Christian Andersen", "grimm": "the brothers Grimm",
    "jacobs": "Joseph Jacobs", "ozaki": "Yei Theodora Ozaki", "collodi": "Carlo Collodi", "baum": "L. Frank Baum",
    "nesbit": "E. Nesbit", "barrie": "J. M. Barrie", "grahame": "Kenneth Grahame", "burnett": "Frances Hodgson Burnett",
    "spyri": "Johanna Spyri", "sewell": "Anna Sewell", "montgomery": "L. M. Montgomery", "alcott": "Louisa May Alcott",
    "stevenson": "R. L. Stevenson", "kipling": "Rudyard Kipling", "twain": "Mark Twain", "dickens": "Charles Dickens",
    "wells": "H. G. Wells", "wilde": "Oscar Wilde", "austen": "Jane Austen", "carroll": "Lewis Carroll",
    "doyle": "Arthur Conan Doyle", "melville": "Herman Melville", "shakespeare": "William Shakespeare", "stoker": "Bram Stoker",
}
SMALL_WORDS = {"of", "and", "the", "or", "in"}

CARD = """\
# @lorax/demo-model

A Llama of 7.3 million parameters that writes simple English tales, and seven LoRA adapters for it: six in the manner of an
author the base never read, and one that turns any story into a pirate's. Small enough to ship with the server, real enough to
show what an adapter does. The base is `lorax-demo/base`; each adapter names it in `base_model_name_or_path`.

| | |
| --- | --- |
| architecture | Llama: 8 layers, hidden 256, SwiGLU 768, 8 heads of 32 over 4 key-value heads, RMSNorm, RoPE 10000, tied embedding |
| parameters | 7,344,384 in bfloat16, one safetensors file of 14.0 MiB |
| context | 1024 tokens |
| tokenizer | byte-level BPE, 4096 tokens |
| licence | Apache-2.0 |

`<|endoftext|>` (id 0) begins and ends a document, and every prompt gets it in front. A chat is
`<|user|>` text `<|end|><|assistant|>` text `<|end|>`: the user tells a sentence or two, the model how the tale goes on.

## Adapters

{adapters}

All were trained with PEFT and stored in bfloat16, except `doyle`, which keeps its magnitudes' precision in float32.
`scale` is what multiplies BA.

## Draft heads

| folder | heads | learnt from |
| --- | --- | --- |
| `medusa` | 4, version 2; `--demo` uses them | what the base writes |
| `medusa-v1` | 2, version 1 | what the base writes |
| `medusa-chat` | 4, version 2 | what the base answers in chats |
| `pirate-medusa` | `pirate` and 4 of version 2 in one folder | what `pirate` writes |

They were trained by `lorax train medusa`; each folder's card has the settings and how well each head guesses.

## Perplexity

Per token, on the last part of each author's works, which neither training nor the choice of a checkpoint has seen: 2% of each
work the base was trained on ("base"), 6% of the others'. "pirate" is the base's part retold. Rows of 1024 tokens, weights as
stored, computed in float32. Every adapter is measured on every author:

{perplexity}

On its own text each adapter lowers the base's perplexity:
{gains}.

## Samples

As they came: `temperature` {temperature}, `top_p` {top_p}, {max_new_tokens} new tokens, seeds 1, 2, 3 for the three prompts and 1 for
the chat. The prompts are our own.

{samples}

## Data

Public-domain books in English; no text of theirs is in this package. Base:

{base_books}

Adapters, one author each:

{adapter_books}

Texts are reduced to ASCII, unwrapped into paragraphs and cut at chapters and tales; prefaces, notes, captions and tables of
contents are left out; speech in 'single' quotes becomes "double". Of each work the end is held out: dev (chooses the checkpoint),
then test (the table above).

## Training

`train/run.sh` is the whole recipe, run on one H100 GPU with PyTorch 2.11, transformers 5.17 and PEFT 0.21.

- Base: 5.2 million tokens, 3000 steps of 64 rows of 1024 tokens (38 times over the text), an eighth of them told in turns as a
  chat. Muon for the matrices (rate 5.6e-3, weight decay 1.0), AdamW for embedding and norms, cosine, dropout 0.2, bfloat16
  autocast. The dev loss fell to 3.201 per token at step 2850. About five minutes.
- Adapters: AdamW at 2e-3, cosine, 200 to 800 steps of 32 rows of 512 tokens, LoRA dropout 0.1, the step with the best dev loss
  kept. All seven side by side in two and a half minutes.
- Pirate: the base's own tales rewritten by rule (`train/pirate.py`), after an opening left as it was; only what is retold is
  learnt.

## expected.json

For base and adapters, three prompts as text and ids, the 32 greedy tokens that transformers and PEFT give in float32 on a CPU with
the weights upcast from the files, and the margin of each over the runner-up. A server's tests compare against it.

## Limits

It writes sentences, not plots: people and places drift, phrases repeat, a long sentence may lose its grammar and a rare word its
spelling. It knows nothing of the world but what these books say of it. Text is ASCII English of the nineteenth century, with that century's views. It follows no instructions and is for
demonstrations and tests.
"""


def title(work):
    words = [word if i and word in SMALL_WORDS else word.capitalize() for i, word in enumerate(work.split("-"))]
    return " ".join(words).replace(" S ", "'s ")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def adapter_rows(folder):
    for name in ADAPTERS:
        found = json.loads((folder / name / "adapter_config.json").read_text())
        rank, alpha = found["r"], found["lora_alpha"]
        kind = "rsLoRA" if found["use_rslora"] else "DoRA" if found["use_dora"] else "LoRA"
        scale = alpha / (rank ** 0.5 if found["use_rslora"] else rank)
        targets = " ".join(short for long, short in SHORT.items() if long in found["target_modules"])
        size = (folder / name / "adapter_model.safetensors").stat().st_size
        yield f"`{name}`", kind, rank, f"{scale:.4g}", targets, f"{size / 1024:.0f} KiB"


def perplexity(report):
    columns = list(report["tokens"])
    rows = [[f"`{name}`"] + [f"**{values[c]:.1f}**" if c == name else f"{values[c]:.1f}" for c in columns]
            for name, values in report["perplexity"].items()]
    return table(["", *columns], rows + [["tokens"] + [report["tokens"][c] for c in columns]])


def gains(report):
    found = report["perplexity"]
    return ", ".join(f"{name} by {100 * (1 - found[name][name] / found['base'][name]):.0f}%" for name in ADAPTERS)


def samples(report):
    parts = []
    for name, written in report["samples"].items():
        parts.append(f"### {name}")
        for sample in written:
            asked = sample["prompt"] if "prompt" in sample else "chat: " + sample["chat"]
            parts.append(f"> {asked}\n\n```text\n{sample['text']}\n```")
    return "\n\n".join(parts)


def books(works):
    return "\n".join(f"- {AUTHORS[author]}: {', '.join(map(title, titles))}" for author, titles in works.items())


def main(report, adapters, out):
    report = json.loads(report.read_text())
    out.write_text(CARD.format(
        adapters=table(["name", "kind", "rank", "scale", "targets", "file"], adapter_rows(adapters)),
        perplexity=perplexity(report), gains=gains(report), samples=samples(report),
        base_books=books(BASE_WORKS), adapter_books=books(ADAPTER_WORKS), **report["sampling"]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
