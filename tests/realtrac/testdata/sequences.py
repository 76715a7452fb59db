"""Random sequences of what people do to tickets and pages, from seeds."""
import copy
import random

TEXT = [
    '', '', 'a', 'b', 'joe', ' lead', 'trail ', '\tboth\t', 'in  ner', 'Ünïcödé', '日本語', '😀 emoji', 'e\u0301',
    '\u00a0nbsp\u00a0', '\u200bzwsp\u200b', '\u3000ideo\u3000', '\x1cfs\x1c', 'x\u2028y', 'a\nb', 'a\r\nb', '  ',
    '\r\n', 'q"uo\'te', "%s %(x)s", '\\back', '0', '1', 'NULL', 'a\x85b\x85', '\ufeffbom', '\u180emvs', 'A', 'a ',
    'ä', 'x' * 300, 'é' * 70000,
]
CC = [
    '', 'joe', 'joe,sue', 'joe; sue', 'joe sue', ' joe ,, sue ;joe', 'joe\tsue\njoe', 'a@b.c, d@e.f;a@b.c', ',;, ',
    'Joe <joe@x.y>', 'joe\u00a0sue', 'joe\u3000sue', 'joe\x1csue', 'joe\u200bsue', 'ü, ä;  ü', 'joe,Joe', 'joe, sue',
    'joe\u2028sue\x85amy',
]
COMMENTS = [
    '', '', '', 'hi', ' ', '\u200b', '\u200b \u00a0', 'Kommentar ü', 'a\r\nb', ' lead', 'trail ', '😀', 'c' * 5000,
    '\n', '[comment:1 x]', "it's %d", '\\', '\ufeff',
]
AUTHORS = ['joe', 'sue', 'anonymous', 'Jörg', 'joe ', '\u3000sue ', 'a b <a@b.c>', 'JOE']
FIELDS = [
    'summary', 'reporter', 'owner', 'description', 'type', 'status', 'priority', 'milestone', 'component', 'version',
    'severity', 'resolution', 'keywords',
]
CUSTOM = ['f_text', 'f_textd', 'f_sel', 'f_selidx', 'f_chk', 'f_chk1', 'f_area', 'f_radio']
TIMES = [None] + [{'$t': t} for t in (
    0, 1, 1577923200000000, 1700000000123456, -1, -62000000000000000, 253402300799000000, -5000000)]
PAGES = [
    'WikiStart', 'InterMapTxt', 'Page', 'page', 'Page/Sub', 'Ünï', '日本', 'a b', 'New😀', 'X.Y', "it's", 'e\u0301',
    'é', '%s', 'TitleIndex', 'Bad//x', '/lead', 'a/../b', '', ' sp', 'tr ', 'a\nb', 'Q?x#y',
]
TEXTS = [
    '', 'text', 'text ', 'text\r\nmore', 'text\nmore', 'Ü', '😀', '\u200b', 't' * 70000, 'NULL', "it's %s",
    'See [wiki:"Page"].', '{{{\nx\n}}}', ' ', '0',
]
ATTACHMENT = ("INSERT INTO attachment (type, id, filename, size, time, description, author) "
              "VALUES (%s, %s, %s, 1, 1, 'd', 'joe')")


def values(r):
    """What an edit sets."""
    s = {}
    for _ in range(r.choice([0, 1, 1, 1, 2, 3, 6])):
        k = r.random()
        if k < .15:
            s['cc'] = r.choice(CC)
        elif k < .65:
            s[r.choice(FIELDS)] = r.choice(TEXT)
        elif k < .9:
            s[r.choice(CUSTOM)] = r.choice(TEXT)
        else:
            s[r.choice(['f_time', 'f_timed'])] = copy.copy(r.choice(TIMES))
    return s


def generate(seed):
    r = random.Random(seed)
    ops, top = [], 0
    kind = r.choice(['ticket', 'wiki', 'both', 'ticket', 'legacy'])
    pages = r.sample(PAGES, 5) + ['Page', 'InterMapTxt']

    def ticket():
        if not top or r.random() < .03:
            return r.choice([999, top + 1, 2**31 - 1])
        if kind == 'legacy' and r.random() < .7:
            return r.choice([1, 2, 3, 5, 8, 12])
        return r.randint(max(1, top - 2), top)

    if kind == 'legacy':
        ops.append({'op': 'sql', 'sql': legacy(r)})
        top = 12
    for n in range(r.randint(4, 28)):
        o = {'author': r.choice(AUTHORS)}
        what = kind if kind in ('ticket', 'wiki') else r.choice(['ticket', 'wiki'])
        k = r.random()
        if what == 'ticket':
            if not top or k < .15:
                top += 1
                o.update(op='create', set=values(r))
            elif k < .60:
                o.update(op='change', id=ticket(), set=values(r), comment=r.choice(COMMENTS))
                if r.random() < .25:
                    o['reply'] = r.choice([-1, 1, 2, 3, 17])
            elif k < .77:
                o.update(op='editcomment', id=ticket(), n=r.choice([1, 1, 2, 3, 4, 5, 9, 0]),
                         comment=r.choice(COMMENTS), by=r.choice(['number', 'number', 'both', 'time']))
            elif k < .90:
                o.update(op='delchange', id=ticket(), n=r.choice([1, 1, 2, 3, 4, 5]),
                         by=r.choice(['number', 'number', 'both', 'time']))
            elif k < .95:
                # Two Tracs comment at once: see differential.race.
                o = {'op': 'race', 'id': ticket(), 'how': r.choice(['order', 'order', 'double', 'future'])}
            else:
                o.update(op='delticket', id=ticket())
        else:
            o['name'] = r.choice(pages)
            if k < .5:
                o.update(op='wiki', comment=r.choice(COMMENTS))
                if r.random() < .9:
                    o['text'] = r.choice(TEXTS)
                if r.random() < .3:
                    o['readonly'] = r.random() < .5
            elif k < .65:
                o.update(op='rename', to=r.choice(pages), comment='renamed')
                if o['name'] != o['to'] and r.random() < .5:
                    o['redirect'] = 'See [wiki:"x"].'
            elif k < .78:
                o.update(op='delver', version=r.choice([1, 1, 2, 2, 3, 4, 0]))
            elif k < .86:
                o.update(op='delpage')
            elif k < .95:
                o.update(op='wikicomment', version=r.choice([0, 1, 1, 2, 3]), comment=r.choice(COMMENTS))
            else:
                o = {'op': 'sql', 'sql': [[ATTACHMENT, ['wiki', o['name'], 'f%d' % n]],
                                          [ATTACHMENT, ['ticket', str(ticket()), 'f%d' % n]]]}
        ops.append(o)
    return ops


def legacy(r):
    """History as years of Tracs leave it."""
    statements, begin = [], 1_500_000_000_000_000

    def add(statement, args):
        statements.append([statement, args])

    for i in [1, 2, 3, 5, 8, 12]:
        columns = {
            'id': i, 'time': begin + i, 'changetime': begin + i + 10**12, 'status': r.choice(['new', 'closed', None]),
            'summary': r.choice(TEXT[:20] + [None]), 'cc': r.choice(['joe', 'joe, sue', None, '', 'joe;sue joe']),
            'keywords': r.choice([None, '', 'k']), 'owner': r.choice([None, '', 'joe', ' joe ']),
            'reporter': r.choice([None, 'joe']), 'milestone': r.choice([None, '', 'm1', 'm1 ']),
            'description': r.choice([None, '', ' d ']),
        }
        add("INSERT INTO ticket (%s) VALUES (%s)" % (','.join(columns), ','.join(['%s'] * len(columns))),
            list(columns.values()))
        for f in CUSTOM + ['f_time', 'f_timed', 'f_gone']:
            if r.random() < .5:
                v = r.choice([None, '', '0', '1', 'old', ' sp '])
                if f.startswith('f_time'):
                    v = r.choice([None, '', '001577923200000000', '2019-05-06', 'junk', '1577923200000000',
                                  '-0000000005000000'])
                add("INSERT INTO ticket_custom VALUES (%s,%s,%s)", [i, f, v])
        n, t = 0, begin + 10**10 * i
        for _ in range(r.randint(0, 6)):
            t += r.choice([1, 10**6, 10**9])
            n += 1
            author = r.choice(['joe', 'sue', None, ''])
            change = "INSERT INTO ticket_change VALUES (%s,%s,%s,%s,%s,%s)"
            fields = sorted(set(r.sample(FIELDS + CUSTOM + ['f_gone', 'cc'], r.choice([0, 1, 2]))))
            for f in fields:
                add(change, [i, t, author, f, r.choice([None, '', 'o', 'a']), r.choice([None, '', 'n', 'a', 'b'])])
            if r.random() < .75 or not fields:
                number = r.choice([str(n), str(n), str(n), '%d.%d' % (max(1, n - 1), n), 'description.%d' % n, '',
                                   None, str(n)])
                add(change, [i, t, author, 'comment', number, r.choice([None, '', 'text', 'Ü'])])
                for e in range(r.choice([0, 0, 0, 1, 2])):
                    add(change, [i, t, 'ed', '_comment%d' % (e * r.choice([1, 2])), 'was', str(t + 5)])
    for name in ['Page', 'Gap', 'Ünï']:
        for v in r.choice([[1, 2, 3], [2, 5], [3], [1, 4]]):
            add("INSERT INTO wiki (name, version, time, author, text, comment, readonly) VALUES (%s,%s,%s,%s,%s,%s,%s)",
                [name, v, begin + v, r.choice(['joe', None, '']), r.choice(['t%d' % v, '', None]),
                 r.choice([None, '', 'c']), r.choice([0, 1, None])])
    return statements
