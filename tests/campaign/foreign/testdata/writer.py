"""A process of the campaign that writes with the models of a real Trac, as its orders say.

Each transaction of Trac's also notes in the table foreign_write what it does: Trac's own
transactions join the one that stands around them.
"""
import json, os, random, sys, threading, time

from trac.env import Environment
from trac.ticket.model import Ticket
from trac.util.datefmt import from_utimestamp
from trac.wiki.model import WikiPage

orders = json.loads(os.environ['TRACBUS_FOREIGN_PROCESS'])
env = Environment(orders['Env'])
rnd = random.Random(orders['Seed'])
log = os.open(orders['Log'], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
stop = threading.Event()
COLUMNS = ['summary', 'keywords', 'milestone', 'owner', 'component']
CUSTOM = 'colour'
HOT, PAGES = 5, orders['Pages']
mysql = orders['Dialect'] == 'mysql'
locked = ' FOR UPDATE' if mysql else ''


class Nothing(Exception):
    """There is nothing to change."""


class RolledBack(Exception):
    """The writer changed its mind."""


def obey():
    for line in sys.stdin:
        if line.strip() == 'stop':
            stop.set()
        elif line.startswith('finish'):
            note(Word='end')
            os._exit(0)
    os._exit(3)


def note(**line):
    os.write(log, json.dumps(dict(line, At=time.time_ns())).encode() + b'\n')


def state(db, id):
    """The fields of a ticket, as the tables have them."""
    values = {name: '' for name in COLUMNS + [CUSTOM]}
    for row in db("SELECT %s FROM ticket WHERE id=%%s%s" % (', '.join(COLUMNS), locked), (id,)):
        values.update({name: value or '' for name, value in zip(COLUMNS, row)})
    for value, in db("SELECT value FROM ticket_custom WHERE ticket=%%s AND name=%%s%s" % locked, (id, CUSTOM)):
        values[CUSTOM] = value or ''
    return values


def mark(db, token, resource, kind, **more):
    if resource.startswith('ticket '):
        raised = 'ON DUPLICATE KEY UPDATE n = n + 1' if mysql else 'ON CONFLICT (resource) DO UPDATE SET n = foreign_count.n + 1'
        db("INSERT INTO foreign_count (resource, n) VALUES (%s, 1) " + raised, (resource,))
        more['N'] = db("SELECT n FROM foreign_count WHERE resource=%s", (resource,))[0][0]
        more['State'] = state(db, resource[7:])
    db("INSERT INTO foreign_write VALUES (%s, %s, %s)", (token, resource, json.dumps(dict(more, Token=token, Resource=resource, Kind=kind))))


def new_ticket():
    for id, in env.db_query("SELECT id FROM ticket WHERE id > %s ORDER BY id DESC LIMIT 1 OFFSET %s", (HOT, rnd.randrange(4))):
        return id
    raise Nothing()


def tickets(most):
    ids = set()
    for _ in range(rnd.randint(1, most)):
        ids.add(new_ticket() if rnd.randrange(4) == 0 else rnd.randint(1, HOT))
    return sorted(ids)


def page_name():
    return 'Campaign%d' % rnd.randrange(PAGES)


def save(token):
    """One ticket, or a batch of them; each was read before the transaction, so it may be stale."""
    some = []
    for id in tickets(3):
        t = Ticket(env, id)
        t['keywords'] = token
        if rnd.randrange(2) == 0:
            t['milestone'] = 'm%d' % rnd.randrange(3)
        if rnd.randrange(2) == 0:
            t[CUSTOM] = 'colour %d' % rnd.randrange(3)
        if rnd.randrange(4) == 0:
            t['owner'] = ''
        elif rnd.randrange(4) == 0:
            t['owner'] = token
        some.append(t)
    return [lambda db, t=t: (t.save_changes(token, token), mark(db, token, 'ticket %d' % t.id, 'changed')) for t in some]


def insert(token):
    t = Ticket(env)
    t['summary'] = t['reporter'] = t['keywords'] = token
    t['status'] = 'new'
    if rnd.randrange(2) == 0:
        t[CUSTOM] = 'colour 0'

    def do(db):
        mark(db, token, 'ticket %d' % t.insert(), 'created')
    return [do]


def comments(id, own=''):
    found = env.db_query("SELECT time, newvalue FROM ticket_change WHERE ticket=%s AND field='comment' AND author LIKE %s ORDER BY time DESC LIMIT 3", (id, own + '%'))
    if not found:
        raise Nothing()
    return rnd.choice(found)


def modify_comment(token):
    id = tickets(1)[0]
    made, text = comments(id)
    t = Ticket(env, id)

    def do(db):
        t.modify_comment(from_utimestamp(made), token, token)
        edit = db("SELECT oldvalue FROM ticket_change WHERE ticket=%s AND time=%s AND author=%s AND field LIKE %s", (id, made, token, '\\_comment%' if not orders['Dialect'] == 'sqlite' else '_comment%'))
        now = db("SELECT newvalue FROM ticket_change WHERE ticket=%s AND time=%s AND field='comment'" + locked, (id, made))
        mark(db, token, 'ticket %d' % id, 'comment_edited', Made=made, Ref=edit[0][0] or '', Stale=[tuple(row) for row in now] != [(token,)])
    return [do]


def delete_change(token):
    """One of this process's own: if two delete one, Trac changes the ticket twice."""
    id = tickets(1)[0]
    made, text = comments(id, orders['Run'] + '/')
    t = Ticket(env, id)

    def do(db):
        t.delete_change(cdate=from_utimestamp(made))
        mark(db, token, 'ticket %d' % id, 'change_deleted', Made=made)
    return [do]


def delete_ticket(token):
    id = new_ticket()
    t = Ticket(env, id)

    def do(db):
        t.delete()
        mark(db, token, 'ticket %d' % id, 'deleted')
    return [do]


def save_page(token):
    p = WikiPage(env, page_name())
    p.text = token

    def do(db):
        p.save(token, token)
        mark(db, token, 'wiki ' + p.name, 'created' if p.version == 1 else 'changed', Version=p.version)
    return [do]


def versions(db, name):
    return db("SELECT version FROM wiki WHERE name=%s", (name,))


def delete_page(token, one):
    p = WikiPage(env, page_name())
    if not p.exists:
        raise Nothing()
    version = p.version

    def do(db):
        p.delete(version if one else None)
        mark(db, token, 'wiki ' + p.name, 'version_deleted' if one else 'deleted', Version=version)
    return [do]


def rename_page(token):
    p, name = WikiPage(env, page_name()), page_name()
    if not p.exists or p.name == name:
        raise Nothing()
    old = p.name

    def do(db):
        p.rename(name)
        mark(db, token, 'wiki ' + name, 'renamed', OldName=old)
    return [do]


def choose(token):
    dice = rnd.randrange(100)
    for most, f in (
        (48, save), (55, insert), (65, modify_comment), (72, delete_change), (75, delete_ticket),
        (91, save_page), (95, lambda t: delete_page(t, True)), (97, lambda t: delete_page(t, False)),
    ):
        if dice < most:
            return f(token)
    return rename_page(token)


def transact(token):
    did = False
    try:
        steps = choose(token)
        with env.db_transaction as db:
            for n, step in enumerate(steps):
                if n > 0:
                    time.sleep(rnd.random() * .03)
                step(db)
            if rnd.randrange(10) < 3:
                raise RolledBack()
            did = True
        return 'committed'
    except Exception as e:
        return '%s: %s: %.200s' % ('unknown' if did else 'rolled back', type(e).__name__, e)


threading.Thread(target=obey, daemon=True).start()
print('foreign: ready', flush=True)
number = 0
while not stop.is_set():
    number += 1
    token = '%s/%d' % (orders['Run'], number)
    note(Word='begin', Token=token)
    note(Word='outcome', Token=token, Result=transact(token))
    time.sleep(rnd.random() * .02)
print('foreign: stopped', flush=True)
threading.Event().wait()
