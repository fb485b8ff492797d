"""The eager network beside others in one process."""

from __future__ import annotations

import paddle

from models.weights import network_of
from tests.inference.small import SETTINGS, EagerNetwork, small_weights, tile


def test_a_tile_goes_where_the_network_lies_and_not_to_the_device_that_is_current(monkeypatch):
    network = network_of(small_weights())
    places, to_tensor = [], paddle.to_tensor

    def watched(data, **options):
        places.append(options.get("place"))
        return to_tensor(data, **options)

    monkeypatch.setattr(paddle, "to_tensor", watched)
    EagerNetwork(network, SETTINGS)(tile(8, 8))
    assert [str(place) for place in places] == [str(network.parameters()[0].place)]
