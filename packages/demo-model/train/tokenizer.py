"""Tokenizer: byte-level BPE of 4096 tokens, trained on the base's training text.

    python3 tokenizer.py BOOKS.json OUT_DIR

<|endoftext|> stands before every document and ends it. A chat is a story told in turns: the user's sentences, then how the
story goes on.
"""
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from books import BASE_WORKS

TEXT, USER, ASSISTANT, END = SPECIAL = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
TEXT_ID, USER_ID, ASSISTANT_ID, END_ID = range(4)
VOCABULARY = 4096
CONTEXT = 1024
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '<|assistant|>' }}{% else %}{{ '<|user|>' }}{% endif %}"
    "{{ message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")


def train(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{TEXT} $A", pair=f"{TEXT} $A $B:1", special_tokens=[(TEXT, TEXT_ID)])
    return tokenizer


def save(tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": TEXT, "eos_token": TEXT, "pad_token": TEXT,
        "additional_special_tokens": [USER, ASSISTANT, END],
        "added_tokens_decoder": {str(i): {"content": token, "lstrip": False, "normalized": False, "rstrip": False,
                                          "single_word": False, "special": True} for i, token in enumerate(SPECIAL)},
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": CHAT_TEMPLATE,
    }, indent=2) + "\n")


def main(books, folder):
    authors = json.loads(books.read_text())
    texts = [document for author in BASE_WORKS for document in authors[author]["train"]]
    tokenizer = train(texts)
    save(tokenizer, folder)
    count = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))
    print(f"{count} tokens, {sum(map(len, texts)) / count:.2f} characters a token")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
