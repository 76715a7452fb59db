"""Creates tickets in a real Trac, one after each line that is read.

    delay.py ENVIRONMENT

For each, prints when the save returned, in seconds since 1970, after the ticket's summary: the
number of the line.
"""
import sys
import time

from trac.env import Environment
from trac.ticket.model import Ticket

env = Environment(sys.argv[1])
for n, _ in enumerate(sys.stdin):
    t = Ticket(env)
    t['summary'], t['status'] = str(n), 'new'
    t.insert()
    print(n, '%.6f' % time.time(), flush=True)
