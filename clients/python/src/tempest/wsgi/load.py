"""Finds the application that ``module:app`` names."""

from __future__ import annotations

import ast
import importlib
from typing import TYPE_CHECKING, Any, cast

from ..errors import SetupError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def load(named: str) -> WSGIApplication:
    """Imports ``module:app``, or ``module:factory()`` and calls it, with literal arguments if there are any; without
    a colon the name is ``application``.

    Raises :class:`SetupError` when there is no such thing; what the module itself raises goes through.
    """
    module_name, _, expression = named.partition(":")
    module = _import(module_name)
    app = _find(module, module_name, expression or "application")
    if not callable(app):
        raise SetupError(f"{named} is no WSGI application: {type(app).__name__} cannot be called")
    return cast("WSGIApplication", app)


def _import(name: str) -> Any:
    if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
        hint = f"; write {name[:-3].replace('/', '.')}:app" if name.endswith(".py") else ""
        raise SetupError(f"{name!r} is no name of a module{hint}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise SetupError(f"no module {error.name} here: say with --chdir in which folder it is") from None


def _find(module: Any, module_name: str, expression: str) -> Any:
    """An attribute, or what a call of it gives."""
    try:
        parsed = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise _unreadable(expression) from None
    if not isinstance(parsed, ast.Call):
        return _attribute(module, module_name, parsed, expression)
    try:
        positional = [ast.literal_eval(each) for each in parsed.args]
        named = {each.arg: ast.literal_eval(each.value) for each in parsed.keywords if each.arg is not None}
    except ValueError:
        raise SetupError(f"{expression}: the arguments of a factory are literals") from None
    factory = _attribute(module, module_name, parsed.func, expression)
    if not callable(factory):
        raise SetupError(f"{module_name}:{expression}: {type(factory).__name__} cannot be called")
    return factory(*positional, **named)


def _attribute(module: Any, module_name: str, node: ast.expr, expression: str) -> Any:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise _unreadable(expression)
    found = module
    for name in [node.id, *names]:
        if not hasattr(found, name):
            raise SetupError(f"{module_name} has no {'.'.join([node.id, *names])}")
        found = getattr(found, name)
    return found


def _unreadable(expression: str) -> SetupError:
    return SetupError(f"{expression!r} is neither a name nor a call: write module:app or module:factory()")
