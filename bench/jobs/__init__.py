"""Background jobs of Tempest beside those of BullMQ, Celery and RQ (see README.md)."""
