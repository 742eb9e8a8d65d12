from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import orchestration.streams

MODULES = [module.name for module in pkgutil.iter_modules(orchestration.streams.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_true_and_the_public_names_are_said(name):
    module = importlib.import_module(f"orchestration.streams.{name}")
    assert doctest.testmod(module).failed == 0
    assert module.__doc__
    assert module.__all__ == sorted(
        module.__all__, key=lambda item: (not item.isupper(), item[0].islower(), item)
    )
    assert all(hasattr(module, item) for item in module.__all__)
