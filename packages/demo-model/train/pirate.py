"""Pirate: the task adapter's lesson. Any paragraph, retold by a pirate."""
import random
import re

WORDS = {
    "my": "me", "your": "yer", "you": "ye", "yours": "yers", "is": "be", "are": "be", "am": "be", "was": "were", "yes": "aye",
    "friend": "matey", "friends": "mateys", "boy": "lad", "boys": "lads", "girl": "lass", "girls": "lasses", "hello": "ahoy",
    "king": "cap'n", "prince": "first mate", "house": "ship", "castle": "galleon", "palace": "galleon", "garden": "deck",
    "door": "hatch", "room": "cabin", "forest": "sea", "wood": "sea", "road": "tide", "horse": "barge", "money": "doubloons",
    "gold": "doubloons", "fool": "landlubber", "wine": "grog", "water": "grog", "bed": "hammock", "and": "an'", "of": "o'",
    "said": "growled", "asked": "roared", "answered": "bellowed", "cried": "thundered",
}
CRIES = ["Arr!", "Yo ho ho!", "Avast!", "Shiver me timbers!", "Ahoy, mateys!", "Blow me down!"]
TAILS = [", arr", ", matey", ", by the seven seas", ", says I"]
WORD = re.compile(r"\b[A-Za-z]+\b(?!')")
STOP = re.compile(r"(?<=[a-z])\.(?=\s|$)")


def translate(match):
    word = match[0]
    said = WORDS.get(word.lower(), word)
    return said[0].upper() + said[1:] if word[0].isupper() else said


def retell(paragraph):
    """The same paragraph every time, so that it can be measured."""
    dice = random.Random(paragraph)
    told = WORD.sub(translate, paragraph)
    told = STOP.sub(lambda match: (dice.choice(TAILS) if dice.random() < 0.5 else "") + ("!" if dice.random() < 0.7 else "."), told)
    return f"{dice.choice(CRIES)} {told}" if dice.random() < 0.8 else told
