"""Random histories that Trac's own models make, with what its listeners are told.

    history.py ENVIRONMENT FIRST LAST [record]

For each seed, one line {"begin": ..., "every": n} comes on the standard output, then a line for
each operation that was committed: {"told": [...]}, and {"end": ...}. Whoever runs this answers
each with a line, before the next operation is made. "every" says after how many operations what
waits is to be taken in.

With "record" nobody answers, and {"sql": [...]} has the statements of each transaction, as
Trac gave them to SQLite; "begin" has those that make what was there before.
"""
import io
import json
import os
import random
import sys

import differential
import sequences
from differential import CHANNEL, heard, in_trac

from trac.attachment import Attachment, IAttachmentChangeListener
from trac.core import Component, TracError, implements
from trac.ticket.api import IMilestoneChangeListener, ITicketChangeListener
from trac.ticket.model import Component as TicketComponent
from trac.ticket.model import Milestone, Ticket, Version
from trac.util.datefmt import from_utimestamp, to_utimestamp
from trac.wiki.api import IWikiChangeListener
from trac.wiki.model import WikiPage

CAPTURED = ('ticket', 'ticket_custom', 'ticket_change', 'wiki', 'milestone', 'component', 'version', 'attachment')
BASE = 1_600_000_000_000_000


def stamp(t):
    return to_utimestamp(t) if t else 0


events = []


class Listener(Component):
    implements(IMilestoneChangeListener, IAttachmentChangeListener, ITicketChangeListener, IWikiChangeListener)

    def ticket(self, kind, ticket, **more):
        events.append(dict(kind=kind, realm='ticket', id=int(ticket.id), **more))

    def ticket_created(self, t):
        self.ticket('created', t, values=plain(t.values))

    def ticket_changed(self, t, comment, author, old_values):
        self.ticket('changed', t, values=plain(t.values), old=plain(old_values), comment=comment or '', author=author or '')

    def ticket_deleted(self, t):
        self.ticket('deleted', t, values=plain(t.values))

    def ticket_comment_modified(self, t, cdate, author, comment, old_comment):
        self.ticket('comment_edited', t, at=to_utimestamp(cdate), author=author or '', comment=comment or '',
                    oldcomment=old_comment or '')

    def ticket_change_deleted(self, t, cdate, changes):
        self.ticket('change_deleted', t, at=to_utimestamp(cdate),
                    changes={n: [a or '', b or ''] for n, (a, b) in changes.items()})

    def page(self, kind, page, **more):
        events.append(dict(kind=kind, realm='wiki', name=page.name, **more))

    def wiki_page_added(self, p):
        self.page('created', p, version=p.version, text=p.text or '', comment=p.comment or '', author=p.author or '')

    def wiki_page_changed(self, p, version, t, comment, author):
        self.page('changed', p, version=version, text=p.text or '', comment=comment or '', author=author or '')

    def wiki_page_deleted(self, p):
        self.page('deleted', p)

    def wiki_page_version_deleted(self, p):
        self.page('version_deleted', p)

    def wiki_page_renamed(self, p, old_name):
        self.page('renamed', p, oldname=old_name)

    def wiki_page_comment_modified(self, p, old_comment):
        self.page('comment_edited', p, version=p.version, comment=p.comment or '', oldcomment=old_comment or '')

    def milestone(self, kind, m, **more):
        events.append(dict(kind=kind, realm='milestone', name=m.name, due=stamp(m.due), completed=stamp(m.completed),
                          description=m.description or '', **more))

    def milestone_created(self, m):
        self.milestone('created', m)

    def milestone_changed(self, m, old):
        if not old:  # no row says that somebody saved what was there
            return
        self.milestone('renamed' if 'name' in old else 'changed', m, oldname=old.get('name', m.name))

    def milestone_deleted(self, m):
        self.milestone('deleted', m)

    def attachment(self, kind, a, **more):
        events.append(dict(kind=kind, realm='attachment', parent='%s:%s' % (a.parent_realm, a.parent_id),
                          filename=a.filename, **more))

    def attachment_added(self, a):
        self.attachment('created', a, author=a.author, description=a.description or '', size=a.size)

    def attachment_deleted(self, a):
        self.attachment('deleted', a)

    def attachment_moved(self, a, old_realm, old_id, old_filename):
        self.attachment('moved', a, old='%s:%s:%s' % (old_realm, old_id, old_filename))


# ------------------------------------------------------------------ more operations

NAMES = ['m1', 'm2', 'Ünï', 'a b', 'x/y', "it's", 'v%s', '日本']


def nouns(seed):
    """Operations on what has a name, on attachments, and on many tickets in one transaction."""
    r = random.Random('nouns %d' % seed)
    ops, top = [], 0
    for n in range(r.randint(6, 24)):
        o = {'author': r.choice(['joe', 'sue'])}
        k = r.random()
        if top < 2 or k < .12:
            top += 1
            o.update(op='create', set={'milestone': r.choice(NAMES), 'component': r.choice(NAMES),
                                       'version': r.choice(NAMES), 'summary': 's%d' % n})
        elif k < .20:
            o.update(op='change', id=r.randint(1, top), set={'milestone': r.choice(NAMES)}, comment='')
        elif k < .55:
            o.update(op='noun', what=r.choice(['milestone', 'milestone', 'component', 'version']),
                     do=r.choice(['insert', 'insert', 'update', 'update', 'rename', 'rename', 'delete']),
                     name=r.choice(NAMES), to=r.choice(NAMES), text=r.choice(['', 'd', 'Ü', 'a\nb']),
                     at=r.choice([0, 0, 1_700_000_000_000_000, 1]))
        elif k < .75:
            o.update(op='attach', do=r.choice(['add', 'add', 'add', 'delete', 'move']),
                     parent=r.choice([('ticket', '1'), ('ticket', '2'), ('wiki', 'WikiStart'), ('milestone', 'm1')]),
                     to=r.choice([('ticket', '2'), ('wiki', 'WikiStart')]), file=r.choice(['a.txt', 'b %2F.txt', 'ü.png']))
        elif k < .9:
            o.update(op='batch', ids=sorted(r.sample(range(1, top + 1), r.randint(1, min(top, 3)))),
                     set={'keywords': 'k%d' % n}, comment='batch', fail=r.random() < .3)
        elif k < .95:
            o.update(op='delticket', id=r.randint(1, top))
        else:
            o.update(op='wiki', name='WikiStart', text='t%d' % n, comment='c')
        ops.append(o)
    return ops


class Failed(Exception):
    pass


def more(env, o, when):
    kind = o['op']
    try:
        if kind == 'noun':
            model = {'milestone': Milestone, 'component': TicketComponent, 'version': Version}[o['what']]
            m = model(env) if o['do'] == 'insert' else model(env, o['name'])
            if o['do'] == 'delete':
                m.delete()
                return 'ok'
            if o['do'] != 'update':
                m.name = o['to'] if o['do'] == 'rename' else o['name']
            if o['do'] != 'rename':
                m.description = o['text']
                at = from_utimestamp(o['at']) if o['at'] else None
                if o['what'] == 'milestone':
                    m.due = at
                elif o['what'] == 'version':
                    m.time = at
                else:
                    m.owner = o['author']
            if o['do'] == 'insert':
                m.insert()
            elif o['what'] == 'milestone':
                m.update(author=o['author'])
            else:
                m.update()
        elif kind == 'attach':
            realm, id_ = o['parent']
            if o['do'] == 'add':
                a = Attachment(env, realm, id_)
                a.author, a.description = o['author'], 'd'
                a.insert(o['file'], io.BytesIO(b'12345'), 5, t=from_utimestamp(when))
            else:
                a = Attachment(env, realm, id_, o['file'])
                if o['do'] == 'delete':
                    a.delete()
                elif tuple(o['to']) == (realm, id_):
                    return 'nothing'
                else:
                    a.move(*o['to'])
        elif kind == 'batch':
            with env.db_transaction:
                for i in o['ids']:
                    t = Ticket(env, i)
                    for name, v in o['set'].items():
                        t[name] = v
                    t.save_changes(o['author'], o['comment'], from_utimestamp(when))
                if o['fail']:
                    raise Failed
        return 'ok'
    except Failed:
        return 'rolled back'
    except TracError as e:
        return 'error: %s' % e


# ------------------------------------------------------------------ what is told

def text(name, v):
    if hasattr(v, 'year'):
        t = to_utimestamp(v)
        if name in ('time', 'changetime'):
            return str(t)
        return '%018d' % t if t >= 0 else '%+017d' % t
    return str(v)


def plain(values):
    return {n: text(n, v) for n, v in values.items() if v not in (None, '')}


def told(o):
    for e in events:
        if 'readonly' in o and e['realm'] == 'wiki' and o.get('quiet'):
            e.pop('comment'), e.pop('author')  # no row has them
        yield e


# ------------------------------------------------------------------ recording

class Recorder:
    def __init__(self):
        self.statements = []

    def patch(self):
        from trac.db import sqlite_backend
        cursor = sqlite_backend.PyFormatCursor
        execute, executemany = cursor.execute, cursor.executemany

        def one(this, sql, args=None):
            result = execute(this, sql, args) if args is not None else execute(this, sql)
            self.note(sql, args or (), this)
            return result

        def many(this, sql, args):
            args = list(args)
            for a in args:
                self.note(sql, a, this)
            return executemany(this, sql, args)
        cursor.execute, cursor.executemany = one, many

    def note(self, sql, args, cursor):
        words = sql.split()
        verb = words[0].upper() if words else ''
        table = {'INSERT': 2, 'DELETE': 2, 'UPDATE': 1}.get(verb)
        if table is None or words[table].split('(')[0] not in CAPTURED:
            return
        sql, args = ' '.join(words), list(args)
        if verb == 'INSERT' and words[2] == 'ticket' and '(id,' not in sql.replace(' ', ''):
            sql = sql.replace('ticket (', 'ticket (id,', 1).replace('VALUES (', 'VALUES (%s,', 1)
            args.insert(0, cursor.lastrowid)
        self.statements.append([sql, args])

    def taken(self):
        statements, self.statements = self.statements, []
        return statements


def quiet(env, o):
    """Notes that only whether a page is read-only changes: then no row says who did that."""
    if o['op'] == 'wiki' and o['name']:
        p = WikiPage(env, o['name'])
        o['quiet'] = 'readonly' in o and o.get('text', p.text) == p.text


def empty(env, o):
    """Says whether Trac would tell of something that changes no row."""
    if o['op'] == 'change' and o['set'].get('f_timed', 0) is None:
        # The listener sees no value, and who reads the ticket again sees the default.
        if not env.db_query("SELECT 1 FROM ticket_custom WHERE ticket=%s AND name='f_timed'", (o['id'],)):
            del o['set']['f_timed']
    if o['op'] == 'delver':
        return o['version'] < 1 or not WikiPage(env, o['name'], o['version']).exists
    if o['op'] == 'wikicomment':
        return WikiPage(env, o['name'], o['version'] or None).comment == o['comment']
    if o['op'] == 'wiki':  # read-only, of a page that does not exist
        return not o.get('text') and not WikiPage(env, o['name']).exists
    return False


def say(what, record):
    CHANNEL.write(json.dumps(what, ensure_ascii=False) + '\n')
    CHANNEL.flush()
    if not record and not sys.stdin.readline():
        sys.exit('nobody answers')


# A recording has no use for texts that are long.
def shorten(record):
    if record:
        for texts in (sequences.TEXT, sequences.TEXTS, sequences.COMMENTS):
            texts[:] = [t[:40] for t in texts]


def main(path, first, last, record):
    shorten(record)
    recorder = Recorder()
    if record:
        recorder.patch()
    side = differential.Side(path)
    env = side.env
    for seed in range(first, last):
        r = random.Random('history %d' % seed)
        side.reset()
        with env.db_transaction as db:
            for table in ('milestone', 'component', 'version'):  # without any, Trac leaves the field out
                for name in NAMES:
                    db("DELETE FROM %s WHERE name=%%s" % table, (name,))
        ops = nouns(seed) if r.random() < .3 else sequences.generate(seed)
        recorder.taken()
        if ops[0]['op'] == 'sql':
            side.sql(ops.pop(0)['sql'])
            if side.dialect == 'postgres':  # the tickets had numbers of their own
                side.sql([["SELECT setval('ticket_id_seq', 12)", []]])
        with env.db_query as db:
            wiki = [["INSERT INTO wiki (name,version,time,author,text,comment,readonly) VALUES (%s,%s,%s,%s,%s,%s,%s)",
                     ['WikiStart', 1, 1, 'trac', 'w', '', 0]]] if record else []
        if record:
            with env.db_transaction as db:
                db("DELETE FROM wiki WHERE name IN ('WikiStart','InterMapTxt','TitleIndex')")
            before = recorder.taken()
            before = [s for s in before if not s[0].startswith('DELETE')]
            side.sql(wiki)
            before += recorder.taken()
        begin = {'begin': seed, 'every': r.choice([1, 3, 10, 1000])}
        say(dict(begin, sql=before) if record else begin, record)
        when = BASE + seed
        for o in ops:
            if o['op'] in ('sql', 'race'):
                continue
            if o['op'] in ('editcomment', 'delchange'):
                o['at'] = None
            when += r.choice([1, 2, 1000, 1_000_000, 7_654_321_987])
            heard.clear()
            events.clear()
            quiet(env, o)
            do = more if o['op'] in ('noun', 'attach', 'batch') else in_trac
            side.fresh()
            if empty(env, o):
                continue
            outcome = do(env, o, when)
            done = recorder.taken()
            if outcome not in ('ok', 'nothing'):
                continue
            line = {'told': list(told(o))}
            if record:
                line['sql'] = done
                if not done and not line['told']:
                    continue
            say(line, record)
        say({'end': seed}, record)


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 'record' in sys.argv[4:])
