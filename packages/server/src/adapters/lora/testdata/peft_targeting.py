"""Writes peft-targeting.json: PEFT's own answers to which modules of a model an adapter means, and with which rank.

usage: peft_targeting.py PEFT_SOURCE_FOLDER > peft-targeting.json
The three functions are taken out of PEFT's source, so that torch need not be there.
"""
import ast, json, math, random, re, sys
from types import SimpleNamespace
from typing import Optional, Sequence

peft = sys.argv[1]
space = {"re": re, "Optional": Optional, "Sequence": Sequence}
for file, names in {
    "utils/other.py": ["match_target_against_key", "get_pattern_key"],
    "tuners/tuners_utils.py": ["_ExcludedModule", "check_target_module_exists"],
}.items():
    tree = ast.parse(open(f"{peft}/{file}").read())
    wanted = [node for node in tree.body if getattr(node, "name", None) in names]
    exec("from __future__ import annotations\n" + "\n".join(ast.unparse(node) for node in wanted), space)

PATHS = ["model.embed_tokens", "lm_head"] + [
    f"model.layers.{layer}.{module}"
    for layer in (0, 1, 10)
    for module in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
]
NAMES = ["q_proj", "k_proj", "o_proj", "up_proj", "down_proj", "proj", "mlp.up_proj", "self_attn", "lm_head", "embed_tokens",
         "model.layers.1.mlp.up_proj", "model.layers.0.self_attn.q_proj", "layers.10.mlp.down_proj", "head", "1", "model"]
EXPRESSIONS = [r".*\.(mlp)\.(up_proj|down_proj)", r"model\.layers\.[01]\..*", r".*q_proj|.*k_proj", r"q_proj", r".*\.\d+\.self_attn\.[a-o]_proj",
               r"^model\.layers\.(?!0\.).*_proj$", r"(?P<part>model)\..*(?<=up)_proj", r".*\.1\d*\..*", r".*(?:\bmlp\b).*", r"\Alm_head\Z",
               r"model.layers.{,2}.mlp.*", r".*[]q]_proj", r".*[^\W_]_proj", r"model\.layers\.\d{1,1}\.mlp\.(?:up|down)\_proj", r"(?:.*?(?:self_attn|mlp).*?(?:q_proj|up_proj).*?)|(?:lm_head)"]
PATTERNS = ["q_proj", "mlp.up_proj", r"layers\.1\..*", "layers.1.mlp.up_proj", r".*_proj", "up_proj|down_proj", "o_proj$", r"[qk]_proj", r"1\.self_attn\.q_proj",
            "model.layers.10.self_attn.k_proj", "^lm_head", "embed_tokens", r"layers\.\d+\.mlp\..*", "proj", "q.proj", r"(?!q)\w_proj"]

rng = random.Random(7)
some = lambda items, most: rng.sample(items, rng.randint(0, most))

def config():
    target = rng.choice(EXPRESSIONS) if rng.random() < 0.4 else some(NAMES, 5)
    fields = dict(target_modules=target, r=8, lora_alpha=16, use_rslora=rng.random() < 0.3)
    if rng.random() < 0.4: fields["exclude_modules"] = rng.choice(EXPRESSIONS) if rng.random() < 0.4 else some(NAMES, 2)
    if rng.random() < 0.3: fields["modules_to_save"] = some(["lm_head", "embed_tokens", "self_attn", "mlp.up_proj", r"layers.1", "head"], 2)
    if not isinstance(target, str) and rng.random() < 0.5:
        fields["layers_to_transform"] = rng.choice([0, 1, 10, [], [0, 10], [1]])
        if rng.random() < 0.5: fields["layers_pattern"] = rng.choice(["layers", "h", ["h", "layers"], r"layer\w", []])
    fields["rank_pattern"] = {key: rng.randint(1, 64) for key in some(PATTERNS, 4)}
    fields["alpha_pattern"] = {key: rng.randint(1, 64) for key in some(PATTERNS, 4)}
    return fields

def answer(fields):
    full = {name: None for name in ("exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "target_parameters")} | fields
    peft_config = SimpleNamespace(**full)
    rows = []
    for path in PATHS:
        rank = fields["rank_pattern"].get(space["get_pattern_key"](fields["rank_pattern"], path), fields["r"])
        alpha = fields["alpha_pattern"].get(space["get_pattern_key"](fields["alpha_pattern"], path), fields["lora_alpha"])
        scale = alpha / (math.sqrt(rank) if fields["use_rslora"] else rank)
        rows.append([bool(space["check_target_module_exists"](peft_config, path)), rank, scale])
    return rows

cases = [{"config": fields, "rows": answer(fields)} for fields in (config() for _ in range(120))]
print(json.dumps({"peft": "0.21.0", "paths": PATHS, "cases": cases}))
