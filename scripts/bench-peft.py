#!/usr/bin/env python3
"""Decode steps of transformers and PEFT on this machine's card: what `npm run bench:cuda -- --peft FILE` compares with.

A model of Mistral-7B's shape with random bfloat16 weights, rows that each name an adapter of their own through PEFT's
`adapter_names`, adapters of one rank on all seven projections. Prints one JSON object as its last line.

Needs torch, transformers and peft; no model files, no network.
usage: python3 scripts/bench-peft.py [--layers N] [--rows N] [--adapters N] [--rank N] [--context N] [--steps N] > peft.json
"""

import argparse
import json
import statistics
import time

import peft
import torch
import transformers

VOCABULARY = 32_000
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# The first steps choose kernels and take memory.
WARM_UP_STEPS = 3


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Decode steps of transformers and PEFT with an adapter in every row")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--adapters", type=int, default=32, help="different ones, at most as many as rows")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--context", type=int, default=512, help="tokens that each row sees before its own")
    parser.add_argument("--steps", type=int, default=5, help="of which the median counts")
    parser.add_argument("--device", default="cuda")
    return parser.parse_args()


def adapter_name(index: int) -> str:
    return f"adapter{index}"


def make_model(layers: int, device: str) -> torch.nn.Module:
    config = transformers.MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32_768,
        sliding_window=None,
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        return transformers.MistralForCausalLM(config).eval()


def add_adapters(model: torch.nn.Module, count: int, rank: int, device: str) -> peft.PeftModel:
    """B is random too: it would be zero before training. Factors are made where they are used, which is faster."""
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=TARGETS, init_lora_weights=False
    )
    with torch.device(device):
        adapted = peft.get_peft_model(model, config, adapter_name=adapter_name(0))
        for index in range(1, count):
            adapted.add_adapter(adapter_name(index), config)
    # PEFT keeps the factors of 16-bit models in float32, for training.
    return adapted.to(torch.bfloat16).eval()


class Clock:
    def __init__(self, device: str) -> None:
        self.synchronize = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
        self.restart()

    def restart(self) -> None:
        self.synchronize()
        self.begun = time.perf_counter()

    def elapsed_ms(self) -> float:
        self.synchronize()
        return (time.perf_counter() - self.begun) * 1000


@torch.inference_mode()
def time_steps(model: torch.nn.Module, arguments: argparse.Namespace, **named: list[str]) -> tuple[float, float]:
    """Milliseconds of the prompts, and of the median decode step behind them."""
    clock = Clock(arguments.device)
    shape = (arguments.rows, arguments.context)
    tokens = torch.randint(3, VOCABULARY, shape, device=arguments.device)
    samples = []
    past = None
    for _ in range(1 + WARM_UP_STEPS + arguments.steps):
        clock.restart()
        output = model(input_ids=tokens, past_key_values=past, use_cache=True, logits_to_keep=1, **named)
        tokens = output.logits[:, -1:].argmax(dim=-1)
        past = output.past_key_values
        samples.append(clock.elapsed_ms())
    return samples[0], statistics.median(samples[1 + WARM_UP_STEPS :])


def main() -> None:
    arguments = parse_arguments()
    torch.manual_seed(0)
    model = make_model(arguments.layers, arguments.device)
    _, base_ms = time_steps(model, arguments)
    adapters = min(arguments.adapters, arguments.rows)
    adapted = add_adapters(model, adapters, arguments.rank, arguments.device)
    names = [adapter_name(row % adapters) for row in range(arguments.rows)]
    prefill_ms, step_ms = time_steps(adapted, arguments, adapter_names=names)
    on_card = arguments.device.startswith("cuda")
    figures = {
        "kind": "peft",
        "device": torch.cuda.get_device_name() if on_card else arguments.device,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "layers": arguments.layers,
        "rows": arguments.rows,
        "adapters": adapters,
        "rank": arguments.rank,
        "context": arguments.context,
        "prefillMs": prefill_ms,
        "stepMs": step_ms,
        "tokensPerSecond": 1000 * arguments.rows / step_ms,
        "baseStepMs": base_ms,
        "baseTokensPerSecond": 1000 * arguments.rows / base_ms,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
