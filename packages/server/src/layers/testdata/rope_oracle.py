"""RoPE oracle: what transformers computes for each kind of rope scaling.

    python3 rope_oracle.py > rope_oracle.json

Each case gives config.json's fields as transformers 5 writes them and as transformers 4 did, then the inverse frequencies
in float32 and the factor on the cosines and sines. Both forms are checked to mean the same here.
"""
import json
import sys

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

CASES = {
    "default": (64, 2048, 10000.0, None),
    "linear": (64, 8192, 10000.0, {"rope_type": "linear", "factor": 4.0}),
    "llama3": (128, 131072, 500000.0, {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}),
    "yarn_qwen2.5": (128, 131072, 1000000.0, {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}),
    "yarn_betas": (128, 32768, 10000.0, {
        "rope_type": "yarn", "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": 4096}),
    "dynamic": (64, 2048, 10000.0, {"rope_type": "dynamic", "factor": 2.0}),
}


def fields(dim, positions):
    return {"hidden_size": 2 * dim, "num_attention_heads": 2, "head_dim": dim, "max_position_embeddings": positions}


def rope(config):
    embedding = LlamaRotaryEmbedding(LlamaConfig(**config))
    return embedding.inv_freq.to(torch.float32).tolist(), float(embedding.attention_scaling)


def case(name, dim, positions, theta, scaling):
    sizes = fields(dim, positions)
    new = sizes | {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | (scaling or {})}
    old = sizes | {"rope_theta": theta, "rope_scaling": scaling}
    frequencies, attention = rope(json.loads(json.dumps(new)))
    assert rope(json.loads(json.dumps(old))) == (frequencies, attention), name
    return {"name": name, "dim": dim, "config_v5": new, "config_v4": old, "inv_freq": frequencies,
            "attention_scaling": attention}


json.dump({"transformers": transformers.__version__, "cases": [case(n, *c) for n, c in CASES.items()]}, sys.stdout, indent=1)
print()
