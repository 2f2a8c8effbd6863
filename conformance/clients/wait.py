"""Waits until the server on the given port answers."""

import sys
import time

import redis

client = redis.Redis(port=int(sys.argv[1]), socket_timeout=1)
for _ in range(100):
    try:
        client.ping()
        sys.exit(0)
    except redis.exceptions.ConnectionError:
        time.sleep(0.1)
sys.exit("the server does not answer")
