"""Differential test: Trac's own models and tracbus do the same, and rows, cache generations
and what listeners are told are compared after every operation.

    differential.py TRACS-ENVIRONMENT OURS FIRST LAST     runs the seeds FIRST to LAST-1
    differential.py TRACS-ENVIRONMENT OURS FILE           runs the operations of a JSON list

Whoever runs this executes the operations through tracbus: they come one a line on the
standard output, as {"op": ...}, and a line is expected in return. What differs comes as
{"difference": ...}, and a summary as {"done": ...}.

tracbus goes first, and says at which time it made the change. Trac then makes it at that
time, so that rows must be equal with all their times. That the time itself is right is
checked apart: it is the transaction's, or a microsecond after the ticket's last change.
"""
import json
import os
import re
import sys
import time

os.environ['TZ'] = 'UTC'
time.tzset()

from trac.cache import CacheManager
from trac.core import Component, TracError, implements
from trac.env import Environment
from trac.resource import ResourceNotFound
from trac.ticket.api import ITicketChangeListener
from trac.ticket.model import Ticket
from trac.util.datefmt import from_utimestamp, to_utimestamp
from trac.wiki.api import IWikiChangeListener, validate_page_name
from trac.wiki.model import WikiPage

import sequences

CHANNEL = sys.stdout
sys.stdout = sys.stderr

# What differs on purpose; docs/trac.md says why. Each is counted, and undone on Trac's side,
# so that everything else is still compared.
KNOWN = {name: 0 for name in (
    'number', 'ambiguous', 'cc', 'unseen change', 'silent default', 'null to null', 'null or empty',
    'text of an undone change', 'interwiki', 'invalid name', 'page without text', 'missing version', 'same comment',
    'added again', 'null text', 'cleared default',
)}


def say(what):
    CHANNEL.write(json.dumps(what) + '\n')
    CHANNEL.flush()


def known(name):
    KNOWN[name] += 1


# ------------------------------------------------------------------ what Trac's listeners hear

heard = []


class Ear(Component):
    implements(ITicketChangeListener, IWikiChangeListener)

    def ticket_created(self, ticket):
        heard.append({'kind': 'created', 'values': dict(ticket.values)})

    def ticket_changed(self, ticket, comment, author, old_values):
        heard.append({'kind': 'changed', 'values': dict(ticket.values), 'old': dict(old_values), 'comment': comment,
                      'author': author})

    def ticket_deleted(self, ticket):
        heard.append({'kind': 'deleted', 'values': dict(ticket.values)})

    def ticket_comment_modified(self, ticket, cdate, author, comment, old_comment):
        heard.append({'kind': 'comment_edited', 'at': to_utimestamp(cdate), 'author': author, 'comment': comment,
                      'oldcomment': old_comment})

    def ticket_change_deleted(self, ticket, cdate, changes):
        heard.append({'kind': 'change_deleted', 'at': to_utimestamp(cdate), 'changes': changes})

    def page(self, kind, page, **more):
        heard.append(dict(kind=kind, name=page.name, **more))

    def wiki_page_added(self, page):
        self.page('created', page, version=page.version, text=page.text, comment=page.comment, author=page.author)

    def wiki_page_changed(self, page, version, t, comment, author):
        self.page('changed', page, version=version, text=page.text, comment=comment, author=author)

    def wiki_page_deleted(self, page):
        self.page('deleted', page)

    def wiki_page_version_deleted(self, page):
        self.page('version_deleted', page)

    def wiki_page_renamed(self, page, old_name):
        self.page('renamed', page, oldname=old_name)

    def wiki_page_comment_modified(self, page, old_comment):
        self.page('comment_edited', page, version=page.version, comment=page.comment, oldcomment=old_comment or '')


# ------------------------------------------------------------------ two environments

TABLES = {
    'ticket': 'id,type,time,changetime,component,severity,priority,owner,reporter,cc,version,milestone,status,'
              'resolution,summary,description,keywords',
    'ticket_custom': 'ticket,name,value',
    'ticket_change': 'ticket,time,author,field,oldvalue,newvalue',
    'wiki': 'name,version,time,author,text,comment,readonly',
    'attachment': 'type,id,filename',
}


class Side:
    def __init__(self, path):
        self.env = Environment(path)
        self.dialect = self.env.config.get('trac', 'database').split(':')[0]
        with self.env.db_query as db:
            self.wiki = db("SELECT " + TABLES['wiki'] + " FROM wiki WHERE name IN ('WikiStart','InterMapTxt','TitleIndex')")
            self.key = db.quote('key')
            self.cache = [(i, 0, k) for i, _, k in db("SELECT id, generation, %s FROM cache" % self.key)]

    def sql(self, statements):
        with self.env.db_transaction as db:
            for statement, args in statements:
                db(statement, tuple(args))

    def reset(self):
        with self.env.db_transaction as db:
            for t in list(TABLES) + ['cache']:
                db("DELETE FROM " + t)
            if self.dialect == 'postgres':
                db("ALTER SEQUENCE ticket_id_seq RESTART WITH 1")
            for row in self.wiki:
                db("INSERT INTO wiki (%s) VALUES (%%s,%%s,%%s,%%s,%%s,%%s,%%s)" % TABLES['wiki'], row)
            for row in self.cache:
                db("INSERT INTO cache VALUES (%s,%s,%s)", row)
        if self.dialect == 'mysql':
            with self.env.db_transaction as db:
                db("ALTER TABLE ticket AUTO_INCREMENT = 1")
        self.fresh()
        CacheManager(self.env)._cache.clear()

    def fresh(self):
        CacheManager(self.env).reset_metadata()

    def dump(self):
        with self.env.db_query as db:
            d = {t: sorted(db("SELECT %s FROM %s" % (columns, t)), key=repr) for t, columns in TABLES.items()}
            d['cache'] = sorted(db("SELECT id, generation, %s FROM cache" % self.key), key=repr)
        return d

    def undo(self, ticket, when, before):
        """Takes a change of a ticket back."""
        changed = [row[3] for row in before['ticket'] if row[0] == ticket][0]
        custom = [row for row in before['ticket_custom'] if row[0] == ticket]
        self.sql([["DELETE FROM ticket_change WHERE ticket=%s AND time=%s", [ticket, when]],
                  ["UPDATE ticket SET changetime=%s WHERE id=%s", [changed, ticket]],
                  ["DELETE FROM ticket_custom WHERE ticket=%s", [ticket]]]
                 + [["INSERT INTO ticket_custom VALUES (%s,%s,%s)", row] for row in custom])


def copy(A, B, table, column, key):
    """Gives Trac's side the rows that tracbus has."""
    rows = [row for row in B.dump()[table] if row[TABLES[table].split(',').index(column)] == key]
    insert = "INSERT INTO %s (%s) VALUES (%s)" % (table, TABLES[table], ','.join(['%s'] * len(TABLES[table].split(','))))
    A.sql([["DELETE FROM %s WHERE %s=%%s" % (table, column), [key]]] + [[insert, row] for row in rows])


def ask(o):
    say({'op': o})
    line = sys.stdin.readline()
    if not line:
        sys.exit('tracbus has ended')
    return json.loads(line)


# ------------------------------------------------------------------ one operation

def value(v):
    return from_utimestamp(v['$t']) if isinstance(v, dict) else v


def number_in(old):
    try:
        return int((old or '').rsplit('.', 1)[-1])
    except ValueError:
        return 0


def history(d, ticket):
    """The changes of a ticket: time, number or 0."""
    changes = {}
    for t, at, _, field, old, _ in d['ticket_change']:
        if t == ticket:
            changes[at] = number_in(old) if field == 'comment' else changes.get(at, 0)
    return sorted(changes.items())


def numbers(d, ticket):
    """The numbers that the changes of a ticket have, by counting where they have none."""
    n, all_ = 0, []
    for _, number in history(d, ticket):
        n = number or n + 1
        all_.append(n)
    return all_


def doubled(d, ticket, n):
    explicit = [number for _, number in history(d, ticket)]
    return explicit.count(n) > 1 or n not in explicit and numbers(d, ticket).count(n) > 1


def race(o, d):
    """The rows that Tracs leave whose times do not follow their commits."""
    row = [row for row in d['ticket'] if row[0] == o['id']]
    if not row:
        return []
    last = max([row[0][2], row[0][3]] + [at for at, _ in history(d, o['id'])])
    n = max([0] + numbers(d, o['id']))
    add = "INSERT INTO ticket_change VALUES (%s,%s,%s,'comment',%s,%s)"
    first, second, changed = {
        'order': ((last + 200, n + 1), (last + 100, n + 2), last + 100),
        'double': ((last + 200, n + 1), (last + 100, n + 1), last + 100),
        'future': ((4_000_000_000_000_000, n + 1), (4_000_000_000_000_001, n + 2), 4_000_000_000_000_001),
    }[o['how']]
    if o['how'] == 'future' and last >= first[0]:
        return []
    return [[add, [o['id'], first[0], 'one', str(first[1]), 'committed first']],
            [add, [o['id'], second[0], 'two', str(second[1]), 'committed second']],
            ["UPDATE ticket SET changetime=%s WHERE id=%s", [changed, o['id']]]]


def in_trac(env, o, when):
    """Makes Trac do it, and returns how it ended."""
    CacheManager(env).reset_metadata()
    when = from_utimestamp(when)
    kind = o['op']
    try:
        if kind == 'create':
            t = Ticket(env)
            t['status'] = 'new'
            t['reporter'] = o['author']
            for name, v in o['set'].items():
                t[name] = value(v)
            t.insert(when)
        elif kind == 'change':
            t = Ticket(env, o['id'])
            for name, v in o['set'].items():
                t[name] = value(v)
            reply = o.get('reply', 0)
            reply = 'description' if reply < 0 else str(reply) if reply else None
            if t.save_changes(o['author'], o['comment'], when, reply) is False:
                return 'nothing'
        elif kind in ('editcomment', 'delchange'):
            t = Ticket(env, o['id'])
            at = o['at']
            if at is None:
                found = t.get_change(o['n'])
                if not found:
                    return 'notfound'
                at = to_utimestamp(found['date'])
            if kind == 'delchange':
                t.delete_change(None, from_utimestamp(at), when)
            else:
                t.modify_comment(from_utimestamp(at), o['author'], o['comment'], when)
                if not heard:
                    return 'nothing'
        elif kind == 'delticket':
            Ticket(env, o['id']).delete()
        elif kind == 'wiki':
            p = WikiPage(env, o['name'])
            if 'text' in o:
                p.text = o['text']
            if 'readonly' in o:
                p.readonly = int(o['readonly'])
            p.save(o['author'], o['comment'], when)
        elif kind == 'rename':
            with env.db_transaction:
                WikiPage(env, o['name']).rename(o['to'])
                if 'redirect' in o:
                    p = WikiPage(env, o['name'])
                    p.text = o['redirect']
                    p.save(o['author'], o['comment'], when)
        elif kind == 'delver':
            WikiPage(env, o['name']).delete(o['version'])
        elif kind == 'delpage':
            WikiPage(env, o['name']).delete()
        elif kind == 'wikicomment':
            WikiPage(env, o['name'], o['version'] or None).edit_comment(o['comment'])
        return 'ok'
    except ResourceNotFound:
        return 'notfound'
    except TracError as e:
        for text, outcome in (('not modified', 'nothing'), ('unchanged', 'nothing'), ('non-existent', 'notfound'),
                              ('Invalid Wiki page name', 'invalid'), ('new name is mandatory', 'invalid'),
                              ('already exists', 'exists')):
            if text in str(e):
                return outcome
        return 'error: %s' % e
    except AssertionError as e:
        return 'notfound' if 'non-existent' in str(e) else 'error: %s' % e


def is_page(d, name, version=None):
    return any(row[0] == name and row[1] > 0 and version in (None, row[1]) for row in d['wiki'])


def known_outcome(o, trac, ours, before):
    """Names the known difference if there is one, and says whether it leaves the rows alone."""
    kind = o['op']
    if kind in ('rename', 'delver', 'delpage', 'wikicomment') and ours == 'invalid':
        names = [o['name']] + ([o['to']] if 'to' in o else [])
        if trac in ('notfound', 'nothing') and not all(validate_page_name(n) for n in names):
            return 'invalid name'
    if kind == 'wiki' and trac in ('nothing', 'ok') and ours == 'notfound' and not is_page(before, o['name']) \
            and not o.get('text'):
        return 'page without text'
    if kind == 'delver' and trac == 'ok' and ours == 'notfound' and not (
            o['version'] > 0 and is_page(before, o['name'], o['version'])):
        return 'missing version'
    if kind == 'wikicomment' and trac == 'ok' and ours == 'nothing' and (heard[-1]['oldcomment'] == o['comment']):
        return 'same comment'
    return None


DEFAULTS = {'f_textd': 'dflt', 'f_sel': 'b', 'f_selidx': 'y', 'f_chk': '0', 'f_chk1': '1', 'f_timed': {'$t': 1577923200000000}}


def same_as_none(name, v):
    """Says whether a value is none, or what everybody sees of a field without a row."""
    if isinstance(v, str):
        v = v.strip()
    return not v or v == DEFAULTS.get(name)


def settle(o, trac, answer, A, B, when, before):
    """Undoes on Trac's side what differs on purpose. It returns how both ended, as far as
    the comparison is concerned."""
    kind, ours, told = o['op'], answer['outcome'], (answer.get('event') or {}).get('old') or {}
    if kind == 'wiki' and trac == 'ok' and o.get('text') == '' and (
            [row[4] for row in before['wiki'] if row[0] == o['name']] or [''])[-1] is None:
        known('null text')
        copy(A, B, 'wiki', 'name', o['name'])
        heard.clear()
        answer['event'] = None
        return ours, ours
    if trac != ours and (name := known_outcome(o, trac, ours, before)):
        known(name)
        heard.clear()
        A.sql([["DELETE FROM cache", []]] + [["INSERT INTO cache VALUES (%s,%s,%s)", row] for row in before['cache']])
        if name == 'same comment':  # NULL became ''
            A.sql([["UPDATE wiki SET comment=%s WHERE name=%s AND version=%s", [row[5], row[0], row[1]]]
                   for row in before['wiki'] if row[0] == o['name']])
        return ours, ours
    if kind == 'rename' and trac == 'ok' and 'InterMapTxt' in (o['name'], o['to']):
        theirs, own = ([row for row in side.dump()['cache'] if 'interwiki' in row[2]] for side in (A, B))
        if own and (not theirs or theirs[0][1] < own[0][1]):
            known('interwiki')
            A.sql([["DELETE FROM cache WHERE id=%s", [own[0][0]]], ["INSERT INTO cache VALUES (%s,%s,%s)", own[0]]])
    had = {row[1] for row in before['ticket_custom'] if row[0] == o.get('id')}
    if kind == 'change' and ours == 'ok' and 'f_timed' in told and o['set'].get('f_timed', 0) is None \
            and 'f_timed' not in had and (trac == 'nothing' or 'f_timed' not in heard[-1]['old']):
        known('cleared default')
        for table, column in (('ticket', 'id'), ('ticket_custom', 'ticket'), ('ticket_change', 'ticket')):
            copy(A, B, table, column, o['id'])
        heard.clear()
        answer['event'] = None
        return ours, ours
    if kind != 'change' or trac != 'ok' or not heard:
        return trac, ours
    old = heard[-1]['old']
    if 'cc' in old and 'cc' not in o['set']:
        known('cc')
        cc = [row[9] for row in before['ticket'] if row[0] == o['id']][0]
        heard[-1]['values']['cc'] = old.pop('cc') or ''
        A.sql([["UPDATE ticket SET cc=%s WHERE id=%s", [cc, o['id']]],
               ["DELETE FROM ticket_change WHERE ticket=%s AND time=%s AND field='cc'", [o['id'], when]]])
    if ours == 'nothing' and not o['comment'].strip('\u200b \xa0\r\n\t') and all(
            v is None and n.startswith('f_') for n, v in old.items()):
        if old:
            known('unseen change')
        heard.clear()
        A.undo(o['id'], when, before)
        return ours, ours
    for n in ('f_time', 'f_timed'):
        if n in old and old[n] is None and heard[-1]['values'].get(n) is None and n in o['set']:
            A.sql([["DELETE FROM ticket_change WHERE ticket=%s AND time=%s AND field=%s AND oldvalue IS NULL AND newvalue IS NULL",
                    [o['id'], when, n]]])
            known('null to null')
            del old[n]
    for n in list(old):
        if n.startswith('f_') and old[n] is None and n not in had and n not in told and same_as_none(n, o['set'].get(n)):
            known('silent default')
            del old[n]
    n = max([0] + numbers(before, o['id'])) + 1
    for row in A.dump()['ticket_change']:
        if row[0] == o['id'] and row[1] == when and row[3] == 'comment' and number_in(row[4]) != n:
            known('number')
            A.sql([["UPDATE ticket_change SET oldvalue=%s WHERE ticket=%s AND time=%s AND field='comment'",
                    [row[4][:row[4].rfind('.') + 1] + str(n), o['id'], when]]])
    return trac, ours


# ------------------------------------------------------------------ what is compared

def plain(v):
    if v is None or isinstance(v, dict):
        return v
    if hasattr(v, 'year'):
        return {'$t': to_utimestamp(v)}
    return str(v)


def compare_events(o, ours):
    """What Trac's listeners heard against what tracbus tells."""
    told = ours.get('event')
    if not heard or not told:
        return [] if bool(heard) == bool(told) else ['Trac tells %s; tracbus %s' % (heard[-1:], told)]
    trac = heard[0] if o['op'] == 'rename' else heard[-1]
    if o['op'] == 'wiki' and trac['kind'] == 'created' and told['kind'] == 'changed' and o.get('readonly') is not None \
            and trac['version'] == 1:
        known('added again')
        trac['kind'] = 'changed'
    d = ['%s: Trac %r; tracbus %r' % (k, trac[k], told.get(k))
         for k in ('kind', 'name', 'oldname', 'version', 'text', 'author', 'comment', 'oldcomment', 'at')
         if k in trac and plain(trac[k]) != plain(told.get(k)) and not (k == 'text' and trac[k] is None and told[k] == '')]
    values, new = trac.get('values'), told.get('new') or {}
    if values is not None:
        for n in sorted(set(values) | set(told['values'])):
            a, b = plain(values.get(n)), told['values'].get(n)
            if a is None and b == '':
                known('null or empty')
            elif a != b:
                d.append('value %s: Trac %r; tracbus %r' % (n, a, b))
    if 'old' in trac:
        old = told['old'] or {}
        for n in sorted(set(trac['old']) | set(old)):
            if n not in trac['old'] or n not in old:
                d.append('changed field %s: Trac %s; tracbus %s' % (n, n in trac['old'], n in old))
                continue
            a, b = plain(trac['old'][n]), old[n]
            if a != b:
                d.append('old %s: Trac %r; tracbus %r' % (n, a, b))
            if plain(values.get(n)) != new.get(n):
                d.append('new %s: Trac %r; tracbus %r' % (n, values.get(n), new.get(n)))
    if 'changes' in trac:
        old = told['old'] or {}
        for n in sorted(set(trac['changes']) | set(old)):
            if n not in trac['changes'] or n not in old:
                d.append('deleted change of %s: Trac %s; tracbus %s' % (n, n in trac['changes'], n in old))
                continue
            a, b = list(trac['changes'][n]), [old[n], new[n]]
            if a != b:
                # Trac tells what stands in the row; tracbus the field's value.
                known('text of an undone change')
                if n.startswith('f_time'):
                    continue
                a = [x or '' for x in a]
            if a != b:
                d.append('deleted change of %s: Trac %r; tracbus %r' % (n, a, b))
    return d


def right_time(o, ours, before):
    """Says what is wrong with the time of a change of tracbus."""
    when, now = ours['when'], ours['time']
    if o['op'] in ('change', 'editcomment', 'delchange') and ours.get('event'):
        row = [row for row in before['ticket'] if row[0] == o['id']][0]
        expected = max([now, row[3] + 1] + [at + 1 for at, _ in history(before, o['id'])])
    else:
        expected = now
    return [] if when == expected else ['time of the change: %d, expected %d, the transaction is of %d' % (when, expected, now)]


def short(x):
    s = repr(x)
    return s if len(s) < 300 else s[:297] + '...'


def step(o, A, B, before):
    """Does one operation on both sides and returns what differs."""
    if o['op'] == 'race':
        o = {'op': 'sql', 'sql': race(o, before)}
    if o['op'] == 'sql':
        for side in (A, B):
            try:
                side.sql(o['sql'])
            except side.env.db_exc.IntegrityError:
                continue  # on both, as the rows are equal
            if side.dialect == 'postgres':  # which does not notice rows that have a number
                side.sql([["SELECT setval('ticket_id_seq', MAX(id)) FROM ticket HAVING MAX(id) > 0", []]])
        return []
    o = dict(o, at=None)
    if o.get('by', 'number') != 'number':
        try:
            found = Ticket(A.env, o['id']).get_change(o['n'])
        except ResourceNotFound:
            found = None
        o['at'] = to_utimestamp(found['date']) if found else 1
        if not found and o['by'] == 'time':
            o['at'] = None
        if o['by'] == 'time' and o['at'] is not None:
            o['n'] = 0
    heard.clear()
    ours = ask(o)
    if ours['outcome'] == 'ambiguous':
        if o['at'] is not None or not doubled(before, o['id'], o['n']):
            return ['tracbus says that number %d is ambiguous' % o['n']]
        known('ambiguous')
        o['at'] = to_utimestamp(Ticket(A.env, o['id']).get_change(o['n'])['date'])
        ours = ask(o)
    wrong_time = right_time(o, ours, before)
    if o['at'] == 1:
        o['at'] = None  # no change has this number, so Trac looks for the number
    trac = in_trac(A.env, o, ours['when'])
    trac, outcome = settle(o, trac, ours, A, B, ours['when'], before)
    d = wrong_time
    if trac != outcome:
        d = d + ['outcome: Trac %s; tracbus %s' % (short(trac), short(outcome + ours.get('error', '')))]
    a, b = A.dump(), B.dump()
    for t in a:
        if a[t] != b[t]:
            d.append('%s: only Trac %s; only tracbus %s' % (
                t, short([x for x in a[t] if x not in b[t]]), short([x for x in b[t] if x not in a[t]])))
    if not d and trac == 'ok':
        d = compare_events(o, ours)
    return d


def run(ops, A, B):
    """Returns the number of the first operation that differs, and how; or None."""
    A.reset()
    B.reset()
    for i, o in enumerate(ops):
        B.fresh()
        d = step(o, A, B, B.dump())
        if d:
            return i, d
    return None


def signature(o, d):
    return o['op'] + ': ' + re.sub(r"'[^']*'|\d+", '~', d[0])[:70]


def shrink(ops, A, B, sign):
    """Leaves out operations, and fields of them, as long as the difference stays."""
    counted = dict(KNOWN)
    i = len(ops) - 1
    while i >= 0:
        fewer = ops[:i] + ops[i + 1:]
        r = run(fewer, A, B)
        if r and signature(fewer[r[0]], r[1]) == sign:
            ops = fewer[:r[0] + 1]
        i = min(i, len(ops)) - 1
    for o in ops:
        for k in list(o.get('set', {})):
            was = o['set']
            o['set'] = {n: v for n, v in was.items() if n != k}
            r = run(ops, A, B)
            if not (r and signature(ops[r[0]], r[1]) == sign):
                o['set'] = was
    r = run(ops, A, B)
    KNOWN.update(counted)
    return ops, r


def main(args):
    A, B = Side(args[0]), Side(args[1])
    B.wiki, B.cache = A.wiki, A.cache
    if len(args) == 3:
        with open(args[2]) as f:
            todo = [('file', json.load(f))]
    else:
        todo = [(seed, sequences.generate(seed)) for seed in range(int(args[2]), int(args[3]))]
    seen, operations = {}, 0
    for seed, ops in todo:
        operations += len(ops)
        r = run(ops, A, B)
        if not r:
            continue
        sign = signature(ops[r[0]], r[1])
        seen[sign] = seen.get(sign, 0) + 1
        if seen[sign] == 1:
            small, again = shrink(json.loads(json.dumps(ops[:r[0] + 1])), A, B, sign)
            say({'difference': {'seed': seed, 'operation': r[0], 'what': (again or r)[1], 'reduced': small}})
    say({'done': {'sequences': len(todo), 'operations': operations, 'different': sum(seen.values()), 'known': KNOWN}})


if __name__ == '__main__':
    main(sys.argv[1:])
