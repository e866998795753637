"""The application that brings ``manage.py tempest_worker``."""

from __future__ import annotations

from django.apps import AppConfig


class TempestConfig(AppConfig):  # type: ignore[misc]
    """Has no models."""

    name = "tempest.django"
    label = "tempest"
    verbose_name = "Tempest"
