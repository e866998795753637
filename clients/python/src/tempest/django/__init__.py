"""Django's background tasks on Tempest: a backend for ``django-tasks``, and for ``django.tasks`` of Django 6.

In the settings::

    TASKS = {"default": {"BACKEND": "tempest.django.TempestBackend", "QUEUES": ["default"]}}

Tasks are run by ``python -m tempest.django``, or by ``manage.py tempest_worker`` if ``tempest.django`` is one of the
``INSTALLED_APPS``.
"""

from .backend import TempestBackend
from .running import worker_of

__all__ = ["TempestBackend", "worker_of"]
