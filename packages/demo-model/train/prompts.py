"""Writes the openings that the demo model is asked to go on with: one JSON object a line, {"prompt": ...}.

The words are the project's own. Usage: prompts.py OUT [COUNT] [SEED]; two seeds give two sets that share few lines.
"""

import json
import random
import sys

OPENINGS = [
    "Once upon a time there was",
    "Long ago, in a country by the sea, there lived",
    "In a small house at the edge of the wood lived",
    "There was once",
    "It happened one winter evening that",
    "On the morning of the fair",
    "Far away, beyond the seven hills, there dwelt",
    "One day, when the snow lay deep upon the ground,",
    "When the old clock struck twelve,",
    "Many years afterwards",
    "In the middle of the garden stood",
    "As the sun went down behind the mountains,",
]
PEOPLE = [
    "a poor woodcutter", "an old king", "a young princess", "a fisherman and his wife", "a little girl",
    "three brothers", "a clever fox", "a soldier who had served in the wars", "a miller's daughter",
    "an old woman with a black cat", "a shepherd boy", "a merchant", "two sisters", "a giant", "a tailor",
    "a wise old owl", "the captain of a ship", "a lonely prince", "a kind stranger", "a dragon",
]
ACTS = [
    "who had nothing in the world but", "who wished to see", "and could not find", "who never spoke a word until",
    "who went out into the world to seek", "and every night there came", "who was afraid of", "and said to the others,",
    "who had lost", "and looked out of the window at", "who dreamed of", "and sat down beside",
]
THINGS = [
    "", "a golden ring", "the great forest", "an empty chest", "the sound of the sea", "a silver bird", "the castle",
    "a loaf of bread", "the moon", "an old letter", "a white horse", "the well",
]


def prompts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        parts = [rng.choice(OPENINGS), rng.choice(PEOPLE), rng.choice(ACTS), rng.choice(THINGS)]
        text = " ".join(part for part in parts[: rng.randint(2, 4)] if part)
        found[text] = None
    return list(found)


def main() -> None:
    out = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    with open(out, "w", encoding="utf-8") as file:
        for text in prompts(count, seed):
            file.write(json.dumps({"prompt": text}) + "\n")


if __name__ == "__main__":
    main()
