// On every page: local times, parts that renew themselves, links and filters that change a part of
// the page in place. Without this script all of them work as ordinary links and forms.

import { prepare, refresh } from './morph.js';
import { start as startNotifications } from './notify.js';
import { duration, repeat } from './repeat.js';

document.documentElement.classList.add('js');
prepare(document);
startNotifications();

// Parts with data-refresh="seconds" renew themselves while the page is seen, from the page itself or
// from the address in data-from.
for (const part of document.querySelectorAll('[data-refresh]')) {
  repeat(
    () => document.hidden || refresh(part.dataset.from || location.href, `#${part.id}`),
    () => Number(document.getElementById(part.id)?.dataset.refresh),
  );
}

// Durations with data-running="seconds" go on by themselves: the server is asked for news only.
const clocks = new WeakMap();
setInterval(() => {
  for (const clock of document.querySelectorAll('[data-running]')) {
    const { running } = clock.dataset;
    if (clocks.get(clock)?.running !== running) clocks.set(clock, { running, since: performance.now() });
    clock.textContent = duration(Number(running) + (performance.now() - clocks.get(clock).since) / 1000);
  }
}, 1000);

async function swap(url, selector, { push = true } = {}) {
  try {
    if (!(await refresh(url, selector))) throw new Error('not there');
    if (push) history.pushState({ selector }, '', url);
  } catch {
    location.assign(url);
  }
}

addEventListener('popstate', () => location.reload());

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[data-swap]');
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
  if (!link || !plain) return;
  event.preventDefault();
  swap(link.href, link.dataset.swap);
});

// A filter form renews its list while it is being filled in.
for (const form of document.querySelectorAll('form[data-auto]')) {
  let timer;
  const update = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const url = new URL(form.action, location.href);
      url.search = '';
      for (const [name, value] of new FormData(form)) if (value) url.searchParams.append(name, value);
      swap(url.href, form.dataset.auto);
    }, 250);
  };
  form.addEventListener('input', update);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    update();
  });
}

// Arrow keys go to the neighbours, '/' to the search field.
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input, textarea, select, [role="radiogroup"], .scroll')) return;
  if (event.key === '/') {
    const search = document.querySelector('input[type="search"]');
    if (search) {
      event.preventDefault();
      search.focus();
    }
    return;
  }
  document.querySelector(`[data-key-link="${event.key}"]`)?.click();
});

// A log stays at its end, where the reader has not scrolled away from it.
const ends = new WeakMap();
for (const moment of ['headwise:updated', 'headwise:start']) {
  document.addEventListener(moment, () => {
    for (const log of document.querySelectorAll('.log[data-follow]')) {
      const end = log.scrollHeight - log.clientHeight;
      if (!(log.scrollTop < ends.get(log) - 4)) log.scrollTop = end;
      ends.set(log, end);
    }
  });
}
document.dispatchEvent(new CustomEvent('headwise:start'));

// Only one confirmation is open at a time; Escape closes it.
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  for (const open of document.querySelectorAll('details.confirm[open]')) {
    open.open = false;
    open.querySelector('summary').focus();
  }
});

// After a refused form the first field at fault has the focus.
(document.querySelector('#summary:not([hidden])') && document.querySelector('[aria-invalid="true"]'))?.focus();

// The list of a page's sections covers a narrow page as long as it is open.
document.addEventListener('click', ({ target }) => {
  const contents = target.closest('.contents a')?.closest('details');
  if (contents) contents.open = false;
});
