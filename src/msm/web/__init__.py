"""The browser door: a page that shows and sets the variables of a store. Needs the extra `web`.

::

    from msm import web

    with web.serve(mem) as hmi:
        print(hmi.url)
"""

try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as missing:
    raise ImportError("msm.web needs an extra: pip install 'modbus-shared-memory[web]'") from missing

from msm.web.door import AsyncWebServer, WebServer, serve

__all__ = ["AsyncWebServer", "WebServer", "serve"]
