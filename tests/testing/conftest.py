from tests.transports.conftest import way

__all__ = ["way"]
