"""The loop of the plugin's README, printing what it receives as JSON lines.

Usage: subscriber.py host port pattern. Prints "subscribed" first, and ends with
a message on the channel "end".
"""
import json
import sys

import redis

host, port, pattern = sys.argv[1:]

red = redis.StrictRedis(host=host, port=int(port))
pubsub = red.pubsub()
pubsub.psubscribe(pattern)
for message in pubsub.listen():
    if message['type'] == 'psubscribe':
        print('subscribed', flush=True)
    elif message['channel'] == b'end':
        break
    else:
        data = json.loads(message['data'])
        print(json.dumps([message['channel'].decode('utf-8'), data]), flush=True)
