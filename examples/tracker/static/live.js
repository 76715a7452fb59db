// Keeps a page up to date: a stream tells every change behind the place that the
// page shows. After a break it goes on where it stopped.
'use strict';

const live = document.getElementById('live');
const list = document.querySelector('#timeline[data-grows]');
const watched = document.querySelectorAll('[data-live]');
const most = 200; // changes in the list
let place = document.body.dataset.after;
let stream = null;

function say(text) {
  if (live.textContent !== text) live.textContent = text;
}

function follow() {
  if (stream) return;
  stream = new EventSource('/changes?after=' + encodeURIComponent(place));
  stream.onopen = () => say('· live');
  stream.onerror = () => {
    say('· the connection is lost, trying again');
    if (stream && stream.readyState === EventSource.CLOSED) { // refused; it would not come again by itself
      stream = null;
      setTimeout(() => { if (!document.hidden) follow(); }, 3000);
    }
  };
  stream.addEventListener('change', (e) => {
    place = e.lastEventId;
    show(e.data);
  });
  stream.addEventListener('resync', (e) => { // some were missed
    place = e.lastEventId;
    if (list) location.reload();
    else watched.forEach(refresh);
  });
}

function leave() {
  if (stream) stream.close();
  stream = null;
}

// show puts a change on the page.
function show(html) {
  const item = document.createRange().createContextualFragment(html).firstElementChild;
  localTimes(item);
  if (list && !document.getElementById(item.id) && !waiting.some((w) => w.id === item.id)) {
    document.querySelector('p.empty')?.remove();
    item.classList.add('new');
    waiting.push(item);
    if (waiting.length > most) waiting.shift();
    grow();
  }
  for (const region of watched) {
    const realm = item.dataset.realm;
    if ([realm, realm + ' ' + item.dataset.id].includes(region.dataset.live)) refresh(region);
  }
}

// grow puts what came into the list, unless the reader wants it to stay as it is.
const waiting = [];
const pause = document.getElementById('pause');

function grow() {
  if (pause.getAttribute('aria-pressed') === 'true') {
    pause.textContent = 'Go on (' + waiting.length + ' new)';
    return;
  }
  pause.textContent = 'Pause';
  list.prepend(...waiting.splice(0).reverse());
  while (list.children.length > most) list.lastElementChild.remove();
}

if (pause) {
  pause.hidden = false;
  pause.addEventListener('click', () => {
    pause.setAttribute('aria-pressed', String(pause.getAttribute('aria-pressed') !== 'true'));
    pause.textContent = 'Go on';
    grow();
  });
}

// refresh loads a part of the page anew; what the visitor writes is in no such
// part. Of many changes at once, the last counts.
const refreshing = new Map(); // a part: "waiting", "loading", or "again" after that

function refresh(region) {
  if (!refreshing.has(region)) {
    refreshing.set(region, 'waiting');
    setTimeout(() => reload(region), 200);
  } else if (refreshing.get(region) === 'loading') {
    refreshing.set(region, 'again');
  }
}

async function reload(region) {
  refreshing.set(region, 'loading');
  let page = null;
  try {
    const answer = await fetch(location.href);
    page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  } catch {
    // The process may be gone; another one, or the next, will answer.
  }
  const now = page?.getElementById(region.id);
  if (!now) { // the place has moved on already: only this can show what is missing
    setTimeout(() => reload(region), 2000);
    return;
  }
  const again = refreshing.get(region) === 'again';
  refreshing.delete(region);
  replace(region, now);
  if (region.id === 'ticket') refreshForm(page);
  if (again) refresh(region);
}

function replace(region, now) {
  localTimes(now);
  if (region.innerHTML === now.innerHTML) return;
  const ticked = new Set(Array.from(region.querySelectorAll('input:checked'), (box) => box.value));
  const focus = region.contains(document.activeElement) ? document.activeElement : null;
  region.replaceChildren(...now.childNodes);
  region.querySelectorAll('input[type=checkbox]').forEach((box) => { box.checked = ticked.has(box.value); });
  if (!focus) return;
  // The focus stays on what it was on, or goes nowhere near something else.
  const key = (e) => [e.tagName, e.id, e.getAttribute('href'), e.getAttribute('aria-label'), e.name, e.value].join(' ');
  const same = Array.from(region.querySelectorAll(focus.tagName)).filter((e) => key(e) === key(focus));
  if (same.length === 1) {
    same[0].focus();
  } else {
    region.tabIndex = -1;
    region.focus();
  }
}

// refreshForm has a form that was not touched show the ticket as it is now. One that
// was sent, and came back, shows what the visitor wrote.
function refreshForm(page) {
  const base = 'form.danger [name=base]'; // who deletes has seen the page as it is now
  const seen = document.querySelector(base);
  if (seen) seen.value = page.querySelector(base)?.value ?? seen.value;
  const form = document.querySelector('form.panel');
  const now = page.querySelector('form.panel');
  if (!form || !now || 'sent' in form.dataset) return;
  const touched = Array.from(form.elements).some((e) =>
    e.tagName === 'SELECT' ? Array.from(e.options).some((o) => o.selected !== o.defaultSelected) : e.type !== 'hidden' && e.defaultValue !== undefined && e.value !== e.defaultValue);
  if (!touched && !form.contains(document.activeElement)) form.replaceWith(now);
}

// localTimes shows times as the visitor's clock has them.
function localTimes(root) {
  for (const t of root.querySelectorAll('time')) {
    t.title = t.textContent;
    t.textContent = new Date(t.dateTime).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
  }
}

localTimes(document);

// A page that nobody sees needs no connection, of which a browser has few.
if (place !== '' && (list || watched.length)) {
  if (!document.hidden) follow();
  document.addEventListener('visibilitychange', () => (document.hidden ? leave() : follow()));
  addEventListener('pagehide', leave);
  addEventListener('pageshow', (e) => { if (e.persisted) follow(); });
}

for (const region of document.querySelectorAll('[data-every]')) {
  setInterval(() => { if (!document.hidden) refresh(region); }, Number(region.dataset.every));
}
