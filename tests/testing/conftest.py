"""The plugin as others have it."""

from service.testing.plugin import service_settings

# In the place of this suite's own.
__all__ = ["service_settings"]
