"""The device, and the arithmetic on it."""

from contextlib import nullcontext

import torch

from gudlearn.model.device import autocast_type


def test_emulated_bfloat16_does_not_count_as_fast(monkeypatch):
    asked = []

    def supported(including_emulation=True):
        asked.append(torch.device("cuda"))
        return including_emulation

    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert autocast_type("auto", torch.device("cuda")) is None and asked
    assert autocast_type("bf16", torch.device("cuda")) == torch.bfloat16
