#!/bin/sh
# Everything in this package, from the books to the model card. The steps were run one by one: training and evaluation on one
# H100 GPU, the rest on a CPU.
#
#     train/run.sh BOOKS_DIR
#
# BOOKS_DIR holds the plain-text books that books.py lists. Needs Python 3.12 with torch 2.11, transformers 5.17, peft and
# tokenizers. The base takes about five minutes, the adapters two and a half side by side.
set -eu
books=$(cd "$1" && pwd)
cd "$(dirname "$0")"
work=$(mktemp -d)
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=2

python3 books.py "$books" "$work/books.json"
python3 tokenizer.py "$work/books.json" ../base
python3 pretrain.py "$work/books.json" ../base --log "$work/base.json"
for name in austen carroll doyle melville shakespeare stoker pirate; do
  python3 adapters.py "$work/books.json" ../base ../adapters "$name" &
done
wait
python3 evaluate.py "$work/books.json" ../base ../adapters ../report.json
python3 expected.py ../base ../adapters ../expected.json
python3 card.py ../report.json ../adapters ../README.md
