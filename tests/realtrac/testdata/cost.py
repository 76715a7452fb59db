"""How long Trac takes to save a ticket, with and without what captures.

    cost.py ENVIRONMENT STATEMENTS ROUNDS SAVES

STATEMENTS is a JSON file {"install": [...], "uninstall": [...]}. In each round, SAVES saves of two
fields and a comment are made without and with it, one after the other. Prints in microseconds, as JSON, what half
of them took at most, and a fifth of them, which other processes have not disturbed.
"""
import json
import sys
import time

from trac.env import Environment
from trac.ticket.model import Ticket


def main(path, file, rounds, saves):
    env = Environment(path)
    with open(file, encoding='utf-8') as f:
        statements = json.load(f)
    t = Ticket(env)
    t['summary'], t['status'] = 's', 'new'
    number = t.insert()
    took = {'without': [], 'with': []}
    n = 0
    for _ in range(rounds):
        for mode, some in (('with', 'install'), ('without', 'uninstall')):
            with env.db_transaction as db:
                cursor = db.cursor()
                for s in statements[some]:
                    cursor.execute(s.replace('%', '%%'))
            for i in range(saves + 5):
                n += 1
                t = Ticket(env, number)
                t['milestone'], t['keywords'] = 'm%d' % n, 'k%d' % n
                began = time.perf_counter()
                t.save_changes('joe', 'comment %d' % n)
                if i >= 5:  # the first ones make caches warm
                    took[mode].append(time.perf_counter() - began)
    print(json.dumps({mode: {'half': sorted(all_)[len(all_) // 2] * 1e6, 'fifth': sorted(all_)[len(all_) // 5] * 1e6}
                      for mode, all_ in took.items()}))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
