"""The fixture through which every golden value goes."""

import pytest

from tests.golden.recorded_values import Golden, Recorder


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Golden:
    plugins = request.config.pluginmanager.get_plugins()
    return Golden(next((plugin for plugin in plugins if isinstance(plugin, Recorder)), None))
