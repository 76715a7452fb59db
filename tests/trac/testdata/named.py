"""Does to milestones, components and versions what the lines of standard input say, by
Trac's own models. Writes for each whether Trac did it, and what its listeners were told."""
import json
import sys

from trac.core import Component, TracError, implements
from trac.env import open_environment
from trac.ticket import model
from trac.ticket.api import IMilestoneChangeListener, ITicketChangeListener
from trac.util.datefmt import from_utimestamp, to_utimestamp

told = []


def text(name, value):
    if name in ('due', 'completed', 'time'):
        return str(to_utimestamp(value))
    return value or ''


class Listener(Component):
    implements(IMilestoneChangeListener, ITicketChangeListener)

    def milestone_created(self, milestone):
        told.append('milestone %s created' % milestone.name)

    def milestone_changed(self, milestone, old_values):
        if old_values:
            told.append(' '.join(['milestone %s changed' % milestone.name] + [
                '%s: %s > %s' % (k, text(k, v), text(k, getattr(milestone, k))) for k, v in sorted(old_values.items())]))

    def milestone_deleted(self, milestone):
        told.append('milestone %s deleted' % milestone.name)

    def ticket_changed(self, ticket, comment, author, old_values):
        told.append(' '.join(['ticket %d %s %s' % (ticket.id, author, comment)] + [
            '%s: %s > %s' % (k, text(k, v), text(k, ticket[k])) for k, v in sorted(old_values.items())]))

    def ticket_created(self, ticket):
        pass

    def ticket_deleted(self, ticket):
        pass

    def ticket_comment_modified(self, ticket, cdate, author, comment, old_comment):
        pass

    def ticket_change_deleted(self, ticket, cdate, changes):
        pass


def do(env, op):
    cls = getattr(model, op['realm'].capitalize())
    thing = cls(env) if op['do'] == 'create' else cls(env, op['name'])
    move = op['realm'] == 'milestone' and op.get('retarget') is not None
    if op['do'] == 'delete':
        if op['realm'] == 'milestone':
            thing.move_tickets(op.get('retarget') or None, 'joe', 'Ticket retargeted after milestone deleted')
        thing.delete()
        return
    for name, value in op['set'].items():
        if name in ('due', 'completed', 'time'):
            value = from_utimestamp(value) if value else None
        setattr(thing, name, value)
    if op['do'] == 'create':
        thing.insert()
    elif op['realm'] == 'milestone':
        if op.get('retarget'):
            model.Milestone(env, op['retarget'])  # which fails if there is none
        thing.update(author='joe')
        if move:
            thing.move_tickets(op['retarget'] or None, 'joe', op['comment'], exclude_closed=True)
    else:
        thing.update()


env = open_environment(sys.argv[1])
for line in sys.stdin:
    del told[:]
    try:
        do(env, json.loads(line))
        print(json.dumps({'done': True, 'told': told}), flush=True)
    except TracError as e:
        print(json.dumps({'done': False, 'told': [], 'error': str(e)}), flush=True)
