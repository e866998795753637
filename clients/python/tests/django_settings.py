"""The settings of the Django project of test_django.py."""

import os

SECRET_KEY = "test"
USE_TZ = True
INSTALLED_APPS = ["tempest.django"]
DATABASES: dict[str, object] = {}
TASKS = {
    "default": {
        "BACKEND": "tempest.django.TempestBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"URL": os.environ.get("TASKS_URL"), "KEEP_S": 60},
    },
    "twice": {
        "BACKEND": "tempest.django.TempestBackend",
        "QUEUES": ["default"],
        "OPTIONS": {"URL": os.environ.get("TASKS_URL"), "KEEP_S": 60, "ATTEMPTS": 2},
    },
}
