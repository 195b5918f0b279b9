"""The broker of the package hpfeeds, for a test.

    broker.py ARGUMENTS OF hpfeeds-broker

It ends when its standard input does, so that none outlives its test.

To count bytes, the package reaches for an attribute of asyncio that went away with Python 3.11: over
TLS a connection breaks when the client has given its secret. The attribute is put back; without TLS
the broker is as it was installed.
"""

import asyncio.sslproto
import os
import threading

from hpfeeds.scripts.broker import main


def end_with_the_test():
    os.read(0, 1)
    os._exit(0)


if not hasattr(asyncio.sslproto, "_SSLPipe"):
    asyncio.sslproto.SSLProtocol._sslpipe = property(lambda protocol: protocol)

threading.Thread(target=end_with_the_test, daemon=True).start()
main()
