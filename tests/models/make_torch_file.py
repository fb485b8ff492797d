"""Writes data/torch_nafnet.pth with a real PyTorch (made with 2.13): python -m tests.models.make_torch_file

The file is shaped like the official ones, a dictionary `params`, and holds what such files may hold: half precision,
bfloat16, a transposed view, two tensors in one storage, and `torch.nn.Parameter`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from tests.models.official import official_arrays


def main() -> None:
    tensors = {name: torch.from_numpy(values) for name, values in official_arrays(7, 4, [1], 1, [1]).items()}
    tensors["intro.bias"] = tensors["intro.bias"].half()
    tensors["downs.0.bias"] = tensors["downs.0.bias"].bfloat16()
    tensors["ups.0.0.weight"] = tensors["ups.0.0.weight"].transpose(0, 1).contiguous().transpose(0, 1)
    shared = torch.cat([tensors["ending.bias"], tensors["ending.weight"].flatten()])
    tensors["ending.bias"], tensors["ending.weight"] = shared[:3], shared[3:].view(tensors["ending.weight"].shape)
    tensors["middle_blks.0.beta"] = torch.nn.Parameter(tensors["middle_blks.0.beta"])
    torch.save({"params": tensors}, Path(__file__).parent / "data" / "torch_nafnet.pth")


if __name__ == "__main__":
    main()
