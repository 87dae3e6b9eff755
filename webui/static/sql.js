// The SQL console: Ctrl+Enter runs, a column's name is put where the cursor is.

import { showCharts } from './charts.js';
import { Editor } from './editor.js';

const form = document.getElementById('sql-form');
const area = document.getElementById('sql');
const editor = new Editor(area);

area.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    editor.close();
    form.requestSubmit(form.querySelector('.primary'));
  }
});

form.addEventListener('submit', () => {
  const button = form.querySelector('.primary');
  button.disabled = true;
  button.firstChild.textContent = 'Running… ';
  // Coming back with the browser's Back button finds it as it was.
  addEventListener('pageshow', () => location.reload(), { once: true });
});

document.addEventListener('click', (event) => {
  const name = event.target.closest('[data-insert]')?.dataset.insert;
  if (name) editor.insert(name);
});

const end = area.value.length;
area.setSelectionRange(end, end);

// A value that its cell has no room for opens in a dialog; one whose end is not here is fetched.
async function wholeValue(button) {
  if (!button.hasAttribute('data-cut')) return readable(button.textContent);
  const fields = new URLSearchParams(new FormData(button.form));
  fields.set('cell', button.value);
  const answer = await fetch(button.form.action, { method: 'POST', body: fields });
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  return (page.getElementById('cell-value') ?? page.getElementById('main')).textContent;
}

function readable(text) {
  try {
    return /^[[{]/.test(text) ? JSON.stringify(JSON.parse(text), null, 2) : text;
  } catch {
    return text;
  }
}

document.addEventListener('click', async (event) => {
  const button = event.target.closest('button[form="cell-form"]');
  if (!button || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const dialog = document.getElementById('whole-cell');
  const cell = button.closest('td');
  const heading = cell.closest('table').querySelectorAll('thead th button')[cell.cellIndex];
  dialog.querySelector('h2').textContent = heading.textContent;
  const value = dialog.querySelector('pre');
  value.textContent = 'Loading…';
  dialog.showModal();
  value.textContent = await wholeValue(button).catch(() => 'The value could not be loaded.');
});

document.addEventListener('click', ({ target }) => { if (target.matches('dialog')) target.close(); });

showCharts();
