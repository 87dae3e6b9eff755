// The list of jobs: how many are chosen, all at once, and keys. Without it the form works as it is.

const list = () => document.getElementById('list');
const ticks = () => [...list().querySelectorAll('input[name="job"]')];

function count() {
  const chosen = ticks().filter((tick) => tick.checked).length;
  const bar = list().querySelector('.bulk');
  if (!bar) return;
  bar.classList.toggle('some', chosen > 0);
  const text = chosen ? `With ${chosen} chosen ${chosen === 1 ? 'job' : 'jobs'}:` : 'With the chosen jobs:';
  const place = bar.querySelector('[data-ticked]');
  if (place.textContent !== text) place.textContent = text;
  const every = list().querySelector('[data-every]');
  if (every) every.checked = chosen > 0 && chosen === ticks().length;
}

document.addEventListener('change', (event) => {
  const { target } = event;
  if (!list().contains(target)) return;
  if (target.matches('[data-every]')) {
    for (const tick of list().querySelectorAll('.tick input')) tick.checked = target.checked;
  }
  const group = target.closest('tbody.study');
  const members = group ? [...group.querySelectorAll('input[name="job"]')] : [];
  if (target.name === 'jobs') for (const tick of members) tick.checked = target.checked;
  else if (members.length) group.querySelector('input[name="jobs"]').checked = members.every((tick) => tick.checked);
  count();
});
for (const moment of ['headwise:updated', 'headwise:start']) document.addEventListener(moment, count);
count();

const rows = () => [...list().querySelectorAll('tbody tr')].filter((row) => row.offsetParent);

function go(step) {
  const all = rows();
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const row = all[Math.min(all.length - 1, Math.max(0, at + step))];
  row?.querySelector('a.title, summary')?.focus();
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input:not([type="checkbox"]), textarea, select, dialog')) return;
  const row = document.activeElement?.closest('#list tbody tr');
  const act = {
    j: () => go(1),
    k: () => go(-1),
    x: () => row?.querySelector('.tick input')?.click(),
    c: () => list().querySelector('[data-compare]')?.click(),
    o: () => row?.querySelector('a.title, summary')?.click(),
    '?': () => document.querySelector('dialog.keys')?.showModal(),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
