"""Books: the training texts, cleaned, cut into documents and split by author.

    python3 books.py BOOKS_DIR OUT.json

Reads plain-text public-domain books and writes {author: {"train"|"dev"|"test": [document, ...]}}. A document is a tale or
a chapter: paragraphs in plain ASCII, joined by blank lines. The end of every work is held out: first "dev", which chooses
checkpoints, then "test", which no training step and no choice ever sees.
"""
import json
import re
import sys
import unicodedata
from pathlib import Path

BASE_WORKS = {
    "lang": [f"the-{colour}-fairy-book" for colour in (
        "blue brown crimson green grey lilac orange pink red violet yellow").split()],
    "andersen": ["andersen-s-fairy-tales"],
    "grimm": ["grimms-fairy-tales"],
    "jacobs": ["celtic-fairy-tales", "english-fairy-tales", "indian-fairy-tales"],
    "ozaki": ["japanese-fairy-tales"],
    "collodi": ["the-adventures-of-pinocchio"],
    "baum": ["the-wonderful-wizard-of-oz", "the-marvelous-land-of-oz", "ozma-of-oz"],
    "nesbit": ["five-children-and-it", "the-railway-children"],
    "barrie": ["peter-pan"],
    "grahame": ["the-wind-in-the-willows"],
    "burnett": ["the-secret-garden"],
    "spyri": ["heidi"],
    "sewell": ["black-beauty"],
    "montgomery": ["anne-of-green-gables"],
    "alcott": ["little-women"],
    "stevenson": ["treasure-island"],
    "kipling": ["just-so-stories", "the-jungle-book", "the-second-jungle-book"],
    "twain": ["the-adventures-of-tom-sawyer", "adventures-of-huckleberry-finn"],
    "dickens": ["a-tale-of-two-cities", "david-copperfield", "great-expectations"],
    "wells": ["the-time-machine", "the-war-of-the-worlds"],
    "wilde": ["the-picture-of-dorian-gray"],
}
ADAPTER_WORKS = {
    "austen": ["emma", "pride-and-prejudice", "sense-and-sensibility"],
    "carroll": ["alice-s-adventures-in-wonderland", "through-the-looking-glass"],
    "doyle": ["the-adventures-of-sherlock-holmes", "the-memoirs-of-sherlock-holmes", "the-return-of-sherlock-holmes"],
    "melville": ["moby-dick-or-the-whale"],
    "shakespeare": ["shakespeare-plays"],
    "stoker": ["dracula"],
}
HELD_OUT = {"base": 0.02, "adapter": 0.06}  # the share of each work that dev and test take, each

BACK_MATTER = re.compile(r"^(notes and references|the following typographical errors|there's more to follow)", re.I)
SKIPPED = re.compile(r"^(preface|the preface|introduction|contents|table of contents|illustrations|dedication|to the friendly reader"
                     r"|author's note|preparer's note|to the hesitating purchaser|etymology|extracts|explanatory|notice)\b", re.I)
NUMBERED = re.compile(r"^(chapter|book|part|volume|adventure|letter|epilogue|stave|act|scene|[ivxlc]+\b|\d+\b)", re.I)
PUNCTUATION = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2014": "--", "\u2013": "-",
                             "\u2026": "...", "\u00e6": "ae", "\u0153": "oe", "\u00c6": "Ae", "\u0152": "Oe", "_": None, "|": None})
MARKS = re.compile(r"\[[^\]]{0,400}\]|\(\d{1,3}\)|\{[^}]{0,40}\}")
QUOTED = re.compile(r"(^|(?<=[\s(-]))'(?=\S)((?:[^']|(?<=\w)'(?=\w))*[,.!?;:-])'(?=[\s).,;-]|$)")
OPEN_QUOTE = re.compile(r"^'(?=[A-Z])")
DROP_CAPITALS = re.compile(r"^[A-Z]{2,}(?=\.? [A-Z]?[a-z])")
SOURCE = re.compile(r"^\(|^(From|Adapted|Translated)\b|^[A-Z]\w+\.$|\b(M.hrchen|Saga|Tales|Traditions|Contes|Volks\w+)\b")


def to_ascii(text):
    text = text.translate(PUNCTUATION)
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return MARKS.sub("", text)


def quotes_with_apostrophes(text):
    """Whether the book opens its speeches with ' rather than with "."""
    return len(re.findall(r"(?:^|[\s(-])'(?=\w)", text)) > text.count('"')


def double_quotes(paragraph):
    """Speech in "double" quotes, where a British book has 'single' ones."""
    return OPEN_QUOTE.sub('"', QUOTED.sub(r'\1"\2"', paragraph))


def is_heading(block, blank_lines):
    if "\n" in block and len(block) > 120 or len(block) > 90:
        return False
    shouted = block.upper() == block and re.search("[A-Z]{2}", block) and not block.endswith(('"', "!", "'"))
    titled = blank_lines >= 2 and not re.search(r"[.,;:!?\"'-]$", block)
    return bool(shouted or titled or (blank_lines >= 2 and NUMBERED.match(block)))


def is_verse(lines):
    return len(lines) > 1 and all(len(line) < 62 for line in lines) and sum(line[:1].isupper() for line in lines) >= 0.6 * len(lines)


def join_lines(block):
    """One paragraph from hard-wrapped lines; verse keeps its lines."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in block.split("\n")]
    text = ("\n" if is_verse(lines) else " ").join(line for line in lines if line)
    text = re.sub(r" ?-- ?", "--", text)
    return DROP_CAPITALS.sub(lambda match: match[0].capitalize(), text)


def is_noise(paragraph):
    """Rows of stars, bare numbers, tables of contents, captions, closing words."""
    letters = sum(c.isalpha() for c in paragraph)
    capitals = sum(c.isupper() for c in paragraph)
    lines = paragraph.split("\n")
    contents = len(lines) > 1 and all(map(NUMBERED.match, lines)) or len(re.findall(r"\b\d+\. [A-Z]", paragraph)) > 3
    caption = len(lines) == 1 and len(paragraph) < 60 and paragraph[-1:].isalnum()
    closing = re.match(r"^(the end|finis|end of .{0,40})\W*$", paragraph, re.I)
    return bool(letters < 0.5 * len(paragraph) or capitals > 0.5 * letters > 20 or contents or caption or closing)


def without_source(document):
    """The tale without the line that names where it was collected."""
    return document[:-1] if document and len(document[-1]) < 100 and SOURCE.search(document[-1]) else document


def prose_documents(text):
    """Tales or chapters, each a list of paragraphs; title pages, prefaces and notes are left out."""
    documents, current, place = [], [], "front"
    for match in re.finditer(r"(?P<blank>\A|\n(?:[ \t]*\n)+)(?P<block>.+?)(?=\n[ \t]*\n|\Z)", text, re.S):
        block = match["block"].strip()
        if BACK_MATTER.match(block) and match.start() > len(text) / 2:
            break
        if is_heading(block, match["blank"].count("\n") - 1):
            documents.append(current)
            current = []
            place = "skipped" if SKIPPED.match(block) else "body"
            continue
        paragraph = join_lines(block)
        if place == "front" and len(paragraph) > 200:
            place = "body"
        if place == "body" and not is_noise(paragraph):
            current.append(paragraph)
    documents.append(current)
    return [without_source(document) for document in documents if sum(map(len, document)) >= 600]


def play_documents(text, speeches=40):
    """A play has no chapters here: every forty speeches make a document, NAME: and lines as printed."""
    blocks = [block.strip() for block in text.split("\n\n") if block.strip()]
    return [blocks[i:i + speeches] for i in range(0, len(blocks), speeches)]


def read_work(path):
    text = to_ascii(path.read_text(encoding="utf-8-sig"))
    if path.stem == "shakespeare-plays":
        return play_documents(text)
    documents = prose_documents(text)
    if quotes_with_apostrophes(text):
        documents = [[double_quotes(paragraph) for paragraph in document] for document in documents]
    return documents


def split_work(documents, share):
    """Cut a work by characters: its start is train, then dev, then test."""
    total = sum(len(paragraph) for document in documents for paragraph in document)
    parts, seen = {"train": [], "dev": [], "test": []}, 0
    for document in documents:
        pieces = {}
        for paragraph in document:
            part = "train" if seen < total * (1 - 2 * share) else "dev" if seen < total * (1 - share) else "test"
            pieces.setdefault(part, []).append(paragraph)
            seen += len(paragraph)
        for part, paragraphs in pieces.items():
            parts[part].append("\n\n".join(paragraphs))
    return parts


def read_author(folder, works, share):
    parts = {"train": [], "dev": [], "test": []}
    for work in works:
        for part, documents in split_work(read_work(folder / f"{work}.txt"), share).items():
            parts[part] += documents
    return parts


def main(folder, out):
    authors = {a: read_author(folder, w, HELD_OUT["base"]) for a, w in BASE_WORKS.items()}
    authors |= {a: read_author(folder, w, HELD_OUT["adapter"]) for a, w in ADAPTER_WORKS.items()}
    out.write_text(json.dumps(authors))
    for author, parts in authors.items():
        print(author, {part: sum(map(len, documents)) for part, documents in parts.items()}, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
